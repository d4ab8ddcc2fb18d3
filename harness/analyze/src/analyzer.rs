//! The analysis itself: frames in, a report out. No clock, no file, bounded memory.

mod batch;
mod encrypted;
mod party;
mod stream;
mod summary;

use bytes::Bytes;
use core::time::Duration;
use fotaproof_checks::facts::Dissection;
use fotaproof_checks::hash::{Address, Map};
use fotaproof_net::Reassembler;
use fotaproof_trace::capture::{ALTERED_COMMENT, PLANNED_COMMENT, iut_event_of};
use fotaproof_trace::{Event, EventKind, IpUdp, IutEvent, ip_of, udp_of};
use fotaproof_wire::coap::{Code, MessageView};
use std::io::Read;
use std::net::{IpAddr, SocketAddr};

use self::batch::{Batch, Queued};
use crate::capture::{CaptureFile, Frame};
use crate::device::{Device, Seen};
use crate::dtls::{Decryptor, Secrets};
use crate::facts::{Message, Token};
use crate::flow::{Flow, Kind, NOBODY};
use crate::report::{CaptureReport, Counts};
use crate::tcp::{Streams, segment_of};

/// Conversations followed.
const FLOWS: usize = 1 << 16;
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
    /// What opens encrypted conversations, besides what the capture itself holds.
    pub secrets: Secrets,
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
            secrets: Secrets::default(),
        }
    }
}

/// Judges a capture frame by frame.
#[derive(Debug)]
pub struct Analyzer {
    options: Options,
    counts: Counts,
    decryptor: Decryptor,
    reassembler: Reassembler,
    streams: Streams,
    flows: Map<(Address, Address), u32>,
    flow_list: Vec<Flow>,
    last_flow: Option<((SocketAddr, SocketAddr), u32)>,
    devices: Vec<Device>,
    by_name: Map<String, u32>,
    by_location: Map<(Address, String), u32>,
    by_address: Map<IpAddr, Option<u32>>,
    by_observation: Map<(Address, Token), u32>,
    by_package_uri: Map<u64, Option<u32>>,
    start: Option<Duration>,
    now: Duration,
    interfaces: usize,
    judged_at: Option<(u32, String)>,
    /// Both ends of the link are in the capture, as our own runs leave it: nothing at the IUT's end is missing.
    complete: bool,
    pub(crate) tap: Option<crate::ladder::Tap>,
    batch: Batch,
}

impl Analyzer {
    /// Ready for the first frame.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            decryptor: Decryptor::new(options.secrets.clone()),
            options,
            counts: Counts::default(),
            reassembler: Reassembler::default(),
            streams: Streams::default(),
            flows: Map::default(),
            flow_list: Vec::new(),
            last_flow: None,
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
            batch: Batch::default(),
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
                self.on_datagram(frame.number, frame.data.slice_ref(payload), &carried);
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
        self.on_datagram(frame.number, udp.payload, &carried);
    }

    /// The index of the conversation between two addresses; none beyond the bound.
    fn flow(&mut self, src: SocketAddr, dst: SocketAddr, number: u64) -> Option<u32> {
        let ends = if src <= dst { (src, dst) } else { (dst, src) };
        // An answer follows its request, as a rule.
        if let Some((last, index)) = self.last_flow
            && last == ends
        {
            return Some(index);
        }
        let key = (Address(ends.0), Address(ends.1));
        if let Some(index) = self.flows.get(&key) {
            self.last_flow = Some((ends, *index));
            return Some(*index);
        }
        if self.flow_list.len() >= FLOWS {
            self.counts.beyond_limit += 1;
            return None;
        }
        let index = self.flow_list.len() as u32;
        self.flows.insert(key, index);
        self.flow_list.push(Flow::new(ends, number));
        Some(index)
    }

    fn on_datagram(&mut self, number: u64, payload: Bytes, carried: &Carried) {
        let Some(index) = self.flow(carried.src, carried.dst, number) else {
            return;
        };
        let Some(flow) = self.flow_list.get_mut(index as usize) else {
            return;
        };
        flow.datagrams += 1;
        if flow.kind == Kind::Unknown {
            flow.look(&payload, &self.options.ports);
        }
        match flow.kind {
            Kind::Coap => self.on_coap(index, number, payload, carried),
            Kind::Dtls => self.on_dtls(index, number, &payload, carried),
            Kind::Unknown | Kind::Other => self.counts.other_udp += 1,
        }
    }

    /// A datagram of a conversation that carries CoAP.
    fn on_coap(&mut self, index: u32, number: u64, payload: Bytes, carried: &Carried) {
        let Some(flow) = self.flow_list.get(index as usize) else {
            return;
        };
        self.counts.coap += 1;
        let (device, src_first) = (flow.device, flow.ends.0 == carried.src);
        let mut party = (device, (device != NOBODY).then_some(flow.device_first == src_first));
        let view = MessageView::parse(&payload).ok();
        let read = view.as_ref().map(Dissection::of);
        // Only a Register can change whose conversation it is.
        if device == NOBODY || payload.get(1) == Some(&Code::POST.0) {
            let message = view.as_ref().zip(read.as_ref());
            let message = message.map(|(view, read)| Message::of_udp(view, read));
            party = self.party(index, device, party.1, message.as_ref(), carried, number);
        }
        let (device, Some(from_device)) = party else {
            self.counts.undecided += 1;
            return;
        };
        let read = match (&view, read) {
            (Some(view), Some(read)) if from_device => Some(read.with_lints(view)),
            (_, read) => read,
        };
        let seen = Seen {
            flow: index,
            from_device,
            at: self.now,
            packet: number,
            air: carried.air,
            length: payload.len() as u32,
        };
        self.enqueue(Queued::new(device, seen, src_first, carried, payload, read));
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
                analyzer.on_secrets(&file.parser_mut().take_secrets());
                analyzer.on_frame(&frame);
            }
            Ok(None) => break None,
            Err(broken) => break Some(broken),
        }
    };
    analyzer.finish(name, file.parser(), broken.as_ref())
}
