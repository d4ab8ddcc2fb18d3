//! image-sum.

use crate::testing::*;
use fotaproof_trace::{EventKind, Grade, TransferFacts, TransferPhase, TransferWay};
use fotaproof_wire::coap::{Code, RawMessage, option};

fn push(id: u16, block: &str, length: usize) -> RawMessage {
    request(Code::PUT, id, &[1], "/5/0/0")
        .format(42)
        .block1(block)
        .payload(vec![7; length])
}

fn continues(id: u16, block: &str) -> RawMessage {
    ack(Code::CONTINUE, id, &[1]).block1(block)
}

fn changed(id: u16, block: &str) -> RawMessage {
    ack(Code::CHANGED, id, &[1]).block1(block)
}

#[test]
fn a_whole_body_is_accepted() {
    let mut stream = Stream::new();
    stream.exchange(0, &push(1, "0/1/64", 64), &continues(1, "0/1/64"));
    stream.exchange(100, &push(2, "1/1/64", 64), &continues(2, "1/1/64"));
    stream.exchange(200, &push(3, "2/0/64", 5), &changed(3, "2/0/64"));
    // The last block again, under another message id.
    stream
        .exchange(300, &push(4, "2/0/64", 5), &changed(4, "2/0/64"))
        .holds();
}

#[test]
fn a_body_with_a_hole_is_not() {
    let run = |code: Code| {
        let mut stream = Stream::new();
        stream.exchange(0, &push(1, "0/1/64", 64), &continues(1, "0/1/64"));
        stream.exchange(200, &push(3, "2/0/64", 5), &ack(code, 3, &[1]).block1("2/0/64"));
        stream
    };
    run(Code::REQUEST_ENTITY_INCOMPLETE).holds();
    run(Code::CHANGED).breaks("image-sum", Grade::Must);
}

#[test]
fn an_orphan_last_block_is_no_body() {
    Stream::new()
        .exchange(0, &push(3, "2/0/64", 5), &changed(3, "2/0/64"))
        .breaks("image-sum", Grade::Must);
}

#[test]
fn a_new_beginning_forgets_the_old_body() {
    let mut stream = Stream::new();
    stream.exchange(0, &push(1, "0/1/64", 64), &continues(1, "0/1/64"));
    stream.exchange(100, &push(2, "1/1/64", 64), &continues(2, "1/1/64"));
    stream.exchange(200, &push(3, "0/1/64", 64), &continues(3, "0/1/64"));
    stream
        .exchange(300, &push(4, "2/0/64", 5), &changed(4, "2/0/64"))
        .breaks("image-sum", Grade::Must);
}

#[test]
fn blocks_may_overtake_the_answer_to_the_first() {
    let mut stream = Stream::new();
    stream.gets(0, &push(1, "0/1/64", 64)).gets(5, &push(2, "1/0/64", 64));
    stream
        .sends(10, &continues(1, "0/1/64"))
        .sends(11, &changed(2, "1/0/64"))
        .holds();
}

#[test]
fn a_size_change_keeps_the_bytes() {
    let mut stream = Stream::new();
    stream.exchange(0, &push(1, "0/1/128", 128), &continues(1, "0/1/32"));
    stream
        .exchange(100, &push(2, "4/0/32", 32), &changed(2, "4/0/32"))
        .holds();
}

fn fetch(last_second: bool, total_seen: bool) -> Stream {
    let get = |id, block| request(Code::GET, id, &[9], "/fw").block2(block);
    let content = |id, block| ack(Code::CONTENT, id, &[9]).block2(block).payload(vec![7; 64]);
    let mut stream = Stream::new();
    let uri = request(Code::PUT, 1, &[1], "/5/0/1").payload(&b"coap://10.0.0.2/fw"[..]);
    stream.exchange(0, &uri, &ack(Code::CHANGED, 1, &[1]));
    stream.asks(100, &get(11, "0/0/64"), &content(11, "0/1/64"));
    if last_second {
        stream.asks(200, &get(12, "1/0/64"), &content(12, "1/1/64"));
    }
    if total_seen {
        // What follows a hole is another check's affair: here the hole was asked for and lost.
        if !last_second {
            stream.sends(200, &get(12, "1/0/64"));
        }
        stream.asks(300, &get(13, "2/0/64"), &content(13, "2/0/64"));
    }
    let read = request(Code::GET, 2, &[2], "/5/0/3");
    stream.exchange(1_000, &read, &ack(Code::CONTENT, 2, &[2]).format(0).payload(&b"2"[..]));
    stream
}

#[test]
fn downloaded_means_all_of_it() {
    fetch(true, true).holds();
    fetch(true, false).breaks("image-sum", Grade::Must);
    fetch(false, true).breaks("image-sum", Grade::Must);
}

/// Two blocks of one ETag, then the ETags of the blocks that follow.
fn fetch_of_etags(blocks: &[(&str, u8)]) -> Stream {
    let mut stream = Stream::new();
    let uri = request(Code::PUT, 1, &[1], "/5/0/1").payload(&b"coap://10.0.0.2/fw"[..]);
    stream.exchange(0, &uri, &ack(Code::CHANGED, 1, &[1]));
    for (index, (block, etag)) in blocks.iter().enumerate() {
        let id = 10 + index as u16;
        let get = request(Code::GET, id, &[9], "/fw").block2(&block.replace("/1/", "/0/"));
        let content = ack(Code::CONTENT, id, &[9]).block2(block).payload(vec![7; 64]);
        let content = if *etag == 0 {
            content
        } else {
            content.with_option(option::ETAG, [*etag])
        };
        stream.asks(100 * u64::from(id), &get, &content);
    }
    let read = request(Code::GET, 2, &[2], "/5/0/3");
    stream.exchange(9_000, &read, &ack(Code::CONTENT, 2, &[2]).format(0).payload(&b"2"[..]));
    stream
}

#[test]
fn all_of_one_etag() {
    fetch_of_etags(&[("0/1/64", 1), ("1/1/64", 1), ("2/0/64", 1)]).holds();
    // The image changed on the server: begun again, or mixed.
    fetch_of_etags(&[("0/1/64", 1), ("1/1/64", 2), ("0/1/64", 2), ("2/0/64", 2)]).holds();
    fetch_of_etags(&[("0/1/64", 1), ("1/1/64", 2), ("2/0/64", 2)]).breaks("image-sum", Grade::Must);
    // An ETag need not stand in every block.
    fetch_of_etags(&[("0/1/64", 1), ("1/1/64", 0), ("2/0/64", 1)]).holds();
    fetch_of_etags(&[("0/1/64", 0), ("1/1/64", 1), ("2/0/64", 1)]).holds();
}

#[test]
fn an_image_that_the_iut_serves_is_the_one_given() {
    // SHA-256 of "abc".
    let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let run = |image: &[u8]| {
        let mut stream = Stream::new();
        let get = request(Code::GET, 1, &[1], "/fw").block2("0/0/64");
        stream.exchange(0, &get, &ack(Code::CONTENT, 1, &[1]).block2("0/0/64").payload(image));
        stream.event(
            100,
            EventKind::Transfer(TransferFacts {
                phase: TransferPhase::Ended,
                way: TransferWay::Pull,
                bytes: 3,
                sha256: String::new(),
                expected_sha256: Some(sum.to_owned()),
            }),
        );
        stream
    };
    run(b"abc").holds();
    run(b"abd").breaks("image-sum", Grade::Must);
}
