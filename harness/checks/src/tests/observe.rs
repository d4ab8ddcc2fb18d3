//! observe-order and observe-token.

use crate::testing::*;
use fotaproof_trace::Grade;
use fotaproof_wire::coap::{Code, RawMessage, Type};

fn observe(id: u16, number: u32) -> RawMessage {
    request(Code::GET, id, &[5], "/5/0/3").observe(number)
}

fn notification(kind: Type, id: u16, number: u32) -> RawMessage {
    message(kind, Code::CONTENT, id, &[5])
        .observe(number)
        .format(0)
        .payload(&b"0"[..])
}

fn observed(first: u32) -> Stream {
    let mut stream = Stream::new();
    let answer = ack(Code::CONTENT, 1, &[5]).observe(first).format(0).payload(&b"0"[..]);
    stream.exchange(0, &observe(1, 0), &answer);
    stream
}

#[test]
fn notifications_are_newer() {
    observed(7).sends(1_000, &notification(Type::Non, 50, 8)).holds();
    observed(7)
        .sends(1_000, &notification(Type::Non, 50, 7))
        .breaks("observe-order", Grade::Must);
    observed(7)
        .sends(1_000, &notification(Type::Non, 50, 6))
        .breaks("observe-order", Grade::Must);
    // The number space is round.
    observed(0xff_ffff)
        .sends(1_000, &notification(Type::Non, 50, 0))
        .holds();
    // After 128 s any number is newer.
    observed(7)
        .sends(128_010, &notification(Type::Non, 50, 6))
        .breaks("observe-order", Grade::Must);
    observed(7).sends(128_011, &notification(Type::Non, 50, 6)).holds();
}

#[test]
fn a_retransmitted_notification_is_not_judged_twice() {
    let first = notification(Type::Con, 50, 8);
    observed(7)
        .sends(1_000, &first)
        .sends(3_500, &first)
        .gets(3_600, &empty(Type::Ack, 50))
        .holds();
}

/// The server uses the message id of its observation for something else: the device takes that for a copy and answers as before.
#[test]
fn the_old_answer_to_a_reused_message_id_is_no_notification() {
    let mut stream = observed(7);
    stream.sends(1_000, &notification(Type::Non, 50, 8));
    let answer = ack(Code::CONTENT, 1, &[5]).observe(7).format(0).payload(&b"0"[..]);
    stream.exchange(2_000, &request(Code::GET, 1, &[6], "/3/0/3"), &answer);
    stream.holds();
    // of a new observation under a message id of its own it is out of order
    let mut stream = observed(7);
    stream.sends(1_000, &notification(Type::Non, 50, 8));
    stream
        .sends(2_000, &notification(Type::Non, 51, 7))
        .breaks("observe-order", Grade::Must);
}

#[test]
fn observing_again_begins_anew() {
    let mut stream = observed(7);
    stream.exchange(
        1_000,
        &observe(2, 0),
        &ack(Code::CONTENT, 2, &[5]).observe(1).format(0).payload(&b"0"[..]),
    );
    stream.sends(2_000, &notification(Type::Non, 50, 2)).holds();
}

#[test]
fn a_cancelled_observation_is_silent() {
    let run = |at: u64| {
        let mut stream = observed(7);
        stream.exchange(
            1_000,
            &observe(2, 1),
            &ack(Code::CONTENT, 2, &[5]).format(0).payload(&b"0"[..]),
        );
        stream.sends(at, &notification(Type::Non, 50, 8));
        stream
    };
    run(2_010).holds();
    run(2_011).breaks("observe-token", Grade::Must);
    let mut again = observed(7);
    again.exchange(
        1_000,
        &observe(2, 1),
        &ack(Code::CONTENT, 2, &[5]).format(0).payload(&b"0"[..]),
    );
    again.exchange(
        1_500,
        &observe(3, 0),
        &ack(Code::CONTENT, 3, &[5]).observe(9).format(0).payload(&b"0"[..]),
    );
    again.sends(9_000, &notification(Type::Non, 50, 10)).holds();
}

#[test]
fn a_reset_ends_the_observation() {
    let run = |read: bool, strays: u16| {
        let mut stream = observed(7);
        stream
            .sends(1_000, &notification(Type::Con, 50, 8))
            .gets(1_020, &empty(Type::Rst, 50));
        if read {
            let other = request(Code::GET, 3, &[6], "/3/0/3");
            stream.exchange(
                1_500,
                &other,
                &ack(Code::CONTENT, 3, &[6]).format(0).payload(&b"1.0"[..]),
            );
        }
        for stray in 0..strays {
            stream.sends(
                5_000 + u64::from(stray) * 1_000,
                &notification(Type::Non, 51 + stray, 9 + u32::from(stray)),
            );
        }
        stream
    };
    run(true, 0).holds();
    run(true, 1).breaks("observe-token", Grade::Must);
    // It may not have read the Reset when it sent the first.
    run(false, 1).holds();
    run(false, 2).breaks("observe-token", Grade::Must);
}

#[test]
fn a_new_registration_voids_observations() {
    let mut stream = observed(7);
    stream.asks(1_000, &register(90, &[8]), &created(90, &[8]));
    stream
        .sends(3_000, &notification(Type::Non, 50, 8))
        .breaks("observe-token", Grade::Should);
    // The new Observe overtook the answer to the Register.
    let mut stream = observed(7);
    stream.sends(1_000, &register(90, &[8]));
    stream.exchange(
        1_030,
        &observe(2, 0),
        &ack(Code::CONTENT, 2, &[5]).observe(1).format(0).payload(&b"0"[..]),
    );
    stream
        .gets(1_050, &created(90, &[8]))
        .sends(3_000, &notification(Type::Non, 50, 2))
        .holds();
}

#[test]
fn an_error_ends_the_observation() {
    let error = message(Type::Con, Code::NOT_FOUND, 50, &[5]);
    let mut stream = observed(7);
    stream
        .sends(1_000, &notification(Type::Non, 49, 8))
        .sends(2_000, &error)
        .holds();
    let mut stream = observed(7);
    stream
        .sends(1_000, &notification(Type::Non, 49, 8))
        .sends(2_000, &error);
    stream
        .sends(5_000, &notification(Type::Non, 51, 9))
        .breaks("observe-token", Grade::Must);
}
