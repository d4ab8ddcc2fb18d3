//! The analysis itself: frames in, a report out. No clock, no file, bounded memory.

use bytes::Bytes;
use core::time::Duration;
use fotaproof_checks::{CheckConfig, Checks, Mode};
use fotaproof_net::Reassembler;
use fotaproof_trace::capture::{ALTERED_COMMENT, PLANNED_COMMENT, iut_event_of};
use fotaproof_trace::{Datagram, Event, EventKind, IpUdp, IutEvent, Point, Toward, ip_of, udp_of};
use fotaproof_wire::coap::{Code, MessageView, option};
use std::io::Read;
use std::net::{IpAddr, SocketAddr};

use crate::capture::{Broken, CaptureFile, CaptureParser, Frame};
use crate::device::{Device, Learnt, Seen};
use crate::facts::{Message, Target, Token, clean};
use crate::flow::{COAP, Flow, Kind, NOBODY, sender_is_device};
use crate::hash::Map;
use crate::report::{BrokenAt, CaptureReport, Counts, Encrypted, Verdict};
use crate::tcp::{Segment, Streams, begins_with_csm, segment_of};

/// Conversations followed.
const FLOWS: usize = 1 << 16;
/// Tokens and locations remembered over address changes.
const TABLE: usize = 1 << 16;
/// Encrypted conversations that a report lists.
const LISTED: usize = 32;

/// Datagrams of many devices that wait to be taken device by device, so that each is fetched into the processor's cache
/// once for many.
const BATCH: usize = 8192;
/// With so few devices nothing waits.
const FEW: usize = 16;
/// End of a chain in a batch.
const END: u32 = u32::MAX;

/// How a capture is judged.
#[derive(Clone, Debug)]
pub struct Options {
    /// Ports that carry CoAP besides 5683.
    pub ports: Vec<u16>,
    /// Judge only what this interface saw.
    pub interface: Option<String>,
    /// MTU of the link, for the check of that name.
    pub mtu: Option<u16>,
    /// Findings of grade should and advice fail too.
    pub strict: bool,
    /// Devices followed; what further ones do is only counted.
    pub devices: usize,
    /// Ids of checks to leave out.
    pub disabled: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ports: Vec::new(),
            interface: None,
            mtu: None,
            strict: false,
            devices: 4096,
            disabled: Vec::new(),
        }
    }
}

/// Judges a capture frame by frame.
#[derive(Debug)]
pub struct Analyzer {
    options: Options,
    counts: Counts,
    reassembler: Reassembler,
    streams: Streams,
    flows: Map<(SocketAddr, SocketAddr), u32>,
    flow_list: Vec<Flow>,
    devices: Vec<Device>,
    by_name: Map<String, u32>,
    by_location: Map<(SocketAddr, String), u32>,
    by_address: Map<IpAddr, Option<u32>>,
    by_observation: Map<(SocketAddr, Token), u32>,
    by_package_uri: Map<u64, Option<u32>>,
    start: Option<Duration>,
    now: Duration,
    interfaces: usize,
    judged_at: Option<(u32, String)>,
    /// Both ends of the link are in the capture, as our own runs leave it: nothing at the IUT's end is missing.
    complete: bool,
    pub(crate) tap: Option<crate::ladder::Tap>,
    batch: Vec<Queued>,
    /// First and last of each device in the batch.
    chains: Vec<(u32, u32)>,
    /// Devices in the batch.
    touched: Vec<u32>,
}

/// A datagram whose device is known.
#[derive(Debug)]
struct Queued {
    device: u32,
    seen: Seen,
    carried: Carried,
    payload: Bytes,
    /// The next of the same device.
    next: u32,
}

impl Analyzer {
    /// Ready for the first frame.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            counts: Counts::default(),
            reassembler: Reassembler::default(),
            streams: Streams::default(),
            flows: Map::default(),
            flow_list: Vec::new(),
            devices: Vec::new(),
            by_name: Map::default(),
            by_location: Map::default(),
            by_address: Map::default(),
            by_observation: Map::default(),
            by_package_uri: Map::default(),
            start: None,
            now: Duration::ZERO,
            interfaces: 0,
            judged_at: None,
            complete: false,
            tap: None,
            batch: Vec::new(),
            chains: Vec::new(),
            touched: Vec::new(),
        }
    }

    /// Takes the names of the interfaces; call it before the first frame and whenever there are more.
    pub fn on_interfaces(&mut self, names: &[String]) {
        self.interfaces = names.len();
        let find = |wanted: &str| names.iter().position(|name| name == wanted).map(|index| index as u32);
        if let Some(wanted) = &self.options.interface {
            // A name that is not there judges nothing rather than everything.
            self.judged_at = Some((find(wanted).unwrap_or(u32::MAX), wanted.clone()));
        } else if let (Some(iut), Some(_)) = (find("iut"), find("peer").or_else(|| find("server"))) {
            // `server` is what the first captures called the peer
            self.judged_at = Some((iut, "iut".to_owned()));
            self.complete = true;
        }
    }

    /// Takes one frame.
    pub fn on_frame(&mut self, frame: &Frame) {
        let start = *self.start.get_or_insert(frame.at);
        self.now = self.now.max(frame.at.saturating_sub(start));
        let (mut planned, mut altered) = (false, false);
        for comment in &frame.comments {
            planned |= comment == PLANNED_COMMENT;
            altered |= comment == ALTERED_COMMENT;
            if let Some(event) = iut_event_of(comment) {
                self.on_iut(frame.number, &event);
            }
        }
        if self
            .judged_at
            .as_ref()
            .is_some_and(|(index, _)| *index != frame.interface)
        {
            self.counts.other_interfaces += 1;
            return;
        }
        let Some(packet) = ip_of(frame.link, &frame.data) else {
            self.counts.other += 1;
            return;
        };
        let air = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        let whole = frame.data.len() >= frame.length as usize;
        match udp_of(packet) {
            Some(IpUdp::Datagram { src, dst, payload }) => {
                let header = usize::from(packet[0] >> 4 == 6) * 20 + 28;
                // Padding behind the packet is not on the air of the link that counts.
                let air = air.min((payload.len() + header) as u32);
                let carried = Carried {
                    src,
                    dst,
                    air,
                    packets: 1,
                    largest: u16::try_from(air).unwrap_or(u16::MAX),
                    planned,
                    altered,
                };
                self.on_datagram(frame.number, &frame.data.slice_ref(payload), &carried);
            }
            Some(IpUdp::Fragment) => self.on_fragment(frame, packet, planned, altered),
            None => {
                if let Some(segment) = segment_of(packet) {
                    self.on_segment(frame.number, air, &segment);
                } else if whole && !is_udp(packet) {
                    self.counts.other += 1;
                } else {
                    self.counts.unreadable += 1;
                }
            }
        }
    }

    fn on_iut(&mut self, number: u64, event: &IutEvent) {
        self.flush();
        let event = Event {
            no: number,
            at: self.now,
            kind: EventKind::Iut(event.clone()),
        };
        for device in &mut self.devices {
            device.checks.on_event(&event, &mut device.findings);
        }
    }

    fn on_fragment(&mut self, frame: &Frame, packet: &[u8], planned: bool, altered: bool) {
        self.counts.fragments += 1;
        let packet = frame.data.slice_ref(packet);
        let Ok(whole) = self.reassembler.push(self.now, &packet) else {
            self.counts.unreadable += 1;
            return;
        };
        let Some(whole) = whole else { return };
        self.counts.reassembled += 1;
        let Ok(Some(udp)) = whole.udp() else {
            self.counts.unreadable += 1;
            return;
        };
        let header = usize::from(udp.src.is_ipv6()) * 28 + 20;
        let carried = Carried {
            src: udp.src,
            dst: udp.dst,
            air: (udp.payload.len() + 8 + header * usize::from(whole.packets)) as u32,
            packets: whole.packets,
            largest: whole.largest,
            planned,
            altered,
        };
        self.on_datagram(frame.number, &udp.payload, &carried);
    }

    /// The index of the conversation between two addresses; none beyond the bound.
    fn flow(&mut self, src: SocketAddr, dst: SocketAddr, number: u64) -> Option<u32> {
        let ends = if src <= dst { (src, dst) } else { (dst, src) };
        if let Some(index) = self.flows.get(&ends) {
            return Some(*index);
        }
        if self.flow_list.len() >= FLOWS {
            self.counts.beyond_limit += 1;
            return None;
        }
        let index = self.flow_list.len() as u32;
        self.flows.insert(ends, index);
        self.flow_list.push(Flow::new(ends, number));
        Some(index)
    }

    fn on_datagram(&mut self, number: u64, payload: &Bytes, carried: &Carried) {
        let Some(index) = self.flow(carried.src, carried.dst, number) else {
            return;
        };
        let Some(flow) = self.flow_list.get_mut(index as usize) else {
            return;
        };
        flow.datagrams += 1;
        if flow.kind == Kind::Unknown {
            flow.look(payload, &self.options.ports);
        }
        match flow.kind {
            Kind::Coap => {}
            Kind::Dtls => {
                self.counts.dtls += 1;
                return;
            }
            Kind::Unknown | Kind::Other => {
                self.counts.other_udp += 1;
                return;
            }
        }
        self.counts.coap += 1;
        let (device, src_first) = (flow.device, flow.ends.0 == carried.src);
        let mut party = (device, (device != NOBODY).then_some(flow.device_first == src_first));
        // Only a Register can change whose conversation it is.
        if device == NOBODY || payload.get(1) == Some(&Code::POST.0) {
            let view = MessageView::parse(payload);
            let message = view.as_ref().ok().map(Message::of_udp);
            party = self.party(index, device, party.1, message.as_ref(), carried, number);
        }
        let (device, Some(from_device)) = party else {
            self.counts.undecided += 1;
            return;
        };
        let queued = Queued {
            device,
            seen: Seen {
                flow: index,
                from_device,
                at: self.now,
                packet: number,
                air: carried.air,
                length: payload.len() as u32,
            },
            carried: *carried,
            payload: payload.clone(),
            next: END,
        };
        if self.devices.len() <= FEW {
            self.take(&queued);
        } else {
            self.queue(queued);
        }
    }

    fn queue(&mut self, queued: Queued) {
        let at = self.batch.len() as u32;
        if self.chains.len() < self.devices.len() {
            self.chains.resize(self.devices.len(), (END, END));
        }
        let Some((first, last)) = self.chains.get_mut(queued.device as usize) else {
            return;
        };
        if *first == END {
            *first = at;
            self.touched.push(queued.device);
        } else if let Some(before) = self.batch.get_mut(*last as usize) {
            before.next = at;
        }
        *last = at;
        self.batch.push(queued);
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    /// Takes what waits, device by device, each in its order.
    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let mut batch = core::mem::take(&mut self.batch);
        let mut touched = core::mem::take(&mut self.touched);
        for device in touched.drain(..) {
            let Some(chain) = self.chains.get_mut(device as usize) else {
                continue;
            };
            let mut at = core::mem::replace(chain, (END, END)).0;
            while let Some(queued) = batch.get(at as usize) {
                self.take(queued);
                at = queued.next;
            }
        }
        batch.clear();
        self.batch = batch;
        self.touched = touched;
    }

    /// A datagram that a device sent or received.
    fn take(&mut self, queued: &Queued) {
        let Queued {
            device,
            seen,
            carried,
            payload,
            ..
        } = queued;
        let view = MessageView::parse(payload);
        let message = view.as_ref().ok().map(Message::of_udp);
        let Some(state) = self.devices.get_mut(*device as usize) else {
            return;
        };
        let traffic = &mut state.traffic;
        traffic.fragmented += u64::from(carried.packets > 1);
        traffic.largest = traffic.largest.max(carried.largest);
        if let (Some(tap), Some(message)) = (&mut self.tap, &message) {
            tap.take(*device, seen.from_device, message, seen.at, seen.packet);
        }
        let learnt = match &message {
            Some(message) => {
                if message.target == Target::Other && message.code.is_request() {
                    state.name_file(message.uri, || message.path());
                }
                state.judged.deregistered |= seen.from_device && message.code == Code::DELETE;
                state.on_message(message, seen)
            }
            None => {
                state.on_malformed(seen);
                Learnt::default()
            }
        };
        let event = Event {
            no: seen.packet,
            at: seen.at,
            kind: EventKind::Datagram(Datagram {
                point: Point::Iut,
                toward: if seen.from_device { Toward::Peer } else { Toward::Iut },
                datagram: seen.packet,
                src: carried.src,
                dst: carried.dst,
                payload: payload.clone(),
                packets: carried.packets,
                largest: carried.largest,
                altered: carried.altered,
                planned: carried.planned && !seen.from_device,
            }),
        };
        state.checks.on_event(&event, &mut state.findings);
        if learnt != Learnt::default() {
            let peer = if seen.from_device { carried.dst } else { carried.src };
            self.learn(*device, peer, learnt);
        }
    }

    fn learn(&mut self, device: u32, peer: SocketAddr, learnt: Learnt) {
        if let Some(location) = learnt.location
            && self.by_location.len() < TABLE
        {
            self.by_location.insert((peer, location), device);
        }
        if let Some(token) = learnt.observation
            && self.by_observation.len() < TABLE
        {
            self.by_observation.insert((peer, token), device);
        }
        if let Some(uri) = learnt.package_uri
            && self.by_package_uri.len() < TABLE
        {
            self.by_package_uri
                .entry(uri)
                .and_modify(|known| *known = known.filter(|known| *known == device))
                .or_insert(Some(device));
        }
    }

    /// The device of a conversation, and whether it sent this message.
    fn party(
        &mut self,
        index: u32,
        device: u32,
        from_device: Option<bool>,
        message: Option<&Message<'_>>,
        carried: &Carried,
        number: u64,
    ) -> (u32, Option<bool>) {
        let Some(message) = message else {
            return (device, from_device);
        };
        let registers = message.code == Code::POST && message.target == Target::Register;
        if device != NOBODY && !(registers && from_device == Some(true)) {
            return (device, from_device);
        }
        // What the messages before told of names, locations and tokens is needed now.
        self.flush();
        let sends = self.sender_is_device(message, carried);
        let Some(sends) = sends else { return (NOBODY, None) };
        let (address, peer) = if sends {
            (carried.src, carried.dst)
        } else {
            (carried.dst, carried.src)
        };
        let found = self.find(device, address, peer, message, sends);
        let Some(found) = found else {
            self.counts.beyond_limit += 1;
            return (NOBODY, None);
        };
        let flow = &mut self.flow_list[index as usize];
        flow.device = found;
        flow.device_first = flow.ends.0 == address;
        // The same address may be that of several devices: then it tells nothing.
        if self.by_address.len() < TABLE {
            self.by_address
                .entry(address.ip())
                .and_modify(|known| *known = known.filter(|known| *known == found))
                .or_insert(Some(found));
        }
        let now = self.now;
        if let Some(state) = self.devices.get_mut(found as usize) {
            // A file is fetched from a port of its own: that is no move.
            if state.has_no_address() || peer.port() == COAP || message.target != Target::Other {
                state.at_address(address, now, number);
            }
        }
        (found, Some(sends))
    }

    fn sender_is_device(&self, message: &Message<'_>, carried: &Carried) -> Option<bool> {
        if let Some(told) = sender_is_device(message) {
            return Some(told);
        }
        if !message.code.is_request() {
            // A notification from a new address; anything else waits for a request.
            let known = self.by_observation.contains_key(&(carried.dst, message.token));
            return (message.code.is_response() && known).then_some(true);
        }
        Some(true)
    }

    /// The device that an address is, by name, location, token, or address; a new one otherwise.
    fn find(
        &mut self,
        current: u32,
        address: SocketAddr,
        peer: SocketAddr,
        message: &Message<'_>,
        sends: bool,
    ) -> Option<u32> {
        let name = (sends && message.target == Target::Register)
            .then(|| endpoint(message))
            .flatten();
        if let Some(name) = name {
            if let Some(known) = self.by_name.get(&name) {
                return Some(*known);
            }
            // One that was followed by its address until now gets its name.
            let anonymous = |index: u32| {
                self.devices
                    .get(index as usize)
                    .is_some_and(|device| !device.registered)
            };
            let same = Some(current)
                .filter(|index| *index != NOBODY && anonymous(*index))
                .or_else(|| {
                    self.by_address
                        .get(&address.ip())
                        .copied()
                        .flatten()
                        .filter(|index| anonymous(*index))
                });
            let index = match same {
                Some(index) => index,
                None => self.create(name.clone())?,
            };
            let device = self.devices.get_mut(index as usize)?;
            device.name.clone_from(&name);
            device.registered = true;
            self.by_name.insert(name, index);
            return Some(index);
        }
        if current != NOBODY {
            return Some(current);
        }
        if sends && message.target == Target::Registration {
            let path = message.path();
            if let Some(known) = self.by_location.get(&(peer, path)) {
                return Some(*known);
            }
        }
        if sends && let Some(known) = self.by_observation.get(&(peer, message.token)) {
            return Some(*known);
        }
        if sends
            && message.target == Target::Other
            && let Some(known) = self.by_package_uri.get(&message.uri).copied().flatten()
        {
            return Some(known);
        }
        if let Some(known) = self.by_address.get(&address.ip()).copied().flatten() {
            return Some(known);
        }
        self.create(address.to_string())
    }

    fn create(&mut self, name: String) -> Option<u32> {
        if self.devices.len() >= self.options.devices {
            return None;
        }
        let index = self.devices.len() as u32;
        // Many devices share what one may remember.
        let remember = match index {
            0..8 => 1024,
            8..64 => 512,
            64..256 => 64,
            _ => 32,
        };
        let checks = Checks::new(CheckConfig {
            mode: if self.complete { Mode::Live } else { Mode::Capture },
            mtu: self.options.mtu,
            disabled: self.options.disabled.clone(),
            remember: if self.complete { usize::MAX } else { remember },
            ..CheckConfig::default()
        });
        self.devices.push(Device::new(name, checks));
        Some(index)
    }

    fn on_segment(&mut self, number: u64, air: u32, segment: &Segment<'_>) {
        let has = |port: u16| segment.src.port() == port || segment.dst.port() == port;
        let ends = if segment.src <= segment.dst {
            (segment.src, segment.dst)
        } else {
            (segment.dst, segment.src)
        };
        let known = self
            .flows
            .get(&ends)
            .and_then(|index| self.flow_list.get(*index as usize));
        let coap = has(COAP)
            || self.options.ports.iter().any(|port| has(*port))
            || known.is_some_and(|flow| flow.kind == Kind::Coap)
            || begins_with_csm(segment.payload);
        if !coap {
            self.counts.other += 1;
            return;
        }
        let Some(index) = self.flow(segment.src, segment.dst, number) else {
            return;
        };
        if let Some(flow) = self.flow_list.get_mut(index as usize) {
            flow.kind = Kind::Coap;
        }
        let mut streams = core::mem::take(&mut self.streams);
        let mut air = air;
        streams.push(segment, |frame| {
            self.counts.coap_tcp += 1;
            let message = Message::of_tcp(frame);
            // The bytes of a segment count once, with its first message.
            self.on_tcp_message(
                index,
                number,
                core::mem::take(&mut air),
                frame.bytes().len(),
                segment,
                &message,
            );
        });
        self.streams = streams;
    }

    fn on_tcp_message(
        &mut self,
        index: u32,
        number: u64,
        air: u32,
        length: usize,
        segment: &Segment<'_>,
        message: &Message<'_>,
    ) {
        // Signaling is between the ends of one connection.
        if message.code.class() == 7 {
            return;
        }
        self.flush();
        let Some(flow) = self.flow_list.get_mut(index as usize) else {
            return;
        };
        flow.datagrams += 1;
        let from_device = (flow.device != NOBODY).then(|| flow.device_first == (flow.ends.0 == segment.src));
        let carried = Carried {
            src: segment.src,
            dst: segment.dst,
            air,
            packets: 1,
            largest: 0,
            planned: false,
            altered: false,
        };
        let device = flow.device;
        let (device, from_device) = self.party(index, device, from_device, Some(message), &carried, number);
        let (Some(from_device), Some(state)) = (from_device, self.devices.get_mut(device as usize)) else {
            self.counts.undecided += 1;
            return;
        };
        let seen = Seen {
            flow: index,
            from_device,
            at: self.now,
            packet: number,
            air,
            length: length as u32,
        };
        if message.target == Target::Other && message.code.is_request() {
            state.name_file(message.uri, || message.path());
        }
        if let Some(tap) = &mut self.tap {
            tap.take(device, from_device, message, self.now, number);
        }
        state.judged.tcp += u64::from(from_device);
        let learnt = state.on_message(message, &seen);
        if learnt != Learnt::default() {
            let peer = if from_device { segment.dst } else { segment.src };
            self.learn(device, peer, learnt);
        }
    }

    /// The report. `broken` is where the capture could not be read on.
    #[must_use]
    pub fn finish(mut self, file: &str, parser: &CaptureParser, broken: Option<&Broken>) -> CaptureReport {
        let mut devices = Vec::with_capacity(self.devices.len());
        self.flush();
        // Each device goes as its report comes.
        for mut device in core::mem::take(&mut self.devices) {
            device.finish(self.now);
            devices.push(device.report(self.options.strict, self.complete, self.options.mtu.is_some()));
        }
        self.counts.incomplete = self.reassembler.discarded() + self.reassembler.pending() as u64;
        let encrypted: Vec<&Flow> = self.flow_list.iter().filter(|flow| flow.kind == Kind::Dtls).collect();
        let mut notes = self.notes(parser);
        if encrypted.len() > LISTED {
            notes.push(format!("{} further encrypted conversations", encrypted.len() - LISTED));
        }
        let encrypted: Vec<Encrypted> = encrypted
            .into_iter()
            .take(LISTED)
            .map(|flow| Encrypted {
                between: [flow.ends.0.to_string(), flow.ends.1.to_string()],
                datagrams: flow.datagrams,
                packet: flow.packet,
            })
            .collect();
        let all = |verdict| devices.iter().any(|device| device.verdict == verdict);
        let verdict = if all(Verdict::Fail) {
            Verdict::Fail
        } else if all(Verdict::Inconclusive) || !encrypted.is_empty() || devices.is_empty() {
            Verdict::Inconclusive
        } else {
            Verdict::Pass
        };
        CaptureReport {
            file: file.to_owned(),
            format: parser.format().to_owned(),
            frames: parser.frames(),
            bytes: parser.offset(),
            start: self.start.unwrap_or_default().as_secs_f64(),
            seconds: self.now.as_secs_f64(),
            judged_at: self.judged_at.map(|(_, name)| name),
            counts: self.counts,
            broken: broken.map(|broken| BrokenAt {
                offset: broken.offset,
                frames: broken.frames,
                reason: broken.kind.to_string(),
                invalid: broken.kind.is_invalid(),
            }),
            encrypted,
            devices,
            notes,
            verdict,
        }
    }

    fn notes(&self, parser: &CaptureParser) -> Vec<String> {
        let counts = &self.counts;
        let mut notes = Vec::new();
        let mut note = |count: u64, text: &str| {
            if count > 0 {
                notes.push(text.replace("{}", &count.to_string()));
            }
        };
        note(
            counts.incomplete,
            "{} fragmented datagrams are not whole: fragments are missing or overlap",
        );
        note(
            counts.unreadable,
            "{} frames cannot be read: cut when they were captured, or with lengths that lie",
        );
        note(
            counts.undecided,
            "{} messages before anything told which end is the device",
        );
        note(
            counts.beyond_limit,
            "{} datagrams of endpoints beyond those that are followed are not judged",
        );
        note(
            self.streams.holes,
            "{} times bytes of a TCP stream are not in the capture",
        );
        note(self.streams.broken, "{} TCP streams cannot be read on as CoAP");
        note(
            self.streams.beyond,
            "{} TCP segments of streams beyond those that are followed",
        );
        if counts.dtls > 0 {
            let secrets = if parser.has_secrets() {
                "the capture holds secrets, but they are not used here yet"
            } else {
                "the capture holds no secrets"
            };
            notes.push(format!("{} datagrams are encrypted; {secrets}", counts.dtls));
        }
        if let Some((u32::MAX, name)) = &self.judged_at {
            notes.push(format!("the capture has no interface {name}"));
        }
        notes
    }
}

/// How a datagram came.
#[derive(Clone, Copy, Debug)]
struct Carried {
    src: SocketAddr,
    dst: SocketAddr,
    air: u32,
    packets: u16,
    largest: u16,
    planned: bool,
    altered: bool,
}

fn is_udp(packet: &[u8]) -> bool {
    match packet.first().map(|first| first >> 4) {
        Some(4) => packet.get(9) == Some(&17),
        Some(6) => packet.get(6) == Some(&17),
        _ => false,
    }
}

/// The endpoint name in a Register.
fn endpoint(message: &Message<'_>) -> Option<String> {
    let query = message
        .options
        .clone()
        .filter(|option| option.number == option::URI_QUERY)
        .find_map(|option| option.value.strip_prefix(b"ep="))?;
    let name = String::from_utf8_lossy(query);
    (!name.is_empty()).then(|| clean(&name, 64))
}

/// Analyzes a whole capture.
#[must_use]
pub fn analyze<R: Read>(name: &str, input: R, options: Options) -> CaptureReport {
    let mut file = CaptureFile::new(input);
    let mut analyzer = Analyzer::new(options);
    let mut interfaces = 0;
    let broken = loop {
        match file.next_frame() {
            Ok(Some(frame)) => {
                if file.parser().interface_count() != interfaces {
                    interfaces = file.parser().interface_count();
                    analyzer.on_interfaces(&file.parser().interfaces());
                }
                analyzer.on_frame(&frame);
            }
            Ok(None) => break None,
            Err(broken) => break Some(broken),
        }
    };
    analyzer.finish(name, file.parser(), broken.as_ref())
}
