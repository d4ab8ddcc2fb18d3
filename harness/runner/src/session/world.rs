//! The harness's side of the link: the reference server, the repositories, other hosts, and the
//! link itself.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use fotaproof_lwm2m::repository::RepositoryEvent;
use fotaproof_lwm2m::server::{Server, ServerEvent};
use fotaproof_net as net;
use fotaproof_trace::{Datagram, DtlsEvent, Event, EventKind, Packet, Point, Toward};

use crate::watched::Watched;

use super::bystanders::Bystanders;
use super::config::Addresses;
use super::exchanges::Exchanges;
use super::facts::Conversations;
use super::latest::{Ends, Latest};
use super::link_events::{cut, entry, exit, fate_event, packet_event, toward_net, toward_trace};
use super::tester::device::{Given, TestDevice};
use super::tester::secure::Inner;

/// One way between a device and a repository of the harness.
const ASIDE: Duration = Duration::from_millis(20);

/// Something that a party of the harness's side tells.
#[derive(Debug)]
pub(crate) enum PartyEvent {
    // on the heap: each turn is moved some times, and these are large and few
    Server(Box<ServerEvent>),
    Other(Box<ServerEvent>),
    Repository(String, Box<RepositoryEvent>),
    /// A device had its turn.
    Device(String),
    /// A device says something to people.
    DeviceLog(String, String),
}

/// What came out of the world in one turn.
#[derive(Debug)]
pub(crate) enum Turn {
    /// An event for the stream, which has its number and its time only there. It is made where it stays.
    Event(Arc<Event>),
    /// A datagram leaves for the IUT.
    Transmit {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Bytes,
    },
    /// A datagram of the IUT arrived at a party.
    Arrived { to: SocketAddr, bytes: Bytes },
    /// A party tells something.
    Party(PartyEvent),
}

impl Turn {
    fn event(kind: EventKind) -> Self {
        Self::Event(unplaced(kind))
    }
}

/// An event without its number and its time.
pub(super) fn unplaced(kind: EventKind) -> Arc<Event> {
    let (no, at) = (0, Duration::ZERO);
    Arc::new(Event { no, at, kind })
}

/// The harness's side.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) addresses: Addresses,
    pub(crate) server: Watched<Server>,
    pub(crate) bystanders: Watched<Bystanders>,
    /// Devices of the harness, where the IUT is a server.
    pub(crate) devices: BTreeMap<String, TestDevice>,
    /// Datagrams between devices and repositories, which never come near the IUT.
    aside: VecDeque<(Duration, SocketAddr, SocketAddr, Bytes)>,
    /// What these are about, by the address of the device.
    beside: Conversations,
    pub(crate) link: net::Link,
    conversations: Conversations,
    latest: Latest<Note>,
    packets: bool,
    /// Requests of the harness as datagrams, for a later resend.
    pub(crate) sent: SentRequests,
    out: VecDeque<Turn>,
    /// Bytes and IP packets that passed the IUT's end, both ways.
    pub(crate) traffic: Traffic,
    /// What became of confirmable messages.
    pub(crate) exchanges: Exchanges,
    pub(crate) recorder: Option<net::FateRecorder>,
    /// Packets that the link lost, repeated, delayed or damaged by chance, by no rule.
    pub(crate) disturbed: u64,
    /// Datagrams of the IUT that arrived.
    pub(crate) heard: usize,
}

/// What is known of a datagram on the link.
#[derive(Debug)]
struct Note {
    toward: Toward,
    /// The harness sent it wrong on purpose.
    planned: bool,
    inner: Inner,
    /// It reached the other end before: a second copy of a record is thrown away there (RFC 6347 section 4.1.2.6).
    arrived: bool,
}

/// Requests as they were sent: the first blocks and the latest are what a case asks for again.
type SentRequests = Ends<Sent, 16, 80>;

/// A request of the harness as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Bytes,
    pub(crate) block1: Option<u32>,
}

/// Counts at the IUT's end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
    pub(crate) fragments: u64,
    pub(crate) datagrams: u64,
}

impl World {
    pub(crate) fn new(addresses: Addresses, server: Server, link: net::Link, packets: bool) -> Self {
        Self {
            addresses,
            server: Watched::new(server),
            bystanders: Watched::new(Bystanders::default()),
            devices: BTreeMap::new(),
            aside: VecDeque::new(),
            beside: Conversations::default(),
            link,
            conversations: Conversations::default(),
            latest: Latest::default(),
            packets,
            sent: SentRequests::default(),
            out: VecDeque::new(),
            traffic: Traffic::default(),
            exchanges: Exchanges::default(),
            recorder: None,
            disturbed: 0,
            heard: 0,
        }
    }

    /// Takes a datagram of the IUT at its end of the link.
    pub(crate) fn take_from_iut(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        let device = self.devices.values().find(|device| device.host() == to.ip());
        let inner = device.map_or(Inner::Clear, |device| device.inner(from, &bytes));
        self.enter_with(now, Toward::Peer, from, to, bytes, false, inner);
    }

    /// Sends a datagram of the harness's side past its parties.
    pub(crate) fn send_past(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: Bytes, planned: bool) {
        self.enter(now, Toward::Iut, from, to, bytes, planned);
    }

    fn enter(
        &mut self,
        now: Duration,
        toward: Toward,
        src: SocketAddr,
        dst: SocketAddr,
        payload: Bytes,
        planned: bool,
    ) {
        self.enter_with(now, toward, src, dst, payload, planned, Inner::Clear);
    }

    #[expect(clippy::too_many_arguments, reason = "all of it is known of each datagram")]
    fn enter_with(
        &mut self,
        now: Duration,
        toward: Toward,
        src: SocketAddr,
        dst: SocketAddr,
        payload: Bytes,
        planned: bool,
        inner: Inner,
    ) {
        let peer = if toward == Toward::Peer { dst } else { src };
        let facts = match inner.message(&payload) {
            Some(message) => self.conversations.facts_within(peer, toward, message),
            None => net::Facts::default(),
        };
        if toward == Toward::Iut && facts.is_request() && matches!(inner, Inner::Clear) {
            self.sent.push(Sent {
                from: src,
                to: dst,
                bytes: payload.clone(),
                block1: facts.block1.map(|block| block.num),
            });
        }
        let (packets, largest) = cut(self.link.spec(), toward, src.is_ipv6(), payload.len());
        let datagram = self.link.send(
            now,
            net::Datagram {
                toward: toward_net(toward),
                src,
                dst,
                payload: payload.clone(),
                facts,
            },
        );
        if let Some(message) = inner.message(&payload) {
            self.exchanges.sent(now, datagram, src, dst, message);
        }
        if toward == Toward::Peer {
            self.count(&payload, packets, src.is_ipv6());
        }
        self.tell_datagram(
            Datagram {
                point: entry(toward),
                toward,
                datagram: datagram.0,
                src,
                dst,
                payload,
                packets,
                largest,
                altered: false,
                planned,
            },
            &inner,
        );
        let note = Note {
            toward,
            planned,
            inner,
            arrived: false,
        };
        self.latest.insert(datagram, note);
    }

    /// Tells of a datagram by the message in it, or by its records where there is none.
    fn tell_datagram(&mut self, mut datagram: Datagram, inner: &Inner) {
        self.out.push_back(Turn::event(match inner {
            Inner::Clear => EventKind::Datagram(datagram),
            Inner::Message(message) => {
                datagram.payload = message.clone();
                EventKind::Datagram(datagram)
            }
            Inner::Records(records) => EventKind::Dtls(DtlsEvent::Records {
                point: datagram.point,
                toward: datagram.toward,
                datagram: datagram.datagram,
                src: datagram.src,
                dst: datagram.dst,
                length: datagram.payload.len(),
                records: records.clone(),
            }),
        }));
    }

    fn count(&mut self, payload: &Bytes, packets: u16, ipv6: bool) {
        self.traffic.datagrams += 1;
        self.traffic.packets += u64::from(packets);
        if packets > 1 {
            self.traffic.fragments += u64::from(packets);
        }
        let header = if ipv6 { 40 } else { 20 };
        self.traffic.bytes += payload.len() as u64 + 8 + header * u64::from(packets);
    }

    /// The path of the request that the last datagram was or answered.
    pub(crate) fn path_of(&self, peer: SocketAddr, by_iut: bool, payload: &[u8]) -> Option<String> {
        self.conversations.path_of(peer, by_iut, payload)
    }

    /// The same for a datagram between a device and a repository.
    pub(crate) fn path_beside(&self, src: SocketAddr, dst: SocketAddr, payload: &[u8]) -> Option<String> {
        let by_device = self.device_at(src).is_some();
        let device = if by_device { src } else { dst };
        self.beside.path_of(device, by_device, payload)
    }

    /// Does what is due and gives one thing that came of it; `None` when nothing is left.
    pub(crate) fn turn(&mut self, now: Duration) -> Option<Turn> {
        loop {
            if let Some(turn) = self.out.pop_front() {
                return Some(turn);
            }
            if !self.step(now) {
                return None;
            }
        }
    }

    /// One round over all parts; false when nothing came of it. There are some for each datagram, so that parts that rest are
    /// passed over.
    fn step(&mut self, now: Duration) -> bool {
        let mut busy = false;
        // what is due
        let (server, bystanders) = (self.server.begin(now), self.bystanders.begin(now));
        if server && self.server.within().poll_deadline().is_some_and(|at| at <= now) {
            self.server.within().handle_timeout(now);
        }
        if bystanders {
            self.bystanders.within().handle_timeout(now);
        }
        // what is sent
        if server {
            while let Some(transmit) = self.server.within().poll_transmit() {
                busy = true;
                let from = self.addresses.server;
                self.enter(now, Toward::Iut, from, transmit.to, transmit.bytes, false);
            }
        }
        if bystanders {
            busy |= self.bystanders_send(now);
        }
        busy |= self.devices_step(now);
        // what is told
        if server || self.server.is_awake() {
            while let Some(event) = self.server.within().poll_event() {
                busy = true;
                self.out.push_back(Turn::Party(match event {
                    ServerEvent::Repository(event) => PartyEvent::Repository("main".to_owned(), Box::new(event)),
                    event => PartyEvent::Server(Box::new(event)),
                }));
            }
        }
        if bystanders || self.bystanders.is_awake() {
            for event in self.bystanders.within().told() {
                busy = true;
                self.out.push_back(Turn::Party(event));
            }
        }
        if server {
            self.server.rest();
        }
        if bystanders {
            self.bystanders.rest();
        }
        // what the link does
        while let Some(event) = self.link.poll(now) {
            busy = true;
            self.link_event(now, event);
        }
        busy
    }

    fn bystanders_send(&mut self, now: Duration) -> bool {
        let sent = self.bystanders.within().sent(&self.addresses.repositories);
        let busy = !sent.is_empty();
        for (from, to, bytes) in sent {
            if self.device_at(to).is_some() {
                self.pass_by(now, from, to, bytes);
            } else {
                self.enter(now, Toward::Iut, from, to, bytes, false);
            }
        }
        busy
    }

    fn link_event(&mut self, now: Duration, event: net::LinkEvent) {
        if let Some(recorder) = &mut self.recorder {
            recorder.record(&event);
        }
        match event {
            net::LinkEvent::Packet {
                point,
                toward,
                packet,
                datagram,
                fragment,
                bytes,
                altered,
                ..
            } => {
                if self.packets || fragment.is_some() || altered {
                    let packet = packet_event(point, toward, packet, datagram, fragment, bytes, altered);
                    self.out.push_back(Turn::event(EventKind::Packet(packet)));
                }
            }
            net::LinkEvent::Fate {
                packet,
                datagram,
                rule,
                fate,
                draw,
                ..
            } => {
                if fate == net::Fate::Pass && rule.is_none() && draw.is_none() {
                    return;
                }
                if fate == net::Fate::Dropped(net::DropReason::Loss) {
                    self.exchanges.lost(now, datagram);
                }
                if rule.is_none() && disturbs(&fate) {
                    self.disturbed += 1;
                }
                let toward = self.latest.get(datagram).map_or(Toward::Peer, |note| note.toward);
                let told = fate_event(toward, packet, datagram, rule, &fate, draw);
                self.out.push_back(Turn::event(EventKind::Fate(told)));
            }
            net::LinkEvent::Delivered {
                toward,
                datagram,
                src,
                dst,
                payload,
                packets,
                largest,
                altered,
                ..
            } => {
                let (planned, inner) = self.arrival(datagram, altered);
                self.exchanges.delivered(datagram);
                let toward = toward_trace(toward);
                self.tell_datagram(
                    Datagram {
                        point: exit(toward),
                        toward,
                        datagram: datagram.0,
                        src,
                        dst,
                        payload: payload.clone(),
                        packets,
                        largest,
                        altered,
                        planned,
                    },
                    &inner,
                );
                if toward == Toward::Iut {
                    self.count(&payload, packets, src.is_ipv6());
                    self.out.push_back(Turn::Transmit {
                        from: src,
                        to: dst,
                        bytes: payload,
                    });
                } else {
                    if let Some(message) = inner.message(&payload) {
                        self.heard += 1;
                        self.out.push_back(Turn::Arrived {
                            to: dst,
                            bytes: message.clone(),
                        });
                    }
                    self.deliver(now, src, dst, &payload);
                }
            }
            net::LinkEvent::Refused { to_sender, mtu, .. } => {
                self.out.push_back(Turn::event(EventKind::Note {
                    text: format!(
                        "the link told the {} end that the packet is above its MTU of {mtu}",
                        if to_sender == net::Point::Iut {
                            "IUT's"
                        } else {
                            "server's"
                        }
                    ),
                }));
            }
        }
    }

    /// What is known of a datagram that reaches the other end.
    fn arrival(&mut self, datagram: net::DatagramId, altered: bool) -> (bool, Inner) {
        let Some(note) = self.latest.get_mut(datagram) else {
            return (false, Inner::Clear);
        };
        let again = core::mem::replace(&mut note.arrived, true);
        let inner = match &note.inner {
            Inner::Message(_) if altered => Inner::Records("a damaged record".to_owned()),
            Inner::Message(_) if again => Inner::Records("a copy of a record".to_owned()),
            inner => inner.clone(),
        };
        (note.planned, inner)
    }

    /// The name of the device on a host.
    fn device_at(&self, address: SocketAddr) -> Option<String> {
        let mut devices = self.devices.iter();
        devices
            .find(|(_, device)| device.host() == address.ip())
            .map(|(name, _)| name.clone())
    }

    /// What devices do, and what goes between them and the repositories.
    fn devices_step(&mut self, now: Duration) -> bool {
        if self.devices.is_empty() {
            return false;
        }
        let mut busy = false;
        let mut sent = Vec::new();
        for (name, device) in &mut self.devices {
            device.handle_timeout(now);
            if device.is_idle() {
                continue;
            }
            while let Some(given) = device.poll(now) {
                match given {
                    Given::Transmit { from, to, bytes, inner } => sent.push((from, to, bytes, inner)),
                    Given::Dtls(event) => self.out.push_back(Turn::event(EventKind::Dtls(event))),
                    Given::Log(line) => self
                        .out
                        .push_back(Turn::Party(PartyEvent::DeviceLog(name.clone(), line))),
                }
                busy = true;
            }
            if device.take_touched() {
                busy = true;
                self.out.push_back(Turn::Party(PartyEvent::Device(name.clone())));
            }
        }
        for (from, to, bytes, inner) in sent {
            if to != self.addresses.server && self.addresses.repositories.values().any(|at| *at == to) {
                self.pass_by(now, from, to, bytes);
            } else if to.ip() == self.addresses.server.ip() {
                // a server may have its repository at a port of its own
                self.enter_with(now, Toward::Iut, from, to, bytes, false, inner);
            }
        }
        while self.aside.front().is_some_and(|(at, ..)| *at <= now) {
            if let Some((_, from, to, bytes)) = self.aside.pop_front() {
                busy = true;
                self.deliver(now, from, to, &bytes);
            }
        }
        busy
    }

    /// Sends a datagram between a device and a repository, which is told as what it is: nothing of the IUT.
    fn pass_by(&mut self, now: Duration, src: SocketAddr, dst: SocketAddr, payload: Bytes) {
        let (datagram, packet, bytes) = self.link.pass_by(src, dst, &payload);
        if self.device_at(src).is_some() {
            self.beside.facts(src, Toward::Peer, &payload);
        }
        if self.packets {
            self.out.push_back(Turn::event(EventKind::Packet(Packet {
                point: Point::Aside,
                toward: Toward::Peer,
                packet: packet.0,
                datagram: datagram.0,
                fragment: None,
                bytes,
                altered: false,
            })));
        }
        let header = if src.is_ipv6() { 48 } else { 28 };
        self.out.push_back(Turn::event(EventKind::Datagram(Datagram {
            point: Point::Aside,
            toward: Toward::Peer,
            datagram: datagram.0,
            src,
            dst,
            payload: payload.clone(),
            packets: 1,
            largest: u16::try_from(header + payload.len()).unwrap_or(u16::MAX),
            altered: false,
            planned: false,
        })));
        self.aside.push_back((now + ASIDE, src, dst, payload));
    }

    fn deliver(&mut self, now: Duration, src: SocketAddr, dst: SocketAddr, payload: &Bytes) {
        if let Some(device) = self.devices.values_mut().find(|device| device.host() == dst.ip()) {
            device.datagram(now, src, dst, payload);
        } else if dst == self.addresses.server {
            self.server.handle_datagram(now, src, payload);
        } else if self.bystanders.others.contains_key(&dst) {
            if let Some(other) = self.bystanders.others.get_mut(&dst) {
                other.handle_datagram(now, src, payload);
            }
        } else if let Some(name) = self
            .addresses
            .repositories
            .iter()
            .find(|(_, at)| **at == dst)
            .map(|(name, _)| name.clone())
            && let Some(repository) = self.bystanders.repositories.get_mut(&name)
        {
            repository.handle_datagram(now, src, payload);
        }
    }

    /// When something is due.
    pub(crate) fn poll_deadline(&self) -> Option<Duration> {
        let aside = self.aside.front().map(|(at, ..)| *at);
        let devices = self.devices.values().filter_map(TestDevice::poll_deadline).min();
        [
            self.server.next(),
            self.link.poll_deadline(),
            aside,
            devices,
            self.bystanders.next(),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}

/// Whether a packet fared as nobody planned.
const fn disturbs(fate: &net::Fate) -> bool {
    match fate {
        net::Fate::Pass | net::Fate::Delayed(_) | net::Fate::Truncated(_) | net::Fate::Refused => false,
        // what a large packet meets is the MTU's doing and no chance
        net::Fate::Dropped(net::DropReason::Oversize | net::DropReason::Filtered | net::DropReason::Rule) => false,
        net::Fate::Dropped(_) | net::Fate::Duplicated { .. } | net::Fate::Corrupted { .. } | net::Fate::Swapped => true,
    }
}
