//! The machine: what happened becomes knowledge, and knowledge the next task.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use fotaproof_adapter::{Method, Progress, UpdateStatus};
use fotaproof_wire::path::LwPath;

use super::known::Known;
use super::types::{CampaignSpec, Happening, Task, TaskId, TaskOutcome};
use crate::server_defects::ServerDefect;

/// Where a campaign is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Asking what the device is and what lies on it, then waiting for the conditions of a transfer.
    Prepare,
    /// The package is on its way, or the device works on it.
    Transfer,
    /// A transfer broke off; the device is asked what it thinks of it.
    Trouble,
    /// The device holds the package.
    Install,
    /// Execute was sent.
    Updating,
    /// The device reports success; the version is to show it.
    Verify,
    /// Given up: what lies on the device is removed.
    Cancelling,
    /// Nothing more comes.
    Over,
}

/// What a task under way is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    Observe(LwPath),
    Read(LwPath),
    Reset,
    CancelResource,
    Uri,
    Push,
    Execute,
}

/// What is to be done now.
#[derive(Debug)]
pub(super) enum Plan {
    Do(Doing, Task),
    Wait(Option<Duration>),
    /// The knowledge changed; look again.
    Again,
}

/// The update of one device. See the [module](super).
#[derive(Debug)]
pub struct Campaign {
    pub(super) spec: CampaignSpec,
    pub(super) rng: fastrand::Rng,
    pub(super) stage: Stage,
    /// When the stage began.
    pub(super) since: Duration,
    pub(super) known: Known,
    pub(super) in_flight: BTreeMap<TaskId, Doing>,
    tasks: VecDeque<(TaskId, Task)>,
    next_task: u64,
    pub(super) wake: Option<Duration>,
    /// Nothing is begun before, after something went wrong.
    pub(super) not_before: Duration,
    /// Reads that are due.
    pub(super) reads: VecDeque<LwPath>,
    pub(super) polled_at: Duration,
    pub(super) status: UpdateStatus,
    pub(super) reason: Option<String>,
    pub(super) method: Option<Method>,
    pub(super) percent: Option<u8>,
    pub(super) shown: (Option<u8>, Option<u8>),
    pub(super) version: Option<String>,
    pub(super) paused: bool,
    /// Transfers that broke off.
    pub(super) tries: u32,
    /// Transfers that were cut short by a move or a reboot of the device.
    pub(super) interruptions: u32,
    /// Requests in a row without an answer.
    pub(super) timeouts: u32,
    /// Answers in a row that say nothing.
    pub(super) useless: u32,
    pub(super) resets: u32,
    pub(super) executes: u32,
    /// The Result of an earlier update, which could not be cleared.
    pub(super) stale: Option<u8>,
    pub(super) seen_downloading: bool,
    pub(super) transfer_at: Duration,
    /// The device has the whole package, as far as the answers tell.
    pub(super) delivered: bool,
    /// Whether Execute arrived is not known.
    pub(super) unsure: bool,
    /// The device shows 0/0 where it should not, since then.
    pub(super) idle_since: Option<Duration>,
    pub(super) verified: u32,
    /// Why a transfer broke off, and whether trying again is of no use, and whether the link was the cause.
    pub(super) trouble: Option<(String, bool, bool)>,
    /// The last transfer broke off by the link alone: what the device has of it is replaced by block 0 of the next one.
    pub(super) by_link: bool,
    pub(super) lost_at: Option<Duration>,
    /// A defect keeps it from doing anything more.
    pub(super) stuck: bool,
    pub(super) deaf: bool,
    pub(super) cancel_tried: bool,
    ever_registered: bool,
}

impl Campaign {
    /// A campaign for a device that may be registered or not; [`Happening::Registered`] tells it when it is.
    #[must_use]
    pub fn new(now: Duration, spec: CampaignSpec) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(spec.seed ^ 0x6361_6d70_6169_676e),
            spec,
            stage: Stage::Prepare,
            since: now,
            known: Known::default(),
            in_flight: BTreeMap::new(),
            tasks: VecDeque::new(),
            next_task: 0,
            wake: None,
            not_before: now,
            reads: VecDeque::new(),
            polled_at: now,
            status: UpdateStatus::Waiting,
            reason: None,
            method: None,
            percent: None,
            shown: (None, None),
            version: None,
            paused: false,
            tries: 0,
            interruptions: 0,
            timeouts: 0,
            useless: 0,
            resets: 0,
            executes: 0,
            stale: None,
            seen_downloading: false,
            transfer_at: now,
            delivered: false,
            unsure: false,
            idle_since: None,
            verified: 0,
            trouble: None,
            by_link: false,
            lost_at: None,
            stuck: false,
            deaf: false,
            cancel_tried: false,
            ever_registered: false,
        }
    }

    /// What it does.
    #[must_use]
    pub const fn spec(&self) -> &CampaignSpec {
        &self.spec
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: Duration, happening: Happening) {
        match happening {
            Happening::Registered { object5, address, .. } => {
                self.lost_at = None;
                if self.has(ServerDefect::NeverReobserves) && self.ever_registered {
                    self.known.registered = true;
                    self.known.address = address;
                    self.deaf = true;
                } else {
                    self.interrupt(now);
                    self.known = Known {
                        registered: true,
                        address,
                        object5,
                        pair_at: now,
                        ..Known::default()
                    };
                    self.refreshed(now);
                    self.begin_anew(now);
                }
                self.ever_registered = true;
            }
            Happening::Updated { address } => {
                self.lost_at = None;
                if self.known.registered && self.known.address == address {
                    self.refreshed(now);
                } else {
                    self.interrupt(now);
                    self.known.registered = true;
                    self.known.address = address;
                    self.known.watch_state = super::known::Watch::Not;
                    self.known.watch_result = super::known::Watch::Not;
                    self.known.forget_pair();
                    self.refreshed(now);
                }
            }
            Happening::Deregistered | Happening::Expired => {
                self.interrupt(now);
                self.known.registered = false;
                self.lost_at = Some(now);
            }
            Happening::Done { task, outcome } => {
                if let Some(doing) = self.in_flight.remove(&task) {
                    self.done(now, doing, outcome);
                }
            }
            Happening::Value { path, value } => {
                self.known.take(now, &[(path, value)]);
                self.learned();
            }
            Happening::PushProgress { percent } => {
                self.timeouts = 0;
                self.percent = Some(percent);
            }
            Happening::NotificationRejected => {
                if self.has(ServerDefect::NatNotifyFatal) {
                    self.fail("a notification was rejected");
                }
            }
            Happening::LateAnswer => {
                if self.has(ServerDefect::LateAckKills) && self.is_doing(Doing::Push) {
                    self.fail("an answer to another block came");
                }
            }
        }
        self.step(now);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.wake.is_some_and(|wake| wake <= now) {
            self.step(now);
        }
    }

    /// The next task.
    pub fn poll_task(&mut self) -> Option<(TaskId, Task)> {
        self.tasks.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub const fn poll_deadline(&self) -> Option<Duration> {
        self.wake
    }

    /// Where the update is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let method = self.method.map(|method| match method {
            Method::Pull => "pull".to_owned(),
            Method::Push | Method::Auto => "push".to_owned(),
        });
        Progress {
            status: if self.paused && !self.status.is_final() {
                UpdateStatus::Paused
            } else {
                self.status
            },
            state: self.shown.0,
            result: self.shown.1,
            percent: self.percent,
            method,
            version: self.version.clone(),
            reason: self.reason.clone(),
        }
    }

    /// Whether nothing more will come of it.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.status.is_final()
    }

    /// No further step is begun until [`resume`](Self::resume); what is under way comes to its end.
    pub fn pause(&mut self, now: Duration) {
        self.paused = !self.status.is_final();
        self.step(now);
    }

    /// Goes on after a pause.
    pub fn resume(&mut self, now: Duration) {
        self.paused = false;
        self.step(now);
    }

    /// Gives the update up: a transfer is stopped and what lies on the device removed. An installation goes on at the device, without this campaign.
    pub fn cancel(&mut self, now: Duration) {
        if self.status.is_final() || self.stage == Stage::Cancelling {
            return;
        }
        self.paused = false;
        let untouched = self.method.is_none() || !self.known.registered;
        let installing = matches!(self.stage, Stage::Updating | Stage::Verify);
        self.stop_tasks();
        if untouched || installing {
            let reason = if installing {
                "given up while the device was installing"
            } else {
                "given up"
            };
            self.end(UpdateStatus::Cancelled, reason);
        } else {
            self.enter(now, Stage::Cancelling);
            self.known.forget_pair();
            self.resets = 0;
        }
        self.step(now);
    }

    // Below: for the other files of this module.

    pub(super) fn has(&self, defect: ServerDefect) -> bool {
        self.spec.defects.contains(&defect)
    }

    pub(super) fn is_doing(&self, what: Doing) -> bool {
        self.in_flight.values().any(|doing| *doing == what)
    }

    /// Goes to another stage.
    pub(super) fn enter(&mut self, now: Duration, stage: Stage) {
        self.stage = stage;
        self.since = now;
        self.idle_since = None;
        self.polled_at = now;
    }

    /// Ends the campaign.
    pub(super) fn end(&mut self, status: UpdateStatus, reason: impl Into<String>) {
        self.stop_tasks();
        self.stage = Stage::Over;
        self.status = status;
        self.reason = Some(reason.into());
        self.wake = None;
    }

    pub(super) fn fail(&mut self, reason: impl Into<String>) {
        self.end(UpdateStatus::Failed, reason);
    }

    /// Gives the driver a task.
    pub(super) fn give(&mut self, doing: Doing, task: Task) {
        self.next_task += 1;
        let id = TaskId(self.next_task);
        self.in_flight.insert(id, doing);
        self.tasks.push_back((id, task));
    }

    fn stop_tasks(&mut self) {
        self.reads.clear();
        for (id, _) in core::mem::take(&mut self.in_flight) {
            let before = self.tasks.len();
            self.tasks.retain(|(queued, _)| *queued != id);
            if self.tasks.len() == before {
                self.next_task += 1;
                self.tasks.push_back((TaskId(self.next_task), Task::CancelTask(id)));
            }
        }
    }

    /// State, Result and version go into the report.
    pub(super) fn learned(&mut self) {
        if let Some(state) = self.known.state {
            self.shown.0 = Some(state);
            self.seen_downloading |= state == 1 && self.stage == Stage::Transfer;
        }
        if let Some(result) = self.known.result {
            self.shown.1 = Some(result);
            if self.stale.is_some_and(|stale| stale != result) {
                self.stale = None;
            }
        }
        if let Some(version) = self.known.version.get() {
            self.version = Some(version.clone());
        }
    }

    /// The device spoke: what waited for it goes on.
    const fn refreshed(&mut self, now: Duration) {
        self.timeouts = 0;
        self.not_before = now;
    }

    /// What is under way comes to nothing: the device is elsewhere, gone or new.
    fn interrupt(&mut self, now: Duration) {
        let doing: Vec<Doing> = self.in_flight.values().copied().collect();
        self.stop_tasks();
        for doing in doing {
            self.done(now, doing, TaskOutcome::Superseded);
        }
    }

    /// Stops a transfer of our own accord; it begins anew later.
    pub(super) fn interrupt_transfer(&mut self, now: Duration) {
        let registered = self.known.registered;
        self.interrupt(now);
        self.known.registered = registered;
    }

    /// A defect: an updated device is updated again.
    fn begin_anew(&mut self, now: Duration) {
        if self.has(ServerDefect::UpdateLoop) && self.status == UpdateStatus::Succeeded {
            self.status = UpdateStatus::Waiting;
            self.delivered = false;
            self.resets = 0;
            self.executes = 0;
            self.enter(now, Stage::Prepare);
        }
    }

    /// Plans until there is a task or something to wait for.
    fn step(&mut self, now: Duration) {
        // Bounded in case that two rules want the opposite; the next happening goes on.
        for _ in 0..64 {
            self.wake = None;
            if !self.in_flight.is_empty() {
                self.wake = self.watch_transfer(now);
                return;
            }
            match self.plan(now) {
                Plan::Do(doing, task) => {
                    let both = doing == Doing::Uri && self.has(ServerDefect::BothAtOnce);
                    self.give(doing, task);
                    if both {
                        self.give(Doing::Push, Task::Push { block: self.spec.block });
                    }
                }
                Plan::Wait(until) => {
                    self.wake = until;
                    return;
                }
                Plan::Again => {}
            }
        }
        self.wake = Some(now + Duration::from_secs(1));
    }
}
