//! Expectations: goals in their order, each judged by what is known or read.

use core::time::Duration;
use std::collections::VecDeque;

use fotaproof_cases::ast::{At, CodeMatch, Expect, FirmwareVersion, OutcomeGrade, ValueMatch};
use fotaproof_trace::{Blame, EventKind, ExpectationOutcome, Finding, FindingSource, Grade, Verdict};
use fotaproof_wire::path::LwPath;

use super::answer::{Answer, Back, value_text};
use super::firmware::{Firmware, Follow, pair_matches, pairs_told};
use super::goals::{OneRead, PairRead, Phase, ReadState, Running};
use super::messages;
use super::{Anchor, Measurement, Never, Output, Session, Trouble};

/// How a judgement stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Pending,
    Over,
    Stop,
}

/// What a broken goal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    Must,
    Should,
    Advice,
    Requires,
}

/// The goals of a step that are still to be judged.
#[derive(Debug)]
pub(super) struct Judging {
    goals: VecDeque<Goal>,
}

/// One thing that must hold.
#[derive(Debug)]
struct Goal {
    weight: Weight,
    /// All goals of one body share it: when one breaks, the rest of the body says nothing.
    body: usize,
    line: u32,
    expect: Box<Expect>,
    until: Duration,
    what: What,
}

#[derive(Debug)]
enum What {
    Code,
    Format,
    Answers,
    Values,
    Links,
    PayloadLength,
    Never,
    Path(PairRead, Option<Duration>),
    Ends(PairRead, Option<Duration>),
    Pair(PairRead),
    Unchanged(PairRead),
    Registration,
    Registrations,
    Notification,
    Messages(usize, Option<Duration>),
    Silence(usize, Option<Duration>),
    Version(OneRead),
    Image { asked: bool },
    Alive(OneRead),
    AnyOf { at: usize, inner: Judging, told: Vec<String> },
    Record,
}

/// How a goal stands.
enum Poll {
    Pending,
    Held(String),
    Broken { expected: String, seen: String, datagrams: Vec<u64> },
    /// It cannot be judged; the note says why.
    Unknown(String),
}

fn broken(expected: impl Into<String>, seen: impl Into<String>) -> Poll {
    Poll::Broken {
        expected: expected.into(),
        seen: seen.into(),
        datagrams: Vec::new(),
    }
}

/// Whether an expectation compares with the pair before the step.
pub(super) fn asks_unchanged(expect: &Expect) -> bool {
    any(expect, &|e| e.unchanged.as_ref().is_some_and(|u| u.value))
}

/// Whether an expectation asks about every answer of a push.
pub(super) fn asks_answers(expect: &Expect) -> bool {
    any(expect, &|e| e.answers.is_some())
}

fn any(expect: &Expect, ask: &dyn Fn(&Expect) -> bool) -> bool {
    ask(expect)
        || [&expect.should, &expect.advice, &expect.requires]
            .into_iter()
            .flatten()
            .any(|nested| any(&nested.value, ask))
        || expect.any_of.iter().flat_map(|all| &all.value).any(|one| any(&one.value.expect.value, ask))
        || expect.all_of.iter().flatten().any(|one| any(&one.value, ask))
}

impl Judging {
    /// When the first goal wants to be looked at again; what is past waits for an answer.
    pub(super) fn deadline(&self, now: Duration) -> Option<Duration> {
        let goal = self.goals.front()?;
        let read = match &goal.what {
            What::Path(read, next) | What::Ends(read, next) => read.next().or(*next),
            What::Pair(read) | What::Unchanged(read) => read.next(),
            What::Version(read) | What::Alive(read) => read.next(),
            What::Messages(_, Some(listen)) | What::Silence(_, Some(listen)) => Some(*listen),
            What::AnyOf { inner, .. } => return inner.deadline(now),
            _ => None,
        };
        [read, Some(goal.until)].into_iter().flatten().filter(|at| *at > now).min()
    }

    pub(super) fn reads(&self) -> Vec<fotaproof_lwm2m::server::OpId> {
        match self.goals.front().map(|goal| &goal.what) {
            Some(What::Path(read, _) | What::Ends(read, _) | What::Pair(read) | What::Unchanged(read)) => {
                read.ops().collect()
            }
            Some(What::Version(read) | What::Alive(read)) => read.op().into_iter().collect(),
            Some(What::AnyOf { inner, .. }) => inner.reads(),
            _ => Vec::new(),
        }
    }
}

impl Session {
    /// The goals of a step's expectations.
    pub(super) fn judging(&mut self, running: &Running) -> Judging {
        let mut goals = VecDeque::new();
        if let Some(expect) = &running.step.expect {
            let mut body = 0;
            let weight = Weight::Must;
            self.goals_of(expect, weight, running, &mut body, &mut goals);
        }
        Judging { goals }
    }

    fn goals_of(
        &self,
        expect: &At<Expect>,
        weight: Weight,
        running: &Running,
        body: &mut usize,
        goals: &mut VecDeque<Goal>,
    ) {
        let e = &expect.value;
        if e.when.as_ref().is_some_and(|when| !self.claimed(&when.value)) {
            return;
        }
        *body += 1;
        let own = *body;
        // a limit that the case states runs from its action on; the usual one from here on, as a slow
        // network may have used it up while the action was under way
        let acted = running.began.at == running.anchor.at;
        let until = match &e.within {
            Some(within) if acted => running.began.at + within.value.0,
            Some(within) => self.now + within.value.0,
            None => self.now + self.span("within", Duration::from_secs(60)),
        };
        let until = until.max(self.now);
        let mut add = |line: u32, what: What| {
            goals.push_back(Goal {
                weight,
                body: own,
                line,
                expect: Box::new(e.clone()),
                until,
                what,
            });
        };
        let line = expect.pos.line;
        if let Some(at) = &e.never {
            add(at.pos.line, What::Never);
        }
        if let Some(at) = &e.code {
            add(at.pos.line, What::Code);
        }
        if let Some(at) = &e.format {
            add(at.pos.line, What::Format);
        }
        if let Some(at) = &e.answers {
            add(at.pos.line, What::Answers);
        }
        if e.values.is_some() {
            add(line, What::Values);
        }
        if e.has.is_some() || e.lacks.is_some() {
            add(line, What::Links);
        }
        if e.payload_length.is_some() {
            add(line, What::PayloadLength);
        }
        if let Some(at) = &e.registration {
            add(at.pos.line, What::Registration);
        }
        if let Some(at) = &e.path {
            add(at.pos.line, What::Path(PairRead::default(), None));
        }
        if let Some(at) = &e.ends {
            add(at.pos.line, What::Ends(PairRead::default(), None));
        }
        if let Some(at) = &e.notification {
            add(at.pos.line, What::Notification);
        }
        if let Some(at) = &e.messages {
            for i in 0..at.value.len() {
                add(at.pos.line, What::Messages(i, None));
            }
        }
        if let Some(at) = &e.silence {
            for i in 0..at.value.len() {
                add(at.pos.line, What::Silence(i, None));
            }
        }
        if let Some(at) = &e.registrations {
            add(at.pos.line, What::Registrations);
        }
        if let Some(at) = &e.pair {
            add(at.pos.line, What::Pair(PairRead::default()));
        }
        if let Some(at) = e.unchanged.as_ref().filter(|at| at.value) {
            add(at.pos.line, What::Unchanged(PairRead::default()));
        }
        if let Some(at) = &e.firmware_version {
            add(at.pos.line, What::Version(OneRead::new(LwPath::resource(3, 0, 3))));
        }
        if let Some(at) = &e.image {
            add(at.pos.line, What::Image { asked: false });
        }
        if let Some(at) = e.alive.as_ref().filter(|at| at.value) {
            add(at.pos.line, What::Alive(OneRead::new(LwPath::resource(3, 0, 3))));
        }
        if e.record.is_some() {
            add(line, What::Record);
        }
        if let Some(at) = &e.any_of {
            add(
                at.pos.line,
                What::AnyOf {
                    at: 0,
                    inner: Judging { goals: VecDeque::new() },
                    told: Vec::new(),
                },
            );
        }
        for nested in e.all_of.iter().flatten() {
            self.goals_of(nested, weight, running, body, goals);
        }
        for (nested, weight) in [
            (&e.requires, Weight::Requires),
            (&e.should, Weight::Should),
            (&e.advice, Weight::Advice),
        ] {
            if let Some(nested) = nested {
                self.goals_of(nested, weight, running, body, goals);
            }
        }
    }

    /// Goes on judging.
    pub(super) fn judge(&mut self, running: &mut Running) -> Judgement {
        loop {
            let Phase::Judge(judging) = &mut running.phase else { return Judgement::Over };
            let Some(mut goal) = judging.goals.pop_front() else { return Judgement::Over };
            let poll = self.poll_goal(&mut goal, running);
            let Phase::Judge(judging) = &mut running.phase else { return Judgement::Over };
            match poll {
                Poll::Pending => {
                    judging.goals.push_front(goal);
                    return Judgement::Pending;
                }
                Poll::Held(seen) => {
                    self.script.held += 1;
                    self.told(running, &goal, true, &seen, &seen);
                }
                Poll::Unknown(why) => self.note(format!("not judged: {why}")),
                Poll::Broken { expected, seen, datagrams } => {
                    let body = goal.body;
                    let weight = goal.weight;
                    judging.goals.retain(|other| other.body != body);
                    self.told(running, &goal, false, &expected, &seen);
                    if self.break_goal(running, &goal, expected, seen, datagrams) {
                        return Judgement::Stop;
                    }
                    if weight == Weight::Must {
                        return Judgement::Stop;
                    }
                }
            }
        }
    }

    fn told(&mut self, running: &Running, goal: &Goal, held: bool, expected: &str, seen: &str) {
        self.emit(EventKind::Expectation(ExpectationOutcome {
            step: running.index,
            line: goal.line,
            grade: match goal.weight {
                Weight::Must | Weight::Requires => Grade::Must,
                Weight::Should => Grade::Should,
                Weight::Advice => Grade::Advice,
            },
            held,
            text: name_of(&goal.what).to_owned(),
            expected: expected.to_owned(),
            seen: seen.to_owned(),
        }));
    }

    /// Takes a broken goal into the verdict; true when the case cannot go on.
    fn break_goal(
        &mut self,
        running: &Running,
        goal: &Goal,
        expected: String,
        seen: String,
        datagrams: Vec<u64>,
    ) -> bool {
        if running.given || goal.weight == Weight::Requires {
            self.conclude(
                Verdict::Inconclusive,
                &format!(
                    "the IUT could not be brought to where the question is asked ({}, line {}): expected {expected}, seen {seen}",
                    running.text, goal.line
                ),
            );
            return true;
        }
        let never_sent = running.answer.as_ref().and_then(|answer| match &answer.back {
            Back::NotSent(why) => Some(why.clone()),
            _ => None,
        });
        if let (Some(why), What::Code) = (&never_sent, &goal.what) {
            self.conclude(Verdict::Inconclusive, &format!("{}: {why}", running.text));
            return true;
        }
        // what chance took away is held against nobody
        let once = running.step.datagram.is_some()
            || running.step.resend.is_some()
            || running.step.request.as_ref().is_some_and(|request| request.value.once == Some(true));
        let lost = if once && self.world.exchanges.lost_since(running.began.at) {
            Some("the link lost what is sent only once, or the answer to it".to_owned())
        } else {
            self.world.exchanges.broken_by_chance(running.anchor.at)
        };
        if let Some(why) = lost {
            self.conclude(Verdict::Inconclusive, &format!("{why}; without that: expected {expected}, seen {seen}"));
            return true;
        }
        let title = match &goal.expect.because {
            Some(because) => because.clone(),
            None => format!("{}: {} is not as expected", running.text, name_of(&goal.what)),
        };
        if let Some(excuse) = self.excuse()
            && rests_on_absence(&goal.what, running, &seen)
        {
            let told = format!("{title} (line {}): expected {expected}, seen {seen}; {excuse}", goal.line);
            if goal.weight == Weight::Must {
                self.conclude(Verdict::Inconclusive, &told);
            } else {
                self.note(told);
            }
            return false;
        }
        self.find(Finding {
            source: FindingSource::Expectation {
                step: running.index,
                line: goal.line,
            },
            grade: match goal.weight {
                Weight::Should => Grade::Should,
                Weight::Advice => Grade::Advice,
                _ => Grade::Must,
            },
            blame: Blame::Iut,
            clauses: self.clauses(goal.expect.clauses.as_ref()),
            title,
            expected,
            seen,
            datagrams,
            events: vec![self.event_no],
            hint: None,
        });
        false
    }

    /// Why what is missing may be the network's fault, when it may.
    pub(super) fn excuse(&self) -> Option<String> {
        match self.config.trouble {
            Trouble::None => None,
            Trouble::Chance if self.world.disturbed == 0 => None,
            Trouble::Chance => Some(format!(
                "the network lost or disturbed {} packets by chance, which may be why",
                self.world.disturbed
            )),
            Trouble::Slow => Some("a round trip on the network can take longer than ACK_TIMEOUT, which may be why".to_owned()),
        }
    }

    fn poll_goal(&mut self, goal: &mut Goal, running: &Running) -> Poll {
        let poll = self.poll_what(goal, running);
        let timed = matches!(
            goal.what,
            What::Path(..) | What::Ends(..) | What::Registration | What::Notification | What::Messages(..)
        );
        let Some(not_before) = goal.expect.not_before.as_ref().filter(|_| timed) else { return poll };
        let elapsed = self.now.saturating_sub(running.anchor.at);
        match poll {
            Poll::Held(seen) if elapsed + self.config.tolerance < not_before.value.0 => broken(
                format!("not before {:.3} s", not_before.value.0.as_secs_f64()),
                format!("{seen} after {:.3} s", elapsed.as_secs_f64()),
            ),
            poll => poll,
        }
    }

    fn poll_what(&mut self, goal: &mut Goal, running: &Running) -> Poll {
        let e = goal.expect.clone();
        match &mut goal.what {
            What::Code => judge_code(&e, running.answer.as_ref()),
            What::Format => judge_format(&e, running.answer.as_ref()),
            What::Answers => judge_answers(&e, running),
            What::Values => judge_values(&e, running.answer.as_ref()),
            What::Links => judge_links(&e, running.answer.as_ref()),
            What::PayloadLength => match (&e.payload_length, &running.answer) {
                (Some(want), Some(answer)) if want.matches(&answer.payload.len().to_string()) => {
                    Poll::Held(format!("{} bytes", answer.payload.len()))
                }
                (Some(want), Some(answer)) => broken(format!("a payload of {want} bytes"), format!("{} bytes", answer.payload.len())),
                _ => broken("an answer", "none"),
            },
            What::Never => {
                self.watch(&e, goal.weight, running, goal.line);
                Poll::Held("watched from here on".to_owned())
            }
            What::Path(read, next) => self.judge_path(&e, read, next, goal.until),
            What::Ends(read, next) => self.judge_ends(&e, read, next, goal.until, running.began.at),
            What::Pair(read) => {
                let object = e.object.unwrap_or(5);
                let Some(wanted) = &e.pair else { return Poll::Held(String::new()) };
                match read.poll(self, object) {
                    ReadState::Pending => Poll::Pending,
                    ReadState::Failed(why) => broken(pairs_told(&wanted.value), why),
                    ReadState::Value(pair) if pair_matches(pair, &wanted.value) => {
                        self.settle(object);
                        Poll::Held(format!("{}/{}", pair.0, pair.1))
                    }
                    ReadState::Value(pair) => broken(pairs_told(&wanted.value), format!("{}/{}", pair.0, pair.1)),
                }
            }
            What::Unchanged(read) => {
                let Some(before) = running.before else {
                    return Poll::Unknown("the pair before the step could not be read".to_owned());
                };
                match read.poll(self, 5) {
                    ReadState::Pending => Poll::Pending,
                    ReadState::Failed(why) => broken(format!("the pair stays {}/{}", before.0, before.1), why),
                    ReadState::Value(pair) if pair == before => Poll::Held(format!("{}/{}", pair.0, pair.1)),
                    ReadState::Value(pair) => {
                        broken(format!("the pair stays {}/{}", before.0, before.1), format!("{}/{}", pair.0, pair.1))
                    }
                }
            }
            What::Registration => self.judge_registration(&e, running, goal.until),
            What::Registrations => {
                let Some(want) = &e.registrations else { return Poll::Held(String::new()) };
                let count = self.facts.registrations.len();
                if want.value.matches(&count.to_string()) {
                    Poll::Held(format!("{count} registrations"))
                } else {
                    broken(format!("{} registrations since the case began", want.value), count.to_string())
                }
            }
            What::Notification => self.judge_notification(&e, running, goal.until),
            What::Messages(i, listen) => self.judge_messages(&e, *i, listen, running, goal.until),
            What::Silence(i, listen) => self.judge_silence(&e, *i, listen, running),
            What::Version(read) => self.judge_version(&e, read),
            What::Image { asked } => self.judge_image(&e, asked),
            What::Alive(read) => match read.poll(self) {
                ReadState::Pending => Poll::Pending,
                ReadState::Value(value) => Poll::Held(format!("/3/0/3 is {value}")),
                ReadState::Failed(why) if why.contains("no answer") => broken("an answer to GET /3/0/3", why),
                ReadState::Failed(why) => Poll::Held(why),
            },
            What::AnyOf { at, inner, told } => self.judge_any_of(&e, at, inner, told, running),
            What::Record => {
                self.record(&e, running);
                Poll::Held("recorded".to_owned())
            }
        }
    }

    fn settle(&mut self, object: u16) {
        if let Some(firmware) = self.facts.firmware.get_mut(&object) {
            firmware.settle();
        }
    }

    fn poll_interval(&self) -> Duration {
        self.span("poll", Duration::from_millis(500))
    }

    fn judge_path(&mut self, e: &Expect, read: &mut PairRead, next: &mut Option<Duration>, until: Duration) -> Poll {
        let object = e.object.unwrap_or(5);
        let Some(stations) = e.path.as_ref().map(|path| path.value.clone()) else { return Poll::Held(String::new()) };
        let told = || {
            let words: Vec<String> = stations.iter().map(ToString::to_string).collect();
            let result = e.result.as_ref().map_or_else(String::new, |all| {
                let words: Vec<String> = all.value.iter().map(ToString::to_string).collect();
                format!(" with result {}", words.join(" or "))
            });
            format!("{}{result}", words.join(" > "))
        };
        loop {
            let firmware = self.facts.firmware.entry(object).or_default();
            let follow = firmware.follow(&stations);
            let result = firmware.result();
            let right = match &e.result {
                Some(wanted) => result.is_some_and(|result| wanted.value.iter().any(|want| want.0 == result)),
                None => true,
            };
            match follow {
                Follow::Astray { state } => {
                    let seen = format!("{} ({})", firmware.told(), fotaproof_cases::ast::StateName(state));
                    return broken(told(), seen);
                }
                Follow::Arrived if right => {
                    let seen = firmware.told();
                    firmware.settle();
                    return Poll::Held(seen);
                }
                _ if self.now >= until => {
                    let seen = format!("{} in {:.3} s", firmware.told(), self.now.as_secs_f64());
                    return broken(told(), seen);
                }
                _ => {}
            }
            if !self.poll_pair(object, read, next) {
                return Poll::Pending;
            }
        }
    }

    /// Reads the pair again and again; true when a new pair was learnt.
    fn poll_pair(&mut self, object: u16, read: &mut PairRead, next: &mut Option<Duration>) -> bool {
        if next.is_some_and(|next| self.now < next) || !self.facts.iut_running {
            if !self.facts.iut_running {
                *next = Some(self.now + self.poll_interval());
            }
            return false;
        }
        *next = None;
        match read.poll(self, object) {
            ReadState::Pending => false,
            ReadState::Value(_) => {
                *read = PairRead::default();
                *next = Some(self.now + self.poll_interval());
                true
            }
            ReadState::Failed(_) => {
                *read = PairRead::default();
                *next = Some(self.now + self.poll_interval());
                false
            }
        }
    }

    fn judge_ends(
        &mut self,
        e: &Expect,
        read: &mut PairRead,
        next: &mut Option<Duration>,
        until: Duration,
        began: Duration,
    ) -> Poll {
        let object = e.object.unwrap_or(5);
        let Some(wanted) = e.ends.as_ref().map(|ends| ends.value.clone()) else { return Poll::Held(String::new()) };
        let stable = e.stable.map_or_else(|| self.span("stable", Duration::from_secs(5)), |span| span.0);
        loop {
            let firmware = self.facts.firmware.entry(object).or_default();
            if let (Some(pair), Some(since), Some(last)) =
                (firmware.pair(), firmware.steady_since(), firmware.last_complete())
                && pair_matches(pair, &wanted)
                && last >= since + stable
                && last >= began
            {
                firmware.settle();
                return Poll::Held(format!("{}/{}", pair.0, pair.1));
            }
            // a pair that is right already only has to be seen to stay
            let right = firmware.pair().is_some_and(|pair| pair_matches(pair, &wanted));
            let end = until + stable * if right { 4 } else { 1 };
            if self.now >= end {
                let seen = match firmware.pair() {
                    Some(pair) => format!("{}/{} ({})", pair.0, pair.1, firmware.told()),
                    None => "no pair could be read".to_owned(),
                };
                return broken(format!("ends {}", pairs_told(&wanted)), seen);
            }
            if !self.poll_pair(object, read, next) {
                return Poll::Pending;
            }
        }
    }

    fn watch(&mut self, e: &Expect, weight: Weight, running: &Running, line: u32) {
        let Some(never) = &e.never else { return };
        let clauses = self.clauses(e.clauses.as_ref());
        let object = e.object.unwrap_or(5);
        let states: Vec<u8> = never.value.iter().map(|state| state.0).collect();
        self.script.never.push(Never {
            states: states.clone(),
            object,
            grade: match weight {
                Weight::Should => Grade::Should,
                Weight::Advice => Grade::Advice,
                _ => Grade::Must,
            },
            step: running.index,
            line,
            clauses,
            told: false,
        });
        // what was seen since the action began counts too
        let seen: Vec<u8> = self
            .facts
            .firmware
            .get(&object)
            .map(|firmware: &Firmware| firmware.since(running.anchor.samples).iter().filter_map(|s| s.state).collect())
            .unwrap_or_default();
        for state in seen {
            self.judge_never(object, state);
        }
    }

    /// A state was seen: is it one that must not be?
    pub(super) fn judge_never(&mut self, object: u16, state: u8) {
        let mut found = Vec::new();
        for never in &mut self.script.never {
            if never.object == object && !never.told && never.states.contains(&state) {
                never.told = true;
                found.push(never.clone());
            }
        }
        for never in found {
            let name = fotaproof_cases::ast::StateName(state);
            self.find(Finding {
                source: FindingSource::Expectation {
                    step: never.step,
                    line: never.line,
                },
                grade: never.grade,
                blame: Blame::Iut,
                clauses: never.clauses,
                title: format!("the IUT shows state {name}, which it must not reach here"),
                expected: format!("never {name}"),
                seen: format!("{name} at {:.3} s", self.now.as_secs_f64()),
                datagrams: Vec::new(),
                events: vec![self.event_no],
                hint: None,
            });
        }
    }

    fn judge_registration(&mut self, e: &Expect, running: &Running, until: Duration) -> Poll {
        let Some(want) = e.registration.as_ref().map(|at| &at.value) else { return Poll::Held(String::new()) };
        let all = &self.facts.registrations;
        let since = if want.new == Some(true) { running.anchor.registrations } else { 0 };
        let Some(((_, last), before)) = all.get(since..).and_then(<[_]>::last).zip(Some(&all[..all.len().saturating_sub(1)])) else {
            if self.now < until {
                return Poll::Pending;
            }
            let seen = match (&self.facts.iut_status, self.facts.iut_running) {
                (Some(status), false) => format!("none; the IUT ended: {status}"),
                _ => format!("none in {:.3} s", until.as_secs_f64()),
            };
            return broken(if want.new == Some(true) { "a new registration" } else { "a registration" }, seen);
        };
        let previous = before.last().map(|(_, r)| r);
        if want.same_endpoint == Some(true)
            && let Some(previous) = previous
            && previous.endpoint != last.endpoint
        {
            return broken(format!("endpoint name {}", previous.endpoint), last.endpoint.clone());
        }
        if want.new_address == Some(true)
            && let Some(previous) = previous
            && previous.address == last.address
        {
            return broken("another address or port", last.address.to_string());
        }
        let queries = [
            ("ep", Some(last.endpoint.clone())),
            ("lt", Some(last.lifetime.to_string())),
            ("lwm2m", Some(last.lwm2m.to_string())),
            ("b", Some(last.binding.clone())),
        ];
        for (name, want) in &want.query {
            let have = queries.iter().find(|(n, _)| n == name).and_then(|(_, value)| value.clone()).unwrap_or_default();
            if !want.matches(&have) || (have.is_empty() && *want == ValueMatch::Any) {
                return broken(format!("{name}={want}"), format!("{name}={have}"));
            }
        }
        // an alternate path stands before all of them (Core, Register)
        let root = last.links.root.as_str();
        let plain = |target: &str| target.strip_prefix(root).unwrap_or(target).to_owned();
        let targets: Vec<String> = last.objects.iter().map(|link| plain(&link.target)).collect();
        for path in want.has.iter().flat_map(|all| all.iter()) {
            if !targets.contains(&path.0) {
                return broken(format!("{path} in the object list"), targets.join(", "));
            }
        }
        for path in want.lacks.iter().flat_map(|all| all.iter()) {
            let below = format!("{path}/");
            if let Some(odd) = targets.iter().find(|target| **target == path.0 || target.starts_with(&below)) {
                return broken(format!("no {path} in the object list"), odd.clone());
            }
        }
        Poll::Held(format!("ep={} from {}", last.endpoint, last.address))
    }

    fn judge_notification(&mut self, e: &Expect, running: &Running, until: Duration) -> Poll {
        let Some(want) = e.notification.as_ref().map(|at| &at.value) else { return Poll::Held(String::new()) };
        let Ok(path) = want.path.0.parse::<LwPath>() else {
            return Poll::Unknown(format!("{} is no LwM2M path", want.path));
        };
        let all = &self.facts.notifications;
        let hit = all.iter().enumerate().skip(running.anchor.notifications).find(|(_, (_, p, value))| {
            *p == path && want.value.as_ref().is_none_or(|want| want.matches(value))
        });
        let told = || match &want.value {
            Some(value) => format!("a notification of {path} with {value}"),
            None => format!("a notification of {path}"),
        };
        let Some((i, (at, _, value))) = hit else {
            if self.now < until {
                return Poll::Pending;
            }
            let others: Vec<String> = all
                .iter()
                .skip(running.anchor.notifications)
                .map(|(at, p, value)| format!("{p} = {value} at {:.3} s", at.as_secs_f64()))
                .collect();
            return broken(told(), if others.is_empty() { "none".to_owned() } else { others.join(", ") });
        };
        if let Some(after) = want.after_previous {
            // the one before may have taken the longest way, this one the shortest
            let jitter = self.world.link.spec().toward_server.jitter;
            let previous = all[..i]
                .iter()
                .rev()
                .find(|(_, p, _)| *p == path)
                .map(|(at, _, _)| *at)
                .into_iter()
                .chain(self.facts.observed_at.get(&path).copied())
                .max();
            if let Some(previous) = previous
                && *at + self.config.tolerance + Duration::from_millis(20) + jitter * 2 < previous + after.0
            {
                return broken(
                    format!("{}, at least {:?} after the one before", told(), after.0),
                    format!("{:?} after", at.saturating_sub(previous)),
                );
            }
        }
        Poll::Held(format!("{path} = {value} at {:.3} s", at.as_secs_f64()))
    }

    fn since(&self, label: Option<&At<String>>, running: &Running) -> Anchor {
        match label.map(|label| label.value.as_str()) {
            None => running.anchor,
            Some("start") => self.script.start,
            Some(name) => self.script.labels.get(name).map_or(running.anchor, |label| label.anchor),
        }
    }

    fn judge_messages(
        &mut self,
        e: &Expect,
        i: usize,
        listen: &mut Option<Duration>,
        running: &Running,
        until: Duration,
    ) -> Poll {
        let Some(ask) = e.messages.as_ref().and_then(|all| all.value.get(i)) else { return Poll::Held(String::new()) };
        let since = self.since(ask.since.as_ref(), running).log;
        if let Some(span) = ask.listen {
            let end = *listen.get_or_insert(self.now + span.0);
            if self.now < end {
                return Poll::Pending;
            }
        }
        let judged = messages::judge(&self.facts.log, since, ask, &self.config.addresses, self.config.tolerance);
        if judged.held {
            return Poll::Held(judged.seen);
        }
        if ask.listen.is_none() && judged.may_still && e.within.is_some() && self.now < until {
            return Poll::Pending;
        }
        Poll::Broken {
            expected: judged.expected,
            seen: judged.seen,
            datagrams: judged.datagrams,
        }
    }

    fn judge_silence(&mut self, e: &Expect, i: usize, listen: &mut Option<Duration>, running: &Running) -> Poll {
        let Some(ask) = e.silence.as_ref().and_then(|all| all.value.get(i)) else { return Poll::Held(String::new()) };
        let since = self.since(ask.since.as_ref(), running).log;
        let span = ask.listen.map_or(Duration::ZERO, |span| span.0);
        let end = *listen.get_or_insert(self.now + span);
        let what = ask.what.clone().unwrap_or_else(|| messages::words(&ask.select));
        if let Some(seen) = self.facts.log.matching(since, &ask.select, &self.config.addresses).next() {
            return Poll::Broken {
                expected: format!("no {what} for {span:?}"),
                seen: messages::told(seen),
                datagrams: vec![seen.datagram],
            };
        }
        if self.now < end {
            return Poll::Pending;
        }
        Poll::Held(format!("no {what} for {span:?}"))
    }

    fn judge_version(&mut self, e: &Expect, read: &mut OneRead) -> Poll {
        let Some(want) = e.firmware_version.as_ref().map(|at| &at.value) else { return Poll::Held(String::new()) };
        let wanted = match want {
            FirmwareVersion::Is(version) => version.clone(),
            FirmwareVersion::New => match self.package(None) {
                Ok(image) if !image.version.is_empty() => image.version,
                _ => return Poll::Unknown("the package names no version".to_owned()),
            },
            FirmwareVersion::Old => match &self.facts.old_version {
                Some(version) if !version.is_empty() => version.clone(),
                _ => return Poll::Unknown("the version before the case could not be read".to_owned()),
            },
        };
        match read.poll(self) {
            ReadState::Pending => Poll::Pending,
            ReadState::Value(version) if version == wanted => Poll::Held(version),
            ReadState::Value(version) => broken(format!("/3/0/3 is {wanted}"), version),
            ReadState::Failed(why) => broken(format!("/3/0/3 is {wanted}"), why),
        }
    }

    fn judge_no_image(&mut self, asked: &mut bool) -> Poll {
        if !*asked {
            *asked = true;
            self.facts.image_digest = None;
            self.out.push_back(Output::AskImageDigest);
            return Poll::Pending;
        }
        match self.facts.image_digest.take() {
            None => Poll::Pending,
            Some(None) => Poll::Held("no image".to_owned()),
            Some(Some(digest)) => broken("no image", format!("SHA-256 {digest}")),
        }
    }

    fn judge_image(&mut self, e: &Expect, asked: &mut bool) -> Poll {
        let Some(name) = &e.image else { return Poll::Held(String::new()) };
        if !self.config.claims.has("hook:digest") {
            return Poll::Unknown("the IUT has no hook that tells the image it holds".to_owned());
        }
        if name.value == "none" {
            return self.judge_no_image(asked);
        }
        let Ok(image) = self.package(Some(&name.value)) else {
            return Poll::Unknown(format!("there is no package `{}`", name.value));
        };
        let wanted = super::answer::sha256(&image.bytes);
        if !*asked {
            *asked = true;
            self.facts.image_digest = None;
            self.out.push_back(Output::AskImageDigest);
            return Poll::Pending;
        }
        match self.facts.image_digest.take() {
            None => Poll::Pending,
            Some(Some(digest)) if digest == wanted => Poll::Held(format!("SHA-256 {digest}")),
            Some(Some(digest)) => broken(format!("an image with SHA-256 {wanted}"), format!("SHA-256 {digest}")),
            Some(None) => broken(format!("an image with SHA-256 {wanted}"), "no image"),
        }
    }

    /// Tries one outcome after the other without reporting the broken ones.
    fn judge_any_of(
        &mut self,
        e: &Expect,
        at: &mut usize,
        inner: &mut Judging,
        told: &mut Vec<String>,
        running: &Running,
    ) -> Poll {
        let Some(outcomes) = e.any_of.as_ref().map(|all| &all.value) else { return Poll::Held(String::new()) };
        let mut fresh = inner.goals.is_empty();
        while let Some(outcome) = outcomes.get(*at) {
            if fresh {
                let mut body = 0;
                let mut goals = VecDeque::new();
                let mut expect = outcome.value.expect.clone();
                if expect.value.within.is_none() {
                    expect.value.within.clone_from(&e.within);
                }
                self.goals_of(&expect, Weight::Must, running, &mut body, &mut goals);
                inner.goals = goals;
                if inner.goals.is_empty() {
                    // its claims do not hold
                    *at += 1;
                    continue;
                }
            }
            fresh = true;
            let mut why = None;
            while let Some(mut goal) = inner.goals.pop_front() {
                match self.poll_goal(&mut goal, running) {
                    Poll::Pending => {
                        inner.goals.push_front(goal);
                        return Poll::Pending;
                    }
                    Poll::Held(_) | Poll::Unknown(_) => {}
                    Poll::Broken { expected, seen, .. } => {
                        why = Some(format!("expected {expected}, seen {seen}"));
                        break;
                    }
                }
            }
            inner.goals.clear();
            let Some(why) = why else {
                let note = outcome.value.note.clone().unwrap_or_else(|| format!("outcome {}", *at + 1));
                self.outcome_reached(outcome.value.grade, &note, e, running, outcome.pos.line);
                if outcome.value.ends_case == Some(true) {
                    self.script.next = usize::MAX;
                }
                return Poll::Held(note);
            };
            told.push(format!("({}) {why}", *at + 1));
            *at += 1;
        }
        broken("one of the acceptable outcomes", told.join("; "))
    }

    fn outcome_reached(&mut self, grade: OutcomeGrade, note: &str, e: &Expect, running: &Running, line: u32) {
        let grade = match grade {
            OutcomeGrade::Pass => return,
            OutcomeGrade::Inconclusive => {
                self.conclude(Verdict::Inconclusive, &format!("the specifications do not say what this means: {note}"));
                return;
            }
            OutcomeGrade::Should => Grade::Should,
            OutcomeGrade::Advice => Grade::Advice,
        };
        if let Some(excuse) = self.excuse() {
            self.note(format!("{note}; {excuse}"));
            return;
        }
        self.find(Finding {
            source: FindingSource::Expectation {
                step: running.index,
                line,
            },
            grade,
            blame: Blame::Iut,
            clauses: self.clauses(e.clauses.as_ref()),
            title: note.to_owned(),
            expected: "the first of the acceptable outcomes".to_owned(),
            seen: note.to_owned(),
            datagrams: Vec::new(),
            events: vec![self.event_no],
            hint: None,
        });
    }

    fn record(&mut self, e: &Expect, running: &Running) {
        let since = running.anchor;
        let traffic = self.world.traffic;
        for name in e.record.iter().flat_map(|all| all.iter()) {
            let (value, unit) = match name.as_str() {
                "time" => ((self.now - since.at).as_secs_f64(), "s"),
                "bytes" => ((traffic.bytes - since.traffic.bytes) as f64, "B"),
                "packets" => ((traffic.packets - since.traffic.packets) as f64, ""),
                "fragments" => ((traffic.fragments - since.traffic.fragments) as f64, ""),
                "transmissions" => ((traffic.datagrams - since.traffic.datagrams) as f64, ""),
                other => {
                    self.note(format!("nothing is measured as `{other}`"));
                    continue;
                }
            };
            let label = running.step.label.as_ref().map_or_else(|| format!("step {}", running.index + 1), |l| l.value.clone());
            self.script.measurements.push(Measurement {
                name: format!("{label}: {name}"),
                value,
                unit: unit.to_owned(),
            });
        }
    }
}

/// Whether a goal broke by what did not come, in time or at all, which a network can cause; not by
/// what the IUT itself said.
fn rests_on_absence(what: &What, running: &Running, seen: &str) -> bool {
    let answered = matches!(running.answer.as_ref().map(|answer| &answer.back), Some(Back::Code(_) | Back::Rst));
    match what {
        What::Code | What::Format | What::Values | What::Links | What::PayloadLength => !answered,
        What::Answers => running.blocks.is_empty(),
        What::Image { .. } => !seen.starts_with("SHA-256"),
        What::Never => false,
        _ => true,
    }
}

fn name_of(what: &What) -> &'static str {
    match what {
        What::Code => "the answer",
        What::Format => "the format of the answer",
        What::Answers => "the answers to the blocks",
        What::Values => "a value",
        What::Links => "what the answer holds",
        What::PayloadLength => "the length of the payload",
        What::Never => "a state that must not be seen",
        What::Path(..) => "the path of states",
        What::Ends(..) => "the end",
        What::Pair(_) => "the pair of state and result",
        What::Unchanged(_) => "the pair, which must stay",
        What::Registration => "the registration",
        What::Registrations => "the number of registrations",
        What::Notification => "the notification",
        What::Messages(..) => "the messages",
        What::Silence(..) => "silence",
        What::Version(_) => "the firmware version",
        What::Image { .. } => "the image that the IUT holds",
        What::Alive(_) => "life",
        What::AnyOf { .. } => "the outcome",
        What::Record => "the record",
    }
}

fn judge_code(e: &Expect, answer: Option<&Answer>) -> Poll {
    let Some(wanted) = &e.code else { return Poll::Held(String::new()) };
    let words: Vec<String> = wanted.value.iter().map(ToString::to_string).collect();
    let expected = words.join(" or ");
    let Some(answer) = answer else { return broken(expected, "the step has no answer") };
    let held = wanted.value.iter().any(|want| match (&answer.back, want) {
        (Back::Code(code), want) => want.matches(code.0),
        (Back::Rst, CodeMatch::Rst | CodeMatch::Any) | (Back::Nothing, CodeMatch::None) => true,
        _ => false,
    });
    if held { Poll::Held(answer.told()) } else { broken(expected, answer.told()) }
}

fn judge_format(e: &Expect, answer: Option<&Answer>) -> Poll {
    let Some(wanted) = &e.format else { return Poll::Held(String::new()) };
    match answer.and_then(|answer| answer.format) {
        Some(format) if format == wanted.value.0 => Poll::Held(wanted.value.to_string()),
        Some(format) => broken(wanted.value.to_string(), fotaproof_cases::ast::DataFormat(format).to_string()),
        None => broken(wanted.value.to_string(), "no Content-Format"),
    }
}

fn judge_answers(e: &Expect, running: &Running) -> Poll {
    let Some(wanted) = e.answers.as_ref().map(|at| &at.value) else { return Poll::Held(String::new()) };
    if running.blocks.is_empty() {
        return broken("answers to the blocks", "none");
    }
    for (sent, code, block) in &running.blocks {
        if sent.more {
            if let Some(codes) = &wanted.code
                && !codes.iter().any(|want| want.matches(code.0))
            {
                return broken(format!("{} to block {sent}", codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")), code.to_string());
            }
            if wanted.block == Some(true) {
                match block {
                    Some(block) if block.num == sent.num && block.more == sent.more && block.szx <= sent.szx => {}
                    Some(block) => return broken(format!("Block1 {sent}, or a smaller size, in the answer"), format!("Block1 {block}")),
                    None => return broken(format!("Block1 {sent} in the answer"), "no Block1"),
                }
            }
        } else if wanted.last_block == Some(true) && block.is_none_or(|block| block.num != sent.num || block.more) {
            let seen = block.map_or_else(|| "no Block1".to_owned(), |block| format!("Block1 {block}"));
            return broken(format!("Block1 {sent} in the last answer"), seen);
        }
    }
    Poll::Held(format!("{} answers", running.blocks.len()))
}

fn judge_values(e: &Expect, answer: Option<&Answer>) -> Poll {
    let Some(wanted) = &e.values else { return Poll::Held(String::new()) };
    let Some(answer) = answer else { return broken("an answer with values", "none") };
    if let Some(error) = &answer.decode_error {
        return broken("a payload that can be read", error.clone());
    }
    let mut seen = Vec::new();
    for (path, want) in wanted {
        match answer.values.iter().find(|(p, _)| p.to_string() == *path) {
            Some((_, value)) if want.matches(&value_text(value)) => seen.push(format!("{path} = {}", value_text(value))),
            Some((_, value)) => return broken(format!("{path} = {want}"), value_text(value)),
            None => {
                let others: Vec<String> = answer.values.iter().map(|(p, _)| p.to_string()).collect();
                let of = if others.is_empty() { String::new() } else { format!("; values of {}", others.join(", ")) };
                return broken(format!("{path} = {want}"), format!("{}{of}", answer.told()));
            }
        }
    }
    Poll::Held(seen.join(", "))
}

fn judge_links(e: &Expect, answer: Option<&Answer>) -> Poll {
    let Some(answer) = answer else { return broken("an answer", "none") };
    if let Some(error) = &answer.decode_error {
        return broken("a payload that can be read", error.clone());
    }
    let mut targets: Vec<String> = answer.values.iter().map(|(path, _)| path.to_string()).collect();
    if answer.format == Some(40)
        && let Ok(links) = fotaproof_wire::link_format::parse(&answer.payload)
    {
        targets = links.into_iter().map(|link| link.target).collect();
    }
    // a multiple resource is there when one of its instances is
    let there = |path: &str| {
        let below = format!("{path}/");
        targets.iter().any(|target| target == path || target.starts_with(&below))
    };
    for path in e.has.iter().flat_map(|all| all.iter()) {
        if !there(&path.0) {
            return broken(format!("{path}"), format!("only {}", targets.join(", ")));
        }
    }
    for path in e.lacks.iter().flat_map(|all| all.iter()) {
        if there(&path.0) {
            return broken(format!("no {path}"), targets.join(", "));
        }
    }
    Poll::Held(targets.join(", "))
}
