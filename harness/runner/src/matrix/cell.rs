//! One cell as a machine without clock and sockets: the link with its watchers, the leader of the update, the harness's repository.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use fotaproof_adapter::{Message, Progress, Request};
use fotaproof_checks::{CheckConfig, Timing};
use fotaproof_lwm2m::repository::{File, Repository, RepositoryConfig};
use fotaproof_net::LinkSpec;
use fotaproof_reports::matrix::Way;
use fotaproof_trace::{
    Event, EventKind, Finding, IutEvent, JOURNAL_FORMAT, Late, Stream, TransferFacts, TransferPhase, TransferWay,
    Verdict,
};

use super::asked::Log;
use super::leader::{Errand, Leader, Level, Unable, status_word};
use super::watch::{Counted, Seen, Watch};
use crate::session::{IutCommand, IutReport, is_too_late, sha256_hex, told_late};

/// Everything that a cell depends on.
#[derive(Clone, Debug)]
pub(super) struct CellConfig {
    /// Id, for the journal.
    pub(super) id: String,
    pub(super) seed: u64,
    /// Names, for the journal.
    pub(super) client: String,
    pub(super) server: String,
    pub(super) network: String,
    pub(super) link: LinkSpec,
    pub(super) errand: Errand,
    /// Where the harness's repository stands and the path of the package in it; none when the server hosts.
    pub(super) repository: Option<(SocketAddr, String)>,
    /// Version of object 5 and of the enabler that the client claims.
    pub(super) object: (u8, u8),
    pub(super) lwm2m: (u8, u8),
    /// The update is given up after this time.
    pub(super) limit: Duration,
    /// And already after this one, when the server told of no registration by then.
    pub(super) registration: Duration,
    /// What is still to be seen after the end of the update.
    pub(super) settle: Duration,
    /// What timings may be off.
    pub(super) tolerance: Duration,
}

/// What a driver tells.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// The client sent a datagram.
    FromClient {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Bytes,
    },
    /// The server sent a datagram.
    FromServer {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Bytes,
    },
    /// The server's adapter said something.
    Adapter(Box<Message>),
    /// Something broke that is nobody's under test.
    Trouble(String),
    /// Something happened to the client.
    Client(IutReport),
    /// The run is being interrupted.
    Interrupt,
}

/// What a cell asks of its driver.
#[derive(Clone, Debug)]
pub(super) enum Output {
    ToClient {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Bytes,
    },
    ToServer {
        from: SocketAddr,
        bytes: Bytes,
    },
    /// Ask this of the server's adapter.
    Ask(Box<Request>),
    /// Do this to the client.
    Client(IutCommand),
    /// For journal and capture.
    Event(Arc<Event>),
    /// It is over.
    Done(Box<Ended>),
}

/// Why a cell ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The update came to its end.
    Over,
    /// Its time was over.
    Limit(Duration),
    /// The client ended by itself.
    ClientEnded(String),
    /// The harness, an adapter or the environment failed.
    Trouble(String),
    /// The run was interrupted.
    Interrupted,
}

/// A cell that ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) end: End,
    pub(super) progress: Progress,
    pub(super) level: Level,
    /// What did not hold, client first.
    pub(super) findings: [Vec<Finding>; 2],
    pub(super) counted: Counted,
    pub(super) heard_client: bool,
    pub(super) heard_server: bool,
    /// How the client's latest Register was refused.
    pub(super) refused: Option<String>,
    /// When the server told of the registration.
    pub(super) registered: Option<Duration>,
    /// When the update was over.
    pub(super) at: Duration,
    /// What both sides asked and what came of it.
    pub(super) log: Log,
    /// The last operation that the server's library failed to do.
    pub(super) unable: Option<Unable>,
    /// What the link took away by chance and nobody could make good.
    pub(super) chance: Option<String>,
    /// The most that the harness itself was late.
    pub(super) late: Option<Late>,
}

/// The machine.
#[derive(Debug)]
pub(super) struct CellSession {
    config: CellConfig,
    watch: Watch,
    leader: Leader,
    repository: Option<(SocketAddr, Repository)>,
    out: VecDeque<Output>,
    now: Duration,
    /// Why and when it ended; then what is under way is awaited.
    end: Option<(End, Duration)>,
    done: bool,
    /// The most that the harness itself was late.
    late: Option<Late>,
}

impl CellSession {
    /// A cell that begins. Requests to the adapter are numbered from `first` on.
    pub(super) fn new(config: CellConfig, first: u64) -> Self {
        let timing = Timing {
            tolerance: Timing::default().tolerance.max(config.tolerance),
            grace: Timing::default().grace.max(config.tolerance),
            ..Timing::default()
        };
        let checks = CheckConfig {
            object_version: config.object,
            lwm2m_version: config.lwm2m,
            mtu: Some(config.link.mtu),
            timing,
            ..CheckConfig::default()
        };
        let of_server = CheckConfig {
            // when to execute is the harness's decision where it leads
            disabled: match config.errand.level {
                Level::Campaign => Vec::new(),
                Level::Library => vec!["execute-when-downloaded".to_owned()],
            },
            ..checks.clone()
        };
        let repository = config.repository.as_ref().map(|(at, path)| {
            let served = RepositoryConfig {
                seed: config.seed ^ 0x7265_706f,
                files: BTreeMap::from([(path.clone(), File::new(config.errand.spec.package.clone()))]),
                ..RepositoryConfig::default()
            };
            (*at, Repository::new(served))
        });
        let mut cell = Self {
            watch: Watch::new(
                config.link.clone(),
                config.seed,
                checks,
                of_server,
                config.repository.as_ref().map(|(at, _)| *at),
            ),
            leader: Leader::new(config.errand.clone(), first),
            repository,
            out: VecDeque::new(),
            now: Duration::ZERO,
            end: None,
            done: false,
            late: None,
            config,
        };
        cell.begin();
        cell
    }

    fn begin(&mut self) {
        let config = &self.config;
        let started = EventKind::CaseStarted {
            case: config.id.clone(),
            seed: config.seed,
            role: "client and server".to_owned(),
            iut: format!("{} against {}", config.client, config.server),
            network: config.network.clone(),
            harness: env!("CARGO_PKG_VERSION").to_owned(),
            journal: JOURNAL_FORMAT,
        };
        let text = format!(
            "{} of {} bytes, led by the {}",
            config.errand.way.word(),
            config.errand.spec.package.len(),
            config.errand.level.word()
        );
        self.watch.emit(Duration::ZERO, started);
        self.watch.note(Duration::ZERO, text);
        self.out.push_back(Output::Client(IutCommand::Start));
        self.pump(Duration::ZERO);
    }

    /// Takes what happened.
    pub(super) fn handle(&mut self, now: Duration, input: Input) {
        let now = now.max(self.now);
        self.now = now;
        if self.done {
            return;
        }
        // what the link did before this comes before it in the journal
        self.watch.turn(now);
        match input {
            Input::FromClient { from, to, bytes } => self.watch.client_sent(now, from, to, bytes),
            Input::FromServer { from, to, bytes } => self.watch.peer_sent(now, from, to, bytes),
            Input::Adapter(message) => self.leader.handle(now, *message),
            Input::Trouble(reason) => self.end(End::Trouble(reason)),
            Input::Client(report) => self.client_report(now, report),
            Input::Interrupt => {
                self.end(End::Interrupted);
                // what is under way is not awaited
                return self.finish(now);
            }
        }
        self.pump(now);
    }

    /// The driver did so much later what was due then; to be told before what it did.
    pub(super) fn was_late(&mut self, late: Late) {
        if self.late.is_some_and(|most| most.by >= late.by) {
            return;
        }
        let before = self.late.is_some_and(|most| is_too_late(most.by));
        self.late = Some(late);
        if !before && !self.done && is_too_late(late.by) {
            self.watch.note(self.now, told_late(&late));
        }
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Duration) {
        let now = now.max(self.now);
        self.now = now;
        if self.done {
            return;
        }
        self.leader.handle_timeout(now);
        if let Some((_, repository)) = &mut self.repository
            && repository.poll_deadline().is_some_and(|at| at <= now)
        {
            repository.handle_timeout(now);
        }
        self.pump(now);
        if self.end.is_none() && now >= self.limit() {
            self.end(End::Limit(self.limit()));
        }
        if self.end.as_ref().is_some_and(|(_, at)| now >= *at + self.config.settle) {
            self.finish(now);
        }
    }

    /// When [`Self::handle_timeout`] is due.
    pub(super) fn poll_deadline(&self) -> Option<Duration> {
        if self.done {
            return None;
        }
        let own = match &self.end {
            Some((_, at)) => *at + self.config.settle,
            None => self.limit(),
        };
        let others = [
            self.watch.poll_deadline(),
            self.leader.poll_deadline(),
            self.repository
                .as_ref()
                .and_then(|(_, repository)| repository.poll_deadline()),
        ];
        others.into_iter().flatten().chain([own]).min()
    }

    /// The next thing for the driver.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn limit(&self) -> Duration {
        match self.leader.registered {
            Some(_) => self.config.limit,
            None => self.config.registration.min(self.config.limit),
        }
    }

    fn client_report(&mut self, now: Duration, report: IutReport) {
        let event = match &report {
            IutReport::HandFailed { reason } => {
                let who = &self.config.client;
                return self.end(End::Trouble(format!("the hand of {who} failed: {reason}")));
            }
            IutReport::Started => IutEvent::Started,
            IutReport::Restarted => IutEvent::Restarted,
            IutReport::Exited { status } | IutReport::StartFailed { reason: status } => {
                IutEvent::Exited { status: status.clone() }
            }
            IutReport::Stopped { .. } => IutEvent::Stopped,
            IutReport::PowerCut => IutEvent::PowerCut,
            IutReport::Output { stderr, line } => IutEvent::Output {
                stream: if *stderr { Stream::Stderr } else { Stream::Stdout },
                line: line.clone(),
            },
        };
        self.watch.emit(now, EventKind::Iut(event));
        match report {
            IutReport::StartFailed { reason } => {
                self.end(End::Trouble(format!(
                    "{} cannot be started: {reason}",
                    self.config.client
                )));
            }
            IutReport::Exited { status } | IutReport::Stopped { status } => self.end(End::ClientEnded(status)),
            _ => {}
        }
    }

    fn end(&mut self, end: End) {
        if self.end.is_none() {
            self.end = Some((end, self.now));
        }
    }

    /// Everything that happens at this instant.
    fn pump(&mut self, now: Duration) {
        loop {
            let mut busy = false;
            self.watch.turn(now);
            while let Some(seen) = self.watch.poll() {
                busy = true;
                match seen {
                    Seen::Event(event) => self.out.push_back(Output::Event(event)),
                    Seen::ToClient { from, to, bytes } => self.out.push_back(Output::ToClient { from, to, bytes }),
                    Seen::ToPeer { from, to, bytes } => match &mut self.repository {
                        Some((at, repository)) if *at == to => repository.handle_datagram(now, from, &bytes),
                        _ => self.out.push_back(Output::ToServer { from, bytes }),
                    },
                }
            }
            if let Some((at, repository)) = &mut self.repository {
                while repository.poll_event().is_some() {}
                while let Some(transmit) = repository.poll_transmit() {
                    busy = true;
                    self.watch.peer_sent(now, *at, transmit.to, transmit.bytes);
                }
            }
            while let Some(note) = self.leader.poll_note() {
                busy = true;
                self.watch.note(now, note);
            }
            while let Some(request) = self.leader.poll_ask() {
                busy = true;
                self.out.push_back(Output::Ask(Box::new(request)));
            }
            if !busy {
                break;
            }
        }
        if self.end.is_none() && self.leader.is_over() {
            let end = match self.leader.trouble() {
                Some(reason) => End::Trouble(reason.to_owned()),
                None => End::Over,
            };
            self.end(end);
        }
    }

    fn finish(&mut self, now: Duration) {
        self.done = true;
        let (end, at) = self.end.clone().unwrap_or((End::Interrupted, now));
        let package = &self.config.errand.spec.package;
        self.watch.transferred(
            now,
            TransferFacts {
                phase: TransferPhase::Ended,
                way: match self.config.errand.way {
                    Way::Push => TransferWay::Push,
                    Way::Pull => TransferWay::Pull,
                },
                bytes: package.len() as u64,
                sha256: String::new(),
                expected_sha256: Some(sha256_hex(package)),
            },
        );
        self.watch.finish(now);
        let progress = self.leader.progress().clone();
        let reason = match &end {
            End::Over => status_word(progress.status).to_owned(),
            End::Limit(limit) => format!("not over within {} s", limit.as_secs()),
            End::ClientEnded(status) => format!("the client ended: {status}"),
            End::Trouble(reason) => reason.clone(),
            End::Interrupted => "interrupted".to_owned(),
        };
        let verdict = match &end {
            End::Trouble(_) => Verdict::Error,
            End::Interrupted => Verdict::Inconclusive,
            _ if progress.status == fotaproof_adapter::UpdateStatus::Succeeded => Verdict::Pass,
            _ if self.late.is_some_and(|late| is_too_late(late.by)) => Verdict::Inconclusive,
            _ => Verdict::Fail,
        };
        self.watch.emit(
            now,
            EventKind::CaseEnded {
                verdict,
                reason,
                duration: now,
                late: self.late,
            },
        );
        while let Some(seen) = self.watch.poll() {
            if let Seen::Event(event) = seen {
                self.out.push_back(Output::Event(event));
            }
        }
        self.out.push_back(Output::Done(Box::new(Ended {
            end,
            progress,
            level: self.leader.level(),
            findings: self.watch.findings.clone(),
            counted: self.watch.counted(),
            heard_client: self.watch.heard_client,
            heard_server: self.watch.heard_server,
            refused: self.watch.refused.clone(),
            registered: self.leader.registered,
            at,
            chance: self.watch.broken_by_chance(),
            log: core::mem::take(&mut self.watch.log),
            unable: self.leader.unable.clone(),
            late: self.late,
        })));
    }
}
