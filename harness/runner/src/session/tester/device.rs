//! A device of the harness on its host: its sockets, what it has told, and what is true of it.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use fotaproof_lwm2m::device::{
    ActAnswer, Device, DeviceAct, DeviceConfig, DeviceInput, DeviceOutput, DeviceTruth, Flash, SocketId,
};
use fotaproof_trace::{DtlsEvent, SampleSource};
use fotaproof_wire::coap::{MessageView, Type};

use super::super::firmware::{Firmware, Sampled};
use super::secure::{Inner, Secret, Secured};

/// The first port that a device uses; each socket that it opens takes the next.
const FIRST_PORT: u16 = 50_000;

/// A device with its host.
#[derive(Debug)]
pub(crate) struct TestDevice {
    device: Device,
    /// When it has something to do: it is asked far more often than it changes.
    deadline: Option<Duration>,
    host: IpAddr,
    ports: BTreeMap<SocketId, u16>,
    next_port: u16,
    /// Where its last message to the server came from.
    address: Option<SocketAddr>,
    /// What is true of it, as of its last turn.
    pub(crate) truth: DeviceTruth,
    /// Its State and Result in the order in which they held.
    pub(crate) firmware: Firmware,
    /// Locations of its registrations, without the leading slash, each once.
    pub(crate) locations: Vec<String>,
    /// It runs, or is to run: it was switched on and not off since.
    pub(crate) wanted: bool,
    touched: bool,
    seen: usize,
    /// DTLS with the server, if the device has it.
    pub(crate) secured: Option<Secured>,
    /// What came while it was not registered.
    heard: Heard,
}

/// What a device hears of a server with which it is not registered.
#[derive(Debug, Default)]
struct Heard {
    messages: u32,
    resets: u32,
    strange: u32,
}

/// What a turn of a device brought.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Pairs that held, each from its time on.
    pub(crate) pairs: Vec<(Duration, u8, u8)>,
    /// Registers that were accepted.
    pub(crate) registrations: u32,
    /// Updates that were accepted.
    pub(crate) updates: u32,
    /// It is no longer registered.
    pub(crate) deregistered: bool,
    /// Answers to requests of the case.
    pub(crate) answers: Vec<ActAnswer>,
}

impl Changes {
    /// Nothing that anybody must be told, as with most blocks of a push.
    pub(crate) const fn are_none(&self) -> bool {
        self.pairs.is_empty()
            && self.registrations == 0
            && self.updates == 0
            && !self.deregistered
            && self.answers.is_empty()
    }
}

/// What a device gives the world.
#[derive(Debug)]
pub(crate) enum Given {
    /// A datagram.
    Transmit {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Bytes,
        /// What is in it.
        inner: Inner,
    },
    /// Something of DTLS.
    Dtls(DtlsEvent),
    /// A line for people.
    Log(String),
}

impl TestDevice {
    /// A device that is off.
    pub(crate) fn new(config: DeviceConfig, host: IpAddr, secured: Option<Secured>) -> Self {
        let flash = Flash::new(config.version.clone());
        let device = Device::new(config, flash);
        Self {
            deadline: device.poll_deadline(),
            device,
            host,
            ports: BTreeMap::new(),
            next_port: FIRST_PORT,
            address: None,
            truth: DeviceTruth::default(),
            firmware: Firmware::default(),
            locations: Vec::new(),
            wanted: false,
            touched: true,
            seen: 0,
            secured,
            heard: Heard::default(),
        }
    }

    /// What came instead of a registration, in words.
    pub(crate) fn unregistered(&self) -> String {
        let Heard {
            messages,
            resets,
            strange,
        } = self.heard;
        let refused = self.secured.as_ref().filter(|secured| secured.truth.handshakes == 0);
        if let Some(reason) = refused.and_then(|secured| secured.truth.reason.as_ref()) {
            return format!("not registered; the DTLS handshake failed: {reason}");
        }
        let why = match (self.truth.last_answer, messages, resets, strange) {
            (Some(code), ..) => format!("; the last answer of the server is {code}"),
            _ if self.secured.is_some() || messages > 0 => String::new(),
            (None, 0, 0, 0) => "; nothing came from the server".to_owned(),
            (None, 0, 0, _) => "; what came from the server is no CoAP".to_owned(),
            (None, 0, _, 0) => "; the server resets what the device sends".to_owned(),
            _ => String::new(),
        };
        format!("not registered{why}")
    }

    pub(crate) const fn host(&self) -> IpAddr {
        self.host
    }

    /// Where it is, or would be.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
            .unwrap_or_else(|| SocketAddr::new(self.host, self.next_port.saturating_sub(1).max(FIRST_PORT)))
    }

    pub(crate) fn config(&self) -> &DeviceConfig {
        self.device.config()
    }

    /// Tells it what happens.
    pub(crate) fn handle(&mut self, now: Duration, input: DeviceInput) {
        match &input {
            DeviceInput::PowerOn => self.wanted = true,
            DeviceInput::PowerCut | DeviceInput::Stop => self.wanted = false,
            _ => {}
        }
        self.touched = true;
        self.device.handle(now, input);
        self.deadline = self.device.poll_deadline();
    }

    /// Gives it an order.
    pub(crate) fn act(&mut self, now: Duration, act: DeviceAct) {
        self.handle(now, DeviceInput::Act(act));
    }

    /// Gives it a datagram; one to a port that is closed is lost.
    pub(crate) fn datagram(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: &Bytes) {
        let socket = self
            .ports
            .iter()
            .find(|(_, port)| **port == to.port())
            .map(|(id, _)| *id);
        let Some(socket) = socket else { return };
        if !self.truth.registered && self.secured.is_none() {
            match MessageView::parse(bytes) {
                Ok(view) if view.kind() == Type::Rst => self.heard.resets += 1,
                Ok(_) => self.heard.messages += 1,
                Err(_) => self.heard.strange += 1,
            }
        }
        if let Some(secured) = self.secured.as_mut().filter(|secured| secured.server() == from) {
            self.touched = true;
            for bytes in secured.datagram(now, bytes) {
                self.handle(now, DeviceInput::Datagram { socket, from, bytes });
            }
            return;
        }
        let bytes = bytes.clone();
        self.handle(now, DeviceInput::Datagram { socket, from, bytes });
    }

    /// What is in a datagram that the server at this address sent to the device.
    pub(crate) fn inner(&self, from: SocketAddr, bytes: &[u8]) -> Inner {
        match self.secured.as_ref().filter(|secured| secured.server() == from) {
            Some(secured) => secured.open(false, bytes),
            None => Inner::Clear,
        }
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        if self.deadline.is_some_and(|at| at <= now) {
            self.touched = true;
            self.device.handle_timeout(now);
            self.deadline = self.device.poll_deadline();
        }
        if let Some(secured) = &mut self.secured
            && secured.poll_deadline().is_some_and(|at| at <= now)
        {
            self.touched = true;
            let (port, from) = (secured.port(), secured.server());
            let messages = secured.handle_timeout(now);
            let socket = self.ports.iter().find(|(_, own)| **own == port).map(|(id, _)| *id);
            for bytes in messages {
                if let Some(socket) = socket {
                    self.handle(now, DeviceInput::Datagram { socket, from, bytes });
                }
            }
        }
    }

    pub(crate) fn poll_deadline(&self) -> Option<Duration> {
        let Some(secured) = &self.secured else {
            return self.deadline;
        };
        [self.deadline, secured.poll_deadline()].into_iter().flatten().min()
    }

    /// The next thing that it gives.
    pub(crate) fn poll(&mut self, now: Duration) -> Option<Given> {
        loop {
            if let Some(secret) = self.secured.as_mut().and_then(Secured::poll) {
                match secret {
                    Secret::Event(event) => return Some(Given::Dtls(event)),
                    Secret::Datagram(bytes, inner) => {
                        let Some(secured) = &self.secured else { continue };
                        let (port, to) = (secured.port(), secured.server());
                        // from a closed socket nothing is sent
                        if self.ports.values().any(|own| *own == port) {
                            let from = SocketAddr::new(self.host, port);
                            return Some(Given::Transmit { from, to, bytes, inner });
                        }
                        continue;
                    }
                }
            }
            match self.device.poll_output()? {
                DeviceOutput::OpenSocket(socket) => {
                    self.ports.insert(socket, self.next_port);
                    self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
                }
                DeviceOutput::CloseSocket(socket) => {
                    if let (Some(port), Some(secured)) = (self.ports.remove(&socket), &mut self.secured) {
                        secured.closed(port);
                    }
                }
                DeviceOutput::Transmit { socket, to, bytes } => {
                    let Some(port) = self.ports.get(&socket) else { continue };
                    let from = SocketAddr::new(self.host, *port);
                    if to == self.device.config().server {
                        self.address = Some(from);
                    }
                    if let Some(secured) = self.secured.as_mut().filter(|secured| secured.server() == to) {
                        secured.send(now, self.device.flash().boots, *port, bytes);
                        continue;
                    }
                    let inner = Inner::Clear;
                    return Some(Given::Transmit { from, to, bytes, inner });
                }
                DeviceOutput::Log(line) => return Some(Given::Log(line)),
                DeviceOutput::Off => {
                    self.ports.clear();
                    self.wanted = false;
                }
                DeviceOutput::Rebooted { .. } => {}
            }
        }
    }

    /// Whether nothing can have come of it since its last turn.
    pub(crate) const fn is_idle(&self) -> bool {
        !self.touched && self.secured.is_none()
    }

    /// Whether something happened to it since this was asked last.
    pub(crate) fn take_touched(&mut self) -> bool {
        core::mem::take(&mut self.touched)
    }

    /// Looks at what is true of it now.
    pub(crate) fn refresh(&mut self) -> Changes {
        let (registrations, updates, registered) =
            (self.truth.registrations, self.truth.updates, self.truth.registered);
        self.device.refresh_truth(&mut self.truth);
        let now = &self.truth;
        let mut changes = Changes {
            registrations: now.registrations.saturating_sub(registrations),
            updates: now.updates.saturating_sub(updates),
            deregistered: registered && !now.registered,
            ..Changes::default()
        };
        changes.pairs.extend(now.history.iter().skip(self.seen).copied());
        self.seen = now.history.len();
        for (at, state, result) in &changes.pairs {
            self.firmware.add(Sampled {
                at: *at,
                state: Some(*state),
                result: Some(*result),
                by: SampleSource::Truth,
            });
        }
        let location = now.location.trim_start_matches('/');
        if !location.is_empty() && self.locations.last().is_none_or(|last| last != location) {
            self.locations.push(location.to_owned());
        }
        while let Some(answer) = self.device.poll_answer() {
            changes.answers.push(answer);
        }
        changes
    }
}
