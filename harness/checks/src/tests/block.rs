//! block1-answer, block-sequence, szx-never-grows, block-size.

use crate::testing::*;
use fotaproof_trace::{EventKind, Grade, IutEvent};
use fotaproof_wire::coap::{Code, RawMessage};

fn push(id: u16, block: &str, length: usize) -> RawMessage {
    request(Code::PUT, id, &[1], "/5/0/0")
        .format(42)
        .block1(block)
        .payload(vec![7; length])
}

fn get(id: u16, block: &str) -> RawMessage {
    request(Code::GET, id, &[9], "/fw").block2(block)
}

fn content(id: u16, block: &str, length: usize) -> RawMessage {
    ack(Code::CONTENT, id, &[9]).block2(block).payload(vec![7; length])
}

#[test]
fn an_answer_names_its_block() {
    let run = |answer: RawMessage| {
        let mut stream = Stream::new();
        stream.exchange(
            0,
            &push(1, "0/1/64", 64),
            &ack(Code::CONTINUE, 1, &[1]).block1("0/1/64"),
        );
        stream.exchange(100, &push(2, "1/1/64", 64), &answer);
        stream
    };
    let continues = |block: &str| ack(Code::CONTINUE, 2, &[1]).block1(block);
    run(continues("1/1/64")).holds();
    run(continues("0/1/64")).breaks("block1-answer", Grade::Must);
    run(continues("1/0/64")).breaks("block1-answer", Grade::Must);
    run(ack(Code::CONTINUE, 2, &[1])).breaks("block1-answer", Grade::Must);
    // Smaller blocks are wanted: the number echoed or counted anew.
    run(continues("1/1/32")).holds();
    run(continues("2/1/32")).holds();
    // An error needs no block.
    run(ack(Code::REQUEST_ENTITY_INCOMPLETE, 2, &[1])).holds();
}

#[test]
fn the_last_block_has_a_final_answer() {
    let run = |answer: RawMessage| {
        let mut stream = Stream::new();
        stream.exchange(0, &push(1, "0/0/64", 20), &answer);
        stream
    };
    run(ack(Code::CHANGED, 1, &[1]).block1("0/0/64")).holds();
    run(ack(Code::CHANGED, 1, &[1]).block1("0/1/64")).breaks("block1-answer", Grade::Must);
    run(ack(Code::CONTINUE, 1, &[1]).block1("0/1/64")).breaks("block1-answer", Grade::Must);
    run(ack(Code::CHANGED, 1, &[1])).breaks("block1-answer", Grade::Should);
}

#[test]
fn answers_use_no_larger_blocks() {
    let run = |block: &str| {
        let mut stream = Stream::new();
        stream.exchange(0, &push(1, "0/1/64", 64), &ack(Code::CONTINUE, 1, &[1]).block1(block));
        stream
    };
    run("0/1/64").holds();
    run("0/1/128").breaks("szx-never-grows", Grade::Must);
    let read = |block: &str, length: usize| {
        let mut stream = Stream::new();
        let get = request(Code::GET, 1, &[1], "/5/0").block2("0/0/64");
        stream.exchange(
            0,
            &get,
            &ack(Code::CONTENT, 1, &[1]).block2(block).payload(vec![7; length]),
        );
        stream
    };
    read("0/1/64", 64).holds();
    read("0/1/32", 32).holds();
    read("0/1/128", 128).breaks("szx-never-grows", Grade::Must);
}

#[test]
fn a_block_is_as_long_as_it_says() {
    let send = |block: &str, length: usize| {
        let mut stream = Stream::new();
        stream.sends(
            0,
            &request(Code::POST, 1, &[1], "/dp")
                .block1(block)
                .payload(vec![7; length]),
        );
        stream
    };
    send("0/1/64", 64).holds();
    send("0/1/64", 63).breaks("block-size", Grade::Must);
    send("0/0/64", 63).holds();
    send("0/0/64", 64).holds();
    send("0/0/64", 65).breaks("block-size", Grade::Must);
}

#[test]
fn blocks_are_fetched_without_gaps() {
    let run = |third: &str| {
        let mut stream = Stream::new();
        stream.asks(0, &get(1, "0/0/64"), &content(1, "0/1/64", 64));
        stream.asks(100, &get(2, "1/0/64"), &content(2, "1/1/64", 64));
        stream.sends(200, &get(3, third));
        stream
    };
    run("2/0/64").holds();
    run("1/0/64").holds();
    run("0/0/64").holds();
    run("4/0/32").holds();
    run("3/0/64").breaks("block-sequence", Grade::Must);
    run("2/1/64").breaks("block-sequence", Grade::Must);
}

#[test]
fn a_resumed_download_may_start_in_the_middle() {
    let mut stream = Stream::new();
    stream.asks(0, &get(1, "0/0/64"), &content(1, "0/1/64", 64));
    stream
        .event(100, EventKind::Iut(IutEvent::Restarted))
        .moves("10.0.0.1:50000");
    stream
        .asks(200, &get(2, "1/0/64"), &content(2, "1/1/64", 64))
        .sends(300, &get(3, "2/0/64"))
        .holds();
    Stream::new().sends(0, &get(1, "7/0/64")).holds();
}

#[test]
fn pipelined_requests_are_no_gap() {
    let mut stream = Stream::new();
    stream
        .sends(0, &get(1, "0/0/64"))
        .sends(1, &get(2, "1/0/64"))
        .sends(2, &get(3, "2/0/64"));
    stream
        .gets(10, &content(2, "1/1/64", 64))
        .sends(11, &get(4, "3/0/64"))
        .holds();
}

#[test]
fn late_negotiation_counts_anew() {
    let run = |second: &str| {
        let mut stream = Stream::new();
        stream
            .asks(0, &get(1, "0/0/1024"), &content(1, "0/1/256", 256))
            .sends(100, &get(2, second));
        stream
    };
    run("1/0/256").holds();
    run("2/0/128").holds();
    // The number of the larger size: bytes are skipped, and the size grows again.
    assert_eq!(
        run("1/0/1024").objections(),
        [
            ("block-sequence".to_owned(), Grade::Must),
            ("szx-never-grows".to_owned(), Grade::Must)
        ]
    );
}

#[test]
fn the_size_does_not_grow_again() {
    let run = |third: &str| {
        let mut stream = Stream::new();
        stream.asks(0, &get(1, "0/0/64"), &content(1, "0/1/64", 64));
        stream.asks(100, &get(2, "1/0/64"), &content(2, "1/1/64", 64));
        stream.sends(200, &get(3, third));
        stream
    };
    run("2/0/64").holds();
    run("1/0/128").breaks("szx-never-grows", Grade::Must);
    // A new beginning may use any size.
    run("0/0/1024").holds();
}

#[test]
fn a_server_that_misbehaves_on_purpose_excuses_what_follows() {
    let mut stream = Stream::new();
    stream
        .sends(0, &get(1, "0/0/64"))
        .gets_planned(10, &content(1, "3/1/64", 64))
        .sends(20, &get(2, "9/0/64"))
        .holds();
}
