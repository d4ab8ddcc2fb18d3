//! The conversation with the adapter of a server under test.

use core::time::Duration;

use fotaproof_adapter::{self as protocol, Event, Message, Operation, Reply, Request};
use fotaproof_lwm2m::campaign::{Task, TaskId, value_from_adapter};
use fotaproof_trace::{Blame, EventKind, Finding, FindingSource, Grade, IutEvent, Stream, Verdict};
use fotaproof_wire::coap::Code;
use fotaproof_wire::path::LwPath;
use fotaproof_wire::value::Value;

use super::super::answer::{Answer, Back};
use super::super::config::AdapterInput;
use super::super::{Output, Session};

/// Why a request was made.
#[derive(Debug)]
pub(super) enum Asked {
    /// The instance is started.
    Start,
    /// The instance is stopped by the case.
    Stop { until: Duration },
    /// The instance is started again by the case.
    Again { until: Duration },
    /// A step wants it.
    Step {
        /// What it is about, for a value without a path.
        path: Option<LwPath>,
        /// It begins an observation of an endpoint.
        observes: Option<(String, String)>,
        until: Duration,
    },
    /// A campaign of the harness wants it.
    Task {
        update: usize,
        id: TaskId,
        task: Task,
        observes: Option<(String, String)>,
    },
    /// The server is to host the package of an update.
    Hosted { update: usize, until: Duration },
    /// Nobody waits for it.
    Nobody,
}

impl Asked {
    pub(super) const fn until(&self) -> Option<Duration> {
        match self {
            Self::Step { until, .. } | Self::Stop { until } | Self::Again { until } | Self::Hosted { until, .. } => {
                Some(*until)
            }
            _ => None,
        }
    }
}

/// A message of the adapter in one line of the journal.
fn told<T: serde::Serialize>(message: &T) -> String {
    serde_json::to_string(message).unwrap_or_else(|error| error.to_string())
}

impl Session {
    /// Asks the adapter for something; gives the id of the request.
    pub(super) fn ask(&mut self, operation: Operation, why: Asked) -> u64 {
        self.tester.next_id += 1;
        let id = self.tester.next_id;
        let request = Request { id, operation };
        self.emit(EventKind::Note {
            text: format!("to the adapter: {}", told(&request)),
        });
        self.tester.waiting.insert(id, why);
        self.out.push_back(Output::Adapter(Box::new(request)));
        id
    }

    /// Takes what comes of the adapter.
    pub(in crate::session) fn adapter_input(&mut self, input: AdapterInput) {
        match input {
            AdapterInput::Broken { reason, line } => {
                let line: String = line.chars().take(400).collect();
                self.adapter_broke(&format!("the adapter breaks the protocol: {reason}"), &line);
            }
            AdapterInput::Failed { reason } => self.adapter_broke(&reason, &reason),
            AdapterInput::Died { status } => self.adapter_broke(&format!("the adapter ended: {status}"), &status),
            AdapterInput::Message(message) => {
                self.emit(EventKind::Note {
                    text: format!("from the adapter: {}", told(&message)),
                });
                match message {
                    Message::Event(event) => self.adapter_event(event),
                    Message::Reply(reply) => self.adapter_reply(reply),
                }
            }
        }
    }

    /// The adapter cannot be relied on: the case says nothing of the server.
    pub(in crate::session) fn adapter_broke(&mut self, title: &str, seen: &str) {
        let finding = Finding {
            source: FindingSource::Harness,
            grade: Grade::Must,
            blame: Blame::Adapter,
            clauses: Vec::new(),
            title: title.to_owned(),
            expected: "an adapter that keeps to its protocol".to_owned(),
            seen: seen.to_owned(),
            datagrams: Vec::new(),
            events: vec![self.event_no],
            hint: Some("`fotaproof adapter check` tries an adapter alone".to_owned()),
        };
        self.find(finding);
        self.conclude(Verdict::Error, title);
        self.finish();
    }

    /// The case asks for what cannot be.
    pub(super) fn broken_case(&mut self, why: &str) {
        self.conclude(Verdict::Error, &format!("the case cannot be carried out: {why}"));
        self.finish();
    }

    fn adapter_event(&mut self, event: Event) {
        if event
            .instance()
            .is_some_and(|instance| instance != self.config.tester.instance)
        {
            return;
        }
        match event {
            Event::Hello(hello) => self.tester.capabilities.extend(hello.capabilities),
            Event::Registered {
                endpoint, registration, ..
            } => {
                self.tester.told.entry(endpoint.clone()).or_default().registrations += 1;
                self.tester.observations.retain(|(of, _), _| *of != endpoint);
                self.update_registered(&endpoint, &registration);
                self.tester.registrations.insert(endpoint, registration);
            }
            Event::Updated {
                endpoint, registration, ..
            } => {
                self.tester.told.entry(endpoint.clone()).or_default().updates += 1;
                self.update_updated(&endpoint, &registration.address);
                if let Some(known) = self.tester.registrations.get_mut(&endpoint) {
                    known.address = registration.address;
                }
            }
            Event::Deregistered { endpoint, expired, .. } => {
                self.tester.registrations.remove(&endpoint);
                self.update_gone(&endpoint, expired);
            }
            Event::Notification {
                endpoint,
                path,
                response,
                ..
            } => {
                self.tester.told.entry(endpoint.clone()).or_default().notifications += 1;
                if let Some(value) = response.value.as_ref().and_then(value_from_adapter)
                    && let Ok(path) = path.parse::<LwPath>()
                {
                    self.update_value(&endpoint, path, value);
                }
            }
            Event::Send { endpoint, values, .. } => {
                for (path, value) in values {
                    if let (Ok(path), Some(value)) = (path.parse::<LwPath>(), value_from_adapter(&value)) {
                        self.update_value(&endpoint, path, value);
                    }
                }
            }
            Event::UpdateStatus { update, progress, .. } => self.update_told(&update, progress),
            Event::Log { text } => self.emit(EventKind::Iut(IutEvent::Output {
                stream: Stream::Stderr,
                line: text,
            })),
            Event::DeviceEnded { .. } | Event::Response { .. } | Event::Unknown => {}
        }
    }

    fn adapter_reply(&mut self, reply: Reply) {
        let Some(asked) = self.tester.waiting.remove(&reply.id) else {
            let title = format!(
                "the adapter replies to request {}, which was not made or is answered",
                reply.id
            );
            self.adapter_broke(&title, &told(&reply));
            return;
        };
        match asked {
            Asked::Start => self.start_reply(&reply),
            Asked::Stop { .. } => self.stop_reply(&reply),
            Asked::Again { .. } => self.again_reply(&reply),
            Asked::Step { path, observes, .. } => {
                self.observation(observes, &reply);
                let answer = self.answer_of(&reply, path);
                self.tester.replies.insert(reply.id, answer);
            }
            Asked::Task {
                update,
                id,
                task,
                observes,
            } => {
                self.observation(observes, &reply);
                self.update_task_done(update, id, &task, &reply);
            }
            Asked::Hosted { update, .. } => self.package_hosted(update, &reply),
            Asked::Nobody => {}
        }
    }

    fn observation(&mut self, observes: Option<(String, String)>, reply: &Reply) {
        let name = reply.ok.as_ref().and_then(|answer| answer.observation.clone());
        if let (Some(key), Some(name)) = (observes, name) {
            self.tester.observations.insert(key, name);
        }
    }

    fn start_reply(&mut self, reply: &Reply) {
        if let Some(error) = &reply.error {
            let title = format!("the server cannot be started: {}", error.message);
            self.adapter_broke(&title, &told(reply));
            return;
        }
        let addresses = reply.ok.as_ref().and_then(|answer| answer.addresses.as_ref());
        let secure = addresses.and_then(|addresses| addresses.coaps.as_ref()?.parse().ok());
        match addresses.map(|addresses| addresses.coap.parse()) {
            Some(Ok(address)) => self.server_started(address, secure),
            _ => self.adapter_broke("the reply to `start` names no address of the server", &told(reply)),
        }
    }

    /// A reply as the answer of a step.
    fn answer_of(&self, reply: &Reply, path: Option<LwPath>) -> Answer {
        use fotaproof_adapter::ErrorKind;
        if let Some(error) = &reply.error {
            let back = match error.kind {
                ErrorKind::Timeout => Back::Nothing,
                _ => Back::NotSent(format!("{:?}: {}", error.kind, error.message)),
            };
            return Answer::told_by(self.now, back, Vec::new(), None);
        }
        let Some(response) = reply.ok.as_ref().and_then(|answer| answer.response.as_ref()) else {
            // an operation that asks nothing of a device was done
            return Answer::told_by(self.now, Back::Code(Code::CHANGED), Vec::new(), None);
        };
        let Ok(code) = response.code.parse::<Code>() else {
            let back = Back::NotSent(format!("the adapter tells the response code {:?}", response.code));
            return Answer::told_by(self.now, back, Vec::new(), None);
        };
        let mut values: Vec<(LwPath, Value)> = Vec::new();
        if let (Some(path), Some(value)) = (path, response.value.as_ref().and_then(value_from_adapter)) {
            values.push((path, value));
        }
        for (path, value) in &response.values {
            if let (Ok(path), Some(value)) = (path.parse::<LwPath>(), value_from_adapter(value)) {
                values.push((path, value));
            }
        }
        Answer::told_by(self.now, Back::Code(code), values, response.text.as_deref())
    }

    /// Requests that were not replied to in time.
    pub(in crate::session) fn overdue(&mut self) -> bool {
        if !self.tester.started {
            if self.now >= self.tester.start_until {
                self.adapter_broke("the adapter does not reply to `start`", "no reply");
                return true;
            }
            return false;
        }
        let late = self
            .tester
            .waiting
            .iter()
            .find(|(_, asked)| asked.until().is_some_and(|until| self.now >= until))
            .map(|(id, _)| *id);
        let Some(id) = late else { return false };
        self.adapter_broke(
            &format!("the adapter does not reply to request {id}"),
            "no reply in time",
        );
        true
    }

    /// Whether the adapter can do all of these.
    pub(super) fn can(&self, operations: &[&str]) -> bool {
        operations
            .iter()
            .all(|operation| self.tester.capabilities.contains(*operation))
    }

    /// What the adapter is told as the file of a package.
    pub(super) fn file_of_package(&self, name: &str) -> String {
        self.config
            .tester
            .files
            .get(name)
            .cloned()
            .unwrap_or_else(|| name.to_owned())
    }

    /// The instance of this case.
    pub(super) fn instance(&self) -> String {
        self.config.tester.instance.clone()
    }
}

/// A value of a `write` as the protocol carries it.
pub(super) fn protocol_value(write: &fotaproof_cases::ast::Write) -> protocol::Value {
    if let Some(text) = &write.text {
        protocol::Value::String(text.clone())
    } else if let Some(number) = write.integer {
        protocol::Value::Integer(number)
    } else if let Some(flag) = write.boolean {
        protocol::Value::Boolean(flag)
    } else if let Some(hex) = &write.hex {
        protocol::Value::Opaque(hex.0.iter().map(|byte| format!("{byte:02x}")).collect())
    } else {
        protocol::Value::String(String::new())
    }
}
