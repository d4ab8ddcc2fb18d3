//! More questions about messages: options, distances in time, order, shares; and traffic made by the harness.

use schemars::JsonSchema;
use serde::Deserialize;

use super::expect::MessageMatch;
use super::scalar::{At, Hex, Many, MessageType, Span, ValueMatch};
use super::step::Datagram;

/// One CoAP option of a message, by its number (RFC 7252 section 5.10). Without a further field it has to be there.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OptionMatch {
    /// Option number.
    pub number: u16,
    /// Whether there is one; `false` for none.
    pub there: Option<bool>,
    /// How many there are of this number.
    pub count: Option<ValueMatch>,
    /// One of them has this value, as bytes.
    pub hex: Option<Hex>,
    /// One of them has this value, as text.
    pub text: Option<String>,
    /// One of them has this value, as an unsigned integer.
    pub uint: Option<ValueMatch>,
    /// One of them has a value of this length in bytes.
    pub length: Option<ValueMatch>,
}

/// Bounds on every interval between messages; at least one of `least` and `most`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Spacing {
    /// The interval runs from each message of this kind to the next of those asked for; from one of those to the next if
    /// absent.
    pub after: Option<MessageMatch>,
    /// No interval is shorter.
    pub least: Option<Span>,
    /// No interval is longer.
    pub most: Option<Span>,
    /// The time from the last message until now is an interval too, so that one that stays away breaks `most`.
    pub to_the_end: Option<bool>,
    /// What a real clock may be off, each way.
    pub tolerance: Option<Span>,
}

/// What is compared in a share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ShareBy {
    /// The number of messages.
    #[default]
    Count,
    /// The bytes of the UDP payloads.
    Bytes,
}

/// How many of these messages, or how many bytes of them, there are for each of others.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Share {
    /// The others.
    pub of: MessageMatch,
    /// The others, counted without repeats.
    pub distinct: Option<bool>,
    /// What is compared; the number of messages if absent.
    pub by: Option<ShareBy>,
    /// At least this many times.
    pub least: Option<f64>,
    /// At most this many times.
    pub most: Option<f64>,
}

/// The messages take turns with others.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Turns {
    /// The others.
    pub with: MessageMatch,
    /// How often one kind follows the other at least, repeats of a message left out.
    pub least: u32,
}

/// A message that the IUT received before is delivered to it once more, byte for byte, from the same sender.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Replay {
    /// Which; the last that matches. `from` is another party than the IUT, the server if absent.
    #[serde(rename = "match")]
    pub select: MessageMatch,
    /// The first that matches instead.
    pub first: Option<bool>,
    /// How long an answer is waited for; not at all if absent.
    pub listen: Option<Span>,
}

/// How datagrams of a burst are damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mutation {
    /// One to eight bits are flipped, anywhere.
    Bits,
    /// The datagram is cut, or noise is appended.
    Length,
    /// The block number is another one.
    Number,
    /// The M bit or the block size is another one.
    Block,
    /// The payload is left out, or is noise of another length.
    Payload,
}

/// Many datagrams at a rate. No answer to them is waited for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Burst {
    /// What is sent; the message id and a token that is not given are new each time.
    pub datagram: Datagram,
    /// How many.
    pub count: u32,
    /// How many a second; 100 if absent.
    pub rate: Option<u32>,
    /// Message types in turn, instead of that of `datagram`.
    pub types: Option<Many<MessageType>>,
    /// Seeded damage: one of these to each datagram.
    pub mutate: Option<Many<Mutation>>,
    /// Between that many datagrams `/3/0/3` is read, which must be answered.
    pub alive_every: Option<At<u32>>,
}
