//! Expectations: goals in their order, each judged by what is known or read.

mod answers;
mod events;
mod facts;
mod forms;
mod states;

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use fotaproof_cases::ast::{At, CodeMatch, Expect};
use fotaproof_trace::{Blame, EventKind, ExpectationOutcome, Finding, FindingSource, Grade, Verdict};
use fotaproof_wire::path::LwPath;

use self::answers::{judge_answers, judge_code, judge_format, judge_links, judge_values};
use super::answer::Back;
use super::firmware::{pair_matches, pairs_told};
use super::goals::{OneRead, PairRead, Phase, ReadState, Running};
use super::{Session, Trouble};

/// How a judgement stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::session) enum Judgement {
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
pub(in crate::session) struct Judging {
    goals: VecDeque<Goal>,
}

/// One thing that must hold.
#[derive(Debug)]
struct Goal {
    weight: Weight,
    /// All goals of one body share it: when one breaks, the rest of the body says nothing.
    body: usize,
    line: u32,
    /// Shared by the goals of a body: it is looked at after each datagram.
    expect: Arc<Expect>,
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
    Body,
    Attributes,
    Tlv,
    Compare(usize),
    Never,
    Path(PairRead, Option<Duration>),
    Ends(PairRead, Option<Duration>),
    Pair(PairRead),
    Unchanged(PairRead),
    Registration,
    Registrations,
    Notification,
    Send,
    Messages(usize, Option<Duration>),
    Silence(usize, Option<Duration>),
    Version(OneRead),
    Image {
        asked: bool,
    },
    Alive(OneRead),
    EndsWell,
    Status,
    NotStatus,
    Progress,
    Executes,
    Facts,
    Tells,
    AnyOf {
        at: usize,
        inner: Judging,
        told: Vec<String>,
    },
    Record,
    Figures,
}

/// How a goal stands.
pub(in crate::session) enum Poll {
    Pending,
    Held(String),
    Broken {
        expected: String,
        seen: String,
        datagrams: Vec<u64>,
    },
    /// It cannot be judged; the note says why.
    Unknown(String),
}

pub(in crate::session) fn broken(expected: impl Into<String>, seen: impl Into<String>) -> Poll {
    Poll::Broken {
        expected: expected.into(),
        seen: seen.into(),
        datagrams: Vec::new(),
    }
}

/// Whether an expectation compares with the pair before the step.
pub(in crate::session) fn asks_unchanged(expect: &Expect) -> bool {
    any(expect, &|e| e.unchanged.as_ref().is_some_and(|u| u.value))
}

/// Whether an expectation asks about every answer of a push.
pub(in crate::session) fn asks_answers(expect: &Expect) -> bool {
    any(expect, &|e| e.answers.is_some())
}

fn any(expect: &Expect, ask: &dyn Fn(&Expect) -> bool) -> bool {
    ask(expect)
        || [&expect.should, &expect.advice, &expect.requires]
            .into_iter()
            .flatten()
            .any(|nested| any(&nested.value, ask))
        || expect
            .any_of
            .iter()
            .flat_map(|all| &all.value)
            .any(|one| any(&one.value.expect.value, ask))
        || expect.all_of.iter().flatten().any(|one| any(&one.value, ask))
}

impl Judging {
    /// When the first goal wants to be looked at again; what is past waits for an answer.
    pub(in crate::session) fn deadline(&self, now: Duration) -> Option<Duration> {
        let goal = self.goals.front()?;
        let read = match &goal.what {
            What::Path(read, next) | What::Ends(read, next) => read.next().or(*next),
            What::Pair(read) | What::Unchanged(read) => read.next(),
            What::Version(read) | What::Alive(read) => read.next(),
            What::Messages(_, Some(listen)) | What::Silence(_, Some(listen)) => Some(*listen),
            What::AnyOf { inner, .. } => return inner.deadline(now),
            _ => None,
        };
        [read, Some(goal.until)]
            .into_iter()
            .flatten()
            .filter(|at| *at > now)
            .min()
    }

    pub(in crate::session) fn reads(&self) -> Vec<fotaproof_lwm2m::server::OpId> {
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
    pub(in crate::session) fn judging(&self, running: &Running) -> Judging {
        let mut goals = VecDeque::new();
        if let Some(expect) = &running.step.expect {
            let mut body = 0;
            let weight = Weight::Must;
            self.goals_of(expect, weight, &mut body, &mut goals);
        }
        Judging { goals }
    }

    fn goals_of(&self, expect: &At<Expect>, weight: Weight, body: &mut usize, goals: &mut VecDeque<Goal>) {
        let e = &expect.value;
        if e.when.as_ref().is_some_and(|when| !self.claimed(&when.value)) {
            return;
        }
        *body += 1;
        let own = *body;
        // from here on, when the action is over: how long a push takes is the network's affair
        let limit = e
            .within
            .as_ref()
            .map_or_else(|| self.span("within", Duration::from_secs(60)), |w| w.value.0);
        let until = self.now + limit;
        let shared = Arc::new(e.clone());
        let mut add = |line: u32, what: What| {
            goals.push_back(Goal {
                weight,
                body: own,
                line,
                expect: Arc::clone(&shared),
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
        if let Some(at) = &e.body {
            add(at.pos.line, What::Body);
        }
        if let Some(at) = &e.attributes {
            add(at.pos.line, What::Attributes);
        }
        if let Some(at) = &e.tlv {
            add(at.pos.line, What::Tlv);
        }
        for i in 0..e.compare.as_ref().map_or(0, |at| at.value.len()) {
            add(e.compare.as_ref().map_or(line, |at| at.pos.line), What::Compare(i));
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
        if let Some(at) = &e.ends_well {
            add(at.pos.line, What::EndsWell);
        }
        if let Some(at) = &e.status {
            add(at.pos.line, What::Status);
        }
        if let Some(at) = &e.progress {
            add(at.pos.line, What::Progress);
        }
        if let Some(at) = &e.notification {
            add(at.pos.line, What::Notification);
        }
        if let Some(at) = &e.send {
            add(at.pos.line, What::Send);
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
        if let Some(at) = &e.not_status {
            add(at.pos.line, What::NotStatus);
        }
        if let Some(at) = &e.tells {
            add(at.pos.line, What::Tells);
        }
        if let Some(at) = &e.executes {
            add(at.pos.line, What::Executes);
        }
        if let Some(at) = &e.facts {
            add(at.pos.line, What::Facts);
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
        if let Some(at) = &e.figures {
            add(at.pos.line, What::Figures);
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
            self.goals_of(nested, weight, body, goals);
        }
        for (nested, weight) in [
            (&e.requires, Weight::Requires),
            (&e.should, Weight::Should),
            (&e.advice, Weight::Advice),
        ] {
            if let Some(nested) = nested {
                self.goals_of(nested, weight, body, goals);
            }
        }
    }

    /// Goes on judging.
    pub(in crate::session) fn judge(&mut self, running: &mut Running) -> Judgement {
        loop {
            let Phase::Judge(judging) = &mut running.phase else {
                return Judgement::Over;
            };
            let Some(mut goal) = judging.goals.pop_front() else {
                return Judgement::Over;
            };
            let poll = self.poll_goal(&mut goal, running);
            let Phase::Judge(judging) = &mut running.phase else {
                return Judgement::Over;
            };
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
                Poll::Broken {
                    expected,
                    seen,
                    datagrams,
                } => {
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
        mut datagrams: Vec<u64>,
    ) -> bool {
        if datagrams.is_empty() {
            // what was last heard is what it rests on
            datagrams.extend(self.facts.latest.iter().flatten());
        }
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
            || running
                .step
                .request
                .as_ref()
                .is_some_and(|request| request.value.once == Some(true));
        let lost = if once && self.world.exchanges.lost_since(running.began.at) {
            Some("the link lost what is sent only once, or the answer to it".to_owned())
        } else {
            self.world.exchanges.broken_by_chance(running.anchor.at)
        };
        if let Some(why) = lost {
            self.conclude(
                Verdict::Inconclusive,
                &format!("{why}; without that: expected {expected}, seen {seen}"),
            );
            return true;
        }
        let title = match &goal.expect.because {
            Some(because) => because.clone(),
            None => format!("{}: {} is not as expected", running.text, name_of(&goal.what)),
        };
        if let Some(excuse) = self.excuse()
            && rests_on_absence(&goal.what, running, &seen)
        {
            let told = format!(
                "{title} (line {}): expected {expected}, seen {seen}; {excuse}",
                goal.line
            );
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
    pub(in crate::session) fn excuse(&self) -> Option<String> {
        match self.config.trouble {
            Trouble::None => None,
            Trouble::Chance if self.world.disturbed == 0 => None,
            Trouble::Chance => Some(format!(
                "the network lost or disturbed {} packets by chance, which may be why",
                self.world.disturbed
            )),
            Trouble::Slow => {
                Some("a round trip on the network can take longer than ACK_TIMEOUT, which may be why".to_owned())
            }
        }
    }

    fn poll_goal(&mut self, goal: &mut Goal, running: &Running) -> Poll {
        let poll = self.poll_what(goal, running);
        let timed = matches!(
            goal.what,
            What::Path(..)
                | What::Ends(..)
                | What::Registration
                | What::Notification
                | What::Send
                | What::Messages(..)
                | What::EndsWell
                | What::Status
                | What::Progress
                | What::Executes
        );
        let Some(not_before) = goal.expect.not_before.as_ref().filter(|_| timed) else {
            return poll;
        };
        let elapsed = self.now.saturating_sub(running.anchor.at);
        match poll {
            Poll::Held(seen) if elapsed + self.config.tolerance < not_before.value.0 => broken(
                format!("not before {:.3} s", not_before.value.0.as_secs_f64()),
                format!("{seen} after {:.3} s", elapsed.as_secs_f64()),
            ),
            poll => poll,
        }
    }

    /// The code; `lost` holds where the link alone kept the answer away.
    fn judge_code_or_loss(&self, e: &Expect, running: &Running) -> Poll {
        let poll = judge_code(e, running.answer.as_ref());
        let lost_wanted = e.code.iter().any(|codes| codes.value.contains(&CodeMatch::Lost));
        let nothing = running
            .answer
            .as_ref()
            .is_some_and(|answer| answer.back == Back::Nothing);
        if !matches!(poll, Poll::Broken { .. }) || !lost_wanted || !nothing {
            return poll;
        }
        self.world
            .exchanges
            .broken_by_chance(running.anchor.at)
            .map_or(poll, Poll::Held)
    }

    fn poll_what(&mut self, goal: &mut Goal, running: &Running) -> Poll {
        let e = goal.expect.clone();
        match &mut goal.what {
            What::Code => self.judge_code_or_loss(&e, running),
            What::Format => judge_format(&e, running.answer.as_ref()),
            What::Answers => judge_answers(&e, running),
            What::Values => judge_values(&e, running.answer.as_ref()),
            What::Links => judge_links(&e, running.answer.as_ref()),
            What::PayloadLength => match (&e.payload_length, &running.answer) {
                (Some(want), Some(answer)) if want.matches(&answer.payload.len().to_string()) => {
                    Poll::Held(format!("{} bytes", answer.payload.len()))
                }
                (Some(want), Some(answer)) => broken(
                    format!("a payload of {want} bytes"),
                    format!("{} bytes", answer.payload.len()),
                ),
                _ => broken("an answer", "none"),
            },
            What::Body => self.judge_body(&e, running.answer.as_ref()),
            What::Attributes => forms::judge_attributes(&e, running.answer.as_ref()),
            What::Tlv => {
                let asked = running.step.read.as_ref().and_then(|path| path.value.0.parse().ok());
                forms::judge_tlv(&e, asked.as_ref(), running.answer.as_ref())
            }
            What::Compare(i) => self.judge_compare(&e, *i, running),
            What::Send => self.judge_send(&e, running, goal.until),
            What::Figures => self.judge_figures(&e, running),
            What::Never => {
                self.watch(&e, goal.weight, running, goal.line);
                Poll::Held("watched from here on".to_owned())
            }
            What::EndsWell => self.judge_ends_well(&e, goal.until),
            What::Status => self.judge_status(&e, goal.until),
            What::NotStatus => self.judge_not_status(&e),
            What::Progress => self.judge_progress(&e, goal.until),
            What::Executes => self.judge_executes(&e, goal.until),
            What::Facts => self.judge_facts(&e, goal.until),
            What::Tells => self.judge_tells(&e, goal.until),
            What::Path(..) if self.is_tester() => self.device_path(&e, goal.until),
            What::Ends(_, next) if self.is_tester() => self.device_ends(&e, next, goal.until, running.began.at),
            What::Pair(_) if self.is_tester() => self.device_pair(&e, None),
            What::Unchanged(_) if self.is_tester() => match running.before {
                Some(before) => self.device_pair(&e, Some(before)),
                None => Poll::Unknown("the pair before the step is not known".to_owned()),
            },
            What::Version(_) if self.is_tester() => self.device_version(&e, goal.until),
            What::Image { .. } if self.is_tester() => self.device_image(&e, goal.until),
            What::Path(read, next) => self.judge_path(&e, read, next, goal.until),
            What::Ends(read, next) => self.judge_ends(&e, read, next, goal.until, running.began.at),
            What::Pair(read) => {
                let object = e.object.unwrap_or(5);
                let Some(wanted) = &e.pair else {
                    return Poll::Held(String::new());
                };
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
                    ReadState::Value(pair) => broken(
                        format!("the pair stays {}/{}", before.0, before.1),
                        format!("{}/{}", pair.0, pair.1),
                    ),
                }
            }
            What::Registration => self.judge_registration(&e, running, goal.until),
            What::Registrations => {
                let Some(want) = &e.registrations else {
                    return Poll::Held(String::new());
                };
                let count = self.facts.registrations.len() + self.tester.registered;
                if want.value.matches(&count.to_string()) {
                    Poll::Held(format!("{count} registrations"))
                } else if self.is_tester() && e.within.is_some() && self.now < goal.until {
                    Poll::Pending
                } else {
                    broken(
                        format!("{} registrations since the case began", want.value),
                        count.to_string(),
                    )
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
}

/// Whether a goal broke by what did not come, in time or at all, which a network can cause; not by
/// what the IUT itself said.
fn rests_on_absence(what: &What, running: &Running, seen: &str) -> bool {
    let answered = matches!(
        running.answer.as_ref().map(|answer| &answer.back),
        Some(Back::Code(_) | Back::Rst)
    );
    match what {
        What::Code
        | What::Format
        | What::Values
        | What::Links
        | What::PayloadLength
        | What::Body
        | What::Attributes
        | What::Tlv => !answered,
        What::Answers => running.blocks.is_empty(),
        What::Image { .. } => !seen.starts_with("SHA-256"),
        What::Never | What::NotStatus => false,
        What::EndsWell => !seen.contains("Executes came") && !seen.contains("an Execute came at"),
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
        What::Body => "the payload",
        What::Attributes => "the attributes of links",
        What::Tlv => "the entries of the answer",
        What::Compare(_) => "what was remembered",
        What::Send => "what was sent unasked",
        What::Figures => "the figures",
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
        What::EndsWell => "the end of the update",
        What::Status => "the status of the update",
        What::NotStatus => "a status that must not be told",
        What::Progress => "what the server tells of the update",
        What::Executes => "the number of Executes",
        What::Facts => "what the device knows",
        What::Tells => "what the server has told of the device",
        What::AnyOf { .. } => "the outcome",
        What::Record => "the record",
    }
}
