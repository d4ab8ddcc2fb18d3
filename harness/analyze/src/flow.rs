//! Conversations: which carry CoAP, and which end of each is the device.

use fotaproof_wire::coap::{Code, MessageView};
use std::net::SocketAddr;

use crate::facts::{Facts, Message, Target};

/// No device yet.
pub(crate) const NOBODY: u32 = u32::MAX;
/// Datagrams that are no CoAP, after which a conversation is something else.
const MISSES: u8 = 8;
/// Ports of other protocols over UDP, whose messages may look like CoAP by chance.
const OTHERS: [u16; 14] = [53, 67, 68, 69, 123, 137, 138, 161, 443, 500, 1900, 4500, 5353, 5355];
/// CoAP without and with DTLS (RFC 7252, 12.6 and 12.7).
pub(crate) const COAP: u16 = 5683;
pub(crate) const COAPS: u16 = 5684;

/// What a conversation carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Not known yet.
    #[default]
    Unknown,
    Coap,
    Dtls,
    Other,
}

/// A conversation between two addresses.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) ends: (SocketAddr, SocketAddr),
    pub(crate) kind: Kind,
    misses: u8,
    pub(crate) device: u32,
    /// The device is the first of the ends.
    pub(crate) device_first: bool,
    pub(crate) datagrams: u64,
    /// Encrypted records that could not be opened.
    pub(crate) locked: u64,
    /// Messages that were opened.
    pub(crate) opened: u64,
    pub(crate) packet: u64,
}

impl Flow {
    pub(crate) const fn new(ends: (SocketAddr, SocketAddr), packet: u64) -> Self {
        Self {
            ends,
            kind: Kind::Unknown,
            misses: 0,
            device: NOBODY,
            device_first: false,
            datagrams: 0,
            locked: 0,
            opened: 0,
            packet,
        }
    }

    /// Learns from a datagram what the conversation is.
    pub(crate) fn look(&mut self, payload: &[u8], forced: &[u16]) {
        let has = |port: u16| self.ends.0.port() == port || self.ends.1.port() == port;
        if is_dtls(payload) {
            self.kind = Kind::Dtls;
        } else if has(COAP) || forced.iter().any(|port| has(*port)) {
            self.kind = Kind::Coap;
        } else if has(COAPS) {
            self.kind = Kind::Dtls;
        } else if OTHERS.iter().any(|port| has(*port)) {
            self.kind = Kind::Other;
        } else if is_plausible(payload) {
            self.kind = Kind::Coap;
        } else {
            self.misses += 1;
            if self.misses >= MISSES {
                self.kind = Kind::Other;
            }
        }
    }
}

/// A record of DTLS 1.0 to 1.3 (RFC 6347, 4.1; RFC 9146, 4).
fn is_dtls(payload: &[u8]) -> bool {
    matches!(payload, [20..=26, 0xfe, 0xfc..=0xff, ..]) && payload.len() >= 13
}

/// A message that is hardly anything else: options and codes that exist, and something that ties it to an exchange.
fn is_plausible(payload: &[u8]) -> bool {
    let Ok(view) = MessageView::parse(payload) else {
        return false;
    };
    let code = view.code();
    let known = code.name() != "unassigned" && code.class() != 7;
    let tied = code.is_request() && payload.len() > 4 || code.is_response() && !view.token().is_empty();
    known && tied && !Facts::of(&view).strange
}

/// Which end of a message is the device, as far as the message itself tells: true for the sender.
pub(crate) fn sender_is_device(message: &Message<'_>) -> Option<bool> {
    if !message.code.is_request() {
        return None;
    }
    match message.facts.target {
        Target::Register | Target::Registration | Target::Send | Target::Bootstrap => Some(true),
        Target::Lw(_) => Some(false),
        Target::Root if matches!(message.code, Code::FETCH | Code::PATCH | Code::IPATCH) => Some(false),
        Target::Root | Target::Other => None,
    }
}
