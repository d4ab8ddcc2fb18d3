//! Queueing, sending and repeating (RFC 7252, sections 4.2, 4.3 and 4.7).

use core::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use coap_lite::Packet;
use fotaproof_wire::coap::{Type, encode};

use super::{
    Endpoint,
    exchange::{Exchange, Kind, State},
};
use crate::{Ended, Event, ExchangeId, Failure, Observer, Token, Transmit};

/// A message of ours that starts an exchange.
pub(super) struct Outgoing {
    pub(super) to: SocketAddr,
    pub(super) kind: Kind,
    pub(super) token: Token,
    pub(super) confirmable: bool,
    pub(super) retransmit: bool,
    pub(super) immediate: bool,
    pub(super) message_id: Option<u16>,
    pub(super) observe: Option<u32>,
}

impl Endpoint {
    pub(super) fn transmit(&mut self, to: SocketAddr, bytes: Bytes) {
        self.peers.entry(to, &mut self.rng).last_sent = Some(bytes.clone());
        self.transmits.push_back(Transmit { to, bytes });
    }

    /// Sends an empty ACK or RST.
    pub(super) fn transmit_empty(&mut self, to: SocketAddr, kind: Type, message_id: u16) -> Bytes {
        let [high, low] = message_id.to_be_bytes();
        let bytes = Bytes::copy_from_slice(&[0x40 | kind.bits() << 4, 0, high, low]);
        self.transmit(to, bytes.clone());
        bytes
    }

    /// Sends the message of a packet, or queues it. The packet gets its type and its token.
    pub(super) fn start(&mut self, now: Duration, outgoing: Outgoing, packet: &mut Packet) -> ExchangeId {
        let kind = if outgoing.confirmable { Type::Con } else { Type::Non };
        packet.header.set_type(kind.into());
        if packet.get_token() != outgoing.token.as_slice() {
            packet.set_token(outgoing.token.as_slice().to_vec());
        }
        let draft = encode(packet);
        let encoded = draft.is_ok();
        let peer = outgoing.to;
        let id = self.exchanges.insert(Exchange {
            peer,
            kind: outgoing.kind,
            state: State::Queued,
            confirmable: outgoing.confirmable,
            immediate: outgoing.immediate || !outgoing.confirmable,
            retransmit: outgoing.retransmit && !self.config.quirks.no_retransmission,
            message_id: outgoing.message_id,
            token: outgoing.token,
            draft: draft.unwrap_or_default(),
            datagram: Bytes::new(),
            observe: outgoing.observe,
            counted: false,
            transmissions: 0,
            retransmissions: 0,
            first_sent: now,
            timeout: Duration::ZERO,
            timer: None,
            other_ids: Vec::new(),
        });
        if !encoded {
            self.fail(now, id, Failure::Unencodable);
            return id;
        }
        if outgoing.immediate || !outgoing.confirmable {
            self.first_send(now, id);
        } else {
            self.peers.entry(peer, &mut self.rng).queue.push_back(id);
            self.pump(now, peer);
        }
        id
    }

    /// Sends what waits for the peer, as far as NSTART and message IDs allow.
    pub(super) fn pump(&mut self, now: Duration, peer: SocketAddr) {
        let limit = self.config.nstart.max(1);
        loop {
            let Some(known) = self.peers.get_mut(&peer) else { return };
            if known.in_flight >= limit {
                return;
            }
            let Some(&id) = known.queue.front() else { return };
            let waits = self
                .exchanges
                .get(id)
                .is_some_and(|exchange| exchange.state == State::Queued);
            if waits && !self.first_send(now, id) {
                return;
            }
            if let Some(known) = self.peers.get_mut(&peer) {
                known.queue.pop_front();
            }
        }
    }

    /// Gives the message its message ID and sends it. False when there is no free message ID yet.
    fn first_send(&mut self, now: Duration, id: ExchangeId) -> bool {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return true;
        };
        let known = self.peers.entry(exchange.peer, &mut self.rng);
        let message_id = match exchange.message_id {
            Some(message_id) => message_id,
            None => match known
                .message_ids
                .draw(now, self.config.exchange_lifetime, &self.config.quirks)
            {
                Ok(message_id) => message_id,
                Err(free) => {
                    self.exchanges.set_timer(id, Some(free));
                    return false;
                }
            },
        };
        let mut bytes = core::mem::take(&mut exchange.draft);
        if let Some(place) = bytes.get_mut(2..4) {
            place.copy_from_slice(&message_id.to_be_bytes());
        }
        exchange.message_id = Some(message_id);
        exchange.datagram = Bytes::from(bytes);
        exchange.state = State::Sent;
        exchange.transmissions = 1;
        exchange.first_sent = now;
        if exchange.confirmable {
            exchange.counted = true;
            known.in_flight += 1;
        }
        let config = &self.config;
        let timer = if exchange.confirmable && exchange.retransmit {
            exchange.timeout = config.quirks.retransmit_early.unwrap_or_else(|| {
                let spread = config.ack_timeout.mul_f64((config.ack_random_factor - 1.0).max(0.0));
                let extra = self.rng.u64(0..=u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX));
                config.ack_timeout + Duration::from_nanos(extra)
            });
            exchange.timeout
        } else if exchange.confirmable {
            config.max_transmit_wait()
        } else {
            config.non_lifetime
        };
        let (to, datagram) = (exchange.peer, exchange.datagram.clone());
        // A NON that is no request awaits nothing, but an RST may name it.
        let over = !exchange.confirmable && exchange.kind != Kind::Request;
        self.exchanges.index(id);
        if over {
            self.finish(now, id);
        } else {
            self.exchanges.set_timer(id, Some(now.saturating_add(timer)));
        }
        self.transmit(to, datagram);
        true
    }

    pub(super) fn on_timer(&mut self, now: Duration, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get(id) else { return };
        let config = &self.config;
        match exchange.state {
            State::Queued if exchange.immediate => {
                self.first_send(now, id);
            }
            State::Queued => self.pump(now, exchange.peer),
            State::Finished => {}
            State::Sent if exchange.retransmit && exchange.confirmable => {
                let limit = config.quirks.gives_up_after.unwrap_or(config.max_retransmit);
                if exchange.retransmissions >= limit {
                    self.fail(now, id, Failure::TimedOut);
                } else {
                    self.retransmit(now, id);
                }
            }
            State::Sent | State::Acknowledged => self.fail(now, id, Failure::TimedOut),
        }
    }

    fn retransmit(&mut self, now: Duration, id: ExchangeId) {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return;
        };
        exchange.transmissions += 1;
        exchange.retransmissions += 1;
        if self.config.quirks.retransmit_early.is_none() {
            exchange.timeout = exchange.timeout.saturating_mul(2);
        }
        let at = now.saturating_add(exchange.timeout);
        let (to, mut datagram) = (exchange.peer, exchange.datagram.clone());
        let quirks = &self.config.quirks;
        if quirks.retransmit_new_mid || quirks.retransmit_new_token || quirks.retransmit_altered {
            datagram = self.altered(now, id, &datagram);
        }
        self.exchanges.set_timer(id, Some(at));
        self.transmit(to, datagram);
    }

    /// A retransmission that is not what was sent before.
    fn altered(&mut self, now: Duration, id: ExchangeId, datagram: &Bytes) -> Bytes {
        let Some(exchange) = self.exchanges.get_mut(id) else {
            return datagram.clone();
        };
        let quirks = &self.config.quirks;
        let mut bytes = datagram.to_vec();
        let before = (exchange.message_id, exchange.token);
        if quirks.retransmit_new_mid
            && let Ok(message_id) = self.peers.entry(exchange.peer, &mut self.rng).message_ids.draw(
                now,
                self.config.exchange_lifetime,
                quirks,
            )
            && let Some(place) = bytes.get_mut(2..4)
        {
            place.copy_from_slice(&message_id.to_be_bytes());
            exchange.message_id = Some(message_id);
        }
        let length = exchange.token.len();
        if quirks.retransmit_new_token
            && exchange.kind == Kind::Request
            && let Some(place) = bytes.get_mut(4..4 + length)
        {
            let token = Token::random(length, &mut self.rng);
            place.copy_from_slice(token.as_slice());
            exchange.token = token;
        }
        if quirks.retransmit_altered
            && let Some(last) = bytes.last_mut()
        {
            *last ^= 0xff;
        }
        if let (Some(message_id), token) = before {
            exchange.other_ids.push((message_id, token));
        }
        let bytes = Bytes::from(bytes);
        if !quirks.retransmit_altered {
            exchange.datagram = bytes.clone();
        }
        self.exchanges.index(id);
        bytes
    }

    /// Gives up the place of an exchange among those in flight.
    pub(super) fn release(&mut self, id: ExchangeId) {
        if let Some(exchange) = self.exchanges.get_mut(id)
            && core::mem::take(&mut exchange.counted)
            && let Some(known) = self.peers.get_mut(&exchange.peer)
        {
            known.in_flight = known.in_flight.saturating_sub(1);
        }
    }

    /// Takes a notification for the observer that was not sent yet out of the queue: a newer one replaces it (RFC 7641,
    /// section 4.5).
    pub(super) fn supersede(&mut self, observer: &Observer) {
        let Some(known) = self.peers.get_mut(&observer.peer) else {
            return;
        };
        let exchanges = &self.exchanges;
        let stale = |id: &ExchangeId| {
            exchanges
                .get(*id)
                .is_some_and(|exchange| exchange.state == State::Queued && exchange.kind == Kind::Notify(*observer))
        };
        let Some(index) = known.queue.iter().position(stale) else {
            return;
        };
        if let Some(id) = known.queue.remove(index) {
            self.exchanges.remove(id);
            self.events.push_back(Event::NotifyEnded {
                exchange: id,
                observer: *observer,
                reason: Ended::Superseded,
            });
        }
    }
}
