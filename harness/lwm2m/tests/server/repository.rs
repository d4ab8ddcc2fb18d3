//! The repository against a scripted device: serving right, and each planned fault.

use core::time::Duration;

use crate::world::{Side, World, answer};
use bytes::Bytes;
use coap_lite::Packet;
use fotaproof_coap::blockwise::{Block2Fetch, FetchConfig, FetchResponse, FetchStep};
use fotaproof_lwm2m::repository::{Act, EmptyAck, Fault, File, On, Repository, RepositoryConfig, RepositoryEvent};
use fotaproof_wire::coap::{BlockValue, Code, Szx, build, option};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);

fn body(length: usize) -> Bytes {
    (0..length).map(|index| (index * 3 + index / 253) as u8).collect()
}

fn file(length: usize) -> File {
    File {
        etag: Some(vec![0xa1]),
        ..File::new(body(length))
    }
}

fn world(length: usize, faults: impl IntoIterator<Item = Fault>) -> World {
    let mut config = RepositoryConfig {
        faults: faults.into_iter().collect(),
        ..RepositoryConfig::default()
    };
    config.files.insert("/fw/v2.bin".into(), file(length));
    World::new(Side::Repository(Repository::new(config)))
}

fn get(path: &str, block: Option<&str>) -> Packet {
    let mut packet = answer(Code::GET);
    build::set_path(&mut packet, path);
    if let Some(block) = block {
        build::set_block2(&mut packet, block.parse().unwrap());
    }
    packet
}

/// Asks for a block and gives the answer: code, Block2, payload.
fn ask(world: &mut World, block: Option<&str>) -> (Code, Option<String>, Vec<u8>) {
    asked(world, get("/fw/v2.bin", block))
}

fn asked(world: &mut World, packet: Packet) -> (Code, Option<String>, Vec<u8>) {
    let before = world.answers.len();
    world.ask(packet);
    world.run(SECOND);
    let Some(packet) = world.answers.get(before) else {
        return (Code::EMPTY, None, Vec::new());
    };
    (
        packet.header.code.into(),
        build::block2(packet).map(|block| block.to_string()),
        packet.payload.clone(),
    )
}

fn block(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn blocks_have_the_asked_number_and_size() {
    let mut world = world(2000, []);
    let bytes = body(2000);
    assert_eq!(
        ask(&mut world, None),
        (Code::CONTENT, block("0/1/512"), bytes[..512].to_vec())
    );
    assert_eq!(
        ask(&mut world, Some("1/0/512")),
        (Code::CONTENT, block("1/1/512"), bytes[512..1024].to_vec())
    );
    assert_eq!(
        ask(&mut world, Some("7/0/64")),
        (Code::CONTENT, block("7/1/64"), bytes[448..512].to_vec())
    );
    assert_eq!(
        ask(&mut world, Some("1/0/1024")),
        (Code::CONTENT, block("2/1/512"), bytes[1024..1536].to_vec()),
        "larger than preferred"
    );
    assert_eq!(
        ask(&mut world, Some("3/0/512")),
        (Code::CONTENT, block("3/0/512"), bytes[1536..].to_vec())
    );
    assert_eq!(ask(&mut world, Some("4/0/512")).0, Code::BAD_OPTION, "beyond the end");
}

#[test]
fn a_small_file_needs_no_block2() {
    let mut world = world(200, []);
    assert_eq!(ask(&mut world, None), (Code::CONTENT, None, body(200).to_vec()));
    assert_eq!(
        ask(&mut world, Some("0/0/512")),
        (Code::CONTENT, block("0/0/512"), body(200).to_vec())
    );
}

#[test]
fn what_is_not_there_or_not_a_read_is_refused() {
    let mut world = world(200, []);
    assert_eq!(asked(&mut world, get("/fw/v3.bin", None)).0, Code::NOT_FOUND);
    let mut packet = get("/fw/v2.bin", None);
    packet.header.code = Code::PUT.into();
    assert_eq!(asked(&mut world, packet).0, Code::METHOD_NOT_ALLOWED);
    let mut packet = get("/fw/v2.bin", None);
    build::set_accept(&mut packet, 0);
    assert_eq!(asked(&mut world, packet).0, Code::NOT_ACCEPTABLE);
    let mut packet = get("/fw/v2.bin", None);
    build::set_option(&mut packet, option::BLOCK2, [0x07]);
    assert_eq!(asked(&mut world, packet).0.class(), 4, "size exponent 7");
}

#[test]
fn a_query_selects_a_file() {
    let mut world = world(10, []);
    world
        .repository()
        .files()
        .set_file("/fw/v2.bin?v=2&k=a&b", File::new(Bytes::from_static(b"second")));
    let mut packet = get("/fw/v2.bin", None);
    build::set_query(&mut packet, ["v=2", "k=a&b"]);
    assert_eq!(asked(&mut world, packet).2, b"second");
    let mut packet = get("/fw/v2.bin", None);
    build::set_query(&mut packet, ["v=3"]);
    assert_eq!(
        asked(&mut world, packet).2,
        body(10).to_vec(),
        "a file without a query answers any"
    );
}

#[test]
fn a_known_etag_gives_2_03_for_block_0_only() {
    let mut world = world(2000, []);
    for (block, etag, code) in [
        (None, 0xa1, Code::VALID),
        (Some("0/0/512"), 0xa1, Code::VALID),
        (Some("3/0/512"), 0xa1, Code::CONTENT),
        (None, 0xb2, Code::CONTENT),
    ] {
        let mut packet = get("/fw/v2.bin", block);
        build::set_etag(&mut packet, &[etag]);
        assert_eq!(asked(&mut world, packet).0, code, "{block:?} {etag:x}");
    }
}

#[test]
fn the_size_is_told_when_asked() {
    let mut world = world(2000, []);
    ask(&mut world, None);
    assert_eq!(build::get_uint(&world.answers[0], option::SIZE2), None);
    let mut packet = get("/fw/v2.bin", None);
    build::set_size2(&mut packet, 0);
    asked(&mut world, packet);
    assert_eq!(build::get_uint(&world.answers[1], option::SIZE2), Some(2000));
}

#[test]
fn each_request_and_answer_is_told() {
    let mut world = world(2000, []);
    let mut packet = get("/fw/v2.bin", Some("3/0/512"));
    build::set_query(&mut packet, ["v=2"]);
    build::set_option(&mut packet, option::URI_HOST, *b"files.test");
    build::set_uint(&mut packet, option::URI_PORT, 5783);
    asked(&mut world, packet);
    let Some(RepositoryEvent::Get {
        path,
        query,
        host,
        port,
        block2,
        confirmable,
        ..
    }) = world.served.pop_front()
    else {
        panic!("no Get")
    };
    assert_eq!(
        (path, query),
        (vec!["fw".to_owned(), "v2.bin".to_owned()], vec!["v=2".to_owned()])
    );
    assert_eq!(
        (host.as_deref(), port, confirmable),
        (Some("files.test"), Some(5783), true)
    );
    assert_eq!(block2, BlockValue::new(3, false, Szx::S512));
    let Some(RepositoryEvent::Served { length, last, code, .. }) = world.served.pop_front() else {
        panic!("no Served")
    };
    assert_eq!((length, last, code), (464, true, Code::CONTENT));
}

#[test]
fn faults_change_the_answer_to_block_3() {
    let bytes = body(20480);
    let at = |num: usize, size: usize| bytes[num * size..(num + 1) * size].to_vec();
    let code = |code| Act::Code { code, max_age: Some(5) };
    for (act, wanted) in [
        (Act::WrongBlock(2), (Code::CONTENT, block("2/1/512"), at(2, 512))),
        (Act::Relabel(9), (Code::CONTENT, block("9/1/512"), at(3, 512))),
        (
            Act::SmallerSzx(Szx::S128),
            (Code::CONTENT, block("12/1/128"), at(12, 128)),
        ),
        (Act::NoBlock2, (Code::CONTENT, None, at(3, 512))),
        (Act::Whole, (Code::CONTENT, None, bytes.to_vec())),
        (Act::IgnoreBlock2, (Code::CONTENT, block("0/1/512"), at(0, 512))),
        (Act::FlipMore, (Code::CONTENT, block("3/0/512"), at(3, 512))),
        (
            Act::Shorten(12),
            (Code::CONTENT, block("3/1/512"), at(3, 512)[..500].to_vec()),
        ),
        (
            code(Code::SERVICE_UNAVAILABLE),
            (Code::SERVICE_UNAVAILABLE, None, b"planned by the case".to_vec()),
        ),
        (code(Code::VALID), (Code::VALID, None, Vec::new())),
        (
            Act::ChangeFile(File::new(Bytes::from(vec![9; 2048]))),
            (Code::CONTENT, block("3/0/512"), vec![9; 512]),
        ),
        (Act::Silence, (Code::EMPTY, None, Vec::new())),
        (Act::Reset, (Code::EMPTY, None, Vec::new())),
    ] {
        let mut world = world(20480, [Fault::new(On::Block(3), act.clone()).times(1)]);
        assert_eq!(ask(&mut world, Some("2/0/512")).1, block("2/1/512"), "{act:?}: not yet");
        assert_eq!(ask(&mut world, Some("3/0/512")), wanted, "{act:?}");
        if !matches!(act, Act::ChangeFile(_)) {
            assert_eq!(
                ask(&mut world, Some("3/0/512")),
                (Code::CONTENT, block("3/1/512"), at(3, 512)),
                "{act:?}: once only"
            );
        }
        assert!(
            world
                .served
                .iter()
                .any(|event| matches!(event, RepositoryEvent::Faulted { fault: 0, .. })),
            "{act:?}"
        );
    }
}

#[test]
fn options_of_an_answer_can_be_faulty_too() {
    let mut world = world(
        2000,
        [
            Fault::new(On::Every, Act::ETag(vec![0xb2])),
            Fault::new(On::Every, Act::Size2(7)),
        ],
    );
    ask(&mut world, None);
    assert_eq!(build::get_option(&world.answers[0], option::ETAG), Some(&[0xb2][..]));
    assert_eq!(build::get_uint(&world.answers[0], option::SIZE2), Some(7));
    world.repository().files().clear_faults();
    world.repository().files().add_fault(Fault::new(
        On::Every,
        Act::Code {
            code: Code::SERVICE_UNAVAILABLE,
            max_age: Some(5),
        },
    ));
    ask(&mut world, None);
    assert_eq!(build::get_uint(&world.answers[1], option::MAX_AGE), Some(5));
}

#[test]
fn faults_choose_their_requests() {
    for (on, hits) in [
        (On::Every, [true, true, true, true, true]),
        (On::Block(0), [true, true, false, false, false]),
        (On::From(3), [false, false, false, true, true]),
        (On::Multiple(3), [true, true, false, true, true]),
        (On::WithoutBlock2, [true, false, false, false, false]),
    ] {
        let mut world = world(
            20480,
            [Fault::new(
                on,
                Act::Code {
                    code: Code::INTERNAL_SERVER_ERROR,
                    max_age: None,
                },
            )],
        );
        let asked = [None, Some("0/0/512"), Some("2/0/512"), Some("3/0/512"), Some("6/0/512")];
        assert_eq!(asked.map(|block| ask(&mut world, block).0.is_error()), hits, "{on:?}");
    }
    let mut world = world(
        200,
        [Fault {
            path: Some("/other".into()),
            ..Fault::new(On::Every, Act::Silence)
        }],
    );
    assert_eq!(ask(&mut world, None).0, Code::CONTENT);
}

#[test]
fn a_held_request_is_answered_on_release() {
    let mut world = world(20480, [Fault::new(On::Block(4), Act::Hold)]);
    assert_eq!(ask(&mut world, Some("4/0/512")).0, Code::EMPTY);
    world.run(Duration::from_secs(50));
    assert_eq!(world.repository().files().held(), 1);
    assert!(world.answers.is_empty());
    let now = world.now;
    assert_eq!(world.repository().release(now), 1);
    world.run(SECOND);
    assert_eq!(build::block2(&world.answers[0]), BlockValue::new(4, true, Szx::S512));
    insta::assert_snapshot!("held_ladder", world.ladder.join("\n"));
}

#[test]
fn separate_responses_in_each_order() {
    let mut ladders = String::new();
    for ack in [EmptyAck::First, EmptyAck::After, EmptyAck::Never] {
        let mut world = world(20480, [Fault::new(On::Every, Act::Separate { delay: SECOND, ack })]);
        world.ask(get("/fw/v2.bin", Some("1/0/64")));
        world.run(Duration::from_millis(1500));
        assert_eq!(world.answers.len(), 1, "{ack:?}");
        ladders += &format!("{ack:?}\n{}\n", world.ladder.join("\n"));
    }
    insta::assert_snapshot!("separate_ladders", ladders);
}

#[test]
fn an_answer_goes_out_twice_or_once_more_later() {
    let mut world = world(
        20480,
        [
            Fault::new(On::Block(1), Act::Duplicate),
            Fault::new(On::Block(8), Act::Replay(5)),
        ],
    );
    for num in [1, 5, 8] {
        ask(&mut world, Some(&format!("{num}/0/512")));
    }
    let sent: Vec<_> = world
        .ladder
        .iter()
        .filter(|line| line.contains("->"))
        .map(|line| &line[8..])
        .collect();
    assert_eq!(sent.len(), 5, "{sent:?}");
    assert_eq!(sent[0], sent[1], "twice");
    assert_eq!(sent[2], sent[3], "block 5 once more before block 8");
    assert!(sent[4].contains("B2 8/1/512"));
}

#[test]
fn a_lost_answer_comes_again_to_the_same_request() {
    let mut world = world(20480, []);
    world.loss = Box::new(|count, _| count == 1);
    world.ask(get("/fw/v2.bin", Some("7/0/64")));
    world.run(Duration::from_secs(5));
    assert_eq!(world.answers.len(), 1);
    let gets = world
        .served
        .iter()
        .filter(|event| matches!(event, RepositoryEvent::Get { .. }))
        .count();
    assert_eq!(gets, 1, "a resend is no new request");
    assert!(matches!(
        world.served.back(),
        Some(RepositoryEvent::Repeated { count: 2, .. })
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever sizes the two sides prefer, the file arrives byte for byte.
    #[test]
    fn a_fetch_gets_the_file(length in 0usize..3000, served in 0u8..=6, asked_szx in proptest::option::of(0u8..=6)) {
        let mut world = world(length, []);
        world.repository().files().set_szx(Szx::new(served).unwrap());
        let early = asked_szx.and_then(Szx::new);
        let mut fetch = Block2Fetch::new(FetchConfig { early, ..FetchConfig::default() });
        let mut got = Vec::new();
        while let Some(next) = fetch.next_request() {
            let block = next.block2.map(|block| block.to_string());
            let before = world.answers.len();
            asked(&mut world, get("/fw/v2.bin", block.as_deref()));
            let packet = &world.answers[before];
            let response = FetchResponse {
                code: packet.header.code.into(),
                block2: build::block2(packet),
                etag: build::get_option(packet, option::ETAG),
                payload_len: packet.payload.len(),
                size2: None,
            };
            match fetch.on_response(&response) {
                FetchStep::Store { offset, .. } => {
                    prop_assert_eq!(offset, got.len() as u64);
                    got.extend_from_slice(&packet.payload);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(got, body(length).to_vec());
    }
}
