//! One device: its registrations, transfers, firmware states and traffic, and the checks over all it sent and received.

use core::time::Duration;
use fotaproof_checks::Checks;
use fotaproof_lwm2m::definitions::Versions;
use fotaproof_lwm2m::registration::RegistrationRequest;
use fotaproof_trace::{Finding, result_name, state_name};
use fotaproof_wire::LwPath;
use fotaproof_wire::coap::{BlockValue, Code, Type, option};
use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::facts::{Message, Target, Token, clean};
use crate::firmware::{self, Firmware};
use crate::report::{AddressSeen, DeviceReport, Registrations, TimelineEntry, Traffic};
use crate::stats::Histogram;
use crate::transfer::{Step, Transfer, Way};
use crate::verdict::{self, Judged};

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
            target: message.target,
            uri: message.uri,
            block1: message.block1,
            block2: message.block2,
            observe: message.observe,
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

    fn on_request(&mut self, message: &Message<'_>, seen: &Seen, learnt: &mut Learnt) {
        let mut transfer = None;
        if seen.from_device {
            self.sends_request(message, seen);
        } else {
            self.receives_request(message, seen, learnt);
        }
        let body = message.block1.is_some() || (is_package(message.target) && matches!(message.code, Code::PUT));
        if body && matches!(message.code, Code::PUT | Code::POST | Code::FETCH | Code::IPATCH) {
            let way = if seen.from_device { Way::Upload } else { Way::Push };
            transfer = self.body(way, message.uri, message.block1, message.payload.len(), seen, || {
                message.path()
            });
            if let Some(transfer) = transfer.and_then(|index| self.transfers.get_mut(index)) {
                transfer.announce(message.size);
                transfer.on_air(u64::from(seen.air));
            }
        } else if message.code == Code::GET {
            let way = if seen.from_device { Way::Pull } else { Way::Read };
            transfer = self
                .active
                .iter()
                .find(|(of, uri, _)| *of == way && *uri == message.uri)
                .map(|active| active.2);
            if let Some(transfer) = transfer.and_then(|index| self.transfers.get_mut(index)) {
                transfer.on_air(u64::from(seen.air));
            }
        }
        self.remember(message, seen, transfer);
    }

    fn sends_request(&mut self, message: &Message<'_>, seen: &Seen) {
        self.judged.blocks += u64::from(message.block1.or(message.block2).is_some());
        self.judged.asks_blocks += u64::from(message.block2.is_some_and(|block| block.num > 0));
        match message.target {
            Target::Register | Target::Registration if message.code == Code::POST => {
                self.judged.registers += u64::from(message.target == Target::Register);
                let queries: Vec<&[u8]> = message
                    .options
                    .clone()
                    .filter(|option| option.number == option::URI_QUERY)
                    .map(|option| option.value)
                    .collect();
                // A registration in blocks or with a broken list still says its name.
                let request = RegistrationRequest::parse(queries.iter().copied(), message.payload)
                    .or_else(|_| RegistrationRequest::parse(queries.iter().copied(), b""))
                    .unwrap_or_default();
                self.pending = Some(Box::new(Pending {
                    token: message.token,
                    request,
                    packet: seen.packet,
                }));
            }
            Target::Send if message.code == Code::POST && message.block1.is_none() => {
                self.values(&LwPath::ROOT, message, "send", seen);
            }
            _ => {}
        }
    }

    fn receives_request(&mut self, message: &Message<'_>, seen: &Seen, learnt: &mut Learnt) {
        self.judged.requests_received += 1;
        self.judged.blocks_received += u64::from(message.block1.is_some());
        let observed = match (message.code, message.target) {
            (Code::GET, Target::Lw(path)) => Some(path),
            (Code::FETCH, Target::Root) => Some(LwPath::ROOT),
            _ => None,
        };
        match (message.observe, observed) {
            (Some(0), Some(path)) => {
                self.observations.retain(|(token, _)| *token != message.token);
                if self.observations.len() >= OBSERVATIONS {
                    self.observations.remove(0);
                }
                self.observations.push((message.token, path));
                learnt.observation = Some(message.token);
            }
            (Some(1), _) => {
                self.observations.retain(|(token, _)| *token != message.token);
                self.judged.observations_over += 1;
            }
            _ => {}
        }
        let Target::Lw(path) = message.target else { return };
        match (message.code, path.object, path.resource) {
            (Code::POST, Some(5), Some(2)) | (Code::POST, Some(9), Some(4)) => {
                self.firmware.execute(seen.at, seen.packet, path);
                self.tell(seen.at, seen.packet, format!("Execute {path}"));
            }
            (Code::POST, Some(3), Some(4)) => self.tell(seen.at, seen.packet, "Execute /3/0/4 (Reboot)".to_owned()),
            (Code::PUT | Code::POST, Some(5), Some(1)) if message.block1.is_none() => {
                let uri = String::from_utf8_lossy(message.payload);
                learnt.package_uri = firmware::uri_hash(&uri);
                self.tell(
                    seen.at,
                    seen.packet,
                    format!("Package URI {}", clean(uri.trim_matches(|c: char| c.is_control()), 120)),
                );
            }
            _ => {}
        }
    }

    /// Adds a piece of a body; gives the transfer.
    fn body(
        &mut self,
        way: Way,
        uri: u64,
        block: Option<BlockValue>,
        length: usize,
        seen: &Seen,
        path: impl Fn() -> String,
    ) -> Option<usize> {
        let first = block.is_none_or(|block| block.num == 0);
        let found = self
            .active
            .iter()
            .position(|(of, known, _)| *of == way && *known == uri);
        let over = |index: usize| self.transfers.get(index).is_none_or(Transfer::is_over);
        let index = match found.map(|at| (at, self.active[at].2)) {
            Some((_, index)) if !(over(index) && first) => index,
            other => {
                if let Some((at, _)) = other {
                    self.active.remove(at);
                }
                if self.transfers.len() >= TRANSFERS {
                    // What a report does not show makes room.
                    self.transfers_dropped += 1;
                    return None;
                }
                self.transfers
                    .push(Transfer::new(way, path(), seen.at, seen.packet, self.generation));
                if self.active.len() >= ACTIVE {
                    self.active.remove(0);
                }
                self.active.push((way, uri, self.transfers.len() - 1));
                self.transfers.len() - 1
            }
        };
        let generation = self.generation;
        let transfer = self.transfers.get_mut(index)?;
        let was = transfer.bytes();
        let step = transfer.block(block, length, seen.at, seen.packet, generation);
        let path = transfer.path.clone();
        let at_block = block.map_or(0, |block| block.num);
        match step {
            Step::Plain if was == 0 && is_package_path(&path) => {
                self.tell(seen.at, seen.packet, format!("{} of {path} begins", word(way)));
            }
            Step::Plain => {}
            Step::Restarted => {
                self.tell(
                    seen.at,
                    seen.packet,
                    format!("{} of {path} begins again from the first block", word(way)),
                );
            }
            Step::Resumed => {
                self.tell(
                    seen.at,
                    seen.packet,
                    format!("{} of {path} goes on with block {at_block}", word(way)),
                );
            }
            Step::Gap => {
                self.judged.gaps += 1;
                let text = format!(
                    "{} of {path} jumps to block {at_block}: what is before it is not in the capture",
                    word(way)
                );
                self.tell(seen.at, seen.packet, text);
            }
        }
        Some(index)
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

    fn on_response(&mut self, message: &Message<'_>, seen: &Seen, learnt: &mut Learnt) {
        let piggybacked = message.kind == Some(Type::Ack);
        self.judged.answers_sent += u64::from(seen.from_device);
        let asked = if piggybacked {
            self.by_id(message, seen)
        } else {
            self.recent.iter().rposition(|recent| {
                recent.token == message.token && recent.seen.from_device != seen.from_device && recent.code.is_request()
            })
        };
        self.judged.blocks += u64::from(seen.from_device && message.block1.or(message.block2).is_some());
        if message.kind == Some(Type::Con) && !seen.from_device {
            self.judged.separate_received += 1;
        }
        let Some(index) = asked else {
            self.on_notification(message, seen);
            if matches!(message.kind, Some(Type::Con | Type::Non)) {
                self.remember(message, seen, None);
            }
            return;
        };
        let request = self.recent[index];
        let recent = &mut self.recent[index];
        recent.acknowledged = true;
        recent.responded = true;
        if request.responded && message.observe.is_some() && !piggybacked {
            self.on_notification(message, seen);
            self.remember(message, seen, None);
            return;
        }
        let air = u64::from(seen.air);
        if request.responded {
            // The answer to a copy: nothing new.
            if request.copies > 1 && seen.from_device {
                self.traffic.sent_again += 1;
            } else if request.copies > 1 {
                self.traffic.received_again += 1;
            }
            if let Some(transfer) = request.transfer.and_then(|index| self.transfers.get_mut(index)) {
                transfer.on_air(air);
            }
            return;
        }
        if request.copies == 1 && !request.acknowledged {
            self.round_trips.add(seen.at.saturating_sub(request.seen.at));
        }
        if let Some(transfer) = request.transfer.and_then(|index| self.transfers.get_mut(index)) {
            transfer.on_air(air);
        }
        if matches!(message.kind, Some(Type::Con | Type::Non)) {
            self.remember(message, seen, request.transfer);
        }
        self.answered(&request, index, message, seen, learnt);
    }

    fn answered(&mut self, request: &Recent, index: usize, message: &Message<'_>, seen: &Seen, learnt: &mut Learnt) {
        if !seen.from_device {
            self.registration_answered(request, message, seen, learnt);
        }
        // The body of the request came to its end, or was refused.
        let block1 = matches!(request.code, Code::PUT | Code::POST | Code::FETCH | Code::IPATCH);
        if block1 && let Some(at) = request.transfer {
            self.transfer_answered(at, message, seen);
        }
        if request.code == Code::GET || request.code == Code::FETCH {
            self.piece(request, index, message, seen);
        }
        if seen.from_device
            && request.code == Code::POST
            && let Target::Lw(path) = request.target
            && matches!((path.object, path.resource), (Some(5), Some(2)) | (Some(9), Some(4)))
        {
            self.firmware.execute_answered(request.seen.packet, message.code);
            if message.code.is_error() {
                self.tell(
                    seen.at,
                    seen.packet,
                    format!("Execute {path} refused: {}", message.code),
                );
            }
        }
        if seen.from_device
            && message.code == Code::CONTENT
            && message.block2.is_none_or(|block| block.num == 0 && !block.more)
        {
            match (request.code, request.target) {
                (Code::GET, Target::Lw(path)) => {
                    let by = if message.observe.is_some() {
                        "notification"
                    } else {
                        "read"
                    };
                    self.values(&path, message, by, seen);
                }
                (Code::FETCH, Target::Root) => self.values(&LwPath::ROOT, message, "composite", seen),
                _ => {}
            }
        }
    }

    fn transfer_answered(&mut self, at: usize, message: &Message<'_>, seen: &Seen) {
        let Some(transfer) = self.transfers.get_mut(at) else {
            return;
        };
        let was_over = transfer.is_over();
        transfer.answered(message.code, seen.at, seen.packet);
        if was_over || !transfer.is_over() || !transfer.is_shown() {
            return;
        }
        let text = if message.code.is_error() {
            format!(
                "{} of {} refused: {} {}",
                word(transfer.way),
                transfer.path,
                message.code,
                message.code.name()
            )
        } else {
            format!(
                "{} of {} ends after {} bytes",
                word(transfer.way),
                transfer.path,
                transfer.bytes()
            )
        };
        self.tell(seen.at, seen.packet, text);
    }

    /// A piece of what was asked for with GET.
    fn piece(&mut self, request: &Recent, index: usize, message: &Message<'_>, seen: &Seen) {
        let way = if seen.from_device { Way::Read } else { Way::Pull };
        if message.code.is_error() {
            if let Some(at) = request.transfer {
                self.transfer_answered(at, message, seen);
            }
            return;
        }
        if message.block2.is_none() || message.code == Code::VALID {
            return;
        }
        let path = self.path_of(request);
        let fresh = request.transfer.is_none();
        let Some(at) = self.body(way, request.uri, message.block2, message.payload.len(), seen, || {
            path.clone()
        }) else {
            return;
        };
        let Some(transfer) = self.transfers.get_mut(at) else {
            return;
        };
        transfer.announce(message.size);
        if fresh {
            transfer.on_air(u64::from(request.seen.air) * u64::from(request.copies) + u64::from(seen.air));
        }
        if let Some(recent) = self.recent.get_mut(index)
            && recent.message_id == request.message_id
        {
            recent.transfer = Some(at);
        }
        if self.transfers.get(at).is_some_and(Transfer::saw_last) {
            self.transfer_answered(at, message, seen);
        }
    }

    /// The path of a request as far as it was kept.
    fn path_of(&self, request: &Recent) -> String {
        match request.target {
            Target::Lw(path) => path.to_string(),
            Target::Root => "/".to_owned(),
            Target::Register => "/rd".to_owned(),
            _ => self
                .firmware
                .path_of(request.uri)
                .unwrap_or_else(|| "a file".to_owned()),
        }
    }

    /// Keeps the path of a file that is asked for, to name it later.
    pub(crate) fn name_file(&mut self, uri: u64, path: impl FnOnce() -> String) {
        self.firmware.name_file(uri, path);
    }

    fn registration_answered(&mut self, request: &Recent, message: &Message<'_>, seen: &Seen, learnt: &mut Learnt) {
        let packet = request.seen.packet;
        match (request.code, request.target) {
            (Code::POST, Target::Register) if message.code == Code::CREATED => {
                learnt.location = message.location();
                self.registrations.registers += 1;
                self.generation += 1;
                self.judged.observations_over += u64::from(!self.observations.is_empty());
                self.observations.clear();
                if self.registrations.registers > 1 {
                    self.firmware.reboot(request.seen.at, packet);
                }
                let pending = self.pending.take().filter(|pending| pending.token == request.token);
                let text = pending.map_or_else(String::new, |pending| self.registered_with(&pending));
                let again = if self.registrations.registers > 1 { " again" } else { "" };
                self.tell(seen.at, packet, format!("registers{again}{text}"));
            }
            (Code::POST, Target::Registration) if message.code == Code::CHANGED => self.registrations.updates += 1,
            (Code::DELETE, Target::Registration) if message.code == Code::DELETED => {
                self.registrations.deregisters += 1;
                self.tell(seen.at, packet, "deregisters".to_owned());
            }
            (Code::POST, Target::Register) if message.code.is_error() => {
                self.tell(seen.at, packet, format!("Register refused: {}", message.code));
            }
            _ => {}
        }
    }

    fn registered_with(&mut self, pending: &Pending) -> String {
        debug_assert!(pending.packet > 0);
        let request = &pending.request;
        if let Some(version) = request.lwm2m {
            self.lwm2m = Some(version.to_string());
            self.versions = Versions::of(version);
        }
        for link in request.objects.iter().flatten() {
            let version = link
                .attribute("ver")
                .and_then(|version| version.trim_matches('"').parse().ok());
            let object = link
                .target
                .trim_start_matches('/')
                .split('/')
                .next()
                .and_then(|id| id.parse().ok());
            if let (Some(object), Some(version)) = (object, version) {
                self.versions.announced.insert(object, version);
            }
        }
        let lifetime = request
            .lifetime
            .map_or_else(String::new, |lifetime| format!(", lifetime {lifetime} s"));
        let version = request
            .lwm2m
            .map_or_else(String::new, |version| format!(" with LwM2M {version}"));
        format!("{version}{lifetime}")
    }

    fn on_notification(&mut self, message: &Message<'_>, seen: &Seen) {
        if !seen.from_device || message.code != Code::CONTENT {
            return;
        }
        let Some((_, path)) = self.observations.iter().find(|(token, _)| *token == message.token) else {
            return;
        };
        let path = *path;
        self.judged.notifications += 1;
        let by = if path == LwPath::ROOT {
            "composite"
        } else {
            "notification"
        };
        self.values(&path, message, by, seen);
    }

    fn values(&mut self, base: &LwPath, message: &Message<'_>, by: &str, seen: &Seen) {
        if !matches!(base.object, None | Some(3 | 5 | 9)) {
            return;
        }
        let format = message.content_format.unwrap_or_default();
        let told = self
            .firmware
            .values(base, format, message.payload, &self.versions, by, seen.at, seen.packet);
        self.judged.states += u64::from(told.state.is_some());
        self.judged.results += u64::from(told.result.is_some());
        if !told.changed {
            return;
        }
        let mut words = Vec::new();
        if let Some(state) = told.state {
            words.push(format!("State {state} ({})", state_name(state)));
        }
        if let Some(result) = told.result {
            words.push(format!("Result {result} ({})", result_name(result)));
        }
        if let Some(version) = told.version {
            words.push(format!("firmware version {version}"));
        }
        if !words.is_empty() {
            self.tell(seen.at, seen.packet, format!("{}, by {by}", words.join(", ")));
        }
    }

    /// A path that anything in the capture named for this device.
    pub(crate) fn finish(&mut self, now: Duration) {
        let mut findings = Vec::new();
        self.checks.finish(now, &mut findings);
        self.findings.append(&mut findings);
        while let Some(oldest) = self.recent.pop_front() {
            self.forget(&oldest);
        }
    }

    pub(crate) fn report(&self, strict: bool, complete: bool, mtu: bool) -> DeviceReport {
        let checks = verdict::checks(&self.judged, &self.findings, strict, complete, mtu);
        let mut traffic = self.traffic.clone();
        traffic.round_trip = self.round_trips.report();
        let mut timeline = self.timeline.clone();
        if self.transfers_dropped > 0 {
            timeline.push(TimelineEntry {
                at: timeline.last().map_or(0.0, |entry| entry.at),
                packet: 0,
                text: format!(
                    "{} further pieces of bodies beyond the {TRANSFERS} that are followed",
                    self.transfers_dropped
                ),
            });
        }
        DeviceReport {
            endpoint: self.name.clone(),
            registered: self.registered,
            addresses: self
                .addresses
                .iter()
                .map(|(address, packet)| AddressSeen {
                    address: address.to_string(),
                    packet: *packet,
                })
                .collect(),
            lwm2m: self.lwm2m.clone(),
            firmware_object: self.versions.announced.get(&5).map(ToString::to_string),
            registrations: self.registrations.clone(),
            verdict: verdict::of_device(&checks),
            findings: self.findings.iter().map(verdict::finding).collect(),
            checks,
            firmware: self.firmware.report(),
            transfers: self
                .transfers
                .iter()
                .filter(|transfer| transfer.is_shown())
                .map(Transfer::report)
                .collect(),
            traffic,
            timeline,
            timeline_dropped: self.timeline_dropped,
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

fn is_package(target: Target) -> bool {
    matches!(target, Target::Lw(path) if matches!((path.object, path.resource), (Some(5), Some(0)) | (Some(9), Some(2))))
}

/// A package that is pushed, or a file that is fetched.
fn is_package_path(path: &str) -> bool {
    let is_file = !path.trim_start_matches('/').starts_with(|c: char| c.is_ascii_digit());
    is_file || path.starts_with("/5/0/0") || path.starts_with("/9/0/2")
}
