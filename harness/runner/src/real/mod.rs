//! Real time: sockets, processes and the clock around a session.
//!
//! This is the only place of the engine that touches the outside. [`run_case`] drives one [`Session`](crate::session::Session)
//! against a process or a board; [`device::run`] and [`server::run`] let the reference peers stand alone.
//!
//! | part | does |
//! |---|---|
//! | `clock`, `timer` | the session's time from the wall clock, as fine as the system's timers, and the scaled clock of the IUT |
//! | `lag` | how late the harness itself is |
//! | `sockets`, `device_sockets` | the UDP ports of the harness's side of the link; those of its devices |
//! | `placeholders`, `launch` | from a manifest to the program, arguments and environment of an instance |
//! | `process`, `output`, `survivors` | one process group: its output, its end, and what it leaves behind |
//! | `client` | the same for others than a session |
//! | `keeper` | ends what was started when the harness itself is killed |
//! | `iut` | start, stop, power cut and restart of a process or a board |
//! | `driver` | a case from its start to the last process gone |
//! | `tool`, `version`, `readiness` | commands beside the IUT: preparation, version, builders of packages |
//! | `device`, `store`, `server`, `console`, `terminal` | the reference peers alone |
//! | `server_role` | a case against a server, through its adapter |
//! | `adapter` | an adapter as a process that many cases share |
//! | `relay` | the link alone, between any two programs |
//!
//! How the real driver lives with what an IUT can do:
//! - Time is the session's: real time since the case began, times `speed`. A datagram that waited in a socket while the
//!   harness was not scheduled counts as come before a deadline that passed meanwhile.
//! - Every process that a case starts is in one process group and carries [`MARKER`] in its environment; at a power cut,
//!   after a stop and at the end of the case both are looked for and ended.
//! - Output is read to its end, and told and kept up to a bound. Datagrams are taken from the sockets up to a
//!   generous rate; the kernel drops what is beyond it, as it would for any receiver.

pub mod adapter;
mod board;
pub(crate) mod client;
mod clock;
pub mod console;
pub mod device;
mod device_sockets;
mod driver;
mod interrupt;
mod iut;
pub mod keeper;
mod lag;
mod launch;
mod output;
mod placeholders;
mod process;
pub mod readiness;
pub mod relay;
pub mod server;
mod server_role;
pub mod sockets;
mod store;
mod survivors;
pub mod terminal;
mod timer;
pub mod tool;
pub mod version;

use std::path::PathBuf;
use std::sync::Arc;

use fotaproof_cases::manifest::Manifest;

use crate::session::SessionConfig;

pub use client::Instance;
pub(crate) use clock::{Clock, on_the_wall};
pub use clock::{Scaling, Skew, SpeedError, scaling};
pub use driver::run_case;
pub(crate) use driver::{given_up, listen_address};
pub use interrupt::{Interrupt, InterruptHandle, interrupt};
pub(crate) use lag::Watchdog;
pub use placeholders::{Placeholders, fill};
pub use readiness::{NotReady, Readiness, prepare};
pub use server_role::{ServerCase, run_case as run_server_case};
pub use store::{FlashStore, StoreError};
pub use survivors::MARKER;

/// One case against a process or a board.
#[derive(Clone, Debug)]
pub struct RealCase {
    /// The session. Its addresses are replaced by those of the sockets that are opened; its tolerance is raised to what
    /// a scheduler needs at this speed.
    pub config: SessionConfig,
    /// How to run the IUT.
    pub manifest: Arc<Manifest>,
    /// The manifest's folder.
    pub manifest_folder: PathBuf,
    /// The working folder of the run, placeholder `{root}`.
    pub root: PathBuf,
    /// The IUT's own folder, placeholder `{state}`: made if it is not there, wiped for a fresh start.
    pub folder: PathBuf,
    /// Where its output goes, up to a bound; the file is made when there is any.
    pub output: PathBuf,
    /// Number of the instance, placeholder `{instance}`.
    pub instance: u32,
    /// How many times faster than the wall the session's clock runs, and the IUT's with it.
    pub speed: f64,
    /// Registration lifetime in seconds, placeholder `{lifetime}`.
    pub lifetime: u32,
    /// Endpoint name, placeholder `{endpoint}`; a board has its own.
    pub endpoint: String,
    /// The adapter that has a hand in the device.
    pub hand: Option<adapter::Hand>,
    /// By how much the clock is ahead, for tests.
    pub skew: Option<Skew>,
}
