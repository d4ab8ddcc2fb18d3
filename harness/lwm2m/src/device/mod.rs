//! The reference device: an LwM2M client with a firmware object, as a state machine.
//!
//! A [`Device`] is fed with [`DeviceInput`]s and asked for [`DeviceOutput`]s and its next deadline; a driver owns the sockets and the clock. What must survive a reboot or a power cut is in
//! [`Flash`], everything else is lost with the power. By default it is correct; each [`Defect`](crate::Defect) of its configuration makes it wrong in one way.
//!
//! | part | does |
//! |---|---|
//! | `power` | boot, reboot, stop, power cut |
//! | `register` | Register, Update, De-register |
//! | `dispatch` | requests of the server to operations |
//! | `data`, `write` | the resources that can be read, written and executed |
//! | `observe` | notifications and their attributes |
//! | `push`, `pull` | the two ways a package comes in |
//! | `behaviour`, `act` | what a tester of servers makes it do: reactions to requests, orders |
//! | `script`, `orders` | carry them out |
//! | `truth` | what it really did, for the judgement over a server |
//! | `update`, `install` | the state machine of object 5 around them, and the installation |
//!
//! Choices where the specifications leave one are written down in `docs/` and beside the code. In short: State turns 1 when the first block or the URI is accepted; errors of the process
//! are reported through Update Result only; a write that has no arrow is refused with 4.00 while downloading or downloaded and with 4.05 while updating; a reset while downloading resets.

mod act;
mod answer;
mod behaviour;
mod config;
mod data;
mod dispatch;
mod flash;
mod install;
mod io;
mod observe;
mod orders;
mod power;
mod pull;
mod push;
mod register;
mod script;
mod truth;
mod update;
mod uri;
mod write;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use fotaproof_coap::{Endpoint, Event, RequestId};
use fotaproof_wire::{LwPath, Value};

use crate::Defect;
use crate::defects::DefectSet;
use crate::definitions::Versions;

use answer::Answer;

pub use act::{ActAnswer, DeviceAct, Resend};
pub use behaviour::{Act, Behaviour, NumSelect, OnRequest};
pub use config::DeviceConfig;
pub use flash::{Flash, PullRecord, ReceivedRecord, Verdict};
pub use io::{DeviceInput, DeviceOutput, SocketId};
pub use truth::{DeviceTruth, Executed};
pub use uri::{CoapUri, Host, UriError, parse as parse_uri};

/// The reference device.
#[derive(Debug)]
pub struct Device {
    config: DeviceConfig,
    defects: DefectSet,
    versions: Versions,
    flash: Flash,
    outputs: VecDeque<DeviceOutput>,
    power: power::Power,
    next_socket: u32,
    ram: Ram,
    /// The behaviours, with how often each was met.
    behaviours: Vec<script::Met>,
    /// What was counted since the first boot.
    tally: DeviceTruth,
    /// Values shown in place of the true ones.
    shown: BTreeMap<LwPath, Value>,
    /// The power cut of the settings happened.
    cut_done: bool,
    /// State and Update Result as the last Send told them.
    sent_pair: Option<(i64, i64)>,
    /// Answers to requests of a tester.
    answers: VecDeque<ActAnswer>,
    /// The last time it was told.
    clock: Duration,
}

/// What is lost with the power.
#[derive(Debug)]
struct Ram {
    socket: SocketId,
    endpoint: Endpoint,
    registration: register::Registration,
    observe: observe::Observe,
    push: push::Push,
    pulls: Vec<pull::Pull>,
    update: update::Update,
    /// Answers that wait for the flash.
    pending: Vec<Pending>,
    attributes: BTreeMap<LwPath, observe::Attributes>,
    default_pmin: u32,
    default_pmax: u32,
    /// What a defect makes of the object: its instance is gone.
    firmware_deleted: bool,
    /// Requests within the present second, for a defect.
    flood: (u64, u32),
    script: script::Script,
}

#[derive(Debug)]
struct Pending {
    at: Duration,
    id: RequestId,
    packet: coap_lite::Packet,
}

impl Device {
    /// A device that is off.
    pub fn new(config: DeviceConfig, flash: Flash) -> Self {
        let defects: DefectSet = config.defects.iter().copied().collect();
        let versions = config.versions();
        let ram = Ram::new(&config, defects, 0, SocketId(0));
        let behaviours = config.behaviours.iter().cloned().map(script::Met::new).collect();
        let shown = config.values.clone();
        Self {
            config,
            defects,
            versions,
            flash,
            outputs: VecDeque::new(),
            power: power::Power::Off,
            next_socket: 0,
            ram,
            behaviours,
            tally: DeviceTruth::default(),
            shown,
            cut_done: false,
            sent_pair: None,
            answers: VecDeque::new(),
            clock: Duration::ZERO,
        }
    }

    /// The settings.
    pub fn config(&self) -> &DeviceConfig {
        &self.config
    }

    /// What survives.
    pub fn flash(&self) -> &Flash {
        &self.flash
    }

    /// What it claims, in the words of the case library.
    pub fn claims(&self) -> Vec<String> {
        self.config.claims()
    }

    /// Takes what happens.
    pub fn handle(&mut self, now: Duration, input: DeviceInput) {
        self.clock = now;
        match input {
            DeviceInput::PowerOn => self.power_on(now),
            DeviceInput::PowerCut => self.power_cut(),
            DeviceInput::Stop => self.stop(now),
            DeviceInput::Act(act) => self.act(now, act),
            DeviceInput::Datagram { socket, from, bytes } => self.datagram(now, socket, from, &bytes),
        }
        self.settle(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.clock = now;
        self.power_timeout(now);
        self.script_timeout(now);
        if self.is_awake() {
            self.ram.endpoint.handle_timeout(now);
            for pull in &mut self.ram.pulls {
                pull.handle_timeout(now);
            }
            self.answer_pending(now);
            self.push_timeout(now);
            self.pull_timeout(now);
            self.update_timeout(now);
            self.register_timeout(now);
            self.observe_timeout(now);
        }
        self.settle(now);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<DeviceOutput> {
        self.outputs.pop_front()
    }

    /// What came of a [`DeviceAct::Request`].
    pub fn poll_answer(&mut self) -> Option<ActAnswer> {
        self.answers.pop_front()
    }

    /// When [`Device::handle_timeout`] has something to do.
    pub fn poll_deadline(&self) -> Option<Duration> {
        let mut deadline = self.power_deadline();
        if self.is_listening() {
            deadline = deadline.into_iter().chain(self.script_deadline()).min();
        }
        if self.is_awake() {
            let all = [
                self.ram.endpoint.poll_deadline(),
                self.ram.pulls.iter().filter_map(pull::Pull::poll_deadline).min(),
                self.ram.pending.iter().map(|pending| pending.at).min(),
                self.push_deadline(),
                self.update_deadline(),
                self.register_deadline(),
                self.observe_deadline(),
            ];
            deadline = all.into_iter().flatten().chain(deadline).min();
        }
        deadline
    }

    /// Carries out what the endpoints report until nothing more follows, and passes on what they send.
    fn settle(&mut self, now: Duration) {
        self.carry_out(now);
        self.cut_power_as_set(now);
        self.flush();
    }

    fn carry_out(&mut self, now: Duration) {
        while self.is_awake() {
            if let Some(event) = self.ram.endpoint.poll_event() {
                self.on_event(now, event);
            } else if let Some((id, event)) = self.ram.pulls.iter_mut().find_map(pull::Pull::poll_event) {
                self.on_pull_event(now, id, event);
            } else if self.ram.observe.take_dirty() {
                self.evaluate_observations(now);
            } else {
                break;
            }
        }
    }

    /// Whether it runs and does not sleep.
    fn is_awake(&self) -> bool {
        self.is_listening() && !self.ram.script.is_asleep()
    }

    fn flush(&mut self) {
        if self.ram.script.is_asleep() {
            return;
        }
        while let Some(transmit) = self.ram.endpoint.poll_transmit() {
            self.transmit(self.clock, transmit);
        }
        for pull in &mut self.ram.pulls {
            while let Some(output) = pull.poll_transmit() {
                self.outputs.push_back(output);
            }
        }
    }

    fn on_event(&mut self, now: Duration, event: Event) {
        match event {
            Event::Request {
                id,
                from,
                packet,
                confirmable,
            } => self.on_request(now, id, from, packet, confirmable),
            Event::Response { exchange, packet, .. } => {
                let ours = self.on_tester_answer(now, exchange, Ok(&packet))
                    || self.on_register_response(now, exchange, &packet);
                if !ours {
                    self.on_pull_response(now, exchange, &packet);
                }
            }
            Event::Failed { exchange, reason, .. } => {
                let ours = self.on_tester_answer(now, exchange, Err(reason)) || self.on_register_failed(now, exchange);
                if !ours {
                    self.on_pull_failed(now, exchange);
                }
            }
            Event::DuplicateResponse { packet, .. } | Event::Unmatched { packet, .. } => {
                self.on_stale_response(now, &packet);
            }
            Event::NotifyEnded {
                exchange,
                observer,
                reason,
            } => self.on_notify_ended(now, exchange, &observer, reason),
            _ => {}
        }
    }

    fn answer_pending(&mut self, now: Duration) {
        let (due, later) = core::mem::take(&mut self.ram.pending)
            .into_iter()
            .partition(|pending| pending.at <= now);
        self.ram.pending = later;
        for pending in due {
            self.ram.endpoint.respond(now, pending.id, pending.packet);
        }
    }

    fn has(&self, defect: Defect) -> bool {
        self.defects.has(defect)
    }

    fn log(&mut self, text: impl Into<String>) {
        self.outputs.push_back(DeviceOutput::Log(text.into()));
    }

    fn open_socket(&mut self) -> SocketId {
        let socket = SocketId(self.next_socket);
        self.next_socket += 1;
        self.outputs.push_back(DeviceOutput::OpenSocket(socket));
        socket
    }

    /// Unix time of the device's clock.
    fn unix_time(&self, now: Duration) -> i64 {
        self.config
            .unix_time
            .saturating_add(now.as_secs())
            .cast_signed()
            .saturating_add(self.flash.clock_offset)
    }
}

impl Ram {
    fn new(config: &DeviceConfig, defects: DefectSet, boots: u32, socket: SocketId) -> Self {
        Self {
            socket,
            endpoint: endpoint(config, boots, socket),
            registration: register::Registration::new(config),
            observe: observe::Observe::default(),
            push: push::Push::new(config, defects),
            pulls: Vec::new(),
            update: update::Update::default(),
            pending: Vec::new(),
            attributes: BTreeMap::new(),
            default_pmin: 0,
            default_pmax: 0,
            firmware_deleted: false,
            flood: (0, 0),
            script: script::Script::default(),
        }
    }
}

/// The CoAP endpoint behind a socket; message ids and tokens differ from boot to boot and from socket to socket.
fn endpoint(config: &DeviceConfig, boots: u32, socket: SocketId) -> Endpoint {
    let seed = config.seed ^ u64::from(boots).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (u64::from(socket.0) << 48);
    let mut coap = config.coap.clone();
    crate::defects::apply(&config.defects, &mut coap.quirks);
    Endpoint::new(coap, seed)
}
