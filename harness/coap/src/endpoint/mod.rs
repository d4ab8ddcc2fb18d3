//! The message layer and the request/response layer of RFC 7252, for any number of peers.
//!
//! `mod.rs` has the life of an endpoint and its client role, `server.rs` the server role, `receive.rs` what happens to a
//! datagram, `send.rs` queues, sends and repeats.

mod exchange;
mod peer;
mod receive;
mod repair;
mod seen;
mod send;
mod server;

use core::{net::SocketAddr, time::Duration};
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use coap_lite::Packet;
use fotaproof_wire::coap::{Type, build};

use self::{
    exchange::{Exchanges, Kind, State},
    peer::Peers,
    seen::Seen,
    send::Outgoing,
    server::Incoming,
};
use crate::{
    Config, Ended, Event, ExchangeId, Failure, NotificationPolicy, Observer, Request, RequestId, Token, Transmit,
};

/// An observation of ours (RFC 7641).
#[derive(Debug, Clone, Copy)]
struct Observation {
    sequence: u32,
    at: Duration,
    policy: NotificationPolicy,
}

/// A CoAP endpoint.
///
/// Feed it with [`handle_datagram`](Self::handle_datagram) and [`handle_timeout`](Self::handle_timeout), then drain
/// [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event) and wait until
/// [`poll_deadline`](Self::poll_deadline). Same seed, same inputs: same outputs.
#[derive(Debug)]
pub struct Endpoint {
    config: Config,
    rng: fastrand::Rng,
    /// The last time we were told.
    now: Duration,
    peers: Peers,
    exchanges: Exchanges,
    incoming: BTreeMap<RequestId, Incoming>,
    next_request: u64,
    seen: Seen,
    observations: BTreeMap<Observer, Observation>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

impl Endpoint {
    /// An endpoint. Message IDs, tokens and time-outs follow from the seed.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            config,
            rng: fastrand::Rng::with_seed(seed),
            now: Duration::ZERO,
            peers: Peers::default(),
            exchanges: Exchanges::default(),
            incoming: BTreeMap::new(),
            next_request: 0,
            seen: Seen::default(),
            observations: BTreeMap::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// The settings.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The settings, to change from now on.
    pub const fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }

    /// Does what is due at `now`: retransmissions, giving up, queued messages.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.at(now);
        while let Some(id) = self.exchanges.take_due(now) {
            self.on_timer(now, id);
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Self::handle_timeout`] has to be called.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Duration> {
        self.exchanges.next_timer()
    }

    fn at(&mut self, now: Duration) {
        self.now = now;
        let incoming = &mut self.incoming;
        self.seen.expire(now, |id| {
            incoming.remove(&id);
        });
    }

    // Client role.

    /// Sends a request, or queues it until fewer than NSTART confirmable messages are in flight to this peer.
    pub fn request(&mut self, now: Duration, to: SocketAddr, mut request: Request) -> ExchangeId {
        self.request_of(now, to, &mut request)
    }

    /// The same for a packet that is needed again, as the one of all blocks of a body: only its type and its token change.
    pub fn request_of(&mut self, now: Duration, to: SocketAddr, request: &mut Request) -> ExchangeId {
        self.at(now);
        let token = request.token.unwrap_or_else(|| {
            let length = request.token_length.unwrap_or(self.config.token_length);
            Token::random(length, &mut self.rng)
        });
        let observe = build::observe(&request.packet);
        let outgoing = Outgoing {
            to,
            kind: Kind::Request,
            token,
            confirmable: request.confirmable,
            retransmit: request.retransmit,
            immediate: request.immediate,
            message_id: request.message_id,
            observe,
        };
        self.start(now, outgoing, &mut request.packet)
    }

    /// Sends an empty CON (RFC 7252, section 4.3). [`Event::Pong`] or [`Event::Failed`] follows.
    pub fn ping(&mut self, now: Duration, to: SocketAddr) -> ExchangeId {
        self.at(now);
        let outgoing = Outgoing {
            to,
            kind: Kind::Ping,
            token: Token::EMPTY,
            confirmable: true,
            retransmit: true,
            immediate: true,
            message_id: None,
            observe: None,
        };
        self.start(now, outgoing, &mut build::empty(Type::Con, 0))
    }

    /// Stops sending an exchange again and forgets it. No event follows; a late response is [`Event::Unmatched`].
    pub fn cancel(&mut self, exchange: ExchangeId) {
        self.release(exchange);
        if let Some(cancelled) = self.exchanges.remove(exchange) {
            self.pump(self.now, cancelled.peer);
        }
    }

    /// Sends the datagram of an exchange once more, byte for byte. An exchange that is over is open again for one answer, without
    /// retransmission. False when it was never sent or is forgotten.
    pub fn resend(&mut self, now: Duration, exchange: ExchangeId) -> bool {
        self.at(now);
        let Some(known) = self.exchanges.get_mut(exchange) else {
            return false;
        };
        if known.datagram.is_empty() {
            return false;
        }
        known.transmissions += 1;
        let (to, bytes) = (known.peer, known.datagram.clone());
        if known.state == State::Finished {
            known.state = State::Sent;
            known.retransmit = false;
            known.first_sent = now;
            self.exchanges.index(exchange);
            self.exchanges
                .set_timer(exchange, Some(now.saturating_add(self.config.non_lifetime)));
        }
        self.transmit(to, bytes);
        true
    }

    /// Sends an exchange no more by itself. It still fails when a retransmitted one would.
    pub fn suppress_retransmission(&mut self, exchange: ExchangeId) {
        let wait = self.config.max_transmit_wait();
        let Some(known) = self.exchanges.get_mut(exchange) else {
            return;
        };
        known.retransmit = false;
        if known.state == State::Sent {
            let at = known.first_sent.saturating_add(wait);
            self.exchanges.set_timer(exchange, Some(at));
        }
    }

    /// The token of an exchange.
    #[must_use]
    pub fn token(&self, exchange: ExchangeId) -> Option<Token> {
        self.exchanges.get(exchange).map(|known| known.token)
    }

    /// The message ID of an exchange; nothing while it is queued.
    #[must_use]
    pub fn message_id(&self, exchange: ExchangeId) -> Option<u16> {
        self.exchanges.get(exchange)?.message_id
    }

    /// The datagram of an exchange; nothing while it is queued or once it is forgotten.
    #[must_use]
    pub fn datagram(&self, exchange: ExchangeId) -> Option<&Bytes> {
        self.exchanges
            .get(exchange)
            .map(|known| &known.datagram)
            .filter(|bytes| !bytes.is_empty())
    }

    /// The last datagram sent to a peer, raw ones included.
    #[must_use]
    pub fn last_message_to(&self, peer: SocketAddr) -> Option<&Bytes> {
        self.peers.get(&peer)?.last_sent.as_ref()
    }

    /// A fresh token from the seed, to use for several requests.
    pub fn draw_token(&mut self, length: usize) -> Token {
        Token::random(length, &mut self.rng)
    }

    /// Forgets an observation of ours without telling the peer; its next notification gets an RST. False when there is none.
    pub fn stop_observing(&mut self, observation: &Observer) -> bool {
        self.observations.remove(observation).is_some()
    }

    /// Sets how the notifications of an observation of ours are answered. False when there is none.
    pub fn set_notification_policy(&mut self, observation: &Observer, policy: NotificationPolicy) -> bool {
        match self.observations.get_mut(observation) {
            Some(known) => {
                known.policy = policy;
                true
            }
            None => false,
        }
    }

    /// The observations of ours.
    pub fn observations(&self) -> impl Iterator<Item = Observer> + '_ {
        self.observations.keys().copied()
    }

    /// Sends a datagram as it is.
    pub fn send_raw(&mut self, to: SocketAddr, bytes: impl Into<Bytes>) {
        self.transmit(to, bytes.into());
    }

    /// Forgets everything about a peer, as when it rebooted: exchanges end without events, message IDs seen count no more.
    pub fn forget_peer(&mut self, peer: SocketAddr) {
        for id in self.exchanges.of_peer(peer) {
            self.exchanges.remove(id);
        }
        self.incoming.retain(|_, incoming| incoming.from != peer);
        self.observations.retain(|observation, _| observation.peer != peer);
        self.seen.forget(peer);
        self.peers.remove(&peer);
    }

    /// How many message IDs of peers are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.seen.len()
    }

    /// Reports the end of an exchange and keeps it for late copies.
    fn fail(&mut self, now: Duration, id: ExchangeId, reason: Failure) {
        let Some(exchange) = self.exchanges.get(id) else { return };
        let ended = match reason {
            Failure::TimedOut => Ended::TimedOut,
            Failure::Reset => Ended::Reset,
            Failure::Unencodable => Ended::Unencodable,
        };
        let event = match exchange.kind {
            Kind::Request | Kind::Ping => Event::Failed {
                exchange: id,
                reason,
                transmissions: exchange.transmissions,
            },
            Kind::Notify(observer) => Event::NotifyEnded {
                exchange: id,
                observer,
                reason: ended,
            },
            Kind::Separate(request) => Event::ResponseEnded {
                id: request,
                reason: ended,
            },
        };
        self.events.push_back(event);
        self.finish(now, id);
    }

    /// Ends an exchange and lets the next of the queue go.
    fn finish(&mut self, now: Duration, id: ExchangeId) {
        self.release(id);
        let peer = self.exchanges.get(id).map(|exchange| exchange.peer);
        self.exchanges.finish(id, self.config.finished_kept);
        if let Some(peer) = peer {
            self.pump(now, peer);
        }
    }

    fn response_event(
        &self,
        id: ExchangeId,
        from: SocketAddr,
        packet: Packet,
        piggybacked: bool,
        now: Duration,
    ) -> Option<Event> {
        let exchange = self.exchanges.get(id)?;
        let rtt = now.saturating_sub(exchange.first_sent);
        Some(Event::Response {
            exchange: id,
            from,
            packet,
            piggybacked,
            rtt,
            transmissions: exchange.transmissions,
        })
    }
}
