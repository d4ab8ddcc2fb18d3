//! What a session is given, what it is told, and what it says.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use fotaproof_adapter as adapter;
use fotaproof_cases::ast::Case;
use fotaproof_cases::claims::Claims;
use fotaproof_net::{LinkSpec, RecordedFate};
use fotaproof_trace::{Event, Finding, Late, Verdict};

/// A firmware package as the session pushes or serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageImage {
    /// The bytes.
    pub bytes: Bytes,
    /// The firmware version that it installs, empty when it installs none.
    pub version: String,
    /// The kind, such as `valid` or `corrupt`.
    pub kind: String,
}

/// The addresses of the harness's side of the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The reference server.
    pub server: SocketAddr,
    /// Another port of the server's host.
    pub other_port: SocketAddr,
    /// A host that is no configured server.
    pub stranger: SocketAddr,
    /// Repositories with an address of their own.
    pub repositories: BTreeMap<String, SocketAddr>,
    /// Hosts of the devices that the harness plays, by name; not empty exactly where the IUT is a server.
    pub devices: BTreeMap<String, IpAddr>,
}

/// What a session with a server under test needs to know of its adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct TesterConfig {
    /// Name of the instance that the case has for itself.
    pub instance: String,
    /// Where the instance is asked to listen.
    pub listen: adapter::Listen,
    /// Timings that it is asked to use.
    pub timings: Option<adapter::Timings>,
    /// A folder of its own.
    pub folder: Option<String>,
    /// What the adapter is told as the file of a package; a package that is not named here goes by its own name.
    pub files: BTreeMap<String, String>,
    /// Operations that the adapter can do; empty when its hello is among the messages that the session will be given.
    pub capabilities: Vec<String>,
    /// How long a reply may take, in the time of the case.
    pub patience: Duration,
}

impl Default for TesterConfig {
    fn default() -> Self {
        Self {
            instance: "case".to_owned(),
            listen: adapter::Listen {
                host: "127.0.0.1".to_owned(),
                port: 0,
                secure_port: None,
            },
            timings: None,
            folder: None,
            files: BTreeMap::new(),
            capabilities: Vec::new(),
            patience: Duration::from_secs(300),
        }
    }
}

/// What the network of a run does to cases that did not ask for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing: what is missing was not sent.
    #[default]
    None,
    /// It loses, repeats, reorders or damages packets by chance.
    Chance,
    /// A round trip can take longer than ACK_TIMEOUT (RFC 7252 section 4.8): both sides repeat
    /// messages that were not lost.
    Slow,
}

/// Everything that one execution of one case depends on.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// The case, one variant of it.
    pub case: Arc<Case>,
    /// Its id with the variant.
    pub id: String,
    /// Its file, for findings.
    pub file: String,
    /// Seed of all that is random.
    pub seed: u64,
    /// Name of the IUT.
    pub iut: String,
    /// What the IUT claims.
    pub claims: Claims,
    /// Version of object 5 that it claims.
    pub object: (u8, u8),
    /// Version of LwM2M that it claims.
    pub lwm2m: (u8, u8),
    /// Addresses of the harness's side.
    pub addresses: Addresses,
    /// Packages by name; `firmware` is the case's own.
    pub packages: BTreeMap<String, PackageImage>,
    /// The link.
    pub link: LinkSpec,
    /// Name of the network, for the journal.
    pub network: String,
    /// What the run's network (not the case's own) does by chance.
    pub trouble: Trouble,
    /// Values of parameters such as `stable` and `poll`.
    pub parameters: BTreeMap<String, String>,
    /// Findings of grade should and advice fail too.
    pub strict: bool,
    /// The IUT runs on a clock of its own: what a timing may be off, each way. Zero in virtual
    /// time.
    pub tolerance: Duration,
    /// Whether packets are told (a capture is written).
    pub packets: bool,
    /// The session may start and stop the IUT.
    pub controls_iut: bool,
    /// The fate of every packet is kept for a later replay.
    pub record_fates: bool,
    /// The fates of an earlier run, applied again instead of what the link would do.
    pub replay: Option<Arc<Vec<RecordedFate>>>,
    /// The adapter, where the IUT is a server.
    pub tester: TesterConfig,
}

/// What a driver tells a session.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for one call, and a message of an adapter is rare beside datagrams"
)]
pub enum Input {
    /// The IUT sent a datagram.
    Datagram {
        /// The IUT's address.
        from: SocketAddr,
        /// The address of the harness's side that it was sent to.
        to: SocketAddr,
        /// The datagram.
        bytes: Bytes,
    },
    /// The network told that nobody listens at an address that something was sent to: a port of the IUT is closed.
    Unreachable {
        /// The address.
        address: SocketAddr,
    },
    /// Something happened to the IUT.
    Iut(IutReport),
    /// The SHA-256 of the image that the IUT holds, in hexadecimal, if it holds one.
    ImageDigest(Option<String>),
    /// Something came of the adapter of a server under test.
    Adapter(AdapterInput),
    /// The run is being interrupted; the session ends at once.
    Interrupt,
}

/// What comes of an adapter.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are messages")]
pub enum AdapterInput {
    /// It says something. A driver whose adapter serves several cases gives each case the replies to its own requests and the events of
    /// its own instance.
    Message(adapter::Message),
    /// It could not do what was asked of it.
    Failed {
        /// What, and why not.
        reason: String,
    },
    /// It breaks the protocol, so that nothing it says can be relied on.
    Broken {
        /// How.
        reason: String,
        /// The line.
        line: String,
    },
    /// It ended.
    Died {
        /// How, in words.
        status: String,
    },
}

/// What happened to the IUT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IutReport {
    /// It was started.
    Started,
    /// It was started again by the driver, as its manifest says.
    Restarted,
    /// It ended without being told to.
    Exited {
        /// How, in words.
        status: String,
    },
    /// It ended as it was told to.
    Stopped {
        /// How, in words.
        status: String,
    },
    /// Its power was cut.
    PowerCut,
    /// It could not be started.
    StartFailed {
        /// Why.
        reason: String,
    },
    /// The adapter that has a hand in it did not do what was asked.
    HandFailed {
        /// Why.
        reason: String,
    },
    /// It printed a line.
    Output {
        /// Whether on standard error.
        stderr: bool,
        /// The line.
        line: String,
    },
}

/// What a session asks of its driver.
#[derive(Clone, Debug)]
pub enum Output {
    /// Give this datagram to the IUT.
    Transmit {
        /// From this address of the harness's side.
        from: SocketAddr,
        /// To this address of the IUT.
        to: SocketAddr,
        /// The datagram.
        bytes: Bytes,
    },
    /// An event for journal, capture and progress.
    Event(Arc<Event>),
    /// Do this to the IUT.
    Iut(IutCommand),
    /// Tell the digest of the image that the IUT holds.
    AskImageDigest,
    /// Ask this of the adapter. The ids are those of this session alone, from 1 on; a driver whose adapter serves several sessions gives
    /// them others. Times are those of the case: a driver with a scaled clock converts them. The last request before
    /// [`Done`](Self::Done) is `stop`, whose reply nobody awaits.
    Adapter(Box<adapter::Request>),
    /// The case is over.
    Done(Box<Outcome>),
}

/// What is done to the IUT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IutCommand {
    /// Start it on the state that it left.
    Start,
    /// Ask it to end.
    Stop,
    /// Cut its power.
    PowerCut,
    /// End it, wipe its state, start it.
    Fresh,
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// The verdict without the findings: what the script itself concluded.
    pub base: Verdict,
    /// Why `base` is more than a pass.
    pub base_reason: String,
    /// Why, in one line; empty for a plain pass.
    pub reason: String,
    /// All findings, in order.
    pub findings: Vec<Finding>,
    /// What was noted.
    pub notes: Vec<String>,
    /// What was measured, by name, with its unit.
    pub measurements: Vec<Measurement>,
    /// How long the case took, in the IUT's time.
    pub duration: Duration,
    /// The most that the harness itself was late, where its driver measures that.
    pub late: Option<Late>,
    /// Number of expectations that were judged and held.
    pub held: u32,
    /// The IUT never registered.
    pub never_registered: bool,
    /// The fate of every packet, when that was wanted.
    pub fates: Vec<RecordedFate>,
}

/// One measured figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// What was measured.
    pub name: String,
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: String,
}
