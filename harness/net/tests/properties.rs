//! What holds for every link: determinism, nothing lost without a reason, replay, and agreement of captures with deliveries.

mod common;

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use common::*;
use fotaproof_net::{
    Action, Blackout, CodeSel, Damage, DirectionSpec, Facts, Fate, FateRecorder, Limits, Link, LinkEvent, LinkSpec,
    Loss, Reassembler, Reorder, Rule, Select, Toward, profiles,
};
use proptest::prelude::*;

/// What is sent: time since the last, direction, length, IPv6.
type Sends = Vec<(u64, bool, usize, bool)>;

fn run(link: &mut Link, sends: &Sends) -> Vec<LinkEvent> {
    let (mut now, mut events) = (Duration::ZERO, Vec::new());
    for &(gap, up, len, v6) in sends {
        now += ms(gap);
        events.extend(until(link, now));
        let ends = if v6 { (IUT6, SERVER6) } else { (IUT, SERVER) };
        let toward = if up { Toward::Peer } else { Toward::Iut };
        link.send(
            now,
            between(
                toward,
                ends,
                len,
                Facts {
                    code: Some(len as u8 % 100),
                    ..Facts::default()
                },
            ),
        );
    }
    events.extend(drain(link));
    events
}

fn sends() -> impl Strategy<Value = Sends> {
    prop::collection::vec((0_u64..50, any::<bool>(), 0_usize..3000, any::<bool>()), 1..60)
}

fn rough() -> impl Strategy<Value = LinkSpec> {
    (
        68_u16..1500,
        0.0..0.3,
        0_u64..40,
        0.0..0.3,
        0.0..0.0002,
        prop::option::of(20_000_u64..1_000_000),
        any::<bool>(),
    )
        .prop_map(|(mtu, p, jitter, duplicate, bit_error, rate_bps, keep_order)| {
            let direction = DirectionSpec {
                loss: Loss::Bernoulli(p / 3.0),
                delay: ms(20),
                jitter: ms(jitter),
                keep_order,
                reorder: Some(Reorder {
                    probability: p,
                    delay: ms(60),
                }),
                duplicate,
                duplicate_gap: ms(3),
                bit_error,
                rate_bps,
                queue_packets: Some(40),
                ..DirectionSpec::default()
            };
            let every = |k| Select {
                every: Some(k),
                ..Select::default()
            };
            let rules = vec![
                Rule::new("swap", every(7), Action::Swap),
                Rule::new("cut", every(9), Action::Truncate(20)),
                Rule::new(
                    "bad",
                    every(11),
                    Action::Corrupt {
                        damage: Damage::Bits(2),
                        fix_checksum: true,
                    },
                ),
                Rule::new(
                    "late",
                    Select {
                        code: Some(CodeSel::Class(1)),
                        ..Select::default()
                    },
                    Action::Delay(ms(30)),
                )
                .times(5),
            ];
            let blackouts = vec![Blackout::both(ms(300), ms(350))];
            LinkSpec {
                mtu,
                toward_iut: direction.clone(),
                toward_server: direction,
                rules,
                blackouts,
                ..LinkSpec::default()
            }
        })
}

fn exits(events: &[LinkEvent]) -> Vec<&LinkEvent> {
    events
        .iter()
        .filter(|event| matches!(event, LinkEvent::Packet { point, toward, .. } if *point == toward.exit()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_link_without_loss_delivers_each_datagram_once_and_intact(sends in sends(), mtu in 68_u16.., jitter in 0_u64..100) {
        let direction = DirectionSpec { delay: ms(50), jitter: ms(jitter), ..DirectionSpec::default() };
        let mut link = Link::new(LinkSpec { mtu, toward_iut: direction.clone(), toward_server: direction, ..LinkSpec::default() }, 1);
        let events = run(&mut link, &sends);
        let mut arrived = BTreeMap::new();
        for event in &events {
            if let LinkEvent::Delivered { datagram, payload, altered, copy, largest, .. } = event {
                prop_assert!(!altered && *copy == 0 && *largest <= mtu);
                prop_assert!(arrived.insert(datagram.0, payload.clone()).is_none());
            }
        }
        let sent: BTreeMap<u64, Bytes> = sends.iter().enumerate().map(|(n, (_, _, len, _))| (n as u64, payload(*len))).collect();
        prop_assert_eq!(arrived, sent);
        prop_assert_eq!(link.in_flight(), 0);
    }

    #[test]
    fn the_same_seed_gives_the_same_events(spec in rough(), sends in sends(), seed: u64) {
        let first = run(&mut Link::new(spec.clone(), seed), &sends);
        let second = run(&mut Link::new(spec, seed), &sends);
        prop_assert_eq!(first, second);
    }

    #[test]
    fn events_come_in_time_order_and_every_packet_has_its_fate(spec in rough(), sends in sends(), seed: u64) {
        let mut link = Link::new(spec, seed);
        let events = run(&mut link, &sends);
        prop_assert!(events.is_sorted_by_key(LinkEvent::at));
        let mut entered = BTreeMap::new();
        for event in &events {
            match event {
                LinkEvent::Packet { packet, point, toward, .. } if *point == toward.entry() => {
                    prop_assert!(entered.insert(*packet, 0).is_none());
                }
                LinkEvent::Fate { packet, .. } => *entered.get_mut(packet).unwrap() += 1,
                LinkEvent::Packet { packet, .. } => prop_assert!(entered[packet] > 0),
                _ => {}
            }
        }
        prop_assert!(entered.values().all(|fates| *fates > 0));
        prop_assert_eq!(link.in_flight(), 0);
        let counted = link.counters(Toward::Iut).packets + link.counters(Toward::Peer).packets;
        prop_assert_eq!(counted, entered.len() as u64);
    }

    /// Captures carry bytes or not; the rest is the same.
    #[test]
    fn bytes_make_no_difference(spec in rough(), sends in sends(), seed: u64) {
        let with = run(&mut Link::new(spec.clone(), seed), &sends);
        let mut link = Link::new(spec, seed);
        link.set_packet_bytes(false);
        let mut without = run(&mut link, &sends);
        let mut stripped = with;
        for event in stripped.iter_mut().chain(&mut without) {
            if let LinkEvent::Packet { bytes, .. } = event {
                *bytes = Bytes::new();
            }
        }
        prop_assert_eq!(stripped, without);
    }

    #[test]
    fn a_replay_does_to_each_packet_what_was_done(spec in rough(), sends in sends(), seed: u64) {
        let first = run(&mut Link::new(spec.clone(), seed), &sends);
        let mut recorder = FateRecorder::new();
        first.iter().for_each(|event| recorder.record(event));
        let text = serde_json::to_string(&recorder.finish()).unwrap();
        let recorded = serde_json::from_str(&text).unwrap();
        let bare = LinkSpec { rules: Vec::new(), toward_iut: DirectionSpec::default(), toward_server: DirectionSpec::default(), blackouts: Vec::new(), ..spec };
        let second = run(&mut Link::replay(bare, recorded), &sends);
        let sort = |events: &[LinkEvent]| {
            let mut what: Vec<String> = exits(events).into_iter().map(|event| format!("{event:?}")).collect();
            what.sort();
            what
        };
        prop_assert_eq!(sort(&first), sort(&second));
        let fates = |events: &[LinkEvent]| fates(events).into_iter().filter(|(_, fate)| *fate != Fate::Pass).map(|fate| format!("{fate:?}")).collect::<Vec<_>>();
        let (mut a, mut b) = (fates(&first), fates(&second));
        a.sort();
        b.sort();
        prop_assert_eq!(a, b);
    }

    /// Whoever reassembles the captured packets finds what was delivered.
    #[test]
    fn captured_packets_reassemble_to_what_was_delivered(sends in sends(), mtu in 68_u16..1500, p in 0.0..0.3) {
        let direction = DirectionSpec { loss: Loss::Bernoulli(p), delay: ms(50), jitter: ms(40), ..DirectionSpec::default() };
        let mut link = Link::new(LinkSpec { mtu, toward_iut: direction.clone(), toward_server: direction, ..LinkSpec::default() }, 8);
        let events = run(&mut link, &sends);
        let mut reassembler = Reassembler::new(Limits::default());
        let mut found = Vec::new();
        for event in exits(&events) {
            if let LinkEvent::Packet { at, bytes, .. } = event
                && let Some(whole) = reassembler.push(*at, bytes).unwrap()
            {
                let udp = whole.udp().unwrap().unwrap();
                prop_assert_eq!(udp.checksum, fotaproof_net::Checksum::Right);
                found.push((udp.src, udp.dst, udp.payload, whole.packets, whole.largest));
            }
        }
        let delivered: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                LinkEvent::Delivered { src, dst, payload, packets, largest, .. } => Some((*src, *dst, payload.clone(), *packets, *largest)),
                _ => None,
            })
            .collect();
        prop_assert_eq!(found, delivered);
    }

    #[test]
    fn events_survive_json(spec in rough(), sends in sends()) {
        for event in run(&mut Link::new(spec, 3), &sends) {
            let text = serde_json::to_string(&event).unwrap();
            prop_assert_eq!(serde_json::from_str::<LinkEvent>(&text).unwrap(), event);
        }
    }
}

#[test]
fn every_profile_carries_a_block_now_and_then() {
    for profile in profiles() {
        let mut link = Link::new(profile.spec, 1);
        let arrived: usize = (0..50)
            .map(|n| {
                link.send(Duration::from_secs(20 * n), datagram(Toward::Iut, 93));
                delivered(&drain(&mut link)).len()
            })
            .sum();
        assert!(arrived > 20, "{}: {arrived}", profile.name);
    }
}
