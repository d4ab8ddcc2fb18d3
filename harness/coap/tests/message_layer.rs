//! RFC 7252, section 4: retransmission, deduplication, NSTART, pings.

mod pair;

use fotaproof_coap::{Config, Endpoint, Event, Failure, Quirks, Request, ResponseMode};
use fotaproof_wire::coap::{Code, RawMessage, build};
use pair::*;

fn send_times(pair: &Pair) -> Vec<u64> {
    pair.log
        .iter()
        .filter(|line| line.contains("->"))
        .map(|line| line[..6].trim().parse().unwrap())
        .collect()
}

#[test]
fn a_con_without_answer_is_sent_five_times_and_given_up() {
    let mut pair = Pair::new(fixed(), fixed()).dropping(&[0, 1, 2, 3, 4, 5], &[]);
    let id = pair.client.request(ms(0), server(), get("/rd"));
    pair.run_mute(ms(61_999));
    assert_eq!(send_times(&pair), [0, 2000, 6000, 14000, 30000]);
    assert!(pair.client_events.is_empty());
    pair.run_mute(ms(62_000));
    let [
        Event::Failed {
            exchange,
            reason: Failure::TimedOut,
            transmissions: 5,
        },
    ] = pair.client_events[..]
    else {
        panic!("{:?}", pair.client_events)
    };
    assert_eq!(exchange, id);
    let first = pair.log[0][9..].to_owned();
    assert!(pair.log.iter().all(|line| line[9..] == first), "byte for byte the same");
}

#[test]
fn the_first_time_out_lies_between_2_and_3_seconds() {
    let (mut low, mut high) = (false, false);
    for seed in 0..200 {
        let mut endpoint = Endpoint::new(Config::default(), seed);
        endpoint.request(ms(0), server(), get("/rd"));
        let deadline = endpoint.poll_deadline().unwrap();
        assert!((ms(2000)..=ms(3000)).contains(&deadline), "{deadline:?}");
        low |= deadline < ms(2050);
        high |= deadline > ms(2950);
    }
    assert!(low && high, "the whole range is used");
}

#[test]
fn retransmission_stops_at_the_right_millisecond() {
    let mut pair = Pair::new(fixed(), fixed());
    pair.latency = ms(1000);
    pair.client.request(ms(0), server(), get("/3/0"));
    pair.run_plain(ms(100_000));
    // The datagram that arrives at 2 s finds the timer just as due: handled first, so nothing is sent again.
    assert_eq!(send_times(&pair), [0]);

    let mut pair = Pair::new(fixed(), fixed());
    pair.latency = ms(1001);
    pair.client.request(ms(0), server(), get("/3/0"));
    pair.run_plain(ms(100_000));
    assert_eq!(send_times(&pair), [0, 2000]);
    assert_eq!(
        pair.count(|event| matches!(event, Event::Response { transmissions: 2, .. })),
        1
    );
    assert_eq!(pair.count(|event| matches!(event, Event::DuplicateResponse { .. })), 1);
}

#[test]
fn max_transmit_wait_and_span_are_those_of_the_rfc() {
    let config = Config::default();
    assert_eq!(config.max_transmit_wait(), ms(93_000));
    assert_eq!(config.max_transmit_span(), ms(45_000));
}

#[test]
fn a_lost_ack_is_repeated_and_the_request_handled_once() {
    let mut pair = Pair::new(fixed(), fixed()).dropping(&[], &[0]);
    let put = Request::confirmable(packet(Code::PUT, "/5/0/0", b"x")).with_token(token("t"));
    pair.client.request(ms(0), server(), put.with_message_id(7));
    pair.run_plain(ms(100_000));
    insta::assert_snapshot!("lost_ack", pair.ladder());
    let requests = pair
        .server_events
        .iter()
        .filter(|event| matches!(event, Event::Request { .. }))
        .count();
    assert_eq!(requests, 1);
    assert!(
        pair.server_events
            .iter()
            .any(|event| matches!(event, Event::DuplicateRequest { count: 2, .. }))
    );
}

#[test]
fn a_message_id_counts_as_seen_for_exchange_lifetime() {
    for (at, times) in [(246_999, 1), (247_000, 2)] {
        let mut pair = Pair::new(fixed(), fixed());
        let bytes = RawMessage {
            code: 1,
            message_id: 7,
            token: vec![1],
            ..RawMessage::default()
        }
        .encode();
        pair.inject(&bytes);
        pair.run_plain(ms(at));
        pair.inject(&bytes);
        pair.run_plain(ms(at));
        let requests = pair
            .server_events
            .iter()
            .filter(|event| matches!(event, Event::Request { .. }))
            .count();
        assert_eq!(requests, times, "at {at} ms");
    }
}

#[test]
fn a_duplicate_non_is_dropped_in_silence() {
    let mut pair = Pair::new(fixed(), fixed());
    let bytes = RawMessage {
        kind: 1,
        code: 1,
        message_id: 7,
        ..RawMessage::default()
    }
    .encode();
    pair.inject(&bytes);
    pair.run_plain(ms(100));
    pair.inject(&bytes);
    pair.run_plain(ms(200));
    assert_eq!(pair.log.len(), 1);
}

#[test]
fn the_same_message_id_of_another_peer_is_no_duplicate() {
    let mut pair = Pair::new(fixed(), fixed());
    let bytes = RawMessage {
        code: 1,
        message_id: 7,
        ..RawMessage::default()
    }
    .encode();
    pair.inject(&bytes);
    pair.server
        .handle_datagram(ms(0), "10.0.0.1:40001".parse().unwrap(), &bytes);
    pair.run_plain(ms(100));
    assert_eq!(
        pair.server_events
            .iter()
            .filter(|event| matches!(event, Event::Request { .. }))
            .count(),
        2
    );
}

#[test]
fn nstart_1_sends_one_request_at_a_time() {
    let mut pair = Pair::new(fixed(), fixed());
    for path in ["/1", "/2", "/3"] {
        pair.client.request(ms(0), server(), get(path));
    }
    pair.run_plain(ms(1000));
    assert_eq!(send_times(&pair), [0, 20, 40]);

    let mut pair = Pair::new(
        Config {
            nstart: usize::MAX,
            ..fixed()
        },
        fixed(),
    );
    for path in ["/1", "/2", "/3"] {
        pair.client.request(ms(0), server(), get(path));
    }
    pair.run_plain(ms(1000));
    assert_eq!(send_times(&pair), [0, 0, 0]);
}

#[test]
fn an_immediate_request_passes_the_queue_and_a_cancelled_one_frees_it() {
    let mut pair = Pair::new(fixed(), fixed());
    let first = pair.client.request(ms(0), server(), get("/1"));
    pair.client.request(ms(0), server(), get("/2"));
    pair.client.request(
        ms(0),
        server(),
        Request {
            immediate: true,
            ..get("/3")
        },
    );
    pair.run_mute(ms(5));
    assert_eq!(send_times(&pair), [0, 0]);
    pair.run_mute(ms(100));
    pair.client.cancel(first);
    pair.run_mute(ms(1500));
    assert_eq!(send_times(&pair), [0, 0], "the immediate one still counts");
    pair.run_plain(ms(2000));
}

#[test]
fn a_ping_is_answered_by_an_rst() {
    let mut pair = Pair::new(fixed(), fixed());
    pair.client.ping(ms(0), server());
    pair.run_mute(ms(100));
    assert!(pair.log[1].contains("RST"), "{}", pair.ladder());
    assert!(matches!(pair.client_events[..], [Event::Pong { rtt, .. }] if rtt == ms(20)));
    assert!(matches!(pair.server_events[..], [Event::Ping { .. }]));

    let mut pair = Pair::new(
        fixed(),
        quirks(Quirks {
            ping_gets_ack: true,
            ..Quirks::default()
        }),
    );
    pair.client.ping(ms(0), server());
    pair.run_mute(ms(100));
    assert!(pair.log[1].contains("ACK"), "{}", pair.ladder());

    let mut pair = Pair::new(
        fixed(),
        quirks(Quirks {
            ping_ignored: true,
            ..Quirks::default()
        }),
    );
    pair.client.ping(ms(0), server());
    pair.run_mute(ms(100));
    assert_eq!(pair.log.len(), 1);
}

#[test]
fn an_rst_ends_a_request() {
    let mut pair = Pair::new(fixed(), fixed());
    pair.client.request(ms(0), server(), get("/1"));
    pair.run(ms(100), |server, now, id, _| server.reset(now, id));
    assert!(matches!(
        pair.client_events[..],
        [Event::Failed {
            reason: Failure::Reset,
            ..
        }]
    ));
    assert_eq!(pair.client.poll_deadline(), None);
}

#[test]
fn an_exchange_is_sent_again_on_command_and_its_answer_reported_again() {
    let mut pair = Pair::new(fixed(), fixed());
    let id = pair
        .client
        .request(ms(0), server(), Request::confirmable(packet(Code::POST, "/5/0/2", b"")));
    pair.run_plain(ms(1000));
    assert!(pair.client.resend(ms(1000), id));
    pair.run_plain(ms(2000));
    assert_eq!(pair.log[0][9..], pair.log[2][9..], "byte for byte the same");
    assert_eq!(pair.log[1][9..], pair.log[3][9..], "the cached reply");
    assert!(matches!(
        pair.client_events[..],
        [
            Event::Response { transmissions: 1, .. },
            Event::Response { transmissions: 2, .. }
        ]
    ));
    assert_eq!(pair.client.last_message_to(server()), pair.client.datagram(id));

    pair.client.cancel(id);
    assert!(!pair.client.resend(ms(2000), id));
}

#[test]
fn a_request_without_retransmission_fails_when_others_would() {
    let mut pair = Pair::new(fixed(), fixed()).dropping(&[0, 1, 2, 3, 4], &[]);
    pair.client.request(
        ms(0),
        server(),
        Request {
            retransmit: false,
            ..get("/1")
        },
    );
    pair.run_mute(ms(61_999));
    assert!(pair.client_events.is_empty());
    pair.run_mute(ms(62_000));
    assert!(matches!(
        pair.client_events[..],
        [Event::Failed { transmissions: 1, .. }]
    ));

    let mut pair = Pair::new(fixed(), fixed()).dropping(&[0, 1, 2, 3, 4], &[]);
    let id = pair.client.request(ms(0), server(), get("/1"));
    pair.run_mute(ms(3000));
    pair.client.suppress_retransmission(id);
    pair.run_mute(ms(100_000));
    assert_eq!(send_times(&pair), [0, 2000]);
}

#[test]
fn raw_bytes_go_out_as_they_are() {
    let mut pair = Pair::new(fixed(), fixed());
    pair.client.send_raw(server(), vec![0xff, 1]);
    assert_eq!(pair.client.poll_transmit().unwrap().bytes, [0xff, 1][..]);
}

#[test]
fn what_cannot_be_encoded_fails_at_once() {
    let mut pair = Pair::new(fixed(), fixed());
    let mut request = get("/1");
    build::add_option(&mut request.packet, 11, vec![0; 70_000]);
    pair.client.request(ms(0), server(), request);
    pair.run_mute(ms(10));
    assert!(matches!(
        pair.client_events[..],
        [Event::Failed {
            reason: Failure::Unencodable,
            transmissions: 0,
            ..
        }]
    ));
}

#[test]
fn a_large_reply_that_was_dropped_is_asked_of_the_owner_again() {
    let config = Config {
        reply_cache_bytes: 100,
        ..fixed()
    };
    let mut pair = Pair::new(fixed(), config);
    let get = |message_id| {
        RawMessage {
            code: 1,
            message_id,
            ..RawMessage::default()
        }
        .encode()
    };
    for message_id in [1, 2, 1, 2] {
        pair.inject(&get(message_id));
        let now = pair.now + ms(1);
        pair.run(now, |server, now, id, _| {
            let mut response = Pair::answer(Code::CONTENT);
            response.payload = vec![0; 90];
            server.respond(now, id, response);
        });
    }
    let handled = pair
        .server_events
        .iter()
        .filter(|event| matches!(event, Event::Request { .. }))
        .count();
    assert_eq!(
        (handled, pair.log.len()),
        (4, 4),
        "each copy is answered, from the cache or anew"
    );
}

#[test]
fn a_forgotten_peer_begins_anew() {
    let mut pair = Pair::new(fixed(), fixed());
    let bytes = RawMessage {
        code: 1,
        message_id: 7,
        ..RawMessage::default()
    }
    .encode();
    pair.inject(&bytes);
    pair.run_plain(ms(10));
    assert_eq!(pair.server.remembered(), 1);
    pair.server.forget_peer(client());
    assert_eq!(pair.server.remembered(), 0);
    pair.inject(&bytes);
    pair.run_plain(ms(20));
    assert_eq!(
        pair.server_events
            .iter()
            .filter(|event| matches!(event, Event::Request { .. }))
            .count(),
        2
    );
}

#[test]
fn a_non_request_is_answered_by_a_non() {
    let mut pair = Pair::new(fixed(), fixed());
    pair.client.request(
        ms(0),
        server(),
        Request::non_confirmable(packet(Code::GET, "/3/0", b"")),
    );
    pair.run_plain(ms(1000));
    assert!(
        pair.log[0].contains("-> NON") && pair.log[1].contains("<- NON"),
        "{}",
        pair.ladder()
    );
    assert!(matches!(
        pair.client_events[..],
        [Event::Response { piggybacked: false, .. }]
    ));

    let mut lost = Pair::new(fixed(), fixed()).dropping(&[0], &[]);
    lost.client.request(
        ms(0),
        server(),
        Request::non_confirmable(packet(Code::GET, "/3/0", b"")),
    );
    lost.run_plain(ms(144_999));
    assert!(lost.client_events.is_empty());
    lost.run_plain(ms(145_000));
    assert!(matches!(
        lost.client_events[..],
        [Event::Failed {
            reason: Failure::TimedOut,
            ..
        }]
    ));
}

#[test]
fn an_ignored_request_stays_unanswered_however_often_it_comes() {
    let mut pair = Pair::new(fixed(), fixed());
    pair.client.request(ms(0), server(), get("/1"));
    pair.run(ms(100_000), |server, _, id, _| server.ignore(id));
    assert_eq!(pair.log.len(), 5);
    let handled = pair
        .server_events
        .iter()
        .filter(|event| matches!(event, Event::Request { .. }))
        .count();
    assert_eq!(handled, 1);
}

#[test]
fn answering_twice_sends_once() {
    let mut pair = Pair::new(fixed(), fixed());
    pair.client.request(ms(0), server(), get("/1"));
    pair.run(ms(1000), |server, now, id, _| {
        server.respond(now, id, Pair::answer(Code::CONTENT));
        server.respond_with(now, id, Pair::answer(Code::CONTENT), ResponseMode::SeparateCon);
        server.acknowledge(now, id);
        server.reset(now, id);
    });
    assert_eq!(pair.log.len(), 2);
}

#[test]
fn after_65536_messages_the_next_waits_until_a_message_id_is_free() {
    let (mut ours, mut theirs) = (Endpoint::new(fixed(), 1), Endpoint::new(fixed(), 2));
    let request = packet(Code::GET, "/", b"");
    for _ in 0..65536 {
        ours.request(ms(0), server(), Request::confirmable(request.clone()));
        let transmit = ours.poll_transmit().unwrap();
        theirs.handle_datagram(ms(0), client(), &transmit.bytes);
        let Some(Event::Request { id, .. }) = theirs.poll_event() else {
            panic!("taken for a duplicate")
        };
        theirs.respond(ms(0), id, Pair::answer(Code::CONTENT));
        ours.handle_datagram(ms(0), server(), &theirs.poll_transmit().unwrap().bytes);
        assert!(matches!(ours.poll_event(), Some(Event::Response { .. })));
    }
    assert_eq!(theirs.remembered(), 65536);
    ours.request(ms(0), server(), Request::confirmable(request));
    assert_eq!(ours.poll_transmit(), None);
    assert_eq!(ours.poll_deadline(), Some(ms(247_000)));
    ours.handle_timeout(ms(247_000));
    theirs.handle_datagram(ms(247_000), client(), &ours.poll_transmit().unwrap().bytes);
    assert!(matches!(theirs.poll_event(), Some(Event::Request { .. })));
    assert_eq!(theirs.remembered(), 1);
}
