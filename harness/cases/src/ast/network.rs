//! The network of a case: a link with an MTU, impairments and rules.

use schemars::JsonSchema;
use serde::Deserialize;

use super::scalar::{Many, MessageType, Method, Path, Probability, Size, Span};

/// A direction of travel over the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// What the harness sends.
    Iut,
    /// Toward the server; what the IUT sends, unless the IUT is the server.
    Server,
    /// Toward the devices; what the IUT sends where it is a server.
    Device,
}

/// What the link does with a packet above its MTU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Oversize {
    /// Fragments it as IP does; each fragment has its own fate.
    #[default]
    Fragment,
    /// Loses it silently.
    Drop,
    /// Passes only first fragments, as some firewalls do.
    Filter,
    /// Refuses it and tells the sender.
    Refuse,
}

/// The link of a case. What is absent comes from the profile, or from the default link: IPv4,
/// MTU 1280, 20 ms each way, no loss.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Network {
    /// A named profile to start from: `nb-iot`, `lte-m`, `6lowpan`, ...
    pub profile: Option<String>,
    /// What it is, for a network file.
    pub summary: Option<String>,
    /// Where its figures come from, for a network file.
    pub sources: Option<Vec<String>>,
    /// Largest IP packet in bytes.
    pub mtu: Option<u16>,
    /// What happens to larger packets.
    pub oversize: Option<Oversize>,
    /// Use IPv6 addresses.
    pub ipv6: Option<bool>,
    /// Largest CoAP message where there is no IP (NIDD); larger ones are lost.
    pub pdu_limit: Option<u16>,
    /// Both directions.
    pub both: Option<Impairments>,
    /// Only toward the IUT; overrides `both`.
    pub toward_iut: Option<Impairments>,
    /// Only toward the server; overrides `both`.
    pub toward_server: Option<Impairments>,
    /// Only toward the devices, where the IUT is a server; overrides `both`.
    pub toward_device: Option<Impairments>,
    /// Times in which nothing passes.
    pub blackouts: Option<Vec<Window>>,
    /// Address translation between the IUT and the server.
    pub nat: Option<Nat>,
    /// Rules in order; the first that matches decides.
    pub rules: Option<Vec<Rule>>,
}

/// How one direction treats packets.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Impairments {
    /// Independent loss of each packet or fragment.
    pub loss: Option<Probability>,
    /// Loss in bursts; excludes `loss`.
    pub burst_loss: Option<GilbertElliott>,
    /// One-way delay.
    pub delay: Option<Span>,
    /// Uniform addition of at most this much to the delay.
    pub jitter: Option<Span>,
    /// Share of packets held back by `reorder-by`.
    pub reorder: Option<Probability>,
    /// How long a reordered packet is held back.
    pub reorder_by: Option<Span>,
    /// Share of packets delivered twice.
    pub duplicate: Option<Probability>,
    /// Probability of a flipped bit, for each bit.
    pub bit_error: Option<Probability>,
    /// Bits a second.
    pub rate: Option<u64>,
    /// Bytes that wait for the rate before packets are lost (drop-tail).
    pub queue: Option<Size>,
}

/// The Gilbert-Elliott model of burst loss.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct GilbertElliott {
    /// Probability of going from good to bad, for each packet.
    pub to_bad: Probability,
    /// Probability of going from bad to good, for each packet.
    pub to_good: Probability,
    /// Loss in the bad state.
    pub loss_in_bad: Probability,
    /// Loss in the good state.
    pub loss_in_good: Option<Probability>,
}

/// A time window since the start of the case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Window {
    /// When it begins.
    pub from: Span,
    /// When it ends.
    pub to: Span,
}

/// Address translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Nat {
    /// A mapping that was idle this long is replaced by a new one.
    pub idle: Option<Span>,
}

/// One rule: exactly one action, with what it selects.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rule {
    /// A name for reports; else the rule is shown by its text.
    pub name: Option<String>,
    /// Lets the packet pass, before later rules see it.
    pub pass: Option<Select>,
    /// Loses the packet.
    pub drop: Option<Select>,
    /// Holds the packet back by `by`.
    pub delay: Option<Select>,
    /// Delivers the packet `copies` more times, `gap` apart.
    pub duplicate: Option<Select>,
    /// Flips `bits` bits and mends the checksum, so that the receiver sees the damage.
    pub corrupt: Option<Select>,
    /// Cuts the datagram to `length` bytes and mends the checksum.
    pub truncate: Option<Select>,
    /// Exchanges the packet with the next one that matches.
    pub swap: Option<Select>,
    /// For `delay`.
    pub by: Option<Span>,
    /// For `duplicate`; one if absent.
    pub copies: Option<u16>,
    /// For `duplicate`.
    pub gap: Option<Span>,
    /// For `corrupt`; one if absent.
    pub bits: Option<u16>,
    /// For `truncate`.
    pub length: Option<u16>,
}

/// Which packets a rule is about; what is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Select {
    /// Direction of travel.
    pub toward: Option<Direction>,
    /// Only the n-th matching packet, from 1.
    pub nth: Option<u32>,
    /// Only every k-th matching packet.
    pub every: Option<u32>,
    /// IP packet of at least this size.
    pub min_size: Option<u16>,
    /// IP packet of at most this size.
    pub max_size: Option<u16>,
    /// Only this fragment of a fragmented datagram, from 0.
    pub fragment: Option<u16>,
    /// What the CoAP message must be.
    pub coap: Option<CoapSelect>,
    /// Only in this window since the start of the case or of the step that set the rule.
    pub between: Option<Window>,
    /// At most this many packets.
    pub times: Option<u32>,
    /// Each matching packet with this probability.
    pub probability: Option<Probability>,
}

/// CoAP facts of a packet.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CoapSelect {
    /// Message type.
    #[serde(rename = "type")]
    pub kind: Option<MessageType>,
    /// Request method.
    pub method: Option<Method>,
    /// Response code or class.
    pub code: Option<super::scalar::CodeMatch>,
    /// Path of the request, or of the request that a response answers.
    pub path: Option<Many<Path>>,
    /// Block1 of the message; an acknowledgement without one counts as of its request's block.
    pub block1: Option<BlockSelect>,
    /// Block2 of the message; a GET without one is of block 0.
    pub block2: Option<BlockSelect>,
    /// Whether the message carries an Observe option.
    pub observe: Option<bool>,
}

/// Which blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BlockSelect {
    /// Block 0.
    pub first: Option<bool>,
    /// The block without M.
    pub last: Option<bool>,
    /// This block number.
    pub num: Option<u32>,
    /// This block number and all above.
    pub from: Option<u32>,
    /// This block number and all below.
    pub to: Option<u32>,
    /// Every k-th block number.
    pub every: Option<u32>,
}

/// A change of the network in the middle of a case.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NetworkChange {
    /// Nothing passes for this long from now on.
    pub dead_for: Option<Span>,
    /// Nothing passes (`true`) or everything does again (`false`).
    pub dead: Option<bool>,
    /// A new MTU.
    pub mtu: Option<u16>,
    /// What happens to larger packets.
    pub oversize: Option<Oversize>,
    /// Gives the IUT a new address as the server sees it; the old mapping is dead.
    pub rebind: Option<bool>,
    /// New impairments of both directions.
    pub both: Option<Impairments>,
    /// Further rules, before those of the case.
    pub rules: Option<Vec<Rule>>,
    /// Removes the rules that steps have added.
    pub clear_rules: Option<bool>,
}
