//! The one who holds an adapter's process: requests in, replies and events out to whom they belong.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use fotaproof_adapter::{
    Answer, ErrorKind, Event, Hello, LineError, Message, Operation, PROTOCOL, Reply, ReplyError, Request, parse,
    to_line,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::process::{AdapterChild, AdapterLaunch, Happening};
use super::{AdapterError, Farewell, FromAdapter};

/// Events and replies that wait for one user; an adapter that tells more at once than is taken is broken.
pub(super) const QUEUE: usize = 10_000;
/// Lines that are no messages, after which the adapter is ended.
const FAULTS: usize = 100;
/// Faults that are kept for reports.
const KEPT: usize = 20;
/// How long it may take to exit after the reply to `quit`.
const EXIT: Duration = Duration::from_secs(5);

/// What all who use an adapter can look at.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Why it is gone.
    gone: Option<AdapterError>,
    /// Nobody used it when it ended.
    idle: bool,
    faults: Vec<String>,
    left: Option<String>,
}

impl Shared {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn gone(&self) -> Option<AdapterError> {
        self.with(|state| state.gone.clone())
    }

    pub(super) fn ended_idle(&self) -> bool {
        self.with(|state| state.gone.is_some() && state.idle)
    }

    pub(super) fn faults(&self) -> Vec<String> {
        self.with(|state| state.faults.clone())
    }

    /// Processes that it left behind, in words.
    pub(super) fn left(&self) -> Option<String> {
        self.with(|state| state.left.clone())
    }
}

/// Where the answer to a request goes.
#[derive(Debug)]
pub(super) enum Target {
    /// To one who waits.
    Once(oneshot::Sender<Result<Answer, AdapterError>>),
    /// Into the queue of a user, under the id that the user gave it.
    Queue(u64, u64),
    /// Nobody cares.
    Nobody,
}

/// What is asked of the holder.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "each is moved once, into a queue or out of one"
)]
pub(super) enum Ask {
    /// An operation.
    Request(Operation, Duration, Target),
    /// A line as it is, of which nothing is known; the reply with this id, or with id 0, is its answer. A `{id}` in it is
    /// replaced by a fresh id.
    Raw(String, Duration, oneshot::Sender<Result<Reply, AdapterError>>),
    /// A user of an instance.
    Attach(u64, String, mpsc::Sender<FromAdapter>),
    /// A user that is done.
    Detach(u64),
    /// The orderly end.
    Quit(Duration, oneshot::Sender<Farewell>),
    /// The end at once; told when no process is left.
    Kill(oneshot::Sender<()>),
}

#[derive(Debug)]
struct Pending {
    operation: &'static str,
    within: Duration,
    deadline: Instant,
    target: Target,
}

#[derive(Debug)]
struct RawPending {
    id: Option<u64>,
    within: Duration,
    deadline: Instant,
    answer: oneshot::Sender<Result<Reply, AdapterError>>,
}

#[derive(Debug)]
struct User {
    instance: String,
    queue: mpsc::Sender<FromAdapter>,
}

#[derive(Debug)]
struct Quitting {
    until: Instant,
    replied: Option<Result<(), AdapterError>>,
    done: oneshot::Sender<Farewell>,
}

/// Runs an adapter from its start to its last process.
pub(super) async fn run(
    launch: AdapterLaunch,
    mut asked: mpsc::UnboundedReceiver<Ask>,
    shared: Arc<Shared>,
    greeted: oneshot::Sender<Result<Hello, AdapterError>>,
) {
    let mut child = match AdapterChild::start(&launch) {
        Ok(child) => child,
        Err(reason) => {
            let _ = greeted.send(Err(AdapterError::NotStarted(reason)));
            return;
        }
    };
    let greeting = tokio::select! {
        greeting = greeting(&mut child, launch.ready) => greeting,
        // nobody waits for it any more
        _ = asked.recv() => Err(AdapterError::NotStarted("interrupted".to_owned())),
    };
    let (hello, early) = match greeting {
        Ok(greeting) => greeting,
        Err(error) => {
            let left = child.end().await;
            shared.with(|state| {
                state.gone = Some(error.clone());
                state.left = left;
            });
            let _ = greeted.send(Err(error));
            return;
        }
    };
    let mut holder = Holder {
        child,
        shared,
        next: 1,
        pending: BTreeMap::new(),
        late: BTreeSet::new(),
        raw: None,
        stray: 0,
        users: BTreeMap::new(),
        quitting: None,
        faults: 0,
        last_fault: String::new(),
        later: hello.protocol != PROTOCOL,
    };
    if greeted.send(Ok(hello)).is_err() {
        // the one who started it is gone
        holder.child.end().await;
        return;
    }
    for line in early {
        holder.line(line);
    }
    holder.live(asked).await;
}

/// The first line, and what came with it.
async fn greeting(
    child: &mut AdapterChild,
    within: Duration,
) -> Result<(Hello, Vec<Result<Vec<u8>, LineError>>), AdapterError> {
    let first = tokio::time::timeout(within, child.happening()).await;
    let mut lines = match first {
        Err(_) => {
            let said = child.said();
            return Err(AdapterError::NoHello { within, said });
        }
        Ok(Happening::Ended { status, .. }) => {
            let said = child.said();
            return Err(AdapterError::Died { status, said });
        }
        Ok(Happening::Lines(lines)) => lines.into_iter(),
    };
    let first = match lines.next() {
        Some(Ok(line)) => parse(&line),
        Some(Err(error)) => Err(error),
        None => Ok(Message::Event(Event::Log { text: String::new() })),
    };
    match first {
        Ok(Message::Event(Event::Hello(hello))) => {
            let number = |version: &str| version.split('.').next().map(str::to_owned);
            if number(&hello.protocol) == number(PROTOCOL) {
                Ok((hello, lines.collect()))
            } else {
                Err(AdapterError::Version(hello.protocol))
            }
        }
        Ok(other) => Err(AdapterError::NotHello(
            to_line(&other).trim_end().chars().take(200).collect(),
        )),
        Err(error) => Err(AdapterError::NotHello(error.to_string())),
    }
}

struct Holder {
    child: AdapterChild,
    shared: Arc<Shared>,
    next: u64,
    pending: BTreeMap<u64, Pending>,
    /// Requests whose time was over before their reply.
    late: BTreeSet<u64>,
    raw: Option<RawPending>,
    /// Lines without an id whose time was over: a reply under id 0 may still come for each.
    stray: u32,
    users: BTreeMap<u64, User>,
    quitting: Option<Quitting>,
    faults: usize,
    last_fault: String,
    /// It speaks a later version than ours.
    later: bool,
}

#[expect(
    clippy::large_enum_variant,
    reason = "each is moved once, into a queue or out of one"
)]
enum Wake {
    Ask(Option<Ask>),
    Happening(Happening),
    Timer,
}

impl Holder {
    async fn live(mut self, mut asked: mpsc::UnboundedReceiver<Ask>) {
        let mut killed = None;
        let (gone, success) = loop {
            let deadline = self.deadline();
            let wake = tokio::select! {
                ask = asked.recv() => Wake::Ask(ask),
                happening = self.child.happening() => Wake::Happening(happening),
                () = until(deadline) => Wake::Timer,
            };
            match wake {
                Wake::Ask(Some(Ask::Kill(done))) => {
                    killed = Some(done);
                    break (died("killed", String::new()), false);
                }
                Wake::Ask(Some(ask)) => self.ask(ask),
                Wake::Ask(None) => break (died("all who used it are gone", String::new()), false),
                Wake::Happening(Happening::Lines(lines)) => {
                    for line in lines {
                        self.line(line);
                    }
                    if self.faults > FAULTS {
                        let why = format!(
                            "the harness ended it: it broke the protocol more than {FAULTS} times, at last by {}",
                            self.last_fault
                        );
                        break (died(&why, String::new()), false);
                    }
                }
                Wake::Happening(Happening::Ended { status, success }) => {
                    let told = success && self.quitting.is_some();
                    let said = if told { String::new() } else { self.child.said() };
                    break (died(&status, said), success);
                }
                Wake::Timer => {
                    if self.overdue() {
                        break (
                            died("the harness ended it: it did not exit after `quit`", String::new()),
                            false,
                        );
                    }
                }
            }
        };
        let left = self.child.end().await;
        let idle = self.users.is_empty() && self.pending.is_empty() && self.raw.is_none() && killed.is_none();
        self.shared.with(|state| {
            state.gone = Some(gone.clone());
            state.idle = idle;
            state.left.clone_from(&left);
        });
        self.farewell(&gone, success, left);
        if let Some(done) = killed {
            // nobody may wait for it
            let _ = done.send(());
        }
        // what was asked meanwhile
        asked.close();
        while let Some(ask) = asked.recv().await {
            refuse(ask, &gone);
        }
    }

    fn farewell(&mut self, gone: &AdapterError, success: bool, left: Option<String>) {
        if let Some(quitting) = self.quitting.take() {
            let status = match gone {
                AdapterError::Died { status, .. } => status.clone(),
                other => other.to_string(),
            };
            // nobody may wait for it
            let _ = quitting.done.send(Farewell {
                replied: quitting
                    .replied
                    .unwrap_or_else(|| Err(AdapterError::Broken(format!("no reply to `quit`: {status}")))),
                status,
                success,
                left,
            });
        }
        for (_, pending) in core::mem::take(&mut self.pending) {
            self.answer(pending, Err(gone.clone()));
        }
        if let Some(raw) = self.raw.take() {
            let _ = raw.answer.send(Err(gone.clone()));
        }
        for user in self.users.values() {
            let _ = user.queue.try_send(FromAdapter::Gone(gone.clone()));
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let pending = self.pending.values().map(|one| one.deadline);
        let raw = self.raw.iter().map(|one| one.deadline);
        let quitting = self.quitting.iter().map(|one| one.until);
        pending.chain(raw).chain(quitting).min()
    }

    /// Ends what had its time; says whether the process has to be ended.
    fn overdue(&mut self) -> bool {
        let now = Instant::now();
        let over: Vec<u64> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.deadline <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            if let Some(pending) = self.pending.remove(&id) {
                self.late.insert(id);
                let silent = AdapterError::Silent {
                    operation: pending.operation.to_owned(),
                    within: pending.within,
                };
                self.answer(pending, Err(silent));
            }
        }
        if let Some(raw) = self.raw.take_if(|raw| raw.deadline <= now) {
            match raw.id {
                Some(id) => drop(self.late.insert(id)),
                None => self.stray += 1,
            }
            let _ = raw.answer.send(Err(AdapterError::Silent {
                operation: "a malformed request".to_owned(),
                within: raw.within,
            }));
        }
        self.quitting.as_ref().is_some_and(|quitting| quitting.until <= now)
    }

    fn fresh(&mut self) -> u64 {
        let id = self.next;
        self.next += 1;
        id
    }

    fn ask(&mut self, ask: Ask) {
        match ask {
            Ask::Request(operation, within, target) => {
                let id = self.fresh();
                let pending = Pending {
                    operation: operation.name(),
                    within,
                    deadline: Instant::now() + within,
                    target,
                };
                self.pending.insert(id, pending);
                self.child.write(to_line(&Request { id, operation }));
            }
            Ask::Raw(line, within, answer) => {
                let id = line.contains("{id}").then(|| self.fresh());
                let line = match id {
                    Some(id) => line.replace("{id}", &id.to_string()),
                    None => line,
                };
                self.raw = Some(RawPending {
                    id,
                    within,
                    deadline: Instant::now() + within,
                    answer,
                });
                self.child.write(format!("{line}\n"));
            }
            Ask::Attach(user, instance, queue) => {
                self.users.insert(user, User { instance, queue });
            }
            Ask::Detach(user) => {
                self.users.remove(&user);
            }
            // ends the loop before it comes here
            Ask::Kill(_) => {}
            Ask::Quit(within, done) => {
                let id = self.fresh();
                let pending = Pending {
                    operation: "quit",
                    within,
                    deadline: Instant::now() + within,
                    target: Target::Nobody,
                };
                self.pending.insert(id, pending);
                self.quitting = Some(Quitting {
                    until: Instant::now() + within + EXIT,
                    replied: None,
                    done,
                });
                self.child.write(to_line(&Request {
                    id,
                    operation: Operation::Quit,
                }));
            }
        }
    }

    fn answer(&mut self, pending: Pending, result: Result<Answer, AdapterError>) {
        if pending.operation == "quit"
            && let Some(quitting) = &mut self.quitting
        {
            quitting.replied = Some(result.map(drop));
            return;
        }
        match pending.target {
            // who asked may have stopped waiting
            Target::Once(sender) => drop(sender.send(result)),
            Target::Queue(user, id) => self.tell(user, FromAdapter::Reply { id, result }),
            Target::Nobody => {}
        }
    }

    fn tell(&mut self, user: u64, what: FromAdapter) {
        if let Some(known) = self.users.get(&user)
            && let Err(mpsc::error::TrySendError::Full(_)) = known.queue.try_send(what)
        {
            self.fault(format!("more than {QUEUE} messages at once for `{}`", known.instance));
        }
    }

    fn line(&mut self, line: Result<Vec<u8>, LineError>) {
        let message = match line.and_then(|line| parse(&line)) {
            Ok(message) => message,
            Err(error) => return self.fault(error.to_string()),
        };
        self.child.made_sense();
        match message {
            Message::Reply(reply) => self.reply(reply),
            Message::Event(Event::Hello(_)) => self.fault("it says hello a second time".to_owned()),
            // of a later version, which may have more of them
            Message::Event(Event::Unknown) if self.later => {}
            Message::Event(Event::Unknown) => self.fault(format!("an event that version {PROTOCOL} does not have")),
            Message::Event(event) => {
                let users: Vec<u64> = match event.instance() {
                    Some(instance) => {
                        let of = self.users.iter().filter(|(_, user)| user.instance == instance);
                        of.map(|(user, _)| *user).collect()
                    }
                    None => self.users.keys().copied().collect(),
                };
                for user in users {
                    self.tell(user, FromAdapter::Event(event.clone()));
                }
            }
        }
    }

    fn reply(&mut self, reply: Reply) {
        let of_raw = |raw: &mut RawPending| reply.id == 0 || raw.id == Some(reply.id);
        if let Some(raw) = self.raw.take_if(of_raw) {
            // whichever of the two ids it took, the other is spent too
            self.late.extend(raw.id.filter(|id| *id != reply.id));
            let _ = raw.answer.send(Ok(reply));
            return;
        }
        let id = reply.id;
        if id == 0 && self.stray > 0 {
            self.stray -= 1;
            return;
        }
        let Some(pending) = self.pending.remove(&id) else {
            if id != 0 && self.late.remove(&id) {
                return;
            }
            return self.fault(if id == 0 || id >= self.next {
                format!("a reply to request {id}, which nobody made")
            } else {
                format!("a second reply to request {id}")
            });
        };
        let result = match (reply.ok, reply.error) {
            (Some(answer), None) => Ok(answer),
            (_, error) => Err(AdapterError::Refused {
                operation: pending.operation.to_owned(),
                error: error.unwrap_or_else(|| ReplyError {
                    kind: ErrorKind::Failed,
                    message: String::new(),
                }),
            }),
        };
        self.answer(pending, result);
    }

    /// What it wrote breaks the protocol: nobody can say whom it was for, so all learn it.
    fn fault(&mut self, reason: String) {
        self.faults += 1;
        self.last_fault.clone_from(&reason);
        self.shared.with(|state| {
            if state.faults.len() < KEPT {
                state.faults.push(reason.clone());
            }
        });
        let error = AdapterError::Broken(reason);
        let pending = core::mem::take(&mut self.pending);
        for (id, one) in pending {
            // a case that is over still waits for its `stop`
            let parting = match one.operation {
                "quit" => true,
                "stop" => matches!(one.target, Target::Queue(..)),
                _ => false,
            };
            if parting {
                self.pending.insert(id, one);
                continue;
            }
            self.late.insert(id);
            if let Target::Once(sender) = one.target {
                let _ = sender.send(Err(error.clone()));
            }
        }
        if let Some(raw) = self.raw.take() {
            self.late.extend(raw.id);
            let _ = raw.answer.send(Err(error.clone()));
        }
        for user in self.users.values() {
            // a queue that is full has been told of worse
            let _ = user.queue.try_send(FromAdapter::Broken(error.clone()));
        }
    }
}

fn died(status: &str, said: String) -> AdapterError {
    AdapterError::Died {
        status: status.to_owned(),
        said,
    }
}

/// The answer of an adapter that is gone.
fn refuse(ask: Ask, gone: &AdapterError) {
    match ask {
        Ask::Request(_, _, Target::Once(sender)) => drop(sender.send(Err(gone.clone()))),
        Ask::Raw(_, _, sender) => drop(sender.send(Err(gone.clone()))),
        Ask::Attach(_, _, queue) => drop(queue.try_send(FromAdapter::Gone(gone.clone()))),
        Ask::Request(..) | Ask::Detach(_) => {}
        Ask::Kill(done) => drop(done.send(())),
        Ask::Quit(_, done) => drop(done.send(Farewell {
            replied: Err(gone.clone()),
            status: gone.to_string(),
            success: false,
            left: None,
        })),
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => core::future::pending().await,
    }
}
