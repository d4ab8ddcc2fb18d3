//! What only an IUT that is a server can do wrong. `gets` is what a device sends, `sends` what the server does.

use crate::testing::{Also, SERVER, Stream, ack, created, message, register, request};
use crate::{CheckConfig, Role};
use fotaproof_trace::Grade;
use fotaproof_wire::coap::{Code, RawMessage, Type};

const ELSEWHERE: &str = "10.0.0.2:6000";

/// A server with a registered device.
fn server() -> Stream {
    let mut stream = Stream::with(CheckConfig {
        role: Role::Server,
        ..CheckConfig::default()
    });
    stream.exchange(0, &register(1, b"r"), &created(1, b"r"));
    stream
}

/// The server reads State and is told it.
fn told_state(stream: &mut Stream, ms: u64, id: u16, state: &str) {
    stream.asks(
        ms,
        &request(Code::GET, id, b"s", "/5/0/3"),
        &ack(Code::CONTENT, id, b"s").payload(state.as_bytes()),
    );
}

fn execute(id: u16) -> RawMessage {
    request(Code::POST, id, b"x", "/5/0/2")
}

fn block(id: u16, block: &str) -> RawMessage {
    let size: usize = block.rsplit('/').next().unwrap().parse().unwrap();
    request(Code::PUT, id, b"p", "/5/0/0")
        .block1(block)
        .payload(vec![7; size])
}

fn continues(id: u16, block: &str) -> RawMessage {
    ack(Code::CONTINUE, id, b"p").block1(block)
}

#[test]
fn update_is_executed_in_downloaded() {
    let mut stream = server();
    told_state(&mut stream, 1000, 10, "2");
    stream.asks(2000, &execute(11), &ack(Code::CHANGED, 11, b"x")).holds();
}

#[test]
fn not_in_downloading() {
    let mut stream = server();
    told_state(&mut stream, 1000, 10, "2");
    told_state(&mut stream, 1500, 12, "1");
    stream
        .sends(2000, &execute(11))
        .breaks("execute-when-downloaded", Grade::Must);
}

#[test]
fn not_without_knowing() {
    server()
        .sends(2000, &execute(11))
        .breaks("execute-when-downloaded", Grade::Must);
}

#[test]
fn what_was_told_before_a_new_package_says_nothing_of_it() {
    let mut stream = server();
    told_state(&mut stream, 1000, 10, "2");
    let whole = request(Code::PUT, 11, b"p", "/5/0/0").payload(vec![7; 16]);
    stream
        .asks(2000, &whole, &ack(Code::CHANGED, 11, b"p"))
        .sends(3000, &execute(12))
        .breaks("execute-when-downloaded", Grade::Must);
}

#[test]
fn a_notification_tells_the_state_too() {
    let mut stream = server();
    let observe = request(Code::GET, 10, b"o", "/5/0/3").observe(0);
    let notification = message(Type::Non, Code::CONTENT, 77, b"o")
        .observe(5)
        .payload(&b"2"[..]);
    stream
        .asks(
            1000,
            &observe,
            &ack(Code::CONTENT, 10, b"o").observe(4).payload(&b"0"[..]),
        )
        .gets(2000, &notification)
        .asks(3000, &execute(11), &ack(Code::CHANGED, 11, b"x"))
        .holds();
}

#[test]
fn once_only() {
    let mut stream = server();
    told_state(&mut stream, 1000, 10, "2");
    stream
        .asks(2000, &execute(11), &ack(Code::CHANGED, 11, b"x"))
        .sends(3000, &execute(12))
        .breaks("execute-when-downloaded", Grade::Must);
}

#[test]
fn a_retransmission_is_no_second_execute() {
    let mut stream = server();
    told_state(&mut stream, 1000, 10, "2");
    stream
        .sends(2000, &execute(11))
        .asks(4500, &execute(11), &ack(Code::CHANGED, 11, b"x"))
        .holds();
}

#[test]
fn what_cannot_be_read_is_held_against_nobody() {
    let mut stream = server();
    let odd = ack(Code::CONTENT, 10, b"s").format(60).payload(vec![0xff; 3]);
    stream
        .asks(1000, &request(Code::GET, 10, b"s", "/5/0"), &odd)
        .asks(2000, &execute(11), &ack(Code::CHANGED, 11, b"x"))
        .holds();
}

#[test]
fn a_smaller_size_is_counted_anew() {
    server()
        .asks(1000, &block(10, "0/1/1024"), &continues(10, "0/1/256"))
        .asks(2000, &block(11, "4/1/256"), &continues(11, "4/1/256"))
        .holds();
}

#[test]
fn a_number_that_is_not_counted_anew_goes_back() {
    server()
        .asks(1000, &block(10, "0/1/1024"), &continues(10, "0/1/256"))
        .sends(2000, &block(11, "1/1/256"))
        .breaks("push-continues", Grade::Must);
}

#[test]
fn a_push_may_begin_anew() {
    server()
        .asks(1000, &block(10, "0/1/256"), &continues(10, "0/1/256"))
        .asks(2000, &block(11, "1/1/256"), &continues(11, "1/1/256"))
        .asks(3000, &block(12, "0/1/256"), &continues(12, "0/1/256"))
        .asks(4000, &block(13, "1/1/256"), &continues(13, "1/1/256"))
        .holds();
}

#[test]
fn after_a_refusal_the_server_goes_on_as_it_likes() {
    server()
        .asks(1000, &block(10, "0/1/256"), &continues(10, "0/1/256"))
        .asks(2000, &block(11, "1/1/256"), &continues(11, "1/1/256"))
        .asks(
            3000,
            &block(12, "2/1/256"),
            &ack(Code(0xa3), 12, b"p").block1("2/1/256"),
        )
        .asks(4000, &block(13, "2/1/256"), &continues(13, "2/1/256"))
        .holds();
}

#[test]
fn requests_follow_a_device_that_registers_from_elsewhere() {
    server()
        .peer_moves(ELSEWHERE)
        .exchange(5000, &register(2, b"r"), &created(2, b"r"))
        .asks(
            9000,
            &request(Code::GET, 10, b"s", "/5/0/3"),
            &ack(Code::CONTENT, 10, b"s").payload(&b"0"[..]),
        )
        .holds();
}

#[test]
fn requests_to_where_it_was_do_not() {
    server()
        .peer_moves(ELSEWHERE)
        .exchange(5000, &register(2, b"r"), &created(2, b"r"))
        .peer_moves(SERVER)
        .sends(9000, &request(Code::GET, 10, b"s", "/5/0/3"))
        .breaks("registered-address", Grade::Must);
}

#[test]
fn what_was_on_its_way_when_the_device_moved_is_excused() {
    server()
        .peer_moves(ELSEWHERE)
        .exchange(5000, &register(2, b"r"), &created(2, b"r"))
        .peer_moves(SERVER)
        .sends(5900, &request(Code::GET, 10, b"s", "/5/0/3"))
        .holds();
}

#[test]
fn an_update_from_elsewhere_moves_it_too() {
    let update = request(Code::POST, 2, b"u", "/rd/1");
    server()
        .peer_moves(ELSEWHERE)
        .exchange(5000, &update, &ack(Code::CHANGED, 2, b"u"))
        .peer_moves(SERVER)
        .sends(9000, &request(Code::GET, 10, b"s", "/5/0/3"))
        .breaks("registered-address", Grade::Must);
}

#[test]
fn nothing_goes_to_a_device_that_left() {
    let leave = request(Code::DELETE, 2, b"d", "/rd/1");
    server()
        .exchange(5000, &leave, &ack(Code::DELETED, 2, b"d"))
        .sends(9000, &request(Code::GET, 10, b"s", "/5/0/3"))
        .breaks("registered-address", Grade::Must);
}

#[test]
fn nor_to_one_whose_lifetime_passed() {
    let ask = request(Code::GET, 10, b"s", "/5/0/3");
    // lt=300: 301 s after the 2.01 is within the grace, 302 s is not
    server().sends(300_900, &ask).holds();
    server().sends(302_000, &ask).breaks("registered-address", Grade::Must);
}

#[test]
fn an_update_prolongs_the_lifetime() {
    let update = request(Code::POST, 2, b"u", "/rd/1");
    server()
        .exchange(200_000, &update, &ack(Code::CHANGED, 2, b"u"))
        .sends(400_000, &request(Code::GET, 10, b"s", "/5/0/3"))
        .holds();
}

#[test]
fn the_checks_on_a_client_say_nothing_of_a_server() {
    // a client would have been asked for a Register first
    Stream::with(CheckConfig {
        role: Role::Server,
        ..CheckConfig::default()
    })
    .asks(
        0,
        &request(Code::POST, 9, b"d", "/dp").format(0).payload(&b"x"[..]),
        &ack(Code::CHANGED, 9, b"d"),
    )
    .holds();
}
