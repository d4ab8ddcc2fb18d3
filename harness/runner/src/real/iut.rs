//! The process of an IUT over a case: start, stop, power cut, restart, and what it does by itself.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use fotaproof_cases::manifest::{self, Restart};
use fotaproof_wire::coap::{Code, MessageView};
use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::client::Instance;
use super::clock::Scaling;
use super::launch::{Launch, furnish, refurnish};
use super::output::Output;
use super::process::{Process, ProcessEvent};
use super::survivors::{self, remove_faketime, told};
use crate::session::{IutCommand, IutReport};

/// How long a graceful stop may take when the manifest does not say.
const STOP: Duration = Duration::from_secs(5);
/// The least that a stop has on the wall's clock, however fast the IUT's runs.
const LEAST_STOP: Duration = Duration::from_secs(1);
/// How long a killed process may take to be gone.
const DYING: Duration = Duration::from_secs(5);
/// How often a group without its first process is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long what a process left behind in an orderly end may go on.
const LEAVING: Duration = Duration::from_millis(250);
/// Restarts in a row without a datagram in between, after which the IUT counts as broken.
const FRUITLESS: u32 = 5;
/// Restarts in one case.
const RESTARTS: u32 = 100;

/// An IUT that the harness starts.
#[derive(Debug)]
pub(super) struct ProcessIut {
    case: Instance,
    launch: Launch,
    faketime: bool,
    output: Arc<Output>,
    running: Option<Running>,
    reports: VecDeque<IutReport>,
    /// A request was delivered that makes it restart.
    armed: bool,
    restarts: u32,
    fruitless: u32,
}

#[derive(Debug)]
struct Running {
    process: Process,
    phase: Phase,
    then: Then,
    /// How its first process ended.
    status: Option<String>,
}

#[derive(Debug)]
enum Phase {
    Up,
    /// The first process ended in order and others of its group go on.
    Lingering,
    /// It ended as it was told to; what it left may end by itself until then.
    Leaving(Instant),
    Stopping {
        /// When the whole group gets the signal.
        escalate: Option<Instant>,
        until: Instant,
        /// The first process was gone when it was told.
        group: bool,
        killed: bool,
        how: String,
        within: Duration,
    },
    Cutting {
        until: Instant,
        killed: bool,
    },
}

/// What follows when it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Nothing,
    Start,
    Fresh,
}

enum Step {
    Event(ProcessEvent),
    Timer,
}

impl ProcessIut {
    pub(super) fn new(case: Instance, launch: Launch, scaling: &Scaling) -> Self {
        Self {
            output: Output::new(&case.output),
            faketime: scaling.faketime,
            case,
            launch,
            running: None,
            reports: VecDeque::new(),
            armed: false,
            restarts: 0,
            fruitless: 0,
        }
    }

    /// Does what is asked; what comes of it is told by [`Self::report`].
    pub(super) fn command(&mut self, command: IutCommand) {
        match command {
            IutCommand::Start => match &mut self.running {
                Some(running) if matches!(running.phase, Phase::Up | Phase::Lingering) => {
                    self.reports.push_back(IutReport::Started);
                }
                Some(running) => running.then = Then::Start,
                None => self.start(false),
            },
            IutCommand::Stop => self.stop(),
            IutCommand::PowerCut => self.cut(Then::Nothing),
            IutCommand::Fresh => self.cut(Then::Fresh),
        }
    }

    /// Whether a process of it may live.
    pub(super) const fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// A datagram goes to the IUT; some make it restart.
    pub(super) fn delivered(&mut self, bytes: &[u8]) {
        if self.case.manifest.restart == Restart::StartAgain && !self.armed {
            self.armed = asks_for_restart(bytes);
        }
    }

    /// The IUT sent something, so its last start was not in vain.
    pub(super) const fn heard(&mut self) {
        self.fruitless = 0;
    }

    /// What happens to it next; for ever pending while nothing does. Dropping the future loses nothing.
    pub(super) async fn report(&mut self) -> IutReport {
        loop {
            if let Some(report) = self.reports.pop_front() {
                return report;
            }
            let Some(running) = &mut self.running else {
                return core::future::pending().await;
            };
            let timer = running.deadline();
            let step = tokio::select! {
                biased;
                event = running.process.event() => Step::Event(event),
                () = sleep_until(timer) => Step::Timer,
            };
            match step {
                Step::Event(ProcessEvent::Line { stderr, line }) => return IutReport::Output { stderr, line },
                Step::Event(ProcessEvent::Exited { status, success }) => self.exited(status, success),
                Step::Timer => self.timer(),
            }
        }
    }

    /// A remark of the harness in the IUT's output.
    fn remark(&mut self, text: &str) {
        let line = format!("[harness] {text}");
        if let Some(line) = self.output.take("harness", &line) {
            self.reports.push_back(IutReport::Output { stderr: true, line });
        }
    }

    fn start(&mut self, again: bool) {
        self.armed = false;
        let started = furnish(&self.case).and_then(|()| Process::start(&self.launch, &self.output));
        let report = match started {
            Ok(process) => {
                self.running = Some(Running {
                    process,
                    phase: Phase::Up,
                    then: Then::Nothing,
                    status: None,
                });
                if again {
                    IutReport::Restarted
                } else {
                    IutReport::Started
                }
            }
            Err(reason) => IutReport::StartFailed { reason },
        };
        self.reports.push_back(report);
    }

    fn stop(&mut self) {
        let within = self.patience();
        let stop = &self.case.manifest.stop;
        let Some(running) = &mut self.running else {
            let status = "it was off".to_owned();
            self.reports.push_back(IutReport::Stopped { status });
            return;
        };
        if !matches!(running.phase, Phase::Up | Phase::Lingering) {
            running.then = Then::Nothing;
            return;
        }
        let now = Instant::now();
        let mut ways = Vec::new();
        if let Some(line) = &stop.line {
            running.process.write_line(line);
            ways.push(format!("the line `{line}`"));
        }
        if stop.close_stdin == Some(true) {
            running.process.close_stdin();
            ways.push("the end of its standard input".to_owned());
        }
        let mut escalate = None;
        let mut group = false;
        if stop.signal.is_some() || ways.is_empty() {
            let signal = signal_of(stop.signal.unwrap_or(manifest::Signal::Term));
            group = running.process.signal(signal);
            escalate = now.checked_add(within / 2);
            ways.push(signal.as_str().to_owned());
        }
        running.phase = Phase::Stopping {
            escalate,
            until: now.checked_add(within).unwrap_or(now),
            group,
            killed: false,
            how: ways.join(" and "),
            within,
        };
    }

    fn cut(&mut self, then: Then) {
        let signal = signal_of(self.case.manifest.power_cut.unwrap_or(manifest::Signal::Kill));
        let Some(running) = &mut self.running else {
            match then {
                Then::Fresh => self.fresh(),
                Then::Nothing | Then::Start => self.reports.push_back(IutReport::PowerCut),
            }
            return;
        };
        let killed = signal == Signal::SIGKILL;
        let left = if killed {
            running.process.end()
        } else {
            running.process.signal_group(signal);
            Vec::new()
        };
        running.then = then;
        let wait = if killed { DYING } else { LEAST_STOP };
        running.phase = Phase::Cutting {
            until: Instant::now() + wait,
            killed,
        };
        self.forget_clocks(left.iter().map(|one| one.pid));
    }

    fn fresh(&mut self) {
        match refurnish(&self.case) {
            Ok(()) => self.start(false),
            Err(reason) => self.reports.push_back(IutReport::StartFailed { reason }),
        }
    }

    fn exited(&mut self, status: String, success: bool) {
        let Some(running) = &mut self.running else { return };
        running.status = Some(status);
        match running.phase {
            Phase::Up => {
                let by_itself = self.case.manifest.restart == Restart::ByItself;
                let left = if by_itself && success {
                    running.process.survivors()
                } else {
                    Vec::new()
                };
                if left.is_empty() {
                    self.ended(success);
                } else {
                    running.phase = Phase::Lingering;
                    self.remark(&format!("the first process ended, {} goes on", told(&left)));
                }
            }
            Phase::Stopping {
                killed: false, group, ..
            } if !running.process.survivors().is_empty() => {
                if !group {
                    running.phase = Phase::Leaving(Instant::now() + LEAVING);
                }
            }
            Phase::Lingering | Phase::Leaving(_) | Phase::Stopping { .. } | Phase::Cutting { .. } => {
                self.ended(success);
            }
        }
    }

    fn timer(&mut self) {
        let Some(running) = &mut self.running else { return };
        let now = Instant::now();
        let gone = running.process.is_leader_gone() && running.process.survivors().is_empty();
        if gone {
            return self.ended(true);
        }
        let signal = signal_of(self.case.manifest.stop.signal.unwrap_or(manifest::Signal::Term));
        match &mut running.phase {
            Phase::Up | Phase::Lingering => {}
            Phase::Leaving(until) => {
                if *until <= now {
                    self.ended(true);
                }
            }
            Phase::Stopping {
                escalate,
                until,
                killed,
                ..
            } => {
                if escalate.is_some_and(|at| at <= now) {
                    *escalate = None;
                    running.process.signal_group(signal);
                }
                if *until <= now {
                    if *killed {
                        return self.immortal();
                    }
                    *killed = true;
                    *until = now + DYING;
                    let left = running.process.end();
                    self.forget_clocks(left.iter().map(|one| one.pid));
                }
            }
            Phase::Cutting { until, killed } => {
                if *until <= now {
                    if *killed {
                        return self.immortal();
                    }
                    *killed = true;
                    *until = now + DYING;
                    running.process.end();
                }
            }
        }
    }

    /// Not even SIGKILL ended it in time, as when it hangs in the kernel.
    fn immortal(&mut self) {
        let left = self
            .running
            .as_ref()
            .map(|running| running.process.survivors())
            .unwrap_or_default();
        self.remark(&format!("SIGKILL did not end {}", told(&left)));
        self.ended(false);
    }

    /// It is gone; ends what it left and goes on as the phase wants.
    fn ended(&mut self, success: bool) {
        let Some(mut running) = self.running.take() else { return };
        let left = running.process.end();
        running.process.set_over();
        self.forget_clocks(left.iter().map(|one| one.pid).chain([running.process.pid]));
        let status = running.status.unwrap_or_else(|| "no exit status".to_owned());
        let was_cut = matches!(running.phase, Phase::Cutting { .. });
        if !left.is_empty() && !was_cut {
            self.remark(&format!("it left behind and the harness ended: {}", told(&left)));
        }
        match running.phase {
            Phase::Up | Phase::Lingering => self.exited_alone(status, success),
            Phase::Stopping {
                killed: true,
                how,
                within,
                ..
            } => {
                let status = format!("it did not end within {within:?} of {how} and was killed");
                self.remark(&status);
                self.reports.push_back(IutReport::Stopped { status });
            }
            Phase::Stopping { .. } | Phase::Leaving(_) => self.reports.push_back(IutReport::Stopped { status }),
            Phase::Cutting { .. } => {
                if running.then != Then::Fresh {
                    self.reports.push_back(IutReport::PowerCut);
                }
            }
        }
        match running.then {
            Then::Nothing => {}
            Then::Start => self.start(false),
            Then::Fresh => self.fresh(),
        }
    }

    /// It ended without being told to: the manifest may say that it is started again then.
    fn exited_alone(&mut self, status: String, success: bool) {
        let wanted = self.case.manifest.restart == Restart::StartAgain && (success || self.armed);
        if !wanted {
            return self.reports.push_back(IutReport::Exited { status });
        }
        self.restarts += 1;
        self.fruitless += 1;
        if self.fruitless > FRUITLESS || self.restarts > RESTARTS {
            let status = format!(
                "{status}, and it ends again whenever it is started again ({} times)",
                self.restarts - 1
            );
            return self.reports.push_back(IutReport::Exited { status });
        }
        self.start(true);
    }

    fn forget_clocks(&self, pids: impl Iterator<Item = nix::unistd::Pid>) {
        if self.faketime {
            pids.for_each(remove_faketime);
        }
    }

    /// The time of a graceful stop on the wall's clock. A scaled IUT gets through it faster, but its harness is not faster.
    fn patience(&self) -> Duration {
        let within = self.case.manifest.stop.within.map_or(STOP, |span| span.0);
        let speed = self.case.speed.max(1.0);
        within.div_f64(speed).max(within.min(LEAST_STOP))
    }

    /// Ends it in order, or at once, and waits until nothing of it lives. The remarks on the way are given back.
    pub(super) async fn shut_down(&mut self, gracefully: bool) -> Vec<String> {
        if gracefully {
            self.stop();
        } else {
            self.cut(Then::Nothing);
        }
        let mut remarks = Vec::new();
        while self.running.is_some() || !self.reports.is_empty() {
            match self.report().await {
                IutReport::Output { line, .. } => {
                    remarks.extend(line.strip_prefix("[harness] ").map(str::to_owned));
                }
                IutReport::Stopped { status } if status.starts_with("signal") => {
                    remarks.push(format!("the IUT ended by {status} when it was asked to stop"));
                }
                _ => {}
            }
        }
        remarks.extend(self.confirm().await);
        remarks
    }

    /// Waits until what was killed is gone, which the kernel does in its own time.
    async fn confirm(&self) -> Option<String> {
        let until = Instant::now() + DYING;
        let mut pause = Duration::from_millis(1);
        loop {
            let left = survivors::end(&self.launch.mark, None);
            if left.is_empty() {
                return None;
            }
            if Instant::now() >= until {
                return Some(format!("SIGKILL did not end {}", told(&left)));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK);
        }
    }
}

impl Running {
    fn deadline(&self) -> Option<Instant> {
        let look = || self.process.is_leader_gone().then(|| Instant::now() + LOOK);
        match &self.phase {
            Phase::Up => None,
            Phase::Lingering => look(),
            Phase::Leaving(until) => [Some(*until), look()].into_iter().flatten().min(),
            Phase::Stopping { escalate, until, .. } => [*escalate, Some(*until), look()].into_iter().flatten().min(),
            Phase::Cutting { until, .. } => [Some(*until), look()].into_iter().flatten().min(),
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => core::future::pending().await,
    }
}

const fn signal_of(signal: manifest::Signal) -> Signal {
    match signal {
        manifest::Signal::Int => Signal::SIGINT,
        manifest::Signal::Term => Signal::SIGTERM,
        manifest::Signal::Kill => Signal::SIGKILL,
        manifest::Signal::Hup => Signal::SIGHUP,
        manifest::Signal::Quit => Signal::SIGQUIT,
        manifest::Signal::Usr1 => Signal::SIGUSR1,
    }
}

/// Whether a device that obeys this datagram restarts: Execute of Update (/5/x/2), of Reboot and Factory Reset (/3/0/4,
/// /3/0/5), of Install and Activate of object 9 (/9/x/4, /9/x/10), or a write of /5/x/1 or /5/x/0, which may start an automatic
/// upgrade (LwM2M Core, E.4; OMA-TS-LWM2M-SwMgmt).
fn asks_for_restart(bytes: &[u8]) -> bool {
    let Ok(view) = MessageView::parse(bytes) else {
        return false;
    };
    let path = view.uri_path();
    let mut segments = path.rsplit('/').map(|segment| segment.parse::<u16>().ok());
    let mut next = || segments.next().flatten();
    let (resource, _, object) = (next(), next(), next());
    matches!(
        (view.code(), object, resource),
        (Code::POST, Some(5), Some(2))
            | (Code::POST, Some(3), Some(4 | 5))
            | (Code::POST, Some(9), Some(4 | 10))
            | (Code::PUT | Code::POST, Some(5), Some(0 | 1))
    )
}

#[cfg(test)]
mod tests {
    use fotaproof_wire::coap::{Type, build};

    use super::*;

    fn request(code: Code, path: &str) -> Vec<u8> {
        let mut packet = build::request(Type::Con, code, 1, &[1]).unwrap();
        build::set_path(&mut packet, path);
        packet.to_bytes().unwrap()
    }

    #[test]
    fn what_makes_a_device_restart_is_known() {
        assert!(asks_for_restart(&request(Code::POST, "/5/0/2")));
        assert!(asks_for_restart(&request(Code::POST, "/lwm2m/5/0/2")));
        assert!(asks_for_restart(&request(Code::POST, "/3/0/4")));
        assert!(!asks_for_restart(&request(Code::GET, "/5/0/2")));
        assert!(!asks_for_restart(&request(Code::POST, "/3/0/12")));
        assert!(!asks_for_restart(&request(Code::POST, "/5/0")));
        assert!(!asks_for_restart(b"\xff\xff"));
    }
}
