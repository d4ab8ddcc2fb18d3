//! What is malformed, unknown or astray, and each quirk of the message layer beside the right behaviour.

mod pair;

use fotaproof_coap::{BareMarker, DuplicateFilter, Duplicates, Event, Failure, Quirks, Request};
use fotaproof_wire::coap::{Code, FormatRule, RawMessage, RawOption, build, summary};
use pair::*;

fn send_times(pair: &Pair) -> Vec<u64> {
    pair.log
        .iter()
        .filter(|line| line.contains("->"))
        .map(|line| line[..6].trim().parse().unwrap())
        .collect()
}

#[test]
fn stray_messages_are_ignored_and_a_stray_con_gets_an_rst() {
    let stray = |kind, code, message_id| {
        let mut pair = Pair::new(fixed(), fixed());
        pair.inject(
            &RawMessage {
                kind,
                code,
                message_id,
                token: vec![9; usize::from(code != 0)],
                ..RawMessage::default()
            }
            .encode(),
        );
        pair.run_mute(ms(100));
        assert!(matches!(pair.server_events[..], [Event::Unmatched { .. }]));
        pair.ladder()
    };
    assert_eq!(stray(2, 0, 77), "");
    assert_eq!(stray(3, 0, 77), "");
    assert_eq!(stray(2, Code::CONTENT.0, 77), "");
    assert_eq!(stray(1, Code::CONTENT.0, 77), "");
    assert!(stray(0, Code::CONTENT.0, 77).contains("RST"));
    assert!(stray(0, Code::new(6, 31).0, 77).contains("RST"), "reserved class");
}

#[test]
fn a_stray_rst_or_ack_leaves_a_request_alone_except_with_the_quirk() {
    for (kind, with) in [
        (
            3,
            Quirks {
                stray_rst_aborts: true,
                ..Quirks::default()
            },
        ),
        (
            2,
            Quirks {
                stray_ack_aborts: true,
                ..Quirks::default()
            },
        ),
    ] {
        let stray = RawMessage {
            kind,
            code: 0,
            message_id: 1,
            ..RawMessage::default()
        }
        .encode();
        for (quirks, failures) in [(Quirks::default(), 0), (with, 1)] {
            let mut pair = Pair::new(pair::quirks(quirks), fixed());
            pair.client.request(ms(0), server(), get("/1").with_message_id(500));
            pair.client.handle_datagram(ms(1), server(), &stray);
            pair.run_plain(ms(100));
            assert_eq!(pair.count(|event| matches!(event, Event::Failed { .. })), failures);
        }
    }
}

#[test]
fn malformed_datagrams_get_an_rst_if_they_are_con_and_silence_else() {
    let reply = |message: RawMessage| {
        let mut pair = Pair::new(fixed(), fixed());
        pair.inject(&message.encode());
        pair.run_plain(ms(100));
        let rule = pair.server_events.iter().find_map(|event| match event {
            Event::Malformed { error, .. } => Some(error.rule),
            _ => None,
        });
        (
            rule,
            pair.log
                .iter()
                .map(|line| line[9..13].trim().to_owned())
                .collect::<Vec<_>>()
                .join(" "),
        )
    };
    let get = || RawMessage {
        code: 1,
        message_id: 9,
        ..RawMessage::default()
    };
    assert_eq!(reply(get()), (None, "ACK".into()));
    assert_eq!(
        reply(RawMessage { version: 2, ..get() }),
        (Some(FormatRule::Version), String::new())
    );
    for tkl in [9, 12, 15] {
        let message = RawMessage {
            token_length: Some(tkl),
            ..get()
        };
        assert_eq!(reply(message), (Some(FormatRule::TokenLength), "RST".into()));
    }
    let short = RawMessage {
        token_length: Some(8),
        token: vec![1, 2, 3],
        ..get()
    };
    assert_eq!(reply(short), (Some(FormatRule::TruncatedToken), "RST".into()));
    let marker = RawMessage {
        marker: Some(true),
        ..get()
    };
    assert_eq!(
        reply(marker.clone()),
        (Some(FormatRule::MarkerWithoutPayload), "RST".into())
    );
    assert_eq!(
        reply(RawMessage { kind: 1, ..marker }),
        (Some(FormatRule::MarkerWithoutPayload), String::new())
    );
    assert_eq!(
        reply(RawMessage {
            tail: vec![0xf1, 1],
            ..get()
        }),
        (Some(FormatRule::OptionDelta15), "RST".into())
    );
    let ping = RawMessage {
        code: 0,
        token: vec![1],
        ..get()
    };
    assert_eq!(reply(ping), (Some(FormatRule::EmptyNotEmpty), "RST".into()));
}

#[test]
fn quirks_of_a_careless_parser() {
    let seen = |quirks: Quirks, message: RawMessage| {
        let mut pair = Pair::new(fixed(), pair::quirks(quirks));
        pair.inject(&message.encode());
        pair.run_plain(ms(100));
        pair.server_events.iter().find_map(|event| match event {
            Event::Request { packet, .. } => {
                Some((build::path(packet), packet.get_token().len(), packet.payload.clone()))
            }
            _ => None,
        })
    };
    let path = RawOption {
        number: Some(11),
        value: b"abc".to_vec(),
        ..RawOption::default()
    };
    let get = || RawMessage {
        code: 1,
        message_id: 9,
        options: vec![path.clone()],
        ..RawMessage::default()
    };

    let version = Quirks {
        version_unchecked: true,
        ..Quirks::default()
    };
    assert_eq!(
        seen(version, RawMessage { version: 2, ..get() }),
        Some(("/abc".into(), 0, vec![]))
    );

    let token = Quirks {
        token_length_unchecked: true,
        ..Quirks::default()
    };
    let long = RawMessage {
        token_length: Some(12),
        token: vec![1; 12],
        ..get()
    };
    assert_eq!(seen(token.clone(), long), Some(("/abc".into(), 8, vec![])));
    let short = RawMessage {
        token_length: Some(8),
        token: vec![1, 2, 3],
        options: vec![],
        ..get()
    };
    assert_eq!(seen(token, short), Some(("/".into(), 3, vec![])));

    let overrun = Quirks {
        option_overrun: true,
        ..Quirks::default()
    };
    let beyond = RawMessage {
        options: vec![],
        tail: vec![0xb9, b'a', b'b'],
        ..get()
    };
    assert_eq!(seen(overrun.clone(), beyond.clone()), Some(("/ab".into(), 0, vec![])));
    assert_eq!(
        seen(
            overrun,
            RawMessage {
                tail: vec![0xf1],
                ..get()
            }
        ),
        Some(("/abc".into(), 0, vec![]))
    );
    assert_eq!(seen(Quirks::default(), beyond), None);

    let bare = RawMessage {
        marker: Some(true),
        ..get()
    };
    let nul = Quirks {
        bare_marker: BareMarker::Nul,
        ..Quirks::default()
    };
    let empty = Quirks {
        bare_marker: BareMarker::Empty,
        ..Quirks::default()
    };
    assert_eq!(seen(nul, bare.clone()), Some(("/abc".into(), 0, vec![0])));
    assert_eq!(seen(empty, bare), Some(("/abc".into(), 0, vec![])));
}

#[test]
fn unknown_critical_options_and_reserved_methods_are_refused_with_the_token() {
    let reply = |quirks: Quirks, code: u8, kind: u8, number: u16, value: &[u8], times: usize| {
        let mut pair = Pair::new(fixed(), pair::quirks(quirks));
        let option = RawOption {
            number: Some(number),
            value: value.to_vec(),
            ..RawOption::default()
        };
        let message = RawMessage {
            kind,
            code,
            message_id: 9,
            token: vec![0xab],
            options: vec![option; times],
            ..RawMessage::default()
        };
        pair.inject(&message.encode());
        pair.run_plain(ms(100));
        pair.log
            .iter()
            .map(|line| line[10..].to_owned())
            .collect::<Vec<_>>()
            .join("; ")
    };
    let good = Quirks::default;
    assert!(reply(good(), 1, 0, 65001, b"", 1).contains("4.02"));
    assert!(reply(good(), 1, 0, 65001, b"", 1).contains("ab"));
    assert!(reply(good(), 1, 0, 65000, b"", 1).contains("2.05"));
    assert_eq!(reply(good(), 1, 1, 65001, b"", 1), "", "a NON is dropped");
    assert!(reply(good(), 3, 0, 27, &[8], 2).contains("4.02"), "Block1 twice");
    assert!(
        reply(good(), 3, 0, 27, &[0, 0, 0, 8], 1).contains("4.02"),
        "Block1 of 4 bytes"
    );
    assert!(reply(good(), 9, 0, 11, b"a", 1).contains("4.05"));
    assert!(
        reply(good(), 7, 0, 11, b"a", 1).contains("2.04"),
        "iPATCH is the owner's affair"
    );

    assert!(
        reply(
            Quirks {
                critical_ignored: true,
                ..good()
            },
            1,
            0,
            65001,
            b"",
            1
        )
        .contains("2.05")
    );
    assert!(
        reply(
            Quirks {
                first_of_repeated: true,
                ..good()
            },
            3,
            0,
            27,
            &[8],
            2
        )
        .contains("2.04")
    );
    assert!(
        reply(
            Quirks {
                unknown_method_is_get: true,
                ..good()
            },
            9,
            0,
            11,
            b"a",
            1
        )
        .contains("2.05")
    );
    assert!(
        reply(
            Quirks {
                option_refused: Some(60),
                ..good()
            },
            3,
            0,
            60,
            &[8],
            1
        )
        .contains("4.02")
    );
    assert!(
        !reply(
            Quirks {
                error_without_token: true,
                ..good()
            },
            1,
            0,
            65001,
            b"",
            1
        )
        .contains("ab")
    );
    assert!(
        !reply(
            Quirks {
                reply_without_token: Some(Code::CONTENT),
                ..good()
            },
            1,
            0,
            11,
            b"",
            1
        )
        .contains("ab")
    );
    assert_eq!(
        reply(
            Quirks {
                receive_limit: Some(4),
                ..good()
            },
            1,
            0,
            11,
            b"",
            1
        ),
        ""
    );
    assert!(
        reply(
            Quirks {
                second_reply: true,
                ..good()
            },
            1,
            0,
            11,
            b"",
            1
        )
        .contains("; ACK 5.00")
    );
}

#[test]
fn quirks_of_retransmission() {
    let ladder = |quirks: Quirks| {
        let mut pair = Pair::new(pair::quirks(quirks), fixed()).dropping(&[0, 1, 2, 3, 4, 5, 6, 7], &[]);
        let mut request = get("/rd").with_token(token("abcd"));
        request.packet.payload = b"pay".to_vec();
        pair.client.request(ms(0), server(), request);
        pair.run_mute(ms(70_000));
        let text: Vec<_> = pair.log.iter().map(|line| line[9..].to_owned()).collect();
        let ends = pair.count(|event| {
            matches!(
                event,
                Event::Failed {
                    reason: Failure::TimedOut,
                    ..
                }
            )
        });
        assert_eq!(ends, 1);
        (
            send_times(&pair),
            text.iter().collect::<std::collections::BTreeSet<_>>().len(),
        )
    };
    let good = Quirks::default;
    assert_eq!(ladder(good()), (vec![0, 2000, 6000, 14000, 30000], 1));
    assert_eq!(
        ladder(Quirks {
            retransmit_new_mid: true,
            ..good()
        })
        .1,
        5
    );
    assert_eq!(
        ladder(Quirks {
            retransmit_new_token: true,
            ..good()
        })
        .1,
        5
    );
    assert_eq!(
        ladder(Quirks {
            retransmit_early: Some(ms(500)),
            ..good()
        })
        .0,
        [0, 500, 1000, 1500, 2000]
    );
    assert_eq!(
        ladder(Quirks {
            no_retransmission: true,
            ..good()
        })
        .0,
        [0]
    );
    assert_eq!(
        ladder(Quirks {
            gives_up_after: Some(1),
            ..good()
        })
        .0,
        [0, 2000]
    );
}

#[test]
fn an_altered_retransmission_differs_in_its_last_byte() {
    let mut endpoint = fotaproof_coap::Endpoint::new(
        quirks(Quirks {
            retransmit_altered: true,
            ..Quirks::default()
        }),
        1,
    );
    endpoint.request(
        ms(0),
        server(),
        Request::confirmable(packet(Code::PUT, "/5/0/0", b"ab")),
    );
    let first = endpoint.poll_transmit().unwrap().bytes;
    for at in [2000, 6000] {
        endpoint.handle_timeout(ms(at));
        let again = endpoint.poll_transmit().unwrap().bytes;
        assert_eq!(again[..again.len() - 1], first[..first.len() - 1]);
        assert_ne!(again.last(), first.last());
    }
}

#[test]
fn an_endpoint_with_new_ids_on_retransmission_still_takes_the_answer() {
    for quirk in [
        Quirks {
            retransmit_new_mid: true,
            ..Quirks::default()
        },
        Quirks {
            retransmit_new_token: true,
            ..Quirks::default()
        },
    ] {
        let mut pair = Pair::new(quirks(quirk), fixed()).dropping(&[0], &[]);
        pair.client.request(ms(0), server(), get("/1"));
        pair.run_plain(ms(100_000));
        assert_eq!(pair.count(|event| matches!(event, Event::Response { .. })), 1);
        assert_eq!(pair.client.poll_deadline(), None);
    }
}

#[test]
fn quirks_of_deduplication() {
    let block = |value: &[u8], code| {
        let option = RawOption {
            number: Some(27),
            value: value.to_vec(),
            ..RawOption::default()
        };
        RawMessage {
            code,
            message_id: 9,
            token: vec![1],
            options: vec![option],
            ..RawMessage::default()
        }
        .encode()
    };
    let (first, middle, last) = (block(&[0x08], 3), block(&[0x18], 3), block(&[0x20], 3));
    let post = RawMessage {
        code: 2,
        message_id: 9,
        token: vec![1],
        ..RawMessage::default()
    }
    .encode();
    let put = RawMessage {
        code: 3,
        message_id: 9,
        token: vec![1],
        ..RawMessage::default()
    }
    .encode();
    let replies = |duplicates, duplicate_filter, bytes: &[u8]| {
        let mut pair = Pair::new(
            fixed(),
            quirks(Quirks {
                duplicates,
                duplicate_filter,
                ..Quirks::default()
            }),
        );
        pair.inject(bytes);
        pair.run_plain(ms(100));
        pair.inject(bytes);
        pair.run_plain(ms(200));
        let handled = pair
            .server_events
            .iter()
            .filter(|event| matches!(event, Event::Request { .. }))
            .count();
        (
            handled,
            pair.log
                .iter()
                .map(|line| line[14..18].to_owned())
                .collect::<Vec<_>>()
                .join(" "),
        )
    };
    assert_eq!(
        replies(Duplicates::Repeat, DuplicateFilter::Any, &post),
        (1, "2.04 2.04".into())
    );
    assert_eq!(
        replies(Duplicates::Process, DuplicateFilter::Any, &post),
        (2, "2.04 2.04".into())
    );
    assert_eq!(
        replies(Duplicates::Drop, DuplicateFilter::Any, &post),
        (1, "2.04".into())
    );
    let busy = Duplicates::Answer(Code::SERVICE_UNAVAILABLE);
    assert_eq!(replies(busy, DuplicateFilter::Any, &post), (1, "2.04 5.03".into()));
    for (filter, concerned) in [
        (DuplicateFilter::FirstBlock, &first),
        (DuplicateFilter::MiddleBlock, &middle),
        (DuplicateFilter::LastBlock, &last),
        (DuplicateFilter::PlainPost, &post),
        (DuplicateFilter::PlainPut, &put),
    ] {
        for bytes in [&first, &middle, &last, &post, &put] {
            let expected = if bytes == concerned { "2.04 5.03" } else { "2.04 2.04" };
            assert_eq!(
                replies(busy, filter, bytes).1,
                expected,
                "{filter:?} {}",
                summary(bytes)
            );
        }
    }
}

#[test]
fn a_late_ack_is_good_except_with_the_quirk() {
    for (quirk, responses) in [(false, 1), (true, 0)] {
        let config = quirks(Quirks {
            late_ack_rejected: quirk,
            ..Quirks::default()
        });
        let mut pair = Pair::new(config, fixed());
        pair.latency = ms(1750);
        pair.client.request(ms(0), server(), get("/1"));
        pair.run_plain(ms(20_000));
        assert_eq!(pair.count(|event| matches!(event, Event::Response { .. })), responses);
        assert_eq!(pair.ladder().contains("-> RST"), quirk);
    }
}

#[test]
fn message_ids_count_up_and_with_quirks_repeat() {
    let ids = |quirks: Quirks| {
        let mut pair = Pair::new(pair::quirks(quirks), fixed());
        let ids: Vec<_> = (0..4)
            .map(|_| {
                pair.client.request(
                    ms(0),
                    server(),
                    Request {
                        immediate: true,
                        ..get("/1")
                    },
                )
            })
            .collect();
        ids.into_iter()
            .map(|id| pair.client.message_id(id).unwrap())
            .collect::<Vec<_>>()
    };
    let good = ids(Quirks::default());
    assert!(good.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
    assert_eq!(
        ids(Quirks {
            mid_reuse: true,
            ..Quirks::default()
        }),
        [0x1234; 4]
    );
    let few = ids(Quirks {
        mid_modulo: Some(2),
        ..Quirks::default()
    });
    assert_eq!((few[0], few[1]), (few[2], few[3]));
}
