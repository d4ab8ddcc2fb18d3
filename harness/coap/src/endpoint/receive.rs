//! What happens to a datagram (RFC 7252, sections 4.2 to 4.5 and 5.3).

use core::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use coap_lite::MessageClass;
use fotaproof_wire::coap::{Code, FormatError, FormatRule, MessageView, Type, option, peek_header};

use super::{
    Endpoint, Observation,
    exchange::{Exchange, Kind, State},
    repair::{has_bad_option, repair},
    seen::{Reply, Subject},
    server::{Incoming, ack_with},
};
use crate::{
    DuplicateFilter, Duplicates, Ended, Event, ExchangeId, Failure, NotificationPolicy, Observer, RequestId, Token,
    observe::is_newer,
};

impl Endpoint {
    /// Takes a datagram.
    pub fn handle_datagram(&mut self, now: Duration, from: SocketAddr, bytes: &[u8]) {
        self.at(now);
        if self
            .config
            .quirks
            .receive_limit
            .is_some_and(|limit| bytes.len() > limit)
        {
            return;
        }
        match MessageView::parse(bytes) {
            Ok(message) => self.on_message(now, from, &message),
            Err(error) => {
                let repaired = repair(bytes, &self.config.quirks);
                match repaired.as_deref().map(MessageView::parse) {
                    Some(Ok(message)) => self.on_message(now, from, &message),
                    _ => self.on_malformed(from, bytes, error),
                }
            }
        }
    }

    fn on_malformed(&mut self, from: SocketAddr, bytes: &[u8], error: FormatError) {
        // Another version is ignored in silence (RFC 7252, section 3).
        if error.rule != FormatRule::Version
            && let Some((_, Type::Con, _, _, message_id)) = peek_header(bytes)
        {
            self.transmit_empty(from, Type::Rst, message_id);
        }
        self.events.push_back(Event::Malformed {
            from,
            error,
            bytes: Bytes::copy_from_slice(bytes),
        });
    }

    fn on_message(&mut self, now: Duration, from: SocketAddr, message: &MessageView<'_>) {
        let code = message.code();
        match message.kind() {
            kind @ (Type::Con | Type::Non) if code.is_request() => {
                self.on_request(now, from, message, kind == Type::Con);
            }
            kind @ (Type::Con | Type::Non) if code.is_response() => {
                self.on_response(now, from, message, kind == Type::Con);
            }
            Type::Con if code.is_empty() => self.on_ping(from, message.message_id()),
            Type::Ack if code.is_empty() => self.on_empty_ack(now, from, message),
            Type::Ack if code.is_response() => self.on_piggybacked(now, from, message),
            Type::Rst if code.is_empty() => self.on_reset(now, from, message),
            kind => self.reject(from, message, kind == Type::Con),
        }
    }

    /// Reports a message that belongs to nothing, and answers it with an RST.
    fn reject(&mut self, from: SocketAddr, message: &MessageView<'_>, reset: bool) {
        if reset {
            self.transmit_empty(from, Type::Rst, message.message_id());
        }
        self.events.push_back(Event::Unmatched {
            from,
            packet: message.to_packet(),
        });
    }

    fn on_ping(&mut self, from: SocketAddr, message_id: u16) {
        let quirks = &self.config.quirks;
        if !quirks.ping_ignored {
            let kind = if quirks.ping_gets_ack { Type::Ack } else { Type::Rst };
            self.transmit_empty(from, kind, message_id);
        }
        self.events.push_back(Event::Ping { from });
    }

    // Requests.

    fn on_request(&mut self, now: Duration, from: SocketAddr, message: &MessageView<'_>, confirmable: bool) {
        let key = (from, message.message_id());
        if self.seen.get_mut(&key).is_some() && !self.on_duplicate(from, message) {
            return;
        }
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.remember(now, from, message.message_id(), confirmable, Subject::Request(id));
        let token = Token::new(message.token()).unwrap_or_default();
        let incoming = Incoming {
            from,
            message_id: message.message_id(),
            token,
            confirmable,
            acknowledged: false,
        };
        let mut packet = message.to_packet();
        let reserved = !matches!(message.code().0, 1..=7);
        if has_bad_option(message, &self.config) {
            self.refuse(incoming, Code::BAD_OPTION, packet);
        } else if reserved && !self.config.quirks.unknown_method_is_get {
            self.refuse(incoming, Code::METHOD_NOT_ALLOWED, packet);
        } else {
            if reserved {
                packet.header.code = MessageClass::from(Code::GET);
            }
            self.incoming.insert(id, incoming);
            self.events.push_back(Event::Request {
                id,
                from,
                packet,
                confirmable,
            });
        }
    }

    /// Answers by itself. A NON is dropped instead (RFC 7252, section 5.4.1).
    fn refuse(&mut self, incoming: Incoming, code: Code, packet: coap_lite::Packet) {
        if incoming.confirmable {
            self.answer_code(&incoming, code);
        }
        self.events.push_back(Event::Refused {
            from: incoming.from,
            code,
            packet,
        });
    }

    /// Repeats the reply to a duplicate. True when it is to be handled as a new request all the same.
    fn on_duplicate(&mut self, from: SocketAddr, message: &MessageView<'_>) -> bool {
        let quirks = &self.config.quirks;
        let treatment = if concerns(quirks.duplicate_filter, message) {
            quirks.duplicates
        } else {
            Duplicates::Repeat
        };
        let Some(entry) = self.seen.get_mut(&(from, message.message_id())) else {
            return true;
        };
        // The reply is gone, and doing it again changes nothing (RFC 7252, section 4.5).
        let safe = matches!(message.code(), Code::GET | Code::FETCH);
        if treatment == Duplicates::Process || (safe && matches!(entry.reply, Reply::Dropped)) {
            return true;
        }
        entry.count += 1;
        if let Subject::Request(id) = entry.subject {
            self.events.push_back(Event::DuplicateRequest {
                id,
                from,
                count: entry.count,
            });
        }
        match treatment {
            Duplicates::Repeat | Duplicates::Process => {
                if let Reply::Sent(bytes) = &entry.reply {
                    let bytes = bytes.clone();
                    self.transmit(from, bytes);
                }
            }
            Duplicates::Drop => {}
            Duplicates::Answer(code) => {
                let token = Token::new(message.token()).unwrap_or_default();
                self.transmit(from, ack_with(code, message.message_id(), token));
            }
        }
        false
    }

    fn remember(&mut self, now: Duration, from: SocketAddr, message_id: u16, confirmable: bool, subject: Subject) {
        let lifetime = if confirmable && self.config.quirks.remembers_for_ever {
            Duration::MAX
        } else if confirmable {
            self.config.exchange_lifetime
        } else {
            self.config.non_lifetime
        };
        self.seen
            .insert((from, message_id), confirmable, now.saturating_add(lifetime), subject);
    }

    // Responses.

    /// A response in a message of its own: separate, to a NON, or a notification.
    fn on_response(&mut self, now: Duration, from: SocketAddr, message: &MessageView<'_>, confirmable: bool) {
        let key = (from, message.message_id());
        if let Some(entry) = self.seen.get_mut(&key) {
            entry.count += 1;
            let subject = entry.subject;
            if let Reply::Sent(bytes) = &entry.reply
                && !self.config.quirks.copied_response_ignored
            {
                let bytes = bytes.clone();
                self.transmit(from, bytes);
            }
            if let Subject::Response(exchange) = subject {
                self.events.push_back(Event::DuplicateResponse {
                    exchange,
                    from,
                    packet: message.to_packet(),
                });
            }
            return;
        }
        let token = Token::new(message.token()).unwrap_or_default();
        let request = self
            .exchanges
            .with_token(from, token)
            .filter(|(_, exchange)| awaits_response(exchange));
        let observer = Observer { peer: from, token };
        let observed = self.observations.contains_key(&observer);
        let notifies = message.option(option::OBSERVE).is_some();
        let acceptable = !has_bad_option(message, &self.config);
        match request.map(|(id, exchange)| (id, exchange.state, exchange.observe, exchange.confirmable)) {
            // While a new request with the same token is on its way, an older observation may still speak.
            Some((id, state, observe, con_request)) if acceptable && !(observed && notifies && observe != Some(0)) => {
                if self.config.quirks.needs_empty_ack && con_request && state == State::Sent {
                    return;
                }
                self.remember(now, from, key.1, confirmable, Subject::Response(id));
                if confirmable && !self.config.quirks.separate_not_acked {
                    self.answer_empty(from, Type::Ack, key.1);
                }
                self.complete(now, from, id, message, false);
            }
            _ if acceptable && observed => self.on_notification(now, observer, message, confirmable),
            _ => {
                self.remember(now, from, key.1, confirmable, Subject::Other);
                // An unwanted notification is answered even if it is a NON, so that it ends (RFC 7641, section 3.6).
                if confirmable || notifies {
                    self.answer_empty(from, Type::Rst, key.1);
                }
                self.events.push_back(Event::Unmatched {
                    from,
                    packet: message.to_packet(),
                });
            }
        }
    }

    /// Sends an empty ACK or RST and keeps it for duplicates.
    fn answer_empty(&mut self, from: SocketAddr, kind: Type, message_id: u16) {
        let bytes = self.transmit_empty(from, kind, message_id);
        self.seen
            .set_reply((from, message_id), &bytes, self.config.reply_cache_bytes);
    }

    fn on_notification(&mut self, now: Duration, observer: Observer, message: &MessageView<'_>, confirmable: bool) {
        let Some(observation) = self.observations.get_mut(&observer) else {
            return;
        };
        let sequence = observe_value(message);
        let mut ended = sequence.is_none() || !message.code().is_success();
        let fresh = sequence.is_none_or(|new| is_newer(observation.sequence, observation.at, new, now));
        if let Some(new) = sequence
            && fresh
        {
            observation.sequence = new;
            observation.at = now;
        }
        let policy = observation.policy;
        let from = observer.peer;
        self.remember(now, from, message.message_id(), confirmable, Subject::Other);
        match policy {
            NotificationPolicy::Accept if confirmable && !self.config.quirks.separate_not_acked => {
                self.answer_empty(from, Type::Ack, message.message_id());
            }
            NotificationPolicy::Reset => {
                self.answer_empty(from, Type::Rst, message.message_id());
                ended = true;
            }
            NotificationPolicy::Accept | NotificationPolicy::Ignore => {}
        }
        if ended {
            self.observations.remove(&observer);
        }
        let packet = message.to_packet();
        self.events.push_back(Event::Notification {
            token: observer.token,
            from,
            packet,
            confirmable,
            fresh,
            ended,
        });
    }

    fn on_piggybacked(&mut self, now: Duration, from: SocketAddr, message: &MessageView<'_>) {
        let token = Token::new(message.token()).unwrap_or_default();
        let unchecked = self.config.quirks.token_unchecked;
        let matching = |exchange: &Exchange| {
            exchange.kind == Kind::Request
                && (unchecked || exchange.token == token || exchange.other_ids.iter().any(|(_, other)| *other == token))
        };
        match self.exchanges.with_message_id(from, message.message_id()) {
            Some((id, exchange)) if matching(exchange) && exchange.confirmable => {
                if exchange.state == State::Finished {
                    self.events.push_back(Event::DuplicateResponse {
                        exchange: id,
                        from,
                        packet: message.to_packet(),
                    });
                } else if !self.rejects_late_ack(id, from, message.message_id()) {
                    // A critical option unknown to us makes the response void (RFC 7252, section 5.4.1).
                    if has_bad_option(message, &self.config) {
                        self.reject(from, message, false);
                    } else {
                        self.complete(now, from, id, message, true);
                    }
                }
            }
            Some(_) => self.reject(from, message, false),
            None => self.on_stray(now, from, message, self.config.quirks.stray_ack_aborts),
        }
    }

    /// Hands over the response to a request and ends the exchange.
    fn complete(
        &mut self,
        now: Duration,
        from: SocketAddr,
        id: ExchangeId,
        message: &MessageView<'_>,
        piggybacked: bool,
    ) {
        if let Some(exchange) = self.exchanges.get(id)
            && exchange.observe.is_some()
        {
            let observer = Observer {
                peer: from,
                token: Token::new(message.token()).unwrap_or_default(),
            };
            match observe_value(message) {
                Some(sequence) if exchange.observe == Some(0) && message.code().is_success() => {
                    let observation = Observation {
                        sequence,
                        at: now,
                        policy: NotificationPolicy::Accept,
                    };
                    self.observations.insert(observer, observation);
                }
                _ => {
                    self.observations.remove(&observer);
                }
            }
        }
        if let Some(event) = self.response_event(id, from, message.to_packet(), piggybacked, now) {
            self.events.push_back(event);
        }
        self.finish(now, id);
    }

    // Empty messages.

    fn on_empty_ack(&mut self, now: Duration, from: SocketAddr, message: &MessageView<'_>) {
        let Some((id, exchange)) = self.exchanges.with_message_id(from, message.message_id()) else {
            self.on_stray(now, from, message, self.config.quirks.stray_ack_aborts);
            return;
        };
        match (exchange.state, exchange.kind) {
            // Late or repeated; the exchange has got what it needed.
            (State::Acknowledged | State::Finished, _) if exchange.confirmable => {}
            (State::Sent, Kind::Request) if exchange.confirmable => {
                let (rtt, transmissions) = (now.saturating_sub(exchange.first_sent), exchange.transmissions);
                if self.rejects_late_ack(id, from, message.message_id()) {
                    return;
                }
                if let Some(exchange) = self.exchanges.get_mut(id) {
                    exchange.state = State::Acknowledged;
                }
                self.exchanges
                    .set_timer(id, Some(now.saturating_add(self.config.separate_timeout)));
                self.release(id);
                self.events.push_back(Event::Acknowledged {
                    exchange: id,
                    rtt,
                    transmissions,
                });
                self.pump(now, from);
            }
            (State::Sent, Kind::Notify(_) | Kind::Separate(_)) => self.delivered(now, id),
            _ => self.reject(from, message, false),
        }
    }

    fn delivered(&mut self, now: Duration, id: ExchangeId) {
        match self.exchanges.get(id).map(|exchange| exchange.kind) {
            Some(Kind::Notify(observer)) => {
                self.events.push_back(Event::NotifyEnded {
                    exchange: id,
                    observer,
                    reason: Ended::Acknowledged,
                });
            }
            Some(Kind::Separate(id)) => self.events.push_back(Event::ResponseEnded {
                id,
                reason: Ended::Acknowledged,
            }),
            _ => {}
        }
        self.finish(now, id);
    }

    fn on_reset(&mut self, now: Duration, from: SocketAddr, message: &MessageView<'_>) {
        let Some((id, exchange)) = self.exchanges.with_message_id(from, message.message_id()) else {
            self.on_stray(now, from, message, self.config.quirks.stray_rst_aborts);
            return;
        };
        let over = exchange.state == State::Finished;
        match exchange.kind {
            Kind::Notify(_) if self.config.quirks.rst_ignored => {
                if !over {
                    self.delivered(now, id);
                }
            }
            // A NON notification is over once sent, and may still be reset.
            Kind::Notify(observer) if over && !exchange.confirmable => {
                self.events.push_back(Event::NotifyEnded {
                    exchange: id,
                    observer,
                    reason: Ended::Reset,
                });
            }
            _ if over => self.reject(from, message, false),
            Kind::Ping => {
                let rtt = now.saturating_sub(exchange.first_sent);
                self.events.push_back(Event::Pong {
                    exchange: id,
                    from,
                    rtt,
                });
                self.finish(now, id);
            }
            _ => self.fail(now, id, Failure::Reset),
        }
    }

    /// An ACK or RST of an unknown message ID is ignored (RFC 7252, section 4.2), unless a quirk says otherwise.
    fn on_stray(&mut self, now: Duration, from: SocketAddr, message: &MessageView<'_>, aborts: bool) {
        self.reject(from, message, false);
        if aborts && let Some(id) = self.exchanges.oldest(from) {
            self.fail(now, id, Failure::Reset);
        }
    }

    /// With a quirk, rejects an ACK that comes after a retransmission.
    fn rejects_late_ack(&mut self, id: ExchangeId, from: SocketAddr, message_id: u16) -> bool {
        let late = self.config.quirks.late_ack_rejected
            && self
                .exchanges
                .get(id)
                .is_some_and(|exchange| exchange.retransmissions > 0);
        if late {
            self.transmit_empty(from, Type::Rst, message_id);
        }
        late
    }
}

const fn awaits_response(exchange: &Exchange) -> bool {
    matches!(exchange.state, State::Sent | State::Acknowledged)
}

fn observe_value(message: &MessageView<'_>) -> Option<u32> {
    message
        .option(option::OBSERVE)?
        .uint()
        .map(|value| (value & 0xff_ffff) as u32)
}

fn concerns(filter: DuplicateFilter, message: &MessageView<'_>) -> bool {
    let block = message.block1().ok().flatten();
    match filter {
        DuplicateFilter::Any => true,
        DuplicateFilter::FirstBlock => block.is_some_and(|block| block.num == 0 && block.more),
        DuplicateFilter::MiddleBlock => block.is_some_and(|block| block.num > 0 && block.more),
        DuplicateFilter::LastBlock => block.is_some_and(|block| !block.more),
        DuplicateFilter::PlainPost => block.is_none() && message.code() == Code::POST,
        DuplicateFilter::PlainPut => block.is_none() && message.code() == Code::PUT,
    }
}
