//! What the harness asks of an adapter.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A request: one line. The adapter answers it by exactly one [`Reply`](crate::Reply) with the same id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Request {
    /// Chosen by the harness, never 0 and never used twice in the life of an adapter.
    pub id: u64,
    /// What is asked, and of what.
    #[serde(flatten)]
    pub operation: Operation,
}

/// The operations. `op` names them; an adapter refuses a name that it does not know with the error `unknown-operation`.
///
/// An *instance* is one server (or device) that the adapter runs; an adapter may run several at once, as its hello says. Paths are
/// LwM2M paths such as `/5/0/3`. Times are milliseconds of real time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Operation {
    /// Starts an instance. Replied to when it can be reached; the reply has `addresses`.
    Start {
        /// Its name, of `[a-z0-9-]`.
        instance: String,
        /// Where it listens.
        listen: Listen,
        /// What peers have to present.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        security: Option<Security>,
        /// Timings that differ from the defaults of CoAP, if the server can be told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timings: Option<Timings>,
        /// A folder of its own for files.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        folder: Option<String>,
    },
    /// Ends an instance and frees its addresses.
    Stop {
        /// The instance.
        instance: String,
    },
    /// Ends all instances; after the reply the adapter exits with 0.
    Quit,

    // the library level: a server that does what it is told
    /// Replied to when the endpoint is registered, at once if it is; the reply has `registration`.
    AwaitRegistered {
        /// The instance.
        instance: String,
        /// The device.
        endpoint: String,
        /// The error `timeout` after this time.
        timeout_ms: u64,
    },
    /// Reads; the reply has `response`.
    Read {
        /// The instance.
        instance: String,
        /// The device.
        endpoint: String,
        /// What is read.
        path: String,
    },
    /// Writes one resource; the reply has `response`.
    Write {
        /// The instance.
        instance: String,
        /// The device.
        endpoint: String,
        /// What is written.
        path: String,
        /// The value.
        value: Value,
    },
    /// Writes the bytes of a file to an opaque resource, in blocks; the reply comes after the last block and has `response`.
    WriteBlocks {
        /// The instance.
        instance: String,
        /// The device.
        endpoint: String,
        /// The resource, `/5/0/0`.
        path: String,
        /// The file.
        file: String,
        /// Block size in bytes, if the server can be told.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        block: Option<u16>,
    },
    /// Executes a resource; the reply has `response`.
    Execute {
        /// The instance.
        instance: String,
        /// The device.
        endpoint: String,
        /// The resource.
        path: String,
        /// Arguments.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        arguments: Option<String>,
    },
    /// Observes; the reply has `response` and `observation`. Notifications come as events.
    Observe {
        /// The instance.
        instance: String,
        /// The device.
        endpoint: String,
        /// What is observed.
        path: String,
    },
    /// Ends an observation.
    Cancel {
        /// The instance.
        instance: String,
        /// Its name, from the reply to `observe`.
        observation: String,
    },
    /// Discovers; the reply has `response`, whose `text` is the link format.
    Discover {
        /// The instance.
        instance: String,
        /// The device.
        endpoint: String,
        /// Where.
        path: String,
    },
    /// Writes attributes; the reply has `response`.
    WriteAttributes {
        /// The instance.
        instance: String,
        /// The device.
        endpoint: String,
        /// To what.
        path: String,
        /// As in a query, by name: `pmin`, `pmax`, `gt`, `lt`, `st`.
        attributes: BTreeMap<String, f64>,
    },
    /// Offers a file in the server's own repository; the reply has `uri`.
    ServeFile {
        /// The instance.
        instance: String,
        /// The file.
        file: String,
        /// Path in the URI, such as `/fw/v2.bin`, if the server lets one choose.
        path: String,
    },

    // the campaign level: a server with an update engine of its own
    /// Starts an update of one endpoint; the reply comes at once. How it goes is told by `update-status` events.
    UpdateStart {
        /// The instance.
        instance: String,
        /// Name of the update, chosen by the harness.
        update: String,
        /// The device.
        endpoint: String,
        /// What is installed.
        package: Package,
        /// The way the package goes.
        #[serde(default)]
        method: Method,
        /// When and under which conditions.
        #[serde(default)]
        conditions: Conditions,
    },
    /// Holds an update: no further step of it is begun.
    UpdatePause {
        /// The instance.
        instance: String,
        /// The update.
        update: String,
    },
    /// Goes on with an update.
    UpdateResume {
        /// The instance.
        instance: String,
        /// The update.
        update: String,
    },
    /// Gives an update up.
    UpdateCancel {
        /// The instance.
        instance: String,
        /// The update.
        update: String,
    },
    /// Asks where an update is; the reply has `progress`.
    UpdateProgress {
        /// The instance.
        instance: String,
        /// The update.
        update: String,
    },

    // devices that need a hand
    /// Does something to a device that cannot be done from outside.
    Device {
        /// The instance.
        instance: String,
        /// What.
        action: DeviceAction,
        /// For `press`: which button.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        argument: Option<String>,
    },
    /// Asks for the SHA-256 of the image that a device holds; the reply has `sha256`.
    ImageDigest {
        /// The instance.
        instance: String,
    },
    /// An operation that the harness knows to be none: `fotaproof adapter check` sends it to see that it is refused.
    #[serde(rename = "no-such-operation")]
    NoSuchOperation {},
}

impl Operation {
    /// Its name, which is the word of `capabilities` for it too.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Start { .. } => "start",
            Self::Stop { .. } => "stop",
            Self::Quit => "quit",
            Self::AwaitRegistered { .. } => "await-registered",
            Self::Read { .. } => "read",
            Self::Write { .. } => "write",
            Self::WriteBlocks { .. } => "write-blocks",
            Self::Execute { .. } => "execute",
            Self::Observe { .. } => "observe",
            Self::Cancel { .. } => "cancel",
            Self::Discover { .. } => "discover",
            Self::WriteAttributes { .. } => "write-attributes",
            Self::ServeFile { .. } => "serve-file",
            Self::UpdateStart { .. } => "update-start",
            Self::UpdatePause { .. } => "update-pause",
            Self::UpdateResume { .. } => "update-resume",
            Self::UpdateCancel { .. } => "update-cancel",
            Self::UpdateProgress { .. } => "update-progress",
            Self::Device { .. } => "device",
            Self::ImageDigest { .. } => "image-digest",
            Self::NoSuchOperation {} => "no-such-operation",
        }
    }
}

/// Where an instance listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Listen {
    /// Address, `127.0.0.1`.
    pub host: String,
    /// UDP port for CoAP; 0 for a free one, which the reply names.
    pub port: u16,
    /// UDP port for CoAP over DTLS; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure_port: Option<u16>,
}

/// Credentials of the peers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "mode", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Security {
    /// No DTLS.
    None,
    /// A pre-shared key.
    Psk {
        /// The identity.
        identity: String,
        /// The key, in hexadecimal.
        key: String,
        /// The endpoint that alone may register with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endpoint: Option<String>,
        /// The credentials of further devices. No other identity is known.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        others: Vec<Credential>,
    },
}

/// A pre-shared key (RFC 4279).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Credential {
    /// The identity.
    pub identity: String,
    /// The key, in hexadecimal.
    pub key: String,
    /// The endpoint that alone may register with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

impl Credential {
    /// The bytes of the key; none when it is not hexadecimal.
    #[must_use]
    pub fn key_bytes(&self) -> Option<Vec<u8>> {
        let digits: Option<Vec<u8>> = self
            .key
            .chars()
            .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
            .collect();
        let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
        Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
    }
}

impl Security {
    /// All credentials; none without DTLS.
    #[must_use]
    pub fn credentials(&self) -> Vec<Credential> {
        match self {
            Self::None => Vec::new(),
            Self::Psk {
                identity,
                key,
                endpoint,
                others,
            } => {
                let first = Credential {
                    identity: identity.clone(),
                    key: key.clone(),
                    endpoint: endpoint.clone(),
                };
                core::iter::once(first).chain(others.iter().cloned()).collect()
            }
        }
    }

    /// The protocol's form of these credentials; none of no credential.
    #[must_use]
    pub fn of(mut credentials: Vec<Credential>) -> Option<Self> {
        if credentials.is_empty() {
            return None;
        }
        let first = credentials.remove(0);
        Some(Self::Psk {
            identity: first.identity,
            key: first.key,
            endpoint: first.endpoint,
            others: credentials,
        })
    }
}

/// Timings of the server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Timings {
    /// ACK_TIMEOUT (RFC 7252 section 4.8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack_timeout_ms: Option<u64>,
    /// MAX_RETRANSMIT (RFC 7252 section 4.8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retransmit: Option<u32>,
    /// How long an answer to a request is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_timeout_ms: Option<u64>,
}

/// A value of a resource, with its type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", content = "value", rename_all = "kebab-case")]
pub enum Value {
    /// Text.
    String(String),
    /// An integer.
    Integer(i64),
    /// A number.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// Bytes in hexadecimal.
    Opaque(String),
}

/// A firmware package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Package {
    /// The file.
    pub file: String,
    /// The version that it installs, as `/3/0/3` will show it.
    #[serde(default)]
    pub version: String,
    /// A repository that has it, by scheme (`coap`, `coaps`, `http`, `https`, `coap+tcp`); empty when the server hosts it itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub uris: BTreeMap<String, String>,
}

/// The way a package goes to the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The server chooses by what the device says of itself (object 5 resources 8 and 9).
    #[default]
    Auto,
    /// Push.
    Push,
    /// Pull.
    Pull,
}

/// When an update may do what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Conditions {
    /// The Execute is sent in one of these windows only: milliseconds after this request, from and to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub execute_windows_ms: Vec<(u64, u64)>,
    /// No transfer below this signal strength in dBm, as `/4/0/2` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_signal_dbm: Option<i64>,
    /// Periods that no Execute and no transfer may touch, such as measurements that are due: milliseconds after this request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep_clear_ms: Vec<(u64, u64)>,
}

/// What is done to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceAction {
    /// Switch it on.
    Start,
    /// Ask it to end.
    Stop,
    /// Cut its power.
    PowerCut,
    /// Press a button.
    Press,
    /// Wipe what it remembers.
    Wipe,
}
