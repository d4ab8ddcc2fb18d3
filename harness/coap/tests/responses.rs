//! RFC 7252, section 5.2 (separate responses) and RFC 7641 (observe), with the quirks that break them.

mod pair;

use std::time::Duration;

use coap_lite::Packet;
use fotaproof_coap::{
    Config, Ended, Event, Failure, NotificationPolicy, Observer, Quirks, Request, ResponseMode, Token,
};
use fotaproof_wire::coap::{Code, RawMessage, RawOption, build};
use pair::*;

fn kinds(pair: &Pair) -> String {
    let kind = |line: &String| format!("{}{}", line[7..9].trim(), &line[10..13]);
    pair.log.iter().map(kind).collect::<Vec<_>>().join(" ")
}

fn responses(pair: &Pair) -> usize {
    pair.count(|event| matches!(event, Event::Response { .. }))
}

/// A server that acknowledges at once and answers later, when the test says so.
fn acknowledged(mut pair: Pair) -> (Pair, fotaproof_coap::RequestId) {
    pair.client
        .request(ms(0), server(), get("/fw").with_token(token("t")).with_message_id(7));
    let mut id = None;
    pair.run(ms(1000), |server, now, request, _| {
        server.acknowledge(now, request);
        id = Some(request);
    });
    (pair, id.unwrap())
}

#[test]
fn empty_ack_then_a_confirmable_response_which_is_acknowledged() {
    let (mut pair, id) = acknowledged(Pair::new(fixed(), fixed()));
    assert!(matches!(pair.client_events[..], [Event::Acknowledged { rtt, .. }] if rtt == ms(20)));
    pair.server.respond(ms(1000), id, Pair::answer(Code::CONTENT));
    pair.run_mute(ms(100_000));
    assert_eq!(kinds(&pair), "->CON <-ACK <-CON ->ACK");
    assert!(
        matches!(pair.client_events[1], Event::Response { piggybacked: false, transmissions: 1, rtt, .. } if rtt == ms(1010))
    );
    assert!(pair.server_events.iter().any(|event| matches!(
        event,
        Event::ResponseEnded {
            reason: Ended::Acknowledged,
            ..
        }
    )));
}

#[test]
fn a_request_is_not_sent_again_after_its_empty_ack_and_fails_in_the_end() {
    let (mut pair, _) = acknowledged(Pair::new(fixed(), fixed()));
    pair.run_mute(ms(247_019));
    assert_eq!(kinds(&pair), "->CON <-ACK");
    assert_eq!(pair.client_events.len(), 1);
    pair.run_mute(ms(247_020));
    assert!(matches!(
        pair.client_events[1],
        Event::Failed {
            reason: Failure::TimedOut,
            ..
        }
    ));
}

#[test]
fn a_response_before_its_ack_is_good_and_the_late_ack_changes_nothing() {
    let separate = |client: Quirks| {
        let mut pair = Pair::new(quirks(client), fixed());
        pair.client.request(ms(0), server(), get("/fw").with_message_id(7));
        pair.run(ms(1500), |server, now, request, _| {
            server.respond_with(now, request, Pair::answer(Code::CONTENT), ResponseMode::SeparateCon);
        });
        pair.client.handle_datagram(ms(1500), server(), &[0x60, 0, 0, 7]);
        pair.run_mute(ms(20_000));
        pair
    };
    let pair = separate(Quirks::default());
    assert_eq!(kinds(&pair), "->CON <-CON ->ACK");
    assert_eq!(pair.client_events.len(), 1, "{:?}", pair.client_events);
    assert_eq!(responses(&pair), 1);

    let pair = separate(Quirks {
        needs_empty_ack: true,
        ..Quirks::default()
    });
    // Dropped until the empty ACK is there; the repeated response is taken.
    assert_eq!(kinds(&pair), "->CON <-CON <-CON ->ACK");
}

#[test]
fn a_lost_empty_ack_makes_the_client_repeat_and_the_server_repeat_the_ack() {
    let (mut pair, id) = acknowledged(Pair::new(fixed(), fixed()).dropping(&[], &[0]));
    pair.run_mute(ms(3000));
    assert_eq!(kinds(&pair), "->CON <-ACK ->CON <-ACK");
    pair.server.respond(ms(3000), id, Pair::answer(Code::CONTENT));
    pair.run_mute(ms(100_000));
    assert_eq!(responses(&pair), 1);
    assert!(
        pair.server_events
            .iter()
            .any(|event| matches!(event, Event::DuplicateRequest { count: 2, .. }))
    );
}

#[test]
fn a_repeated_separate_response_is_acknowledged_again_and_reported_once() {
    let (mut pair, id) = acknowledged(Pair::new(fixed(), fixed()).dropping(&[1], &[]));
    pair.server.respond(ms(1000), id, Pair::answer(Code::CONTENT));
    pair.run_mute(ms(100_000));
    assert_eq!(kinds(&pair), "->CON <-ACK <-CON ->ACK <-CON ->ACK");
    assert_eq!(responses(&pair), 1);
    assert_eq!(pair.count(|event| matches!(event, Event::DuplicateResponse { .. })), 1);
}

#[test]
fn a_separate_response_that_nobody_acknowledges_is_repeated_and_given_up() {
    let client = quirks(Quirks {
        separate_not_acked: true,
        ..Quirks::default()
    });
    let (mut pair, id) = acknowledged(Pair::new(client, fixed()));
    pair.server.respond(ms(1000), id, Pair::answer(Code::CONTENT));
    pair.run_mute(ms(100_000));
    assert_eq!(kinds(&pair), "->CON <-ACK <-CON <-CON <-CON <-CON <-CON");
    assert!(pair.server_events.iter().any(|event| matches!(
        event,
        Event::ResponseEnded {
            reason: Ended::TimedOut,
            ..
        }
    )));
}

#[test]
fn a_separate_response_to_a_cancelled_request_gets_an_rst() {
    let (mut pair, id) = acknowledged(Pair::new(fixed(), fixed()));
    let Event::Acknowledged { exchange, .. } = pair.client_events[0] else {
        panic!()
    };
    pair.client.cancel(exchange);
    pair.server.respond(ms(1000), id, Pair::answer(Code::CONTENT));
    pair.run_mute(ms(100_000));
    assert_eq!(kinds(&pair), "->CON <-ACK <-CON ->RST");
    assert!(pair.server_events.iter().any(|event| matches!(
        event,
        Event::ResponseEnded {
            reason: Ended::Reset,
            ..
        }
    )));
}

#[test]
fn a_separate_response_may_be_non() {
    let mut pair = Pair::new(fixed(), fixed());
    pair.client.request(ms(0), server(), get("/fw"));
    pair.run(ms(100_000), |server, now, request, _| {
        server.acknowledge(now, request);
        server.respond_with(now, request, Pair::answer(Code::CONTENT), ResponseMode::SeparateNon);
    });
    assert_eq!(kinds(&pair), "->CON <-ACK <-NON");
    assert_eq!(responses(&pair), 1);
}

#[test]
fn the_token_has_to_match_and_the_peer_too() {
    let answer = |token: &[u8], from, unchecked| {
        let mut pair = Pair::new(
            quirks(Quirks {
                token_unchecked: unchecked,
                ..Quirks::default()
            }),
            fixed(),
        );
        pair.client.request(
            ms(0),
            server(),
            get("/fw").with_token(self::token("t")).with_message_id(7),
        );
        let ack = RawMessage {
            kind: 2,
            code: Code::CONTENT.0,
            message_id: 7,
            token: token.to_vec(),
            ..RawMessage::default()
        };
        pair.client.handle_datagram(ms(5), from, &ack.encode());
        pair.run_mute(ms(5));
        responses(&pair)
    };
    assert_eq!(answer(b"t", server(), false), 1);
    assert_eq!(answer(b"", server(), false), 0);
    assert_eq!(answer(b"u", server(), false), 0);
    assert_eq!(answer(b"t", client(), false), 0);
    assert_eq!(answer(b"", server(), true), 1);
}

#[test]
fn a_stale_piggybacked_response_with_the_same_token_is_not_taken_for_the_next() {
    let mut pair = Pair::new(fixed(), fixed());
    pair.client
        .request(ms(0), server(), get("/0").with_token(token("t")).with_message_id(7));
    pair.run_plain(ms(100));
    pair.client
        .request(ms(100), server(), get("/1").with_token(token("t")).with_message_id(8));
    let stale = RawMessage {
        kind: 2,
        code: Code::CONTENT.0,
        message_id: 7,
        token: b"t".to_vec(),
        ..RawMessage::default()
    };
    pair.client.handle_datagram(ms(101), server(), &stale.encode());
    pair.run_plain(ms(200));
    let bodies: Vec<_> = pair
        .client_events
        .iter()
        .filter_map(|event| match event {
            Event::Response { packet, .. } => Some(packet.payload.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(bodies, [b"/0".to_vec(), b"/1".to_vec()]);
}

#[test]
fn a_response_with_an_unknown_critical_option_is_rejected() {
    let respond = |kind| {
        let mut pair = Pair::new(fixed(), fixed());
        pair.client
            .request(ms(0), server(), get("/fw").with_token(token("t")).with_message_id(7));
        pair.run_mute(ms(1));
        let odd = RawMessage {
            kind,
            code: Code::CONTENT.0,
            message_id: 7,
            token: b"t".to_vec(),
            options: vec![RawOption::new(65001, [])],
            ..RawMessage::default()
        };
        pair.client.handle_datagram(ms(2), server(), &odd.encode());
        pair.run_mute(ms(3));
        (responses(&pair), kinds(&pair))
    };
    assert_eq!(respond(0), (0, "->CON ->RST".into()));
    assert_eq!(respond(2), (0, "->CON".into()));
}

// Observe.

fn observe(pair: &mut Pair) -> Observer {
    let mut request = get("/5/0/3").with_token(token("obs"));
    build::set_observe(&mut request.packet, 0);
    pair.client.request(pair.now, server(), request);
    let end = pair.now + ms(100);
    pair.run(end, |server, now, id, _| {
        server.respond(now, id, notification(10, b"0"));
    });
    assert_eq!(pair.client.observations().count(), 1);
    Observer {
        peer: client(),
        token: token("obs"),
    }
}

fn notification(sequence: u32, payload: &[u8]) -> Packet {
    let mut packet = Pair::answer(Code::CONTENT);
    build::set_observe(&mut packet, sequence);
    packet.payload = payload.to_vec();
    packet
}

fn ours() -> Observer {
    Observer {
        peer: server(),
        token: token("obs"),
    }
}

fn notifications(pair: &Pair) -> Vec<(Vec<u8>, bool, bool)> {
    let take = |event: &Event| match event {
        Event::Notification {
            packet, fresh, ended, ..
        } => Some((packet.payload.clone(), *fresh, *ended)),
        _ => None,
    };
    pair.client_events.iter().filter_map(take).collect()
}

fn ends(pair: &Pair) -> Vec<Ended> {
    let take = |event: &Event| match event {
        Event::NotifyEnded { reason, .. } => Some(*reason),
        _ => None,
    };
    pair.server_events.iter().filter_map(take).collect()
}

#[test]
fn notifications_come_in_order_and_a_con_is_acknowledged() {
    let mut pair = Pair::new(fixed(), fixed());
    let observer = observe(&mut pair);
    pair.server.notify(pair.now, &observer, notification(11, b"1"), true);
    pair.run_mute(ms(1000));
    pair.server.notify(pair.now, &observer, notification(12, b"2"), false);
    pair.run_mute(ms(2000));
    pair.server.notify(pair.now, &observer, notification(12, b"old"), false);
    pair.run_mute(ms(3000));
    let seen = [
        (b"1".to_vec(), true, false),
        (b"2".to_vec(), true, false),
        (b"old".to_vec(), false, false),
    ];
    assert_eq!(notifications(&pair), seen);
    assert_eq!(kinds(&pair), "->CON <-ACK <-CON ->ACK <-NON <-NON");
    assert_eq!(ends(&pair), [Ended::Acknowledged]);
}

#[test]
fn an_error_or_a_missing_observe_option_ends_the_observation() {
    for last in [Pair::answer(Code::NOT_FOUND), Pair::answer(Code::CONTENT)] {
        let mut pair = Pair::new(fixed(), fixed());
        let observer = observe(&mut pair);
        pair.server.notify(pair.now, &observer, last, true);
        pair.run_mute(ms(1000));
        assert_eq!(notifications(&pair), [(vec![], true, true)]);
        assert_eq!(pair.client.observations().count(), 0);
    }
}

#[test]
fn an_rst_ends_it_for_con_and_non_except_with_the_quirk() {
    for (ignored, confirmable, reason) in [
        (false, true, vec![Ended::Reset]),
        (false, false, vec![Ended::Reset]),
        (true, true, vec![Ended::Acknowledged]),
        (true, false, vec![]),
    ] {
        let mut pair = Pair::new(
            fixed(),
            quirks(Quirks {
                rst_ignored: ignored,
                ..Quirks::default()
            }),
        );
        let observer = observe(&mut pair);
        assert!(pair.client.set_notification_policy(&ours(), NotificationPolicy::Reset));
        pair.server
            .notify(pair.now, &observer, notification(11, b"1"), confirmable);
        pair.run_mute(ms(1000));
        assert_eq!(notifications(&pair), [(b"1".to_vec(), true, true)]);
        assert_eq!(ends(&pair), reason, "ignored {ignored}, confirmable {confirmable}");
        assert!(
            !pair.client.set_notification_policy(&ours(), NotificationPolicy::Accept),
            "it is over"
        );
    }
}

#[test]
fn a_forgotten_observation_is_answered_by_rst() {
    for confirmable in [true, false] {
        let mut pair = Pair::new(fixed(), fixed());
        let observer = observe(&mut pair);
        assert!(pair.client.stop_observing(&ours()));
        assert!(!pair.client.stop_observing(&ours()));
        pair.server
            .notify(pair.now, &observer, notification(11, b"1"), confirmable);
        pair.run_mute(ms(1000));
        assert_eq!(ends(&pair), [Ended::Reset]);
        assert!(matches!(pair.client_events.last(), Some(Event::Unmatched { .. })));
    }
}

#[test]
fn a_con_notification_without_ack_is_repeated_and_given_up() {
    let mut pair = Pair::new(fixed(), fixed());
    let observer = observe(&mut pair);
    pair.client.set_notification_policy(&ours(), NotificationPolicy::Ignore);
    pair.server.notify(pair.now, &observer, notification(11, b"1"), true);
    pair.run_mute(ms(100_000));
    assert_eq!(kinds(&pair), "->CON <-ACK <-CON <-CON <-CON <-CON <-CON");
    assert_eq!(ends(&pair), [Ended::TimedOut]);
    assert_eq!(notifications(&pair).len(), 1, "the copies are no news");
}

#[test]
fn a_newer_notification_takes_the_place_of_a_queued_one() {
    let mut pair = Pair::new(fixed(), fixed()).dropping(&[], &[1]);
    let observer = observe(&mut pair);
    for (sequence, value) in [(11, b"1"), (12, b"2"), (13, b"3")] {
        pair.server
            .notify(pair.now, &observer, notification(sequence, value), true);
    }
    pair.run_mute(ms(100_000));
    let values: Vec<_> = notifications(&pair).into_iter().map(|(value, ..)| value).collect();
    assert_eq!(values, [b"1".to_vec(), b"3".to_vec()]);
    assert_eq!(
        ends(&pair),
        [Ended::Superseded, Ended::Acknowledged, Ended::Acknowledged]
    );
}

#[test]
fn a_get_with_observe_1_and_the_same_token_ends_it() {
    let mut pair = Pair::new(fixed(), fixed());
    let observer = observe(&mut pair);
    let mut cancel = get("/5/0/3").with_token(token("obs"));
    build::set_observe(&mut cancel.packet, 1);
    pair.client.request(pair.now, server(), cancel);
    // A notification that is on its way is still one, not the answer.
    pair.server.notify(pair.now, &observer, notification(11, b"1"), false);
    pair.run(ms(1000), |server, now, id, _| {
        server.respond(now, id, Pair::answer(Code::CONTENT));
    });
    assert_eq!(notifications(&pair), [(b"1".to_vec(), true, false)]);
    assert_eq!(responses(&pair), 2);
    assert_eq!(pair.client.observations().count(), 0);
}

#[test]
fn a_response_without_observe_means_not_observing() {
    let mut pair = Pair::new(fixed(), fixed());
    let mut request = get("/5/0/3");
    build::set_observe(&mut request.packet, 0);
    pair.client.request(ms(0), server(), request);
    pair.run_plain(ms(100));
    assert_eq!(pair.client.observations().count(), 0);
}

#[test]
fn an_old_sequence_number_is_fresh_again_after_128_seconds() {
    for (at, fresh) in [(128_010, false), (128_011, true)] {
        let mut pair = Pair::new(fixed(), fixed());
        let observer = observe(&mut pair);
        // The first answer came at 20 ms, this one comes 10 ms after it is sent.
        pair.run_mute(ms(at));
        pair.server.notify(pair.now, &observer, notification(9, b"old"), false);
        pair.run_mute(ms(at + 100));
        assert_eq!(notifications(&pair), [(b"old".to_vec(), fresh, false)], "at {at}");
    }
}

#[test]
fn tokens_of_every_length_are_echoed() {
    for length in 0..=8 {
        let mut pair = Pair::new(fixed(), fixed());
        let request = Request {
            token_length: Some(length),
            ..get("/1")
        };
        let id = pair.client.request(ms(0), server(), request);
        pair.run_plain(ms(1000));
        assert_eq!(pair.client.token(id).map(|token| token.len()), Some(length));
        assert_eq!(responses(&pair), 1);
    }
    assert_eq!(Token::new(&[0; 9]), None);
}

#[test]
fn same_seed_and_inputs_give_the_same_bytes() {
    let run = || {
        let mut pair = Pair::new(Config::default(), Config::default()).dropping(&[0, 2], &[1]);
        for path in ["/1", "/2", "/3"] {
            pair.client.request(ms(0), server(), get(path));
        }
        pair.run_plain(Duration::from_secs(200));
        pair.ladder()
    };
    assert_eq!(run(), run());
}
