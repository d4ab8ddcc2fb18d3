//! The link: what enters, what comes out when, and what can be changed while it runs.

mod decide;

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;

use crate::{
    assembly::Assembly,
    event::{Counters, DropReason, Fate, Fragment, LinkEvent},
    facts::{Datagram, DatagramId, Facts, GuardId, PacketId, Toward},
    model::Direction,
    nat::Translator,
    packet::{self, Content, UDP_HEADER},
    replay::{RecordedFate, Recording},
    rule::Rule,
    rulebook::{RuleBook, RuleKey},
    spec::{DirectionSpec, LinkSpec, MIN_MTU, Oversize},
};

/// A packet on its way.
#[derive(Clone, Debug)]
pub(crate) struct Transit {
    pub(crate) toward: Toward,
    pub(crate) datagram: DatagramId,
    pub(crate) packet: PacketId,
    /// Addresses at the sender's end.
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
    /// The source after a NAT at the sender's end.
    pub(crate) outer_src: SocketAddr,
    /// UDP payload of the whole datagram.
    pub(crate) payload: Bytes,
    pub(crate) ident: u32,
    /// The part carried, its length in bytes of UDP datagram, and how many parts there are.
    pub(crate) part: Option<(Fragment, usize, u16)>,
    /// Bytes on the link.
    pub(crate) size: u16,
    /// The IP packet as it entered; empty when nobody wants it.
    pub(crate) bytes: Bytes,
    pub(crate) copy: u32,
    pub(crate) harm: Option<Box<Harm>>,
}

impl Transit {
    pub(crate) fn fragment(&self) -> Option<Fragment> {
        self.part.map(|(fragment, ..)| fragment)
    }

    /// Bytes of IP header before what is carried.
    pub(crate) fn ip_header(&self) -> usize {
        packet::ip_header(self.src, self.dst, self.part.is_some())
    }

    /// Where in the IP packet the carried UDP payload begins, and how long it is.
    fn carried(&self) -> (usize, usize) {
        let first = self.part.is_none_or(|(fragment, ..)| fragment.offset == 0);
        let udp = if first { UDP_HEADER } else { 0 };
        let length = self.part.map_or(self.payload.len(), |(_, length, _)| length - udp);
        (self.ip_header() + udp, length)
    }
}

/// What a packet suffers on its way.
#[derive(Clone, Debug)]
pub(crate) enum Harm {
    /// Flipped bits of the IP packet.
    Bits { bits: Vec<u32>, fixed: bool },
    /// Bytes of UDP payload left.
    Truncated(u16),
}

#[derive(Debug)]
struct Held {
    key: RuleKey,
    until: Duration,
    transit: Transit,
}

/// An emulated IP link between the implementation under test and its peer.
///
/// Give it datagrams with [`send`](Self::send) and take events with [`poll`](Self::poll), after every send and whenever
/// [`poll_deadline`](Self::poll_deadline) is reached, until there are none.
#[derive(Debug)]
pub struct Link {
    spec: LinkSpec,
    pub(crate) nat: Translator,
    pub(crate) assembly: Assembly,
    pub(crate) recording: Option<Recording>,
    pub(crate) with_bytes: bool,
    pub(crate) counters: [Counters; 2],
    directions: [Direction; 2],
    rules: RuleBook,
    dark_until: [Duration; 2],
    dead: [bool; 2],
    clock: Duration,
    datagrams: u64,
    packets: u64,
    scheduled: u64,
    /// Departures and the slots of their packets, in time order and then as scheduled.
    heap: BinaryHeap<Reverse<(Duration, u64, u32)>>,
    slots: Vec<Option<Transit>>,
    free: Vec<u32>,
    held: Vec<Held>,
    /// Events of sends, at the time of the send.
    ready: VecDeque<LinkEvent>,
    /// Events of arrivals being polled; they come before those of sends.
    pub(crate) arriving: VecDeque<LinkEvent>,
}

impl Link {
    /// A link whose random models draw from this seed.
    pub fn new(spec: LinkSpec, seed: u64) -> Self {
        Self {
            nat: Translator::new(spec.nat),
            rules: RuleBook::new(&spec.rules, seed),
            directions: [Direction::new(seed, 0), Direction::new(seed, 1)],
            spec,
            assembly: Assembly::default(),
            recording: None,
            with_bytes: true,
            counters: Default::default(),
            dark_until: [Duration::ZERO; 2],
            dead: [false; 2],
            clock: Duration::ZERO,
            datagrams: 0,
            packets: 0,
            scheduled: 0,
            heap: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            held: Vec::new(),
            ready: VecDeque::new(),
            arriving: VecDeque::new(),
        }
    }

    /// A link that does to the n-th packet of a direction what was done in a run before, instead of drawing and asking rules. MTU and NAT of the spec
    /// hold. Packets beyond the recording pass with the delay and rate of the spec.
    pub fn replay(spec: LinkSpec, recorded: Vec<RecordedFate>) -> Self {
        Self {
            recording: Some(Recording::new(recorded)),
            ..Self::new(spec, 0)
        }
    }

    /// Whether packet events carry the bytes of the packet (they do unless told otherwise). Without, the link is faster.
    pub const fn set_packet_bytes(&mut self, wanted: bool) {
        self.with_bytes = wanted;
    }

    /// Sends a datagram. A time before that of an earlier call counts as that.
    pub fn send(&mut self, now: Duration, datagram: Datagram) -> DatagramId {
        self.send_as(now, datagram, self.spec.oversize)
    }

    /// Sends a datagram that its sender's own IP stack has cut to fit already, as behind a TUN device: whatever the link does
    /// with large packets, these are fragments.
    pub fn send_fragmented(&mut self, now: Duration, datagram: Datagram) -> DatagramId {
        let oversize = match self.spec.oversize {
            Oversize::Drop | Oversize::Refuse => Oversize::Fragment,
            other => other,
        };
        self.send_as(now, datagram, oversize)
    }

    /// A datagram that takes another way than this link, and has from it only what a capture needs: numbers of its own, and the
    /// bytes of its packet where those are wanted.
    pub fn pass_by(&mut self, src: SocketAddr, dst: SocketAddr, payload: &[u8]) -> (DatagramId, PacketId, Bytes) {
        let id = DatagramId(self.datagrams);
        self.datagrams += 1;
        let packet = self.next_packet();
        if !self.with_bytes || payload.len() > packet::max_payload(src, dst) {
            return (id, packet, Bytes::new());
        }
        let bytes = packet::ip_packet(&Content {
            src,
            dst,
            // its numbers are unique, which is all that an identification is for
            ident: (packet.0 & 0xffff) as u32,
            dont_fragment: true,
            udp: &packet::udp_header(src, dst, payload),
            payload,
            part: None,
        });
        (id, packet, bytes.into())
    }

    fn send_as(&mut self, now: Duration, datagram: Datagram, oversize: Oversize) -> DatagramId {
        let now = now.max(self.clock);
        self.clock = now;
        let Datagram {
            toward,
            src,
            dst,
            payload,
            facts,
        } = datagram;
        let id = DatagramId(self.datagrams);
        self.datagrams += 1;
        self.counters[toward.index()].datagrams += 1;
        let outer_src = if toward.entry() == self.nat.behind() {
            self.nat.outward(now, src)
        } else {
            src
        };
        let direction = &mut self.directions[toward.index()];
        let ident = direction.ident;
        direction.ident = ident.wrapping_add(1);

        if payload.len() > packet::max_payload(src, dst) {
            // No IP packet can carry it; the sender's own interface says so.
            let packet = self.next_packet();
            self.decided(now, packet, id, None, Fate::Refused, None);
            self.ready.push_back(LinkEvent::Refused {
                at: now,
                to_sender: toward.entry(),
                datagram: id,
                mtu: u16::MAX,
            });
            return id;
        }
        // Below 65536: the check above.
        let ip_size = (packet::overhead(src, dst) + payload.len()) as u16;
        let mtu = self.spec.mtu(toward).max(MIN_MTU);
        let pdu = self.spec.pdu_limit;
        let size = if pdu.is_some() { payload.len() as u16 } else { ip_size };
        let fits = size <= pdu.unwrap_or(mtu);
        let oversize = if pdu.is_some() { Oversize::Drop } else { oversize };
        let mut whole = Transit {
            toward,
            datagram: id,
            packet: PacketId(0),
            src,
            dst,
            outer_src,
            payload,
            ident,
            part: None,
            size,
            bytes: Bytes::new(),
            copy: 0,
            harm: None,
        };
        match oversize {
            Oversize::Fragment | Oversize::Filter if !fits => self.send_fragments(now, &whole, mtu, &facts),
            Oversize::Drop if !fits => {
                self.enter(now, &mut whole, None);
                self.drop(now, &whole, None, DropReason::Oversize, None);
            }
            Oversize::Refuse if !fits => {
                self.enter(now, &mut whole, None);
                self.decided(now, whole.packet, id, None, Fate::Refused, None);
                self.ready.push_back(LinkEvent::Refused {
                    at: now,
                    to_sender: toward.entry(),
                    datagram: id,
                    mtu,
                });
            }
            _ => {
                let index = self.enter(now, &mut whole, None);
                self.decide(now, whole, index, &facts);
            }
        }
        id
    }

    fn send_fragments(&mut self, now: Duration, whole: &Transit, mtu: u16, facts: &Facts) {
        let header = packet::ip_header(whole.src, whole.dst, true);
        // Every fragment but the last carries a multiple of 8 bytes (RFC 791 section 2.3); an MTU of 68 leaves room for 16.
        let room = (usize::from(mtu).saturating_sub(header) & !7).max(8);
        let total = UDP_HEADER + whole.payload.len();
        let count = total.div_ceil(room) as u16;
        let udp = if self.with_bytes {
            packet::udp_header(whole.src, whole.dst, &whole.payload)
        } else {
            [0; UDP_HEADER]
        };
        for index in 0..count {
            let offset = usize::from(index) * room;
            let length = room.min(total - offset);
            let fragment = Fragment {
                index,
                offset: offset as u16,
                more: index + 1 < count,
            };
            let size = (header + length) as u16;
            let mut transit = Transit {
                part: Some((fragment, length, count)),
                size,
                ..whole.clone()
            };
            let entered = self.enter(now, &mut transit, Some(&udp));
            self.decide(now, transit, entered, facts);
        }
    }

    const fn next_packet(&mut self) -> PacketId {
        let packet = PacketId(self.packets);
        self.packets += 1;
        packet
    }

    /// A packet passes the capture point at its sender. Returns its number within its direction.
    fn enter(&mut self, now: Duration, transit: &mut Transit, udp: Option<&[u8; UDP_HEADER]>) -> u64 {
        transit.packet = self.next_packet();
        if self.with_bytes {
            let computed;
            let udp = match udp {
                Some(udp) => udp,
                None => {
                    computed = packet::udp_header(transit.src, transit.dst, &transit.payload);
                    &computed
                }
            };
            transit.bytes = packet::ip_packet(&Content {
                src: transit.src,
                dst: transit.dst,
                ident: transit.ident,
                dont_fragment: self.dont_fragment() && transit.part.is_none(),
                udp,
                payload: &transit.payload,
                part: transit.part.map(|(fragment, length, _)| (fragment, length)),
            })
            .into();
        }
        let counters = &mut self.counters[transit.toward.index()];
        counters.packets += 1;
        counters.bytes += u64::from(transit.size);
        counters.fragments += u64::from(transit.part.is_some());
        self.ready.push_back(LinkEvent::Packet {
            at: now,
            point: transit.toward.entry(),
            toward: transit.toward,
            packet: transit.packet,
            datagram: transit.datagram,
            fragment: transit.fragment(),
            bytes: transit.bytes.clone(),
            size: transit.size,
            altered: false,
        });
        let direction = &mut self.directions[transit.toward.index()];
        direction.entered += 1;
        direction.entered - 1
    }

    pub(crate) fn dont_fragment(&self) -> bool {
        self.spec.oversize == Oversize::Refuse
    }

    fn decided(
        &mut self,
        at: Duration,
        packet: PacketId,
        datagram: DatagramId,
        rule: Option<String>,
        fate: Fate,
        draw: Option<f64>,
    ) {
        self.ready.push_back(LinkEvent::Fate {
            at,
            packet,
            datagram,
            rule,
            fate,
            draw,
        });
    }

    fn fate(&mut self, at: Duration, transit: &Transit, rule: Option<String>, fate: Fate, draw: Option<f64>) {
        self.decided(at, transit.packet, transit.datagram, rule, fate, draw);
    }

    fn drop(&mut self, at: Duration, transit: &Transit, rule: Option<String>, reason: DropReason, draw: Option<f64>) {
        self.counters[transit.toward.index()].count_drop(reason);
        self.fate(at, transit, rule, Fate::Dropped(reason), draw);
    }

    /// When the next packet leaves, is released, or is given up.
    fn next_timer(&self) -> Option<Duration> {
        let exit = self.heap.peek().map(|Reverse((at, ..))| *at);
        let released = self.held.first().map(|held| held.until);
        [exit, released, self.assembly.deadline()].into_iter().flatten().min()
    }

    /// The next event that has happened by `now`. Call until there is none.
    pub fn poll(&mut self, now: Duration) -> Option<LinkEvent> {
        loop {
            if let Some(event) = self.arriving.pop_front() {
                return Some(event);
            }
            let timer = self.next_timer();
            if let Some(event) = self.ready.front()
                && timer.is_none_or(|at| event.at() <= at)
            {
                return self.ready.pop_front();
            }
            let at = timer.filter(|at| *at <= now)?;
            self.clock = self.clock.max(at);
            self.fire(at);
        }
    }

    fn fire(&mut self, at: Duration) {
        if let Some(Reverse((exit, _, slot))) = self.heap.peek().copied()
            && exit <= at
        {
            self.heap.pop();
            self.free.push(slot);
            if let Some(transit) = self.slots[slot as usize].take() {
                let mut out = core::mem::take(&mut self.arriving);
                self.arrive(exit, transit, &mut out);
                self.arriving = out;
            }
        } else if self.held.first().is_some_and(|held| held.until <= at) {
            let held = self.held.remove(0);
            self.rules.set_holds(held.key, false);
            self.release(at, held.transit);
        } else {
            self.give_up(at);
        }
    }

    /// When [`poll`](Self::poll) has something next. May be in the past.
    pub fn poll_deadline(&self) -> Option<Duration> {
        if !self.arriving.is_empty() {
            return Some(self.clock);
        }
        [self.ready.front().map(LinkEvent::at), self.next_timer()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Packets under way, those held back by rules included.
    pub fn in_flight(&self) -> usize {
        self.heap.len() + self.held.len()
    }

    /// The spec as it is now. Its rules are those it was made with.
    pub const fn spec(&self) -> &LinkSpec {
        &self.spec
    }

    /// Counts of a direction.
    pub const fn counters(&self, toward: Toward) -> &Counters {
        &self.counters[toward.index()]
    }

    /// Adds a rule. It is asked before the spec's rules and after those added before it.
    pub fn add_rule(&mut self, rule: Rule) -> GuardId {
        self.rules.add(rule)
    }

    /// Removes an added rule; a packet it holds for swapping goes on. False: it was not there.
    pub fn remove_rule(&mut self, guard: GuardId) -> bool {
        let removed = self.rules.remove(guard).is_some();
        self.release_orphans();
        removed
    }

    fn release_orphans(&mut self) {
        while let Some(place) = self.held.iter().position(|held| !self.rules.has(held.key)) {
            let held = self.held.remove(place);
            self.release(self.clock, held.transit);
        }
    }

    /// How often an added rule acted.
    pub fn rule_count(&self, guard: GuardId) -> Option<u64> {
        self.rules.count(guard)
    }

    /// How often each rule acted, in order of precedence.
    pub fn rule_counts(&self) -> Vec<(String, u64)> {
        self.rules.counts()
    }

    /// Sets the MTU of one direction or, with none, of both.
    pub const fn set_mtu(&mut self, toward: Option<Toward>, mtu: u16) {
        match toward {
            Some(Toward::Iut) => self.spec.mtu_toward_iut = Some(mtu),
            Some(Toward::Peer) => self.spec.mtu_toward_server = Some(mtu),
            None => (self.spec.mtu, self.spec.mtu_toward_iut, self.spec.mtu_toward_server) = (mtu, None, None),
        }
    }

    /// Replaces a direction. Packets under way keep their times.
    pub fn set_direction(&mut self, toward: Toward, direction: DirectionSpec) {
        *self.spec.direction_mut(toward) = direction;
    }

    /// Replaces everything (the path changes). Packets under way, added rules, address mappings and the state of the random models stay.
    pub fn set_spec(&mut self, spec: LinkSpec) {
        self.nat.set_spec(spec.nat);
        self.rules.set(&spec.rules);
        self.spec = spec;
        self.release_orphans();
    }

    /// Loses what enters before `until`, in one direction or, with none, in both. A time in the past ends it.
    pub fn set_blackout(&mut self, toward: Option<Toward>, until: Duration) {
        for direction in Toward::BOTH
            .into_iter()
            .filter(|t| toward.is_none_or(|only| only == *t))
        {
            self.dark_until[direction.index()] = until;
        }
    }

    /// Kills or revives one direction or, with none, both.
    pub fn set_dead(&mut self, toward: Option<Toward>, dead: bool) {
        for direction in Toward::BOTH
            .into_iter()
            .filter(|t| toward.is_none_or(|only| only == *t))
        {
            self.dead[direction.index()] = dead;
        }
    }

    /// Gives every address behind the NAT a new mapping; the old ones are dead inward. Without a NAT in the spec there is one in front of the IUT
    /// from now on. Returns the new outer address of the end behind it that spoke last; none when it never did.
    pub fn rebind_nat(&mut self, now: Duration) -> Option<SocketAddr> {
        self.nat.rebind(now.max(self.clock))
    }
}

/// A driver may keep its link on another thread.
const _: () = {
    const fn assert_send<T: Send>() {}
    assert_send::<Link>();
};
