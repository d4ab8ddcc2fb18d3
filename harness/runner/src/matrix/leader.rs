//! Who leads the update: the server by an engine of its own, or the harness's campaign by the operations of the server's library.
//!
//! Both are driven over the adapter protocol, so that the embedded server and a real one are led alike. Nothing here knows of
//! the client: all that the leader learns, it learns from the server.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use fotaproof_adapter::{
    Answer, Conditions, ErrorKind, Event, Message, Operation, Package, Progress, Reply, Request, UpdateStatus,
};
use fotaproof_lwm2m::campaign::{
    Campaign, CampaignSpec, Happening, Method, Task, TaskId, TaskOutcome, happening_of_registration, operation_of,
    outcome_of, value_from_adapter,
};
use fotaproof_reports::matrix::Way;
use fotaproof_wire::coap::Code;
use fotaproof_wire::path::LwPath;
use fotaproof_wire::value::Value;

/// Who leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// The server's own engine (`update-start`).
    Campaign,
    /// The harness, by single operations.
    Library,
}

impl Level {
    /// What a server with these capabilities offers; its own engine is preferred, as that is what it will be used with.
    pub(super) fn of(capabilities: &[String]) -> Option<Self> {
        let can = |name: &str| capabilities.iter().any(|known| known == name);
        if can("update-start") {
            Some(Self::Campaign)
        } else if ["read", "write", "execute"].into_iter().all(can) {
            Some(Self::Library)
        } else {
            None
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Campaign => "server",
            Self::Library => "harness",
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    pub(super) level: Level,
    /// The server's instance.
    pub(super) instance: String,
    /// The device.
    pub(super) endpoint: String,
    pub(super) way: Way,
    /// The package; `uris` by scheme where somebody else than the server hosts it.
    pub(super) spec: CampaignSpec,
    /// The package as the adapter can find it.
    pub(super) file: String,
    /// The library observes when told; without it the campaign reads.
    pub(super) can_observe: bool,
}

/// What a request was for.
#[derive(Debug)]
enum Pending {
    Task(TaskId, Task),
    UpdateStart,
}

/// Leads one update.
#[derive(Debug)]
pub(super) struct Leader {
    errand: Errand,
    campaign: Option<Campaign>,
    /// The campaign of the server was asked for.
    started: bool,
    progress: Progress,
    pending: BTreeMap<u64, Pending>,
    /// Names of observations, by path.
    observations: BTreeMap<LwPath, String>,
    next: u64,
    asks: VecDeque<Request>,
    notes: VecDeque<String>,
    /// What no implementation under test is to blame for.
    trouble: Option<String>,
    /// When the device was first registered.
    pub(super) registered: Option<Duration>,
    /// When each request that waits was asked for.
    asked_at: BTreeMap<u64, Duration>,
    /// The last operation that the library failed to do.
    pub(super) unable: Option<Unable>,
}

/// An operation that a library failed to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unable {
    /// When it was asked for it.
    pub(super) asked: Duration,
    /// What it was asked for, and why it failed.
    pub(super) what: String,
}

impl Leader {
    /// Requests are numbered from `first` on.
    pub(super) fn new(errand: Errand, first: u64) -> Self {
        Self {
            errand,
            campaign: None,
            started: false,
            progress: Progress::default(),
            pending: BTreeMap::new(),
            observations: BTreeMap::new(),
            next: first,
            asks: VecDeque::new(),
            notes: VecDeque::new(),
            trouble: None,
            registered: None,
            asked_at: BTreeMap::new(),
            unable: None,
        }
    }

    pub(super) const fn level(&self) -> Level {
        self.errand.level
    }

    /// The next request for the adapter.
    pub(super) fn poll_ask(&mut self) -> Option<Request> {
        self.asks.pop_front()
    }

    /// The next remark.
    pub(super) fn poll_note(&mut self) -> Option<String> {
        self.notes.pop_front()
    }

    /// Where the update is.
    pub(super) const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Whether nothing more will come.
    pub(super) const fn is_over(&self) -> bool {
        self.trouble.is_some() || self.progress.status.is_final()
    }

    /// Why no implementation is to blame.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    pub(super) fn poll_deadline(&self) -> Option<Duration> {
        self.campaign.as_ref().and_then(Campaign::poll_deadline)
    }

    pub(super) fn handle_timeout(&mut self, now: Duration) {
        if let Some(campaign) = &mut self.campaign
            && campaign.poll_deadline().is_some_and(|at| at <= now)
        {
            campaign.handle_timeout(now);
            self.pump(now);
        }
    }

    /// Takes what the adapter says.
    pub(super) fn handle(&mut self, now: Duration, message: Message) {
        match message {
            Message::Reply(reply) => self.reply(now, reply),
            Message::Event(event) => self.event(now, event),
        }
        self.pump(now);
    }

    fn ask(&mut self, now: Duration, operation: Operation, pending: Pending) {
        let id = self.next;
        self.next += 1;
        self.asked_at.insert(id, now);
        self.pending.insert(id, pending);
        self.asks.push_back(Request { id, operation });
    }

    fn reply(&mut self, now: Duration, reply: Reply) {
        let asked = self.asked_at.remove(&reply.id).unwrap_or(now);
        let Some(pending) = self.pending.remove(&reply.id) else {
            return;
        };
        if let Some(error) = &reply.error
            && matches!(
                error.kind,
                ErrorKind::UnknownOperation | ErrorKind::Unsupported | ErrorKind::BadRequest | ErrorKind::Unknown
            )
        {
            let what = match &pending {
                Pending::Task(_, task) => in_words(task),
                Pending::UpdateStart => "the update".to_owned(),
            };
            self.trouble = Some(format!(
                "the adapter refused {what} ({}): {}",
                kind_word(error.kind),
                error.message
            ));
            return;
        }
        match pending {
            Pending::Task(task, wanted) => {
                let outcome = match &wanted {
                    Task::CancelObservation(path) => {
                        self.observations.remove(path);
                        match &reply.error {
                            // the end of an observation has no answer of the device that would say more
                            None => TaskOutcome::code(Code::CONTENT),
                            Some(_) => outcome_of(&reply, &wanted),
                        }
                    }
                    _ => outcome_of(&reply, &wanted),
                };
                if let Task::Observe(path) = &wanted
                    && let Some(Answer {
                        observation: Some(name),
                        ..
                    }) = &reply.ok
                {
                    self.observations.insert(*path, name.clone());
                }
                if let TaskOutcome::Failed(why) = &outcome {
                    self.unable = Some(Unable {
                        asked,
                        what: format!("{}: {why}", in_words(&wanted)),
                    });
                }
                self.notes
                    .push_back(format!("{}: {}", in_words(&wanted), outcome_in_words(&outcome)));
                self.tell(now, Happening::Done { task, outcome });
            }
            Pending::UpdateStart => {
                if let Some(error) = reply.error {
                    self.progress.status = UpdateStatus::Failed;
                    self.progress.reason = Some(format!("the server did not begin: {}", error.message));
                }
            }
        }
    }

    fn tell(&mut self, now: Duration, happening: Happening) {
        if let Some(campaign) = &mut self.campaign {
            campaign.handle(now, happening);
        }
    }

    fn event(&mut self, now: Duration, event: Event) {
        let endpoint = self.errand.endpoint.clone();
        let mine = move |other: &str| other == endpoint;
        match event {
            Event::Registered {
                endpoint, registration, ..
            } if mine(&endpoint) => {
                self.notes.push_back(format!(
                    "registered: {} at {}, LwM2M {}",
                    endpoint, registration.address, registration.lwm2m
                ));
                self.registered.get_or_insert(now);
                self.begin(now);
                self.observations.clear();
                let happening = happening_of_registration(&registration);
                self.tell(now, happening);
            }
            Event::Updated {
                endpoint, registration, ..
            } if mine(&endpoint) => {
                let address = registration.address;
                self.tell(now, Happening::Updated { address });
            }
            Event::Deregistered { endpoint, expired, .. } if mine(&endpoint) => {
                self.notes.push_back(if expired {
                    "the registration expired".to_owned()
                } else {
                    "de-registered".to_owned()
                });
                let happening = if expired {
                    Happening::Expired
                } else {
                    Happening::Deregistered
                };
                self.tell(now, happening);
            }
            Event::Notification {
                endpoint,
                path,
                response,
                ..
            } if mine(&endpoint) => {
                let single = response.value.as_ref().and_then(value_from_adapter);
                let single = single.or_else(|| response.text.map(Value::String));
                let single = single.map(|value| (path, value));
                let more = response
                    .values
                    .iter()
                    .filter_map(|(path, value)| Some((path.clone(), value_from_adapter(value)?)));
                for (path, value) in single.into_iter().chain(more) {
                    if let Ok(path) = path.parse::<LwPath>() {
                        self.notes.push_back(format!("notification {path}: {value:?}"));
                        self.tell(now, Happening::Value { path, value });
                    }
                }
            }
            Event::Send { endpoint, values, .. } if mine(&endpoint) => {
                for (path, value) in values {
                    if let (Ok(path), Some(value)) = (path.parse::<LwPath>(), value_from_adapter(&value)) {
                        self.tell(now, Happening::Value { path, value });
                    }
                }
            }
            Event::UpdateStatus { update, progress, .. } if update == UPDATE && !self.progress.status.is_final() => {
                self.notes.push_back(progress_in_words(&progress));
                self.progress = progress;
            }
            Event::Log { text } => self.notes.push_back(format!("adapter: {text}")),
            _ => {}
        }
    }

    /// The device is there for the first time.
    fn begin(&mut self, now: Duration) {
        if core::mem::replace(&mut self.started, true) {
            return;
        }
        let errand = &self.errand;
        match errand.level {
            Level::Library => self.campaign = Some(Campaign::new(now, errand.spec.clone())),
            Level::Campaign => {
                let operation = Operation::UpdateStart {
                    instance: errand.instance.clone(),
                    update: UPDATE.to_owned(),
                    endpoint: errand.endpoint.clone(),
                    package: Package {
                        file: errand.file.clone(),
                        version: errand.spec.version.clone(),
                        uris: errand.spec.uris.clone(),
                    },
                    method: method_of(errand.way),
                    conditions: Conditions::default(),
                };
                self.ask(now, operation, Pending::UpdateStart);
            }
        }
    }

    /// Turns tasks of the campaign into requests.
    fn pump(&mut self, now: Duration) {
        while let Some((id, task)) = self.campaign.as_mut().and_then(Campaign::poll_task) {
            let errand = &self.errand;
            let operation = match &task {
                Task::CancelTask(other) => {
                    self.pending
                        .retain(|_, pending| !matches!(pending, Pending::Task(known, _) if known == other));
                    continue;
                }
                Task::CancelObservation(path) => self.observations.get(path).map(|name| Operation::Cancel {
                    instance: errand.instance.clone(),
                    observation: name.clone(),
                }),
                Task::Observe(_) if !errand.can_observe => {
                    let outcome = TaskOutcome::code(Code::METHOD_NOT_ALLOWED);
                    self.tell(now, Happening::Done { task: id, outcome });
                    continue;
                }
                task => operation_of(task, &errand.instance, &errand.endpoint, &errand.file),
            };
            match operation {
                Some(operation) => self.ask(now, operation, Pending::Task(id, task)),
                None => {
                    // an observation that is not there is ended
                    let outcome = TaskOutcome::code(Code::CONTENT);
                    self.tell(now, Happening::Done { task: id, outcome });
                }
            }
        }
        if let Some(campaign) = &self.campaign {
            let progress = campaign.progress();
            if progress.status != self.progress.status {
                self.notes.push_back(progress_in_words(&progress));
            }
            self.progress = progress;
        }
    }
}

/// Name of the update of a cell.
const UPDATE: &str = "update";

/// The method of a way.
pub(super) const fn method_of(way: Way) -> Method {
    match way {
        Way::Push => Method::Push,
        Way::Pull => Method::Pull,
    }
}

/// An error kind as the protocol writes it.
const fn kind_word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::UnknownOperation => "unknown-operation",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::BadRequest => "bad-request",
        ErrorKind::Unknown => "unknown",
        ErrorKind::NotRegistered => "not-registered",
        ErrorKind::Timeout => "timeout",
        ErrorKind::Failed => "failed",
    }
}

fn in_words(task: &Task) -> String {
    match task {
        Task::Read(path) => format!("read {path}"),
        Task::Observe(path) => format!("observe {path}"),
        Task::CancelObservation(path) => format!("cancel the observation of {path}"),
        Task::Write { path, .. } => format!("write {path}"),
        Task::Push { .. } => "push the package".to_owned(),
        Task::Execute(path) => format!("execute {path}"),
        Task::CancelTask(task) => format!("cancel task {}", task.0),
    }
}

fn outcome_in_words(outcome: &TaskOutcome) -> String {
    match outcome {
        TaskOutcome::Code { code, values } => values.iter().fold(code.to_string(), |text, (path, value)| {
            format!("{text} {path}={value:?}")
        }),
        TaskOutcome::Timeout => "nothing came back".to_owned(),
        TaskOutcome::Reset => "reset".to_owned(),
        TaskOutcome::Superseded => "overtaken by a new registration".to_owned(),
        TaskOutcome::Failed(why) => format!("failed: {why}"),
    }
}

/// The status as the protocol writes it.
pub(super) const fn status_word(status: UpdateStatus) -> &'static str {
    match status {
        UpdateStatus::Waiting => "waiting",
        UpdateStatus::Transferring => "transferring",
        UpdateStatus::Downloaded => "downloaded",
        UpdateStatus::Updating => "updating",
        UpdateStatus::Deferred => "deferred",
        UpdateStatus::Paused => "paused",
        UpdateStatus::Succeeded => "succeeded",
        UpdateStatus::Failed => "failed",
        UpdateStatus::Cancelled => "cancelled",
    }
}

fn progress_in_words(progress: &Progress) -> String {
    let mut text = format!("update {}", status_word(progress.status));
    for (name, number) in [("State", progress.state), ("Result", progress.result)] {
        if let Some(number) = number {
            text += &format!(", {name} {number}");
        }
    }
    if let Some(reason) = &progress.reason {
        text += &format!(": {reason}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use fotaproof_adapter::{Registration, ReplyError};

    fn leader(level: Level) -> Leader {
        Leader::new(
            Errand {
                level,
                instance: "m".to_owned(),
                endpoint: "dev".to_owned(),
                way: Way::Push,
                spec: CampaignSpec {
                    package: vec![1; 64].into(),
                    version: "2.0.0".to_owned(),
                    method: Method::Push,
                    ..CampaignSpec::default()
                },
                file: "/tmp/package.bin".to_owned(),
                can_observe: true,
            },
            100,
        )
    }

    fn registered(endpoint: &str) -> Message {
        Message::Event(Event::Registered {
            instance: "m".to_owned(),
            endpoint: endpoint.to_owned(),
            registration: Registration {
                lwm2m: "1.1".to_owned(),
                links: "</1/0>,</3/0>,</5>;ver=1.1,</5/0>".to_owned(),
                ..Registration::default()
            },
        })
    }

    #[test]
    fn a_server_with_an_engine_is_asked_for_the_update_once() {
        let mut leader = leader(Level::Campaign);
        leader.handle(Duration::ZERO, registered("another"));
        assert!(leader.poll_ask().is_none());
        leader.handle(Duration::from_secs(1), registered("dev"));
        leader.handle(Duration::from_secs(9), registered("dev"));
        let asked = leader.poll_ask().unwrap();
        assert_eq!((asked.id, asked.operation.name()), (100, "update-start"));
        assert!(leader.poll_ask().is_none());
        assert_eq!(leader.registered, Some(Duration::from_secs(1)));
        let status = |status, at| {
            Message::Event(Event::UpdateStatus {
                instance: "m".to_owned(),
                update: at,
                progress: Progress {
                    status,
                    ..Progress::default()
                },
            })
        };
        leader.handle(
            Duration::from_secs(10),
            status(UpdateStatus::Failed, "another".to_owned()),
        );
        assert!(!leader.is_over());
        leader.handle(
            Duration::from_secs(10),
            status(UpdateStatus::Succeeded, UPDATE.to_owned()),
        );
        assert!(leader.is_over());
    }

    #[test]
    fn an_adapter_that_cannot_do_it_is_no_failure_of_the_server() {
        for (kind, is_trouble) in [(ErrorKind::Unsupported, true), (ErrorKind::Failed, false)] {
            let mut leader = leader(Level::Campaign);
            leader.handle(Duration::ZERO, registered("dev"));
            leader.handle(
                Duration::ZERO,
                Message::Reply(Reply {
                    id: 100,
                    ok: None,
                    error: Some(ReplyError {
                        kind,
                        message: "no".to_owned(),
                    }),
                }),
            );
            assert_eq!(leader.trouble().is_some(), is_trouble);
            assert!(leader.is_over());
        }
    }

    #[test]
    fn the_level_follows_from_what_the_adapter_can_do() {
        let of = |words: &[&str]| Level::of(&words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["start", "update-start", "read"]), Some(Level::Campaign));
        assert_eq!(of(&["start", "read", "write", "execute"]), Some(Level::Library));
        assert_eq!(of(&["start", "read"]), None);
    }
}
