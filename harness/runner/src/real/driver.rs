//! The real driver: a session against a process or a board, from its start to the last process gone.

use core::time::Duration;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fotaproof_cases::ast::RepositoryPlace;
use fotaproof_trace::{Event, Verdict};
use fotaproof_wire::coap::{Code, MessageView, Type};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::adapter::{AdapterError, Hand};
use super::board::Board;
use super::clock::{Clock, scaling};
use super::iut::ProcessIut;
use super::lag::Watchdog;
use super::launch::{launch, placeholders};
use super::sockets::{HarnessSockets, Received};
use super::timer::Timer;
use super::{Interrupt, RealCase};
use crate::session::setup::repositories;
use crate::session::{AdapterInput, Addresses, Input, IutCommand, IutReport, Outcome, Output, Session};

/// What timings may be off at the least, on the wall's clock: two schedulers and a timer of one millisecond are between the
/// IUT and the session.
pub(super) const SLACK: Duration = Duration::from_millis(50);
/// Outputs and overdue time-outs at one place before the session counts as looping.
pub(super) const LIVELOCK: u32 = 1_000_000;
/// The longest that a case may take on the wall's clock beyond its own limit.
pub(super) const GRACE: Duration = Duration::from_secs(60);
/// A case's limit in its own time when it does not say one.
pub(super) const LIMIT: Duration = Duration::from_secs(7200);

/// Runs a case and gives its outcome, after the last process of the IUT is gone and the ports are free. Every event goes to
/// `sink` in order.
///
/// Whatever is wrong with the environment is the outcome of the case: an error, never the IUT's failure.
pub async fn run_case(
    mut case: RealCase,
    sink: &mut (dyn FnMut(&Arc<Event>) + Send),
    mut interrupt: Interrupt,
) -> Outcome {
    case.config.tolerance = case
        .config
        .tolerance
        .max(SLACK.mul_f64(case.speed.clamp(1.0, 10_000.0)));
    if case.hand.as_ref().is_some_and(Hand::acts) {
        // a hand says itself what it could not do in time, and until then it is at work
        let patience = case.config.parameters.entry("stop".to_owned());
        patience.or_insert_with(|| format!("{}s", Hand::PATIENCE.as_secs()));
    }
    let (mut sockets, mut iut) = match open(&mut case).await {
        Ok(opened) => opened,
        Err(reason) => return refuse(&case, reason, sink),
    };
    let limit = case.config.case.limit.map_or(LIMIT, |span| span.0);
    let mut drive = Drive {
        session: Session::new(case.config.clone()),
        clock: Clock::starting(case.speed).ahead(case.skew),
        timer: Timer::new(),
        watchdog: Watchdog::new(case.speed),
        last: Duration::ZERO,
        intake: Intake::new(),
        unsent: 0,
        given_up: None,
        starting: false,
        hand: case.hand.clone(),
        digest: None,
    };
    let wall = Instant::now().checked_add(limit.div_f64(case.speed.clamp(0.001, 10_000.0)) + GRACE);
    let mut outcome = drive.run(&mut sockets, &mut iut, sink, &mut interrupt, wall).await;
    if let Some(reason) = drive.given_up {
        outcome.reason.clone_from(&reason);
        outcome.base_reason = reason;
    }
    if drive.unsent > 0 {
        outcome.notes.push(format!(
            "{} datagrams to the IUT could not be sent: too large, or no way there",
            drive.unsent
        ));
    }
    outcome
        .notes
        .extend(farewell(&mut sockets, &mut iut, !interrupt.is_set()).await);
    outcome
}

/// The IUT, started by the harness or not.
#[derive(Debug)]
enum Iut {
    Process(Box<ProcessIut>),
    Board(Board),
}

impl Iut {
    fn command(&mut self, command: IutCommand) {
        match self {
            Self::Process(process) => process.command(command),
            Self::Board(board) => board.command(command),
        }
    }

    async fn report(&mut self) -> IutReport {
        match self {
            Self::Process(process) => process.report().await,
            Self::Board(board) => board.report().await,
        }
    }

    fn delivered(&mut self, bytes: &[u8]) {
        if let Self::Process(process) = self {
            process.delivered(bytes);
        }
    }

    fn heard(&mut self) {
        if let Self::Process(process) = self {
            process.heard();
        }
    }

    async fn shut_down(&mut self, gracefully: bool) -> Vec<String> {
        match self {
            Self::Process(process) if process.is_running() => process.shut_down(gracefully).await,
            Self::Process(_) => Vec::new(),
            Self::Board(board) => board.shut_down().await,
        }
    }
}

/// Opens the ports and makes the IUT ready to be started; the session learns the addresses.
async fn open(case: &mut RealCase) -> Result<(HarnessSockets, Iut), String> {
    let scaling = scaling(&case.manifest, case.speed).map_err(|error| error.to_string())?;
    let listen = match &case.manifest.board {
        Some(board) => Some(listen_address(&board.listen.value)?),
        None => None,
    };
    let separate = repositories(&case.config.case)
        .into_iter()
        .filter(|(_, made)| made.at == RepositoryPlace::Separate);
    let names = separate
        .map(|(name, _)| name)
        .chain(case.config.addresses.repositories.keys().cloned());
    let names: std::collections::BTreeSet<String> = names.collect();
    let sockets = HarnessSockets::bind(listen, names)
        .await
        .map_err(|error| error.to_string())?;
    case.config.addresses = sockets.addresses().clone();
    let instance = case.to_instance();
    let values = placeholders(&instance, case.config.addresses.server);
    let iut = match launch(&instance, &values, &scaling, new_mark()) {
        Some(launch) => Iut::Process(Box::new(ProcessIut::new(instance, launch, &scaling))),
        None if case.manifest.board.is_some() => {
            let hand = case.hand.clone();
            Iut::Board(Board::new(&instance, &values, hand, case.config.controls_iut))
        }
        None => return Err("the manifest has neither `command` nor `board`".to_owned()),
    };
    Ok((sockets, iut))
}

pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("`{text}` in `listen` is no address with a port such as 0.0.0.0:5683"))
}

/// The mark of a case's processes: no other case of any harness on this machine has the same.
pub(super) fn new_mark() -> String {
    static CASES: AtomicU64 = AtomicU64::new(1);
    format!("{}-{}", std::process::id(), CASES.fetch_add(1, Ordering::Relaxed))
}

/// The journal and outcome of a case that could not begin.
fn refuse(case: &RealCase, reason: String, sink: &mut (dyn FnMut(&Arc<Event>) + Send)) -> Outcome {
    let mut session = Session::new(case.config.clone());
    session.handle(
        Duration::ZERO,
        Input::Iut(IutReport::StartFailed { reason: reason.clone() }),
    );
    while let Some(output) = session.poll_output() {
        match output {
            Output::Event(event) => sink(&event),
            Output::Done(outcome) => return *outcome,
            Output::Transmit { .. } | Output::Iut(_) | Output::AskImageDigest | Output::Adapter(_) => {}
        }
    }
    given_up(reason, Duration::ZERO)
}

/// The outcome when the session gave none.
pub(crate) fn given_up(reason: String, duration: Duration) -> Outcome {
    Outcome {
        verdict: Verdict::Error,
        base: Verdict::Error,
        base_reason: reason.clone(),
        reason,
        findings: Vec::new(),
        notes: Vec::new(),
        measurements: Vec::new(),
        duration,
        late: None,
        held: 0,
        never_registered: true,
        fates: Vec::new(),
    }
}

/// A session at work.
struct Drive {
    session: Session,
    clock: Clock,
    timer: Timer,
    watchdog: Watchdog,
    /// The latest time that the session was told.
    last: Duration,
    intake: Intake,
    unsent: u64,
    /// Why the driver ended the session.
    given_up: Option<String>,
    /// The latest command is a start.
    starting: bool,
    /// Who can look into the device.
    hand: Option<Hand>,
    /// It is looking.
    digest: Option<JoinHandle<Result<Option<String>, AdapterError>>>,
}

enum Wake {
    Datagram(Received),
    Report(IutReport),
    /// What the hand saw.
    Digest(Result<Option<String>, AdapterError>),
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
        sockets: &mut HarnessSockets,
        iut: &mut Iut,
        sink: &mut (dyn FnMut(&Arc<Event>) + Send),
        interrupt: &mut Interrupt,
        wall: Option<Instant>,
    ) -> Outcome {
        // a case that does not start its IUT at once begins all the same
        let mut wake = Wake::Timer;
        let mut first = true;
        let mut overdue = 0_u32;
        loop {
            if !first {
                self.take(wake, iut);
            }
            if let Some(outcome) = self.put(sockets, iut, sink).await {
                return outcome;
            }
            if first {
                first = false;
                if self.starting {
                    // the script begins with the report of the start
                    wake = self.wait(None, sockets, iut, interrupt, wall).await;
                    continue;
                }
                self.session.handle_timeout(Duration::ZERO);
                if let Some(outcome) = self.put(sockets, iut, sink).await {
                    return outcome;
                }
            }
            let deadline = self.session.poll_deadline();
            overdue = if deadline.is_some_and(|at| at <= self.last) {
                overdue + 1
            } else {
                0
            };
            wake = if overdue > LIVELOCK {
                overdue = 0;
                Wake::Livelock
            } else {
                self.wait(deadline, sockets, iut, interrupt, wall).await
            };
        }
    }

    /// Waits for what comes first. What lies in the sockets is taken before a deadline that is over.
    async fn wait(
        &mut self,
        deadline: Option<Duration>,
        sockets: &mut HarnessSockets,
        iut: &mut Iut,
        interrupt: &mut Interrupt,
        wall: Option<Instant>,
    ) -> Wake {
        loop {
            let timer = self.clock.instant(self.watchdog.due(deadline, self.last));
            let pause = self.intake.pause(Instant::now());
            let wake = tokio::select! {
                biased;
                () = interrupt.wait() => Wake::Interrupt,
                received = sockets.receive(), if pause.is_none() => Wake::Datagram(received),
                report = iut.report() => Wake::Report(report),
                digest = looked(&mut self.digest) => Wake::Digest(digest),
                () = self.timer.until(timer) => {
                    let now = self.clock.now();
                    if deadline.is_none_or(|at| at > now) {
                        // nothing is due but the look at the clock
                        self.look(now);
                        continue;
                    }
                    Wake::Timer
                }
                () = until(wall) => Wake::Wall,
                () = until(pause), if pause.is_some() => continue,
            };
            return wake;
        }
    }

    /// Tells the session how late it is, if it is later than ever.
    fn look(&mut self, now: Duration) {
        if let Some(late) = self.watchdog.round(now, &self.clock) {
            self.session.was_late(late);
        }
    }

    /// Tells the session what happened.
    fn take(&mut self, wake: Wake, iut: &mut Iut) {
        let now = self.clock.now();
        self.look(now);
        match wake {
            Wake::Digest(seen) => {
                self.digest = None;
                let input = match seen {
                    Ok(digest) => Input::ImageDigest(digest),
                    Err(error) => Input::Adapter(AdapterInput::Failed {
                        reason: error.to_string(),
                    }),
                };
                self.tell(now, input);
            }
            Wake::Datagram(Received { from, to, bytes }) => {
                iut.heard();
                self.intake.received();
                // It waited in the socket since some time before now; if a deadline passed in between, it came before that: the
                // harness was not scheduled, and that is not the IUT's delay.
                let before = self
                    .session
                    .poll_deadline()
                    .map(|at| at.saturating_sub(Duration::from_nanos(1)));
                let at = before.map_or(now, |before| before.min(now)).max(self.last);
                self.tell(at, Input::Datagram { from, to, bytes });
            }
            Wake::Report(report) => self.tell(now, Input::Iut(report)),
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

    fn tell(&mut self, at: Duration, input: Input) {
        self.last = self.last.max(at);
        self.session.handle(self.last, input);
    }

    /// Carries out what the session asks; gives its outcome when it is over.
    async fn put(
        &mut self,
        sockets: &HarnessSockets,
        iut: &mut Iut,
        sink: &mut (dyn FnMut(&Arc<Event>) + Send),
    ) -> Option<Outcome> {
        let mut asked = 0_u32;
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Event(event) => sink(&event),
                Output::Transmit { from, to, bytes } => {
                    iut.delivered(&bytes);
                    self.intake.sent();
                    if sockets.send(from, to, &bytes).await.is_err() {
                        self.unsent += 1;
                    }
                }
                Output::Iut(command) => {
                    self.starting = command == IutCommand::Start;
                    iut.command(command);
                }
                Output::AskImageDigest => {
                    if let Some(hand) = self.hand.clone() {
                        // it may take its time, in which others are served
                        self.digest = Some(tokio::spawn(async move { hand.image_digest().await }));
                        continue;
                    }
                    asked += 1;
                    if asked > LIVELOCK {
                        return Some(given_up(
                            "the session asks for the image without end".to_owned(),
                            self.last,
                        ));
                    }
                    // without a hand nothing outside can tell what a process holds
                    let now = self.clock.now();
                    self.tell(now, Input::ImageDigest(None));
                }
                // a device is asked over the link alone
                Output::Adapter(_) => {}
                Output::Done(outcome) => return Some(*outcome),
            }
        }
        self.session
            .is_over()
            .then(|| given_up("the session ended without an outcome".to_owned(), self.last))
    }
}

async fn looked(
    digest: &mut Option<JoinHandle<Result<Option<String>, AdapterError>>>,
) -> Result<Option<String>, AdapterError> {
    match digest {
        Some(handle) => match handle.await {
            Ok(seen) => seen,
            Err(error) => Err(AdapterError::Broken(error.to_string())),
        },
        None => core::future::pending().await,
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => core::future::pending().await,
    }
}

/// Ends the IUT after its case. Its last requests are answered, so that a client which de-registers in order does not have
/// to wait for a server that is gone.
async fn farewell(sockets: &mut HarnessSockets, iut: &mut Iut, gracefully: bool) -> Vec<String> {
    let end = iut.shut_down(gracefully);
    tokio::pin!(end);
    loop {
        tokio::select! {
            biased;
            remarks = &mut end => return remarks,
            received = sockets.receive() => {
                if let Some(answer) = last_answer(&received.bytes) {
                    // it may be gone already
                    let _ = sockets.send(received.to, received.from, &answer).await;
                }
            }
        }
    }
}

/// The answer to a request that comes after the case: De-register and Update succeed, everything else is told that the
/// server is not available.
fn last_answer(bytes: &[u8]) -> Option<Vec<u8>> {
    let view = MessageView::parse(bytes).ok()?;
    if view.kind() != Type::Con {
        return None;
    }
    let code = match view.code() {
        Code::DELETE => Code::DELETED,
        Code::POST if view.uri_path().trim_matches('/').contains('/') => Code::CHANGED,
        code if code.is_request() => Code::SERVICE_UNAVAILABLE,
        _ => return None,
    };
    let token = view.token();
    let length = u8::try_from(token.len()).ok()?;
    let mut answer = vec![0x60 | length, code.0];
    answer.extend_from_slice(&view.message_id().to_be_bytes());
    answer.extend_from_slice(token);
    Some(answer)
}

/// How many datagrams are taken from an IUT: a flood beyond this stays in the kernel, which drops it.
#[derive(Debug)]
pub(super) struct Intake {
    credit: f64,
    at: Instant,
}

impl Intake {
    /// What may come at once.
    const MOST: f64 = 4_000.0;
    /// What may come for each datagram that the IUT was sent.
    const FOR_EACH: f64 = 16.0;
    /// What may come a second.
    const A_SECOND: f64 = 1_000.0;
    /// With how much it begins again.
    const AGAIN: f64 = 20.0;

    pub(super) fn new() -> Self {
        Self {
            credit: Self::MOST,
            at: Instant::now(),
        }
    }

    pub(super) fn received(&mut self) {
        self.credit -= 1.0;
    }

    pub(super) fn sent(&mut self) {
        self.credit = (self.credit + Self::FOR_EACH).min(Self::MOST);
    }

    /// Until when nothing is taken.
    pub(super) fn pause(&mut self, now: Instant) -> Option<Instant> {
        if self.credit >= 1.0 {
            return None;
        }
        self.credit += now.duration_since(self.at).as_secs_f64().min(1.0) * Self::A_SECOND;
        self.at = now;
        let lacks = Self::AGAIN - self.credit;
        (lacks > 0.0).then(|| now + Duration::from_secs_f64(lacks / Self::A_SECOND))
    }
}

/// Addresses that a session can be made with before its sockets are open; [`run_case`] replaces them.
impl Default for Addresses {
    fn default() -> Self {
        let none = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            server: none,
            other_port: none,
            stranger: none,
            repositories: std::collections::BTreeMap::new(),
            devices: std::collections::BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deregistration_after_the_case_is_answered_with_its_token() {
        // CON DELETE /rd/1, message id 0x1234, token aabb
        let request = [0x42, 0x04, 0x12, 0x34, 0xaa, 0xbb, 0xb2, b'r', b'd', 0x01, b'1'];
        assert_eq!(last_answer(&request).unwrap(), [0x62, 0x42, 0x12, 0x34, 0xaa, 0xbb]);
        let mut update = request;
        update[1] = 0x02;
        assert_eq!(last_answer(&update).unwrap()[1], 0x44);
        let register = [0x40, 0x02, 0x12, 0x34, 0xb2, b'r', b'd'];
        assert_eq!(last_answer(&register).unwrap(), [0x60, 0xa3, 0x12, 0x34]);
        let notification = [0x50, 0x45, 0x12, 0x34];
        assert_eq!((last_answer(&notification), last_answer(b"garbage")), (None, None));
    }

    #[test]
    fn a_flood_is_taken_at_a_bounded_rate() {
        let mut intake = Intake::new();
        let mut now = intake.at;
        let end = now + Duration::from_secs(2);
        let mut taken = 0;
        while now < end {
            match intake.pause(now) {
                Some(at) => now = at,
                None => {
                    intake.received();
                    taken += 1;
                }
            }
        }
        assert!((5_000..7_200).contains(&taken), "{taken}");
    }

    #[test]
    fn an_iut_that_is_talked_to_may_answer_as_much() {
        let mut intake = Intake::new();
        for _ in 0..100_000 {
            intake.sent();
            for _ in 0..3 {
                intake.received();
            }
            assert!(intake.pause(intake.at).is_none());
        }
    }
}
