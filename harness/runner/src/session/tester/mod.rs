//! What is only for a server under test: devices of the harness, the adapter, updates and their judgement.

mod adapter;
mod credentials;
pub(crate) mod device;
mod judge;
mod life;
pub(crate) mod secure;
mod setup;
mod steps;
mod updates;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use fotaproof_adapter as protocol;
use fotaproof_cases::ast::{Role, Span};
use fotaproof_lwm2m::device::{DeviceAct, DeviceInput};
use fotaproof_trace::{Blame, EventKind, Finding, FindingSource, Grade, IutEvent, Sample, SampleSource, Verdict};

use self::adapter::Asked;
use self::device::TestDevice;
use self::updates::UpdateRun;
use super::answer::Answer;
use super::{Closing, Output, Session};

/// How long the server has to answer at the end of a case: MAX_TRANSMIT_WAIT (RFC 7252 section 4.8.2).
const LAST_ANSWER: Duration = Duration::from_secs(93);

/// How many events of an endpoint the adapter told.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    registrations: u64,
    updates: u64,
    notifications: u64,
}

/// Memory of a session with a server under test, beside the devices, which live in the world.
#[derive(Debug, Default)]
pub(crate) struct Tester {
    /// The instance can be reached.
    pub(super) started: bool,
    /// Until when the reply to `start` is waited for.
    start_until: Duration,
    /// The ports that the instance had when it was started first: for CoAP, and for CoAP over DTLS.
    ports: (u16, Option<u16>),
    next_id: u64,
    /// What the adapter can do.
    capabilities: BTreeSet<String>,
    /// Requests without a reply, and why they were made.
    waiting: BTreeMap<u64, Asked>,
    /// Replies that a step waits for.
    pub(super) replies: BTreeMap<u64, Answer>,
    /// Names of observations by endpoint and path.
    observations: BTreeMap<(String, String), String>,
    /// How much the adapter told of each endpoint.
    told: BTreeMap<String, Told>,
    /// The last registration that the adapter told, by endpoint.
    registrations: BTreeMap<String, protocol::Registration>,
    pub(super) updates: Vec<UpdateRun>,
    /// Answers to requests that devices sent for the case, by tag.
    pub(super) answers: BTreeMap<u32, Answer>,
    next_tag: u32,
    /// Registers of any device that were accepted.
    pub(super) registered: usize,
}

impl Session {
    /// Whether the IUT is a server.
    pub(super) fn is_tester(&self) -> bool {
        self.config.case.role.value == Role::Server
    }

    /// Asks the adapter for an instance.
    pub(super) fn start_server(&mut self) {
        self.tester.capabilities = self.config.tester.capabilities.iter().cloned().collect();
        self.tester.start_until = self.now + self.config.tester.patience;
        if let Err(why) = credentials::of_server(&self.config) {
            self.broken_case(&why);
            return;
        }
        let operation = self.start_operation();
        self.ask(operation, Asked::Start);
    }

    /// The `start` of the case.
    fn start_operation(&self) -> protocol::Operation {
        let mut tester = self.config.tester.clone();
        // what is wrong with it was told before
        let security = credentials::of_server(&self.config).ok().flatten();
        if security.is_some() {
            tester.listen.secure_port.get_or_insert(0);
        }
        protocol::Operation::Start {
            instance: tester.instance,
            listen: tester.listen,
            security,
            timings: self.wished_timings(),
            folder: tester.folder,
        }
    }

    /// What the case wishes the server's timings to be, over what the run wishes.
    fn wished_timings(&self) -> Option<protocol::Timings> {
        let of_run = self.config.tester.timings.clone();
        let Some(wishes) = self.config.case.timings else {
            return of_run;
        };
        let millis = |span: Option<Span>| span.map(|span| u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX));
        let of_run = of_run.unwrap_or_default();
        Some(protocol::Timings {
            ack_timeout_ms: millis(wishes.ack_timeout).or(of_run.ack_timeout_ms),
            max_retransmit: wishes.max_retransmit.or(of_run.max_retransmit),
            response_timeout_ms: millis(wishes.response_timeout).or(of_run.response_timeout_ms),
        })
    }

    /// The instance can be reached: the devices come to life.
    pub(super) fn server_started(&mut self, address: SocketAddr, secure: Option<SocketAddr>) {
        self.config.addresses.server = address;
        self.world.addresses.server = address;
        self.tester.ports = (address.port(), secure.map(|secure| secure.port()));
        self.facts.iut_address = Some(address);
        self.server_named([address].into_iter().chain(secure));
        self.facts.iut_running = true;
        self.tester.started = true;
        self.emit(EventKind::Iut(IutEvent::Started));
        let case = self.config.case.clone();
        for (i, (name, setup)) in fotaproof_cases::devices::devices(&case).iter().enumerate() {
            let host = match self.config.addresses.devices.get(name) {
                Some(host) => *host,
                None => continue,
            };
            let address = match (&setup.security, secure) {
                (None, _) => address,
                (Some(_), Some(secure)) => secure,
                (Some(_), None) => {
                    let title = "the reply to `start` names no address for DTLS, and the case needs one";
                    self.adapter_broke(title, &format!("coap at {address} alone"));
                    return;
                }
            };
            let number = i as u64;
            let made = setup::device_config(name, setup, &self.config, address, number).and_then(|config| {
                let secured = setup
                    .security
                    .as_ref()
                    .map(|security| credentials::of_device(&self.config, name, security, address, number))
                    .transpose()?;
                Ok(TestDevice::new(config, host, secured))
            });
            let mut device = match made {
                Ok(device) => device,
                Err(why) => {
                    self.broken_case(&format!("device {name}: {why}"));
                    return;
                }
            };
            if setup.start.unwrap_or(true) {
                device.handle(self.now, DeviceInput::PowerOn);
            }
            self.world.devices.insert(name.clone(), device);
        }
    }

    /// The name of the device that something is about.
    pub(super) fn device_name(name: Option<&fotaproof_cases::ast::At<String>>) -> String {
        name.map_or_else(|| fotaproof_cases::devices::MAIN.to_owned(), |at| at.value.clone())
    }

    /// A device had its turn.
    pub(super) fn device_turn(&mut self, name: &str) {
        let Some(device) = self.world.devices.get_mut(name) else {
            return;
        };
        let changes = device.refresh();
        if changes.are_none() {
            return;
        }
        let address = device.address();
        let config = device.config();
        let registration = fotaproof_trace::Registration {
            endpoint: config.endpoint.clone(),
            location: device.truth.location.clone(),
            from: address,
            version: config.lwm2m_text.clone().unwrap_or_else(|| config.lwm2m.to_string()),
            lifetime: config.lifetime,
            objects: Vec::new(),
            new: device.truth.registrations == 1,
        };
        for _ in 0..changes.registrations {
            self.tester.registered += 1;
            self.emit(EventKind::Registered(registration.clone()));
        }
        for _ in 0..changes.updates {
            self.facts.updates.push(self.now);
            self.emit(EventKind::Updated(registration.clone()));
        }
        if changes.deregistered {
            self.facts.deregistrations.push(self.now);
            self.emit(EventKind::Deregistered {
                endpoint: registration.endpoint.clone(),
                location: registration.location,
                from: address,
            });
        }
        for (_, state, result) in &changes.pairs {
            if name == fotaproof_cases::devices::MAIN {
                self.emit(EventKind::Sample(Sample {
                    object: 5,
                    state: Some(*state),
                    result: Some(*result),
                    by: SampleSource::Truth,
                }));
            } else {
                self.emit(EventKind::Note {
                    text: format!("device {name}: {state}/{result}"),
                });
            }
            self.judge_never(5, *state, Some(name));
        }
        for answer in changes.answers {
            self.device_answer(answer);
        }
    }

    /// Whether every device that is on is registered.
    pub(super) fn all_registered(&self) -> bool {
        let mut on = self.world.devices.values().filter(|device| device.wanted).peekable();
        on.peek().is_some() && on.all(|device| device.truth.registered)
    }

    /// When something is due that only this part knows.
    pub(super) fn tester_deadline(&self) -> Option<Duration> {
        let start = (self.is_tester() && !self.tester.started).then_some(self.tester.start_until);
        let waiting = self.tester.waiting.values().filter_map(Asked::until).min();
        let updates = self.tester.updates.iter().filter_map(UpdateRun::poll_deadline).min();
        [start, waiting, updates].into_iter().flatten().min()
    }

    /// Where a device is.
    pub(super) fn device_address(&self, name: &str) -> SocketAddr {
        match self.world.devices.get(name) {
            Some(device) => device.address(),
            None => self.config.addresses.stranger,
        }
    }

    /// A word of a case that only the run knows: `{device.main.location}`.
    pub(super) fn device_word(&self, name: &str, part: &str) -> Option<String> {
        let device = self.world.devices.get(name)?;
        match part {
            "endpoint" => Some(device.config().endpoint.clone()),
            "location" => device.locations.last().cloned(),
            // that of the registration before the last
            "old-location" => device.locations.iter().rev().nth(1).cloned(),
            _ => None,
        }
    }

    /// The script is over: the server must still answer a device.
    pub(super) fn begin_closing_tester(&mut self) {
        let wanted = self.config.case.liveness.unwrap_or(true) && !self.script.stopped && self.facts.iut_running;
        let registered = self
            .world
            .devices
            .iter()
            .find(|(_, device)| device.truth.powered && device.truth.registered && !device.truth.asleep)
            .map(|(name, _)| name.clone());
        let now = self.now;
        self.script.closing = match registered.filter(|_| wanted) {
            Some(name) => {
                if let Some(device) = self.world.devices.get_mut(&name) {
                    device.act(now, DeviceAct::ClearBehaviours);
                    device.act(now, DeviceAct::Update);
                }
                Closing::Update {
                    device: name,
                    until: now + LAST_ANSWER,
                    heard: self.world.heard,
                }
            }
            None => Closing::Done,
        };
    }

    /// Waits for the answer to the last Update.
    pub(super) fn close_tester(&mut self) -> bool {
        let Closing::Update { device, until, heard } = &self.script.closing else {
            return false;
        };
        if self.world.heard == *heard && self.now < *until {
            return false;
        }
        if self.world.heard == *heard {
            let name = device.clone();
            match self.excuse() {
                Some(excuse) => self.conclude(
                    Verdict::Inconclusive,
                    &format!("no answer at the end of the case; {excuse}"),
                ),
                None => self.find(Finding {
                    source: FindingSource::Harness,
                    grade: Grade::Must,
                    blame: Blame::Iut,
                    clauses: vec!["oma-core/6.2.2".to_owned()],
                    title: "the server no longer answers at the end of the case".to_owned(),
                    expected: format!("an answer to an Update of device {name}"),
                    seen: format!("nothing in {} s", LAST_ANSWER.as_secs()),
                    datagrams: Vec::new(),
                    events: Vec::new(),
                    hint: None,
                }),
            }
        }
        self.finish();
        true
    }

    /// Ends the instance.
    pub(super) fn stop_server(&mut self) {
        if !self.is_tester() || !self.tester.started || !self.facts.iut_running {
            return;
        }
        self.tester.next_id += 1;
        self.out.push_back(Output::Adapter(Box::new(protocol::Request {
            id: self.tester.next_id,
            operation: protocol::Operation::Stop {
                instance: self.config.tester.instance.clone(),
            },
        })));
    }
}
