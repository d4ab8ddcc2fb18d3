//! The command line: what can be asked for. Help texts are the documentation.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Exit codes as the help shows them.
const EXIT_CODES: &str = "\
Exit codes:
    0  all that was run passed
    1  a case failed, or an expected failure is stale
    2  wrong usage of the command line
    3  a case, manifest or network file is invalid
    4  nothing was selected
    5  inconclusive or error, and no case failed
  130  interrupted";

/// Conformance and interoperability tests for LwM2M firmware updates.
#[derive(Debug, Parser)]
#[command(name = "fotaproof", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs cases against the embedded device or the IUT of a manifest.
    ///
    /// Without a manifest the library runs against the embedded reference device in virtual time. With `--iut` it
    /// runs in real time against the program or board that the manifest describes. Evidence is left in
    /// `fotaproof-out/<run>/`: results.json, report.html, junit.xml, journal.jsonl, and a journal and a capture of each case.
    #[command(after_help = EXIT_CODES)]
    Run(RunArgs),
    /// Lists the cases that a selection holds.
    List(ListArgs),
    /// Explains a case: purpose, clauses, expected message ladder, parameters, defects it must catch.
    Explain(ExplainArgs),
    /// Checks case, manifest, network and expected-failures files without running anything.
    Check(CheckArgs),
    /// Proves the library: every case passes on the clean embedded device and fails on its planted defects.
    Audit(AuditArgs),
    /// Repeats a case of an earlier run with the same seed and the same fate of every packet.
    Replay(ReplayArgs),
    /// Judges captures: what each device did, and the verdict of every passive check.
    ///
    /// Takes pcap and pcapng, whatever the link, CoAP over UDP on any port and over TCP. What a capture does not hold makes
    /// a check inconclusive, never a failure. A capture that breaks is reported as far as it could be read, and ends with
    /// exit code 3 when its format is broken, 5 when it is cut short.
    #[command(after_help = EXIT_CODES)]
    Analyze(crate::analyze::AnalyzeArgs),
    /// Compares two captures or two runs: states and results, findings, retransmissions, goodput, messages.
    ///
    /// Ends with exit code 1 when the second is worse than the first, by the thresholds given.
    #[command(after_help = EXIT_CODES)]
    Diff(crate::diff::DiffArgs),
    /// Runs the reference device alone over UDP, to try a server by hand.
    Device(crate::peers::DeviceArgs),
    /// Runs the reference server alone over UDP, to try a device by hand.
    Server(crate::peers::ServerArgs),
    /// Tests a program that speaks the adapter protocol.
    Adapter(crate::adapter::AdapterArgs),
    /// Finds the smallest set of network events with which a case of a failing run still fails.
    ///
    /// The losses, delays and copies of single packets that the run had are left out, many at a time and then one by
    /// one, as long as the case fails with the same finding. What is left is told in words and written as a case file
    /// with a rule for each, which is run to see that it fails again. Against the embedded device this takes virtual
    /// time; against a real IUT the case is run again and again, `--tries` times at most.
    Shrink(crate::shrink::ShrinkArgs),
    /// Runs an update over many combinations of block size, MTU, loss and network, in virtual time.
    ///
    /// The plan says what is combined and how often each combination is run. Printed is a line for each with goodput,
    /// bytes sent again, failed updates and lost datagrams, with 95 % confidence intervals; `--out` leaves the same as
    /// CSV and JSON, and a chart.
    Sweep(crate::sweep::SweepArgs),
    /// Runs every client against every server: full updates, each way, over each network, all checks watching both ends.
    ///
    /// Clients and servers are manifests, or `embedded` for the peers in this program. A server is driven through the adapter
    /// of its manifest: by its own update engine where it has one, else by the harness's campaign over its operations. The
    /// embedded peers alone run in virtual time, everything else in real time with the emulated link in between. A cell passes
    /// when the update ends well and neither side breaks a must that is not among its expected failures; what the claims of
    /// a side do not cover is not applicable. Left in `fotaproof-out/<run>/`: matrix.html, matrix.md, matrix.json, and of each
    /// cell a capture of both ends, a journal, the client's output and the conversation with the adapter.
    #[command(after_help = EXIT_CODES)]
    Matrix(crate::matrix::MatrixArgs),
    /// Runs the emulated link alone over UDP, between any two programs.
    ///
    /// Clients send to `--listen`, and what the network lets through goes to `--to`, each client from a port of its
    /// own; answers go back the same way. Counters are told on standard error once a second when a terminal reads; at
    /// SIGINT or SIGTERM a summary is printed as JSON, and the capture is complete.
    Relay(crate::relay::RelayArgs),
    /// Prints a JSON Schema.
    Schema(SchemaArgs),
    /// Prints a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Ends what a harness started that was killed; a harness starts it by itself.
    #[command(hide = true)]
    Keep,
}

/// Where cases come from and which are meant.
#[derive(Debug, Args, Clone, Default)]
pub(crate) struct Selection {
    /// Cases: an id, a glob (`push.*`), `suite:push`, `role:server`, `clause:rfc7252/4.5`, `tag:x`, `defect:x`,
    /// `ets:770`; with `!`
    /// in front, without these. All cases if nothing is given.
    pub(crate) selectors: Vec<String>,
    /// Use the cases of this folder instead of those in the program.
    #[arg(long, value_name = "DIR")]
    pub(crate) library: Option<PathBuf>,
    /// The manifest of the IUT; the embedded device, and the embedded server for the cases of that role, without one.
    #[arg(long, value_name = "FILE")]
    pub(crate) iut: Option<PathBuf>,
    /// Only cases of this role: with a client or with a server under test.
    #[arg(long, value_enum)]
    pub(crate) role: Option<Role>,
}

/// The side of LwM2M that is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// The IUT is a client.
    Client,
    /// The IUT is a server.
    Server,
}

impl Role {
    /// As the case language has it.
    pub(crate) const fn of_cases(self) -> fotaproof_cases::ast::Role {
        match self {
            Self::Client => fotaproof_cases::ast::Role::Client,
            Self::Server => fotaproof_cases::ast::Role::Server,
        }
    }

    /// The word of the command line.
    pub(crate) const fn word(self) -> &'static str {
        self.of_cases().word()
    }
}

/// `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Which cases.
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// A network file or the name of a profile; what a case says of its own network is laid over it.
    #[arg(long, value_name = "FILE|NAME")]
    pub(crate) network: Option<String>,
    /// The seed of all that is random.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Cases at once; the number of cores in virtual time, 1 in real time if absent.
    #[arg(long, short = 'j', value_name = "N")]
    pub(crate) jobs: Option<usize>,
    /// Factor of the IUT's clock, where its manifest allows it.
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    pub(crate) speed: f64,
    /// Findings of grade should and advice fail too.
    #[arg(long)]
    pub(crate) strict: bool,
    /// The folder for the runs.
    #[arg(long, value_name = "DIR", default_value = "fotaproof-out")]
    pub(crate) out: PathBuf,
    /// Leave no evidence.
    #[arg(long, conflicts_with = "out")]
    pub(crate) no_evidence: bool,
    /// What is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    /// End after the first failure.
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Plant this defect in the embedded device, or in the embedded server.
    #[arg(long, value_name = "NAME", conflicts_with = "iut")]
    pub(crate) defect: Vec<String>,
    /// Colours: when a terminal reads, always, or never.
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table and what failed.
    Human,
    /// The results as JSON.
    Json,
    /// JUnit XML.
    Junit,
    /// Test Anything Protocol.
    Tap,
    /// Annotations for GitHub workflows.
    Github,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// When a terminal reads.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// `list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Which cases.
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The id of a case, or of a passive check.
    pub(crate) case: String,
    /// Use the cases of this folder instead of those in the program.
    #[arg(long, value_name = "DIR")]
    pub(crate) library: Option<PathBuf>,
}

/// `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The files; the library in the program if absent.
    pub(crate) files: Vec<PathBuf>,
}

/// `audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Which cases.
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Every case against every defect, not only against those it names; a defect that no case catches is a problem.
    #[arg(long)]
    pub(crate) full: bool,
    /// The seed.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Runs at once; the number of cores if absent.
    #[arg(long, short = 'j', value_name = "N")]
    pub(crate) jobs: Option<usize>,
    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Tell for each case and defect what was seen.
    #[arg(long)]
    pub(crate) why: bool,
}

/// `replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The folder of the run.
    pub(crate) run: PathBuf,
    /// The id of the case, with its variant.
    pub(crate) case: String,
    /// Use the cases of this folder instead of those in the program.
    #[arg(long, value_name = "DIR")]
    pub(crate) library: Option<PathBuf>,
    /// The folder for the runs.
    #[arg(long, value_name = "DIR", default_value = "fotaproof-out")]
    pub(crate) out: PathBuf,
}

/// `schema`.
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Of what.
    #[arg(value_enum)]
    pub(crate) of: SchemaOf,
}

/// Formats with a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaOf {
    /// A case file.
    Case,
    /// An IUT manifest.
    Manifest,
    /// A network file.
    Network,
    /// A clause catalogue file.
    Clauses,
    /// An expected-failures file.
    ExpectedFailures,
    /// results.json.
    Results,
    /// The report of `analyze --format json`.
    Analysis,
    /// The differences of `diff --format json`.
    Diff,
    /// The plan of a sweep.
    Sweep,
    /// matrix.json.
    Matrix,
    /// A line that the harness writes to an adapter.
    AdapterRequest,
    /// A line that an adapter writes.
    AdapterMessage,
}
