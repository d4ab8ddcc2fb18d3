//! What an adapter says: its hello, replies, events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::request::Value;

/// One line of an adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(
    clippy::large_enum_variant,
    reason = "messages are handled one by one, never kept in numbers"
)]
pub enum Message {
    /// An event. The first line of an adapter is the event `hello`.
    Event(Event),
    /// The answer to a request.
    Reply(Reply),
}

/// The answer to a request: exactly one of `ok` and `error`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reply {
    /// That of the request; 0 when what came was no request at all, so that its id is not known.
    pub id: u64,
    /// It was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<Answer>,
    /// It was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ReplyError>,
}

/// What a reply carries; which fields there are depends on the operation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Answer {
    /// Of `start`: where the instance can be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<Addresses>,
    /// Of `await-registered`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<Registration>,
    /// Of an operation on a device: what the device answered. An error code of the device stands here too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Response>,
    /// Of `observe`: the name of the observation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observation: Option<String>,
    /// Of `serve-file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Of `update-progress`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Of `image-digest`: in hexadecimal; empty when there is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Where an instance can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Addresses {
    /// CoAP over UDP, `127.0.0.1:5683`.
    pub coap: String,
    /// CoAP over DTLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coaps: Option<String>,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ReplyError {
    /// The kind.
    pub kind: ErrorKind,
    /// For people.
    #[serde(default)]
    pub message: String,
}

/// Kinds of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The name of the operation is not known.
    UnknownOperation,
    /// Known, but this implementation cannot do it.
    Unsupported,
    /// The request lacks something or makes no sense.
    BadRequest,
    /// There is no such instance, observation or update.
    Unknown,
    /// The endpoint is not registered.
    NotRegistered,
    /// Nothing came back in time.
    Timeout,
    /// The implementation failed.
    Failed,
}

/// A registration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Registration {
    /// Its address as the server sees it.
    #[serde(default)]
    pub address: String,
    /// Seconds.
    #[serde(default)]
    pub lifetime: u64,
    /// `1.0`, `1.1` or `1.2`.
    #[serde(default)]
    pub lwm2m: String,
    /// Binding.
    #[serde(default)]
    pub binding: String,
    /// The object list in link format.
    #[serde(default)]
    pub links: String,
}

/// What a device answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Response {
    /// The response code, `2.05`.
    pub code: String,
    /// Of a single resource: its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Of anything else that has values, such as a multiple resource or an object instance: the values by path.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub values: std::collections::BTreeMap<String, Value>,
    /// The payload as text where the answer is text or link format; a diagnostic text of an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// What happens on its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Event {
    /// The adapter is there and takes requests.
    Hello(Hello),
    /// A device registered.
    Registered {
        /// The instance.
        instance: String,
        /// The device.
        endpoint: String,
        /// The registration.
        #[serde(default)]
        registration: Registration,
    },
    /// A device updated its registration.
    Updated {
        /// The instance.
        instance: String,
        /// The device.
        endpoint: String,
        /// The registration.
        #[serde(default)]
        registration: Registration,
    },
    /// A registration ended.
    Deregistered {
        /// The instance.
        instance: String,
        /// The device.
        endpoint: String,
        /// Its lifetime was over.
        #[serde(default)]
        expired: bool,
    },
    /// A notification.
    Notification {
        /// The instance.
        instance: String,
        /// The device.
        endpoint: String,
        /// The observation, from the reply to `observe`.
        #[serde(default)]
        observation: String,
        /// What was observed.
        path: String,
        /// What it says.
        response: Response,
    },
    /// A Send of a device.
    Send {
        /// The instance.
        instance: String,
        /// The device.
        endpoint: String,
        /// The values by path.
        values: std::collections::BTreeMap<String, Value>,
    },
    /// The answer to a request that the server's own engine made; for reports only.
    Response {
        /// The instance.
        instance: String,
        /// The device.
        endpoint: String,
        /// The operation, such as `read`.
        operation: String,
        /// What it was about.
        path: String,
        /// The answer.
        response: Response,
    },
    /// Where an update is, whenever that changes.
    UpdateStatus {
        /// The instance.
        instance: String,
        /// The update.
        update: String,
        /// Where it is.
        progress: Progress,
    },
    /// A device that the adapter holds ended on its own.
    DeviceEnded {
        /// The instance.
        instance: String,
        /// How.
        #[serde(default)]
        reason: String,
    },
    /// A line for people.
    Log {
        /// The text.
        text: String,
    },
    /// An event of a later version of the protocol.
    #[serde(other)]
    Unknown,
}

impl Event {
    /// The instance that it is about.
    #[must_use]
    pub fn instance(&self) -> Option<&str> {
        match self {
            Self::Registered { instance, .. }
            | Self::Updated { instance, .. }
            | Self::Deregistered { instance, .. }
            | Self::Notification { instance, .. }
            | Self::Send { instance, .. }
            | Self::Response { instance, .. }
            | Self::UpdateStatus { instance, .. }
            | Self::DeviceEnded { instance, .. } => Some(instance),
            Self::Hello(_) | Self::Log { .. } | Self::Unknown => None,
        }
    }
}

/// The first line of an adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Hello {
    /// The version of this protocol, `1.0`. Another first number ends the conversation.
    pub protocol: String,
    /// Name of the implementation.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `server` or `client`.
    pub role: String,
    /// Names of the operations that it can do.
    pub capabilities: Vec<String>,
    /// How many instances at once; absent for no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<u32>,
}

/// Where an update is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Progress {
    /// Where.
    pub status: UpdateStatus,
    /// State of the firmware object as the server knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<u8>,
    /// Update Result as the server knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<u8>,
    /// How much of the package was transferred, by a push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// Push or pull, once it is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The firmware version of the device as the server knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The stations of an update. The last four are final.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateStatus {
    /// Not begun: the device is not there, or a condition does not hold.
    #[default]
    Waiting,
    /// The package is on its way.
    Transferring,
    /// The device has it; the Execute waits for its moment.
    Downloaded,
    /// The device was told to install.
    Updating,
    /// The device put the installation off (Result 11).
    Deferred,
    /// Held by `update-pause`.
    Paused,
    /// The device runs the new version.
    Succeeded,
    /// It does not.
    Failed,
    /// The device or the operator gave up.
    Cancelled,
}

impl UpdateStatus {
    /// Whether nothing more will come.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}
