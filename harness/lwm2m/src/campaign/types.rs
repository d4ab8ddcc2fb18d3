//! What goes into a campaign and what comes out of it.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use fotaproof_adapter::Method;
use fotaproof_wire::coap::Code;
use fotaproof_wire::path::LwPath;
use fotaproof_wire::value::Value;

use crate::definitions::Version;
use crate::server_defects::ServerDefectSet;

/// What is installed on one device, how and when. Times are times since the start of the session.
#[derive(Debug, Clone, Default)]
pub struct CampaignSpec {
    /// The package.
    pub package: Bytes,
    /// The version that `/3/0/3` shows once the package is installed; empty when it is not known, then the version is not checked.
    pub version: String,
    /// Where the package can be fetched, by scheme (`coap`, `coaps`, `http`, `https`, `coap+tcp`, `coaps+tcp`).
    pub uris: BTreeMap<String, String>,
    /// Push or pull, or as the device has it (object 5 resources 8 and 9).
    pub method: Method,
    /// Execute is sent within these times only; none is any time.
    pub execute_windows: Vec<(Duration, Duration)>,
    /// Times that neither a transfer nor an Execute may touch.
    pub keep_clear: Vec<(Duration, Duration)>,
    /// No transfer starts below this signal strength in dBm (`/4/0/2`).
    pub least_signal: Option<i64>,
    /// Block size of a push, in bytes; `None` leaves it to the driver.
    pub block: Option<u16>,
    /// Seed of what is random.
    pub seed: u64,
    /// What the campaign does wrong on purpose.
    pub defects: ServerDefectSet,
}

/// Names one task of a campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u64);

/// What a campaign wants done. Each one is answered by exactly one [`Happening::Done`], but for `CancelTask`, which is answered by none.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// Read a resource.
    Read(LwPath),
    /// Observe a resource; the answer to the request is the outcome, what follows is [`Happening::Value`].
    Observe(LwPath),
    /// End an observation.
    CancelObservation(LwPath),
    /// Write a value in one message: the Package URI, or a reset by an empty one or by the single byte NUL to Package.
    Write {
        /// The resource.
        path: LwPath,
        /// The value.
        value: Value,
    },
    /// Write [`CampaignSpec::package`] to `/5/0/0` block by block; the outcome is the answer to the last block, or the one that ended it.
    Push {
        /// Block size in bytes.
        block: Option<u16>,
    },
    /// Execute a resource, without arguments.
    Execute(LwPath),
    /// Stop a task that is under way; nothing is awaited of it any more.
    CancelTask(TaskId),
}

/// What came of a task.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskOutcome {
    /// The device answered.
    Code {
        /// Its code.
        code: Code,
        /// What a 2.05 says, by path.
        values: Vec<(LwPath, Value)>,
    },
    /// Nothing came back.
    Timeout,
    /// The device answered with RST.
    Reset,
    /// The device registered anew or moved to another address; whether the task was done is not known.
    Superseded,
    /// The driver could not do it.
    Failed(String),
}

impl TaskOutcome {
    /// An answer without values.
    #[must_use]
    pub const fn code(code: Code) -> Self {
        Self::Code {
            code,
            values: Vec::new(),
        }
    }

    /// A 2.05 with the value of one resource.
    #[must_use]
    pub fn content(path: LwPath, value: Value) -> Self {
        Self::Code {
            code: Code::CONTENT,
            values: vec![(path, value)],
        }
    }
}

/// What happens to a campaign.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// The device registered; everything known of it and every observation is void (Core, 6.4.1).
    Registered {
        /// Version of object 5, as announced or by the default of the enabler; `None` when the device has no object 5.
        object5: Option<Version>,
        /// Version of the enabler.
        lwm2m: Version,
        /// Binding.
        binding: String,
        /// Where it is.
        address: String,
    },
    /// The device updated its registration.
    Updated {
        /// Where it is now; another one than before voids the observations.
        address: String,
    },
    /// The device ended its registration.
    Deregistered,
    /// Its lifetime passed.
    Expired,
    /// A task ended.
    Done {
        /// Which one.
        task: TaskId,
        /// How.
        outcome: TaskOutcome,
    },
    /// A notification or a Send said so.
    Value {
        /// The resource.
        path: LwPath,
        /// Its value.
        value: Value,
    },
    /// So much of the package was taken.
    PushProgress {
        /// Percent of its bytes.
        percent: u8,
    },
    /// A notification of the device could not be told whose it is, and was rejected. A correct campaign does nothing about it.
    NotificationRejected,
    /// An answer to an earlier request came once more. A correct campaign does nothing about it.
    LateAnswer,
}
