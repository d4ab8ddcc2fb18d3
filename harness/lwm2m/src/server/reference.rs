//! The server itself: its state, and what becomes of the events of the CoAP layer.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use coap_lite::Packet;
use fotaproof_coap::{Endpoint, Event, ExchangeId, NotificationPolicy, Observer, Request, Transmit};
use fotaproof_wire::coap::build;
use fotaproof_wire::path::LwPath;

use super::authority::Authority;
use super::event::{OpFailure, ServerEvent};
use super::interfaces::Bodies;
use super::push::Push;
use super::responses::{Kind, Told};
use super::types::{Interface, OpId, Policy, RequestSpec, ServerConfig, TokenChoice};
use crate::registration::{Registration, Registry};
use crate::repository::FileServer;

/// Finished exchanges whose requests can be told apart and sent again.
const FINISHED_KEPT: usize = 256;

/// The reference server. See the [module](super).
#[derive(Debug)]
pub struct Server {
    pub(super) config: ServerConfig,
    pub(super) endpoint: Endpoint,
    pub(super) registry: Registry,
    pub(super) rng: fastrand::Rng,
    pub(super) policies: BTreeMap<Interface, Policy>,
    pub(super) bodies: Bodies,
    pub(super) files: Option<FileServer>,
    pub(super) pushes: BTreeMap<OpId, Push>,
    /// The pushes whose next block waits for its time.
    pub(super) waiting: BTreeMap<OpId, Duration>,
    pub(super) events: VecDeque<ServerEvent>,
    next_op: u64,
    pub(super) running: BTreeMap<OpId, Op>,
    pub(super) observations: BTreeMap<OpId, Observation>,
    /// The observation of each peer and token.
    pub(super) by_observer: BTreeMap<Observer, OpId>,
    /// The latest exchange of each operation, for resends.
    latest: BTreeMap<OpId, ExchangeId>,
    live: BTreeMap<ExchangeId, OpId>,
    finished: BTreeMap<ExchangeId, OpId>,
    device: Option<String>,
    device_address: Option<SocketAddr>,
    pub(super) authority: Authority,
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Op {
    pub(super) exchange: ExchangeId,
    pub(super) to: SocketAddr,
    pub(super) path: LwPath,
    pub(super) kind: Kind,
}

/// A running observation.
#[derive(Debug)]
pub(super) struct Observation {
    pub(super) path: LwPath,
    pub(super) endpoint: Option<String>,
    pub(super) observer: Observer,
    pub(super) request: Packet,
}

impl Server {
    /// A server without registrations.
    #[must_use]
    pub fn new(mut config: ServerConfig) -> Self {
        config.coap.finished_kept = config.coap.finished_kept.max(FINISHED_KEPT);
        Self {
            endpoint: Endpoint::new(config.coap.clone(), config.seed),
            registry: Registry::default(),
            rng: fastrand::Rng::with_seed(config.seed ^ 0x6c77_6d32_6d5f_7264),
            policies: BTreeMap::new(),
            bodies: Bodies::new(config.szx, config.body_limit),
            files: None,
            pushes: BTreeMap::new(),
            waiting: BTreeMap::new(),
            events: VecDeque::new(),
            next_op: 0,
            running: BTreeMap::new(),
            observations: BTreeMap::new(),
            by_observer: BTreeMap::new(),
            latest: BTreeMap::new(),
            live: BTreeMap::new(),
            finished: BTreeMap::new(),
            device: None,
            device_address: None,
            authority: Authority::default(),
            config,
        }
    }

    /// Takes a datagram.
    pub fn handle_datagram(&mut self, now: Duration, from: SocketAddr, bytes: &[u8]) {
        self.endpoint.handle_datagram(now, from, bytes);
        self.pump(now);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.endpoint.handle_timeout(now);
        if let Some(files) = &mut self.files {
            files.handle_timeout(now, &mut self.endpoint);
        }
        if self.config.expire {
            while let Some(registration) = self.registry.expire(now) {
                self.void_observations(&registration.endpoint);
                self.events.push_back(ServerEvent::Expired(registration));
            }
        }
        self.due_pushes(now);
        self.pump(now);
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.endpoint.poll_transmit()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Duration> {
        let expiry = if self.config.expire {
            self.registry.next_expiry()
        } else {
            None
        };
        let files = self.files.as_ref().and_then(FileServer::poll_deadline);
        let earlier = |a: Option<Duration>, b: Option<Duration>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        earlier(
            earlier(self.endpoint.poll_deadline(), expiry),
            earlier(files, self.next_push()),
        )
    }

    /// The registrations.
    #[must_use]
    pub const fn registrations(&self) -> &Registry {
        &self.registry
    }

    /// The registration of the device that requests go to.
    #[must_use]
    pub fn registration(&self) -> Option<&Registration> {
        self.registry.get(self.device.as_ref()?)
    }

    /// Sends requests without an address to this endpoint name from now on. Before the first call it is the name that registered first.
    pub fn set_device(&mut self, endpoint: &str) {
        self.device = Some(endpoint.to_owned());
    }

    /// Sends requests without an address here, whatever is registered; `None` goes back to the registration.
    pub const fn set_device_address(&mut self, address: Option<SocketAddr>) {
        self.device_address = address;
    }

    /// Drops a registration, as a server that lost its state would; Updates get 4.04 from then on.
    pub fn forget(&mut self, endpoint: &str) -> Option<Registration> {
        let registration = self.registry.remove(endpoint)?;
        self.void_observations(endpoint);
        Some(registration)
    }

    /// Sets what an interface answers from now on.
    pub fn set_policy(&mut self, interface: Interface, policy: Policy) {
        self.policies.insert(interface, policy);
    }

    /// From now on only a peer that is [bound](Self::bind) to this endpoint name may register under it.
    pub fn protect(&mut self, endpoint: String) {
        self.authority.protect(endpoint);
    }

    /// A peer has authenticated itself: it may register as this endpoint alone. None: as an endpoint that is not protected.
    pub fn bind(&mut self, peer: SocketAddr, endpoint: Option<String>) {
        self.authority.bind(peer, endpoint);
    }

    /// What a peer was bound to is void.
    pub fn unbind(&mut self, peer: SocketAddr) {
        self.authority.release(peer);
    }

    /// Serves these files from the server's own address.
    pub fn serve_files(&mut self, files: FileServer) {
        self.files = Some(files);
    }

    /// The files that the server serves itself.
    pub const fn files_mut(&mut self) -> Option<&mut FileServer> {
        self.files.as_mut()
    }

    /// Answers every request that the built-in repository holds; how many they were.
    pub fn release(&mut self, now: Duration) -> usize {
        let released = self
            .files
            .as_mut()
            .map_or(0, |files| files.release(now, &mut self.endpoint));
        self.pump(now);
        released
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, to: SocketAddr, bytes: Bytes) {
        self.endpoint.send_raw(to, bytes);
    }

    /// The latest datagram of an operation; the 256 latest finished ones are kept.
    #[must_use]
    pub fn datagram(&self, op: OpId) -> Option<&Bytes> {
        self.endpoint.datagram(*self.latest.get(&op)?)
    }

    /// Sends the latest datagram of an operation once more, byte for byte, also after the operation ended; of a push its latest block. False
    /// when there is none.
    pub fn resend(&mut self, now: Duration, op: OpId) -> bool {
        self.latest
            .get(&op)
            .is_some_and(|exchange| self.endpoint.resend(now, *exchange))
    }

    /// Stops retransmission of a request that is under way; it goes on waiting for the response.
    pub fn suppress_retransmission(&mut self, op: OpId) {
        if let Some(exchange) = self.latest.get(&op) {
            self.endpoint.suppress_retransmission(*exchange);
        }
    }

    /// Ends an operation: no more is sent for it, and it fails as cancelled. An observation is forgotten without telling the device.
    pub fn cancel(&mut self, now: Duration, op: OpId) {
        if self.pushes.contains_key(&op) {
            self.end_push(op, OpFailure::Cancelled);
        } else if self.running.contains_key(&op) {
            self.fail(op, OpFailure::Cancelled, 0);
        }
        self.end_observation(op);
        self.pump(now);
    }

    /// Whether an operation waits for something: a request without response, a push that neither ended nor pauses.
    #[must_use]
    pub fn is_running(&self, op: OpId) -> bool {
        self.running.contains_key(&op) || self.pushes.get(&op).is_some_and(Push::is_running)
    }

    /// The running observations: the operation, the path, and peer and token.
    pub fn observations(&self) -> impl Iterator<Item = (OpId, &LwPath, Observer)> {
        self.observations
            .iter()
            .map(|(op, observation)| (*op, &observation.path, observation.observer))
    }

    // Below: for the other files of this module.

    pub(super) const fn new_op(&mut self) -> OpId {
        self.next_op += 1;
        OpId(self.next_op)
    }

    pub(super) fn tell(&mut self, event: ServerEvent) {
        self.events.push_back(event);
    }

    /// Where a request goes.
    pub(super) fn target(&self, to: Option<SocketAddr>) -> Option<SocketAddr> {
        to.or(self.device_address)
            .or_else(|| self.registration().map(|registration| registration.address))
    }

    /// Gives a request to the CoAP layer and notes whose it is.
    pub(super) fn transmit(&mut self, now: Duration, op: OpId, to: SocketAddr, spec: RequestSpec) -> ExchangeId {
        let (token, token_length) = spec.token.wanted();
        let exchange = self.endpoint.request(
            now,
            to,
            Request {
                packet: spec.packet,
                token,
                token_length,
                message_id: spec.message_id,
                confirmable: spec.confirmable,
                retransmit: spec.retransmit,
                immediate: spec.immediate,
            },
        );
        self.note(op, exchange);
        exchange
    }

    pub(super) fn note(&mut self, op: OpId, exchange: ExchangeId) {
        self.live.insert(exchange, op);
        self.latest.insert(op, exchange);
        if self.latest.len() > 4 * FINISHED_KEPT + self.running.len() + self.pushes.len() {
            let ended = self
                .latest
                .keys()
                .copied()
                .find(|op| !self.running.contains_key(op) && !self.pushes.contains_key(op));
            ended.map(|op| self.latest.remove(&op));
        }
    }

    /// Starts a request of any kind.
    pub(super) fn start(&mut self, now: Duration, spec: RequestSpec) -> OpId {
        let op = self.new_op();
        self.start_as(now, op, spec, None);
        op
    }

    /// Starts the GET that ends an observation.
    pub(super) fn start_cancel(&mut self, now: Duration, observation: OpId) -> Option<OpId> {
        let Observation { observer, request, .. } = self.observations.get(&observation)?;
        let mut packet = request.clone();
        build::set_observe(&mut packet, 1);
        let spec = RequestSpec {
            to: Some(observer.peer),
            token: TokenChoice::Fixed(observer.token),
            ..RequestSpec::new(packet)
        };
        let op = self.new_op();
        self.start_as(now, op, spec, Some(observation));
        Some(op)
    }

    fn start_as(&mut self, now: Duration, op: OpId, spec: RequestSpec, ends: Option<OpId>) {
        let Some(to) = self.target(spec.to) else {
            self.events.push_back(ServerEvent::Failed {
                op,
                reason: OpFailure::NotRegistered,
                transmissions: 0,
            });
            return;
        };
        let path = self.path_of(&spec.packet);
        let kind = match ends {
            Some(observation) => Kind::Unobserve(observation),
            None if build::observe(&spec.packet) == Some(0) => Kind::Observe(spec.packet.clone()),
            None => Kind::Plain(spec.follow_blocks.then(|| spec.packet.clone())),
        };
        let exchange = self.transmit(now, op, to, spec);
        self.running.insert(
            op,
            Op {
                exchange,
                to,
                path,
                kind,
            },
        );
        self.pump(now);
    }

    /// Starts a ping.
    pub(super) fn start_ping(&mut self, now: Duration, to: Option<SocketAddr>) -> OpId {
        let op = self.new_op();
        let Some(to) = self.target(to) else {
            self.events.push_back(ServerEvent::Failed {
                op,
                reason: OpFailure::NotRegistered,
                transmissions: 0,
            });
            return op;
        };
        let exchange = self.endpoint.ping(now, to);
        self.note(op, exchange);
        self.running.insert(
            op,
            Op {
                exchange,
                to,
                path: LwPath::ROOT,
                kind: Kind::Ping,
            },
        );
        self.pump(now);
        op
    }

    /// The RST that ends an observation goes out with the next notification.
    pub(super) fn reset_next(&mut self, observation: OpId) {
        if let Some(observation) = self.observations.get(&observation) {
            self.endpoint
                .set_notification_policy(&observation.observer, NotificationPolicy::Reset);
        }
    }

    /// How notifications of an observation are answered from now on.
    pub fn set_notification_policy(&mut self, observation: OpId, policy: NotificationPolicy) -> bool {
        let observer = self
            .observations
            .get(&observation)
            .map(|observation| observation.observer);
        observer.is_some_and(|observer| self.endpoint.set_notification_policy(&observer, policy))
    }

    /// A registration took the place of another one: its observations are void and its old address is no more (Core, 6.4.1).
    pub(super) fn replaced(&mut self, old: &Registration, new: &Registration) {
        self.void_observations(&old.endpoint);
        if old.address == new.address || !self.config.supersede {
            return;
        }
        let lost: Vec<_> = self
            .running
            .iter()
            .filter(|(_, op)| op.to == old.address)
            .map(|(op, _)| *op)
            .collect();
        lost.into_iter().for_each(|op| self.fail(op, OpFailure::Superseded, 0));
        let lost: Vec<_> = self
            .pushes
            .iter()
            .filter(|(_, push)| push.is_running() && push.to == old.address)
            .map(|(op, _)| *op)
            .collect();
        lost.into_iter().for_each(|op| self.end_push(op, OpFailure::Superseded));
    }

    /// The first device to register is the one that requests go to.
    pub(super) fn adopt(&mut self, endpoint: &str) {
        if self.device.is_none() {
            self.device = Some(endpoint.to_owned());
        }
    }

    pub(super) fn void_observations(&mut self, endpoint: &str) {
        let void: Vec<_> = self
            .observations
            .iter()
            .filter(|(_, observation)| observation.endpoint.as_deref() == Some(endpoint))
            .map(|(op, _)| *op)
            .collect();
        void.into_iter().for_each(|op| self.end_observation(op));
    }

    pub(super) fn end_observation(&mut self, op: OpId) {
        if let Some(observation) = self.observations.remove(&op) {
            if self.by_observer.get(&observation.observer) == Some(&op) {
                self.by_observer.remove(&observation.observer);
            }
            self.endpoint.stop_observing(&observation.observer);
            self.events.push_back(ServerEvent::ObservationEnded { op });
        }
    }

    /// Forgets an exchange of an operation that goes no further.
    pub(super) fn drop_exchange(&mut self, exchange: ExchangeId) {
        self.endpoint.cancel(exchange);
        self.settle(exchange);
    }

    fn fail(&mut self, op: OpId, reason: OpFailure, transmissions: u32) {
        let Some(Op {
            exchange,
            to,
            path,
            kind,
        }) = self.running.remove(&op)
        else {
            return;
        };
        self.drop_exchange(exchange);
        match kind {
            // The notification itself did arrive.
            Kind::Following(follow) if matches!(follow.told, Told::Notification { .. }) => {
                let broken = format!("the rest of the body could not be fetched: {reason}");
                self.finish(op, to, path, follow.first, follow.told, Some(broken));
            }
            _ => self.events.push_back(ServerEvent::Failed {
                op,
                reason,
                transmissions,
            }),
        }
    }

    fn settle(&mut self, exchange: ExchangeId) -> Option<OpId> {
        let op = self.live.remove(&exchange)?;
        if self.finished.len() == FINISHED_KEPT {
            self.finished.pop_first();
        }
        self.finished.insert(exchange, op);
        Some(op)
    }

    /// Works through the events of the CoAP layer.
    pub(super) fn pump(&mut self, now: Duration) {
        while let Some(event) = self.endpoint.poll_event() {
            self.take(now, event);
        }
        if let Some(files) = &mut self.files {
            while let Some(event) = files.poll_event() {
                self.events.push_back(ServerEvent::Repository(event));
            }
        }
    }

    fn take(&mut self, now: Duration, event: Event) {
        match event {
            Event::Request {
                id,
                from,
                packet,
                confirmable,
            } => self.take_request(now, id, from, &packet, confirmable),
            Event::DuplicateRequest { from, count, .. } => {
                self.events.push_back(ServerEvent::Duplicate { from, count });
            }
            Event::Refused { from, code, packet } => self.events.push_back(ServerEvent::Request {
                from,
                method: packet.header.code.into(),
                path: build::path(&packet),
                code: Some(code),
            }),
            Event::Response {
                exchange,
                from,
                packet,
                piggybacked,
                rtt,
                transmissions,
            } => {
                let Some(op) = self.settle(exchange) else {
                    // The answer to a resend after the end.
                    let op = self.finished.get(&exchange).copied();
                    self.events
                        .extend(op.map(|op| ServerEvent::DuplicateResponse { op, packet }));
                    return;
                };
                if self.pushes.contains_key(&op) {
                    self.push_answered(now, op, exchange, &packet, piggybacked, transmissions);
                } else {
                    self.take_response(now, op, exchange, from, packet, (piggybacked, rtt, transmissions));
                }
            }
            Event::DuplicateResponse { exchange, packet, .. } => {
                let op = self.live.get(&exchange).or_else(|| self.finished.get(&exchange));
                self.events
                    .extend(op.map(|op| ServerEvent::DuplicateResponse { op: *op, packet }));
            }
            Event::Acknowledged { exchange, .. } => {
                self.events
                    .extend(self.live.get(&exchange).map(|op| ServerEvent::Acknowledged { op: *op }));
            }
            Event::Failed {
                exchange,
                reason,
                transmissions,
            } => {
                let Some(op) = self.settle(exchange) else { return };
                if self.pushes.contains_key(&op) {
                    self.push_failed(now, op, exchange, reason.into());
                } else if self
                    .running
                    .get(&op)
                    .is_some_and(|running| running.exchange == exchange)
                {
                    self.fail(op, reason.into(), transmissions);
                }
            }
            Event::Notification {
                token,
                from,
                packet,
                confirmable,
                fresh,
                ended,
            } => {
                self.take_notification(now, Observer { peer: from, token }, packet, confirmable, fresh, ended);
            }
            Event::NotifyEnded { .. } | Event::ResponseEnded { .. } | Event::Ping { .. } => {}
            Event::Unmatched { from, packet } => self.events.push_back(ServerEvent::Unmatched { from, packet }),
            Event::Malformed { from, error, .. } => self.events.push_back(ServerEvent::Malformed { from, error }),
            Event::Pong { exchange, from, .. } => {
                if let Some(op) = self.settle(exchange) {
                    self.running.remove(&op);
                    self.events.push_back(ServerEvent::Pong { op, from });
                }
            }
        }
    }

    /// The path of a request below the root path of the device; root when it has none that can be read.
    fn path_of(&self, packet: &Packet) -> LwPath {
        let path = build::path(packet);
        let below = path.strip_prefix(self.root()).unwrap_or(&path);
        below.parse().unwrap_or(LwPath::ROOT)
    }

    /// The root path of the device, such as `/lwm2m`; empty for `/`.
    pub(super) fn root(&self) -> &str {
        self.registration()
            .map_or("", |registration| registration.links.root.trim_end_matches('/'))
    }
}
