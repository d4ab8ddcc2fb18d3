//! The server role: answering requests (RFC 7252, section 5.2) and notifying observers (RFC 7641, section 4).

use core::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use coap_lite::{MessageClass, Packet};
use fotaproof_wire::coap::{Code, Type, encode};

use super::{Endpoint, exchange::Kind, send::Outgoing};
use crate::{ExchangeId, Observer, RequestId, ResponseMode, Token};

/// A request that is not answered yet.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) from: SocketAddr,
    pub(super) message_id: u16,
    pub(super) token: Token,
    pub(super) confirmable: bool,
    pub(super) acknowledged: bool,
}

impl Endpoint {
    /// Answers a request: in the ACK if none was sent, else separately. Of the packet the code, the options and the payload count.
    pub fn respond(&mut self, now: Duration, request: RequestId, response: Packet) {
        self.respond_with(now, request, response, ResponseMode::Auto);
    }

    /// Answers a request in a given way. A confirmable separate response ends with [`Event::ResponseEnded`](crate::Event).
    /// A request that was answered before, or is over, is left alone.
    pub fn respond_with(&mut self, now: Duration, request: RequestId, mut response: Packet, mode: ResponseMode) {
        self.at(now);
        let Some(incoming) = self.incoming.remove(&request) else {
            return;
        };
        let token = self.response_token(&incoming, Code::from(response.header.code));
        if mode == ResponseMode::Auto && incoming.confirmable && !incoming.acknowledged {
            self.piggyback(&incoming, token, response);
            return;
        }
        if incoming.confirmable && !incoming.acknowledged {
            // Whoever repeats the request meanwhile is told that it arrived.
            let [high, low] = incoming.message_id.to_be_bytes();
            let ack = Bytes::copy_from_slice(&[0x60, 0, high, low]);
            self.remember_reply(&incoming, &ack);
        }
        let confirmable = match mode {
            ResponseMode::Auto => incoming.confirmable,
            ResponseMode::SeparateCon => true,
            ResponseMode::SeparateNon => false,
        };
        let outgoing = Outgoing {
            to: incoming.from,
            kind: Kind::Separate(request),
            token,
            confirmable,
            retransmit: true,
            immediate: false,
            message_id: None,
            observe: None,
        };
        self.start(now, outgoing, &mut response);
    }

    fn response_token(&self, incoming: &Incoming, code: Code) -> Token {
        let quirks = &self.config.quirks;
        let lost = (quirks.error_without_token && code.is_error()) || quirks.reply_without_token == Some(code);
        if lost { Token::EMPTY } else { incoming.token }
    }

    fn piggyback(&mut self, incoming: &Incoming, token: Token, mut response: Packet) {
        response.header.set_type(Type::Ack.into());
        response.header.message_id = incoming.message_id;
        response.set_token(token.as_slice().to_vec());
        let bytes = match encode(&response) {
            Ok(bytes) => Bytes::from(bytes),
            Err(_) => ack_with(Code::INTERNAL_SERVER_ERROR, incoming.message_id, token),
        };
        self.remember_reply(incoming, &bytes);
        self.transmit(incoming.from, bytes);
        if self.config.quirks.second_reply {
            self.transmit(
                incoming.from,
                ack_with(Code::INTERNAL_SERVER_ERROR, incoming.message_id, token),
            );
        }
    }

    /// Answers a request of code and token alone, in an ACK.
    pub(super) fn answer_code(&mut self, incoming: &Incoming, code: Code) {
        let token = self.response_token(incoming, code);
        let mut response = Packet::new();
        response.header.code = MessageClass::from(code);
        self.piggyback(incoming, token, response);
    }

    /// Sends an empty ACK now: the response will be separate.
    pub fn acknowledge(&mut self, now: Duration, request: RequestId) {
        self.at(now);
        let Some(incoming) = self.incoming.get_mut(&request) else {
            return;
        };
        if !incoming.confirmable || incoming.acknowledged {
            return;
        }
        incoming.acknowledged = true;
        let (from, message_id) = (incoming.from, incoming.message_id);
        let bytes = self.transmit_empty(from, Type::Ack, message_id);
        self.seen
            .set_reply((from, message_id), &bytes, self.config.reply_cache_bytes);
    }

    /// Never answers a request. Its duplicates are not reported as new ones.
    pub fn ignore(&mut self, request: RequestId) {
        self.incoming.remove(&request);
    }

    /// Rejects a request with an RST (RFC 7252, section 4.2).
    pub fn reset(&mut self, now: Duration, request: RequestId) {
        self.at(now);
        let Some(incoming) = self.incoming.remove(&request) else {
            return;
        };
        let bytes = self.transmit_empty(incoming.from, Type::Rst, incoming.message_id);
        self.remember_reply(&incoming, &bytes);
    }

    /// Sends a notification; its Observe option is the caller's. A notification for the same observer that is still queued gives
    /// way to it. [`Event::NotifyEnded`](crate::Event) tells what became of it; the caller drops the observer on RST or time-out.
    pub fn notify(
        &mut self,
        now: Duration,
        observer: &Observer,
        mut notification: Packet,
        confirmable: bool,
    ) -> ExchangeId {
        self.at(now);
        self.supersede(observer);
        let outgoing = Outgoing {
            to: observer.peer,
            kind: Kind::Notify(*observer),
            token: observer.token,
            confirmable,
            retransmit: true,
            immediate: false,
            message_id: None,
            observe: None,
        };
        self.start(now, outgoing, &mut notification)
    }

    fn remember_reply(&mut self, incoming: &Incoming, bytes: &Bytes) {
        let key = (incoming.from, incoming.message_id);
        self.seen.set_reply(key, bytes, self.config.reply_cache_bytes);
    }
}

/// An ACK of a code and a token alone.
pub(super) fn ack_with(code: Code, message_id: u16, token: Token) -> Bytes {
    let [high, low] = message_id.to_be_bytes();
    let mut bytes = Vec::with_capacity(4 + token.len());
    bytes.extend_from_slice(&[0x60 | token.len() as u8, code.0, high, low]);
    bytes.extend_from_slice(token.as_slice());
    Bytes::from(bytes)
}
