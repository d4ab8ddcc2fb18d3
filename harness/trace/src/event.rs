//! The events of a session.

use crate::finding::{Finding, Grade, Verdict};
use crate::serial::{hex, nanos, optional_nanos};
use bytes::Bytes;
use core::fmt;
use core::time::Duration;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Number in the stream, ascending from 1.
    pub no: u64,
    /// Time since the start of the session.
    #[serde(rename = "at_ns", with = "nanos")]
    pub at: Duration,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Direction of travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Toward {
    /// To the implementation under test.
    Iut,
    /// To the harness's peer: what the IUT sends.
    Peer,
}

/// One of the two ends of the link, which are the two first interfaces of the capture; or a place where the link is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Point {
    /// The end of the implementation under test.
    Iut,
    /// The end of the harness's peer.
    Peer,
    /// Between a device of the harness and its own repository: neither is the implementation under test, and the link is not
    /// between them. [`Toward::Peer`] is the direction of what is told here.
    Aside,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iut => "iut",
            Self::Peer => "peer",
            Self::Aside => "aside",
        })
    }
}

impl fmt::Display for Toward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iut => "iut",
            Self::Peer => "peer",
        })
    }
}

/// What can happen. In the journal the tag is `event`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum EventKind {
    /// A case begins; always the first event of its journal.
    CaseStarted {
        /// Id with its variant, such as `push.lost-last-ack[block=64]`.
        case: String,
        /// Seed of everything random in it.
        seed: u64,
        /// Role of the IUT: `client`, `server`, ...
        role: String,
        /// Name of the IUT.
        iut: String,
        /// Name of the network profile.
        network: String,
        /// Version of the harness.
        harness: String,
        /// Version of the journal format: [`crate::JOURNAL_FORMAT`].
        journal: u32,
    },
    /// A step begins.
    StepStarted {
        /// Index of the step, from 0.
        index: usize,
        /// Line in the case file, from 1.
        line: u32,
        /// The step in words.
        text: String,
    },
    /// A step ended.
    StepEnded {
        /// Index of the step, from 0.
        index: usize,
        /// How it ended, in words.
        outcome: String,
    },
    /// A remark.
    Note {
        /// The remark.
        text: String,
    },
    /// An IP packet passes an end of the link.
    Packet(Packet),
    /// The network decided about a packet.
    Fate(FateOfPacket),
    /// A whole UDP datagram leaves its sender or reaches its receiver.
    Datagram(Datagram),
    /// The server learnt a State or a Result of an update object.
    Sample(Sample),
    /// A registration was accepted.
    Registered(Registration),
    /// A registration was updated.
    Updated(Registration),
    /// A registration ended.
    Deregistered {
        /// Endpoint name.
        endpoint: String,
        /// Location, such as `/rd/1`.
        location: String,
        /// Where the message came from.
        from: SocketAddr,
    },
    /// The transfer of a firmware image begins or ended.
    Transfer(TransferFacts),
    /// Something happened in DTLS beneath the messages.
    Dtls(crate::dtls::DtlsEvent),
    /// Something happened to the IUT itself.
    Iut(IutEvent),
    /// An expectation was evaluated.
    Expectation(ExpectationOutcome),
    /// A finding.
    Finding(Finding),
    /// The case ended; always the last event of its journal.
    CaseEnded {
        /// The verdict.
        verdict: Verdict,
        /// Why.
        reason: String,
        /// How long it took, in the session's time.
        #[serde(rename = "duration_ns", with = "nanos")]
        duration: Duration,
        /// The most that the harness itself was late, where that was measured: against a real IUT.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        late: Option<Late>,
    },
}

/// How late the harness was: what was due then was done so much later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Late {
    /// In the session's time, which passes faster than the wall's on a scaled clock.
    #[serde(rename = "by_ns", with = "nanos")]
    pub by: Duration,
    /// The same on the wall's clock.
    #[serde(rename = "wall_ns", with = "nanos")]
    pub wall: Duration,
    /// When it was due, in the session's time.
    #[serde(rename = "due_ns", with = "nanos")]
    pub due: Duration,
}

/// Which part of a datagram an IP fragment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fragment {
    /// Index of the fragment in its datagram, from 0.
    pub index: u16,
    /// Offset in the IP payload, in bytes.
    pub offset: u16,
    /// More fragments follow.
    pub more: bool,
}

/// An IP packet at one end of the link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// Where it was seen.
    pub point: Point,
    /// Where it goes.
    pub toward: Toward,
    /// Id of the packet.
    pub packet: u64,
    /// Id of the datagram it carries or belongs to.
    pub datagram: u64,
    /// Set when it is a fragment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragment: Option<Fragment>,
    /// The whole IP packet. Not in the journal: the capture has it.
    #[serde(skip)]
    pub bytes: Bytes,
    /// The network changed its bytes.
    #[serde(default, skip_serializing_if = "is_false")]
    pub altered: bool,
}

/// What the network did to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// Passed on.
    Pass,
    /// Gone; the reason says why.
    Dropped,
    /// Passed on later.
    Delayed,
    /// Passed on more than once.
    Duplicated,
    /// Bits were changed.
    Corrupted,
    /// Cut.
    Truncated,
    /// Overtaken by the next.
    Swapped,
    /// Too large, and the sender was told.
    Refused,
}

/// A decision of the network about one packet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FateOfPacket {
    /// Where the packet goes.
    pub toward: Toward,
    /// Id of the packet.
    pub packet: u64,
    /// Id of its datagram.
    pub datagram: u64,
    /// Name of the rule that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The decision.
    pub fate: Fate,
    /// Why it was dropped or refused: `rule`, `loss`, `oversize`, `queue`, `blackout`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Additional delay.
    #[serde(
        default,
        rename = "delay_ns",
        with = "optional_nanos",
        skip_serializing_if = "Option::is_none"
    )]
    pub delay: Option<Duration>,
    /// The random draw that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draw: Option<f64>,
}

/// A whole UDP datagram at one end of the link.
///
/// Every datagram is reported when it leaves its sender (`point` is the sender's end) and each time it reaches its
/// receiver (`point` is the receiver's end), so at `Point::Iut` stands exactly what the IUT sent and received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Datagram {
    /// Where it was seen.
    pub point: Point,
    /// Where it goes.
    pub toward: Toward,
    /// Id of the datagram; the copies that a network makes share it.
    pub datagram: u64,
    /// Source.
    pub src: SocketAddr,
    /// Destination.
    pub dst: SocketAddr,
    /// UDP payload.
    #[serde(with = "hex")]
    pub payload: Bytes,
    /// Number of IP packets that carried it.
    pub packets: u16,
    /// Size of the largest of them, in bytes.
    pub largest: u16,
    /// The network changed its bytes.
    #[serde(default, skip_serializing_if = "is_false")]
    pub altered: bool,
    /// The harness sent it on purpose in a malformed or misbehaving way.
    #[serde(default, skip_serializing_if = "is_false")]
    pub planned: bool,
}

/// How the server learnt a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SampleSource {
    /// The answer to a Read.
    Read,
    /// A notification.
    Notification,
    /// A Send of the device.
    Send,
    /// The answer to a Read-Composite or a composite notification.
    Composite,
    /// Nobody had to tell: it is the state of a device that the harness plays.
    Truth,
}

/// A State or a Result of an update object as the server learnt it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Object: 5 (Firmware Update) or 9 (Software Management).
    pub object: u16,
    /// State, if it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<u8>,
    /// Update Result, if it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<u8>,
    /// How.
    pub by: SampleSource,
}

/// The facts of a registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Endpoint name.
    pub endpoint: String,
    /// Location, such as `/rd/1`.
    pub location: String,
    /// Where the message came from.
    pub from: SocketAddr,
    /// LwM2M version that the client announced, such as `1.1`.
    pub version: String,
    /// Lifetime in seconds.
    pub lifetime: u32,
    /// Object links as the client wrote them, such as `</5>;ver=1.1`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<String>,
    /// The endpoint was not registered before.
    #[serde(default, skip_serializing_if = "is_false")]
    pub new: bool,
}

/// Begin or end of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransferPhase {
    /// The first block.
    Started,
    /// The last block was answered.
    Ended,
}

/// Who moves the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransferWay {
    /// The server writes the Package.
    Push,
    /// The client fetches from the Package URI.
    Pull,
}

/// The transfer of a firmware image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferFacts {
    /// Begin or end.
    pub phase: TransferPhase,
    /// Push or pull.
    pub way: TransferWay,
    /// Bytes: planned at the start, moved at the end.
    pub bytes: u64,
    /// SHA-256 of what was moved, in lower-case hexadecimal digits; empty at the start when unknown.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sha256: String,
    /// SHA-256 of what had to be moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_sha256: Option<String>,
}

/// Standard output or standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Where a manifest's hook stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HookPhase {
    /// It was asked for.
    Asked,
    /// It ended well.
    Done,
    /// It failed.
    Failed,
}

/// What happened to the IUT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum IutEvent {
    /// It was started.
    Started,
    /// It is ready, as its manifest defines that.
    Ready,
    /// It ended by itself.
    Exited {
        /// Exit status in words, such as `exit code 1` or `signal 9`.
        status: String,
    },
    /// It was stopped gracefully.
    Stopped,
    /// Its power was cut.
    PowerCut,
    /// It was started again on the same state.
    Restarted,
    /// It printed a line.
    Output {
        /// Where.
        stream: Stream,
        /// The line, without its end; unprintable bytes replaced.
        line: String,
    },
    /// A hook of its manifest or adapter.
    Hook {
        /// Name of the hook.
        name: String,
        /// Where it stands.
        phase: HookPhase,
        /// Its answer in words.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        text: String,
    },
}

/// The evaluation of one expectation of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectationOutcome {
    /// Index of the step, from 0.
    pub step: usize,
    /// Line in the case file, from 1.
    pub line: u32,
    /// How strongly it is asked.
    pub grade: Grade,
    /// It held.
    pub held: bool,
    /// The expectation in words.
    pub text: String,
    /// What was expected.
    pub expected: String,
    /// What was seen.
    pub seen: String,
}

fn is_false(value: &bool) -> bool {
    !*value
}

impl EventKind {
    /// The tag in the journal.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::CaseStarted { .. } => "case-started",
            Self::StepStarted { .. } => "step-started",
            Self::StepEnded { .. } => "step-ended",
            Self::Note { .. } => "note",
            Self::Packet(_) => "packet",
            Self::Fate(_) => "fate",
            Self::Datagram(_) => "datagram",
            Self::Sample(_) => "sample",
            Self::Registered(_) => "registered",
            Self::Updated(_) => "updated",
            Self::Deregistered { .. } => "deregistered",
            Self::Transfer(_) => "transfer",
            Self::Dtls(_) => "dtls",
            Self::Iut(_) => "iut",
            Self::Expectation(_) => "expectation",
            Self::Finding(_) => "finding",
            Self::CaseEnded { .. } => "case-ended",
        }
    }
}
