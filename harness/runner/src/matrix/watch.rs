//! The link between a client and a server, and everything that watches it: events, the checks at both ends, counts.
//!
//! Client and server stand at the two ends of one emulated link: the client at [`Point::Iut`], the server and the harness's
//! repository at [`Point::Peer`]. The checks judge an end, so there are two sets of them: one sees the events as they are, the
//! other sees them mirrored, as if the server were the implementation under test. What the harness's repository says is neither's, so
//! the mirrored events are without it.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use fotaproof_checks::{CheckConfig, Checks};
use fotaproof_net as net;
use fotaproof_trace::{Datagram, Event, EventKind, Finding, Point, Toward, TransferFacts};
use fotaproof_wire::coap::{MessageView, Type};

use super::asked::Log;
use super::plan::Role;
use crate::session::exchanges::Exchanges;
use crate::session::facts::Conversations;
use crate::session::link_events::{cut, entry, exit, fate_event, packet_event, toward_net, toward_trace};

/// The check on images, which is made for a device and asked of a server too: what it sends has to be the package.
const IMAGE_SUM: &str = "image-sum";
/// Messages that are remembered to know those that come again.
const REMEMBERED: usize = 1 << 16;
/// Events of one cell at the most: a guard against a flood.
const EVENTS: u64 = 10_000_000;

/// What the watch has for its cell.
#[derive(Debug)]
pub(super) enum Seen {
    /// An event for journal and capture.
    Event(Arc<Event>),
    /// A datagram arrived at the client's end.
    ToClient {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Bytes,
    },
    /// A datagram arrived at the other end.
    ToPeer {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Bytes,
    },
}

/// What was counted on the link, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) datagrams: u64,
    pub(super) packets: u64,
    pub(super) fragments: u64,
    pub(super) bytes: u64,
    pub(super) lost: u64,
    pub(super) again: u64,
}

/// The link and its watchers.
#[derive(Debug)]
pub(super) struct Watch {
    link: net::Link,
    conversations: Conversations,
    exchanges: Exchanges,
    /// What both sides asked and what came of it.
    pub(super) log: Log,
    /// The client's, the server's, and the server's images.
    checks: [Checks; 3],
    /// The harness's repository.
    aside: Option<SocketAddr>,
    /// What did not hold, by side.
    pub(super) findings: [Vec<Finding>; 2],
    /// Confirmable and non-confirmable messages that were sent.
    sent: BTreeSet<(SocketAddr, SocketAddr, Bytes)>,
    again: u64,
    toward: BTreeMap<net::DatagramId, Toward>,
    out: VecDeque<Seen>,
    no: u64,
    /// How the client's latest Register was refused.
    pub(super) refused: Option<String>,
    /// The client sent something.
    pub(super) heard_client: bool,
    /// The other end sent something.
    pub(super) heard_server: bool,
}

impl Watch {
    pub(super) fn new(
        spec: net::LinkSpec,
        seed: u64,
        client: CheckConfig,
        server: CheckConfig,
        aside: Option<SocketAddr>,
    ) -> Self {
        let all_others = fotaproof_checks::all().iter().map(|check| check.id.to_owned());
        let images = CheckConfig {
            role: fotaproof_checks::Role::Client,
            disabled: all_others.filter(|id| id != IMAGE_SUM).collect(),
            ..server.clone()
        };
        let server = CheckConfig {
            role: fotaproof_checks::Role::Server,
            ..server
        };
        Self {
            link: net::Link::new(spec, seed),
            conversations: Conversations::default(),
            exchanges: Exchanges::default(),
            log: Log::default(),
            checks: [Checks::new(client), Checks::new(server), Checks::new(images)],
            aside,
            findings: [Vec::new(), Vec::new()],
            sent: BTreeSet::new(),
            again: 0,
            toward: BTreeMap::new(),
            out: VecDeque::new(),
            no: 0,
            refused: None,
            heard_client: false,
            heard_server: false,
        }
    }

    /// A datagram of the client enters the link.
    pub(super) fn client_sent(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        self.heard_client = true;
        self.enter(now, Toward::Peer, from, to, bytes);
    }

    /// A datagram of the server or the repository enters the link.
    pub(super) fn peer_sent(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        self.heard_server = true;
        self.enter(now, Toward::Iut, from, to, bytes);
    }

    fn enter(&mut self, now: Duration, toward: Toward, src: SocketAddr, dst: SocketAddr, payload: Bytes) {
        // the events before it come first
        self.turn(now);
        let peer = if toward == Toward::Peer { dst } else { src };
        let facts = self.conversations.facts(peer, toward, &payload);
        let has_id_of_its_own =
            MessageView::parse(&payload).is_ok_and(|view| matches!(view.kind(), Type::Con | Type::Non));
        if has_id_of_its_own {
            if self.sent.len() >= REMEMBERED {
                self.sent.clear();
            }
            self.again += u64::from(!self.sent.insert((src, dst, payload.clone())));
        }
        let (packets, largest) = cut(self.link.spec(), toward, src.is_ipv6(), payload.len());
        let id = self.link.send(
            now,
            net::Datagram {
                toward: toward_net(toward),
                src,
                dst,
                payload: payload.clone(),
                facts,
            },
        );
        self.exchanges.sent(now, id, src, dst, &payload);
        self.remember(id, toward);
        let datagram = Datagram {
            point: entry(toward),
            toward,
            datagram: id.0,
            src,
            dst,
            payload,
            packets,
            largest,
            altered: false,
            planned: false,
        };
        self.emit(now, EventKind::Datagram(datagram));
        self.turn(now);
    }

    /// Packets tell no direction of their fate; what is long gone is forgotten.
    fn remember(&mut self, id: net::DatagramId, toward: Toward) {
        self.toward.insert(id, toward);
        if self.toward.len() > REMEMBERED {
            self.toward.pop_first();
        }
    }

    /// Takes from the link what happened by now.
    pub(super) fn turn(&mut self, now: Duration) {
        while let Some(event) = self.link.poll(now) {
            self.link_event(event);
        }
    }

    /// The next thing for the cell.
    pub(super) fn poll(&mut self) -> Option<Seen> {
        self.out.pop_front()
    }

    /// When the link has something to do.
    pub(super) fn poll_deadline(&self) -> Option<Duration> {
        self.link.poll_deadline()
    }

    /// Tells an event to all who watch.
    pub(super) fn emit(&mut self, now: Duration, kind: EventKind) {
        if self.no >= EVENTS {
            return;
        }
        self.no += 1;
        let event = Event {
            no: self.no,
            at: now,
            kind,
        };
        if let EventKind::Datagram(datagram) = &event.kind {
            self.log.on_datagram(now, datagram, self.aside);
        }
        let known = [self.findings[0].len(), self.findings[1].len()];
        self.checks[0].on_event(&event, &mut self.findings[0]);
        if let Some(mirrored) = mirrored(&event, self.aside) {
            self.checks[1].on_event(&mirrored, &mut self.findings[1]);
            self.checks[2].on_event(&mirrored, &mut self.findings[1]);
        }
        self.out.push_back(Seen::Event(Arc::new(event)));
        self.tell_findings(now, known);
    }

    /// A remark for the journal.
    pub(super) fn note(&mut self, now: Duration, text: String) {
        self.emit(now, EventKind::Note { text });
    }

    /// The server was given this image and ended its transfer: what it sent must be that.
    pub(super) fn transferred(&mut self, now: Duration, facts: TransferFacts) {
        self.emit(now, EventKind::Transfer(facts));
    }

    /// Findings are events too, which makes them comments in the capture.
    fn tell_findings(&mut self, now: Duration, known: [usize; 2]) {
        for (role, known) in [Role::Client, Role::Server].into_iter().zip(known) {
            let fresh: Vec<Finding> = self.findings[role as usize][known..].to_vec();
            for finding in fresh {
                self.no += 1;
                let title = format!("{}: {}", role.word(), finding.title);
                let kind = EventKind::Finding(Finding { title, ..finding });
                self.out.push_back(Seen::Event(Arc::new(Event {
                    no: self.no,
                    at: now,
                    kind,
                })));
            }
        }
    }

    /// Nothing more comes.
    pub(super) fn finish(&mut self, now: Duration) {
        self.turn(now);
        let known = [self.findings[0].len(), self.findings[1].len()];
        for (checks, side) in self.checks.iter_mut().zip([0, 1, 1]) {
            checks.finish(now, &mut self.findings[side]);
        }
        self.tell_findings(now, known);
    }

    pub(super) fn counted(&self) -> Counted {
        let both = [net::Toward::Iut, net::Toward::Peer].map(|toward| self.link.counters(toward));
        Counted {
            datagrams: both.iter().map(|one| one.datagrams).sum(),
            packets: both.iter().map(|one| one.packets).sum(),
            fragments: both.iter().map(|one| one.fragments).sum(),
            bytes: both.iter().map(|one| one.bytes).sum(),
            lost: both.iter().map(|one| one.lost()).sum(),
            again: self.again,
        }
    }

    /// An exchange that came to nothing because of what the link lost by chance.
    pub(super) fn broken_by_chance(&self) -> Option<String> {
        self.exchanges.broken_by_chance(Duration::ZERO)
    }

    /// Why a client is not registered is worth knowing.
    fn look_for_refusal(&mut self, server: SocketAddr, payload: &[u8]) {
        let Ok(view) = MessageView::parse(payload) else { return };
        let code = view.code();
        let of_register = || {
            let path = self.conversations.path_of(server, false, payload);
            // the path of the registration interface may stand behind another one
            path.is_some_and(|path| path.trim_end_matches('/').ends_with("/rd"))
        };
        if code.is_error() && of_register() {
            let said = String::from_utf8_lossy(view.payload())
                .chars()
                .take(80)
                .collect::<String>();
            self.refused = Some(if said.is_empty() {
                code.to_string()
            } else {
                format!("{code} {said:?}")
            });
        }
    }

    fn link_event(&mut self, event: net::LinkEvent) {
        let at = event.at();
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
                let packet = packet_event(point, toward, packet, datagram, fragment, bytes, altered);
                self.emit(at, EventKind::Packet(packet));
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
                    self.exchanges.lost(at, datagram);
                }
                let toward = self.toward.get(&datagram).copied().unwrap_or(Toward::Peer);
                let fate = fate_event(toward, packet, datagram, rule, &fate, draw);
                self.emit(at, EventKind::Fate(fate));
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
                self.exchanges.delivered(datagram);
                let toward = toward_trace(toward);
                if toward == Toward::Iut {
                    self.look_for_refusal(src, &payload);
                }
                let told = Datagram {
                    point: exit(toward),
                    toward,
                    datagram: datagram.0,
                    src,
                    dst,
                    payload: payload.clone(),
                    packets,
                    largest,
                    altered,
                    planned: false,
                };
                self.emit(at, EventKind::Datagram(told));
                let (from, to, bytes) = (src, dst, payload);
                self.out.push_back(match toward {
                    Toward::Iut => Seen::ToClient { from, to, bytes },
                    Toward::Peer => Seen::ToPeer { from, to, bytes },
                });
            }
            net::LinkEvent::Refused { to_sender, mtu, .. } => {
                let end = if to_sender == net::Point::Iut {
                    "client"
                } else {
                    "server"
                };
                self.note(
                    at,
                    format!("the link told the {end} that the packet is above its MTU of {mtu}"),
                );
            }
        }
    }
}

/// The event as it looks when the server is the one that is judged; none for what it is not concerned with.
fn mirrored(event: &Event, aside: Option<SocketAddr>) -> Option<Event> {
    let kind = match &event.kind {
        EventKind::Datagram(datagram) if [datagram.src, datagram.dst].into_iter().any(|end| Some(end) == aside) => {
            return None;
        }
        EventKind::Datagram(datagram) => EventKind::Datagram(Datagram {
            point: match datagram.point {
                Point::Iut => Point::Peer,
                Point::Peer => Point::Iut,
                Point::Aside => Point::Aside,
            },
            toward: match datagram.toward {
                Toward::Iut => Toward::Peer,
                Toward::Peer => Toward::Iut,
            },
            ..datagram.clone()
        }),
        EventKind::Transfer(facts) => EventKind::Transfer(facts.clone()),
        _ => return None,
    };
    Some(Event {
        no: event.no,
        at: event.at,
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> (SocketAddr, SocketAddr) {
        (([192, 0, 2, 2], 50_000).into(), ([192, 0, 2, 1], 5683).into())
    }

    fn watch() -> Watch {
        Watch::new(
            net::LinkSpec::default(),
            1,
            CheckConfig::default(),
            CheckConfig::default(),
            Some(REPOSITORY),
        )
    }

    const REPOSITORY: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1)), 5683);

    fn bytes(bytes: &'static [u8]) -> Bytes {
        Bytes::from_static(bytes)
    }

    /// GET /5, message 7, token aa.
    const GET: &[u8] = &[0x41, 1, 0, 7, 0xaa, 0xb1, b'5'];

    #[test]
    fn each_side_is_blamed_for_its_own_deeds_only() {
        for (by_server, blamed) in [(true, Role::Server), (false, Role::Client)] {
            let (client, server) = ends();
            let mut watch = watch();
            // an Acknowledgement with another token than the request
            let (asks, answers) = if by_server { (client, server) } else { (server, client) };
            let send = |watch: &mut Watch, now, from, to, bytes| {
                if from == client {
                    watch.client_sent(now, from, to, bytes);
                } else {
                    watch.peer_sent(now, from, to, bytes);
                }
            };
            send(&mut watch, Duration::ZERO, asks, answers, bytes(GET));
            watch.turn(Duration::from_millis(500));
            send(
                &mut watch,
                Duration::from_millis(500),
                answers,
                asks,
                bytes(&[0x61, 69, 0, 7, 0xbb]),
            );
            watch.finish(Duration::from_secs(9));
            let guilty = watch.findings[blamed as usize].clone();
            assert!(!guilty.is_empty(), "{blamed:?}");
            assert!(watch.findings[1 - blamed as usize].is_empty(), "{:?}", watch.findings);
            let mut told = 0;
            while let Some(seen) = watch.poll() {
                if let Seen::Event(event) = seen
                    && let EventKind::Finding(finding) = &event.kind
                {
                    told += 1;
                    assert!(finding.title.starts_with(&format!("{}: ", blamed.word())));
                }
            }
            assert_eq!(told, guilty.len());
        }
    }

    #[test]
    fn what_the_harness_says_itself_is_nobodys_fault() {
        let (client, _) = ends();
        let mut watch = watch();
        watch.client_sent(Duration::ZERO, client, REPOSITORY, bytes(GET));
        watch.turn(Duration::from_millis(500));
        watch.peer_sent(
            Duration::from_millis(500),
            REPOSITORY,
            client,
            bytes(&[0x61, 69, 0, 7, 0xbb]),
        );
        watch.finish(Duration::from_secs(9));
        assert!(watch.findings[1].is_empty(), "{:?}", watch.findings[1]);
    }

    #[test]
    fn what_only_a_server_can_do_wrong_is_asked_of_it() {
        let (client, server) = ends();
        let mut watch = watch();
        let at = Duration::from_secs;
        let register = [0x41, 2, 0, 1, 1, 0xb2, b'r', b'd', 0x44, b'e', b'p', b'=', b'd'];
        watch.client_sent(at(0), client, server, Bytes::copy_from_slice(&register));
        watch.turn(Duration::from_millis(400));
        let created = [0x61, 0x41, 0, 1, 1, 0x82, b'r', b'd', 0x01, b'1'];
        watch.peer_sent(
            Duration::from_millis(400),
            server,
            client,
            Bytes::copy_from_slice(&created),
        );
        // a Read of State that is answered 0, Idle
        let read = [0x41, 1, 0, 7, 0xaa, 0xb1, b'5', 0x01, b'0', 0x01, b'3'];
        watch.peer_sent(at(1), server, client, Bytes::copy_from_slice(&read));
        watch.turn(at(2));
        watch.client_sent(at(2), client, server, bytes(&[0x61, 69, 0, 7, 0xaa, 0xc0, 0xff, b'0']));
        watch.turn(at(3));
        // and an Execute of Update all the same
        let execute = [0x41, 2, 0, 8, 0xab, 0xb1, b'5', 0x01, b'0', 0x01, b'2'];
        watch.peer_sent(at(4), server, client, Bytes::copy_from_slice(&execute));
        watch.finish(at(9));
        let named = |finding: &Finding| finding.source.to_string();
        let found: Vec<String> = watch.findings[1].iter().map(named).collect();
        assert_eq!(found, ["check execute-when-downloaded"], "{:?}", watch.findings);
    }

    #[test]
    fn a_message_that_comes_again_is_counted_once_each_time() {
        let (client, server) = ends();
        let mut watch = watch();
        for second in [0, 3, 9] {
            watch.peer_sent(Duration::from_secs(second), server, client, bytes(GET));
        }
        watch.client_sent(Duration::from_secs(10), client, server, bytes(&[0x61, 69, 0, 7, 0xaa]));
        watch.client_sent(Duration::from_secs(11), client, server, bytes(&[0x61, 69, 0, 7, 0xaa]));
        let counted = watch.counted();
        assert_eq!(
            (counted.datagrams, counted.again),
            (5, 2),
            "an Acknowledgement has no id of its own"
        );
        assert_eq!(counted.bytes, 3 * 35 + 2 * 33);
    }
}
