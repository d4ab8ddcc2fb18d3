//! The link from outside: MTU and its modes, delay, rate and queue, blackouts, NAT, loss.

mod common;

use core::time::Duration;

use common::*;
use fotaproof_net::{
    Blackout, Datagram, DirectionSpec, DropReason, Facts, Fate, Flaps, Link, LinkEvent, LinkSpec, Loss, Nat, Oversize,
    Point, Reorder, Rule, SpecError, Toward, profile, profiles,
};

const ZERO: Duration = Duration::ZERO;

#[test]
fn a_datagram_of_the_mtu_is_one_packet_and_a_byte_more_makes_two() {
    // 1280 - 20 - 8 = 1252 bytes of payload over IPv4.
    for (len, sizes) in [(1252, vec![1280]), (1253, vec![1276, 25])] {
        let events = once(LinkSpec::default(), len);
        let entered = packets(&events, true);
        assert_eq!(entered.iter().map(|(size, ..)| *size).collect::<Vec<_>>(), sizes);
        assert!(entered.iter().all(|(size, _, bytes)| bytes.len() == usize::from(*size)));
        assert_eq!(entered, packets(&events, false));
        assert_eq!(delivered(&events), [payload(len)]);
        let Some(LinkEvent::Delivered {
            packets, largest, at, ..
        }) = events.last()
        else {
            panic!("{events:?}")
        };
        assert_eq!((usize::from(*packets), *largest, *at), (sizes.len(), sizes[0], ms(20)));
    }
}

#[test]
fn ipv6_fragments_have_a_header_more() {
    // 1280 - 40 - 8 = 1232; fragments carry (1280 - 48) rounded down to 8: 1232.
    for (len, sizes) in [(1232, vec![1280]), (1233, vec![1280, 57])] {
        let mut link = Link::new(LinkSpec::default(), 1);
        link.send(ZERO, between(Toward::Iut, (IUT6, SERVER6), len, Facts::default()));
        let events = drain(&mut link);
        assert_eq!(
            packets(&events, true)
                .iter()
                .map(|(size, ..)| *size)
                .collect::<Vec<_>>(),
            sizes
        );
        assert_eq!(delivered(&events), [payload(len)]);
    }
}

#[test]
fn fragments_begin_at_multiples_of_eight_and_only_the_last_says_so() {
    let events = once(
        LinkSpec {
            mtu: 127,
            ..LinkSpec::perfect()
        },
        300,
    );
    let parts: Vec<_> = packets(&events, true)
        .into_iter()
        .map(|(_, part, _)| part.unwrap())
        .collect();
    // (127 - 20) rounded down to 104; 308 bytes with the UDP header.
    assert_eq!(parts, [(0, true), (104, true), (208, false)]);
}

#[test]
fn what_happens_above_the_mtu() {
    let spec = |oversize| LinkSpec {
        mtu: 576,
        oversize,
        ..LinkSpec::perfect()
    };
    for oversize in [Oversize::Fragment, Oversize::Drop, Oversize::Filter, Oversize::Refuse] {
        assert_eq!(
            delivered(&once(spec(oversize), 548)).len(),
            1,
            "{oversize:?}: 576 bytes fit"
        );
    }
    let filter = once(spec(Oversize::Filter), 549);
    assert_eq!(delivered(&filter).len(), 0);
    // The first fragment passes the firewall and waits at the receiver for ever: 30 s.
    assert_eq!(drops(&filter), [DropReason::Filtered, DropReason::Reassembly]);
    assert_eq!(packets(&filter, false).len(), 1);
    assert_eq!(filter.last().map(LinkEvent::at), Some(Duration::from_secs(30)));

    let drop = once(spec(Oversize::Drop), 549);
    assert_eq!(
        (packets(&drop, true).len(), packets(&drop, false).len(), drops(&drop)),
        (1, 0, vec![DropReason::Oversize])
    );

    let refuse = once(spec(Oversize::Refuse), 549);
    assert_eq!(fates(&refuse), [(None, Fate::Refused)]);
    assert!(matches!(
        refuse.last(),
        Some(LinkEvent::Refused {
            to_sender: Point::Iut,
            mtu: 576,
            ..
        })
    ));
    let (_, _, bytes) = &packets(&refuse, true)[0];
    assert_eq!(bytes[6] & 0x40, 0x40, "don't-fragment is set");
}

#[test]
fn a_datagram_no_ip_packet_can_carry_is_refused_in_every_mode() {
    for (len, refused) in [(65_507, false), (65_508, true)] {
        let events = once(LinkSpec::perfect(), len);
        assert_eq!(
            events.iter().any(|event| matches!(event, LinkEvent::Refused { .. })),
            refused
        );
        assert_eq!(delivered(&events).len(), usize::from(!refused));
    }
}

#[test]
fn each_fragment_has_a_fate_of_its_own() {
    let direction = DirectionSpec {
        loss: Loss::Bernoulli(0.1),
        ..DirectionSpec::default()
    };
    let mut link = Link::new(
        LinkSpec {
            mtu: 576,
            toward_server: direction,
            ..LinkSpec::perfect()
        },
        5,
    );
    link.set_packet_bytes(false);
    let (sent, mut arrived, mut drawn) = (20_000, 0, 0);
    for n in 0..sent {
        link.send(ms(n), datagram(Toward::Peer, 1045));
        let events = until(&mut link, ms(n));
        arrived += delivered(&events).len();
        drawn += events
            .iter()
            .filter(|event| matches!(event, LinkEvent::Fate { draw: Some(_), .. }))
            .count();
    }
    assert_eq!(drawn, 2 * sent as usize, "two fragments, two draws");
    // 0.9 squared; five standard errors of 20,000 are 1.4 %.
    let share = arrived as f64 / sent as f64;
    assert!((share - 0.81).abs() < 0.014, "{share}");
    let counters = link.counters(Toward::Peer);
    assert_eq!(
        (counters.datagrams, counters.packets, counters.fragments),
        (sent, 2 * sent, 2 * sent)
    );
    assert_eq!(counters.delivered as usize, arrived);
}

#[test]
fn rate_and_queue_are_exact() {
    // 125 bytes at 1 kbit/s take a second: 97 bytes of payload.
    let direction = DirectionSpec {
        rate_bps: Some(1000),
        delay: ms(100),
        queue_packets: Some(2),
        ..DirectionSpec::default()
    };
    let mut link = Link::new(
        LinkSpec {
            toward_server: direction,
            ..LinkSpec::perfect()
        },
        1,
    );
    for _ in 0..4 {
        link.send(ZERO, datagram(Toward::Peer, 97));
    }
    // One is on the air, two wait, the fourth finds the queue full.
    let events = drain(&mut link);
    assert_eq!(arrivals(&events), [(0, ms(1100)), (1, ms(2100)), (2, ms(3100))]);
    assert_eq!(drops(&events), [DropReason::Queue]);
    // At 1 s the second begins transmission and leaves a place; just before it does not.
    for (at, fits) in [(999, false), (1000, true)] {
        let mut link = Link::new(link.spec().clone(), 1);
        for _ in 0..3 {
            link.send(ZERO, datagram(Toward::Peer, 97));
        }
        until(&mut link, ms(at));
        link.send(ms(at), datagram(Toward::Peer, 97));
        assert_eq!(drops(&drain(&mut link)).is_empty(), fits, "at {at}");
    }
}

#[test]
fn a_queue_can_be_bounded_in_bytes() {
    for (limit, lost) in [(250, 0), (249, 1)] {
        let direction = DirectionSpec {
            rate_bps: Some(1000),
            queue_bytes: Some(limit),
            ..DirectionSpec::default()
        };
        let mut link = Link::new(
            LinkSpec {
                toward_server: direction,
                ..LinkSpec::perfect()
            },
            1,
        );
        for _ in 0..3 {
            link.send(ZERO, datagram(Toward::Peer, 97));
        }
        assert_eq!(drops(&drain(&mut link)).len(), lost);
    }
}

#[test]
fn directions_differ() {
    let mut spec = LinkSpec {
        mtu_toward_iut: Some(576),
        ..LinkSpec::perfect()
    };
    spec.toward_iut.delay = ms(300);
    let mut link = Link::new(spec, 1);
    link.send(ZERO, datagram(Toward::Peer, 1000));
    link.send(ZERO, datagram(Toward::Iut, 1000));
    let events = drain(&mut link);
    assert_eq!(arrivals(&events), [(0, ZERO), (1, ms(300))]);
    assert_eq!(packets(&events, true).len(), 1 + 2);
}

#[test]
fn jitter_stays_within_bounds_and_reorders_unless_told_not_to() {
    for keep_order in [false, true] {
        let direction = DirectionSpec {
            delay: ms(100),
            jitter: ms(50),
            keep_order,
            ..DirectionSpec::default()
        };
        let mut link = Link::new(
            LinkSpec {
                toward_server: direction,
                ..LinkSpec::perfect()
            },
            3,
        );
        for n in 0..200 {
            link.send(ms(n), datagram(Toward::Peer, 10));
        }
        let arrived = arrivals(&drain(&mut link));
        assert_eq!(arrived.len(), 200);
        assert_eq!(arrived.is_sorted_by_key(|(datagram, _)| *datagram), keep_order);
        assert!(
            arrived
                .iter()
                .all(|(n, at)| (50..=150 + if keep_order { 50 } else { 0 }).contains(&(at.as_millis() as u64 - n)))
        );
    }
}

#[test]
fn reordering_and_duplication_can_be_asked_for() {
    let reorder = Some(Reorder {
        probability: 1.0,
        delay: ms(300),
    });
    let direction = DirectionSpec {
        reorder,
        duplicate: 1.0,
        ..DirectionSpec::default()
    };
    let events = once(
        LinkSpec {
            toward_server: direction,
            ..LinkSpec::perfect()
        },
        10,
    );
    assert_eq!(arrivals(&events), [(0, ms(300)), (0, ms(305))]);
    assert_eq!(
        fates(&events),
        [
            (None, Fate::Delayed(ms(300))),
            (None, Fate::Duplicated { copies: 1, gap: ms(5) })
        ]
    );
    let copies: Vec<u32> = events
        .iter()
        .filter_map(|event| {
            if let LinkEvent::Delivered { copy, .. } = event {
                Some(*copy)
            } else {
                None
            }
        })
        .collect();
    assert_eq!(copies, [0, 1]);
}

#[test]
fn duplicated_fragments_make_a_second_datagram() {
    let direction = DirectionSpec {
        duplicate: 1.0,
        ..DirectionSpec::default()
    };
    let events = once(
        LinkSpec {
            mtu: 576,
            toward_server: direction,
            ..LinkSpec::perfect()
        },
        1000,
    );
    assert_eq!(delivered(&events), [payload(1000), payload(1000)]);
    assert_eq!(drops(&events), []);
}

#[test]
fn bit_errors_end_at_the_checksum() {
    let direction = DirectionSpec {
        bit_error: 0.001,
        ..DirectionSpec::default()
    };
    let mut link = Link::new(
        LinkSpec {
            mtu: 576,
            toward_server: direction,
            ..LinkSpec::perfect()
        },
        4,
    );
    let (mut sound, mut undetected) = (0, 0);
    for n in 0..2000 {
        link.send(ms(n), datagram(Toward::Peer, if n % 2 == 0 { 60 } else { 700 }));
        for event in until(&mut link, ms(n)) {
            if let LinkEvent::Delivered {
                altered, payload: got, ..
            } = event
            {
                assert_eq!(altered, got != payload(got.len()));
                if altered { undetected += 1 } else { sound += 1 }
            }
        }
    }
    // 88 bytes survive with 0.999^704 = 49 %, two packets of 748 bytes in all with next to nothing.
    assert!((440..=560).contains(&sound), "{sound}");
    // Two flips in one column of the 16-bit sum that cancel out: rare, and real.
    assert!((1..30).contains(&undetected), "{undetected}");
    assert!(link.counters(Toward::Peer).dropped[&DropReason::Checksum] > 1000);
}

#[test]
fn a_blackout_begins_and_ends_to_the_moment() {
    let spec = LinkSpec {
        blackouts: vec![Blackout::both(ms(100), ms(200))],
        ..LinkSpec::perfect()
    };
    for (at, passes) in [(99, true), (100, false), (199, false), (200, true)] {
        let mut link = Link::new(spec.clone(), 1);
        link.send(ms(at), datagram(Toward::Iut, 10));
        assert_eq!(drops(&drain(&mut link)).is_empty(), passes, "at {at}");
    }
    let mut link = Link::new(LinkSpec::perfect(), 1);
    link.set_blackout(Some(Toward::Iut), ms(50));
    link.set_dead(Some(Toward::Peer), true);
    for (at, toward, passes) in [
        (49, Toward::Iut, false),
        (50, Toward::Iut, true),
        (50, Toward::Peer, false),
    ] {
        link.send(ms(at), datagram(toward, 10));
        assert_eq!(drops(&drain(&mut link)).is_empty(), passes, "at {at}");
    }
    link.set_dead(None, false);
    link.send(ms(51), datagram(Toward::Peer, 10));
    assert_eq!(delivered(&drain(&mut link)).len(), 1);
}

#[test]
fn a_flapping_link_goes_down_and_up() {
    let flaps = Some(Flaps {
        first: ms(1000),
        down: ms(100),
        up: ms(400),
    });
    let mut link = Link::new(
        LinkSpec {
            flaps,
            ..LinkSpec::perfect()
        },
        1,
    );
    for (at, passes) in [
        (999, true),
        (1000, false),
        (1099, false),
        (1100, true),
        (1499, true),
        (1500, false),
        (11_100, true),
    ] {
        link.send(ms(at), datagram(Toward::Iut, 10));
        assert_eq!(drops(&drain(&mut link)).is_empty(), passes, "at {at}");
    }
}

#[test]
fn a_rebound_device_is_seen_elsewhere_and_its_old_address_is_dead() {
    let mut link = Link::new(LinkSpec::default(), 1);
    let ends = |event: &LinkEvent| {
        if let LinkEvent::Delivered { src, dst, .. } = event {
            Some((*src, *dst))
        } else {
            None
        }
    };
    let exchange = |link: &mut Link, at: u64, datagram| {
        link.send(ms(at), datagram);
        let events = drain(link);
        (events.iter().find_map(ends), drops(&events), packets(&events, false))
    };
    assert_eq!(
        exchange(&mut link, 0, datagram(Toward::Peer, 10)).0.unwrap().0,
        IUT.parse().unwrap()
    );
    // On its way when the mapping dies: lost at the NAT, not before.
    link.send(ms(100), datagram(Toward::Iut, 10));
    let outer = link.rebind_nat(ms(110)).unwrap();
    assert_eq!(drops(&drain(&mut link)), [DropReason::Nat]);
    let (seen, _, left) = exchange(&mut link, 200, datagram(Toward::Peer, 10));
    assert_eq!(seen.unwrap().0, outer);
    let mut reassembler = fotaproof_net::Reassembler::default();
    let udp = reassembler
        .push(ZERO, &left[0].2)
        .unwrap()
        .unwrap()
        .udp()
        .unwrap()
        .unwrap();
    assert_eq!(
        (udp.src, udp.checksum),
        (outer, fotaproof_net::Checksum::Right),
        "the packet that left says so too"
    );
    assert_eq!(exchange(&mut link, 300, datagram(Toward::Iut, 10)).1, [DropReason::Nat]);
    let mut answer = datagram(Toward::Iut, 10);
    answer.dst = outer;
    assert_eq!(exchange(&mut link, 400, answer).0.unwrap().1, IUT.parse().unwrap());
}

#[test]
fn a_mapping_that_idles_too_long_is_replaced() {
    let nat = Some(Nat {
        idle: Some(Duration::from_secs(30)),
        ..Nat::default()
    });
    let mut link = Link::new(
        LinkSpec {
            nat,
            ..LinkSpec::perfect()
        },
        1,
    );
    let mut sources = Vec::new();
    for at in [0, 30, 61] {
        link.send(Duration::from_secs(at), datagram(Toward::Peer, 10));
        sources.extend(drain(&mut link).into_iter().filter_map(|event| {
            if let LinkEvent::Delivered { src, .. } = event {
                Some(src.port())
            } else {
                None
            }
        }));
    }
    assert_eq!(sources, [5683, 5683, 40_000]);
}

#[test]
fn a_path_can_change_in_the_middle() {
    let mut link = Link::new(LinkSpec::default(), 1);
    link.send(ZERO, datagram(Toward::Peer, 1000));
    link.set_mtu(None, 576);
    link.send(ms(1), datagram(Toward::Peer, 1000));
    link.set_mtu(Some(Toward::Peer), 1280);
    link.set_direction(Toward::Peer, DirectionSpec::default());
    link.send(ms(2), datagram(Toward::Peer, 1000));
    let events = drain(&mut link);
    assert_eq!(packets(&events, true).len(), 1 + 2 + 1);
    assert_eq!(arrivals(&events), [(2, ms(2)), (0, ms(20)), (1, ms(21))]);
    link.set_spec(LinkSpec {
        mtu: 100,
        oversize: Oversize::Drop,
        ..LinkSpec::perfect()
    });
    link.send(ms(100), datagram(Toward::Peer, 1000));
    assert_eq!(drops(&drain(&mut link)), [DropReason::Oversize]);
}

#[test]
fn without_ip_only_the_pdu_counts() {
    for (len, passes) in [(160, true), (161, false)] {
        let events = once(
            LinkSpec {
                mtu: 100,
                ..profile("nidd").unwrap().spec
            },
            len,
        );
        assert_eq!(delivered(&events).len(), usize::from(passes));
        assert_eq!(packets(&events, true)[0].0, len as u16);
    }
}

#[test]
fn a_time_that_runs_backwards_counts_as_standing_still() {
    let mut link = Link::new(LinkSpec::perfect(), 1);
    link.send(ms(10), datagram(Toward::Peer, 10));
    link.send(ms(5), datagram(Toward::Peer, 10));
    assert_eq!(arrivals(&drain(&mut link)), [(0, ms(10)), (1, ms(10))]);
}

#[test]
fn a_spec_that_makes_no_sense_says_why() {
    let wrong = |change: fn(&mut LinkSpec)| {
        let mut spec = LinkSpec::default();
        change(&mut spec);
        spec.check().unwrap_err()
    };
    insta::assert_snapshot!(wrong(|spec| spec.mtu_toward_iut = Some(67)), @"mtu toward the IUT is 67, below 68 (RFC 791 section 3.2)");
    insta::assert_snapshot!(wrong(|spec| spec.toward_server.loss = Loss::Bernoulli(1.5)), @"loss toward the peer is 1.5, not a probability from 0 to 1");
    insta::assert_snapshot!(wrong(|spec| spec.toward_server.rate_bps = Some(0)), @"rate toward the peer is 0: a link that carries nothing is a blackout");
    insta::assert_snapshot!(wrong(|spec| spec.blackouts.push(Blackout::both(ms(2), ms(2)))), @"blackout 0 ends before it begins");
    insta::assert_snapshot!(wrong(|spec| spec.rules.push(Rule { name: "r".into(), times: Some(0), ..Rule::default() })), @r#"rule "r": 0 times never acts"#);
    assert!(matches!(
        wrong(|spec| spec.toward_iut.duplicate = f64::NAN),
        SpecError::Probability { what: "duplicate", .. }
    ));
    assert_eq!(
        LinkSpec {
            mtu: 68,
            ..LinkSpec::default()
        }
        .check(),
        Ok(())
    );
}

#[test]
fn every_profile_makes_sense_and_names_its_sources() {
    let names: Vec<_> = profiles().iter().map(|profile| profile.name).collect();
    insta::assert_snapshot!(names.join(" "), @"default ethernet lte-m nb-iot nb-iot-deep 6lowpan nidd satellite congested lossy-10 lossy-30");
    for profile in profiles() {
        assert_eq!(profile.spec.check(), Ok(()), "{}", profile.name);
        assert!(
            !profile.summary.is_empty() && profile.sources.len() >= 2,
            "{}",
            profile.name
        );
        let text = serde_json::to_string(&profile.spec).unwrap();
        assert_eq!(serde_json::from_str::<LinkSpec>(&text).unwrap(), profile.spec);
    }
    assert_eq!(profile("nosuch"), None);
}

#[test]
fn what_its_sender_has_cut_passes_a_link_that_refuses_large_packets() {
    let spec = LinkSpec {
        mtu: 576,
        oversize: Oversize::Refuse,
        ..LinkSpec::default()
    };
    let datagram = || Datagram {
        toward: Toward::Peer,
        src: "192.0.2.1:5683".parse().unwrap(),
        dst: "192.0.2.2:5683".parse().unwrap(),
        payload: vec![7; 1000].into(),
        facts: Facts::default(),
    };
    let delivered = |fragmented: bool| {
        let mut link = Link::new(spec.clone(), 1);
        if fragmented {
            link.send_fragmented(Duration::ZERO, datagram());
        } else {
            link.send(Duration::ZERO, datagram());
        }
        let mut arrived = Vec::new();
        while let Some(event) = link.poll(Duration::from_secs(1)) {
            if let LinkEvent::Delivered { packets, largest, .. } = event {
                arrived.push((packets, largest));
            }
        }
        arrived
    };
    assert_eq!(delivered(false), []);
    assert_eq!(delivered(true), [(2, 572)]);
}
