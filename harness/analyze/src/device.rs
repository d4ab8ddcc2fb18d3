//! One device: its registrations, transfers, firmware states and traffic, and the checks over all it sent and received.

mod answers;
mod requests;
mod summary;
mod values;

use core::time::Duration;
use fotaproof_checks::Checks;
use fotaproof_lwm2m::definitions::Versions;
use fotaproof_lwm2m::registration::RegistrationRequest;
use fotaproof_trace::Finding;
use fotaproof_wire::LwPath;
use fotaproof_wire::coap::{BlockValue, Code, Type};
use std::collections::VecDeque;
use std::net::SocketAddr;

use self::values::Bodies;
use crate::facts::{Message, Target, Token};
use crate::firmware::Firmware;
use crate::report::{Registrations, TimelineEntry, Traffic};
use crate::stats::Histogram;
use crate::transfer::{Transfer, Way};
use crate::verdict::Judged;

/// Messages remembered for answers and copies.
const RECENT: usize = 16;
/// Observations remembered.
const OBSERVATIONS: usize = 64;
/// Transfers kept.
const TRANSFERS: usize = 64;
/// Transfers under way.
const ACTIVE: usize = 8;
/// Entries of the timeline kept.
const TIMELINE: usize = 256;
/// Addresses and locations kept.
const ADDRESSES: usize = 64;

/// Where a message stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) flow: u32,
    pub(crate) from_device: bool,
    pub(crate) at: Duration,
    pub(crate) packet: u64,
    /// Bytes of IP packets.
    pub(crate) air: u32,
    /// Bytes of the message.
    pub(crate) length: u32,
}

/// A message that may be answered or come again.
#[derive(Clone, Copy, Debug)]
struct Recent {
    seen: Seen,
    kind: Option<Type>,
    message_id: u16,
    token: Token,
    code: Code,
    target: Target,
    uri: u64,
    block1: Option<BlockValue>,
    block2: Option<BlockValue>,
    observe: Option<u32>,
    copies: u32,
    acknowledged: bool,
    responded: bool,
    transfer: Option<usize>,
}

/// What the answer to a registration needs to know.
#[derive(Debug, Default)]
struct Pending {
    token: Token,
    request: RegistrationRequest,
    packet: u64,
}

/// What a message means for the tables of all devices.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Learnt {
    /// A location was given to the device.
    pub(crate) location: Option<String>,
    /// An observation with that token began.
    pub(crate) observation: Option<Token>,
    /// A URI from which it shall fetch.
    pub(crate) package_uri: Option<u64>,
}

/// Everything known of one device.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) registered: bool,
    pub(crate) checks: Checks,
    pub(crate) findings: Vec<Finding>,
    pub(crate) judged: Judged,
    addresses: Vec<(SocketAddr, u64)>,
    lwm2m: Option<String>,
    versions: Versions,
    registrations: Registrations,
    generation: u32,
    pending: Option<Box<Pending>>,
    recent: VecDeque<Recent>,
    /// Message id and direction of each of `recent`, close together: most messages are none of them.
    ids: VecDeque<u32>,
    observations: Vec<(Token, LwPath)>,
    transfers: Vec<Transfer>,
    active: Vec<(Way, u64, usize)>,
    firmware: Firmware,
    bodies: Bodies,
    pub(crate) traffic: Traffic,
    round_trips: Histogram,
    timeline: Vec<TimelineEntry>,
    timeline_dropped: u64,
    transfers_dropped: u64,
}

impl Device {
    pub(crate) fn new(name: String, checks: Checks) -> Self {
        Self {
            name,
            registered: false,
            checks,
            findings: Vec::new(),
            judged: Judged::default(),
            addresses: Vec::new(),
            lwm2m: None,
            versions: Versions::of(fotaproof_lwm2m::definitions::Version::V1_1),
            registrations: Registrations::default(),
            generation: 0,
            pending: None,
            recent: VecDeque::with_capacity(RECENT),
            ids: VecDeque::with_capacity(RECENT),
            observations: Vec::new(),
            transfers: Vec::new(),
            active: Vec::new(),
            firmware: Firmware::default(),
            bodies: Bodies::default(),
            traffic: Traffic::default(),
            round_trips: Histogram::default(),
            timeline: Vec::new(),
            timeline_dropped: 0,
            transfers_dropped: 0,
        }
    }

    pub(crate) const fn has_no_address(&self) -> bool {
        self.addresses.is_empty()
    }

    /// It is at this address now.
    pub(crate) fn at_address(&mut self, address: SocketAddr, at: Duration, packet: u64) {
        if self.addresses.iter().any(|(known, _)| *known == address) || self.addresses.len() >= ADDRESSES {
            return;
        }
        if let Some((before, _)) = self.addresses.last() {
            let text = format!("seen at {address}, before at {before}");
            self.tell(at, packet, text);
        }
        self.addresses.push((address, packet));
    }

    pub(crate) fn tell(&mut self, at: Duration, packet: u64, text: String) {
        if self.timeline.len() >= TIMELINE {
            self.timeline_dropped += 1;
            return;
        }
        self.timeline.push(TimelineEntry {
            at: at.as_secs_f64(),
            packet,
            text,
        });
    }

    /// Counts a datagram that is no message.
    pub(crate) fn on_malformed(&mut self, seen: &Seen) {
        self.count(seen);
        if seen.from_device {
            self.traffic.malformed += 1;
            self.judged.sent += 1;
        }
    }

    fn count(&mut self, seen: &Seen) {
        let traffic = &mut self.traffic;
        if seen.from_device {
            traffic.sent += 1;
            traffic.sent_bytes += u64::from(seen.air);
        } else {
            traffic.received += 1;
            traffic.received_bytes += u64::from(seen.air);
        }
    }

    /// A message that the device sent or received.
    pub(crate) fn on_message(&mut self, message: &Message<'_>, seen: &Seen) -> Learnt {
        self.count(seen);
        self.judged.sent += u64::from(seen.from_device);
        let mut learnt = Learnt::default();
        if matches!(message.kind, Some(Type::Con | Type::Non)) && self.is_copy(message, seen) {
            return learnt;
        }
        if message.code.is_request() {
            self.on_request(message, seen, &mut learnt);
        } else if message.code.is_response() {
            self.on_response(message, seen, &mut learnt);
        } else if matches!(message.kind, Some(Type::Ack | Type::Rst)) {
            self.on_empty(message, seen);
        } else if message.kind == Some(Type::Con) && !seen.from_device {
            self.judged.pings += 1;
        }
        learnt
    }

    fn is_copy(&mut self, message: &Message<'_>, seen: &Seen) -> bool {
        let id = id_of(message.message_id, seen.from_device);
        if !self.ids.contains(&id) {
            return false;
        }
        let found = self.recent.iter_mut().rev().find(|recent| {
            recent.message_id == message.message_id
                && recent.seen.from_device == seen.from_device
                && recent.kind == message.kind
                && recent.token == message.token
                && recent.code == message.code
                && recent.seen.length == seen.length
                && recent.seen.flow == seen.flow
        });
        let Some(recent) = found else { return false };
        recent.copies += 1;
        let (transfer, block) = (recent.transfer, recent.block1.or(recent.block2));
        if let Some(transfer) = transfer.and_then(|index| self.transfers.get_mut(index)) {
            transfer.again(seen.at, block);
            transfer.on_air(u64::from(seen.air));
        }
        if seen.from_device {
            self.traffic.sent_again += 1;
            self.judged.sent_again += u64::from(message.kind == Some(Type::Con));
        } else {
            self.traffic.received_again += 1;
            if message.kind == Some(Type::Con) && message.code.is_request() {
                self.judged.copies_received += 1;
                self.judged.posts_received_again += u64::from(message.code == Code::POST);
            }
        }
        true
    }

    fn remember(&mut self, message: &Message<'_>, seen: &Seen, transfer: Option<usize>) {
        if message.kind.is_some() && seen.from_device {
            self.judged.own_ids += 1;
        }
        if self.recent.len() >= RECENT
            && let Some(oldest) = self.recent.pop_front()
        {
            self.ids.pop_front();
            self.forget(&oldest);
        }
        self.ids.push_back(id_of(message.message_id, seen.from_device));
        self.recent.push_back(Recent {
            seen: *seen,
            kind: message.kind,
            message_id: message.message_id,
            token: message.token,
            code: message.code,
            target: message.facts.target,
            uri: message.facts.uri,
            block1: message.facts.block1,
            block2: message.facts.block2,
            observe: message.facts.observe,
            copies: 1,
            acknowledged: false,
            responded: false,
            transfer,
        });
    }

    fn forget(&mut self, recent: &Recent) {
        if recent.kind == Some(Type::Con) && !recent.acknowledged {
            self.traffic.unanswered += 1;
        }
    }

    /// An ACK or RST without a response.
    fn on_empty(&mut self, message: &Message<'_>, seen: &Seen) {
        let Some(index) = self.by_id(message, seen) else { return };
        let recent = &mut self.recent[index];
        let fresh = !recent.acknowledged && recent.copies == 1;
        recent.acknowledged = true;
        let (asked, transfer, token, kind) = (recent.seen.at, recent.transfer, recent.token, recent.kind);
        let was_notification = recent.code.is_response() && recent.observe.is_some();
        if fresh && kind == Some(Type::Con) {
            self.round_trips.add(seen.at.saturating_sub(asked));
        }
        if let Some(transfer) = transfer.and_then(|index| self.transfers.get_mut(index)) {
            transfer.on_air(u64::from(seen.air));
        }
        if message.kind == Some(Type::Rst) && was_notification {
            self.observations.retain(|(known, _)| *known != token);
            self.judged.observations_over += 1;
        }
    }

    /// The message that an ACK or a RST is about.
    fn by_id(&self, message: &Message<'_>, seen: &Seen) -> Option<usize> {
        self.recent.iter().rposition(|recent| {
            recent.message_id == message.message_id
                && recent.seen.from_device != seen.from_device
                && recent.seen.flow == seen.flow
        })
    }

    /// The capture ends.
    pub(crate) fn finish(&mut self, now: Duration) {
        let mut findings = Vec::new();
        self.checks.finish(now, &mut findings);
        self.findings.append(&mut findings);
        while let Some(oldest) = self.recent.pop_front() {
            self.forget(&oldest);
        }
    }
}

const fn id_of(message_id: u16, from_device: bool) -> u32 {
    (message_id as u32) << 1 | from_device as u32
}

const fn word(way: Way) -> &'static str {
    match way {
        Way::Push => "push",
        Way::Pull => "pull",
        Way::Upload => "upload",
        Way::Read => "read",
    }
}
