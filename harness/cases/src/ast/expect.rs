//! Expectations: what must hold after a step, with grades.
//!
//! All fields of an [`Expect`] must hold. They are judged in this order: the answer of the step,
//! events to wait for (registration, states, notifications, messages), then what is read now.
//! Nested `should` and `advice` are judged the same way and reported with their grade;
//! `requires` makes the case inconclusive when it does not hold; `any-of` holds when one of its
//! outcomes does, and reports that outcome's grade.

use std::collections::BTreeMap;

use core::fmt;
use core::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use super::campaign::{ProgressExpect, StatusName, TellsExpect};
use super::device::DeviceFacts;
use super::scalar::{
    At, BlockText, CodeMatch, DataFormat, Hex, Many, MessageType, Method, Pair, ParseProblem, Path, ResultName, Span,
    StateName, ValueMatch,
};
use super::step::Payload;
use super::traffic::{OptionMatch, Share, Spacing, Turns};
use super::values::{Compare, SendExpect, TlvExpect};

/// What must hold.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Expect {
    // the answer of this step
    /// The code of the answer: one of these.
    pub code: Option<At<Many<CodeMatch>>>,
    /// Content-Format of the answer.
    pub format: Option<At<DataFormat>>,
    /// Every answer to every block of the push.
    pub answers: Option<At<Answers>>,
    /// Values in the answer by path; relative to nothing, always whole paths.
    pub values: Option<BTreeMap<String, ValueMatch>>,
    /// Paths (or links, after a discover) that the answer has.
    pub has: Option<Many<Path>>,
    /// Paths (or links) that the answer lacks.
    pub lacks: Option<Many<Path>>,
    /// Length of the answer's payload in bytes.
    pub payload_length: Option<ValueMatch>,
    /// The answer's payload are these bytes; from their first on, where the answer gives a smaller block.
    pub body: Option<At<Payload>>,
    /// Attributes of links in the answer to a discover, by target and name; `none` where there is none, or no such link.
    pub attributes: Option<At<BTreeMap<String, BTreeMap<String, ValueMatch>>>>,
    /// How entries of an answer in TLV are written, by path.
    pub tlv: Option<At<BTreeMap<String, TlvExpect>>>,
    /// Values of the answer or fields of messages beside what was remembered.
    pub compare: Option<At<Many<Compare>>>,

    // the firmware object
    /// The stations that State goes through since this step began; `?` marks one that may go
    /// unseen. The last one is waited for.
    pub path: Option<At<Vec<Station>>>,
    /// The Result at the end of `path`.
    pub result: Option<At<Many<ResultName>>>,
    /// The pair at the end, after it has been stable: one of these.
    pub ends: Option<At<Many<Pair>>>,
    /// How long a pair has to be stable to be the end; the parameter `stable` if absent.
    pub stable: Option<Span>,
    /// The pair as read now: one of these.
    pub pair: Option<At<Many<Pair>>>,
    /// The pair is what it was before this step.
    pub unchanged: Option<At<bool>>,
    /// States that are not seen from this step on to the end of the case.
    pub never: Option<At<Many<StateName>>>,
    /// The object that `path`, `ends` and `pair` are about: 5 or 9.
    pub object: Option<u16>,
    /// The firmware version as read from `/3/0/3`.
    pub firmware_version: Option<At<FirmwareVersion>>,
    /// The image that the IUT holds is the one of this package (`firmware` for the case's); `none`
    /// when it must hold no image.
    pub image: Option<At<String>>,

    // events
    /// A registration that was received (since this step began, if `new`).
    pub registration: Option<At<RegistrationExpect>>,
    /// Number of registrations received since the case began.
    pub registrations: Option<At<ValueMatch>>,
    /// A notification since this step began.
    pub notification: Option<At<NotificationExpect>>,
    /// A Send of the IUT.
    pub send: Option<At<SendExpect>>,
    /// Messages seen at the IUT's end of the link.
    pub messages: Option<At<Many<MessageExpect>>>,
    /// Nothing of this kind is sent for the time given by `for` in it.
    pub silence: Option<At<Many<MessageExpect>>>,
    /// The IUT answers a read of `/3/0/3`.
    pub alive: Option<At<bool>>,

    // for a server under test
    /// The device whose own truth `path`, `ends`, `pair`, `never`, `unchanged`, `firmware-version`, `image`, `executes`,
    /// `facts`, `ends-well`, `status`, `progress` and `tells` are about; `main` if absent.
    pub device: Option<At<String>>,
    /// The update ends well: the package arrived with the right digest, one Execute was sent and in 2/0, the device runs the
    /// new version, and the server says so if it says anything (`srv:report`).
    pub ends_well: Option<At<bool>>,
    /// Status of the update as the server tells it: one of these.
    pub status: Option<At<Many<StatusName>>>,
    /// Statuses that the server has not told since the update began.
    pub not_status: Option<At<Many<StatusName>>>,
    /// What else the server last told of the update.
    pub progress: Option<At<ProgressExpect>>,
    /// What the server has told of the device since the case began.
    pub tells: Option<At<TellsExpect>>,
    /// Executes of Update that the device obeyed since the case began.
    pub executes: Option<At<ValueMatch>>,
    /// What the device knows.
    pub facts: Option<At<DeviceFacts>>,

    // how long and how strictly
    /// The events come at most this long after the action of the step is over.
    pub within: Option<At<Span>>,
    /// The events come at least this long after the last action began: of `path`, `ends`,
    /// `registration`, `notification` and `messages`.
    pub not_before: Option<At<Span>>,
    /// Only when these claims hold.
    pub when: Option<At<String>>,
    /// The clauses of this expectation; those of the case if absent.
    pub clauses: Option<Vec<At<String>>>,
    /// Why, for the reader of a report.
    pub because: Option<String>,
    /// What should hold besides: reported, fails only under `--strict`.
    pub should: Option<Box<At<Self>>>,
    /// What would be good: reported, fails only under `--strict`.
    pub advice: Option<Box<At<Self>>>,
    /// What must hold for the case to say anything: else it is inconclusive.
    pub requires: Option<Box<At<Self>>>,
    /// One of these holds; the first that does counts, with its grade.
    pub any_of: Option<At<Vec<At<Outcome>>>>,
    /// All of these hold; for conditions with a `when` of their own.
    pub all_of: Option<Vec<At<Self>>>,
    /// Record these figures of the step: `time`, `bytes`, `packets`, `transmissions`, `fragments`, `largest-packet` (the largest IP
    /// packet of the IUT that went through in one piece).
    pub record: Option<Many<String>>,
    /// Figures since the last action began, and what they must be: `time` (in seconds), `bytes`, `packets`, `fragments`,
    /// `transmissions`, `largest-packet`.
    pub figures: Option<At<BTreeMap<String, ValueMatch>>>,
}

/// One acceptable outcome of `any-of`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Outcome {
    /// What it means when this is the outcome; `pass` if absent.
    #[serde(default)]
    pub grade: OutcomeGrade,
    /// What is said of it in the report.
    pub note: Option<String>,
    /// The case is over with this outcome: the steps after this one are left out.
    pub ends_case: Option<bool>,
    /// What it is.
    pub expect: At<Expect>,
}

/// What an outcome means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeGrade {
    /// As it must be.
    #[default]
    Pass,
    /// Tolerated, reported as a warning.
    Should,
    /// Tolerated, noted.
    Advice,
    /// The specifications do not say: the case ends inconclusive.
    Inconclusive,
}

/// Every answer to every block of a push.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Answers {
    /// The code of the answers to all but the last block.
    pub code: Option<Many<CodeMatch>>,
    /// NUM and M of the answer are those of the block, and the size is not larger.
    pub block: Option<bool>,
    /// The answer to the last block carries Block1.
    pub last_block: Option<bool>,
}

/// A state on the way, `downloading?` when it may go unseen; also a pair, `2/0`, `1/0?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Station {
    /// The state.
    pub state: u8,
    /// The result, when the station is a pair.
    pub result: Option<u8>,
    /// May go unseen.
    pub optional: bool,
}

impl fmt::Display for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.result {
            Some(result) => write!(f, "{}/{result}", self.state)?,
            None => write!(f, "{}", StateName(self.state))?,
        }
        f.write_str(if self.optional { "?" } else { "" })
    }
}

impl FromStr for Station {
    type Err = ParseProblem;
    fn from_str(text: &str) -> Result<Self, ParseProblem> {
        let (word, optional) = match text.strip_suffix('?') {
            Some(word) => (word, true),
            None => (text, false),
        };
        if let Ok(StateName(state)) = word.parse() {
            return Ok(Self {
                state,
                result: None,
                optional,
            });
        }
        match word.parse::<Pair>() {
            Ok(Pair { state, result }) => Ok(Self {
                state,
                result,
                optional,
            }),
            Err(_) => Err(ParseProblem {
                expected: "a state (idle, downloading, downloaded, updating) or a pair such as 2/0, with ? when it may go unseen",
                found: text.to_owned(),
            }),
        }
    }
}

impl<'de> Deserialize<'de> for Station {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Station {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Station".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^((idle|downloading|downloaded|updating)|[0-9]+/([0-9]+|\\*))\\??$"})
    }
}

/// A firmware version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirmwareVersion {
    /// That of the package.
    New,
    /// The one that was running when the case began.
    Old,
    /// This one.
    Is(String),
}

impl<'de> Deserialize<'de> for FirmwareVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match String::deserialize(deserializer)?.as_str() {
            "new" => Self::New,
            "old" => Self::Old,
            other => Self::Is(other.to_owned()),
        })
    }
}

impl JsonSchema for FirmwareVersion {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FirmwareVersion".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "description": "new, old, or a version"})
    }
}

/// What a registration must be like.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RegistrationExpect {
    /// It came after this step began.
    pub new: Option<bool>,
    /// The same endpoint name as before.
    pub same_endpoint: Option<bool>,
    /// From another address or port than before.
    pub new_address: Option<bool>,
    /// Query parameters by name: `ep`, `lt`, `lwm2m`, `b`.
    #[serde(default)]
    pub query: BTreeMap<String, ValueMatch>,
    /// Links that the object list has.
    pub has: Option<Many<Path>>,
    /// Links that it lacks; an object stands for its instances too.
    pub lacks: Option<Many<Path>>,
    /// Attributes of its links, by target and name, such as `ver` of `/5`; `none` where there is none, or no such link.
    #[serde(default)]
    pub attributes: BTreeMap<String, BTreeMap<String, ValueMatch>>,
}

/// What a notification must be like.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NotificationExpect {
    /// Of this path.
    pub path: Path,
    /// With this value.
    pub value: Option<ValueMatch>,
    /// With these values by path, where several are observed at once.
    #[serde(default)]
    pub values: BTreeMap<String, ValueMatch>,
    /// At least this long after the notification or answer before it on the same path.
    pub after_previous: Option<Span>,
}

/// A sender or receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party {
    /// The implementation under test.
    Iut,
    /// The reference server.
    Server,
    /// Another host that is no configured server.
    Stranger,
    /// Another port of the server's host.
    OtherPort,
    /// A repository, by name.
    Repository(String),
    /// A device of the harness, by name, where the IUT is a server.
    Device(String),
}

impl FromStr for Party {
    type Err = ParseProblem;
    fn from_str(text: &str) -> Result<Self, ParseProblem> {
        match text {
            "iut" => Ok(Self::Iut),
            "server" => Ok(Self::Server),
            "stranger" => Ok(Self::Stranger),
            "other-port" => Ok(Self::OtherPort),
            "repository" => Ok(Self::Repository("main".to_owned())),
            "device" => Ok(Self::Device("main".to_owned())),
            other => match (other.strip_prefix("repository."), other.strip_prefix("device.")) {
                (Some(name), _) => Ok(Self::Repository(name.to_owned())),
                (None, Some(name)) => Ok(Self::Device(name.to_owned())),
                (None, None) => Err(ParseProblem {
                    expected: "a party: iut, server, stranger, other-port, repository, repository.NAME, device, device.NAME",
                    found: text.to_owned(),
                }),
            },
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iut => f.write_str("the IUT"),
            Self::Server => f.write_str("the server"),
            Self::Stranger => f.write_str("the stranger"),
            Self::OtherPort => f.write_str("the server's other port"),
            Self::Repository(name) => write!(f, "repository {name}"),
            Self::Device(name) if name == "main" => f.write_str("the device"),
            Self::Device(name) => write!(f, "device {name}"),
        }
    }
}

impl<'de> Deserialize<'de> for Party {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Party {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Party".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "description": "iut, server, stranger, other-port, repository, repository.NAME, device, device.NAME"})
    }
}

/// Which messages, as seen at the IUT's end of the link; what is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MessageMatch {
    /// The sender; the IUT if absent.
    pub from: Option<Party>,
    /// The receiver.
    pub to: Option<Party>,
    /// Message type.
    #[serde(rename = "type")]
    pub kind: Option<Many<MessageType>>,
    /// Request method.
    pub method: Option<Many<Method>>,
    /// Response code; `any` for any response.
    pub code: Option<Many<CodeMatch>>,
    /// An Empty message (`true`) or any other (`false`).
    pub empty: Option<bool>,
    /// Path of the request, or of the request that a response answers. Ends with `/*` for all
    /// below.
    pub path: Option<Many<Path>>,
    /// Uri-Query options, exactly these in this order, decoded.
    pub query: Option<Vec<String>>,
    /// Uri-Query options that are there, in any order: a name such as `lt`, or `name=value`.
    pub query_has: Option<Many<String>>,
    /// Uri-Path options, exactly these in this order, decoded.
    pub segments: Option<Vec<String>>,
    /// Block1.
    pub block1: Option<BlockText>,
    /// Block number of Block1.
    pub block1_num: Option<ValueMatch>,
    /// Block size of Block1, where there is the option.
    pub block1_size: Option<ValueMatch>,
    /// Block2.
    pub block2: Option<BlockText>,
    /// Block number of Block2; 0 in a GET without the option.
    pub block2_num: Option<ValueMatch>,
    /// Block size of Block2, where there is the option.
    pub block2_size: Option<ValueMatch>,
    /// Whether there is an Observe option.
    pub observe: Option<bool>,
    /// Content-Format: one of these.
    pub format: Option<Many<DataFormat>>,
    /// Token.
    pub token: Option<Hex>,
    /// Whether there is an ETag option.
    pub etag: Option<bool>,
    /// Whether there is a Location-Path option.
    pub location: Option<bool>,
    /// IP packet size in bytes; the largest fragment where there are several.
    pub packet_size: Option<ValueMatch>,
    /// Number of IP fragments.
    pub fragments: Option<ValueMatch>,
    /// Whether it is a retransmission (same sender, receiver and message id as before).
    pub again: Option<bool>,
    /// Whether its message id had been acknowledged or reset, as the sender could know.
    pub acknowledged: Option<bool>,
    /// A text that the payload holds.
    pub payload_has: Option<String>,
    /// Length of the payload in bytes.
    pub payload_length: Option<ValueMatch>,
    /// Whether it goes to an address that its receiver has left: the IUT has heard it from another one since.
    pub old_address: Option<bool>,
    /// Length of the token in bytes.
    pub token_length: Option<ValueMatch>,
    /// Options of any number.
    pub options: Option<Many<OptionMatch>>,
}

/// Times between messages.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Intervals {
    /// The shortest first interval.
    pub least: Span,
    /// The longest first interval.
    pub most: Span,
    /// Each interval is this many times the one before; 1 if absent.
    pub factor: Option<f64>,
    /// What a real clock may be off, each way.
    pub tolerance: Option<Span>,
}

/// What messages must be like, or how many there are.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MessageExpect {
    /// Which messages.
    #[serde(rename = "match")]
    pub select: MessageMatch,
    /// Since the step with this label began, or `start`; since this step began if absent.
    pub since: Option<At<String>>,
    /// How many; at least one if absent and nothing else is asked. Counted at the end of the
    /// time given by `for`, else as soon as it holds, at the latest at `within`.
    pub count: Option<ValueMatch>,
    /// Only those with the message id of the first that matches: one message and its copies.
    pub of_first: Option<bool>,
    /// Only those with the message id of the last that matches.
    pub of_last: Option<bool>,
    /// Count only different messages (by sender and message id).
    pub distinct: Option<bool>,
    /// Listen for this long before judging.
    #[serde(rename = "for")]
    pub listen: Option<Span>,
    /// All are the same byte for byte.
    pub identical: Option<bool>,
    /// All have the same message id.
    pub same_message_id: Option<bool>,
    /// All have the same token.
    pub same_token: Option<bool>,
    /// All have an ETag, and the same.
    pub same_etag: Option<bool>,
    /// Each of them is also like this.
    pub each: Option<MessageMatch>,
    /// Times between them.
    pub intervals: Option<Intervals>,
    /// Block sizes never grow from one to the next.
    pub sizes_never_grow: Option<bool>,
    /// Block numbers follow each other: each starts where the one before ended.
    pub contiguous: Option<bool>,
    /// All tokens differ, repeats of a message left out.
    pub different_tokens: Option<bool>,
    /// All message ids differ, repeats of a message left out.
    pub different_message_ids: Option<bool>,
    /// The value of Observe rises from each message to the next (RFC 7641 section 3.4), repeats left out.
    pub observe_rises: Option<bool>,
    /// Bounds on every interval.
    pub spaced: Option<Spacing>,
    /// All of them came before the first of these.
    pub before: Option<MessageMatch>,
    /// All of them came after the first of these.
    pub after: Option<MessageMatch>,
    /// The sum of their UDP payloads in bytes.
    pub total_bytes: Option<ValueMatch>,
    /// How many there are for each of others.
    pub share: Option<Share>,
    /// They take turns with others.
    pub turns: Option<Turns>,
    /// For Confirmable messages of the IUT: how many to one receiver wait for their acknowledgement at the same time, at the
    /// most (RFC 7252 section 4.7). One that the sender has evidently given up is not counted.
    pub outstanding: Option<ValueMatch>,
    /// What is being counted, for the report.
    pub what: Option<String>,
}
