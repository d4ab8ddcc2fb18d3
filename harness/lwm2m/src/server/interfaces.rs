//! What devices ask of the server: Register, Update, De-register, Send, and files.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use coap_lite::{CoapOption, Packet};
use fotaproof_coap::RequestId;
use fotaproof_coap::blockwise::{
    Block1Receive, BlockArrival, BodyId, BodyStart, ReceiveConfig, ReceiveStep, block_option,
};
use fotaproof_wire::coap::{BlockValue, Code, Szx, build, content_format, option};
use fotaproof_wire::path::LwPath;

use super::event::ServerEvent;
use super::reference::Server;
use super::types::{Answer, Interface};
use crate::registration::{RegistrationError, RegistrationRequest};

/// Bodies that are being received at a time, over all paths.
const OPEN_BODIES: usize = 64;

/// The bodies of Register, Update and Send that come in blocks (RFC 7959, 2.5).
#[derive(Debug)]
pub(super) struct Bodies {
    config: ReceiveConfig,
    receivers: BTreeMap<String, Block1Receive>,
    bytes: BTreeMap<(String, BodyId), Vec<u8>>,
}

/// A request body, or the answer that the rest of it waits for.
enum Received {
    Whole(Vec<u8>, Option<BlockValue>),
    Answer(Packet),
}

impl Bodies {
    pub(super) fn new(max_szx: Szx, limit: u64) -> Self {
        let config = ReceiveConfig {
            max_szx,
            max_body: Some(limit),
            max_bodies: OPEN_BODIES,
            ..ReceiveConfig::default()
        };
        Self {
            config,
            receivers: BTreeMap::new(),
            bytes: BTreeMap::new(),
        }
    }

    fn receive(&mut self, now: Duration, from: SocketAddr, packet: &Packet) -> Received {
        let Some(block) = block_option(packet, option::BLOCK1) else {
            return Received::Whole(packet.payload.clone(), None);
        };
        let path = build::path(packet);
        let receiver = self
            .receivers
            .entry(path.clone())
            .or_insert_with(|| Block1Receive::new(self.config.clone()));
        let step = receiver.on_block(
            now,
            &BlockArrival {
                from,
                request_tag: build::get_option(packet, option::REQUEST_TAG),
                block,
                payload_len: packet.payload.len(),
                size1: build::get_uint(packet, option::SIZE1),
            },
        );
        if let ReceiveStep::Continue { body, start, .. } | ReceiveStep::Complete { body, start, .. } = step {
            if let BodyStart::Replaces(old) = start {
                self.bytes.remove(&(path.clone(), old));
            }
            self.bytes
                .entry((path.clone(), body))
                .or_default()
                .extend_from_slice(&packet.payload);
            // What expired in the receivers is not told; the oldest go when there are too many.
            if self.bytes.len() > OPEN_BODIES {
                self.bytes.pop_first();
            }
        }
        if let ReceiveStep::Complete { body, answer, .. } = step {
            return Received::Whole(self.bytes.remove(&(path, body)).unwrap_or_default(), Some(answer));
        }
        let mut answer = response(step.code().unwrap_or(Code::BAD_REQUEST));
        if let Some(block) = step.answer() {
            build::set_block1(&mut answer, block);
        }
        if let ReceiveStep::TooLarge { limit: Some(limit), .. } = step {
            build::set_uint(&mut answer, option::SIZE1, limit);
        }
        Received::Answer(answer)
    }
}

fn response(code: Code) -> Packet {
    let mut packet = Packet::new();
    packet.header.code = code.into();
    packet
}

fn segments(packet: &Packet) -> Vec<String> {
    let values = packet
        .get_option(CoapOption::from(option::URI_PATH))
        .into_iter()
        .flatten();
    values
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect()
}

impl Server {
    /// Answers a new request of a device.
    pub(super) fn take_request(
        &mut self,
        now: Duration,
        id: RequestId,
        from: SocketAddr,
        packet: &Packet,
        confirmable: bool,
    ) {
        let path = segments(packet);
        let method = Code::from(packet.header.code);
        let below_rd = path.first().is_some_and(|first| first == "rd");
        let location = self.registry.has_location(&path) || (below_rd && path.len() > 1);
        let interface = match (path.as_slice(), method) {
            ([rd], Code::POST) if rd == "rd" => Interface::Register,
            ([dp], Code::POST) if dp == "dp" => Interface::Send,
            (_, Code::POST) if location => Interface::Update,
            (_, Code::DELETE) if location => Interface::Deregister,
            _ => return self.take_other(now, id, from, packet, confirmable, location || below_rd),
        };
        match self.draw_policy(interface) {
            Answer::Normal => self.take_interface(now, id, from, packet, interface, &path),
            Answer::Code(code) => {
                self.endpoint.respond(now, id, response(code));
                self.refused(interface, from, Some(code), "planned by the case".to_owned());
            }
            Answer::Silent => {
                self.endpoint.ignore(id);
                self.refused(interface, from, None, "planned by the case".to_owned());
            }
        }
    }

    /// What an interface answers this time.
    fn draw_policy(&mut self, interface: Interface) -> Answer {
        let Some(policy) = self.policies.get_mut(&interface) else {
            return Answer::Normal;
        };
        match &mut policy.times {
            Some(0) => Answer::Normal,
            Some(times) => {
                *times -= 1;
                policy.answer.clone()
            }
            None => policy.answer.clone(),
        }
    }

    fn take_interface(
        &mut self,
        now: Duration,
        id: RequestId,
        from: SocketAddr,
        packet: &Packet,
        interface: Interface,
        path: &[String],
    ) {
        let (payload, block1) = match self.bodies.receive(now, from, packet) {
            Received::Whole(payload, block1) => (payload, block1),
            Received::Answer(answer) => return self.endpoint.respond(now, id, answer),
        };
        let outcome = match interface {
            Interface::Register => self.register(now, from, packet, &payload),
            Interface::Update => self.update(now, from, packet, &payload, path),
            Interface::Deregister => self.deregister(from, path),
            Interface::Send => self.send(from, packet, &payload),
        };
        let (mut answer, events) = outcome.unwrap_or_else(|(code, reason)| {
            let mut answer = response(code);
            answer.payload = reason.as_bytes().to_vec();
            (
                answer,
                vec![ServerEvent::Refused {
                    interface,
                    from,
                    code: Some(code),
                    reason,
                }],
            )
        });
        if let Some(block1) = block1 {
            build::set_block1(&mut answer, block1);
        }
        self.endpoint.respond(now, id, answer);
        events.into_iter().for_each(|event| self.tell(event));
    }

    fn register(&mut self, now: Duration, from: SocketAddr, packet: &Packet, payload: &[u8]) -> Outcome {
        let request = registration_request(packet, payload)?;
        if let Some(endpoint) = &request.endpoint
            && !self.authority.allows(from, endpoint)
        {
            return Err((Code::FORBIDDEN, format!("{endpoint} is not for this identity")));
        }
        let location = self
            .config
            .location
            .clone()
            .unwrap_or_else(|| vec!["rd".to_owned(), format!("{:08x}", self.rng.u32(..))]);
        let registered = self
            .registry
            .register(now, from, request, &self.config.versions, location)?;
        let registration = registered.registration;
        self.adopt(&registration.endpoint);
        if let Some(old) = &registered.replaced {
            self.replaced(old, &registration);
        }
        let mut answer = response(Code::CREATED);
        registration
            .location
            .iter()
            .for_each(|segment| build::add_option(&mut answer, option::LOCATION_PATH, segment.as_bytes()));
        Ok((answer, vec![ServerEvent::Registered(registration)]))
    }

    fn update(&mut self, now: Duration, from: SocketAddr, packet: &Packet, payload: &[u8], path: &[String]) -> Outcome {
        let request = registration_request(packet, payload)?;
        self.may_touch(from, path)?;
        let registration = match self.registry.update(now, from, path, request) {
            Ok(registration) => registration.clone(),
            Err(error) if self.config.accept_unknown_updates && error.code() == Code::NOT_FOUND => {
                return Ok((response(Code::CHANGED), Vec::new()));
            }
            Err(error) => return Err(error.into()),
        };
        Ok((response(Code::CHANGED), vec![ServerEvent::Updated(registration)]))
    }

    /// Whether a peer may change the registration at a location. One of another endpoint is not there for it (LwM2M Core section 6.2.2).
    fn may_touch(&self, from: SocketAddr, path: &[String]) -> Result<(), (Code, String)> {
        if self.authority.is_empty() {
            return Ok(());
        }
        let registration = self.registry.iter().find(|registration| registration.location == path);
        match registration {
            Some(registration) if !self.authority.allows(from, &registration.endpoint) => {
                Err((Code::NOT_FOUND, "no such registration".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn deregister(&mut self, from: SocketAddr, path: &[String]) -> Outcome {
        self.may_touch(from, path)?;
        let registration = self.registry.deregister(path)?;
        self.void_observations(&registration.endpoint);
        Ok((response(Code::DELETED), vec![ServerEvent::Deregistered(registration)]))
    }

    /// Core, Send: SenML of any resources, from a registered device.
    fn send(&self, from: SocketAddr, packet: &Packet, payload: &[u8]) -> Outcome {
        let Some(registration) = self.registry.at(from) else {
            return Err((Code::NOT_FOUND, "not registered".to_owned()));
        };
        let format =
            build::content_format(packet).ok_or_else(|| (Code::BAD_REQUEST, "no Content-Format".to_owned()))?;
        if !matches!(
            format,
            content_format::SENML_JSON | content_format::SENML_CBOR | content_format::LWM2M_CBOR
        ) {
            return Err((
                Code::UNSUPPORTED_CONTENT_FORMAT,
                format!("Content-Format {format} cannot be sent"),
            ));
        }
        let values = self
            .decode(from, format, &LwPath::ROOT, payload)
            .map_err(|reason| (Code::BAD_REQUEST, reason))?;
        let endpoint = Some(registration.endpoint.clone());
        Ok((
            response(Code::CHANGED),
            vec![ServerEvent::Sent { from, endpoint, values }],
        ))
    }

    /// Files, and what the server does not have.
    fn take_other(
        &mut self,
        now: Duration,
        id: RequestId,
        from: SocketAddr,
        packet: &Packet,
        confirmable: bool,
        known: bool,
    ) {
        if let Some(files) = self.files.as_mut().filter(|_| !known) {
            files.handle_request(now, &mut self.endpoint, id, from, packet, confirmable);
            return;
        }
        let code = if known {
            Code::METHOD_NOT_ALLOWED
        } else {
            Code::NOT_FOUND
        };
        self.endpoint.respond(now, id, response(code));
        self.tell(ServerEvent::Request {
            from,
            method: packet.header.code.into(),
            path: build::path(packet),
            code: Some(code),
        });
    }

    fn refused(&mut self, interface: Interface, from: SocketAddr, code: Option<Code>, reason: String) {
        self.tell(ServerEvent::Refused {
            interface,
            from,
            code,
            reason,
        });
    }
}

/// The answer and what is told, or the code and reason of a refusal.
type Outcome = Result<(Packet, Vec<ServerEvent>), (Code, String)>;

impl From<RegistrationError> for (Code, String) {
    fn from(error: RegistrationError) -> Self {
        (error.code(), error.to_string())
    }
}

fn registration_request(packet: &Packet, payload: &[u8]) -> Result<RegistrationRequest, RegistrationError> {
    if !payload.is_empty()
        && let Some(format) = build::content_format(packet).filter(|format| *format != content_format::LINK_FORMAT)
    {
        return Err(RegistrationError::ContentFormat(format));
    }
    let queries = packet
        .get_option(CoapOption::from(option::URI_QUERY))
        .into_iter()
        .flatten();
    RegistrationRequest::parse(queries.map(Vec::as_slice), payload)
}
