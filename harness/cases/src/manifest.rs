//! The IUT manifest: everything needed to run an implementation under test, as data.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::ast::{At, Many, Role, Span};

/// A manifest file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manifest {
    /// Name of the IUT in reports.
    pub name: String,
    /// One sentence on it.
    pub description: Option<String>,
    /// Its side.
    #[serde(default)]
    pub role: At<Role>,
    /// The embedded reference peer in the same process instead of a command.
    pub embedded: Option<At<Embedded>>,
    /// The program and its arguments. Placeholders: `{endpoint}`, `{server.host}`,
    /// `{server.port}`, `{server.uri}`, `{lifetime}`, `{state}` (the instance's folder),
    /// `{port}` (a free UDP port), `{instance}`, `{psk.identity}`, `{psk.key}`, `{manifest}`
    /// (the manifest's folder), `{root}` (the working folder of the run).
    pub command: Option<At<Vec<At<String>>>>,
    /// A board or a program that somebody else starts; then there is no `command`.
    pub board: Option<At<Board>>,
    /// A program that speaks the adapter protocol (`docs/ADAPTERS.md`): of a server it is the only way to run it, of a
    /// device it is a hand for what cannot be done from outside. One process serves all cases of a run. Placeholders:
    /// `{manifest}`, `{root}`, `{state}` (a folder for what it writes), `{fotaproof}` (this program).
    pub adapter: Option<At<Vec<At<String>>>>,
    /// How long the adapter may take to its first line; 60 s if absent.
    pub adapter_ready: Option<Span>,
    /// Environment variables besides those of the harness; the same placeholders.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The folder in which the command runs; the instance's folder if absent.
    pub work_folder: Option<At<String>>,
    /// Files copied into the instance's folder before the first start, from paths relative to
    /// the manifest.
    #[serde(default)]
    pub files: Vec<At<String>>,
    /// A command that prints the IUT's version, and the versions that this manifest is for.
    pub version: Option<VersionProbe>,
    /// A command that prepares the IUT (builds or installs it); run once a run.
    pub prepare: Option<Vec<At<String>>>,
    /// A file, relative to the manifest, without which the IUT is not installed.
    pub requires: Option<Many<String>>,
    /// How the IUT is asked to end.
    #[serde(default)]
    pub stop: Stop,
    /// What a power cut is; SIGKILL to the process group if absent.
    pub power_cut: Option<Signal>,
    /// What the process does when its update makes it restart.
    #[serde(default)]
    pub restart: Restart,
    /// Whether the harness may run the IUT under a scaled clock (`faketime`).
    pub speed: Option<Speed>,
    /// How packages are made, by kind. Without an entry the kind is not supplied.
    #[serde(default)]
    pub packages: BTreeMap<String, PackageSource>,
    /// What the IUT supports.
    #[serde(default)]
    pub claims: Vec<At<String>>,
    /// Values for the parameters of cases.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    /// Credentials for the placeholders and for the harness's side.
    pub credentials: Option<Credentials>,
    /// The expected-failures file, relative to the manifest.
    pub expected_failures: Option<At<String>>,
    /// Endpoint name; `{case}-{instance}` made short if absent.
    pub endpoint: Option<String>,
    /// Registration lifetime in seconds unless a case sets one; 86400 if absent.
    pub lifetime: Option<u32>,
    /// How many instances may run at once; no bound if absent.
    pub instances: Option<u16>,
}

/// The embedded reference device or server.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Embedded {
    /// Version of object 5: `1.0`, `1.1` or `1.2`.
    pub object: Option<At<String>>,
    /// Version of LwM2M: `1.0`, `1.1` or `1.2`.
    pub lwm2m: Option<At<String>>,
    /// Planted defects.
    #[serde(default)]
    pub defects: Vec<At<String>>,
    /// Delivery methods: `push`, `pull` or both.
    #[serde(default)]
    pub delivery: Vec<At<String>>,
}

/// A device that the harness does not start.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Board {
    /// The endpoint name that it registers with.
    pub endpoint: String,
    /// The address and port at which the harness waits for it, such as `0.0.0.0:5683`.
    pub listen: At<String>,
    /// Commands for what cannot be done from outside, by action: `start`, `stop`, `power-cut`.
    #[serde(default)]
    pub actions: BTreeMap<String, Vec<At<String>>>,
}

/// The IUT's version.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct VersionProbe {
    /// The command that prints it.
    pub command: Option<Vec<At<String>>>,
    /// The text before the version in the output; the first version-like word if absent.
    pub after: Option<String>,
    /// The range that the manifest is for, such as `>=2.12, <3`.
    pub range: Option<At<String>>,
}

/// A graceful stop.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Stop {
    /// By this signal; SIGTERM if nothing is said.
    pub signal: Option<Signal>,
    /// By closing its standard input.
    pub close_stdin: Option<bool>,
    /// By writing this line to its standard input.
    pub line: Option<String>,
    /// The process group is ended after this time; 5 s if absent.
    pub within: Option<Span>,
}

/// A signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Signal {
    /// SIGINT
    #[serde(rename = "SIGINT")]
    Int,
    /// SIGTERM
    #[serde(rename = "SIGTERM")]
    Term,
    /// SIGKILL
    #[serde(rename = "SIGKILL")]
    Kill,
    /// SIGHUP
    #[serde(rename = "SIGHUP")]
    Hup,
    /// SIGQUIT
    #[serde(rename = "SIGQUIT")]
    Quit,
    /// SIGUSR1
    #[serde(rename = "SIGUSR1")]
    Usr1,
}

/// What happens to the process at the restart of an update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// The process goes on or re-executes itself.
    #[default]
    ByItself,
    /// The process exits and the harness starts it again on the same state.
    StartAgain,
}

/// A scaled clock.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Speed {
    /// By libfaketime, preloaded.
    pub faketime: bool,
    /// The largest factor at which the IUT still works.
    pub at_most: Option<f64>,
    /// Arguments added to the command when the clock is scaled; `{speed}` is the factor.
    #[serde(default)]
    pub arguments: Vec<String>,
}

/// How the package of a kind is made.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PackageSource {
    /// A file, relative to the manifest; its size cannot be chosen.
    pub file: Option<At<String>>,
    /// The version that the file installs.
    pub version: Option<String>,
    /// A command; placeholders `{kind}`, `{size}`, `{version}`, `{output}`, `{manifest}`.
    pub command: Option<Vec<At<String>>>,
    /// The harness's own package format, as the embedded device takes it.
    pub builtin: Option<bool>,
    /// For `builtin`: the model that the IUT accepts.
    pub model: Option<String>,
}

/// Credentials.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Credentials {
    /// Pre-shared key.
    pub psk: Option<Psk>,
}

/// A pre-shared key.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Psk {
    /// Identity.
    pub identity: String,
    /// Key in hexadecimal.
    pub key: String,
}

/// One entry of an expected-failures file, which is a list of them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ExpectedFailure {
    /// The case, with its variant or a glob.
    pub case: At<String>,
    /// The clause, or the check's id, for which alone the failure is expected.
    pub clause: At<String>,
    /// What the finding must show as seen, a part of it; another failure of the same clause is not expected.
    pub seen: Option<String>,
    /// What the IUT does.
    pub reason: String,
    /// Where it is known.
    pub link: Option<String>,
    /// The day after which the entry is stale, `YYYY-MM-DD`.
    pub expires: Option<At<String>>,
    /// Chance decides whether the case shows it, so an entry that nothing met is not stale.
    pub sometimes: Option<bool>,
}
