//! Verdicts from captures: the bytes of a pcap or pcapng file in, a report out.
//!
//! The engine holds no file and no clock: [`capture::CaptureParser`] takes bytes in pieces, [`Analyzer`] takes frames, and
//! [`analyze`] joins the two over anything that can be read. Memory is bounded by constants, whatever the capture says.
//!
//! Each device is judged at its own end by the same checks as a live run. In a capture of our own runs, which has both
//! ends of the link as interfaces `iut` and `server`, that is exact; in a capture of the field packets may be missing, so
//! rules that rest on an absence are not judged and a check that the capture asks nothing of is inconclusive.

pub mod analyzer;
pub mod annotate;
pub mod capture;
mod device;
pub mod diff;
pub mod dtls;
mod facts;
mod firmware;
mod flow;
pub mod human;
pub mod junit;
pub mod ladder;
pub mod replay;
pub mod report;
mod stats;
pub mod svg;
pub mod synth;
mod tcp;
mod transfer;
mod verdict;

pub use analyzer::{Analyzer, Options, analyze};
pub use capture::{Broken, BrokenKind, CaptureFile, CaptureParser, Frame};
pub use report::{Analysis, CaptureReport, DeviceReport, Verdict};
