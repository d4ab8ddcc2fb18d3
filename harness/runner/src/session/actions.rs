//! The script: one step after the other, each begun, followed and judged.

use core::time::Duration;
use std::sync::Arc;

use fotaproof_cases::ast::{At, Await, Span, Step};
use fotaproof_cases::claims;
use fotaproof_lwm2m::server::{OpId, PushOutcome};
use fotaproof_trace::{Blame, EventKind, Finding, FindingSource, Grade, Verdict};
use fotaproof_wire::coap::{BlockValue, Code};
use fotaproof_wire::path::LwPath;

use super::answer::{Answer, Back};
use super::goals::{Act, Phase, Running};
use super::stimuli::Unable;
use super::{Closing, Label, Session, setup};

impl Session {
    /// A parameter that is a duration.
    pub(super) fn span(&self, name: &str, otherwise: Duration) -> Duration {
        self.config
            .parameters
            .get(name)
            .and_then(|text| text.parse::<Span>().ok())
            .map_or(otherwise, |span| span.0)
    }

    /// Whether the claims of the IUT meet an expression; the loader has looked at its words.
    pub(super) fn claimed(&self, expression: &str) -> bool {
        claims::evaluate(expression, &self.config.claims).unwrap_or(false)
    }

    /// Goes on with the script; true when something changed.
    pub(super) fn advance(&mut self) -> bool {
        if !matches!(self.script.closing, Closing::No) {
            return self.close();
        }
        if self.lost_iut() {
            return true;
        }
        if self.is_tester() && !self.tester.started {
            return false;
        }
        let Some(running) = self.script.running.take() else {
            return self.next_step();
        };
        self.follow(running)
    }

    /// The IUT ended on its own: no step can go on.
    fn lost_iut(&mut self) -> bool {
        let Some(status) = self.facts.iut_lost.take() else {
            return false;
        };
        let at = self.position();
        let given = self.script.running.as_ref().is_some_and(|r| r.given);
        if self.facts.registrations.is_empty() {
            self.conclude(
                Verdict::Inconclusive,
                &format!("the IUT ended before it registered: {status}"),
            );
        } else if given {
            self.conclude(Verdict::Inconclusive, &format!("the IUT ended ({status}) in: {at}"));
        } else {
            let (step, line) = self.script.running.as_ref().map_or((0, 0), |r| (r.index, r.line));
            self.find(Finding {
                source: FindingSource::Expectation { step, line },
                grade: Grade::Must,
                blame: Blame::Iut,
                clauses: self.clauses(None),
                title: format!("the IUT ended ({status}) in the middle of the case"),
                expected: "a running IUT".to_owned(),
                seen: format!("{status}, in: {at}"),
                datagrams: Vec::new(),
                events: vec![self.event_no],
                hint: Some("its last output is in the journal".to_owned()),
            });
        }
        self.finish();
        true
    }

    /// The clauses of an expectation, or those of the case.
    pub(super) fn clauses(&self, own: Option<&Vec<At<String>>>) -> Vec<String> {
        own.unwrap_or(&self.config.case.clauses)
            .iter()
            .map(|clause| clause.value.clone())
            .collect()
    }

    fn next_step(&mut self) -> bool {
        let case = self.config.case.clone();
        let index = self.script.next;
        let given_count = case.given.len();
        let (given, step) = match case.given.get(index) {
            Some(step) => (true, step),
            None => match case.steps.get(index - given_count) {
                Some(step) => (false, step),
                None => {
                    self.begin_closing();
                    return true;
                }
            },
        };
        self.script.next += 1;
        if let Some(when) = &step.when
            && !self.claimed(&when.value)
        {
            return true;
        }
        let text = fotaproof_cases::steps::step_text(step);
        self.emit(EventKind::StepStarted {
            index,
            line: step.pos.line,
            text: text.clone(),
        });
        let began = self.anchor_now();
        if has_action(step) {
            self.script.anchor = began;
        }
        let step_of_case = Arc::new(step.value.clone());
        let mut running = Box::new(Running::new(index, given, step_of_case, step.pos.line, text, began));
        running.anchor = self.script.anchor;
        running.sent_before = self.world.sent.len();
        let asks = step
            .expect
            .as_ref()
            .is_some_and(|e| super::judge::asks_unchanged(&e.value));
        if asks && self.is_tester() {
            running.before = self.device_before(&running);
        }
        let reads_before = asks && !self.is_tester();
        let reads_version = self.facts.old_version.is_none()
            && !self.facts.registrations.is_empty()
            && setup::asks_for_old_version(&case);
        running.phase = Phase::prelude(reads_before, reads_version);
        self.follow(running)
    }

    /// Goes on with a step; puts it back when it is not over.
    fn follow(&mut self, mut running: Box<Running>) -> bool {
        let mut busy = false;
        loop {
            match running.phase {
                Phase::Prelude { .. } => {
                    if !self.prelude(&mut running) {
                        self.script.running = Some(running);
                        return busy;
                    }
                    busy = true;
                    match self.begin(&mut running) {
                        Ok(act) => running.phase = Phase::Act(act),
                        Err(unable) => {
                            self.unable(&running, &unable);
                            return true;
                        }
                    }
                }
                Phase::Act(_) => {
                    if !self.acted(&mut running) {
                        self.script.running = Some(running);
                        return busy;
                    }
                    busy = true;
                    self.label(&running);
                    if let Err(why) = self.remember(&running) {
                        self.conclude(Verdict::Inconclusive, &why);
                        self.step_over(&running, "not held");
                        self.script.stopped = true;
                        self.begin_closing();
                        return true;
                    }
                    if !self.means_held(&running) {
                        self.step_over(&running, "not held");
                        self.script.stopped = true;
                        self.begin_closing();
                        return true;
                    }
                    running.phase = Phase::Judge(self.judging(&running));
                }
                Phase::Judge(_) => match self.judge(&mut running) {
                    super::judge::Judgement::Pending => {
                        self.script.running = Some(running);
                        return busy;
                    }
                    super::judge::Judgement::Over => {
                        self.step_over(&running, "done");
                        return true;
                    }
                    super::judge::Judgement::Stop => {
                        self.step_over(&running, "not held");
                        self.script.stopped = true;
                        self.begin_closing();
                        return true;
                    }
                },
            }
        }
    }

    fn step_over(&mut self, running: &Running, outcome: &str) {
        self.emit(EventKind::StepEnded {
            index: running.index,
            outcome: outcome.to_owned(),
        });
    }

    /// The case asks for what cannot be done.
    fn unable(&mut self, running: &Running, unable: &Unable) {
        self.find(Finding {
            source: FindingSource::Expectation {
                step: running.index,
                line: running.line,
            },
            grade: Grade::Must,
            blame: Blame::Case,
            clauses: Vec::new(),
            title: format!("the step cannot be carried out: {unable}"),
            expected: running.text.clone(),
            seen: unable.clone(),
            datagrams: Vec::new(),
            events: Vec::new(),
            hint: Some(format!("{} line {}", self.config.file, running.line)),
        });
        self.finish();
    }

    fn label(&mut self, running: &Running) {
        let Some(label) = &running.step.label else { return };
        let sent = self
            .world
            .sent
            .iter()
            .skip(running.sent_before.min(self.world.sent.len()))
            .cloned()
            .collect();
        self.script.labels.insert(
            label.value.clone(),
            Label {
                anchor: running.began,
                op: running.op,
                sent,
            },
        );
    }

    /// Whether the action of a step is over; its answer is then in place.
    fn acted(&mut self, running: &mut Running) -> bool {
        let now = self.now;
        let Phase::Act(act) = &mut running.phase else {
            return true;
        };
        match act {
            Act::Nothing => true,
            Act::Wait { until } => now >= *until,
            Act::Ops { ops, other } => {
                let answers = if *other {
                    &mut self.facts.other_answers
                } else {
                    &mut self.facts.answers
                };
                if running.step.background == Some(true) {
                    self.script.background = ops.last().copied();
                    running.op = ops.last().copied();
                    return true;
                }
                if !ops.iter().all(|op| answers.contains_key(op)) {
                    return false;
                }
                let all: Vec<Answer> = ops.iter().filter_map(|op| answers.remove(op)).collect();
                running.op = running.op.or_else(|| ops.last().copied());
                // the worst of several answers stands for the step
                running.answer = all
                    .iter()
                    .find(|answer| !answer.is_success())
                    .or_else(|| all.last())
                    .cloned();
                true
            }
            Act::Listen { until } => {
                let until = *until;
                let Some(listening) = &self.facts.listening else {
                    return true;
                };
                let response = listening.heard.iter().find(|answer| answer.back != Back::EmptyAck);
                let settled = response.is_some_and(|answer| now >= answer.at + Duration::from_millis(500));
                if !settled && now < until {
                    return false;
                }
                let mut answer = listening
                    .heard
                    .iter()
                    .find(|answer| answer.back != Back::EmptyAck)
                    .or_else(|| listening.heard.first())
                    .cloned()
                    .unwrap_or_else(|| Answer::silence(now));
                answer.count = listening.heard.len();
                self.facts.listening = None;
                running.answer = Some(answer);
                true
            }
            Act::Await { what, until } => {
                let (what, until) = (*what, *until);
                if self.has_happened(what, running) {
                    running.awaited = true;
                    return true;
                }
                now >= until
            }
            Act::AwaitMessage { until } => {
                let until = *until;
                let Some(select) = &running.step.await_message else {
                    return true;
                };
                if self
                    .facts
                    .log
                    .matching(running.anchor.log, &select.value, &self.config.addresses)
                    .next()
                    .is_some()
                {
                    running.awaited = true;
                    return true;
                }
                now >= until
            }
            Act::Burst(bursting) => match self.follow_burst(bursting) {
                Some(answer) => {
                    running.answer = Some(answer);
                    true
                }
                None => false,
            },
            Act::Adapter { id } => match self.tester.replies.remove(id) {
                Some(answer) => {
                    running.answer = Some(answer);
                    true
                }
                None => false,
            },
            Act::DeviceRequest { tag } => match self.tester.answers.remove(tag) {
                Some(answer) => {
                    running.answer = Some(answer);
                    true
                }
                None => false,
            },
            Act::IutState { up, until } => {
                if self.facts.iut_running == *up {
                    running.awaited = true;
                    if !*up {
                        // what is sent to a device that is off goes nowhere
                        self.requests_void();
                    }
                    return true;
                }
                now >= *until
            }
        }
    }

    fn has_happened(&mut self, what: Await, running: &mut Running) -> bool {
        let new = running.step.new.unwrap_or(false);
        let since = running.anchor;
        let more = |all: usize, before: usize| if new { all > before } else { all > 0 };
        match what {
            Await::Registration if self.is_tester() && !new => self.all_registered(),
            Await::Registration => more(
                self.facts.registrations.len() + self.tester.registered,
                since.registrations,
            ),
            Await::Update => more(self.facts.updates.len(), since.updates),
            Await::Deregistration => more(self.facts.deregistrations.len(), since.deregistrations),
            Await::Get => more(self.facts.gets.len(), since.gets),
            Await::Hold => more(self.facts.holds.len(), since.holds),
            Await::Notification => more(self.facts.notifications.len(), since.notifications),
            Await::Send => more(self.facts.sends.len(), since.sends),
            Await::Answer => {
                let Some(op) = self.script.background else { return true };
                match self
                    .facts
                    .answers
                    .remove(&op)
                    .or_else(|| self.facts.other_answers.remove(&op))
                {
                    Some(answer) => {
                        running.answer = Some(answer);
                        self.script.background = None;
                        true
                    }
                    None => false,
                }
            }
        }
    }

    /// A step without `expect` is a means: when it does not succeed, the case is inconclusive.
    fn means_held(&mut self, running: &Running) -> bool {
        let Phase::Act(act) = &running.phase else { return true };
        let waits = matches!(act, Act::Await { .. } | Act::AwaitMessage { .. } | Act::IutState { .. });
        if waits && !running.awaited {
            let why = match act {
                Act::IutState { up: true, .. } => "the IUT did not start".to_owned(),
                Act::IutState { up: false, .. } => "the IUT did not end".to_owned(),
                _ => format!("this did not happen: {}", running.text),
            };
            self.conclude(Verdict::Inconclusive, &why);
            return false;
        }
        // that an update can be begun at all is a means in any case
        let begins = running.step.update.is_some() || running.step.update_control.is_some();
        if (running.step.expect.is_some() && !begins) || running.step.background == Some(true) {
            return true;
        }
        match &running.answer {
            Some(answer) if !answer.is_success() => {
                let why = format!("{}: {}", running.text, answer.told());
                let lost = matches!(answer.back, Back::NotSent(_));
                let told = if lost {
                    why
                } else {
                    format!("the IUT could not be brought to where the question is asked; {why}")
                };
                self.conclude(Verdict::Inconclusive, &told);
                false
            }
            _ => true,
        }
    }

    /// Requests under way are void: the IUT registered anew or is off.
    pub(super) fn requests_void(&mut self) {
        let mut ops: Vec<OpId> = Vec::new();
        if let Some(poll) = &mut self.script.poll {
            ops.append(&mut poll.ops);
        }
        if let Some(running) = &mut self.script.running {
            ops.extend(running.reads());
        }
        for op in ops {
            if !self.facts.answers.contains_key(&op) {
                self.world.server.cancel(self.now, op);
                let void = Answer::failed(self.now, fotaproof_lwm2m::server::OpFailure::NotRegistered);
                self.facts.answers.insert(op, void);
            }
        }
    }

    /// Reads in the background when they are due.
    pub(super) fn background_poll(&mut self) -> bool {
        let now = self.now;
        let Some(poll) = &mut self.script.poll else {
            return false;
        };
        let answers = &mut self.facts.answers;
        poll.ops.retain(|op| answers.remove(op).is_none());
        if now < poll.next {
            return false;
        }
        poll.next = now + poll.every;
        if poll.ops.is_empty() && self.facts.iut_running {
            for path in &poll.paths {
                poll.ops.push(self.world.server.read(now, path, None));
            }
        }
        true
    }

    pub(super) fn push_block(&mut self, op: OpId, block: BlockValue, code: Code, answer: Option<BlockValue>) {
        let wanted = self.script.running.as_ref().is_some_and(|running| {
            running.op == Some(op)
                && running
                    .step
                    .expect
                    .as_ref()
                    .is_some_and(|expect| super::judge::asks_answers(&expect.value))
        });
        if wanted && let Some(running) = &mut self.script.running {
            running.blocks.push((block, code, answer));
        }
    }

    pub(super) fn push_ended(&mut self, op: OpId, outcome: PushOutcome, other: bool) {
        let (back, told) = match outcome {
            PushOutcome::Complete { code } => (Back::Code(code), "the last block".to_owned()),
            PushOutcome::Scripted { code } => (Back::Code(code), "the last of the blocks sent".to_owned()),
            PushOutcome::Refused { code, block } => (Back::Code(code), format!("block {block}")),
            PushOutcome::Paused { next } => (Back::Code(Code::CONTINUE), format!("paused before block {next}")),
            PushOutcome::Failed { reason, block } => (Answer::failed(self.now, reason).back, format!("block {block}")),
            PushOutcome::TooManyBlocks => {
                let why = "the package has more blocks of this size than can be numbered";
                (Back::NotSent(why.to_owned()), "not begun".to_owned())
            }
        };
        let answer = Answer::pushed(self.now, back, told);
        if other {
            self.facts.other_answers.insert(op, answer);
        } else {
            self.facts.answers.insert(op, answer);
        }
    }

    /// After the last step: the IUT must still answer.
    pub(super) fn begin_closing(&mut self) {
        self.script.poll = None;
        self.script.running = None;
        if self.is_tester() {
            self.begin_closing_tester();
            return;
        }
        let wanted = self.config.case.liveness.unwrap_or(true)
            && !self.script.stopped
            && self.facts.iut_running
            && !self.facts.registrations.is_empty();
        self.script.closing = if wanted {
            let op = self.world.server.read(self.now, &LwPath::resource(3, 0, 3), None);
            Closing::Liveness { op, tries: 1 }
        } else {
            Closing::Done
        };
    }

    fn close(&mut self) -> bool {
        match self.script.closing {
            Closing::No => false,
            Closing::Update { .. } => self.close_tester(),
            Closing::Done => {
                self.finish();
                true
            }
            Closing::Liveness { op, tries } => {
                if let Some(status) = self.facts.iut_lost.take() {
                    self.facts.answers.insert(op, Answer::silence(self.now));
                    self.note(format!("the IUT ended: {status}"));
                }
                let Some(answer) = self.facts.answers.remove(&op) else {
                    return false;
                };
                let answered = matches!(answer.back, Back::Code(_));
                if !answered && tries < 3 && self.facts.iut_running {
                    let op = self.world.server.read(self.now, &LwPath::resource(3, 0, 3), None);
                    self.script.closing = Closing::Liveness { op, tries: tries + 1 };
                    return true;
                }
                if !answered && let Some(excuse) = self.excuse() {
                    self.conclude(
                        Verdict::Inconclusive,
                        &format!("no answer at the end of the case; {excuse}"),
                    );
                } else if !answered {
                    self.find(Finding {
                        source: FindingSource::Harness,
                        grade: Grade::Must,
                        blame: Blame::Iut,
                        clauses: vec!["oma-core/6.3.1".to_owned()],
                        title: "the IUT no longer answers at the end of the case".to_owned(),
                        expected: "an answer to GET /3/0/3".to_owned(),
                        seen: answer.told(),
                        datagrams: Vec::new(),
                        events: Vec::new(),
                        hint: None,
                    });
                }
                self.finish();
                true
            }
        }
    }
}

/// Whether a step does something.
fn has_action(step: &Step) -> bool {
    let expect_only = Step {
        expect: None,
        when: None,
        label: None,
        remember: None,
        ..step.clone()
    };
    expect_only != Step::default()
}
