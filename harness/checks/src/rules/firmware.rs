//! state-machine and result-belongs: the Firmware Update object as the IUT itself reports it.
//!
//! The samples are taken from what the IUT sends, in the order in which it sends it, not from what reaches the server.
//! State and Result are two resources; only what one message says about both, or a Result between two equal States
//! with nothing that could change them in between, is taken for a pair.

use crate::catalogue::{RESULT_BELONGS, STATE_MACHINE};
use crate::context::Message;
use crate::facts::Target;
use crate::report::{Broken, Ref, Report};
use core::time::Duration;
use fotaproof_trace::Grade;
use fotaproof_wire::coap::{Code, content_format, summary_of};
use fotaproof_wire::{LwPath, Value, ValueType, content};

/// An instant: for so long a device may be between setting its State and setting its Result.
const INSTANT: Duration = Duration::from_secs(1);

/// Executes remembered.
const EXECUTES: usize = 16;

const IDLE: u8 = 0;
const DOWNLOADING: u8 = 1;
const DOWNLOADED: u8 = 2;
const UPDATING: u8 = 3;

/// What one message says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sampled {
    /// State of /5/0.
    pub(crate) state: Option<u8>,
    /// Update Result of /5/0.
    pub(crate) result: Option<u8>,
}

/// A value that was read: what it was and when it was asked for and told.
#[derive(Clone, Copy, Debug)]
struct Reading {
    value: u8,
    asked: Duration,
    told: Duration,
    epoch: u64,
    here: Ref,
}

/// A pair that does not belong together, which may be an instant between two settings.
#[derive(Clone, Copy, Debug)]
struct Mixed {
    pair: (u8, u8),
    epoch: u64,
    at: Duration,
    here: Ref,
}

/// What is known of the firmware object of the IUT.
#[derive(Debug, Default)]
pub(crate) struct Firmware {
    /// Object version that the Register announced.
    announced: Option<(u8, u8)>,
    /// Package or Package URI was written at least once.
    written: bool,
    /// Executes that were received, not refused, and may still be carried out: when.
    executed: Vec<Duration>,
    /// Updates may start without Execute.
    automatic: bool,
    /// Something but the messages may have changed the state.
    influenced: bool,
    /// A sample of Idle before anything was written.
    idle: Option<Ref>,
    /// A sample of anything but Updating.
    settled: Option<Ref>,
    /// Counts what may change the state: writes, executes, reboots.
    epoch: u64,
    life: u32,
    state: Option<Reading>,
    result: Option<Reading>,
    mixed: Option<Mixed>,
}

impl Firmware {
    pub(crate) fn on_outside_influence(&mut self) {
        self.influenced = true;
        self.epoch += 1;
    }

    pub(crate) fn on_message(&mut self, message: &Message<'_>, report: &mut Report) -> Sampled {
        if message.life != self.life {
            self.life = message.life;
            self.epoch += 1;
        }
        if message.outgoing {
            self.on_sent(message, report)
        } else {
            if message.code.is_request() {
                self.on_request(message);
            }
            Sampled::default()
        }
    }

    /// Something reaches the IUT that may change its state.
    fn on_request(&mut self, message: &Message<'_>) {
        if matches!(message.code, Code::GET | Code::FETCH) {
            return;
        }
        let path = match message.facts.target {
            Target::Lw(path) if path.object == Some(5) => path,
            Target::Root => LwPath::ROOT,
            // Reboot, factory reset, and any other Execute may end in a reboot.
            Target::Lw(_) if message.code == Code::POST => {
                self.epoch += 1;
                return;
            }
            _ => return,
        };
        self.epoch += 1;
        match path.resource {
            Some(0 | 1) => self.written = true,
            // With so many nothing can be told any more.
            Some(2) if self.executed.len() >= EXECUTES => self.automatic = true,
            Some(2) => self.executed.push(message.at),
            Some(14) => {
                self.automatic = true;
                self.written = true;
            }
            // A Write to the instance or a composite may hold any of them.
            None => {
                self.written = true;
                self.automatic = true;
            }
            Some(_) => {}
        }
    }

    fn on_sent(&mut self, message: &Message<'_>, report: &mut Report) -> Sampled {
        if message.code.is_request() {
            if message.facts.target == Target::Register && message.is_first() {
                self.announced = announced(message.view.payload()).or(self.announced);
            }
            if message.facts.target != Target::Send || !message.is_first() || message.facts.block1.is_some() {
                return Sampled::default();
            }
            let sampled = decode(message, &LwPath::ROOT);
            self.judge(message, sampled, report);
            return sampled;
        }
        if let Some(request) = message.plain_answer()
            && request.facts.target.is_resource(5, 2)
            && message.code.is_error()
        {
            // Refused: it triggers nothing.
            self.executed.retain(|at| *at != request.at);
        }
        let Some(base) = self.base_of(message) else {
            return Sampled::default();
        };
        let sampled = decode(message, &base);
        if sampled != Sampled::default() {
            self.judge(message, sampled, report);
        }
        sampled
    }

    /// The path that a content of the IUT is about, when the firmware object may be in it.
    fn base_of(&self, message: &Message<'_>) -> Option<LwPath> {
        if message.code != Code::CONTENT || !message.is_first() || message.earlier_answer.is_some() {
            return None;
        }
        // Pieces of a larger answer are no samples.
        if message.facts.block2.is_some_and(|block| block.num > 0 || block.more) {
            return None;
        }
        let request = message.request.filter(|request| !request.odd && !request.ambiguous)?;
        match (request.code, request.facts.target) {
            (Code::GET, Target::Lw(path))
                if path.object == Some(5) && path.instance.is_none_or(|instance| instance == 0) =>
            {
                path.resource
                    .is_none_or(|resource| matches!(resource, 3 | 5))
                    .then_some(path)
            }
            (Code::FETCH, Target::Root) => Some(LwPath::ROOT),
            _ => None,
        }
    }

    fn judge(&mut self, message: &Message<'_>, sampled: Sampled, report: &mut Report) {
        if let Some(state) = sampled.state {
            self.judge_state(message, state, report);
        }
        if let Some(result) = sampled.result {
            self.judge_range(message, result, report);
        }
        if let (Some(state), Some(result)) = (sampled.state, sampled.result) {
            self.judge_pair((state, result), message.at, message.here, report);
            return;
        }
        // Only answers to plain reads have a beginning and an end in time.
        let Some(request) = message.request.filter(|request| request.facts.observe.is_none()) else {
            return;
        };
        let reading = |value| Reading {
            value,
            asked: request.at,
            told: message.at,
            epoch: self.epoch,
            here: message.here,
        };
        if let Some(result) = sampled.result {
            self.result = Some(reading(result));
        }
        if let Some(state) = sampled.state {
            let now = reading(state);
            if let (Some(before), Some(result)) = (self.state, self.result)
                && before.value == state
                && before.epoch == now.epoch
                && result.epoch == now.epoch
                && before.told <= result.asked
                && result.told <= now.asked
            {
                self.judge_pair((state, result.value), result.told, result.here, report);
            }
            self.state = Some(now);
            self.result = None;
        }
    }

    fn judge_state(&mut self, message: &Message<'_>, state: u8, report: &mut Report) {
        let may_start_alone = self.automatic || self.version(report) >= (1, 2);
        let mut broken = |title: &str, expected: &str, clause: &str, before: Option<Ref>| {
            let rests_on: Vec<Ref> = before.into_iter().chain([message.here]).collect();
            report.add(
                STATE_MACHINE,
                Broken {
                    grade: report.weaker_in_capture(Grade::Must),
                    title: title.to_owned(),
                    expected: expected.to_owned(),
                    seen: format!(
                        "State {state} ({}): {}",
                        fotaproof_trace::state_name(state),
                        summary_of(&message.view)
                    ),
                    clause,
                    rests_on: &rests_on,
                    hint: None,
                },
            );
        };
        if state > UPDATING {
            broken(
                "a State that the object does not define",
                "State 0 to 3",
                "obj5/3",
                None,
            );
            return;
        }
        if state == IDLE && !self.written {
            self.idle = Some(message.here);
        } else if state != IDLE && !self.written && !self.influenced && self.idle.is_some() {
            broken(
                "the State leaves Idle though nothing was written",
                "Idle until Package or Package URI is written",
                "oma-fw/T2",
                self.idle,
            );
            self.idle = None;
        }
        if state != UPDATING {
            self.settled = Some(message.here);
            let asked = message
                .request
                .filter(|request| request.facts.observe.is_none())
                .map(|request| request.at);
            // A new download: whatever was executed is over.
            if let (DOWNLOADING, Some(asked)) = (state, asked) {
                self.executed.retain(|executed| asked <= *executed + INSTANT);
            }
        } else if self.executed.is_empty()
            && !may_start_alone
            && !self.influenced
            && self.written
            && self.settled.is_some()
        {
            broken(
                "the State is Updating though no Update was executed",
                "Updating only after Execute of /5/0/2",
                "oma-fw/T8",
                self.settled,
            );
            self.settled = None;
        }
    }

    fn version(&self, report: &Report) -> (u8, u8) {
        self.announced
            .unwrap_or(report.config.object_version)
            .max(report.config.object_version)
    }

    fn judge_range(&self, message: &Message<'_>, result: u8, report: &mut Report) {
        let (major, minor) = self.version(report);
        let highest = if (major, minor) == (1, 0) { 9 } else { 11 };
        if result > highest {
            report.add(
                RESULT_BELONGS,
                Broken {
                    grade: Grade::Must,
                    title: "an Update Result that the object version does not define".to_owned(),
                    expected: format!("Result 0 to {highest} in object version {major}.{minor}"),
                    seen: format!(
                        "Result {result} ({}): {}",
                        fotaproof_trace::result_name(result),
                        summary_of(&message.view)
                    ),
                    clause: "obj5/5",
                    rests_on: &[message.here],
                    hint: None,
                },
            );
        }
    }

    fn judge_pair(&mut self, pair: (u8, u8), at: Duration, here: Ref, report: &mut Report) {
        let belongs = match pair {
            (DOWNLOADING | UPDATING, result) => result == 0,
            (DOWNLOADED, result) => matches!(result, 0 | 8 | 11),
            _ => true,
        };
        if belongs {
            self.mixed = None;
            return;
        }
        let same = self
            .mixed
            .filter(|mixed| mixed.pair == pair && mixed.epoch == self.epoch);
        let Some(first) = same else {
            self.mixed = Some(Mixed {
                pair,
                epoch: self.epoch,
                at,
                here,
            });
            return;
        };
        if at < first.at + INSTANT {
            return;
        }
        self.mixed = Some(Mixed {
            pair,
            epoch: self.epoch,
            at,
            here,
        });
        let (state, result) = pair;
        report.add(
            RESULT_BELONGS,
            Broken {
                grade: report.weaker_in_capture(Grade::Must),
                title: "the Update Result does not belong to the State".to_owned(),
                expected: if state == DOWNLOADED {
                    "Result 0, 8 or 11 in Downloaded".to_owned()
                } else {
                    "Result 0".to_owned()
                },
                seen: format!(
                    "State {state} ({}) with Result {result} ({}), more than once",
                    fotaproof_trace::state_name(state),
                    fotaproof_trace::result_name(result)
                ),
                clause: "oma-fw/pairs",
                rests_on: &[first.here, here],
                hint: None,
            },
        );
    }
}

/// State and Result in a content.
pub(super) fn decode(message: &Message<'_>, base: &LwPath) -> Sampled {
    let format = message.facts.content_format.unwrap_or(content_format::TEXT);
    let types = |path: &LwPath| {
        let known = path.object == Some(5) && matches!(path.resource, Some(3 | 5));
        known.then_some(ValueType::Integer)
    };
    let mut sampled = Sampled::default();
    let Ok(values) = content::decode(format, base, message.view.payload(), &types) else {
        return sampled;
    };
    for (path, value) in values {
        if (path.object, path.instance) != (Some(5), Some(0)) {
            continue;
        }
        let number = match value {
            Value::Integer(number) => u8::try_from(number).ok(),
            Value::Unsigned(number) => u8::try_from(number).ok(),
            _ => None,
        };
        let place = match path.resource {
            Some(3) => &mut sampled.state,
            Some(5) => &mut sampled.result,
            _ => continue,
        };
        // Several values of one resource are a history, not a sample.
        if place.is_some() {
            return Sampled::default();
        }
        *place = number;
    }
    sampled
}

/// The version of object 5 in a list of links, such as `</5>;ver=1.1` or `</5/0>;ver="1.1"`.
fn announced(payload: &[u8]) -> Option<(u8, u8)> {
    let text = core::str::from_utf8(payload).ok()?;
    text.split(',')
        .filter(|link| link.trim_start().starts_with("</5>") || link.trim_start().starts_with("</5/0>"))
        .find_map(|link| {
            let version = link
                .split(';')
                .find_map(|attribute| attribute.trim().strip_prefix("ver="))?;
            let (major, minor) = version.trim_matches('"').split_once('.')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        })
}
