//! What the server keeps of each device.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use fotaproof_adapter as adapter;
use fotaproof_wire::path::LwPath;

use crate::campaign::{Campaign, Task, TaskId};
use crate::server::OpId;

/// How long a device in queue mode hears after its last message, MAX_TRANSMIT_WAIT (RFC 7252, 4.8.2; LwM2M Core, queue mode), less the
/// MAX_TRANSMIT_SPAN of a request that begins then.
pub(super) const AWAKE: Duration = Duration::from_secs(93 - 45);

/// One update of a device.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) name: String,
    pub(super) campaign: Campaign,
    pub(super) told: adapter::Progress,
}

/// A device, registered or awaited.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) update: Option<Update>,
    /// What it observes for the campaign.
    pub(super) observations: BTreeMap<LwPath, OpId>,
    /// Where it is.
    pub(super) address: Option<SocketAddr>,
    /// Where requests go instead: a defect.
    pub(super) pinned: Option<SocketAddr>,
    /// When it last said something.
    pub(super) heard: Duration,
    pub(super) queue_mode: bool,
    /// Tasks that wait for it to wake up.
    pub(super) held: VecDeque<(TaskId, Task)>,
    /// Requests of the library level that wait for it to wake up, with the bytes of the file that they name.
    pub(super) held_requests: VecDeque<(adapter::Request, Option<Bytes>)>,
    /// An early end of a push blocks the next one: a defect.
    pub(super) blocked: bool,
    /// Percent of the push as last told to the campaign.
    pub(super) percent: u8,
    /// When its campaign is due.
    pub(super) wake: Option<Duration>,
}

/// Whose an operation is.
#[derive(Debug, Clone)]
pub(super) enum Work {
    /// A task of the campaign of an endpoint.
    Task {
        endpoint: String,
        task: TaskId,
        observes: Option<LwPath>,
        pushes: bool,
    },
    /// A request of the library level.
    Request { id: u64, endpoint: String, observes: bool },
}

/// Whose an observation is.
#[derive(Debug, Clone)]
pub(super) struct Watcher {
    pub(super) endpoint: String,
    pub(super) path: LwPath,
    /// By name, when the harness asked for it.
    pub(super) name: Option<String>,
}
