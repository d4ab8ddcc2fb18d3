//! What the outcome of a task means.

use core::time::Duration;

use fotaproof_wire::coap::Code;
use fotaproof_wire::path::LwPath;

use super::known::{Asked, DELIVERY, PACKAGE_VERSION, PROTOCOLS, RESULT, SIGNAL, STATE, VERSION, Watch};
use super::machine::{Campaign, Doing, Stage};
use super::types::TaskOutcome;
use crate::server_defects::ServerDefect;

/// Transfers that may break off before the campaign gives up.
pub(super) const MAX_TRIES: u32 = 3;
/// Requests in a row that may go unanswered.
const MAX_TIMEOUTS: u32 = 4;
/// Answers in a row that may say nothing.
const MAX_USELESS: u32 = 8;
/// Between an answer that helps no further and the next request.
const PAUSE: Duration = Duration::from_secs(5);
/// The time that a 5.03 asks for when it has no Max-Age (RFC 7252, 5.10.5).
const BUSY: Duration = Duration::from_secs(60);

/// An outcome in words.
fn words(outcome: &TaskOutcome) -> String {
    match outcome {
        TaskOutcome::Code { code, .. } => format!("answered {code}"),
        TaskOutcome::Timeout => "not answered".to_owned(),
        TaskOutcome::Reset => "answered with RST".to_owned(),
        TaskOutcome::Superseded => "cut short: the device registered anew or moved".to_owned(),
        TaskOutcome::Failed(reason) => reason.clone(),
    }
}

/// Whether it is a success, and its code.
fn success(outcome: &TaskOutcome) -> bool {
    matches!(outcome, TaskOutcome::Code { code, .. } if code.is_success())
}

impl Campaign {
    pub(super) fn done(&mut self, now: Duration, doing: Doing, outcome: TaskOutcome) {
        match &outcome {
            TaskOutcome::Superseded => self.known.registered = false,
            TaskOutcome::Timeout => self.unanswered(now),
            _ => self.timeouts = 0,
        }
        if self.stage == Stage::Over {
            return;
        }
        match doing {
            Doing::Observe(path) => self.observed(now, path, &outcome),
            Doing::Read(path) => self.was_read(now, path, &outcome),
            Doing::Reset | Doing::CancelResource => {
                self.known.forget_pair();
                if !success(&outcome) {
                    self.not_before = self.not_before.max(now + PAUSE);
                }
            }
            Doing::Uri => self.uri_written(now, &outcome),
            Doing::Push => self.pushed(now, &outcome),
            Doing::Execute => self.executed(now, &outcome),
        }
        self.learned();
    }

    fn unanswered(&mut self, now: Duration) {
        self.timeouts += 1;
        let jitter = Duration::from_millis(self.rng.u64(0..1000));
        self.not_before = now + PAUSE * self.timeouts + jitter;
        // A device that installs may be away for long; that has a limit of its own.
        let away = matches!(self.stage, Stage::Updating | Stage::Verify);
        if self.timeouts >= MAX_TIMEOUTS && !away && !self.has(ServerDefect::SameSizeForEver) {
            self.fail("the device does not answer");
        }
    }

    fn observed(&mut self, now: Duration, path: LwPath, outcome: &TaskOutcome) {
        if matches!(outcome, TaskOutcome::Timeout | TaskOutcome::Superseded) {
            return;
        }
        let watch = if success(outcome) {
            Watch::Observed
        } else {
            Watch::Polled
        };
        if path == STATE {
            self.known.watch_state = watch;
        } else {
            self.known.watch_result = watch;
        }
        if let TaskOutcome::Code { values, .. } = outcome {
            self.known.take(now, values);
        }
    }

    fn was_read(&mut self, now: Duration, path: LwPath, outcome: &TaskOutcome) {
        let values = match outcome {
            TaskOutcome::Timeout | TaskOutcome::Superseded => return,
            TaskOutcome::Code { code, values } if code.is_success() => values.as_slice(),
            TaskOutcome::Code {
                code: Code::SERVICE_UNAVAILABLE,
                ..
            } if self.useless < MAX_USELESS => {
                self.useless += 1;
                self.not_before = now + PAUSE;
                return;
            }
            _ => &[],
        };
        self.known.take(now, values);
        if path == PROTOCOLS {
            self.known.take_protocols(values);
        }
        let told = match path {
            DELIVERY => absent_unless(&mut self.known.delivery),
            VERSION => absent_unless(&mut self.known.version),
            PACKAGE_VERSION => absent_unless(&mut self.known.package_version),
            SIGNAL => {
                if self.known.signal.is_none_or(|(at, _)| at < now) {
                    self.known.signal = Some((now, None));
                }
                true
            }
            STATE => self.known.state.is_some() && !values.is_empty(),
            RESULT => self.known.result.is_some() && !values.is_empty(),
            _ => true,
        };
        if told {
            self.useless = 0;
        } else {
            self.useless += 1;
            self.not_before = now + PAUSE;
            if self.useless > MAX_USELESS {
                self.fail(format!("{path} cannot be read: {}", words(outcome)));
            }
        }
    }

    fn uri_written(&mut self, now: Duration, outcome: &TaskOutcome) {
        self.known.forget_pair();
        if success(outcome) {
            self.delivered = true;
            self.enter(now, Stage::Transfer);
        } else {
            self.broke_off(now, "the Package URI was", outcome);
        }
    }

    fn pushed(&mut self, now: Duration, outcome: &TaskOutcome) {
        self.known.forget_pair();
        if success(outcome) {
            self.delivered = true;
            self.percent = Some(100);
            self.enter(now, Stage::Transfer);
            return;
        }
        let refused_as_large =
            matches!(outcome, TaskOutcome::Code { code, .. } if *code == Code::REQUEST_ENTITY_TOO_LARGE);
        let lost = matches!(outcome, TaskOutcome::Timeout | TaskOutcome::Superseded);
        if lost && self.has(ServerDefect::NoRetryAfterLoss) {
            self.stuck = true;
            return;
        }
        let for_ever = (refused_as_large && self.has(ServerDefect::Loop413))
            || (*outcome == TaskOutcome::Timeout && self.has(ServerDefect::SameSizeForEver));
        if for_ever {
            self.not_before = now;
            self.enter(now, Stage::Prepare);
            return;
        }
        if refused_as_large && self.has(ServerDefect::FinalAt413) {
            self.fail(format!("the push was {}", words(outcome)));
            return;
        }
        self.broke_off(now, "the push was", outcome);
    }

    /// A transfer ended early: the device is asked before it is tried again.
    fn broke_off(&mut self, now: Duration, what: &str, outcome: &TaskOutcome) {
        if *outcome == TaskOutcome::Superseded {
            self.interruptions += 1;
        } else {
            self.tries += 1;
        }
        let hopeless = match outcome {
            TaskOutcome::Code { code, .. } => {
                if *code == Code::SERVICE_UNAVAILABLE {
                    self.not_before = now + BUSY;
                }
                matches!(
                    *code,
                    Code::REQUEST_ENTITY_TOO_LARGE
                        | Code::UNSUPPORTED_CONTENT_FORMAT
                        | Code::UNAUTHORIZED
                        | Code::NOT_FOUND
                )
            }
            TaskOutcome::Failed(_) => true,
            _ => false,
        };
        let by_link = matches!(
            outcome,
            TaskOutcome::Timeout | TaskOutcome::Superseded | TaskOutcome::Reset
        );
        self.trouble = Some((format!("{what} {}", words(outcome)), hopeless, by_link));
        self.enter(now, Stage::Trouble);
    }

    fn executed(&mut self, now: Duration, outcome: &TaskOutcome) {
        self.executes += 1;
        self.known.forget_pair();
        match outcome {
            TaskOutcome::Code { code, .. } if code.is_success() => {
                self.unsure = false;
                if self.executes == 1 && self.has(ServerDefect::ExecuteTwice) {
                    return;
                }
                // The device may be about to restart: what it has to tell comes by itself or after a while.
                self.known.state = Some(3);
                self.known.result = Some(0);
                self.known.pair_at = now;
                self.enter(now, Stage::Updating);
            }
            TaskOutcome::Timeout | TaskOutcome::Superseded => {
                self.unsure = true;
                self.enter(now, Stage::Updating);
            }
            other => {
                if self.executes >= MAX_TRIES {
                    self.fail(format!("Execute was {}", words(other)));
                } else {
                    self.not_before = now + PAUSE;
                }
            }
        }
    }
}

/// What was asked and not told is absent. Whether it was told.
fn absent_unless<T>(asked: &mut Asked<T>) -> bool {
    if asked.get().is_none() {
        *asked = Asked::Absent;
    }
    true
}
