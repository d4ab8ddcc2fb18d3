//! The message layer.

use core::{net::SocketAddr, time::Duration};
use std::collections::VecDeque;

use bytes::Bytes;
use coap_lite::Packet;

use crate::{Config, Event, ExchangeId, NotificationPolicy, Observer, Request, RequestId, ResponseMode, Token, Transmit};

/// A CoAP endpoint: message layer and request/response layer for any number of peers.
#[derive(Debug)]
pub struct Endpoint {
    config: Config,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

#[expect(unused_variables, reason = "skeleton, filled in within the hour")]
#[expect(clippy::needless_pass_by_ref_mut, reason = "skeleton, filled in within the hour")]
#[expect(missing_docs, reason = "skeleton, filled in within the hour")]
impl Endpoint {
    pub fn new(config: Config, seed: u64) -> Self {
        Self { config, transmits: VecDeque::new(), events: VecDeque::new() }
    }
    pub fn config(&self) -> &Config {
        &self.config
    }
    pub fn config_mut(&mut self) -> &mut Config {
        &mut self.config
    }
    pub fn handle_datagram(&mut self, now: Duration, from: SocketAddr, bytes: &[u8]) {}
    pub fn handle_timeout(&mut self, now: Duration) {}
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }
    pub fn poll_deadline(&self) -> Option<Duration> {
        None
    }
    pub fn request(&mut self, now: Duration, to: SocketAddr, request: Request) -> ExchangeId {
        ExchangeId(0)
    }
    pub fn ping(&mut self, now: Duration, to: SocketAddr) -> ExchangeId {
        ExchangeId(0)
    }
    pub fn cancel(&mut self, exchange: ExchangeId) {}
    pub fn resend(&mut self, now: Duration, exchange: ExchangeId) -> bool {
        false
    }
    pub fn suppress_retransmission(&mut self, exchange: ExchangeId) {}
    pub fn token(&self, exchange: ExchangeId) -> Option<Token> {
        None
    }
    pub fn message_id(&self, exchange: ExchangeId) -> Option<u16> {
        None
    }
    pub fn datagram(&self, exchange: ExchangeId) -> Option<&Bytes> {
        None
    }
    pub fn last_message_to(&self, peer: SocketAddr) -> Option<&Bytes> {
        None
    }
    pub fn draw_token(&mut self, length: usize) -> Token {
        Token::EMPTY
    }
    pub fn stop_observing(&mut self, observation: &Observer) -> bool {
        false
    }
    pub fn set_notification_policy(&mut self, observation: &Observer, policy: NotificationPolicy) -> bool {
        false
    }
    pub fn observations(&self) -> impl Iterator<Item = Observer> + '_ {
        core::iter::empty()
    }
    pub fn respond(&mut self, now: Duration, request: RequestId, response: Packet) {}
    pub fn respond_with(&mut self, now: Duration, request: RequestId, response: Packet, mode: ResponseMode) {}
    pub fn acknowledge(&mut self, now: Duration, request: RequestId) {}
    pub fn ignore(&mut self, request: RequestId) {}
    pub fn reset(&mut self, now: Duration, request: RequestId) {}
    pub fn notify(&mut self, now: Duration, observer: &Observer, notification: Packet, confirmable: bool) -> ExchangeId {
        ExchangeId(0)
    }
    pub fn send_raw(&mut self, to: SocketAddr, bytes: impl Into<Bytes>) {}
    pub fn forget_peer(&mut self, peer: SocketAddr) {}
}
