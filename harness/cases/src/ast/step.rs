//! Steps: one action, some modifiers, and what is expected of it.
//!
//! An action without `expect` is a means: when it does not succeed, the question cannot be asked
//! and the case is inconclusive. An action with `expect` is judged by it and by nothing else.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::campaign::{ControlStep, ServerOp, UpdateSpec};
use super::case::{Fault, ServerBehaviour};
use super::device::DeviceStep;
use super::expect::{Expect, MessageMatch, Party};
use super::network::NetworkChange;
use super::scalar::{At, BlockText, DataFormat, Hex, Many, MessageType, Method, Path, Span};
use super::traffic::{Burst, Replay};
use super::values::{Remember, WriteComposite};

/// One step. Exactly one of the action fields is given, or only `expect`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Step {
    /// Waits until this has happened; it may have happened before, unless `new` is said.
    #[serde(rename = "await")]
    pub await_: Option<At<Await>>,
    /// Waits until the IUT has sent a message that matches, since the last step.
    pub await_message: Option<At<MessageMatch>>,
    /// Reads a resource, an instance or an object.
    pub read: Option<At<Path>>,
    /// Discovers an object, instance or resource.
    pub discover: Option<At<Path>>,
    /// Observes these paths.
    pub observe: Option<At<Many<Path>>>,
    /// Ends the observation of these paths.
    pub cancel_observation: Option<At<Many<Path>>>,
    /// Writes a resource or an instance.
    pub write: Option<At<Write>>,
    /// Resets the firmware object.
    pub reset: Option<At<Reset>>,
    /// Reads several paths at once (Core, Read-Composite).
    pub read_composite: Option<At<Many<Path>>>,
    /// Observes several paths at once (Core, Observe-Composite); the observation is that of `/`.
    pub observe_composite: Option<At<Many<Path>>>,
    /// Writes several resources at once (Core, Write-Composite).
    pub write_composite: Option<At<WriteComposite>>,
    /// Executes a resource.
    pub execute: Option<At<Path>>,
    /// Sets notification attributes.
    pub attributes: Option<At<Attributes>>,
    /// Pushes a package block by block.
    pub push: Option<At<Push>>,
    /// Writes a Package URI.
    pub pull: Option<At<Pull>>,
    /// Sends any CoAP request.
    pub request: Option<At<Request>>,
    /// Sends a message that need not be well formed.
    pub datagram: Option<At<Datagram>>,
    /// Sends a datagram of an earlier step again, byte for byte.
    pub resend: Option<At<Resend>>,
    /// Delivers a message that the IUT received before once more, byte for byte.
    pub replay: Option<At<Replay>>,
    /// Sends many datagrams at a rate.
    pub burst: Option<At<Burst>>,
    /// Ends the push or request of the step with this label, which runs in the background or pauses; nothing more of it is
    /// sent.
    pub abort: Option<At<String>>,
    /// Changes the network.
    pub network: Option<At<NetworkChange>>,
    /// Changes a repository or releases what it holds.
    pub repository: Option<At<RepositoryChange>>,
    /// Changes how the server answers.
    pub server: Option<At<ServerBehaviour>>,
    /// Starts, stops or kills the IUT.
    pub iut: Option<At<IutAction>>,
    /// Lets time pass.
    pub wait: Option<At<Span>>,
    /// Reads these paths again and again in the background.
    pub poll: Option<At<Poll>>,
    /// For a server under test: something happens to a device of the harness.
    pub device: Option<At<DeviceStep>>,
    /// For a server under test: an update of a device is begun.
    pub update: Option<At<UpdateSpec>>,
    /// For a server under test: an update is held, goes on or is given up; the one that was begun last, or the one that is
    /// named.
    pub update_control: Option<At<ControlStep>>,
    /// For a server under test: one operation that it is told to do.
    pub server_op: Option<At<ServerOp>>,

    /// For `read`, `observe`, `discover` and the composite reads: the format asked for.
    pub accept: Option<DataFormat>,
    /// For `execute`: the arguments.
    pub argument: Option<String>,
    /// For `cancel-observation`: by a GET with Observe 1 or by RST to the next notification.
    pub by: Option<Cancellation>,
    /// The step applies only when these claims hold.
    pub when: Option<At<String>>,
    /// A name by which later steps refer to this one.
    #[serde(rename = "as")]
    pub label: Option<At<String>>,
    /// What is remembered when the action is over, for later steps.
    pub remember: Option<Many<Remember>>,
    /// For `await` and `await-message`: at most this long; a minute if absent.
    pub within: Option<At<Span>>,
    /// For `await`: only what happens after this step began.
    pub new: Option<bool>,
    /// Do not wait for the answer of the request or the end of the push.
    pub background: Option<bool>,
    /// What must hold.
    pub expect: Option<At<Expect>>,
}

/// Events to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Await {
    /// The IUT is registered.
    Registration,
    /// A registration Update was received.
    Update,
    /// A De-register was received.
    Deregistration,
    /// A repository received a GET.
    Get,
    /// A repository holds a request.
    Hold,
    /// A notification was received.
    Notification,
    /// A Send was received.
    Send,
    /// The background push or request has ended.
    Answer,
}

/// Ways to end an observation (RFC 7641 section 3.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cancellation {
    /// GET with Observe 1 and the same token.
    #[default]
    Get,
    /// RST to the next notification.
    Rst,
}

/// Ways to reset the firmware object (object 5 resources 0 and 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reset {
    /// PUT of the single byte 00 to `/5/0/0`.
    Nul,
    /// PUT of the empty string to `/5/0/1`.
    EmptyUri,
}

/// A payload: exactly one field, or none for an empty payload.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Payload {
    /// UTF-8 text.
    pub text: Option<String>,
    /// An integer, in the step's format.
    pub integer: Option<i64>,
    /// A boolean, in the step's format.
    pub boolean: Option<bool>,
    /// Bytes.
    pub hex: Option<Hex>,
    /// This many bytes of seeded noise.
    pub random: Option<u32>,
    /// A package by name, `firmware` for the case's; only its first `bytes` if given.
    pub package: Option<String>,
    /// For `package`: the block of it that is sent.
    pub block: Option<BlockText>,
    /// Text repeated up to this many bytes.
    pub text_of_length: Option<u32>,
    /// All of these, one after the other.
    pub parts: Option<Vec<Self>>,
    /// Beside any of the others: what it says, as the opaque value of a resource in this format; in `text` as Base64.
    pub encode: Option<DataFormat>,
    /// For `encode`: the resource; `/5/0/0` if absent.
    pub resource: Option<Path>,
}

/// A Write of a resource.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Write {
    /// Where to.
    pub to: Path,
    /// In this format; text if absent, opaque for bytes.
    pub format: Option<DataFormat>,
    /// The value as text.
    pub text: Option<String>,
    /// The value as an integer.
    pub integer: Option<i64>,
    /// The value as a boolean.
    pub boolean: Option<bool>,
    /// The value as bytes.
    pub hex: Option<Hex>,
    /// For an instance: the values of its resources, by path; text, integer, boolean or hex each.
    pub values: Option<BTreeMap<String, Payload>>,
    /// POST (partial update) instead of PUT.
    pub partial: Option<bool>,
}

/// Notification attributes of a Write-Attributes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Attributes {
    /// Where to.
    pub to: Path,
    /// Minimum period in seconds.
    pub pmin: Option<u32>,
    /// Maximum period in seconds.
    pub pmax: Option<u32>,
    /// Greater than.
    pub gt: Option<f64>,
    /// Less than.
    pub lt: Option<f64>,
    /// Step.
    pub st: Option<f64>,
}

/// The method of a push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PushMethod {
    /// PUT, as the transport binding has it.
    #[default]
    Put,
    /// POST, as the example of the specification has it.
    Post,
}

/// Tokens of a push.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TokenUse {
    /// One token for the whole body.
    #[default]
    One,
    /// A new token for each block.
    Each,
}

/// A push of a package with Block1.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Push {
    /// Where to; `/5/0/0` if absent.
    pub to: Option<Path>,
    /// Block size; 512 if absent.
    pub block: Option<u16>,
    /// The package by name; the case's firmware if absent.
    pub package: Option<At<String>>,
    /// Other bytes than those of a package; its `encode` sets the Content-Format too.
    pub payload: Option<Payload>,
    /// PUT or POST.
    pub method: Option<PushMethod>,
    /// The Content-Format; opaque if absent, `none` for no option.
    pub format: Option<String>,
    /// The whole package in one message without Block1.
    pub single: Option<bool>,
    /// One token for the body or a new one for each block.
    pub tokens: Option<TokenUse>,
    /// Token length in bytes, 0 to 8.
    pub token_length: Option<u8>,
    /// A Size1 option in the first block: `exact`, or a number.
    pub size1: Option<String>,
    /// Only these blocks in this order: numbers and ranges such as `0..4`, `6`, `7..39`.
    pub blocks: Option<Vec<String>>,
    /// Stop after the answer to this block; the body stays open.
    pub stop_after: Option<u32>,
    /// Go on with the body of an earlier push from this block.
    pub from: Option<u32>,
    /// For `from`: the label of that push. With `block` the body goes on at that block size, and `from` counts in it.
    pub of: Option<At<String>>,
    /// Do not follow 4.08 and 4.13 by a restart.
    pub no_restart: Option<bool>,
    /// From another address of the harness.
    pub sender: Option<Party>,
}

/// A Write of the Package URI.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pull {
    /// Where to; `/5/0/1` if absent.
    pub to: Option<Path>,
    /// The repository by name; `main` if neither this nor `uri` is given.
    pub repository: Option<At<String>>,
    /// Any URI; may hold `{repository.NAME.host}` and `{repository.NAME.port}`.
    pub uri: Option<String>,
    /// The format of the Write; text if absent.
    pub format: Option<DataFormat>,
}

/// Any CoAP request, well formed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Request {
    /// The method.
    pub method: Option<Method>,
    /// The path.
    pub path: Option<Path>,
    /// CON if absent.
    #[serde(rename = "type")]
    pub kind: Option<MessageType>,
    /// Uri-Query options.
    pub query: Option<Vec<String>>,
    /// Token in hexadecimal; a random one if absent.
    pub token: Option<Hex>,
    /// Token length of a random token.
    pub token_length: Option<u8>,
    /// Content-Format.
    pub format: Option<DataFormat>,
    /// Accept.
    pub accept: Option<DataFormat>,
    /// Block1.
    pub block1: Option<BlockText>,
    /// Block2.
    pub block2: Option<BlockText>,
    /// Observe.
    pub observe: Option<u32>,
    /// An ETag in hexadecimal; `last` for that of the last answer that had one.
    pub etag: Option<String>,
    /// Further options, also unknown ones.
    pub options: Option<Vec<RawOption>>,
    /// The payload.
    pub payload: Option<Payload>,
    /// From another address of the harness.
    pub sender: Option<Party>,
    /// Send once; do not retransmit.
    pub once: Option<bool>,
}

/// One CoAP option as given.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RawOption {
    /// Option number.
    pub number: Option<u16>,
    /// Value as bytes.
    pub hex: Option<Hex>,
    /// Value as text.
    pub text: Option<String>,
    /// Value as an unsigned integer in its shortest form.
    pub uint: Option<u64>,
    /// The delta nibble as written, whatever the number.
    pub delta_nibble: Option<u8>,
    /// The length nibble as written, whatever the value.
    pub length_nibble: Option<u8>,
    /// The whole option as bytes.
    pub raw: Option<Hex>,
}

/// A message that need not be well formed. What is absent is as in a correct message.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Datagram {
    /// The whole datagram; excludes all other fields.
    pub hex: Option<Hex>,
    /// Version bits; 1 if absent.
    pub version: Option<u8>,
    /// Message type; CON if absent.
    #[serde(rename = "type")]
    pub kind: Option<MessageType>,
    /// The token length field as written.
    pub token_length: Option<u8>,
    /// The code; GET if absent, `0.00` for Empty.
    pub code: Option<Method>,
    /// The token.
    pub token: Option<Hex>,
    /// The path, as Uri-Path options.
    pub path: Option<Path>,
    /// Block1.
    pub block1: Option<BlockText>,
    /// Further options.
    pub options: Option<Vec<RawOption>>,
    /// Write the payload marker (`true`) even without a payload, or leave it out.
    pub marker: Option<bool>,
    /// The payload.
    pub payload: Option<Payload>,
    /// Bytes after everything.
    pub tail: Option<Hex>,
    /// Cut the datagram to this many bytes.
    pub length: Option<usize>,
    /// From another address of the harness.
    pub sender: Option<Party>,
    /// How long an answer is waited for; 5 s if absent.
    pub listen: Option<Span>,
}

/// A datagram of an earlier step, again.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Resend {
    /// The label of the step.
    pub of: At<String>,
    /// For a push: the block.
    pub block: Option<u32>,
    /// How long an answer is waited for; 5 s if absent.
    pub listen: Option<Span>,
}

/// A change of a repository.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RepositoryChange {
    /// Which; `main` if absent.
    pub name: Option<At<String>>,
    /// Gives the held responses and holds no more.
    pub release: Option<bool>,
    /// Replaces its faults.
    pub faults: Option<Vec<Fault>>,
    /// Replaces the file.
    pub package: Option<At<String>>,
}

/// What is done to the IUT from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum IutAction {
    /// Starts it on the state that it left; a server at the address that it had.
    Start,
    /// Asks it to end.
    Stop,
    /// Cuts its power; of a server it kills the process, adapter and all.
    PowerCut,
    /// Ends it if it runs, wipes its state and starts it; not for a server.
    Fresh,
}

/// Reads in the background.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Poll {
    /// The paths; an empty list ends polling.
    pub paths: Many<Path>,
    /// How often.
    pub every: Option<Span>,
}
