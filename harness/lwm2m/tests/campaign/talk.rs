//! A campaign and someone who plays device and driver at once.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use fotaproof_lwm2m::campaign::{Campaign, CampaignSpec, Happening, Task, TaskId, TaskOutcome, UpdateStatus};
use fotaproof_lwm2m::{ServerDefect, Version};
use fotaproof_wire::coap::Code;
use fotaproof_wire::{LwPath, Value};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const STATE: LwPath = LwPath::resource(5, 0, 3);
pub(crate) const RESULT: LwPath = LwPath::resource(5, 0, 5);

/// An update to 2.0.0 with a URI on CoAP.
pub(crate) fn spec() -> CampaignSpec {
    CampaignSpec {
        package: Bytes::from_static(&[7; 1024]),
        version: "2.0.0".to_owned(),
        uris: BTreeMap::from([("coap".to_owned(), "coap://192.0.2.1/fw".to_owned())]),
        ..CampaignSpec::default()
    }
}

/// What the device is and shows; reads are answered from it.
#[derive(Clone)]
pub(crate) struct Shown {
    pub state: i64,
    pub result: i64,
    pub delivery: Option<i64>,
    pub protocols: Option<Vec<i64>>,
    pub version: Option<String>,
    pub signal: Option<i64>,
    pub object5: Version,
}

impl Default for Shown {
    fn default() -> Self {
        Self {
            state: 0,
            result: 0,
            delivery: Some(2),
            protocols: Some(vec![0]),
            version: Some("1.0.0".to_owned()),
            signal: Some(-80),
            object5: Version::V1_1,
        }
    }
}

pub(crate) struct Talk {
    pub now: Duration,
    pub campaign: Campaign,
    pub shown: Shown,
    /// All tasks so far, in words.
    pub tasks: Vec<String>,
    /// The task that waits for its outcome.
    pub open: Option<(TaskId, Task)>,
}

pub(crate) fn words(task: &Task) -> String {
    match task {
        Task::Read(path) => format!("read {path}"),
        Task::Observe(path) => format!("observe {path}"),
        Task::CancelObservation(path) => format!("end the observation of {path}"),
        Task::Write {
            path,
            value: Value::String(text),
        } => format!("write {path} {text:?}"),
        Task::Write { path, value } => format!("write {path} {value:?}"),
        Task::Push { block: None } => "push".to_owned(),
        Task::Push { block: Some(block) } => format!("push in blocks of {block}"),
        Task::Execute(path) => format!("execute {path}"),
        Task::CancelTask(_) => "stop what is under way".to_owned(),
    }
}

impl Talk {
    pub(crate) fn new(spec: CampaignSpec, shown: Shown) -> Self {
        let mut talk = Self {
            now: Duration::ZERO,
            campaign: Campaign::new(Duration::ZERO, spec),
            shown,
            tasks: Vec::new(),
            open: None,
        };
        talk.register();
        talk
    }

    pub(crate) fn wrong(defect: ServerDefect, shown: Shown) -> Self {
        let mut spec = spec();
        spec.defects.insert(defect);
        Self::new(spec, shown)
    }

    /// The device registers and answers what is read or observed, until something else is asked of it.
    pub(crate) fn register(&mut self) {
        let happening = Happening::Registered {
            object5: Some(self.shown.object5),
            lwm2m: Version::V1_1,
            binding: "U".to_owned(),
            address: "192.0.2.10:40000".to_owned(),
        };
        self.campaign.handle(self.now, happening);
        self.go_on();
    }

    /// Collects tasks and answers reads.
    pub(crate) fn go_on(&mut self) {
        while let Some((id, task)) = self.campaign.poll_task() {
            self.tasks.push(words(&task));
            match &task {
                Task::CancelTask(stopped) => {
                    if self.open.as_ref().is_some_and(|(open, _)| open == stopped) {
                        self.open = None;
                    }
                }
                Task::Read(path) | Task::Observe(path) => {
                    let outcome = self.read(*path);
                    self.campaign.handle(self.now, Happening::Done { task: id, outcome });
                }
                _ => self.open = Some((id, task)),
            }
        }
    }

    fn read(&self, path: LwPath) -> TaskOutcome {
        let one = |value: Option<i64>| {
            value.map_or_else(
                || TaskOutcome::code(Code::NOT_FOUND),
                |number| TaskOutcome::content(path, Value::Integer(number)),
            )
        };
        match path.to_string().as_str() {
            "/5/0/3" => one(Some(self.shown.state)),
            "/5/0/5" => one(Some(self.shown.result)),
            "/5/0/9" => one(self.shown.delivery),
            "/4/0/2" => one(self.shown.signal),
            "/3/0/3" => match &self.shown.version {
                Some(version) => TaskOutcome::content(path, Value::String(version.clone())),
                None => TaskOutcome::code(Code::NOT_FOUND),
            },
            "/5/0/8" => match &self.shown.protocols {
                Some(protocols) => TaskOutcome::Code {
                    code: Code::CONTENT,
                    values: (0..)
                        .zip(protocols)
                        .map(|(at, number)| (LwPath::resource_instance(5, 0, 8, at), Value::Integer(*number)))
                        .collect(),
                },
                None => TaskOutcome::code(Code::NOT_FOUND),
            },
            _ => TaskOutcome::code(Code::NOT_FOUND),
        }
    }

    /// What the campaign waits for, in words.
    pub(crate) fn asked(&self) -> String {
        self.open
            .as_ref()
            .map_or_else(|| "nothing".to_owned(), |(_, task)| words(task))
    }

    /// The open task comes to this.
    pub(crate) fn outcome(&mut self, outcome: TaskOutcome) {
        let (task, _) = self.open.take().expect("a task is open");
        self.campaign.handle(self.now, Happening::Done { task, outcome });
        self.go_on();
    }

    /// The open task is answered with this code.
    pub(crate) fn answered(&mut self, code: Code) {
        self.outcome(TaskOutcome::code(code));
    }

    /// The device changes and tells it.
    pub(crate) fn notify(&mut self, state: i64, result: i64) {
        self.changes(state, result);
        for (path, number) in [(STATE, state), (RESULT, result)] {
            let value = Value::Integer(number);
            self.campaign.handle(self.now, Happening::Value { path, value });
        }
        self.go_on();
    }

    /// The device changes and does not tell it.
    pub(crate) const fn changes(&mut self, state: i64, result: i64) {
        self.shown.state = state;
        self.shown.result = result;
    }

    /// Time passes.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.campaign.poll_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.campaign.handle_timeout(self.now);
            self.go_on();
        }
        self.now = end;
    }

    pub(crate) fn status(&self) -> UpdateStatus {
        self.campaign.progress().status
    }

    pub(crate) fn reason(&self) -> String {
        self.campaign.progress().reason.unwrap_or_default()
    }

    /// From the register to the answer of the last block.
    pub(crate) fn pushed(spec: CampaignSpec) -> Self {
        let mut talk = Self::new(spec, Shown::default());
        talk.answered(Code::CHANGED);
        talk
    }

    /// From the register to the answer of the Execute.
    pub(crate) fn executed(spec: CampaignSpec) -> Self {
        let mut talk = Self::pushed(spec);
        talk.notify(2, 0);
        assert_eq!(talk.asked(), "execute /5/0/2");
        talk.answered(Code::CHANGED);
        talk
    }
}
