//! One execution of one case: the script, the reference peers, the link, the checks.
//!
//! A session never waits and holds no clock. A driver gives it what the IUT sends and what
//! becomes of the IUT, carries out what it asks, and calls [`Session::handle_timeout`] at its
//! deadline. The same case, seed and inputs give the same events.

mod actions;
mod answer;
mod begin;
mod burst;
mod bystanders;
mod composite;
mod config;
mod distances;
pub(crate) mod exchanges;
pub(crate) mod facts;
mod firmware;
mod goals;
mod judge;
mod latest;
pub(crate) mod link_events;
mod messages;
pub mod network;
mod remembered;
pub(crate) mod setup;
mod spoilt;
mod stimuli;
pub(crate) mod tester;
pub(crate) mod world;

pub use answer::sha256 as sha256_hex;
pub use config::{
    AdapterInput, Addresses, Input, IutCommand, IutReport, Measurement, Outcome, Output, PackageImage, SessionConfig,
    TesterConfig, Trouble,
};
pub use spoilt::{LATE_LIMIT, is_too_late};
pub(crate) use spoilt::{LOWER, told_late};

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use fotaproof_checks::Checks;
use fotaproof_lwm2m::registration::Registration;
use fotaproof_lwm2m::server::{OpId, ServerEvent};
use fotaproof_trace::{
    Blame, Event, EventKind, Finding, FindingSource, Grade, IutEvent, Point, Sample, SampleSource, Stream, Toward,
    TransferFacts, TransferPhase, TransferWay, Verdict,
};
use fotaproof_wire::path::LwPath;
use fotaproof_wire::value::Value;

use self::answer::Answer;
use self::firmware::{Firmware, Sampled};
use self::goals::Running;
use self::messages::{MessageLog, Seen};
use self::setup::trace_registration;
use self::world::{PartyEvent, Sent, Turn, World, unplaced};

/// Events of one case at the most: a guard against a livelock of ours or a flood.
const EVENT_LIMIT: u64 = 40_000_000;
/// Turns at one instant at the most.
const TURN_LIMIT: u32 = 1_000_000;

/// One execution of one case.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    now: Duration,
    world: World,
    checks: Checks,
    facts: Facts,
    script: Script,
    /// What is only for a server under test.
    tester: tester::Tester,
    /// What nobody can hold against the IUT.
    spoilt: spoilt::Spoilt,
    out: VecDeque<Output>,
    event_no: u64,
    outcome: Option<Outcome>,
    ended: bool,
}

/// What is known so far.
#[derive(Debug, Default)]
struct Facts {
    firmware: BTreeMap<u16, Firmware>,
    registrations: Vec<(Duration, Registration)>,
    updates: Vec<Duration>,
    deregistrations: Vec<Duration>,
    sends: Vec<Duration>,
    /// What the Sends held.
    sent_values: Vec<Vec<(LwPath, Value)>>,
    /// What the notifications held.
    notified: Vec<Vec<(LwPath, Value)>>,
    /// What the case remembers, by name.
    remembered: BTreeMap<String, String>,
    /// Notifications: when, of which path, the value in words.
    notifications: Vec<(Duration, LwPath, String)>,
    /// Answers to an Observe by path, which count as the notification before the first.
    observed_at: BTreeMap<LwPath, Duration>,
    observations: BTreeMap<LwPath, OpId>,
    gets: Vec<(Duration, String)>,
    holds: Vec<(Duration, String)>,
    log: MessageLog,
    /// The latest datagrams at the IUT's end: to it, and of it.
    latest: [Option<u64>; 2],
    iut_address: Option<SocketAddr>,
    /// Where the IUT last wrote to each party from.
    asked_from: BTreeMap<SocketAddr, SocketAddr>,
    iut_running: bool,
    iut_status: Option<String>,
    /// Ended without being told to, while it was wanted.
    iut_lost: Option<String>,
    old_version: Option<String>,
    /// Answers of finished requests that a step or goal waits for.
    answers: BTreeMap<OpId, Answer>,
    other_answers: BTreeMap<OpId, Answer>,
    image_digest: Option<Option<String>>,
    /// Answers to past datagrams.
    listening: Option<Listening>,
}

/// Waiting for an answer to a datagram that no endpoint knows.
#[derive(Debug)]
struct Listening {
    at: SocketAddr,
    /// The IUT's address, and what is read there.
    asked: Option<(SocketAddr, LwPath)>,
    message_id: Option<u16>,
    token: Vec<u8>,
    heard: Vec<Answer>,
}

/// Where the script is.
#[derive(Debug, Default)]
struct Script {
    /// Index over given and steps together.
    next: usize,
    /// On the heap: it is taken out and put back after each datagram.
    running: Option<Box<Running>>,
    findings: Vec<Finding>,
    notes: Vec<String>,
    measurements: Vec<Measurement>,
    verdict: Verdict,
    reason: String,
    base: Verdict,
    base_reason: String,
    /// The script ended before its last step.
    stopped: bool,
    held: u32,
    /// Where labelled steps began.
    labels: BTreeMap<String, Label>,
    /// When the last action began, and the counts then.
    anchor: Anchor,
    start: Anchor,
    poll: Option<Polling>,
    never: Vec<Never>,
    closing: Closing,
    background: Option<OpId>,
    /// Rules that steps have added to the link.
    guards: Vec<fotaproof_net::GuardId>,
}

/// Counts at a moment, so that a later question can ask since then.
#[derive(Clone, Copy, Debug, Default)]
struct Anchor {
    at: Duration,
    log: usize,
    registrations: usize,
    notifications: usize,
    updates: usize,
    deregistrations: usize,
    gets: usize,
    holds: usize,
    sends: usize,
    traffic: world::Traffic,
    samples: usize,
}

#[derive(Debug)]
struct Label {
    anchor: Anchor,
    op: Option<OpId>,
    sent: Vec<Sent>,
}

#[derive(Debug)]
struct Polling {
    paths: Vec<LwPath>,
    every: Duration,
    next: Duration,
    ops: Vec<OpId>,
}

/// States that must not be seen any more.
#[derive(Clone, Debug)]
struct Never {
    states: Vec<u8>,
    object: u16,
    /// The device of the harness that is meant, where the IUT is a server.
    device: Option<String>,
    grade: Grade,
    step: usize,
    line: u32,
    clauses: Vec<String>,
    told: bool,
}

/// The end of the case.
#[derive(Debug, Default)]
enum Closing {
    #[default]
    No,
    /// The last read is under way, which attempt and since when.
    Liveness {
        op: OpId,
        tries: u32,
    },
    /// A server must still answer the Update of a device.
    Update {
        device: String,
        until: Duration,
        heard: usize,
    },
    Done,
}

impl Session {
    /// Starts the case: the IUT is asked to start unless the case does that itself.
    #[must_use]
    pub fn new(config: SessionConfig) -> Self {
        let mut session = setup::session(config);
        session.emit_start();
        session
    }

    /// Takes an input at `now`, which never goes back.
    pub fn handle(&mut self, now: Duration, input: Input) {
        self.now = self.now.max(now);
        if self.ended {
            return;
        }
        match input {
            Input::Datagram { from, to, bytes } => {
                let moves = self.world.link.spec().nat.is_none() && !self.is_tester();
                if moves {
                    self.facts.asked_from.insert(to, from);
                }
                // a download may have a socket of its own
                if (moves && to == self.config.addresses.server) || self.facts.iut_address.is_none() {
                    self.facts.iut_address = Some(from);
                }
                self.spoilt.heard = true;
                self.world.take_from_iut(self.now, from, to, bytes);
            }
            Input::Unreachable { address } => self.nobody_listens(address),
            Input::Iut(report) => self.iut_report(report),
            Input::ImageDigest(digest) => self.facts.image_digest = Some(digest),
            Input::Adapter(input) => {
                self.adapter_input(input);
                if self.ended {
                    return;
                }
            }
            Input::Interrupt => {
                self.conclude(Verdict::Error, "the run was interrupted");
                self.finish();
                return;
            }
        }
        self.pump();
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.now = self.now.max(now);
        if !self.ended {
            self.pump();
        }
    }

    /// The next thing for the driver.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due next.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Duration> {
        if self.ended {
            return None;
        }
        let limit = self.config.case.limit.map_or(Duration::from_secs(7200), |span| span.0);
        let script = self
            .script
            .running
            .as_ref()
            .and_then(|running| running.deadline(self.now));
        let poll = self.script.poll.as_ref().map(|poll| poll.next);
        let closing = match &self.script.closing {
            Closing::Update { until, .. } => Some(*until),
            _ => None,
        };
        let tester = self.tester_deadline();
        [self.world.poll_deadline(), script, poll, tester, closing, Some(limit)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether [`Output::Done`] was given or waits to be polled.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.ended
    }

    /// Where the session is, for progress and for a driver that has to give up.
    #[must_use]
    pub fn position(&self) -> String {
        match &self.script.running {
            Some(running) => running.text().to_owned(),
            None => "between steps".to_owned(),
        }
    }

    fn pump(&mut self) {
        for _ in 0..TURN_LIMIT {
            while let Some(turn) = self.world.turn(self.now) {
                self.turn(turn);
                if self.ended {
                    return;
                }
            }
            let mut busy = false;
            if self.is_tester() {
                busy |= self.overdue();
                if self.ended {
                    return;
                }
                busy |= self.drive_updates();
            }
            busy |= self.background_poll();
            busy |= self.advance();
            if self.ended {
                return;
            }
            if self.event_no > EVENT_LIMIT {
                self.conclude(
                    Verdict::Error,
                    "more events than a case can have: the IUT floods or the harness loops",
                );
                self.finish();
                return;
            }
            if !busy {
                // a request that a waiting step began leaves now, not at its retransmission
                match self.world.turn(self.now) {
                    Some(turn) => self.turn(turn),
                    None => break,
                }
                if self.ended {
                    return;
                }
            }
        }
        let limit = self.config.case.limit.map_or(Duration::from_secs(7200), |span| span.0);
        if self.now >= limit && !self.ended {
            let at = self.position();
            self.conclude(
                Verdict::Inconclusive,
                &format!("the case's time limit of {} s is over in: {at}", limit.as_secs()),
            );
            self.finish();
        }
    }

    fn turn(&mut self, turn: Turn) {
        match turn {
            Turn::Event(event) => {
                if let EventKind::Datagram(datagram) = &event.kind
                    && datagram.point == Point::Iut
                {
                    self.facts.latest[usize::from(datagram.toward == Toward::Peer)] = Some(datagram.datagram);
                }
                if let EventKind::Datagram(datagram) = &event.kind
                    && matches!(datagram.point, Point::Iut | Point::Aside)
                    && self.facts.log.wanted
                {
                    let aside = datagram.point == Point::Aside;
                    let by_iut = datagram.toward == Toward::Peer && !aside;
                    let (src, dst) = (datagram.src, datagram.dst);
                    self.facts.log.add(Seen {
                        at: self.now,
                        by_iut,
                        src,
                        dst,
                        datagram: datagram.datagram,
                        payload: datagram.payload.clone(),
                        packets: datagram.packets,
                        largest: datagram.largest,
                        path: if aside {
                            self.world.path_beside(src, dst, &datagram.payload)
                        } else {
                            let peer = if by_iut { dst } else { src };
                            self.world.path_of(peer, by_iut, &datagram.payload)
                        },
                        again: false,
                        acknowledged: false,
                        old_address: false,
                        aside,
                    });
                }
                self.publish(event);
            }
            Turn::Transmit { from, to, bytes } => self.out.push_back(Output::Transmit { from, to, bytes }),
            Turn::Arrived { to, bytes } => self.listen(to, &bytes),
            Turn::Party(PartyEvent::Server(event)) => self.server_event(*event, false),
            Turn::Party(PartyEvent::Other(event)) => self.server_event(*event, true),
            Turn::Party(PartyEvent::Repository(name, event)) => self.repository_event(name, *event),
            Turn::Party(PartyEvent::Device(name)) => self.device_turn(&name),
            Turn::Party(PartyEvent::DeviceLog(name, line)) => self.emit(EventKind::Note {
                text: format!("device {name}: {line}"),
            }),
        }
    }

    fn emit_start(&mut self) {
        let kind = EventKind::CaseStarted {
            case: self.config.id.clone(),
            seed: self.config.seed,
            role: self.config.case.role.value.word().to_owned(),
            iut: self.config.iut.clone(),
            network: self.config.network.clone(),
            harness: env!("CARGO_PKG_VERSION").to_owned(),
            journal: fotaproof_trace::JOURNAL_FORMAT,
        };
        self.emit(kind);
        if self.is_tester() {
            self.start_server();
            return;
        }
        let starts = self.config.case.iut.as_ref().and_then(|iut| iut.start).unwrap_or(true);
        if starts && self.config.controls_iut {
            self.out.push_back(Output::Iut(IutCommand::Start));
        }
    }

    /// Adds an event to the stream; the checks see it at once.
    fn emit(&mut self, kind: EventKind) {
        self.publish(unplaced(kind));
    }

    /// Gives an event, which nobody else has yet, its place in the stream.
    fn publish(&mut self, mut event: Arc<Event>) {
        self.event_no += 1;
        if let Some(event) = Arc::get_mut(&mut event) {
            event.no = self.event_no;
            event.at = self.now;
        }
        let mut found = Vec::new();
        self.checks.on_event(&event, &mut found);
        self.out.push_back(Output::Event(event));
        for finding in found {
            self.find(finding);
        }
    }

    /// Takes a finding into the verdict and the stream.
    fn find(&mut self, finding: Finding) {
        let finding = self.weighed(finding);
        let verdict = Verdict::of_finding(&finding, self.config.strict);
        if verdict > self.script.verdict {
            self.script.verdict = verdict;
            self.script.reason.clone_from(&finding.title);
        }
        self.script.findings.push(finding.clone());
        self.emit(EventKind::Finding(finding));
    }

    fn note(&mut self, text: String) {
        self.script.notes.push(text.clone());
        self.emit(EventKind::Note { text });
    }

    /// Folds a verdict that rests on no finding.
    fn conclude(&mut self, verdict: Verdict, reason: &str) {
        if verdict > self.script.base {
            self.script.base = verdict;
            reason.clone_into(&mut self.script.base_reason);
        }
        if verdict > self.script.verdict {
            self.script.verdict = verdict;
            reason.clone_into(&mut self.script.reason);
        }
        self.note(reason.to_owned());
    }

    fn iut_report(&mut self, report: IutReport) {
        let event = match &report {
            IutReport::Started => {
                self.facts.iut_running = true;
                IutEvent::Started
            }
            IutReport::Restarted => {
                self.facts.iut_running = true;
                IutEvent::Restarted
            }
            IutReport::Exited { status } => {
                self.facts.iut_running = false;
                self.facts.iut_lost = Some(status.clone());
                IutEvent::Exited { status: status.clone() }
            }
            IutReport::Stopped { status } => {
                self.facts.iut_running = false;
                self.facts.iut_status = Some(status.clone());
                IutEvent::Stopped
            }
            IutReport::PowerCut => {
                self.facts.iut_running = false;
                self.facts.iut_status = Some("power cut".to_owned());
                if self.is_tester() {
                    self.server_gone("cut from its power");
                }
                IutEvent::PowerCut
            }
            IutReport::StartFailed { reason } => {
                self.emit(EventKind::Iut(IutEvent::Exited { status: reason.clone() }));
                let finding = Finding {
                    source: FindingSource::Harness,
                    grade: Grade::Must,
                    blame: Blame::Environment,
                    clauses: Vec::new(),
                    title: format!("the IUT cannot be started: {reason}"),
                    expected: "a running IUT".to_owned(),
                    seen: reason.clone(),
                    datagrams: Vec::new(),
                    events: Vec::new(),
                    hint: Some("look at `command` in the manifest".to_owned()),
                };
                self.script.findings.push(finding.clone());
                self.emit(EventKind::Finding(finding));
                self.conclude(Verdict::Error, &format!("the IUT cannot be started: {reason}"));
                self.finish();
                return;
            }
            IutReport::HandFailed { reason } => return self.adapter_broke(reason, reason),
            IutReport::Output { stderr, line } => IutEvent::Output {
                stream: if *stderr { Stream::Stderr } else { Stream::Stdout },
                line: line.clone(),
            },
        };
        self.emit(EventKind::Iut(event));
    }

    fn server_event(&mut self, event: ServerEvent, other: bool) {
        match event {
            ServerEvent::Registered(registration) => {
                self.facts.iut_address = Some(registration.address);
                let new = !self
                    .facts
                    .registrations
                    .iter()
                    .any(|(_, r)| r.endpoint == registration.endpoint);
                self.emit(EventKind::Registered(trace_registration(&registration, new)));
                self.facts.registrations.push((self.now, registration));
                self.facts.observations.clear();
                self.requests_void();
            }
            ServerEvent::Updated(registration) => {
                self.facts.iut_address = Some(registration.address);
                self.emit(EventKind::Updated(trace_registration(&registration, false)));
                self.facts.updates.push(self.now);
            }
            ServerEvent::Deregistered(registration) => {
                self.emit(EventKind::Deregistered {
                    endpoint: registration.endpoint.clone(),
                    location: registration.location_path(),
                    from: registration.address,
                });
                self.facts.deregistrations.push(self.now);
            }
            ServerEvent::Response {
                op,
                code,
                packet,
                values,
                path,
                decode_error,
                ..
            } => {
                if !other && code.0 >> 5 == 2 {
                    self.sample(&values, SampleSource::Read);
                }
                if self.facts.observations.get(&path) == Some(&op) {
                    self.facts.observed_at.insert(path, self.now);
                }
                let answer = Answer::response(self.now, code, packet, values, decode_error);
                self.answered(op, answer, other);
            }
            ServerEvent::Failed { op, reason, .. } => {
                let answer = Answer::failed(self.now, reason);
                self.answered(op, answer, other);
            }
            ServerEvent::Notification {
                path,
                code,
                values,
                fresh,
                ..
            } => {
                if fresh && code.0 >> 5 == 2 {
                    self.sample(&values, SampleSource::Notification);
                }
                if fresh {
                    let told = values
                        .first()
                        .map_or_else(String::new, |(_, value)| answer::value_text(value));
                    self.facts.notifications.push((self.now, path, told));
                    self.facts.notified.push(values);
                }
            }
            ServerEvent::Sent { values, .. } => {
                self.facts.sends.push(self.now);
                self.sample(&values, SampleSource::Send);
                self.facts.sent_values.push(values);
            }
            ServerEvent::PushBlock {
                op,
                block,
                code,
                answer,
                ..
            } => {
                self.push_block(op, block, code, answer);
            }
            ServerEvent::PushEnded { op, outcome } => self.push_ended(op, outcome, other),
            ServerEvent::Refused { reason, code, .. } => {
                let told = code.map_or_else(|| "not answered".to_owned(), |code| format!("answered {code}"));
                self.note(format!("{told}: {reason}"));
            }
            _ => {}
        }
    }

    fn answered(&mut self, op: OpId, answer: Answer, other: bool) {
        if other {
            self.facts.other_answers.insert(op, answer);
        } else {
            self.facts.answers.insert(op, answer);
        }
    }

    fn repository_event(&mut self, name: String, event: fotaproof_lwm2m::repository::RepositoryEvent) {
        use fotaproof_lwm2m::repository::RepositoryEvent as R;
        match event {
            R::Get { .. } => {
                let first = !self.facts.gets.iter().any(|(_, n)| *n == name);
                self.facts.gets.push((self.now, name.clone()));
                if first {
                    self.pull_started(&name);
                }
            }
            R::Held { .. } => self.facts.holds.push((self.now, name)),
            _ => {}
        }
    }

    fn pull_started(&mut self, name: &str) {
        let Some(image) = self.repository_package(name) else {
            return;
        };
        let facts = TransferFacts {
            phase: TransferPhase::Started,
            way: TransferWay::Pull,
            bytes: image.bytes.len() as u64,
            sha256: String::new(),
            expected_sha256: Some(answer::sha256(&image.bytes)),
        };
        self.emit(EventKind::Transfer(facts));
    }

    fn sample(&mut self, values: &[(LwPath, Value)], by: SampleSource) {
        for object in [5_u16, 9] {
            let ids = if object == 5 { (3, 5) } else { (7, 9) };
            let find = |resource: u16| {
                values.iter().find_map(|(path, value)| {
                    (*path == LwPath::resource(object, 0, resource))
                        .then(|| value.as_i64())
                        .flatten()
                        .and_then(|number| u8::try_from(number).ok())
                })
            };
            let (state, result) = (find(ids.0), find(ids.1));
            if state.is_none() && result.is_none() {
                continue;
            }
            self.emit(EventKind::Sample(Sample {
                object,
                state,
                result,
                by,
            }));
            self.facts.firmware.entry(object).or_default().add(Sampled {
                at: self.now,
                state,
                result,
                by,
            });
            if let Some(state) = state {
                self.judge_never(object, state, None);
            }
        }
    }

    fn listen(&mut self, to: SocketAddr, bytes: &[u8]) {
        let Some(listening) = &mut self.facts.listening else {
            return;
        };
        if listening.at != to {
            return;
        }
        let Ok(view) = fotaproof_wire::coap::MessageView::parse(bytes) else {
            return;
        };
        if messages::answers(&view, listening.message_id, &listening.token) {
            let mut answer = Answer::heard(self.now, &view);
            if let (Some((iut, path)), Some(format), true) = (&listening.asked, answer.format, answer.is_success()) {
                match self.world.server.decode(*iut, format, path, &answer.payload) {
                    Ok(values) => answer.values = values,
                    Err(error) => answer.decode_error = Some(error),
                }
            }
            listening.heard.push(answer);
        }
    }

    fn anchor_now(&self) -> Anchor {
        Anchor {
            at: self.now,
            log: self.facts.log.len(),
            registrations: self.facts.registrations.len() + self.tester.registered,
            notifications: self.facts.notifications.len(),
            updates: self.facts.updates.len(),
            deregistrations: self.facts.deregistrations.len(),
            gets: self.facts.gets.len(),
            holds: self.facts.holds.len(),
            sends: self.facts.sends.len(),
            traffic: self.world.traffic,
            samples: self.facts.firmware.get(&5).map_or(0, Firmware::len),
        }
    }

    /// Ends the case: the outcome is given and nothing is judged any more.
    fn finish(&mut self) {
        if self.ended {
            return;
        }
        let mut found = Vec::new();
        self.checks.finish(self.now, &mut found);
        for finding in found {
            self.find(finding);
        }
        self.tell_deserted();
        if self.script.verdict == Verdict::None {
            self.script.verdict = Verdict::Pass;
        }
        self.stop_server();
        self.ended = true;
        let outcome = Outcome {
            verdict: self.script.verdict,
            base: self.script.base,
            base_reason: self.script.base_reason.clone(),
            reason: self.script.reason.clone(),
            findings: core::mem::take(&mut self.script.findings),
            notes: core::mem::take(&mut self.script.notes),
            measurements: core::mem::take(&mut self.script.measurements),
            duration: self.now,
            late: self.spoilt.late(),
            held: self.script.held,
            never_registered: self.facts.registrations.is_empty() && self.tester.registered == 0,
            fates: self
                .world
                .recorder
                .take()
                .map(fotaproof_net::FateRecorder::finish)
                .unwrap_or_default(),
        };
        self.emit(EventKind::CaseEnded {
            verdict: outcome.verdict,
            reason: outcome.reason.clone(),
            duration: self.now,
            late: outcome.late,
        });
        self.outcome = Some(outcome.clone());
        self.out.push_back(Output::Done(Box::new(outcome)));
    }
}
