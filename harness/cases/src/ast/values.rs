//! Values: several at once, remembered ones, and how they were encoded.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::expect::MessageMatch;
use super::scalar::{At, DataFormat, Many, Path, ValueMatch};
use super::step::Payload;

/// A Write-Composite: several resources of any objects, all or none.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WriteComposite {
    /// In this format; SenML CBOR if absent.
    pub format: Option<DataFormat>,
    /// The values by path: text, integer, boolean or hex each.
    pub values: BTreeMap<String, Payload>,
}

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MessagePart {
    /// The token, in hexadecimal.
    Token,
    /// The message id.
    MessageId,
    /// The ETag, in hexadecimal.
    Etag,
    /// The value of Observe.
    Observe,
    /// The payload, in hexadecimal.
    Payload,
    /// The length of the payload in bytes.
    PayloadLength,
    /// When it passed the IUT's end of the link, in seconds since the start.
    Time,
    /// The address and port of the sender.
    Sender,
    /// The Uri-Query options, joined by `&`.
    Query,
}

/// Something that is remembered under a name for later steps, where `{remembered.NAME}` stands for it too. Exactly one of
/// `value` and `message`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Remember {
    /// The name.
    pub name: At<String>,
    /// The value of this path in the answer of the step.
    pub value: Option<Path>,
    /// A field of the last message of this kind since the last action began.
    pub message: Option<MessageMatch>,
    /// For `message`: which field; the token if absent.
    pub part: Option<MessagePart>,
}

/// How a value relates to one that was remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// It is the same.
    #[default]
    Same,
    /// It is another one.
    Different,
    /// It is a greater number.
    Greater,
    /// It is a smaller number.
    Less,
    /// It is a number not smaller.
    AtLeast,
    /// It is a number not greater.
    AtMost,
    /// It is a number at most `by` away.
    Near,
}

/// A comparison with what was remembered. Exactly one of `value` and `message`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Compare {
    /// The value of this path in the answer of the step.
    pub value: Option<Path>,
    /// A field of the last message of this kind since the last action began.
    pub message: Option<MessageMatch>,
    /// For `message`: which field; the token if absent.
    pub part: Option<MessagePart>,
    /// The relation; `same` if absent.
    pub is: Option<Relation>,
    /// The name of what was remembered.
    pub to: At<String>,
    /// For `near`: how far at most.
    pub by: Option<f64>,
}

/// A Send of the IUT since the last action began (Core, Send).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SendExpect {
    /// Values in it by path.
    #[serde(default)]
    pub values: BTreeMap<String, ValueMatch>,
    /// Paths that it has, all in one Send.
    pub has: Option<Many<Path>>,
    /// Paths that it lacks.
    pub lacks: Option<Many<Path>>,
}

/// How one entry of a TLV answer is written (Core, TLV).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TlvExpect {
    /// The kind of the entry.
    pub kind: Option<TlvEntryKind>,
    /// Length of the value in bytes.
    pub length: Option<ValueMatch>,
    /// The type byte, as a number.
    pub type_byte: Option<ValueMatch>,
}

/// Kinds of TLV entries: bits 7 and 6 of the type byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TlvEntryKind {
    /// An object instance.
    ObjectInstance,
    /// A value of a multiple resource.
    ResourceInstance,
    /// A multiple resource.
    MultipleResource,
    /// A resource with its value.
    Resource,
}
