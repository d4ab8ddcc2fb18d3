//! What comes next.

use core::time::Duration;

use fotaproof_adapter::{Method, UpdateStatus};
use fotaproof_wire::path::LwPath;
use fotaproof_wire::value::Value;

use super::answers::MAX_TRIES;
use super::choose::{self, Way};
use super::known::{
    Asked, CANCEL, DELIVERY, PACKAGE, PACKAGE_VERSION, PROTOCOLS, RESULT, SIGNAL, STATE, UPDATE, URI, VERSION, Watch,
};
use super::machine::{Campaign, Doing, Plan, Stage};
use super::types::Task;
use crate::definitions::Version;
use crate::server_defects::ServerDefect;

/// How long a device may be gone in mid-campaign.
const AWAY: Duration = Duration::from_secs(900);
/// How long a device may take to come to Downloaded: after a push, and by a pull.
const DOWNLOAD: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(4 * 3600));
/// How long an installation may take.
const INSTALLATION: Duration = Duration::from_secs(1800);
/// How long 0/0 may be shown where something else is expected: notifications come one by one, and devices begin late.
const SETTLE: Duration = Duration::from_secs(30);
/// No Execute so short before a period that is to be kept clear.
const BEFORE_CLEAR: Duration = Duration::from_secs(60);
/// Between two looks at the signal strength.
const SIGNAL_INTERVAL: Duration = Duration::from_secs(30);
/// A defect: longest time of a whole push.
const DEFECT_PUSH_LIMIT: Duration = Duration::from_secs(120);

impl Campaign {
    /// While a transfer runs: when to look after it.
    pub(super) fn watch_transfer(&mut self, now: Duration) -> Option<Duration> {
        if !self.is_doing(Doing::Push) {
            return None;
        }
        let limit = self.transfer_at + DEFECT_PUSH_LIMIT;
        let timed = self.has(ServerDefect::ImageTimeout);
        if timed || self.has(ServerDefect::TwoMinuteLimit) {
            if now < limit {
                return Some(limit);
            }
            let reason = "the transfer takes too long";
            self.end(UpdateStatus::Failed, reason);
            if !timed {
                // It only stops, and tells nobody.
                self.status = UpdateStatus::Transferring;
                self.reason = None;
            }
            return None;
        }
        if self.has(ServerDefect::KeepClearIgnored) {
            return None;
        }
        let inside = self.spec.keep_clear.iter().any(|(from, to)| *from <= now && now < *to);
        if inside {
            // What was sent is lost; the transfer begins anew when the period is over.
            self.interrupt_transfer(now);
            return self.after_clear(now, Duration::ZERO);
        }
        self.spec
            .keep_clear
            .iter()
            .map(|(from, _)| *from)
            .filter(|from| *from > now)
            .min()
    }

    pub(super) fn plan(&mut self, now: Duration) -> Plan {
        if self.stage == Stage::Over || self.stuck {
            return Plan::Wait(None);
        }
        if !self.known.registered {
            return self.plan_away(now);
        }
        if self.paused && !self.has(ServerDefect::PauseIgnored) {
            return Plan::Wait(None);
        }
        if now < self.not_before {
            return Plan::Wait(Some(self.not_before));
        }
        if let Some(path) = self.reads.pop_front() {
            return Plan::Do(Doing::Read(path), Task::Read(path));
        }
        match self.stage {
            Stage::Prepare => self.plan_prepare(now),
            Stage::Transfer => self.plan_transfer(now),
            Stage::Trouble => self.plan_trouble(now),
            Stage::Install => self.plan_install(now),
            Stage::Updating => self.plan_updating(now),
            Stage::Verify => self.plan_verify(now),
            Stage::Cancelling => self.plan_cancelling(now),
            Stage::Over => Plan::Wait(None),
        }
    }

    fn plan_away(&mut self, now: Duration) -> Plan {
        if self.method.is_none() {
            return Plan::Wait(None);
        }
        let limit = if self.stage == Stage::Updating {
            self.since + INSTALLATION
        } else {
            self.lost_at.unwrap_or(self.since).max(self.since) + AWAY
        };
        if now < limit {
            return Plan::Wait(Some(limit));
        }
        self.fail("the device did not come back");
        Plan::Again
    }

    /// Observes what is not observed and reads what is not known; `None` when State and Result are known.
    fn need_pair(&self) -> Option<Plan> {
        let observe = |path: LwPath| Some(Plan::Do(Doing::Observe(path), Task::Observe(path)));
        let read = |path: LwPath| Some(Plan::Do(Doing::Read(path), Task::Read(path)));
        if self.deaf {
            return Some(Plan::Wait(None));
        }
        if self.known.watch_state == Watch::Not {
            return observe(STATE);
        }
        if self.known.watch_result == Watch::Not {
            return observe(RESULT);
        }
        if self.known.state.is_none() {
            return read(STATE);
        }
        if self.known.result.is_none() {
            return read(RESULT);
        }
        None
    }

    /// Waits for news, reads State and Result when there are none for a while, and fails at `limit`.
    fn follow(&mut self, now: Duration, limit: Duration, reason: &str) -> Plan {
        if now >= limit {
            self.fail(reason);
            return Plan::Again;
        }
        let due = self.known.pair_at.max(self.polled_at) + self.known.poll_interval();
        if now >= due {
            self.polled_at = now;
            self.reads.extend([STATE, RESULT]);
            return Plan::Again;
        }
        Plan::Wait(Some(due.min(limit)))
    }

    /// The Result, unless it is that of an earlier update.
    fn result(&self) -> u8 {
        self.known
            .result
            .filter(|result| self.stale != Some(*result))
            .unwrap_or(0)
    }

    /// Ends the campaign by what the device reports.
    fn end_by_result(&mut self, now: Duration, result: u8) -> Plan {
        match result {
            1 => {
                self.known.version = Asked::Not;
                self.known.package_version = Asked::Not;
                self.verified = 0;
                self.enter(now, Stage::Verify);
            }
            10 => self.end(UpdateStatus::Cancelled, "the device cancelled it (Result 10)"),
            _ if self.has(ServerDefect::FailedIsSuccess) => self.end(UpdateStatus::Succeeded, "the device is done"),
            _ => self.fail(format!("the device reports Result {result}")),
        }
        Plan::Again
    }

    /// Reads that a campaign begins with, in their order.
    fn need_facts(&self) -> Option<LwPath> {
        let known = &self.known;
        let push_only = known.delivery == Asked::Got(1);
        if known.delivery == Asked::Not {
            Some(DELIVERY)
        } else if known.protocols == Asked::Not && !push_only {
            Some(PROTOCOLS)
        } else if known.version == Asked::Not {
            Some(VERSION)
        } else {
            None
        }
    }

    fn plan_prepare(&mut self, now: Duration) -> Plan {
        self.status = UpdateStatus::Waiting;
        if self.known.object5.is_none() {
            self.fail("the device has no object 5");
            return Plan::Again;
        }
        if self.has(ServerDefect::CancelOn10) && !self.cancel_tried {
            self.cancel_tried = true;
            return Plan::Do(Doing::CancelResource, Task::Execute(CANCEL));
        }
        if let Some(plan) = self.need_pair() {
            return plan;
        }
        if let Some(path) = self.need_facts() {
            return Plan::Do(Doing::Read(path), Task::Read(path));
        }
        let unknown = self.known.delivery.get().is_some_and(|method| *method > 2);
        if unknown && self.has(ServerDefect::UnknownDeliveryWaits) {
            return Plan::Wait(None);
        }
        let (state, result) = (self.known.state.unwrap_or(0), self.known.result.unwrap_or(0));
        let runs = self
            .known
            .version
            .get()
            .is_some_and(|version| *version == self.spec.version);
        if runs && state == 0 && !self.has(ServerDefect::UpdateLoop) {
            self.end(UpdateStatus::Succeeded, "the device runs the version");
            return Plan::Again;
        }
        if result != 0 && self.has(ServerDefect::StaleResult) && self.method.is_none() {
            return self.end_by_result(now, result);
        }
        match state {
            2 if self.has(ServerDefect::ExecutesLeftover) && self.method.is_none() => {
                self.enter(now, Stage::Install);
                return Plan::Again;
            }
            3 => return self.follow(now, self.since + INSTALLATION, "an earlier installation does not end"),
            // What a push of ours left is replaced by block 0 of the next one (RFC 7959, 2.5).
            1 if self.by_link && self.method == Some(Method::Push) && self.resets == 0 => {}
            0 if result == 0 => {}
            // Removes a package and a Result of earlier (OMA registry, object 5, resources 0 and 3).
            _ if self.resets < 2 => {
                self.resets += 1;
                return Plan::Do(Doing::Reset, self.reset());
            }
            2 => {
                self.fail("a package of earlier cannot be removed");
                return Plan::Again;
            }
            _ => self.stale = (result != 0).then_some(result),
        }
        if let Some(plan) = self.need_signal(now) {
            return plan;
        }
        if let Some(until) = self.after_clear(now, Duration::ZERO) {
            self.reason = Some("waits for the end of a period that is to be kept clear".to_owned());
            return Plan::Wait(Some(until));
        }
        self.begin_transfer(now)
    }

    /// The single byte NUL to Package, or an empty URI where the device takes no push (OMA registry, object 5, resources 0 and 1).
    fn reset(&self) -> Task {
        if self.known.delivery == Asked::Got(0) {
            Task::Write {
                path: URI,
                value: Value::String(String::new()),
            }
        } else {
            Task::Write {
                path: PACKAGE,
                value: Value::Opaque(vec![0]),
            }
        }
    }

    fn need_signal(&mut self, now: Duration) -> Option<Plan> {
        let least = self.spec.least_signal?;
        if self.has(ServerDefect::RadioIgnored) {
            return None;
        }
        match self.known.signal {
            Some((at, Some(signal))) if signal < least => {
                self.reason = Some(format!("the signal is too weak: {signal} dBm"));
                let due = at + SIGNAL_INTERVAL;
                if now < due {
                    return Some(Plan::Wait(Some(due)));
                }
                Some(Plan::Do(Doing::Read(SIGNAL), Task::Read(SIGNAL)))
            }
            // Looked at just now; a device that does not tell is taken as reachable.
            Some((at, _)) if now < at + SIGNAL_INTERVAL => None,
            _ => Some(Plan::Do(Doing::Read(SIGNAL), Task::Read(SIGNAL))),
        }
    }

    /// When `now` is in a period that is to be kept clear, or shorter than `margin` before one: its end.
    fn after_clear(&self, now: Duration, margin: Duration) -> Option<Duration> {
        if self.has(ServerDefect::KeepClearIgnored) {
            return None;
        }
        self.spec
            .keep_clear
            .iter()
            .find(|(from, to)| from.saturating_sub(margin) <= now && now < *to)
            .map(|(_, to)| *to)
    }

    fn begin_transfer(&mut self, now: Duration) -> Plan {
        let way = match choose::way(&self.spec, &self.known) {
            Ok(way) => way,
            Err(reason) => {
                self.fail(reason);
                return Plan::Again;
            }
        };
        self.status = UpdateStatus::Transferring;
        self.reason = None;
        self.delivered = false;
        self.seen_downloading = false;
        self.transfer_at = now;
        self.executes = 0;
        self.enter(now, Stage::Transfer);
        if let (Way::Push, true, Ok(uri)) = (&way, self.has(ServerDefect::BothAtOnce), choose::any_uri(&self.spec)) {
            self.method = Some(Method::Push);
            return Plan::Do(Doing::Uri, write_uri(uri));
        }
        match way {
            Way::Push => {
                self.method = Some(Method::Push);
                self.percent = Some(0);
                Plan::Do(Doing::Push, Task::Push { block: self.block() })
            }
            Way::Pull { uri } => {
                self.method = Some(Method::Pull);
                Plan::Do(Doing::Uri, write_uri(uri))
            }
        }
    }

    /// Smaller blocks where a transfer got stuck: the path may lose large packets (RFC 7252, 4.6).
    fn block(&self) -> Option<u16> {
        if self.has(ServerDefect::SameSizeForEver) {
            return Some(1024);
        }
        let smaller = match self.tries {
            0 => return self.spec.block,
            1 => 256,
            _ => 64,
        };
        Some(self.spec.block.map_or(smaller, |block| block.min(smaller)))
    }

    fn plan_transfer(&mut self, now: Duration) -> Plan {
        let push = self.method != Some(Method::Pull);
        if !self.delivered {
            // A push that never began; plan it anew.
            self.enter(now, Stage::Prepare);
            return Plan::Again;
        }
        self.status = UpdateStatus::Transferring;
        if push && self.has(ServerDefect::ExecuteEarly) {
            self.enter(now, Stage::Install);
            return Plan::Again;
        }
        if let Some(plan) = self.need_pair() {
            return plan;
        }
        let limit = self.since + if push { DOWNLOAD.0 } else { DOWNLOAD.1 };
        let late = "the device does not come to Downloaded";
        match (self.known.state.unwrap_or(0), self.result()) {
            (2, _) if self.has(ServerDefect::WaitsFor1) && !self.seen_downloading => Plan::Wait(None),
            (2, _) => {
                self.enter(now, Stage::Install);
                Plan::Again
            }
            // Automatic Upgrade: it installs without an Execute (OMA registry, object 5, resource 14).
            (3, _) => {
                self.enter(now, Stage::Updating);
                Plan::Again
            }
            (0, 0) => {
                let since = *self.idle_since.get_or_insert(now);
                if now < since + SETTLE {
                    return self.follow(now, limit.min(since + SETTLE + SETTLE), late);
                }
                self.tries += 1;
                self.trouble = Some(("the device shows 0/0 after the transfer".to_owned(), false, false));
                self.enter(now, Stage::Trouble);
                Plan::Again
            }
            (0, result) => self.end_by_result(now, result),
            _ => {
                self.idle_since = None;
                self.follow(now, limit, late)
            }
        }
    }

    fn plan_trouble(&mut self, now: Duration) -> Plan {
        if let Some(plan) = self.need_pair() {
            return plan;
        }
        let Some((reason, hopeless, by_link)) = self.trouble.take() else {
            self.enter(now, Stage::Prepare);
            return Plan::Again;
        };
        let result = self.result();
        // Result 4 after a transfer that the link broke says what is known already.
        if self.known.state == Some(0) && result != 0 && !(by_link && result == 4) {
            return self.end_by_result(now, result);
        }
        if hopeless || self.tries >= MAX_TRIES || self.interruptions >= 4 * MAX_TRIES {
            self.fail(reason);
            return Plan::Again;
        }
        self.reason = Some(reason);
        self.resets = 0;
        self.by_link = by_link;
        self.not_before = self.not_before.max(now + Duration::from_secs(2));
        self.enter(now, Stage::Prepare);
        Plan::Again
    }

    fn plan_install(&mut self, now: Duration) -> Plan {
        self.status = UpdateStatus::Downloaded;
        let early = self.has(ServerDefect::ExecuteEarly) && self.executes == 0;
        let again = self.has(ServerDefect::ExecuteTwice) && self.executes == 1;
        if !early && !again {
            if let Some(plan) = self.need_pair() {
                return plan;
            }
            match (self.known.state.unwrap_or(0), self.result()) {
                (2, 8) if self.executes > 0 => return self.end_by_result(now, 8),
                (2, _) => {}
                _ => {
                    let stage = if self.executes == 0 {
                        Stage::Transfer
                    } else {
                        Stage::Updating
                    };
                    self.enter(now, stage);
                    return Plan::Again;
                }
            }
        }
        match self.moment(now) {
            Ok(None) => Plan::Do(Doing::Execute, Task::Execute(UPDATE)),
            Ok(Some(until)) => Plan::Wait(Some(until)),
            Err(reason) => {
                self.fail(reason);
                Plan::Again
            }
        }
    }

    /// `None` when Execute may be sent now, else when to look again.
    ///
    /// # Errors
    /// When no window is left.
    fn moment(&mut self, now: Duration) -> Result<Option<Duration>, String> {
        if self.spec.execute_windows.is_empty() || self.has(ServerDefect::WindowIgnored) {
            return Ok(self.after_clear(now, BEFORE_CLEAR));
        }
        // The earliest time in a window and outside what is to be kept clear.
        let mut at = now;
        loop {
            let next = self
                .spec
                .execute_windows
                .iter()
                .filter(|(from, to)| from < to && at < *to)
                .map(|(from, _)| at.max(*from))
                .min();
            let Some(next) = next else {
                return Err("no window for the Execute is left".to_owned());
            };
            match self.after_clear(next, BEFORE_CLEAR) {
                Some(end) => at = end,
                None if next == now => {
                    self.reason = None;
                    return Ok(None);
                }
                None => {
                    self.reason = Some("waits for the window of the Execute".to_owned());
                    return Ok(Some(next));
                }
            }
        }
    }

    fn plan_updating(&mut self, now: Duration) -> Plan {
        if self.status != UpdateStatus::Deferred {
            self.status = UpdateStatus::Updating;
        }
        if let Some(plan) = self.need_pair() {
            return plan;
        }
        let limit = self.since + INSTALLATION;
        let late = "the installation does not end";
        match (self.known.state.unwrap_or(0), self.result()) {
            (0, 8) if self.has(ServerDefect::Result8IdleUnknown) => Plan::Wait(None),
            (0, 0) => self.plan_no_result(now),
            (2, 11) if self.has(ServerDefect::DeferIsFailure) => self.end_by_result(now, 11),
            (2, 11) => {
                self.status = UpdateStatus::Deferred;
                // Until when is for the user of the device to say (OMA registry, object 5, resource 13).
                self.since = now;
                self.follow(now, now + INSTALLATION, late)
            }
            (0, result) | (2, result @ 8) => self.end_by_result(now, result),
            (2, _) if self.unsure && self.executes < MAX_TRIES => {
                self.enter(now, Stage::Install);
                Plan::Again
            }
            (2, _) => self.follow(
                now,
                self.since + INSTALLATION / 6,
                "the device does not begin to install",
            ),
            _ => {
                self.status = UpdateStatus::Updating;
                self.idle_since = None;
                self.follow(now, limit, late)
            }
        }
    }

    /// 0/0 after an Execute: a device that forgets its Result, or an update that was lost.
    fn plan_no_result(&mut self, now: Duration) -> Plan {
        let since = *self.idle_since.get_or_insert(now);
        if now < since + SETTLE {
            return self.follow(now, since + SETTLE + SETTLE, "the device shows 0/0");
        }
        match &self.known.version {
            Asked::Not => Plan::Do(Doing::Read(VERSION), Task::Read(VERSION)),
            Asked::Got(version) if *version == self.spec.version => {
                self.end(UpdateStatus::Succeeded, "the device runs the version, without a Result");
                Plan::Again
            }
            _ => {
                self.tries += 1;
                let reason = "the device shows 0/0 after the Execute".to_owned();
                self.trouble = Some((reason, false, false));
                self.enter(now, Stage::Trouble);
                Plan::Again
            }
        }
    }

    fn plan_verify(&mut self, now: Duration) -> Plan {
        self.status = UpdateStatus::Updating;
        if self.has(ServerDefect::SuccessUnverified) || self.spec.version.is_empty() {
            self.end(UpdateStatus::Succeeded, "the device reports Result 1");
            return Plan::Again;
        }
        let shown = match (&self.known.version, &self.known.package_version) {
            (Asked::Not, _) => return Plan::Do(Doing::Read(VERSION), Task::Read(VERSION)),
            (Asked::Got(version), _) => version.clone(),
            (Asked::Absent, Asked::Not) => {
                return Plan::Do(Doing::Read(PACKAGE_VERSION), Task::Read(PACKAGE_VERSION));
            }
            (Asked::Absent, Asked::Got(version)) => version.clone(),
            (Asked::Absent, Asked::Absent) => {
                self.end(UpdateStatus::Succeeded, "the device reports Result 1 and no version");
                return Plan::Again;
            }
        };
        if shown == self.spec.version {
            self.end(UpdateStatus::Succeeded, "the device runs the version");
            return Plan::Again;
        }
        // It may have reported before its restart.
        if self.verified == 0 && self.known.object5 >= Some(Version::V1_0) {
            self.verified = 1;
            self.known.version = Asked::Not;
            self.known.package_version = Asked::Not;
            self.not_before = now + SETTLE;
            return Plan::Wait(Some(self.not_before));
        }
        self.fail(format!("the device reports Result 1 and runs version {shown:?}"));
        Plan::Again
    }

    fn plan_cancelling(&mut self, now: Duration) -> Plan {
        if let Some(plan) = self.need_pair() {
            return plan;
        }
        let holds = matches!(self.known.state, Some(1 | 2));
        if !holds || self.resets >= 2 || now >= self.since + AWAY {
            self.end(UpdateStatus::Cancelled, "given up");
            return Plan::Again;
        }
        self.resets += 1;
        if self.resets == 1 && self.known.object5 >= Some(Version::V1_1) {
            return Plan::Do(Doing::CancelResource, Task::Execute(CANCEL));
        }
        Plan::Do(Doing::Reset, self.reset())
    }
}

fn write_uri(uri: String) -> Task {
    Task::Write {
        path: URI,
        value: Value::String(uri),
    }
}
