//! What a server under test is asked to do by its adapter, and what it tells of its updates.

use core::fmt;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::network::Window;
use super::scalar::{At, Many, Path, ResultName, StateName, ValueMatch};
use super::step::{Attributes, Write};

/// The way by which the server is to bring the package.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateMethod {
    /// The server chooses by what the device says.
    #[default]
    Auto,
    /// Written to `/5/0/0`.
    Push,
    /// By a URI.
    Pull,
}

/// An update of one device, begun by the server's own engine; where it has none, by the harness over single operations.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UpdateSpec {
    /// The device; `main` if absent.
    pub device: Option<At<String>>,
    /// The way; `auto` if absent.
    pub method: Option<UpdateMethod>,
    /// The package by name; the case's firmware if absent.
    pub package: Option<At<String>>,
    /// The harness's repository that offers the package, for a pull; `main` if nothing is said of where it is.
    pub repository: Option<At<String>>,
    /// URIs of the package by scheme; may hold `{repository.NAME.host}` and `{repository.NAME.port}`.
    pub uris: Option<BTreeMap<String, String>>,
    /// The server offers the package in its own repository.
    pub hosted: Option<bool>,
    /// Times after this step in which alone the Execute may be sent.
    #[serde(default)]
    pub windows: Vec<Window>,
    /// Times after this step that neither a transfer nor an Execute may touch.
    #[serde(default)]
    pub keep_clear: Vec<Window>,
    /// No transfer below this signal strength in dBm.
    pub least_signal: Option<i64>,
}

/// What is done with an update that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateControl {
    /// Nothing more is begun.
    Pause,
    /// It goes on.
    Resume,
    /// It is given up.
    Cancel,
}

/// What is done with which update: a word, `pause`, about the update that was begun last, or a map that names another.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlStep {
    /// What is done.
    pub action: UpdateControl,
    /// The update that was begun last on this device.
    pub device: Option<At<String>>,
    /// The update that the step with this label began.
    pub update: Option<At<String>>,
}

/// [`ControlStep`] where it names the update.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct NamedControl {
    /// What is done.
    #[serde(rename = "do")]
    action: UpdateControl,
    /// The update that was begun last on this device.
    device: Option<At<String>>,
    /// The update that the step with this label began.
    update: Option<At<String>>,
}

impl<'de> Deserialize<'de> for ControlStep {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words;
        impl<'de> Visitor<'de> for Words {
            type Value = ControlStep;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`pause`, `resume`, `cancel`, or `{do: cancel, device: NAME}`")
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<ControlStep, E> {
                let action = UpdateControl::deserialize(de::value::StrDeserializer::new(word))?;
                Ok(ControlStep {
                    action,
                    device: None,
                    update: None,
                })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ControlStep, A::Error> {
                let named = NamedControl::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ControlStep {
                    action: named.action,
                    device: named.device,
                    update: named.update,
                })
            }
        }
        deserializer.deserialize_any(Words)
    }
}

impl JsonSchema for ControlStep {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ControlStep".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let word = generator.subschema_for::<UpdateControl>();
        let named = generator.subschema_for::<NamedControl>();
        json_schema!({"anyOf": [word, named]})
    }
}

/// One operation that the server is told to do. Exactly one of the operations is given.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServerOp {
    /// On this device; `main` if absent.
    pub device: Option<At<String>>,
    /// Reads.
    pub read: Option<Path>,
    /// Writes a value.
    pub write: Option<At<Write>>,
    /// Writes a package in blocks.
    pub write_blocks: Option<WriteBlocks>,
    /// Executes.
    pub execute: Option<Path>,
    /// For `execute`: the arguments.
    pub argument: Option<String>,
    /// Observes.
    pub observe: Option<Path>,
    /// Ends the observation of this path.
    pub cancel: Option<Path>,
    /// Discovers.
    pub discover: Option<Path>,
    /// Sets notification attributes.
    pub write_attributes: Option<Attributes>,
    /// Offers a package in the server's own repository.
    pub serve: Option<ServePackage>,
}

/// A package written in blocks.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WriteBlocks {
    /// Where to; `/5/0/0` if absent.
    pub to: Option<Path>,
    /// The package by name; the case's firmware if absent.
    pub package: Option<At<String>>,
    /// Block size, if the server can be told.
    pub block: Option<At<u16>>,
}

/// A package in the server's own repository.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServePackage {
    /// The package by name; the case's firmware if absent.
    pub package: Option<At<String>>,
    /// Path of its URI, if the server can be told; `/fw/v2.bin` if absent.
    pub path: Option<String>,
}

/// The stations of an update, as a server tells them. The last three are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StatusName {
    /// Not begun.
    Waiting,
    /// The package is on its way.
    Transferring,
    /// The device has it.
    Downloaded,
    /// The device was told to install.
    Updating,
    /// The device put the installation off.
    Deferred,
    /// Held by the operator.
    Paused,
    /// The device runs the new version.
    Succeeded,
    /// It does not.
    Failed,
    /// Given up.
    Cancelled,
}

impl fmt::Display for StatusName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Transferring => "transferring",
            Self::Downloaded => "downloaded",
            Self::Updating => "updating",
            Self::Deferred => "deferred",
            Self::Paused => "paused",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
}

/// What the server last told of an update, beside its status.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ProgressExpect {
    /// State as the server knows it.
    pub state: Option<Many<StateName>>,
    /// Result as the server knows it.
    pub result: Option<Many<ResultName>>,
    /// The way that was chosen: `push` or `pull`.
    pub method: Option<UpdateMethod>,
    /// Firmware version as the server knows it.
    pub version: Option<ValueMatch>,
    /// How much was transferred, in percent.
    pub percent: Option<ValueMatch>,
}

/// What the server has told of a device through its adapter since the case began.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TellsExpect {
    /// Registrations, new ones and those that replace an old one.
    pub registrations: Option<ValueMatch>,
    /// Updates of the registration.
    pub updates: Option<ValueMatch>,
    /// Notifications of what a step observes.
    pub notifications: Option<ValueMatch>,
}

impl TellsExpect {
    /// What is counted, in words.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        [
            ("registrations", &self.registrations),
            ("updates of the registration", &self.updates),
            ("notifications", &self.notifications),
        ]
        .into_iter()
        .filter_map(|(name, want)| Some(format!("{name} told by the server: {}", want.as_ref()?)))
        .collect()
    }
}

impl UpdateMethod {
    /// The word in the file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Push => "push",
            Self::Pull => "pull",
        }
    }
}
