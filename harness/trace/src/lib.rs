//! The one stream of typed, timestamped events, and its readers and writers that need no judgement:
//! the journal (JSON Lines), the capture (pcapng) and the dissection of datagrams.
//!
//! Everything that happens in a session is an [`Event`]. Whoever judges (`checks`), shows (`reports`) or keeps
//! (the journal, the capture) reads the same stream, whether it comes from a live run or from a capture of the field.

pub mod capture;
pub mod dissect;
pub mod dtls;
pub mod event;
pub mod finding;
pub mod journal;
pub mod names;
pub mod read;
pub mod serial;

pub use capture::{CaptureError, CaptureInfo, CaptureWriter};
pub use dissect::{Dissected, ladder};
pub use dtls::DtlsEvent;
pub use event::{
    Datagram, Event, EventKind, ExpectationOutcome, Fate, FateOfPacket, Fragment, HookPhase, IutEvent, Late, Packet,
    Point, Registration, Sample, SampleSource, Stream, Toward, TransferFacts, TransferPhase, TransferWay,
};
pub use finding::{Blame, CaseOutcome, Finding, FindingSource, Grade, Verdict};
pub use journal::{JOURNAL_FORMAT, JournalError, JournalReader, write_line};
pub use names::{result_name, state_name};
pub use read::{CaptureReader, CapturedPacket, IpUdp, ReadError, ip_of, udp_of};
