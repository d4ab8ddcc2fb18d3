//! Rules: what they select, what they do, which one wins, how often.

mod common;

use core::time::Duration;

use common::*;
use fotaproof_net::{
    Action, BlockFacts, BlockSel, CodeSel, Damage, DirectionSpec, DropReason, Facts, Fate, FragmentSel, Kind, Link,
    LinkEvent, LinkSpec, Loss, Rule, Select, Toward,
};

fn rules(rules: Vec<Rule>) -> Link {
    Link::new(
        LinkSpec {
            rules,
            ..LinkSpec::perfect()
        },
        1,
    )
}

fn drop_rule(select: Select) -> Rule {
    Rule::new("drop", select, Action::Drop)
}

fn block(num: u32, more: bool) -> Option<BlockFacts> {
    Some(BlockFacts { num, more, size: 64 })
}

/// A PUT of a block to /5/0/0.
fn put(num: u32, more: bool) -> Facts {
    Facts {
        kind: Some(Kind::Con),
        code: Some(3),
        token: vec![1, 2].into(),
        message_id: Some(num as u16),
        block1: block(num, more),
        path: Some("/5/0/0".into()),
        ..Facts::default()
    }
}

/// Which of these are lost, by their place.
fn lost(select: Select, sent: impl IntoIterator<Item = Facts>) -> Vec<usize> {
    let mut link = rules(vec![drop_rule(select)]);
    let lost = |(place, facts)| {
        link.send(ms(place as u64), with(Toward::Iut, 10, facts));
        (!drops(&drain(&mut link)).is_empty()).then_some(place)
    };
    sent.into_iter().enumerate().filter_map(lost).collect()
}

fn eight_blocks() -> impl Iterator<Item = Facts> {
    (0..8).map(|num| put(num, num < 7))
}

#[test]
fn blocks_are_selected_by_number() {
    for (sel, expected) in [
        (BlockSel::Any, (0..8).collect()),
        (BlockSel::First, vec![0]),
        (BlockSel::Last, vec![7]),
        (BlockSel::Num(3), vec![3]),
        (BlockSel::Every(3), vec![2, 5]),
        (BlockSel::Range(2, 4), vec![2, 3, 4]),
    ] {
        assert_eq!(
            lost(
                Select {
                    block1: Some(sel),
                    ..Select::default()
                },
                eight_blocks()
            ),
            expected,
            "{sel:?}"
        );
        assert_eq!(
            lost(
                Select {
                    block2: Some(sel),
                    ..Select::default()
                },
                eight_blocks()
            ),
            Vec::<usize>::new(),
            "{sel:?}: there is no Block2"
        );
    }
}

/// M is 0 in each request with Block2 and says nothing (RFC 7959 section 2.4).
#[test]
fn the_last_block2_is_told_by_the_response_alone() {
    let get = Facts {
        kind: Some(Kind::Con),
        code: Some(1),
        block2: block(2, false),
        ..Facts::default()
    };
    let content = Facts {
        kind: Some(Kind::Ack),
        code: Some(69),
        block2: block(2, false),
        ..Facts::default()
    };
    let last = Select {
        block2: Some(BlockSel::Last),
        ..Select::default()
    };
    assert_eq!(lost(last, [get, content]), [1]);
}

#[test]
fn packets_are_selected_by_what_they_say() {
    let ack = Facts {
        kind: Some(Kind::Ack),
        code: Some(95),
        token: vec![1, 2].into(),
        message_id: Some(7),
        ..Facts::default()
    };
    let notification = Facts {
        kind: Some(Kind::Non),
        code: Some(69),
        token: vec![9].into(),
        observe: Some(4),
        ..Facts::default()
    };
    let sent = || [put(0, true), ack.clone(), notification.clone(), Facts::default()];
    let any = Select::default;
    for (select, expected) in [
        (any(), vec![0, 1, 2, 3]),
        (
            Select {
                kind: Some(Kind::Ack),
                ..any()
            },
            vec![1],
        ),
        (
            Select {
                code: Some(CodeSel::Request),
                ..any()
            },
            vec![0],
        ),
        (
            Select {
                code: Some(CodeSel::Response),
                ..any()
            },
            vec![1, 2],
        ),
        (
            Select {
                code: Some(CodeSel::Class(2)),
                ..any()
            },
            vec![1, 2],
        ),
        (
            Select {
                code: Some(CodeSel::Is(69)),
                ..any()
            },
            vec![2],
        ),
        (
            Select {
                message_id: Some(7),
                ..any()
            },
            vec![1],
        ),
        (
            Select {
                token: Some(vec![1, 2].into()),
                ..any()
            },
            vec![0, 1],
        ),
        (
            Select {
                path: Some("/5/0/0".into()),
                ..any()
            },
            vec![0],
        ),
        (
            Select {
                path: Some("/5/*".into()),
                ..any()
            },
            vec![0],
        ),
        (
            Select {
                path: Some("/5/0".into()),
                ..any()
            },
            vec![],
        ),
        (
            Select {
                observe: Some(true),
                ..any()
            },
            vec![2],
        ),
        (
            Select {
                toward: Some(Toward::Peer),
                ..any()
            },
            vec![],
        ),
        (
            Select {
                nth: Some(2),
                code: Some(CodeSel::Response),
                ..any()
            },
            vec![2],
        ),
        (
            Select {
                every: Some(2),
                ..any()
            },
            vec![1, 3],
        ),
        (
            Select {
                between: Some((ms(1), ms(3))),
                ..any()
            },
            vec![1, 2],
        ),
        // 20 + 8 + 10 bytes each.
        (
            Select {
                min_size: Some(38),
                ..any()
            },
            vec![0, 1, 2, 3],
        ),
        (
            Select {
                min_size: Some(39),
                ..any()
            },
            vec![],
        ),
        (
            Select {
                max_size: Some(37),
                ..any()
            },
            vec![],
        ),
    ] {
        assert_eq!(lost(select.clone(), sent()), expected, "{select:?}");
    }
}

#[test]
fn fragments_are_selected_by_their_place() {
    for (sel, expected) in [
        (FragmentSel::Index(1), vec![1]),
        (FragmentSel::Last, vec![2]),
        (FragmentSel::Any, vec![0, 1, 2]),
        (FragmentSel::Whole, vec![]),
    ] {
        let rule = drop_rule(Select {
            fragment: Some(sel),
            ..Select::default()
        });
        let mut link = Link::new(
            LinkSpec {
                mtu: 576,
                rules: vec![rule],
                ..LinkSpec::perfect()
            },
            1,
        );
        link.send(Duration::ZERO, datagram(Toward::Peer, 1500));
        let events = until(&mut link, Duration::ZERO);
        let lost: Vec<usize> = fates(&events)
            .iter()
            .enumerate()
            .filter(|(_, (_, fate))| *fate == Fate::Dropped(DropReason::Rule))
            .map(|(n, _)| n)
            .collect();
        assert_eq!(lost, expected, "{sel:?}");
    }
}

#[test]
fn the_first_match_wins_and_is_named() {
    let spare = Rule::new(
        "spare block 3",
        Select {
            block1: Some(BlockSel::Num(3)),
            ..Select::default()
        },
        Action::Pass,
    );
    let mut link = rules(vec![
        spare,
        drop_rule(Select {
            block1: Some(BlockSel::Range(2, 4)),
            ..Select::default()
        }),
    ]);
    for facts in eight_blocks() {
        link.send(Duration::ZERO, with(Toward::Iut, 10, facts));
    }
    let events = drain(&mut link);
    let named: Vec<_> = fates(&events)
        .into_iter()
        .map(|(rule, _)| rule.unwrap_or_default())
        .collect();
    assert_eq!(named, ["", "", "drop", "spare block 3", "drop", "", "", ""]);
    assert_eq!(
        link.rule_counts(),
        [("spare block 3".to_owned(), 1), ("drop".to_owned(), 2)]
    );
}

#[test]
fn a_rule_acts_so_often_and_then_leaves_packets_to_the_next() {
    let mut link = rules(vec![
        drop_rule(Select::default()).times(2),
        Rule::new("late", Select::default(), Action::Delay(ms(7))),
    ]);
    for _ in 0..4 {
        link.send(Duration::ZERO, datagram(Toward::Iut, 10));
    }
    assert_eq!(arrivals(&drain(&mut link)), [(2, ms(7)), (3, ms(7))]);
}

#[test]
fn a_packet_a_rule_passes_is_safe_from_random_loss() {
    let all_lost = DirectionSpec {
        loss: Loss::Bernoulli(1.0),
        ..DirectionSpec::default()
    };
    let pass = Rule::new(
        "pass",
        Select {
            nth: Some(2),
            ..Select::default()
        },
        Action::Pass,
    );
    let mut link = Link::new(
        LinkSpec {
            toward_iut: all_lost,
            rules: vec![pass],
            ..LinkSpec::perfect()
        },
        1,
    );
    for _ in 0..3 {
        link.send(Duration::ZERO, datagram(Toward::Iut, 10));
    }
    assert_eq!(arrivals(&drain(&mut link)), [(1, Duration::ZERO)]);
}

#[test]
fn a_guard_goes_before_the_rules_of_the_spec_and_ends_when_told() {
    let mut link = rules(vec![Rule::new("late", Select::default(), Action::Delay(ms(7)))]);
    let guard = link.add_rule(drop_rule(Select::default()));
    let never = link.add_rule(Rule::new("asked after the guard", Select::default(), Action::Pass));
    link.send(Duration::ZERO, datagram(Toward::Iut, 10));
    assert_eq!(drops(&drain(&mut link)), [DropReason::Rule]);
    assert_eq!((link.rule_count(guard), link.rule_count(never)), (Some(1), Some(0)));
    assert!(link.remove_rule(guard) && link.remove_rule(never) && !link.remove_rule(guard));
    link.send(ms(10), datagram(Toward::Iut, 10));
    assert_eq!(arrivals(&drain(&mut link)), [(1, ms(17))]);
}

#[test]
fn probability_is_drawn_and_told() {
    let half = Rule {
        probability: Some(0.5),
        ..drop_rule(Select::default())
    };
    let mut link = rules(vec![half]);
    for _ in 0..1000 {
        link.send(Duration::ZERO, datagram(Toward::Iut, 10));
    }
    let events = drain(&mut link);
    let draws: Vec<f64> = events
        .iter()
        .filter_map(|event| {
            if let LinkEvent::Fate {
                fate: Fate::Dropped(_),
                draw,
                ..
            } = event
            {
                *draw
            } else {
                None
            }
        })
        .collect();
    assert!((420..580).contains(&draws.len()) && draws.iter().all(|draw| *draw < 0.5));
}

#[test]
fn a_duplicate_comes_after_its_gap() {
    let mut link = rules(vec![Rule::new(
        "twice",
        Select::default(),
        Action::Duplicate { n: 2, gap: ms(5) },
    )]);
    link.send(Duration::ZERO, datagram(Toward::Iut, 10));
    assert_eq!(arrivals(&drain(&mut link)), [(0, ms(0)), (0, ms(5)), (0, ms(10))]);
}

#[test]
fn damage_reaches_the_application_only_with_the_checksum_made_to_fit() {
    for damage in [
        Damage::Bits(3),
        Damage::Byte { offset: 4, value: 0xff },
        Damage::Xor { offset: 9, mask: 0x81 },
    ] {
        for fix_checksum in [false, true] {
            let mut link = rules(vec![Rule::new(
                "bad",
                Select::default(),
                Action::Corrupt { damage, fix_checksum },
            )]);
            link.send(Duration::ZERO, datagram(Toward::Iut, 10));
            let events = drain(&mut link);
            let got = delivered(&events);
            assert_eq!(got.len(), usize::from(fix_checksum), "{damage:?}");
            if let Some(got) = got.first() {
                let flipped: u32 = got
                    .iter()
                    .zip(payload(10))
                    .map(|(got, sent)| (got ^ sent).count_ones())
                    .sum();
                let Some((_, Fate::Corrupted { bits, fixed: true })) = fates(&events).pop() else {
                    panic!("{events:?}")
                };
                assert_eq!(flipped as usize, bits.len());
                let left = &packets(&events, false)[0].2;
                assert!(left.ends_with(got), "the capture shows what the application got");
            } else {
                assert_eq!(drops(&events), [DropReason::Checksum]);
            }
        }
    }
}

#[test]
fn damage_beyond_the_end_is_none() {
    for (offset, hit) in [(9, true), (10, false)] {
        let action = Action::Corrupt {
            damage: Damage::Xor { offset, mask: 1 },
            fix_checksum: false,
        };
        let mut link = rules(vec![Rule::new("bad", Select::default(), action)]);
        link.send(Duration::ZERO, datagram(Toward::Iut, 10));
        assert_eq!(delivered(&drain(&mut link)).is_empty(), hit);
    }
}

#[test]
fn damage_in_a_fragment_is_damage_of_the_datagram() {
    for fix_checksum in [false, true] {
        let action = Action::Corrupt {
            damage: Damage::Byte { offset: 0, value: 0xee },
            fix_checksum,
        };
        let second = Rule::new(
            "bad",
            Select {
                fragment: Some(FragmentSel::Index(1)),
                ..Select::default()
            },
            action,
        );
        let mut link = Link::new(
            LinkSpec {
                mtu: 576,
                rules: vec![second],
                ..LinkSpec::perfect()
            },
            1,
        );
        link.send(Duration::ZERO, datagram(Toward::Iut, 1000));
        let events = drain(&mut link);
        let mut expected = payload(1000).to_vec();
        // 552 bytes of UDP datagram in the first fragment, 8 of them its header.
        expected[544] = 0xee;
        assert_eq!(
            delivered(&events).first().map(|got| *got == expected),
            fix_checksum.then_some(true)
        );
    }
}

#[test]
fn a_truncated_packet_is_whole_in_itself() {
    for (left, fate) in [(9, Fate::Truncated(9)), (10, Fate::Pass)] {
        let mut link = rules(vec![Rule::new("cut", Select::default(), Action::Truncate(left))]);
        link.send(Duration::ZERO, datagram(Toward::Iut, 10));
        let events = drain(&mut link);
        assert_eq!(fates(&events), [(Some("cut".to_owned()), fate)]);
        assert_eq!(delivered(&events), [payload(left.into())]);
        let (size, _, bytes) = &packets(&events, false)[0];
        assert_eq!((*size, bytes.len()), (28 + left, 28 + usize::from(left)));
        let udp = fotaproof_net::Reassembler::default()
            .push(ms(0), bytes)
            .unwrap()
            .unwrap()
            .udp()
            .unwrap()
            .unwrap();
        assert_eq!(udp.checksum, fotaproof_net::Checksum::Right);
    }
}

#[test]
fn two_packets_change_places_once() {
    let swap = Rule::new(
        "swap",
        Select {
            code: Some(CodeSel::Request),
            ..Select::default()
        },
        Action::Swap,
    )
    .times(1);
    let mut link = rules(vec![swap]);
    for (n, facts) in eight_blocks().take(4).enumerate() {
        link.send(ms(n as u64), with(Toward::Iut, 10, facts));
    }
    let events = drain(&mut link);
    assert_eq!(arrivals(&events), [(1, ms(1)), (0, ms(1)), (2, ms(2)), (3, ms(3))]);
    assert_eq!(
        fates(&events).iter().filter(|(_, fate)| *fate == Fate::Swapped).count(),
        2
    );
}

#[test]
fn a_packet_without_a_partner_goes_on_after_ten_seconds_or_with_its_rule() {
    let mut link = rules(vec![]);
    let guard = link.add_rule(Rule::new("swap", Select::default(), Action::Swap));
    link.send(Duration::ZERO, datagram(Toward::Iut, 10));
    assert_eq!(arrivals(&drain(&mut link)), [(0, Duration::from_secs(10))]);
    link.send(Duration::from_secs(20), datagram(Toward::Iut, 10));
    assert_eq!(
        (
            delivered(&until(&mut link, Duration::from_secs(21))).len(),
            link.in_flight()
        ),
        (0, 1)
    );
    link.remove_rule(guard);
    assert_eq!(delivered(&drain(&mut link)).len(), 1);
}

#[test]
fn a_decision_reads_like_this() {
    let rule = drop_rule(Select {
        block1: Some(BlockSel::Last),
        ..Select::default()
    });
    let mut link = rules(vec![Rule {
        name: "lose the last block".into(),
        ..rule
    }]);
    link.send(ms(5), with(Toward::Iut, 4, put(7, false)));
    let lines: Vec<String> = drain(&mut link)
        .iter()
        .map(|event| serde_json::to_string(event).unwrap())
        .collect();
    insta::assert_snapshot!("decision", lines.join("\n"));
}
