//! The network events of a run: what befell single packets, and by which rule each can be brought about again.
//!
//! A packet is known by what it is (direction, type, code, path, blocks, fragment) and the how-manieth of its kind it is,
//! not by its number: when another packet is not lost any more, numbers mean other packets, and "the retransmission of
//! block 4" is still that.

use core::time::Duration;
use std::collections::{BTreeMap, HashMap};

use fotaproof_net as net;
use fotaproof_trace::{Event, EventKind, Fate, Point, Toward};
use fotaproof_wire::coap::MessageView;

use crate::session::facts::Conversations;

/// What a packet is, as a rule of a case file can say it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// Direction of travel.
    pub toward: net::Toward,
    /// CoAP message type, 0 to 3; none for what is no CoAP.
    pub kind: Option<u8>,
    /// CoAP code.
    pub code: Option<u8>,
    /// Path of the request that it is or answers.
    pub path: Option<String>,
    /// Number of the Block1 option, of the request for a response without.
    pub block1: Option<u32>,
    /// Number of the Block2 option, of the request for a response without.
    pub block2: Option<u32>,
    /// It carries an Observe option.
    pub observe: bool,
    /// Which fragment of a fragmented datagram.
    pub fragment: Option<u16>,
}

impl Label {
    /// Whether a rule that selects by this label selects a packet with that one.
    #[must_use]
    pub fn selects(&self, other: &Self) -> bool {
        fn is<T: PartialEq>(wanted: Option<&T>, have: Option<&T>) -> bool {
            wanted.is_none() || wanted == have
        }
        self.toward == other.toward
            && is(self.kind.as_ref(), other.kind.as_ref())
            && is(self.code.as_ref(), other.code.as_ref())
            && is(self.path.as_ref(), other.path.as_ref())
            && is(self.block1.as_ref(), other.block1.as_ref())
            && is(self.block2.as_ref(), other.block2.as_ref())
            && (!self.observe || other.observe)
            && is(self.fragment.as_ref(), other.fragment.as_ref())
    }

    fn select(&self) -> net::Select {
        net::Select {
            toward: Some(self.toward),
            kind: self.kind.map(|kind| match kind {
                0 => net::Kind::Con,
                1 => net::Kind::Non,
                2 => net::Kind::Ack,
                _ => net::Kind::Rst,
            }),
            code: self.code.map(net::CodeSel::Is),
            path: self.path.clone(),
            block1: self.block1.map(net::BlockSel::Num),
            block2: self.block2.map(net::BlockSel::Num),
            observe: self.observe.then_some(true),
            fragment: self.fragment.map(net::FragmentSel::Index),
            ..net::Select::default()
        }
    }
}

/// What befell a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It was lost.
    Lost,
    /// It came this much later than the link alone would have it.
    Late(Duration),
    /// So many more copies came.
    Copied {
        /// Copies in addition to the packet itself.
        copies: u32,
        /// Time between them.
        gap: Duration,
    },
}

/// One network event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkEvent {
    /// The packet, by its place among those that rules are asked about.
    pub packet: usize,
    /// What befell it.
    pub what: What,
    /// The how-manieth transmission of its message it is, from 1.
    pub transmission: u32,
    /// The how-manieth message of its kind it is, from 1.
    pub occurrence: u32,
}

/// The packets and network events of a run.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The different labels.
    pub labels: Vec<Label>,
    /// The label of each packet that rules are asked about, in order of entry.
    pub packets: Vec<usize>,
    /// What befell them, in order of the packets.
    pub events: Vec<NetworkEvent>,
    /// Lateness by jitter alone; tried only when the failure does not come back without.
    pub jitter: Vec<NetworkEvent>,
    selects: Vec<Vec<bool>>,
}

#[derive(Debug)]
struct Sent {
    at: Duration,
    toward: Toward,
    facts: net::Facts,
    transmission: u32,
    occurrence: u32,
    packets: u16,
    known: u16,
    late: Option<Duration>,
    first: Option<usize>,
    befell: bool,
}

#[derive(Default)]
struct Reader {
    record: Record,
    conversations: Conversations,
    ids: BTreeMap<Label, usize>,
    sent: BTreeMap<u64, Sent>,
    of_packet: HashMap<u64, u16>,
    messages: HashMap<(Toward, std::net::SocketAddr, std::net::SocketAddr, u16), u32>,
    occurrences: HashMap<Label, u32>,
}

/// What decides which fates are events.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The link of the run.
    pub spec: &'a net::LinkSpec,
    /// The link that is left when its events are taken away.
    pub calm: &'a net::LinkSpec,
}

impl Record {
    /// Reads the events of a run.
    #[must_use]
    pub fn of<'e>(run: impl IntoIterator<Item = &'e Event>, origin: Origin<'_>) -> Self {
        let mut reader = Reader::default();
        let run: Vec<&Event> = run.into_iter().collect();
        // fates first: whether rules were asked about a packet is known only from what became of it
        let mut fates: BTreeMap<u64, Vec<(u64, &fotaproof_trace::FateOfPacket)>> = BTreeMap::new();
        for event in &run {
            match &event.kind {
                EventKind::Fate(fate) => fates.entry(fate.datagram).or_default().push((fate.packet, fate)),
                EventKind::Packet(packet) => {
                    if let Some(fragment) = packet.fragment {
                        reader.of_packet.insert(packet.packet, fragment.index);
                    }
                }
                _ => {}
            }
        }
        for event in &run {
            let EventKind::Datagram(datagram) = &event.kind else {
                continue;
            };
            let entry = if datagram.toward == Toward::Peer {
                Point::Iut
            } else {
                Point::Peer
            };
            if datagram.point == entry {
                reader.entered(
                    event.at,
                    datagram,
                    fates.get(&datagram.datagram).map_or(&[][..], Vec::as_slice),
                    origin,
                );
            } else {
                reader.left(event.at, datagram, origin);
            }
        }
        reader.finish()
    }

    /// The rules that bring about these events, in order, and nothing else.
    #[must_use]
    pub fn rules(&self, events: &[NetworkEvent]) -> Vec<net::Rule> {
        let mut events: Vec<&NetworkEvent> = events.iter().collect();
        events.sort_by_key(|event| event.packet);
        // what each rule has matched, had it been asked about the packets of this run
        let mut matched = vec![0_u64; events.len()];
        let mut nth = vec![1_u64; events.len()];
        let mut first_open = 0;
        for (packet, label) in self.packets.iter().enumerate() {
            if first_open >= events.len() {
                break;
            }
            for (i, event) in events.iter().enumerate().skip(first_open) {
                let own = self.packets.get(event.packet).copied().unwrap_or_default();
                if !self
                    .selects
                    .get(own)
                    .and_then(|row| row.get(*label))
                    .copied()
                    .unwrap_or(false)
                {
                    continue;
                }
                matched[i] += 1;
                if event.packet == packet {
                    nth[i] = matched[i];
                    break;
                }
            }
            while events.get(first_open).is_some_and(|event| event.packet <= packet) {
                first_open += 1;
            }
        }
        let mut rules: Vec<net::Rule> = Vec::new();
        for (event, nth) in events.iter().zip(nth) {
            let Some(label) = self.packets.get(event.packet).and_then(|label| self.labels.get(*label)) else {
                continue;
            };
            let action = match event.what {
                What::Lost => net::Action::Drop,
                What::Late(by) => net::Action::Delay(by),
                What::Copied { copies, gap } => net::Action::Duplicate { n: copies, gap },
            };
            let mut rule = net::Rule::new(self.words(event), label.select(), action);
            if nth == 1 {
                rule.times = Some(1);
                // the first and the second of a kind: the first two
                if let Some(before) = rules.last_mut()
                    && before.select == rule.select
                    && before.action == rule.action
                    && let Some(times) = before.times
                {
                    before.times = Some(times + 1);
                    before.name = format!("{}; {}", before.name, rule.name);
                    continue;
                }
            } else {
                rule.select.nth = Some(nth);
            }
            rules.push(rule);
        }
        rules
    }

    /// The packet of an event, in words.
    #[must_use]
    pub fn words(&self, event: &NetworkEvent) -> String {
        let label = self.packets.get(event.packet).and_then(|label| self.labels.get(*label));
        label.map_or_else(String::new, |label| {
            super::words::packet(label, event.transmission, event.occurrence)
        })
    }
}

/// The n-th message or packet of something, counted.
fn count<K: core::hash::Hash + Eq>(counts: &mut HashMap<K, u32>, key: K) -> u32 {
    let count = counts.entry(key).or_default();
    *count += 1;
    *count
}

impl Reader {
    fn entered(
        &mut self,
        at: Duration,
        datagram: &fotaproof_trace::Datagram,
        fates: &[(u64, &fotaproof_trace::FateOfPacket)],
        origin: Origin<'_>,
    ) {
        let toward = datagram.toward;
        let peer = match toward {
            Toward::Iut => datagram.src,
            Toward::Peer => datagram.dst,
        };
        let facts = self.conversations.facts(peer, toward, &datagram.payload);
        let transmission = match MessageView::parse(&datagram.payload) {
            Ok(view) => count(
                &mut self.messages,
                (toward, datagram.src, datagram.dst, view.message_id()),
            ),
            Err(_) => 1,
        };
        let whole = label(toward, &facts, None);
        let occurrence = if transmission == 1 {
            count(&mut self.occurrences, whole)
        } else {
            self.occurrences.get(&whole).copied().unwrap_or(1)
        };
        // packets of the datagram that something is known of; a whole one has one, and its number may be unknown
        let mut sent = Sent {
            at,
            toward,
            facts,
            transmission,
            occurrence,
            packets: datagram.packets.max(1),
            known: 0,
            late: None,
            first: None,
            befell: false,
        };
        let fragments = sent.packets > 1;
        for index in 0..sent.packets {
            let own: Vec<&fotaproof_trace::FateOfPacket> = fates
                .iter()
                .filter(|(packet, _)| !fragments || self.of_packet.get(packet).copied().unwrap_or(0) == index)
                .map(|(_, fate)| *fate)
                .collect();
            self.packet(&mut sent, fragments.then_some(index), &own, origin);
        }
        self.sent.insert(datagram.datagram, sent);
    }

    fn packet(
        &mut self,
        sent: &mut Sent,
        fragment: Option<u16>,
        fates: &[&fotaproof_trace::FateOfPacket],
        origin: Origin<'_>,
    ) {
        if fates.iter().any(|fate| !asked(fate, sent.at, sent.toward, origin)) {
            return;
        }
        let label = label(sent.toward, &sent.facts, fragment);
        let id = match self.ids.get(&label) {
            Some(id) => *id,
            None => {
                self.record.labels.push(label.clone());
                self.ids.insert(label, self.record.labels.len() - 1);
                self.record.labels.len() - 1
            }
        };
        self.record.packets.push(id);
        let packet = self.record.packets.len() - 1;
        sent.first.get_or_insert(packet);
        sent.known += 1;
        for fate in fates {
            if fate
                .rule
                .as_ref()
                .is_some_and(|name| origin.calm.rules.iter().any(|rule| rule.name == *name))
            {
                // a rule that stays
                continue;
            }
            let what = match fate.fate {
                Fate::Dropped => match fate.reason.as_deref() {
                    // these follow from what the link is, and come again by themselves
                    Some("oversize" | "filtered" | "queue" | "nat" | "reassembly" | "checksum") => continue,
                    _ => What::Lost,
                },
                // the receiver's checksum ends nearly all of them
                Fate::Corrupted if fate.rule.is_none() => What::Lost,
                Fate::Delayed => What::Late(fate.delay.unwrap_or_default()),
                Fate::Duplicated => What::Copied {
                    copies: 1,
                    gap: fate.delay.unwrap_or(Duration::from_millis(5)),
                },
                Fate::Pass | Fate::Corrupted | Fate::Truncated | Fate::Swapped | Fate::Refused => continue,
            };
            sent.befell = true;
            // one event a packet: what is lost is not late as well
            if let Some(last) = self.record.events.last_mut()
                && last.packet == packet
            {
                if what == What::Lost {
                    last.what = what;
                }
                continue;
            }
            self.record.events.push(NetworkEvent {
                packet,
                what,
                transmission: sent.transmission,
                occurrence: sent.occurrence,
            });
        }
    }

    /// A datagram reached its receiver: how late it is tells the jitter.
    fn left(&mut self, at: Duration, datagram: &fotaproof_trace::Datagram, origin: Origin<'_>) {
        let Some(sent) = self.sent.get_mut(&datagram.datagram) else {
            return;
        };
        let toward = if sent.toward == Toward::Iut {
            net::Toward::Iut
        } else {
            net::Toward::Peer
        };
        if sent.late.is_none() && !sent.befell && !origin.spec.direction(toward).jitter.is_zero() {
            sent.late = Some(
                at.saturating_sub(sent.at)
                    .saturating_sub(origin.calm.direction(toward).delay),
            );
        }
    }

    fn finish(mut self) -> Record {
        for sent in self.sent.values() {
            if let (Some(late), Some(first)) = (sent.late, sent.first)
                && !late.is_zero()
            {
                // a fragmented datagram is as late as its last fragment
                self.record.jitter.push(NetworkEvent {
                    packet: first + usize::from(sent.known.saturating_sub(1)),
                    what: What::Late(late),
                    transmission: sent.transmission,
                    occurrence: sent.occurrence,
                });
            }
        }
        self.record.jitter.sort_by_key(|event| event.packet);
        let labels = &self.record.labels;
        self.record.selects = labels
            .iter()
            .map(|a| labels.iter().map(|b| a.selects(b)).collect())
            .collect();
        self.record
    }
}

/// Whether the rules of the calm link would be asked about a packet that fared so.
fn asked(fate: &fotaproof_trace::FateOfPacket, at: Duration, toward: Toward, origin: Origin<'_>) -> bool {
    match (fate.fate, fate.reason.as_deref(), &fate.rule) {
        (Fate::Refused, ..) | (Fate::Dropped, Some("oversize" | "filtered"), _) => false,
        // of the case's head it is an event; of a step it happens again
        (Fate::Dropped, Some("blackout"), _) => {
            let toward = if toward == Toward::Iut {
                net::Toward::Iut
            } else {
                net::Toward::Peer
            };
            origin.spec.flaps.is_some()
                || origin
                    .spec
                    .blackouts
                    .iter()
                    .any(|dark| dark.toward.is_none_or(|only| only == toward) && (dark.from..dark.to).contains(&at))
        }
        // a rule that a step set is asked before those of the link
        (_, _, Some(name)) => origin.spec.rules.iter().any(|rule| rule.name == *name),
        _ => true,
    }
}

fn label(toward: Toward, facts: &net::Facts, fragment: Option<u16>) -> Label {
    Label {
        toward: if toward == Toward::Iut {
            net::Toward::Iut
        } else {
            net::Toward::Peer
        },
        kind: facts.kind.map(|kind| match kind {
            net::Kind::Con => 0,
            net::Kind::Non => 1,
            net::Kind::Ack => 2,
            net::Kind::Rst => 3,
        }),
        code: facts.code,
        path: facts.path.as_deref().map(str::to_owned),
        block1: facts.block1.map(|block| block.num),
        block2: facts.block2.map(|block| block.num),
        observe: facts.observe.is_some(),
        fragment,
    }
}
