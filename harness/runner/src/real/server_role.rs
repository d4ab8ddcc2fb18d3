//! The real driver for a server under test: the session's devices over UDP on one side, the server's adapter on the other.
//!
//! The session plays the devices under virtual addresses. Each of them has a socket of its own here, on a loopback host of its own
//! where the system has one, so that a device which moves to another port really does.

use core::time::Duration;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fotaproof_adapter::{Message, Operation, Reply, Request};
use fotaproof_trace::{Event, Verdict};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Interrupt;
use super::adapter::{Adapter, AdapterError, AdapterHost, Attached, FromAdapter, time_for};
use super::clock::{Clock, Skew, on_the_wall};
use super::device_sockets::{Came, DeviceSockets};
use super::driver::{GRACE, Intake, LIMIT, LIVELOCK, SLACK, given_up};
use super::lag::Watchdog;
use super::timer::Timer;
use crate::session::{AdapterInput, Input, IutCommand, IutReport, Outcome, Output, Session, SessionConfig};

/// How long the reply to `stop` is waited for after the case.
const STOP: Duration = Duration::from_secs(15);
/// How long an adapter may take to start an instance, on the wall's clock.
const START: Duration = Duration::from_secs(60);
/// The least that an adapter is given to answer, on the wall's clock, unless an operation asks for less.
const LEAST: Duration = Duration::from_secs(60);

/// One case against a server.
#[derive(Clone, Debug)]
pub struct ServerCase {
    /// The session. What it knows of the adapter is filled in; its tolerance is raised to what a scheduler needs.
    pub config: SessionConfig,
    /// The adapter, which serves other cases too.
    pub adapter: Adapter,
    /// Where it came from, when it is for this case alone: it may be killed then, and is started again from there.
    pub own: Option<Arc<AdapterHost>>,
    /// Where the run's came from: should it turn out at the start of the case that it ended after the one before, it is started again.
    pub host: Option<Arc<AdapterHost>>,
    /// The folder of the instance: packages are put there, and the adapter may.
    pub folder: PathBuf,
    /// How many times faster than the wall the session's clock runs, and the adapter's with it.
    pub speed: f64,
    /// By how much the clock is ahead, for tests.
    pub skew: Option<Skew>,
}

/// Runs a case and gives its outcome, after its instance is stopped. Every event goes to `sink` in order.
///
/// Whatever is wrong with the adapter or the environment is the outcome of the case: an error, never the server's failure.
pub async fn run_case(
    mut case: ServerCase,
    sink: &mut (dyn FnMut(&Arc<Event>) + Send),
    mut interrupt: Interrupt,
) -> Outcome {
    let speed = case.speed.clamp(1.0, 10_000.0);
    case.config.tolerance = case.config.tolerance.max(SLACK.mul_f64(speed));
    // to start an instance is work, which a scaled clock makes no faster
    case.config.tester.patience = case.config.tester.patience.max(START.mul_f64(speed));
    if let Err(reason) = furnish(&mut case) {
        return given_up(reason, Duration::ZERO);
    }
    case.config
        .tester
        .capabilities
        .clone_from(&case.adapter.hello().capabilities);
    let limit = case.config.case.limit.map_or(LIMIT, |span| span.0);
    let instance = case.config.tester.instance.clone();
    // one that was started for this case has nobody else to blame
    let host = case.host.clone().filter(|_| case.adapter.has_served());
    let mut drive = Drive {
        session: Session::new(case.config.clone()),
        instance: instance.clone(),
        clock: Clock::starting(speed).ahead(case.skew),
        timer: Timer::new(),
        watchdog: Watchdog::new(speed),
        speed,
        last: Duration::ZERO,
        sockets: DeviceSockets::new(),
        attached: Some(case.adapter.attach(&instance)),
        own: case.own.clone(),
        host,
        starting: None,
        begun: None,
        killing: None,
        notes: Vec::new(),
        stale: 0,
        intake: Intake::new(),
        started: false,
        stopping: None,
        unsent: 0,
        given_up: None,
    };
    let wall = Instant::now().checked_add(limit.div_f64(speed) + GRACE);
    let mut outcome = drive.run(sink, &mut interrupt, wall).await;
    if let Some(reason) = drive.given_up.take() {
        outcome.reason.clone_from(&reason);
        outcome.base_reason = reason;
        outcome.verdict = outcome.verdict.max(Verdict::Error);
    }
    if drive.unsent > 0 {
        outcome.notes.push(format!(
            "{} datagrams to the server could not be sent: too large, or no way there",
            drive.unsent
        ));
    }
    outcome.notes.append(&mut drive.notes);
    outcome.notes.extend(drive.farewell(instance).await);
    outcome
}

/// Puts the packages into files, whose names the adapter is told.
fn furnish(case: &mut ServerCase) -> Result<(), String> {
    let folder = std::path::absolute(&case.folder).unwrap_or_else(|_| case.folder.clone());
    let told = |path: &Path, error: &io::Error| format!("{} cannot be written: {error}", path.display());
    std::fs::create_dir_all(&folder).map_err(|error| told(&folder, &error))?;
    for (name, image) in &case.config.packages {
        let path = folder.join(format!("{name}.bin"));
        std::fs::write(&path, &image.bytes).map_err(|error| told(&path, &error))?;
        let told = path.display().to_string();
        case.config.tester.files.insert(name.clone(), told);
    }
    case.config.tester.folder = Some(folder.display().to_string());
    Ok(())
}

/// A session at work.
struct Drive {
    session: Session,
    instance: String,
    clock: Clock,
    timer: Timer,
    watchdog: Watchdog,
    speed: f64,
    /// The latest time that the session was told.
    last: Duration,
    sockets: DeviceSockets,
    /// The adapter; none after it was killed.
    attached: Option<Attached>,
    own: Option<Arc<AdapterHost>>,
    /// Where another comes from, until the instance was started.
    host: Option<Arc<AdapterHost>>,
    /// An adapter that is started again, and the `start` that waits for it.
    starting: Option<(Request, JoinHandle<Result<Adapter, AdapterError>>)>,
    /// The `start` that is not replied to.
    begun: Option<Request>,
    /// An adapter that is being killed.
    killing: Option<JoinHandle<()>>,
    notes: Vec<String>,
    /// Requests up to this id were made of an instance that is stopped: whether they are replied to is of no interest.
    stale: u64,
    intake: Intake,
    /// `start` was asked for.
    started: bool,
    /// `stop` was asked for, under this id.
    stopping: Option<u64>,
    unsent: u64,
    /// Why the driver ended the session.
    given_up: Option<String>,
}

#[expect(clippy::large_enum_variant, reason = "it is made and taken apart at once")]
enum Wake {
    Came(Came),
    Adapter(FromAdapter),
    /// The adapter that was killed is there again, or is not.
    Again(Result<Adapter, AdapterError>),
    /// Nothing of the adapter lives.
    Killed,
    Timer,
    Interrupt,
    /// The case takes longer than it can, on the wall's clock.
    Wall,
    /// The session is due again and again at the same time.
    Livelock,
}

impl Drive {
    async fn run(
        &mut self,
        sink: &mut (dyn FnMut(&Arc<Event>) + Send),
        interrupt: &mut Interrupt,
        wall: Option<Instant>,
    ) -> Outcome {
        if let Some(outcome) = self.put(sink).await {
            return outcome;
        }
        self.session.handle_timeout(Duration::ZERO);
        let mut overdue = 0_u32;
        loop {
            if let Some(outcome) = self.put(sink).await {
                return outcome;
            }
            let deadline = self.session.poll_deadline();
            overdue = match deadline {
                Some(at) if at <= self.last => overdue + 1,
                _ => 0,
            };
            let wake = if overdue > LIVELOCK {
                overdue = 0;
                Wake::Livelock
            } else {
                self.wait(deadline, interrupt, wall).await
            };
            self.take(wake);
        }
    }

    /// Waits for what comes first. What lies in the sockets is taken before a deadline that is over.
    async fn wait(&mut self, deadline: Option<Duration>, interrupt: &mut Interrupt, wall: Option<Instant>) -> Wake {
        loop {
            let timer = self.clock.instant(self.watchdog.due(deadline, self.last));
            let pause = self.intake.pause(Instant::now());
            tokio::select! {
                biased;
                () = interrupt.wait() => return Wake::Interrupt,
                came = self.sockets.receive(), if pause.is_none() => return Wake::Came(came),
                said = next_of(&mut self.attached) => return Wake::Adapter(said),
                adapter = started(&mut self.starting) => return Wake::Again(adapter),
                () = killed(&mut self.killing) => return Wake::Killed,
                () = self.timer.until(timer) => {
                    let now = self.clock.now();
                    if deadline.is_some_and(|at| at <= now) {
                        return Wake::Timer;
                    }
                    // nothing is due but the look at the clock
                    self.look(now);
                }
                () = until(wall) => return Wake::Wall,
                () = until(pause), if pause.is_some() => {}
            }
        }
    }

    /// Tells the session how late it is, if it is later than ever.
    fn look(&mut self, now: Duration) {
        if let Some(late) = self.watchdog.round(now, &self.clock) {
            self.session.was_late(late);
        }
    }

    /// Tells the session what happened.
    fn take(&mut self, wake: Wake) {
        let now = self.clock.now();
        self.look(now);
        match wake {
            Wake::Came(Came::Unreachable(address)) => {
                let at = self.came(now);
                self.tell(at, Input::Unreachable { address });
            }
            Wake::Came(Came::Datagram { from, to, bytes }) => {
                self.intake.received();
                let at = self.came(now);
                self.tell(at, Input::Datagram { from, to, bytes });
            }
            Wake::Again(Ok(adapter)) => {
                let attached = adapter.attach(&self.instance);
                if let Some((request, _)) = self.starting.take() {
                    self.ask(&attached, request);
                }
                self.attached = Some(attached);
            }
            Wake::Again(Err(error)) => {
                self.starting = None;
                let status = error.to_string();
                self.tell(now, Input::Adapter(AdapterInput::Died { status }));
            }
            Wake::Killed => {
                self.killing = None;
                self.tell(now, Input::Iut(IutReport::PowerCut));
            }
            Wake::Adapter(said) if self.is_stale(&said) => {}
            Wake::Adapter(FromAdapter::Gone(error)) if self.can_begin_again() => self.begin_again(&error),
            Wake::Adapter(said) => {
                self.note_stop(&said);
                if let Some(input) = input_of(said) {
                    // it lay in the queue while the harness was not scheduled, which is not the server's delay
                    let at = self.came(now);
                    self.tell(at, Input::Adapter(input));
                }
            }
            Wake::Timer => {
                self.last = self.last.max(now);
                self.session.handle_timeout(self.last);
            }
            Wake::Interrupt => self.tell(now, Input::Interrupt),
            Wake::Wall | Wake::Livelock => {
                let what = if matches!(wake, Wake::Wall) {
                    "takes longer than its limit allows"
                } else {
                    "does not go on"
                };
                self.given_up = Some(format!(
                    "the harness gave the case up: it {what}, in: {}",
                    self.session.position()
                ));
                self.tell(now, Input::Interrupt);
            }
        }
    }

    /// When something that waited for us came: before a deadline that passed meanwhile.
    fn came(&self, now: Duration) -> Duration {
        let deadline = self.session.poll_deadline();
        let before = deadline.map(|at| at.saturating_sub(Duration::from_nanos(1)));
        before.map_or(now, |before| before.min(now)).max(self.last)
    }

    fn tell(&mut self, at: Duration, input: Input) {
        self.last = self.last.max(at);
        self.session.handle(self.last, input);
    }

    /// Carries out what the session asks; gives its outcome when it is over.
    async fn put(&mut self, sink: &mut (dyn FnMut(&Arc<Event>) + Send)) -> Option<Outcome> {
        let mut asked = 0_u32;
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Event(event) => sink(&event),
                Output::Transmit { from, to, bytes } => {
                    self.intake.sent();
                    if self.sockets.send(from, to, &bytes).await.is_err() {
                        self.unsent += 1;
                    }
                }
                Output::Adapter(request) => match (self.attached.take(), &self.own) {
                    (Some(attached), _) => {
                        self.ask(&attached, *request);
                        self.attached = Some(attached);
                    }
                    (None, Some(own)) => {
                        if matches!(request.operation, Operation::Start { .. }) {
                            let own = own.clone();
                            self.starting = Some((*request, tokio::spawn(async move { own.get().await })));
                        }
                    }
                    (None, None) => {}
                },
                Output::Iut(IutCommand::PowerCut) => {
                    let now = self.clock.now();
                    if self.own.is_none() {
                        let reason = "the adapter serves other cases too and cannot be killed".to_owned();
                        self.given_up = Some(reason);
                        self.tell(now, Input::Interrupt);
                        continue;
                    }
                    self.started = false;
                    self.stopping = None;
                    match self.attached.take() {
                        // what it takes to see to its end must not make the harness late
                        Some(attached) => {
                            let adapter = attached.adapter().clone();
                            self.killing = Some(tokio::spawn(async move { adapter.kill().await }));
                        }
                        None => self.tell(now, Input::Iut(IutReport::PowerCut)),
                    }
                }
                Output::Iut(_) | Output::AskImageDigest => {
                    asked += 1;
                    if asked > LIVELOCK {
                        let reason = "the session asks without end".to_owned();
                        return Some(given_up(reason, self.last));
                    }
                    let input = match output {
                        Output::Iut(command) => Input::Iut(done_at_once(command)),
                        _ => Input::ImageDigest(None),
                    };
                    let now = self.clock.now();
                    self.tell(now, input);
                }
                Output::Done(outcome) => return Some(*outcome),
            }
        }
        self.session
            .is_over()
            .then(|| given_up("the session ended without an outcome".to_owned(), self.last))
    }

    /// Asks the adapter.
    fn ask(&mut self, attached: &Attached, Request { id, operation }: Request) {
        match &operation {
            Operation::Start { .. } => {
                self.started = true;
                self.begun = Some(Request {
                    id,
                    operation: operation.clone(),
                });
            }
            Operation::Stop { .. } => self.stopping = Some(id),
            _ => {}
        }
        let within = on_the_wall(time_for(&operation), self.speed, LEAST);
        attached.send(id, operation, within);
    }

    /// The adapter of the run ended before it replied to the first `start`, so perhaps after the case before and for its sake: nothing
    /// of this case was lost.
    const fn can_begin_again(&self) -> bool {
        self.host.is_some() && self.begun.is_some()
    }

    fn begin_again(&mut self, error: &AdapterError) {
        self.attached = None;
        if let (Some(host), Some(request)) = (self.host.take(), self.begun.take()) {
            self.notes.push(error.before_the_case());
            self.starting = Some((request, tokio::spawn(async move { host.again().await })));
        }
    }

    /// What comes late of an instance that was stopped.
    fn is_stale(&self, said: &FromAdapter) -> bool {
        matches!(said, FromAdapter::Reply { id, result: Err(_) } if *id < self.stale)
    }

    /// The case has stopped its instance, or it was started.
    fn note_stop(&mut self, said: &FromAdapter) {
        if let FromAdapter::Reply { id, .. } = said
            && self.begun.as_ref().is_some_and(|request| request.id == *id)
        {
            self.begun = None;
            self.host = None;
        }
        if let FromAdapter::Reply { id, result: Ok(_) } = said
            && self.stopping == Some(*id)
        {
            self.stale = *id;
            self.stopping = None;
            self.started = false;
        }
    }

    /// Stops the instance after the case, so that its address is free and the adapter is as it was.
    async fn farewell(&mut self, instance: String) -> Option<String> {
        if !self.started {
            return None;
        }
        // of one that is gone the case has told
        let attached = self.attached.as_mut().filter(|attached| !attached.is_over())?;
        let id = match self.stopping {
            Some(id) => id,
            None => {
                let operation = Operation::Stop { instance };
                attached.send(u64::MAX, operation, STOP);
                u64::MAX
            }
        };
        let stopped = async {
            loop {
                match attached.next().await {
                    FromAdapter::Reply { id: of, result } if of == id => return result.err(),
                    FromAdapter::Gone(error) => return Some(error),
                    _ => {}
                }
            }
        };
        // the request has a limit of its own; this one is for when even that is not told
        match tokio::time::timeout(STOP * 2, stopped).await {
            // an instance that could not be started is not there
            Ok(None | Some(AdapterError::Refused { .. })) => None,
            Ok(Some(error)) => Some(format!("at `stop` after the case: {error}")),
            Err(_) => Some(format!(
                "at `stop` after the case: nothing was heard of the adapter within {:?}",
                STOP * 2
            )),
        }
    }
}

/// A server is there as soon as its instance is: nothing else starts or stops it.
fn done_at_once(command: IutCommand) -> IutReport {
    match command {
        IutCommand::Start | IutCommand::Fresh => IutReport::Started,
        IutCommand::Stop => IutReport::Stopped {
            status: "nothing is to be stopped".to_owned(),
        },
        IutCommand::PowerCut => IutReport::PowerCut,
    }
}

/// What the session is told of what the adapter says.
fn input_of(said: FromAdapter) -> Option<AdapterInput> {
    let reply = |id, ok, error| AdapterInput::Message(Message::Reply(Reply { id, ok, error }));
    Some(match said {
        FromAdapter::Event(event) => AdapterInput::Message(Message::Event(event)),
        FromAdapter::Reply { id, result } => match result {
            Ok(answer) => reply(id, Some(answer), None),
            Err(AdapterError::Refused { error, .. }) => reply(id, None, Some(error)),
            // told by itself
            Err(AdapterError::Died { .. } | AdapterError::Broken(_)) => return None,
            Err(other) => broken(&other),
        },
        FromAdapter::Broken(error) => broken(&error),
        FromAdapter::Gone(AdapterError::Died { status, said }) => AdapterInput::Died {
            status: format!("{status}{said}"),
        },
        FromAdapter::Gone(error) => AdapterInput::Died {
            status: error.to_string(),
        },
    })
}

fn broken(error: &AdapterError) -> AdapterInput {
    let reason = match error {
        AdapterError::Broken(reason) => reason.clone(),
        other => other.to_string(),
    };
    AdapterInput::Broken {
        reason,
        line: String::new(),
    }
}

async fn next_of(attached: &mut Option<Attached>) -> FromAdapter {
    match attached {
        Some(attached) => attached.next().await,
        None => core::future::pending().await,
    }
}

async fn started(
    starting: &mut Option<(Request, JoinHandle<Result<Adapter, AdapterError>>)>,
) -> Result<Adapter, AdapterError> {
    match starting {
        Some((_, handle)) => match handle.await {
            Ok(adapter) => adapter,
            Err(error) => Err(AdapterError::NotStarted(error.to_string())),
        },
        None => core::future::pending().await,
    }
}

async fn killed(killing: &mut Option<JoinHandle<()>>) {
    match killing {
        // what went wrong in it, dropping the last handle sees to
        Some(handle) => drop(handle.await),
        None => core::future::pending().await,
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => core::future::pending().await,
    }
}
