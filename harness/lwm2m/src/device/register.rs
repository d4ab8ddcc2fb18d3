//! The registration interface: Register, Update and De-register (LwM2M Core, 6.2).

use core::time::Duration;

use coap_lite::Packet;
use fotaproof_coap::blockwise::{Block1Send, SendStep, block_option};
use fotaproof_coap::{ExchangeId, Request};
use fotaproof_wire::coap::build;
use fotaproof_wire::coap::{Code, content_format, option};
use fotaproof_wire::link_format::{self, Link};

use super::act::Resend;
use super::power::Power;
use super::{Device, DeviceConfig, Ram};
use crate::Defect;
use crate::definitions::{Version, default_version};
use crate::firmware::State;

/// Where the device stands with its server.
#[derive(Debug)]
pub(super) struct Registration {
    stage: Stage,
    /// The enabler version of the next Register: lowered when the server answers 4.12.
    lwm2m: Version,
    /// Pause after the next failure.
    pause: Duration,
    /// Segments of the Location-Path.
    location: Vec<Vec<u8>>,
    /// When the server heard from us last, as far as we know.
    refreshed: Duration,
    /// An Update is wanted, with the lifetime if it changed.
    wanted: Option<Wanted>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Update,
    Lifetime,
}

#[derive(Debug)]
enum Stage {
    Off,
    Waiting(Duration),
    Registering {
        exchange: ExchangeId,
        sent: Duration,
        blocks: Option<(Block1Send, Vec<u8>)>,
    },
    Registered,
    Updating {
        exchange: ExchangeId,
        sent: Duration,
    },
    Deregistering(ExchangeId),
}

impl Registration {
    pub(super) fn new(config: &DeviceConfig) -> Self {
        Self {
            stage: Stage::Off,
            lwm2m: config.lwm2m,
            pause: config.retry,
            location: Vec::new(),
            refreshed: Duration::ZERO,
            wanted: None,
        }
    }

    pub(super) fn off() -> Self {
        Self {
            stage: Stage::Off,
            lwm2m: Version::V1_0,
            pause: Duration::ZERO,
            location: Vec::new(),
            refreshed: Duration::ZERO,
            wanted: None,
        }
    }

    pub(super) fn is_registered(&self) -> bool {
        matches!(self.stage, Stage::Registered | Stage::Updating { .. })
    }

    /// The location as a path; empty before the first registration.
    pub(super) fn location_text(&self) -> String {
        self.location
            .iter()
            .map(|segment| format!("/{}", String::from_utf8_lossy(segment)))
            .collect()
    }

    /// Whether [`location_text`](Self::location_text) is this.
    pub(super) fn is_at(&self, text: &str) -> bool {
        let mut rest = text.as_bytes();
        for segment in &self.location {
            let below = rest
                .strip_prefix(b"/")
                .and_then(|rest| rest.strip_prefix(segment.as_slice()));
            let Some(below) = below else { return false };
            rest = below;
        }
        rest.is_empty()
    }
}

impl Device {
    pub(super) fn lifetime(&self) -> u32 {
        self.flash.lifetime.unwrap_or(self.config.lifetime)
    }

    /// When the next Update is due: well before the lifetime ends, with time left for retransmissions.
    fn update_at(&self) -> Option<Duration> {
        if !matches!(self.ram.registration.stage, Stage::Registered) {
            return None;
        }
        let refreshed = self.ram.registration.refreshed;
        if self.ram.registration.wanted.is_some() {
            return Some(refreshed);
        }
        if self.has(Defect::UpdateFloodsSlowLink) && self.ram.push.is_open() {
            return Some(refreshed + Duration::from_secs(1));
        }
        let lifetime = self.lifetime();
        if !self.config.keep_alive || lifetime == 0 || (self.has(Defect::NoUpdateInPull) && !self.ram.pulls.is_empty())
        {
            return None;
        }
        if self.has(Defect::UpdateAfterExpiry) {
            return Some(refreshed + Duration::from_secs(u64::from(lifetime) + 5));
        }
        let margin = (lifetime / 5).max(30).min(lifetime / 2);
        Some(refreshed + Duration::from_secs((lifetime - margin).into()))
    }

    pub(super) fn register_deadline(&self) -> Option<Duration> {
        match self.ram.registration.stage {
            Stage::Waiting(at) => Some(at),
            _ => self.update_at(),
        }
    }

    pub(super) fn register_timeout(&mut self, now: Duration) {
        match self.ram.registration.stage {
            Stage::Waiting(at) if at <= now => self.register(now),
            _ if self.update_at().is_some_and(|at| at <= now) => self.update_registration(now),
            _ => {}
        }
    }

    /// Asks for an Update as soon as possible.
    pub(super) fn refresh_registration(&mut self, now: Duration, lifetime_changed: bool) {
        let wanted = if lifetime_changed {
            Wanted::Lifetime
        } else {
            Wanted::Update
        };
        if self.ram.registration.wanted != Some(Wanted::Lifetime) {
            self.ram.registration.wanted = Some(wanted);
        }
        self.register_timeout(now);
    }

    pub(super) fn register(&mut self, now: Duration) {
        if self.has(Defect::NeverRegisters) {
            self.ram.registration.stage = Stage::Off;
            return;
        }
        if !self.has(Defect::OldObserveSurvives) {
            self.ram.observe.forget();
        }
        let payload = match &self.config.object_list {
            Some(list) => list.clone(),
            None => link_format::encode(&self.object_links()),
        };
        let payload = payload.into_bytes();
        let mut blocks = None;
        if let Some(szx) = self.config.register_block.filter(|szx| payload.len() > szx.size()) {
            blocks = Some(Block1Send::new(payload.len() as u64, szx));
        }
        let exchange = self.send_register(now, blocks.as_ref(), &payload);
        self.ram.registration.stage = Stage::Registering {
            exchange,
            sent: now,
            blocks: blocks.map(|blocks| (blocks, payload)),
        };
    }

    fn send_register(&mut self, now: Duration, blocks: Option<&Block1Send>, payload: &[u8]) -> ExchangeId {
        let mut packet = request(Code::POST, &[b"rd".to_vec()]);
        build::set_content_format(&mut packet, content_format::LINK_FORMAT);
        let mut query = vec![match &self.config.lwm2m_text {
            Some(text) => format!("lwm2m={text}"),
            None => format!("lwm2m={}", self.ram.registration.lwm2m),
        }];
        let mut endpoint = self.config.endpoint.clone();
        if self.has(Defect::EndpointNameRandom) && self.flash.boots > 1 {
            endpoint = format!("{endpoint}-{}", self.flash.boots);
        }
        query.push(format!("ep={endpoint}"));
        query.push(format!("lt={}", self.lifetime()));
        query.push(format!("b={}", self.config.binding));
        if self.config.queue {
            query.push("Q".to_owned());
        }
        if self.has(Defect::PskInRegistration) {
            query.push(format!("key={}", super::data::SECRET_KEY));
        }
        build::set_query(&mut packet, query);
        packet.payload = payload.to_vec();
        if let Some(step) = blocks.and_then(Block1Send::next_step) {
            build::set_block1(&mut packet, step.block);
            packet.payload = payload[step.range.start as usize..step.range.end as usize].to_vec();
        }
        let exchange = self
            .ram
            .endpoint
            .request(now, self.config.server, Request::confirmable(packet));
        self.ram.script.last.insert(Resend::Register, exchange);
        exchange
    }

    /// The object list: every instance, and the version of an object where it is not the enabler's default.
    fn object_links(&self) -> Vec<Link> {
        let mut links = Vec::new();
        if self.has(Defect::RegListsSecurity) {
            links.push(Link::new("/0/0"));
        }
        let mut objects = self.objects();
        if self.has(Defect::StaleObjectList) {
            objects.extend(&self.flash.dropped_objects);
            objects.sort_unstable();
        }
        for object in objects {
            if let Some(version) = self.announced_version(object) {
                links.push(Link::new(format!("/{object}")).with("ver", version.to_string()));
            }
            links.push(Link::new(format!("/{object}/0")));
        }
        links
    }

    /// The version of an object, unless a Register without `ver` means it anyway; that of object 5 above 1.0 is always said, as servers disagree on its default.
    pub(super) fn announced_version(&self, object: u16) -> Option<Version> {
        let mut version = self.versions.object(object);
        if object == 5 && self.has(Defect::VerOverstated) {
            version.1 += 1;
        }
        (version != default_version(self.config.lwm2m, object) || (object == 5 && version > Version::V1_0))
            .then_some(version)
    }

    fn update_registration(&mut self, now: Duration) {
        let mut packet = request(Code::POST, &self.ram.registration.location);
        if self.ram.registration.wanted.take() == Some(Wanted::Lifetime) {
            build::set_query(&mut packet, [format!("lt={}", self.lifetime())]);
        }
        let exchange = self
            .ram
            .endpoint
            .request(now, self.config.server, Request::confirmable(packet));
        self.ram.script.last.insert(Resend::Update, exchange);
        self.ram.registration.stage = Stage::Updating { exchange, sent: now };
    }

    /// Sends a De-register if there is a registration to give up.
    pub(super) fn deregister(&mut self, now: Duration) -> bool {
        if !self.ram.registration.is_registered() {
            return false;
        }
        if let Stage::Updating { exchange, .. } = self.ram.registration.stage {
            self.ram.endpoint.cancel(exchange);
        }
        let location = if self.has(Defect::DeregisterWrongPath) {
            vec![b"rd".to_vec()]
        } else {
            self.ram.registration.location.clone()
        };
        let mut request = Request::confirmable(request(Code::DELETE, &location));
        request.immediate = true;
        let exchange = self.ram.endpoint.request(now, self.config.server, request);
        self.ram.registration.stage = Stage::Deregistering(exchange);
        true
    }

    /// Whether the response belongs to this interface.
    pub(super) fn on_register_response(&mut self, now: Duration, exchange: ExchangeId, packet: &Packet) -> bool {
        let code = Code::from(packet.header.code);
        match &mut self.ram.registration.stage {
            Stage::Registering {
                exchange: ours, blocks, ..
            } if *ours == exchange => {
                if let Some((mut blocks, payload)) = blocks.take() {
                    let step = blocks.on_response(
                        code,
                        block_option(packet, option::BLOCK1),
                        build::get_uint(packet, option::SIZE1),
                    );
                    if matches!(step, SendStep::Next | SendStep::Restart { .. }) {
                        let exchange = self.send_register(now, Some(&blocks), &payload);
                        self.ram.registration.stage = Stage::Registering {
                            exchange,
                            sent: now,
                            blocks: Some((blocks, payload)),
                        };
                        return true;
                    }
                }
                self.on_register_answer(now, code, packet);
            }
            Stage::Updating { exchange: ours, sent } if *ours == exchange => {
                let sent = *sent;
                if code.is_success() {
                    self.tally.updates += 1;
                    self.ram.registration.refreshed = sent;
                    self.ram.registration.stage = Stage::Registered;
                } else if !self.config.keep_alive {
                    self.ram.registration.stage = Stage::Off;
                    self.log(format!("Update answered {code}"));
                } else if self.has(Defect::DiesOnRefusedUpdate) {
                    self.die("its Update was refused");
                } else {
                    self.log(format!("Update answered {code}, registering anew"));
                    self.register(now);
                }
            }
            Stage::Deregistering(ours) if *ours == exchange => self.on_deregistered(),
            _ => return false,
        }
        self.tally.last_answer = Some(code);
        true
    }

    /// The registration is given up: before switching off, or by order.
    fn on_deregistered(&mut self) {
        if matches!(self.power, Power::Stopping(_)) {
            self.switch_off();
        } else {
            self.ram.registration = Registration::off();
            self.log("de-registered");
        }
    }

    fn on_register_answer(&mut self, now: Duration, code: Code, packet: &Packet) {
        let Stage::Registering { sent, .. } = self.ram.registration.stage else {
            return;
        };
        let location: Vec<Vec<u8>> = packet
            .get_option(coap_lite::CoapOption::LocationPath)
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        if code == Code::CREATED && !location.is_empty() {
            let registration = &mut self.ram.registration;
            registration.location = location;
            if self.defects.has(Defect::LocationCut) {
                registration.location.truncate(2);
            }
            registration.refreshed = sent;
            registration.pause = self.config.retry;
            registration.stage = Stage::Registered;
            self.tally.registrations += 1;
            if self.config.send_changes {
                self.ram.observe.mark_dirty();
            }
            self.log(format!("registered with {}", self.config.server_name));
            return;
        }
        if self.has(Defect::RegisterStorm) {
            return self.register(now);
        }
        let Ram { registration, .. } = &mut self.ram;
        if code == Code::PRECONDITION_FAILED && registration.lwm2m > Version::V1_0 {
            registration.lwm2m.1 -= 1;
        }
        self.retry_later(now, &format!("Register answered {code}"));
    }

    fn retry_later(&mut self, now: Duration, why: &str) {
        if !self.config.keep_alive {
            self.ram.registration.stage = Stage::Off;
            return self.log(why);
        }
        let registration = &mut self.ram.registration;
        let at = now + registration.pause;
        registration.pause = (registration.pause * 2).min(self.config.retry_limit);
        registration.stage = Stage::Waiting(at);
        self.log(format!("{why}, next try at {} s", at.as_secs()));
    }

    /// Whether the exchange that failed belongs to this interface.
    pub(super) fn on_register_failed(&mut self, now: Duration, exchange: ExchangeId) -> bool {
        match self.ram.registration.stage {
            Stage::Registering { exchange: ours, .. } if ours == exchange => {
                self.retry_later(now, "no answer to Register");
            }
            Stage::Updating { exchange: ours, .. } if ours == exchange => {
                if self.has(Defect::StuckAfterExpiry) || !self.config.keep_alive {
                    self.ram.registration.stage = Stage::Off;
                } else {
                    self.log("no answer to Update, registering anew");
                    self.register(now);
                }
            }
            Stage::Deregistering(ours) if ours == exchange => self.on_deregistered(),
            _ => return false,
        }
        true
    }

    /// Takes the main socket to a new port and registers there: what only a defect does.
    pub(super) fn move_registration(&mut self, now: Duration) {
        if !matches!(self.power, Power::On(_)) || self.flash.firmware.state != State::Downloading {
            return;
        }
        self.flush();
        self.outputs
            .push_back(super::DeviceOutput::CloseSocket(self.ram.socket));
        let socket = self.open_socket();
        self.ram.endpoint = super::endpoint(&self.config, self.flash.boots, socket);
        (self.ram.socket, self.ram.registration) = (socket, Registration::new(&self.config));
        self.register(now);
    }
}

/// A request with a path of these segments.
pub(super) fn request(code: Code, segments: &[Vec<u8>]) -> Packet {
    let mut packet = Packet::new();
    packet.header.code = code.into();
    for segment in segments {
        build::add_option(&mut packet, option::URI_PATH, segment.clone());
    }
    packet
}
