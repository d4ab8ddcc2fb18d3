//! Pushes of the reference server: what a correct server does, and the orders that cases ask for.

use core::time::Duration;
use std::cell::RefCell;
use std::rc::Rc;

use crate::world::{Side, World, answer, server_address};
use bytes::Bytes;
use coap_lite::Packet;
use fotaproof_coap::Token;
use fotaproof_coap::blockwise::{Block1Receive, BlockArrival, ReceiveConfig, ReceiveStep};
use fotaproof_lwm2m::server::{
    BlockStep, OnIncomplete, OpFailure, OpId, PushOutcome, PushSpec, PushToken, Server, ServerConfig, ServerEvent,
    TokenChoice,
};
use fotaproof_wire::LwPath;
use fotaproof_wire::coap::{BlockValue, Code, Szx, Type, build, option};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);
const PACKAGE: LwPath = LwPath::resource(5, 0, 0);

/// What the device got: requests in their order, and the body once it is whole.
#[derive(Default)]
struct Device {
    requests: Vec<Packet>,
    body: Vec<u8>,
    whole: Option<Vec<u8>>,
}

/// A registered device that receives bodies, unless it has another answer for a block.
fn receiving(
    config: ReceiveConfig,
    mut instead: impl FnMut(BlockValue) -> Option<Packet> + 'static,
) -> (World, Rc<RefCell<Device>>) {
    let mut world = World::new(Side::Server(Server::new(ServerConfig::default())));
    world.register("ep=dev&lt=0&lwm2m=1.1");
    world.events.clear();
    world.ladder.clear();
    let device = Rc::new(RefCell::new(Device::default()));
    let kept = Rc::clone(&device);
    let mut receiver = Block1Receive::new(config);
    world.script = Box::new(move |endpoint, now, id, packet| {
        let mut device = kept.borrow_mut();
        device.requests.push(packet.clone());
        let Some(block) = build::block1(packet) else {
            device.whole = Some(packet.payload.clone());
            return endpoint.respond(now, id, answer(Code::CHANGED));
        };
        if let Some(reply) = instead(block) {
            return endpoint.respond(now, id, reply);
        }
        let arrival = BlockArrival {
            from: server_address(),
            request_tag: None,
            block,
            payload_len: packet.payload.len(),
            size1: None,
        };
        let step = receiver.on_block(now, &arrival);
        if let ReceiveStep::Continue { offset, .. } | ReceiveStep::Complete { offset, .. } = step {
            device.body.truncate(offset as usize);
            device.body.extend_from_slice(&packet.payload);
        }
        let mut reply = answer(step.code().unwrap_or(Code::CHANGED));
        if let Some(block) = step.answer() {
            build::set_block1(&mut reply, block);
        }
        if matches!(step, ReceiveStep::Complete { .. }) {
            device.whole = Some(device.body.clone());
        }
        endpoint.respond(now, id, reply);
    });
    (world, device)
}

fn body(length: usize) -> Bytes {
    (0..length).map(|index| (index * 7 + index / 251) as u8).collect()
}

fn spec(length: usize) -> PushSpec {
    PushSpec::new(PACKAGE, body(length))
}

fn push(world: &mut World, spec: PushSpec) -> OpId {
    let now = world.now;
    let op = world.server().push(now, spec);
    world.run(Duration::from_secs(200));
    op
}

/// Each block with its answer, and the ends and pauses.
fn told(world: &mut World) -> (Vec<String>, Vec<PushOutcome>) {
    let (mut blocks, mut outcomes) = (Vec::new(), Vec::new());
    for event in world.events.drain(..) {
        match event {
            ServerEvent::PushBlock { block, code, .. } => blocks.push(format!("{block} {code}")),
            ServerEvent::PushEnded { outcome, .. } => outcomes.push(outcome),
            _ => {}
        }
    }
    (blocks, outcomes)
}

fn complete() -> Vec<PushOutcome> {
    vec![PushOutcome::Complete { code: Code::CHANGED }]
}

#[test]
fn twenty_kilobytes_are_forty_blocks() {
    let (mut world, device) = receiving(ReceiveConfig::default(), |_| None);
    push(&mut world, spec(20480));
    let (blocks, outcomes) = told(&mut world);
    assert_eq!(outcomes, complete());
    assert_eq!(
        (blocks.len(), blocks[0].as_str(), blocks[39].as_str()),
        (40, "0/1/512 2.31", "39/0/512 2.04")
    );
    let device = device.borrow();
    assert_eq!(device.whole.as_deref(), Some(&body(20480)[..]));
    let first = &device.requests[0];
    assert_eq!(Code::from(first.header.code), Code::PUT);
    assert_eq!(build::content_format(first), Some(42));
    assert!(
        device
            .requests
            .iter()
            .all(|request| request.get_token() == first.get_token()),
        "one token"
    );
    assert!(
        device
            .requests
            .windows(2)
            .all(|pair| pair[0].header.message_id != pair[1].header.message_id),
        "new message ids"
    );
    assert_eq!(world.ladder.len(), 80, "one request and one answer for each block");
}

#[test]
fn sizes_around_a_whole_block() {
    for (length, blocks) in [(0, 1), (1, 1), (511, 1), (512, 1), (513, 2), (1024, 2), (1025, 3)] {
        let (mut world, device) = receiving(ReceiveConfig::default(), |_| None);
        push(&mut world, spec(length));
        let (told, outcomes) = told(&mut world);
        assert_eq!((told.len(), outcomes), (blocks, complete()), "{length}");
        assert_eq!(device.borrow().whole.as_deref(), Some(&body(length)[..]), "{length}");
    }
}

#[test]
fn a_small_body_may_go_without_block1() {
    let (mut world, device) = receiving(ReceiveConfig::default(), |_| None);
    push(
        &mut world,
        PushSpec {
            plain_if_single: true,
            ..spec(500)
        },
    );
    assert_eq!(told(&mut world).1, complete());
    let device = device.borrow();
    assert!(build::block1(&device.requests[0]).is_none());
    assert_eq!(device.whole.as_deref(), Some(&body(500)[..]));
}

#[test]
fn a_smaller_size_in_the_answer_is_followed_and_renumbered() {
    let (mut world, device) = receiving(
        ReceiveConfig {
            max_szx: Szx::S256,
            ..ReceiveConfig::default()
        },
        |_| None,
    );
    push(
        &mut world,
        PushSpec {
            szx: Szx::S1024,
            ..spec(3000)
        },
    );
    let (blocks, outcomes) = told(&mut world);
    assert_eq!(outcomes, complete());
    assert_eq!(blocks[..2], ["0/1/1024 2.31", "4/1/256 2.31"]);
    assert_eq!(device.borrow().whole.as_deref(), Some(&body(3000)[..]));
}

#[test]
fn a_hint_in_a_4_13_is_followed_from_the_start() {
    let config = ReceiveConfig {
        max_szx: Szx::S64,
        refuse_larger: true,
        ..ReceiveConfig::default()
    };
    let (mut world, device) = receiving(config.clone(), |_| None);
    push(&mut world, spec(200));
    let (blocks, outcomes) = told(&mut world);
    assert_eq!(
        blocks,
        [
            "0/0/512 4.13",
            "0/1/64 2.31",
            "1/1/64 2.31",
            "2/1/64 2.31",
            "3/0/64 2.04"
        ]
    );
    assert_eq!(outcomes, complete());
    assert_eq!(device.borrow().whole.as_deref(), Some(&body(200)[..]));

    let (mut world, _) = receiving(config, |_| None);
    push(
        &mut world,
        PushSpec {
            follow_hint: false,
            ..spec(200)
        },
    );
    assert!(matches!(
        told(&mut world).1[..],
        [PushOutcome::Refused {
            code: Code::REQUEST_ENTITY_TOO_LARGE,
            ..
        }]
    ));
}

/// A device that answers block 3 with a code, so many times.
fn stumbling(code: Code, times: u32, max_age: Option<u64>) -> (World, Rc<RefCell<Device>>) {
    let mut left = times;
    receiving(ReceiveConfig::default(), move |block| {
        if block.num != 3 || left == 0 {
            return None;
        }
        left -= 1;
        let mut reply = answer(code);
        if let Some(max_age) = max_age {
            build::set_uint(&mut reply, option::MAX_AGE, max_age);
        }
        Some(reply)
    })
}

#[test]
fn a_4_08_starts_again_so_many_times() {
    let (mut world, device) = stumbling(Code::REQUEST_ENTITY_INCOMPLETE, 3, None);
    push(&mut world, spec(4096));
    let (blocks, outcomes) = told(&mut world);
    assert_eq!((blocks.len(), outcomes), (3 * 4 + 8, complete()));
    assert_eq!(device.borrow().whole.as_deref(), Some(&body(4096)[..]));

    for (spec, tries) in [
        (spec(4096), 4),
        (
            PushSpec {
                on_incomplete: OnIncomplete::Fail,
                ..spec(4096)
            },
            1,
        ),
    ] {
        let (mut world, _) = stumbling(Code::REQUEST_ENTITY_INCOMPLETE, 100, None);
        push(&mut world, spec);
        let (blocks, outcomes) = told(&mut world);
        assert_eq!(blocks.len(), 4 * tries);
        let block = BlockValue::new(3, true, Szx::S512).unwrap();
        assert_eq!(
            outcomes,
            [PushOutcome::Refused {
                code: Code::REQUEST_ENTITY_INCOMPLETE,
                block
            }]
        );
    }
}

#[test]
fn a_busy_device_is_asked_again_after_its_time() {
    let (mut world, _) = stumbling(Code::SERVICE_UNAVAILABLE, 1, Some(10));
    let start = world.now;
    push(
        &mut world,
        PushSpec {
            retry_busy: true,
            ..spec(2048)
        },
    );
    assert_eq!(told(&mut world).1, complete());
    let last = world
        .ladder
        .iter()
        .rev()
        .find(|line| line.contains("->"))
        .expect("blocks were sent");
    let at: f64 = last
        .split_whitespace()
        .next()
        .and_then(|time| time.parse().ok())
        .unwrap();
    assert!((at - start.as_secs_f64() - 10.16).abs() < 0.001, "{last}");

    let (mut world, _) = stumbling(Code::SERVICE_UNAVAILABLE, 1, Some(10));
    push(&mut world, spec(2048));
    assert!(matches!(
        told(&mut world).1[..],
        [PushOutcome::Refused {
            code: Code::SERVICE_UNAVAILABLE,
            ..
        }]
    ));
}

#[test]
fn an_order_with_a_gap_is_sent_to_its_end() {
    let (mut world, device) = receiving(ReceiveConfig::default(), |_| None);
    let blocks = [0, 1, 3, 2, 3].map(BlockStep::from).to_vec();
    push(
        &mut world,
        PushSpec {
            blocks: Some(blocks.clone()),
            ..spec(2048)
        },
    );
    let (blocks_told, outcomes) = told(&mut world);
    assert_eq!(
        blocks_told,
        [
            "0/1/512 2.31",
            "1/1/512 2.31",
            "3/0/512 4.08",
            "2/1/512 2.31",
            "3/0/512 2.04"
        ]
    );
    assert_eq!(outcomes, [PushOutcome::Scripted { code: Code::CHANGED }]);
    assert_eq!(device.borrow().whole.as_deref(), Some(&body(2048)[..]));

    let (mut world, _) = receiving(ReceiveConfig::default(), |_| None);
    push(
        &mut world,
        PushSpec {
            blocks: Some(blocks),
            stop_on_error: true,
            ..spec(2048)
        },
    );
    assert!(matches!(
        told(&mut world).1[..],
        [PushOutcome::Refused {
            code: Code::REQUEST_ENTITY_INCOMPLETE,
            ..
        }]
    ));
}

#[test]
fn scripted_blocks_may_contradict_themselves() {
    let (mut world, device) = receiving(ReceiveConfig::default(), |_| None);
    let blocks = vec![
        BlockStep {
            length: Some(100),
            ..BlockStep::from(0)
        },
        BlockStep {
            length: Some(600),
            ..BlockStep::from(0)
        },
        BlockStep {
            more: Some(true),
            ..BlockStep::from(3)
        },
        BlockStep {
            szx: Some(Szx::S128),
            ..BlockStep::from(5)
        },
    ];
    push(
        &mut world,
        PushSpec {
            blocks: Some(blocks),
            ..spec(2048)
        },
    );
    let sent: Vec<_> = device
        .borrow()
        .requests
        .iter()
        .map(|request| (build::block1(request).unwrap().to_string(), request.payload.len()))
        .collect();
    let wanted = [("0/1/512", 100), ("0/1/512", 600), ("3/1/512", 512), ("5/1/128", 128)];
    assert_eq!(sent, wanted.map(|(block, length)| (block.to_owned(), length)));
    assert_eq!(device.borrow().requests[3].payload, body(2048)[640..768]);
}

#[test]
fn a_push_pauses_and_goes_on() {
    let (mut world, device) = receiving(ReceiveConfig::default(), |_| None);
    let now = world.now;
    let op = world.server().push(
        now,
        PushSpec {
            stop_after: Some(10),
            ..spec(20480)
        },
    );
    world.run(SECOND);
    let (blocks, outcomes) = told(&mut world);
    assert_eq!((blocks.len(), outcomes), (10, vec![PushOutcome::Paused { next: 10 }]));
    assert!(!world.server().is_running(op));
    let now = world.now;
    assert!(world.server().resume_push(now, op, None, Some(5)));
    world.run(SECOND);
    assert_eq!(told(&mut world).1, [PushOutcome::Paused { next: 15 }]);
    let now = world.now;
    assert!(world.server().resume_push(now, op, Some(15), None));
    assert!(!world.server().resume_push(now, op, None, None), "it runs");
    world.run(Duration::from_secs(10));
    assert_eq!(told(&mut world).1, complete());
    assert_eq!(device.borrow().whole.as_deref(), Some(&body(20480)[..]));
    let now = world.now;
    assert!(!world.server().resume_push(now, op, None, None), "nothing is left");
}

#[test]
fn a_second_push_goes_on_in_smaller_blocks() {
    let (mut world, device) = receiving(ReceiveConfig::default(), |_| None);
    push(
        &mut world,
        PushSpec {
            stop_after: Some(8),
            ..spec(8192)
        },
    );
    push(
        &mut world,
        PushSpec {
            szx: Szx::S128,
            from_block: 32,
            ..spec(8192)
        },
    );
    let (blocks, outcomes) = told(&mut world);
    assert_eq!(blocks[8], "32/1/128 2.31");
    assert_eq!(
        outcomes,
        [
            PushOutcome::Paused { next: 8 },
            PushOutcome::Complete { code: Code::CHANGED }
        ]
    );
    assert_eq!(device.borrow().whole.as_deref(), Some(&body(8192)[..]));
}

#[test]
fn blocks_are_sent_again_byte_for_byte() {
    let (mut world, _) = receiving(ReceiveConfig::default(), |_| None);
    let op = push(&mut world, spec(100 * 512));
    assert_eq!(told(&mut world).1, complete());
    let sent = |world: &World, num: &str| -> Vec<String> {
        let wanted = format!("B1 {num}/");
        world
            .ladder
            .iter()
            .filter(|line| line.contains("->") && line.contains(&wanted))
            .map(|line| line[8..].to_owned())
            .collect()
    };
    for num in [99, 0, 36] {
        let now = world.now;
        assert!(world.server().resend_block(now, op, num), "{num}");
        world.run(SECOND);
        let lines = sent(&world, &num.to_string());
        assert_eq!(lines.len(), 2, "{num}: {lines:?}");
        assert_eq!(lines[0], lines[1]);
    }
    let now = world.now;
    assert!(!world.server().resend_block(now, op, 35), "older than the latest 64");
    assert!(
        told(&mut world).0.is_empty(),
        "an answer to a resend is no answer to a block"
    );
}

#[test]
fn the_block_in_flight_is_sent_again_on_demand() {
    let (mut world, _) = receiving(ReceiveConfig::default(), |_| None);
    world.loss = Box::new({
        let mut lost = false;
        move |_, bytes| bytes[0] >> 4 & 3 == Type::Ack.bits() && !core::mem::replace(&mut lost, true)
    });
    let now = world.now;
    let op = world.server().push(
        now,
        PushSpec {
            retransmit: false,
            ..spec(1024)
        },
    );
    world.run(Duration::from_secs(20));
    assert!(
        told(&mut world).0.is_empty(),
        "the ACK is lost and nothing is retransmitted"
    );
    let now = world.now;
    assert!(world.server().resend(now, op));
    world.run(SECOND);
    assert_eq!(told(&mut world).1, complete());
}

#[test]
fn silence_ends_a_push_or_makes_its_blocks_smaller() {
    let too_big = |_: usize, bytes: &[u8]| bytes.len() > 300;
    let (mut world, _) = receiving(ReceiveConfig::default(), |_| None);
    world.loss = Box::new(too_big);
    push(&mut world, spec(2048));
    let block = BlockValue::new(0, true, Szx::S512).unwrap();
    assert_eq!(
        told(&mut world).1,
        [PushOutcome::Failed {
            reason: OpFailure::TimedOut,
            block
        }]
    );
    assert_eq!(world.ladder.len(), 5);

    let (mut world, device) = receiving(ReceiveConfig::default(), |_| None);
    world.loss = Box::new(too_big);
    push(
        &mut world,
        PushSpec {
            step_down: true,
            ..spec(2048)
        },
    );
    assert_eq!(told(&mut world).1, complete());
    assert_eq!(device.borrow().whole.as_deref(), Some(&body(2048)[..]));
}

#[test]
fn a_push_is_cancelled_or_superseded() {
    for superseded in [false, true] {
        let (mut world, _) = receiving(ReceiveConfig::default(), |_| None);
        world.script = Box::new(|endpoint, _, id, _| endpoint.ignore(id));
        let now = world.now;
        let op = world.server().push(now, spec(2048));
        world.run(SECOND);
        let reason = if superseded {
            world.restart_peer(2000);
            world.register("ep=dev&lwm2m=1.1");
            OpFailure::Superseded
        } else {
            let now = world.now;
            world.server().cancel(now, op);
            world.run(SECOND);
            OpFailure::Cancelled
        };
        let block = BlockValue::new(0, true, Szx::S512).unwrap();
        assert_eq!(told(&mut world).1, [PushOutcome::Failed { reason, block }]);
        world.ladder.clear();
        world.run(Duration::from_secs(100));
        assert!(world.ladder.is_empty(), "no more of it:\n{}", world.ladder.join("\n"));
    }
}

#[test]
fn tokens_options_and_pauses_as_asked() {
    let (mut world, device) = receiving(ReceiveConfig::default(), |_| None);
    let start = world.now;
    push(
        &mut world,
        PushSpec {
            token: PushToken::PerBlock(TokenChoice::Length(8)),
            size1: Some(2048),
            content_format: None,
            extra_options: vec![(option::REQUEST_TAG, vec![7])],
            interval: SECOND,
            ..spec(2048)
        },
    );
    assert_eq!(told(&mut world).1, complete());
    let device = device.borrow();
    let mut tokens: Vec<_> = device
        .requests
        .iter()
        .map(|request| request.get_token().to_vec())
        .collect();
    assert!(tokens.iter().all(|token| token.len() == 8));
    tokens.dedup();
    assert_eq!(tokens.len(), 4, "a new one for each block");
    let size1: Vec<_> = device
        .requests
        .iter()
        .map(|request| build::get_uint(request, option::SIZE1))
        .collect();
    assert_eq!(size1, [Some(2048), None, None, None]);
    assert!(
        device
            .requests
            .iter()
            .all(|request| build::get_option(request, option::REQUEST_TAG) == Some(&[7][..]))
    );
    assert!(
        device
            .requests
            .iter()
            .all(|request| build::content_format(request).is_none())
    );
    let sends: Vec<_> = world
        .ladder
        .iter()
        .filter(|line| line.contains("->"))
        .map(|line| line[..7].trim().parse::<f64>().unwrap())
        .collect();
    assert!(
        sends.windows(2).all(|pair| (pair[1] - pair[0] - 1.04).abs() < 0.002),
        "{sends:?} from {start:?}"
    );
}

#[test]
fn a_token_of_no_bytes_serves_every_block() {
    let (mut world, device) = receiving(ReceiveConfig::default(), |_| None);
    push(
        &mut world,
        PushSpec {
            token: PushToken::One(TokenChoice::Fixed(Token::EMPTY)),
            ..spec(2048)
        },
    );
    assert_eq!(told(&mut world).1, complete());
    assert!(
        device
            .borrow()
            .requests
            .iter()
            .all(|request| request.get_token().is_empty())
    );
}

#[test]
fn more_blocks_than_can_be_numbered_are_refused_beforehand() {
    let (mut world, _) = receiving(ReceiveConfig::default(), |_| None);
    push(
        &mut world,
        PushSpec {
            szx: Szx::S16,
            body: Bytes::from(vec![0; (16 << 20) + 1]),
            ..spec(0)
        },
    );
    assert_eq!(told(&mut world).1, [PushOutcome::TooManyBlocks]);
    assert!(world.ladder.is_empty());
}

#[test]
fn a_push_without_a_device_fails() {
    let mut world = World::new(Side::Server(Server::new(ServerConfig::default())));
    push(&mut world, spec(10));
    assert!(matches!(
        told(&mut world).1[..],
        [PushOutcome::Failed {
            reason: OpFailure::NotRegistered,
            ..
        }]
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever sizes the two sides use and whatever is lost now and then, the device has the body in the end.
    #[test]
    fn every_byte_arrives(length in 0usize..3000, server in 0u8..=6, device in 0u8..=6, losses in proptest::collection::vec(0usize..400, 0..40)) {
        let config = ReceiveConfig { max_szx: Szx::new(device).unwrap(), ..ReceiveConfig::default() };
        let (mut world, device) = receiving(config, |_| None);
        // of four datagrams two in a row arrive: a block and its answer, before the fifth transmission was in vain
        world.loss = Box::new(move |count, _| losses.contains(&count) && count % 4 > 1);
        let now = world.now;
        world.server().push(now, PushSpec { szx: Szx::new(server).unwrap(), ..spec(length) });
        world.run(Duration::from_secs(6000));
        prop_assert_eq!(told(&mut world).1, complete());
        prop_assert_eq!(device.borrow().whole.clone(), Some(body(length).to_vec()));
    }
}
