//! A case file from its top.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::device::DeviceSetup;
use super::network::Network;
use super::scalar::{At, CodeMatch, Size, Span};
use super::step::Step;

/// Which side of LwM2M the IUT is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The IUT is a client; the harness plays server, repository and network.
    #[default]
    Client,
    /// The IUT is a server; the harness plays devices.
    Server,
}

impl Role {
    /// The word in the file.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// One case (one variant of it, once its parameters are filled in).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Case {
    /// What must hold, in one sentence without a full stop.
    pub title: String,
    /// Why it is asked and what is done.
    pub purpose: String,
    /// The side of the IUT.
    #[serde(default)]
    pub role: At<Role>,
    /// Claims that the case needs, all of them; else it is not applicable.
    #[serde(default)]
    pub needs: Vec<At<String>>,
    /// The clauses that the case judges, from the clause catalogue.
    #[serde(default)]
    pub clauses: Vec<At<String>>,
    /// Ids of the OMA enabler test specification that the case covers.
    #[serde(default)]
    pub ets: Vec<At<String>>,
    /// Planted defects of the embedded peer that this case must fail on.
    #[serde(default)]
    pub defects: Vec<At<String>>,
    /// Words to select by.
    #[serde(default)]
    pub tags: Vec<At<String>>,
    /// The link.
    #[serde(default)]
    pub network: Option<Network>,
    /// The package of this case unless a step names another.
    #[serde(default)]
    pub firmware: Option<Firmware>,
    /// Further packages by name.
    #[serde(default)]
    pub packages: BTreeMap<String, Firmware>,
    /// Firmware repositories by name; a pull without a name uses `main`.
    #[serde(default)]
    pub repositories: BTreeMap<String, Repository>,
    /// How the server answers what the IUT asks of it.
    #[serde(default)]
    pub server: Option<ServerBehaviour>,
    /// How the IUT is set up.
    #[serde(default)]
    pub iut: Option<IutSetup>,
    /// For a server under test: the device that the harness plays, called `main`.
    #[serde(default)]
    pub device: Option<DeviceSetup>,
    /// For a server under test: further devices by name.
    #[serde(default)]
    pub devices: BTreeMap<String, DeviceSetup>,
    /// For a server under test: timings that it is asked to use, where it can be told.
    #[serde(default)]
    pub timings: Option<Timings>,
    /// Passive checks of this case.
    #[serde(default)]
    pub checks: Option<Checks>,
    /// Names and values that make the variants, expanded before this struct is read.
    #[serde(default, rename = "for")]
    pub variants: Option<BTreeMap<String, Vec<String>>>,
    /// Steps that bring the IUT to where the question is asked. What fails here makes the case
    /// inconclusive.
    #[serde(default)]
    pub given: Vec<At<Step>>,
    /// The steps.
    #[serde(default)]
    pub steps: Vec<At<Step>>,
    /// Whether the IUT must answer a read at the end; true unless said otherwise.
    #[serde(default)]
    pub liveness: Option<bool>,
    /// The case as a whole ends after this time at the latest; 2 h if absent.
    #[serde(default)]
    pub limit: Option<Span>,
    /// What is open in the specifications here, for the reader.
    #[serde(default)]
    pub notes: Option<String>,
}

/// A firmware package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Firmware {
    /// The kind: `valid`, `corrupt`, `wrong-type`, `too-big`, `no-ram`, `fail-install`,
    /// `bad-at-install`, `slow-install`, `slow-flash`, `defer`, `older`, `unsigned`, `tampered`,
    /// `other-model`; `raw` for `bytes` as they are.
    pub package: Option<At<String>>,
    /// Length of the whole package in bytes; 20480 if absent.
    pub size: Option<Size>,
    /// The version that it installs; `2.0.0` if absent.
    pub version: Option<String>,
    /// For `raw`: how the bytes are made: `zeros`, `random`, or hexadecimal text.
    pub bytes: Option<String>,
}

/// Where a repository stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RepositoryPlace {
    /// At an address of its own.
    #[default]
    Separate,
    /// At the server's own address and port.
    Server,
}

/// A firmware repository that the harness plays.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Repository {
    /// Where it stands.
    #[serde(default)]
    pub at: RepositoryPlace,
    /// Its UDP port, where it stands at an address of its own; 5683 if absent.
    pub port: Option<u16>,
    /// Path of the file, percent-encoded as in a URI; `/fw/v2.bin` if absent.
    pub path: Option<String>,
    /// Query of the file, percent-encoded, without `?`.
    pub query: Option<String>,
    /// The package that it serves; the case's firmware if absent. A name of `packages`.
    pub package: Option<At<String>>,
    /// Block size that it prefers; 512 if absent.
    pub block: Option<u16>,
    /// ETag in hexadecimal; none if absent.
    pub etag: Option<super::scalar::Hex>,
    /// Whether it tells the total size (Size2).
    pub size2: Option<bool>,
    /// What it does otherwise than serve.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

/// What a repository does otherwise, for the requests that match.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fault {
    /// Only for this block number (in the size asked).
    pub block: Option<u32>,
    /// Only from this block number on.
    pub from_block: Option<u32>,
    /// Only every k-th block number.
    pub every: Option<u32>,
    /// At most this many requests.
    pub times: Option<u32>,
    /// What it does.
    #[serde(rename = "do")]
    pub action: At<FaultAction>,
    /// For `code`.
    pub code: Option<CodeMatch>,
    /// For `code`: Max-Age in seconds.
    pub max_age: Option<u32>,
    /// For `wrong-block`: the block number it gives instead.
    pub number: Option<u32>,
    /// For `smaller-block`: the block size it gives instead.
    pub size: Option<u16>,
    /// For `change-file`: the package from then on.
    pub package: Option<At<String>>,
    /// For `change-file`: the ETag from then on.
    pub etag: Option<super::scalar::Hex>,
    /// For `separate`: how long after the request the response comes.
    pub delay: Option<Span>,
}

/// The misbehaviours of a repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FaultAction {
    /// No answer at all.
    #[default]
    Silence,
    /// An empty ACK now; the response when the case releases it.
    Hold,
    /// An error code instead of content.
    Code,
    /// The bytes of another block, with that block's number.
    WrongBlock,
    /// A smaller block size than asked, the number rescaled.
    SmallerBlock,
    /// From this request on another file.
    ChangeFile,
    /// An empty ACK at once, the response as a CON after `delay`.
    Separate,
    /// The response as a CON without an ACK before it.
    SeparateWithoutAck,
    /// Always block 0, whatever was asked.
    AlwaysFirst,
    /// The first block's bytes without a Block2 option.
    NoBlock2,
    /// The whole file in one response without a Block2 option.
    Whole,
    /// The answer twice, under the same message id.
    Twice,
    /// 2.03 Valid instead of content.
    Valid,
}

/// An interface of the server that the IUT calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ServerInterface {
    /// Register.
    Register,
    /// Registration Update.
    Update,
    /// De-register.
    Deregister,
    /// Send.
    Send,
}

/// How the server answers on its interfaces, where not as usual.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServerBehaviour {
    /// Register.
    pub register: Option<ServerAnswer>,
    /// Registration Update.
    pub update: Option<ServerAnswer>,
    /// De-register.
    pub deregister: Option<ServerAnswer>,
    /// Send.
    pub send: Option<ServerAnswer>,
    /// Location-Path segments of a registration; `rd` and a short random name if absent.
    pub location: Option<Vec<String>>,
    /// Returns to the usual behaviour before the rest is applied.
    pub reset: Option<bool>,
}

/// One interface's answer.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServerAnswer {
    /// This code; `none` for silence.
    pub code: At<CodeMatch>,
    /// Only for this many requests, then as usual.
    pub times: Option<u32>,
}

/// How the IUT is set up for this case, where it can be.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct IutSetup {
    /// Registration lifetime.
    pub lifetime: Option<Span>,
    /// Whether the case starts the IUT itself by an `iut: start` step.
    pub start: Option<bool>,
}

/// Timings that a server is asked to use. They are wishes: one that cannot be told keeps its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Timings {
    /// ACK_TIMEOUT (RFC 7252 section 4.8).
    pub ack_timeout: Option<Span>,
    /// MAX_RETRANSMIT (RFC 7252 section 4.8).
    pub max_retransmit: Option<u32>,
    /// How long an answer is waited for, where the server's library lets its user say; in some it counts for a whole transfer.
    pub response_timeout: Option<Span>,
}

/// The passive checks of a case.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Checks {
    /// Checks that this case cannot use, each with a reason.
    #[serde(default)]
    pub skip: Vec<CheckSkip>,
}

/// A check that a case leaves out.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CheckSkip {
    /// The check's id.
    pub check: At<String>,
    /// Why it cannot hold or says nothing here.
    pub because: String,
}

impl Case {
    /// All steps in order, with whether they are preconditions.
    pub fn all_steps(&self) -> impl Iterator<Item = (bool, &At<Step>)> {
        self.given
            .iter()
            .map(|step| (true, step))
            .chain(self.steps.iter().map(|step| (false, step)))
    }
}
