//! A step under way: its phases, and what is read before it begins.

use core::time::Duration;
use std::sync::Arc;

use fotaproof_cases::ast::{Await, Step};
use fotaproof_lwm2m::server::OpId;
use fotaproof_wire::coap::{BlockValue, Code};
use fotaproof_wire::path::LwPath;

use super::answer::{Answer, Back, value_text};
use super::judge::Judging;
use super::{Anchor, Session};

/// A step under way.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) index: usize,
    /// It is a precondition: what fails makes the case inconclusive.
    pub(super) given: bool,
    pub(super) step: Arc<Step>,
    pub(super) line: u32,
    pub(super) text: String,
    pub(super) began: Anchor,
    /// When the last action began: this step's, if it has one.
    pub(super) anchor: Anchor,
    pub(super) phase: Phase,
    pub(super) answer: Option<Answer>,
    pub(super) op: Option<OpId>,
    pub(super) awaited: bool,
    /// Answered blocks of a push, when the step asks about them.
    pub(super) blocks: Vec<(BlockValue, Code, Option<BlockValue>)>,
    /// The pair before the step, when the step asks for it to be unchanged.
    pub(super) before: Option<(u8, u8)>,
    pub(super) sent_before: usize,
}

/// The phases of a step.
#[derive(Debug)]
pub(super) enum Phase {
    /// Reading what is needed to judge later.
    Prelude {
        pair: Option<PairRead>,
        version: Option<OneRead>,
    },
    /// The action is under way.
    Act(Act),
    /// The expectations are judged.
    Judge(Judging),
}

/// An action under way.
#[derive(Debug)]
pub(super) enum Act {
    Nothing,
    Wait {
        until: Duration,
    },
    Ops {
        ops: Vec<OpId>,
        other: bool,
    },
    Listen {
        until: Duration,
    },
    Await {
        what: Await,
        until: Duration,
    },
    AwaitMessage {
        until: Duration,
    },
    /// Many datagrams at a rate.
    Burst(Box<super::burst::Bursting>),
    IutState {
        up: bool,
        until: Duration,
    },
    /// The adapter was asked.
    Adapter {
        id: u64,
    },
    /// A device sent a request.
    DeviceRequest {
        tag: u32,
    },
}

impl Act {
    pub(super) fn op(op: OpId) -> Self {
        Self::Ops {
            ops: vec![op],
            other: false,
        }
    }
}

/// A read of State and Result, tried until both were answered.
#[derive(Debug, Default)]
pub(super) struct PairRead {
    state: Option<OpId>,
    result: Option<OpId>,
    next: Option<Duration>,
    tries: u32,
}

/// Where a read stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ReadState<T> {
    /// No answer yet.
    Pending,
    /// The value.
    Value(T),
    /// Not to be had, for this reason.
    Failed(String),
}

/// A read of one resource, tried a few times.
#[derive(Debug)]
pub(super) struct OneRead {
    path: LwPath,
    op: Option<OpId>,
    next: Option<Duration>,
    tries: u32,
}

/// Tries of a read before it counts as failed. Some clients answer a read with an error while
/// a notification is due.
const TRIES: u32 = 4;

impl PairRead {
    /// Goes on; the samples are taken when the answers come in.
    pub(super) fn poll(&mut self, session: &mut Session, object: u16) -> ReadState<(u8, u8)> {
        let now = session.now;
        let (state, result) = if object == 9 { (7, 9) } else { (3, 5) };
        let paths = [LwPath::resource(object, 0, state), LwPath::resource(object, 0, result)];
        loop {
            match (self.state, self.result) {
                (None, _) => {
                    if self.next.is_some_and(|next| now < next) {
                        return ReadState::Pending;
                    }
                    self.next = None;
                    self.state = Some(session.world.server.read(now, &paths[0], None));
                }
                (Some(op), None) => {
                    let Some(answer) = session.facts.answers.remove(&op) else {
                        return ReadState::Pending;
                    };
                    if let Some(failed) = self.again(session, &answer, &paths[0]) {
                        return failed;
                    }
                    if self.state.is_some() {
                        self.result = Some(session.world.server.read(now, &paths[1], None));
                    }
                }
                (Some(_), Some(op)) => {
                    let Some(answer) = session.facts.answers.remove(&op) else {
                        return ReadState::Pending;
                    };
                    if let Some(failed) = self.again(session, &answer, &paths[1]) {
                        return failed;
                    }
                    if self.result.is_some() {
                        return match session
                            .facts
                            .firmware
                            .get(&object)
                            .and_then(super::firmware::Firmware::pair)
                        {
                            Some(pair) => ReadState::Value(pair),
                            None => ReadState::Failed("the answers hold no state and result".to_owned()),
                        };
                    }
                }
            }
        }
    }

    /// After an error: tries once more, or gives up.
    fn again(&mut self, session: &Session, answer: &Answer, path: &LwPath) -> Option<ReadState<(u8, u8)>> {
        let sampled = answer.values.iter().any(|(p, v)| p == path && v.as_i64().is_some());
        if answer.is_success() && sampled {
            return None;
        }
        self.state = None;
        self.result = None;
        self.tries += 1;
        if self.tries >= TRIES {
            let told = match &answer.decode_error {
                Some(error) => format!("{} that cannot be read: {error}", answer.told()),
                None => answer.told(),
            };
            return Some(ReadState::Failed(format!("GET {path}: {told}")));
        }
        self.next = Some(session.now + Duration::from_millis(500));
        Some(ReadState::Pending)
    }

    pub(super) fn next(&self) -> Option<Duration> {
        self.next
    }

    pub(super) fn ops(&self) -> impl Iterator<Item = OpId> {
        [self.result.or(self.state)].into_iter().flatten()
    }
}

impl OneRead {
    pub(super) const fn new(path: LwPath) -> Self {
        Self {
            path,
            op: None,
            next: None,
            tries: 0,
        }
    }

    pub(super) fn poll(&mut self, session: &mut Session) -> ReadState<String> {
        let now = session.now;
        loop {
            let Some(op) = self.op else {
                if self.next.is_some_and(|next| now < next) {
                    return ReadState::Pending;
                }
                self.next = None;
                self.op = Some(session.world.server.read(now, &self.path, None));
                continue;
            };
            let Some(answer) = session.facts.answers.remove(&op) else {
                return ReadState::Pending;
            };
            self.op = None;
            if answer.is_success()
                && let Some((_, value)) = answer.values.first()
            {
                return ReadState::Value(value_text(value));
            }
            self.tries += 1;
            if self.tries >= TRIES || matches!(answer.back, Back::Code(code) if code.0 == 0x84) {
                return ReadState::Failed(format!("GET {}: {}", self.path, answer.told()));
            }
            self.next = Some(now + Duration::from_millis(500));
        }
    }

    pub(super) const fn next(&self) -> Option<Duration> {
        self.next
    }

    pub(super) const fn op(&self) -> Option<OpId> {
        self.op
    }
}

impl Phase {
    pub(super) fn prelude(pair: bool, version: bool) -> Self {
        Self::Prelude {
            pair: pair.then(PairRead::default),
            version: version.then(|| OneRead::new(LwPath::resource(3, 0, 3))),
        }
    }
}

impl Running {
    pub(super) fn new(index: usize, given: bool, step: Arc<Step>, line: u32, text: String, began: Anchor) -> Self {
        Self {
            index,
            given,
            step,
            line,
            text,
            began,
            anchor: began,
            phase: Phase::prelude(false, false),
            answer: None,
            op: None,
            awaited: false,
            blocks: Vec::new(),
            before: None,
            sent_before: 0,
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// When the step wants to be looked at again.
    pub(super) fn deadline(&self, now: Duration) -> Option<Duration> {
        match &self.phase {
            Phase::Prelude { pair, version } => {
                let pair = pair.as_ref().and_then(PairRead::next);
                let version = version.as_ref().and_then(OneRead::next);
                [pair, version].into_iter().flatten().min()
            }
            Phase::Act(act) => match act {
                Act::Nothing => Some(now),
                Act::Wait { until }
                | Act::Await { until, .. }
                | Act::AwaitMessage { until }
                | Act::IutState { until, .. } => Some(*until),
                // looked at again soon after an answer was heard
                Act::Listen { until } => Some((*until).min(now + Duration::from_millis(250))),
                Act::Burst(bursting) => bursting.deadline(),
                Act::Ops { .. } | Act::Adapter { .. } | Act::DeviceRequest { .. } => None,
            },
            Phase::Judge(judging) => judging.deadline(now),
        }
    }

    /// Reads of the harness's own that a new registration makes void.
    pub(super) fn reads(&self) -> Vec<OpId> {
        match &self.phase {
            Phase::Prelude { pair, version } => {
                let pair = pair.iter().flat_map(PairRead::ops);
                pair.chain(version.as_ref().and_then(OneRead::op)).collect()
            }
            Phase::Act(_) => Vec::new(),
            Phase::Judge(judging) => judging.reads(),
        }
    }
}

impl Session {
    /// Reads what is needed before the action; true when it is known or not to be had.
    pub(super) fn prelude(&mut self, running: &mut Running) -> bool {
        let Phase::Prelude { pair, version } = &mut running.phase else {
            return true;
        };
        if let Some(read) = version {
            match read.poll(self) {
                ReadState::Pending => return false,
                ReadState::Value(value) => self.facts.old_version = Some(value),
                ReadState::Failed(why) => {
                    self.facts.old_version = Some(String::new());
                    self.note(format!("the running firmware version is not known: {why}"));
                }
            }
            *version = None;
        }
        if let Some(read) = pair {
            match read.poll(self, 5) {
                ReadState::Pending => return false,
                ReadState::Value(value) => running.before = Some(value),
                ReadState::Failed(why) => self.note(format!("the pair before the step is not known: {why}")),
            }
            *pair = None;
        }
        true
    }
}
