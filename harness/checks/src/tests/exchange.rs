//! message-id-reuse, retransmission-identity, token-echo, duplicate-answer, duplicate-once, response-code,
//! ping-reset, separate-response-acked, no-message-after-deregister.

use crate::testing::*;
use crate::{CheckConfig, Mode};
use fotaproof_trace::{EventKind, Grade, IutEvent};
use fotaproof_wire::coap::{Code, Type};

#[test]
fn a_message_id_lives_247_seconds() {
    let first = request(Code::GET, 1, &[1], "/fw").block2("0/0/64");
    let second = request(Code::GET, 1, &[2], "/other");
    let answer = |token: &[u8]| ack(Code::CONTENT, 1, token).payload(&b"x"[..]);
    let run = |ms: u64| {
        let mut stream = Stream::new();
        stream.asks(0, &first, &answer(&[1])).asks(ms, &second, &answer(&[2]));
        stream
    };
    run(246_800).breaks("message-id-reuse", Grade::Must);
    run(247_000).holds();
}

#[test]
fn a_non_message_id_lives_145_seconds() {
    let run = |ms: u64| {
        let mut stream = Stream::new();
        let get = request(Code::GET, 9, &[1], "/5/0/3").observe(0);
        stream.exchange(
            0,
            &get,
            &ack(Code::CONTENT, 9, &[1]).observe(1).format(0).payload(&b"0"[..]),
        );
        let notification = |number| {
            message(Type::Non, Code::CONTENT, 5, &[1])
                .observe(number)
                .format(0)
                .payload(&b"0"[..])
        };
        stream
            .sends(1_000, &notification(2))
            .sends(1_000 + ms, &notification(3));
        stream
    };
    run(144_800).breaks("message-id-reuse", Grade::Must);
    run(145_000).holds();
}

#[test]
fn a_reboot_may_use_any_message_id() {
    let get = |token| request(Code::GET, 1, token, "/fw");
    let mut stream = Stream::new();
    stream
        .sends(0, &get(&[1]))
        .event(500, EventKind::Iut(IutEvent::PowerCut))
        .sends(1_000, &get(&[2]))
        .holds();
    // A board tells by its Register.
    let mut stream = Stream::new();
    stream
        .sends(0, &register(1, &[1]))
        .sends(5_000, &register(1, &[2]))
        .holds();
}

#[test]
fn a_retransmission_keeps_its_bytes() {
    let first = request(Code::POST, 1, &[1], "/dp").payload(&b"a"[..]);
    Stream::new().sends(0, &first).sends(2_500, &first).holds();
    Stream::new()
        .sends(0, &first)
        .sends(2_500, &first.clone().payload(&b"b"[..]))
        .breaks("retransmission-identity", Grade::Must);
}

#[test]
fn the_token_comes_back() {
    let get = request(Code::GET, 1, &[0xa1, 0xb2], "/5/0/3");
    let answer = |token: &[u8]| ack(Code::CONTENT, 1, token).format(0).payload(&b"0"[..]);
    Stream::new().exchange(0, &get, &answer(&[0xa1, 0xb2])).holds();
    Stream::new()
        .exchange(0, &get, &answer(&[0xa1]))
        .breaks("token-echo", Grade::Must);
    Stream::new()
        .exchange(0, &get, &answer(&[]))
        .breaks("token-echo", Grade::Must);
}

#[test]
fn an_acknowledgement_knows_its_message() {
    let get = request(Code::GET, 1, &[1], "/5/0/3");
    Stream::new().exchange(0, &get, &empty(Type::Ack, 1)).holds();
    Stream::new()
        .exchange(0, &get, &empty(Type::Ack, 2))
        .breaks("token-echo", Grade::Must);
    let config = CheckConfig {
        mode: Mode::Capture,
        ..CheckConfig::default()
    };
    Stream::with(config).exchange(0, &get, &empty(Type::Ack, 2)).holds();
}

#[test]
fn a_separate_response_has_a_token_that_was_asked_with() {
    let get = request(Code::GET, 1, &[1], "/5/0/3");
    let answer = |token: &[u8]| {
        message(Type::Con, Code::CONTENT, 77, token)
            .format(0)
            .payload(&b"0"[..])
    };
    Stream::new()
        .exchange(0, &get, &empty(Type::Ack, 1))
        .sends(3_000, &answer(&[1]))
        .holds();
    Stream::new()
        .exchange(0, &get, &empty(Type::Ack, 1))
        .sends(3_000, &answer(&[2]))
        .breaks("token-echo", Grade::Must);
}

#[test]
fn a_request_has_one_answer() {
    let put = request(Code::PUT, 1, &[1], "/5/0/1").payload(&b"coap://a"[..]);
    let again = ack(Code::INTERNAL_SERVER_ERROR, 1, &[1]);
    let changed = ack(Code::CHANGED, 1, &[1]);
    Stream::new().exchange(0, &put, &changed).holds();
    Stream::new()
        .exchange(0, &put, &changed)
        .sends(20, &again)
        .breaks("token-echo", Grade::Must);
    // A copy gets its answer too, and a token may serve again.
    let next = request(Code::PUT, 2, &[1], "/5/0/1").payload(&b"coap://b"[..]);
    Stream::new()
        .exchange(0, &put, &changed)
        .exchange(2_000, &put, &changed)
        .exchange(4_000, &next, &ack(Code::CHANGED, 2, &[1]))
        .holds();
}

#[test]
fn a_copy_of_a_block_is_answered_as_before() {
    let last = request(Code::PUT, 1, &[1], "/5/0/0")
        .block1("0/0/64")
        .payload(vec![1; 64]);
    let changed = ack(Code::CHANGED, 1, &[1]).block1("0/0/64");
    let incomplete = ack(Code::REQUEST_ENTITY_INCOMPLETE, 1, &[1]).block1("0/0/64");
    Stream::new()
        .exchange(0, &last, &changed)
        .exchange(2_000, &last, &changed)
        .holds();
    Stream::new()
        .exchange(0, &last, &changed)
        .exchange(2_000, &last, &incomplete)
        .breaks("duplicate-answer", Grade::Must);
    // A second reply to each copy, without the token, is no answer of its own.
    let second = ack(Code::INTERNAL_SERVER_ERROR, 1, &[]);
    let mut twice = Stream::new();
    twice.exchange(0, &last, &changed).sends(10, &second);
    twice.exchange(2_000, &last, &changed).sends(2_010, &second);
    let token_echo = || ("token-echo".to_owned(), Grade::Must);
    assert_eq!(twice.objections(), [token_echo(), token_echo()]);
    // Not at all is no wrong answer: the network may have brought the copy while the IUT was deaf.
    Stream::new().exchange(0, &last, &changed).gets(2_000, &last).holds();
    // After a reboot nothing is remembered.
    Stream::new()
        .exchange(0, &last, &changed)
        .event(1_000, EventKind::Iut(IutEvent::Restarted))
        .exchange(2_000, &last, &incomplete)
        .holds();
}

#[test]
fn a_copy_of_a_read_may_see_a_newer_value() {
    let get = request(Code::GET, 1, &[1], "/5/0/3");
    let state = |value: &[u8]| ack(Code::CONTENT, 1, &[1]).format(0).payload(value);
    Stream::new()
        .exchange(0, &get, &state(b"0"))
        .exchange(2_000, &get, &state(b"0"))
        .holds();
    let mut stream = Stream::new();
    stream.exchange(
        0,
        &request(Code::PUT, 9, &[9], "/5/0/1").payload(&b"coap://a/b"[..]),
        &ack(Code::CHANGED, 9, &[9]),
    );
    stream
        .exchange(100, &get, &state(b"0"))
        .exchange(2_000, &get, &state(b"1"))
        .holds();
}

#[test]
fn a_copy_of_an_execute() {
    let execute = request(Code::POST, 1, &[1], "/5/0/2");
    let changed = ack(Code::CHANGED, 1, &[1]);
    let refused = ack(Code::METHOD_NOT_ALLOWED, 1, &[1]);
    Stream::new()
        .exchange(0, &execute, &changed)
        .exchange(1_000, &execute, &refused)
        .breaks("duplicate-answer", Grade::Must);
    // Later it may be a rebooted board that knows nothing of it.
    Stream::new()
        .exchange(0, &execute, &changed)
        .exchange(2_500, &execute, &refused)
        .holds();
}

#[test]
fn a_copy_is_not_processed_again() {
    let execute = request(Code::POST, 1, &[1], "/3/0/4");
    let separate = |id| message(Type::Con, Code::CHANGED, id, &[1]);
    let mut once = Stream::new();
    once.exchange(0, &execute, &empty(Type::Ack, 1))
        .exchange(200, &execute, &empty(Type::Ack, 1));
    once.sends(500, &separate(70)).sends(2_600, &separate(70)).holds();
    let mut twice = Stream::new();
    twice
        .exchange(0, &execute, &empty(Type::Ack, 1))
        .exchange(200, &execute, &empty(Type::Ack, 1));
    twice
        .sends(500, &separate(70))
        .sends(600, &separate(71))
        .breaks("duplicate-once", Grade::Must);
}

#[test]
fn codes_of_operations() {
    let write = request(Code::PUT, 1, &[1], "/5/0/1").payload(&b"coap://a"[..]);
    Stream::new().exchange(0, &write, &ack(Code::CHANGED, 1, &[1])).holds();
    Stream::new()
        .exchange(0, &write, &ack(Code::CONTENT, 1, &[1]))
        .breaks("response-code", Grade::Must);
    Stream::new()
        .exchange(0, &write, &ack(Code::INTERNAL_SERVER_ERROR, 1, &[1]))
        .holds();
    let execute = request(Code::POST, 1, &[1], "/5/0/2");
    Stream::new()
        .exchange(0, &execute, &ack(Code::CHANGED, 1, &[1]))
        .holds();
    Stream::new()
        .exchange(0, &execute, &ack(Code::CREATED, 1, &[1]))
        .breaks("response-code", Grade::Must);
    Stream::new()
        .exchange(0, &execute, &ack(Code::REQUEST_ENTITY_TOO_LARGE, 1, &[1]))
        .breaks("response-code", Grade::Advice);
    let create = request(Code::POST, 1, &[1], "/5").payload(&b"x"[..]);
    Stream::new().exchange(0, &create, &ack(Code::CREATED, 1, &[1])).holds();
    // What a stimulus deserves is the affair of its case.
    Stream::new()
        .gets_planned(0, &write)
        .sends(1, &ack(Code::CONTENT, 1, &[1]))
        .holds();
}

#[test]
fn a_ping_gets_a_reset() {
    let ping = empty(Type::Con, 9);
    Stream::new().gets(0, &ping).sends(5, &empty(Type::Rst, 9)).holds();
    let alive = || {
        let mut stream = Stream::new();
        stream.sends(0, &register(1, &[1])).gets(10, &created(1, &[1]));
        stream
    };
    alive()
        .gets(20, &ping)
        .sends(30, &empty(Type::Ack, 9))
        .breaks("ping-reset", Grade::Must);
}

#[test]
fn a_ping_that_is_ignored_twice_by_an_awake_device() {
    let ping = empty(Type::Con, 9);
    let update = request(Code::POST, 2, &[2], "/rd/1");
    let run = |second: u64, later: u64| {
        let mut stream = Stream::new();
        stream.sends(0, &register(1, &[1])).gets(10, &created(1, &[1]));
        stream.gets(1_000, &ping).gets(second, &ping).sends(later, &update);
        stream
    };
    run(3_000, 6_000).breaks("ping-reset", Grade::Must);
    // The second copy came with the first; the device slept before; it never spoke again in time.
    run(1_500, 6_000).holds();
    run(40_000, 45_000).holds();
    run(3_000, 4_000).holds();
}

#[test]
fn a_separate_response_is_acknowledged() {
    let get = request(Code::GET, 5, &[5], "/fw").block2("0/0/64");
    let answer = message(Type::Con, Code::CONTENT, 70, &[5])
        .block2("0/1/64")
        .payload(vec![0; 64]);
    let next = request(Code::GET, 6, &[6], "/fw").block2("1/0/64");
    let run = |reply: Option<&fotaproof_wire::coap::RawMessage>| {
        let mut stream = Stream::new();
        stream.sends(0, &get).gets(10, &empty(Type::Ack, 5)).gets(500, &answer);
        if let Some(reply) = reply {
            stream.sends(501, reply);
        }
        stream.gets(2_600, &answer).sends(5_000, &next);
        stream
    };
    run(Some(&empty(Type::Ack, 70))).holds();
    run(None).breaks("separate-response-acked", Grade::Must);
    run(Some(&empty(Type::Rst, 70))).breaks("separate-response-acked", Grade::Must);
    // A Reset to the answer of a request given up long ago is right.
    Stream::new()
        .sends(0, &get)
        .gets(90_000, &answer)
        .sends(90_001, &empty(Type::Rst, 70))
        .holds();
}

#[test]
fn silence_after_deregister() {
    let run = |at: u64, again: bool| {
        let mut stream = Stream::new();
        let get = request(Code::GET, 8, &[8], "/5/0/3").observe(0);
        stream.exchange(
            0,
            &get,
            &ack(Code::CONTENT, 8, &[8]).observe(1).format(0).payload(&b"0"[..]),
        );
        stream.asks(
            1_000,
            &request(Code::DELETE, 2, &[2], "/rd/1"),
            &ack(Code::DELETED, 2, &[2]),
        );
        if again {
            stream.sends(1_500, &register(3, &[3]));
        }
        stream.sends(
            at,
            &message(Type::Non, Code::CONTENT, 4, &[8])
                .observe(2)
                .format(0)
                .payload(&b"0"[..]),
        );
        stream
    };
    run(1_900, false).holds();
    run(2_100, false).breaks("no-message-after-deregister", Grade::Should);
    run(2_100, true).holds();
}
