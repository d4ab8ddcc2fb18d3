//! RFC 7959: whole bodies between two endpoints over a lossy wire.

mod pair;

use coap_lite::Packet;
use fotaproof_coap::{Event, Request, blockwise::*};
use fotaproof_wire::coap::{Code, Szx, build, option};
use pair::*;
use proptest::prelude::*;

fn body(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 31 + index / 251) as u8).collect()
}

/// Pushes a body and gives what was received, with how the transfer ended.
fn push(pair: &mut Pair, bytes: &[u8], szx: Szx, config: ReceiveConfig) -> (Vec<u8>, Option<Code>) {
    let mut send = Block1Send::new(bytes.len() as u64, szx);
    let mut receive = Block1Receive::new(config);
    let (mut stored, mut outcome) = (Vec::new(), None);
    let token = pair.client.draw_token(4);
    while let Some(step) = send.next_step() {
        let mut packet = packet(
            Code::PUT,
            "/5/0/0",
            &bytes[step.range.start as usize..step.range.end as usize],
        );
        build::set_block1(&mut packet, step.block);
        pair.client
            .request(pair.now, server(), Request::confirmable(packet).with_token(token));
        let before = pair.client_events.len();
        while pair.client_events.len() == before {
            let end = pair.now + ms(1000);
            pair.run(end, |endpoint, now, id, request| {
                let arrival = BlockArrival {
                    from: client(),
                    request_tag: None,
                    block: block_option(&request, option::BLOCK1).unwrap(),
                    payload_len: request.payload.len(),
                    size1: None,
                };
                let step = receive.on_block(now, &arrival);
                match step {
                    ReceiveStep::Continue { offset, .. } | ReceiveStep::Complete { offset, .. } => {
                        stored.truncate(offset as usize);
                        stored.extend_from_slice(&request.payload);
                    }
                    _ => {}
                }
                let mut response = Pair::answer(step.code().unwrap_or(Code::CHANGED));
                if let Some(answer) = step.answer() {
                    build::set_block1(&mut response, answer);
                }
                endpoint.respond(now, id, response);
            });
        }
        match &pair.client_events[before] {
            Event::Response { packet, .. } => {
                let code = Code::from(packet.header.code);
                match send.on_response(code, block_option(packet, option::BLOCK1), None) {
                    SendStep::Next | SendStep::Restart { .. } => {}
                    SendStep::Done(code) => outcome = Some(code),
                    SendStep::Failed(_) => return (stored, None),
                }
            }
            Event::DuplicateResponse { .. } => {}
            _ => return (stored, None),
        }
    }
    (stored, outcome)
}

fn pull(pair: &mut Pair, bytes: &[u8], early: Option<Szx>, preferred: Szx) -> Option<Vec<u8>> {
    let mut fetch = Block2Fetch::new(FetchConfig {
        early,
        ..FetchConfig::default()
    });
    let mut stored = Vec::new();
    while let Some(request) = fetch.next_request() {
        let mut packet = packet(Code::GET, "/fw", b"");
        if let Some(block) = request.block2 {
            build::set_block2(&mut packet, block);
        }
        let exchange = pair.client.request(pair.now, server(), Request::confirmable(packet));
        let answer = loop {
            let end = pair.now + ms(1000);
            pair.run(end, |endpoint, now, id, request| {
                let mut response = Pair::answer(Code::CONTENT);
                match serve(bytes.len() as u64, block_option(&request, option::BLOCK2), preferred) {
                    Serve::Whole(range) => response.payload = bytes[range.start as usize..range.end as usize].to_vec(),
                    Serve::Block { block, range } => {
                        build::set_block2(&mut response, block);
                        response.payload = bytes[range.start as usize..range.end as usize].to_vec();
                    }
                    Serve::BeyondEnd | Serve::Bad => response = Pair::answer(Code::BAD_REQUEST),
                }
                endpoint.respond(now, id, response);
            });
            let answer = pair.client_events.iter().find_map(|event| match event {
                Event::Response {
                    exchange: id, packet, ..
                } if *id == exchange => Some(Ok(packet.clone())),
                Event::Failed { exchange: id, .. } if *id == exchange => Some(Err(())),
                _ => None,
            });
            if let Some(answer) = answer {
                break answer;
            }
        };
        let packet: Packet = answer.ok()?;
        let response = FetchResponse {
            code: packet.header.code.into(),
            block2: block_option(&packet, option::BLOCK2),
            etag: None,
            payload_len: packet.payload.len(),
            size2: None,
        };
        match fetch.on_response(&response) {
            FetchStep::Store { done, .. } => {
                stored.extend_from_slice(&packet.payload);
                if done {
                    return Some(stored);
                }
            }
            FetchStep::Failed(_) => return None,
            _ => {}
        }
    }
    None
}

#[test]
fn a_push_in_which_the_server_asks_for_less() {
    let bytes = body(4000);
    let mut pair = Pair::new(fixed(), fixed());
    let config = ReceiveConfig {
        max_szx: Szx::S256,
        ..ReceiveConfig::default()
    };
    assert_eq!(
        push(&mut pair, &bytes, Szx::S1024, config),
        (bytes, Some(Code::CHANGED))
    );
    insta::assert_snapshot!("push_reduced", first_lines(&pair, 6));
}

#[test]
fn a_pull_in_which_the_server_sends_less() {
    let bytes = body(1000);
    let mut pair = Pair::new(fixed(), fixed());
    assert_eq!(pull(&mut pair, &bytes, Some(Szx::S512), Szx::S128), Some(bytes));
    insta::assert_snapshot!("pull_reduced", first_lines(&pair, 4));
}

/// Without tokens and message IDs, which come from the seed.
fn first_lines(pair: &Pair, lines: usize) -> String {
    let plain = |line: &String| {
        let words = line
            .split(' ')
            .filter(|word| !word.starts_with("mid=") && !word.starts_with("tok="));
        words.collect::<Vec<_>>().join(" ")
    };
    pair.log.iter().take(lines).map(plain).collect::<Vec<_>>().join("\n")
}

/// Loses datagrams by the pattern, in both directions, but no exchange five times.
fn lossy(pattern: Vec<Fate>) -> Box<dyn FnMut(bool, usize) -> Fate> {
    let (mut index, mut lost) = (0, 0);
    Box::new(move |up, _| {
        index += 1;
        let fate = pattern[index % pattern.len()];
        if fate == Fate::Drop && lost < 4 {
            lost += 1;
            return Fate::Drop;
        }
        if !up {
            lost = 0;
        }
        if fate == Fate::Drop { Fate::Pass } else { fate }
    })
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        4 => Just(Fate::Pass),
        2 => Just(Fate::Drop),
        1 => Just(Fate::Twice),
        1 => (1_u64..1500).prop_map(|late| Fate::Late(ms(late))),
    ];
    proptest::collection::vec(fate, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is lost, doubled or delayed: a transfer that ends well has delivered the body, byte for byte and once.
    #[test]
    fn a_push_that_ends_well_is_intact(pattern in fates(), len in 0_usize..3000, szx in 0_u8..=6, reduced in 0_u8..=6) {
        let bytes = body(len);
        let mut pair = Pair::new(fixed(), fixed());
        pair.fate = lossy(pattern);
        let config = ReceiveConfig { max_szx: Szx::new(reduced).unwrap(), ..ReceiveConfig::default() };
        let (stored, outcome) = push(&mut pair, &bytes, Szx::new(szx).unwrap(), config);
        if outcome.is_some() {
            prop_assert_eq!(stored, bytes);
        }
    }

    /// As long as no exchange is lost five times, every body gets through.
    #[test]
    fn bounded_losses_stop_nothing(losses in proptest::collection::vec(any::<bool>(), 1..40), len in 1_usize..2000) {
        let fate = |lost: &bool| if *lost { Fate::Drop } else { Fate::Pass };
        let pattern: Vec<_> = losses.iter().map(fate).collect();
        let bytes = body(len);
        let mut pair = Pair::new(fixed(), fixed());
        pair.fate = lossy(pattern.clone());
        prop_assert_eq!(push(&mut pair, &bytes, Szx::S128, ReceiveConfig::default()), (bytes.clone(), Some(Code::CHANGED)));
        let mut pair = Pair::new(fixed(), fixed());
        pair.fate = lossy(pattern);
        prop_assert_eq!(pull(&mut pair, &bytes, None, Szx::S128), Some(bytes));
    }

    #[test]
    fn a_pull_that_ends_well_is_intact(pattern in fates(), len in 0_usize..3000, early in proptest::option::of(0_u8..=6), preferred in 0_u8..=6) {
        let bytes = body(len);
        let mut pair = Pair::new(fixed(), fixed());
        pair.fate = lossy(pattern);
        let early = early.and_then(Szx::new);
        if let Some(stored) = pull(&mut pair, &bytes, early, Szx::new(preferred).unwrap()) {
            prop_assert_eq!(stored, bytes);
        }
    }

    /// Bytes from outside never bring an endpoint down.
    #[test]
    fn any_bytes(datagrams in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20)) {
        let mut pair = Pair::new(fixed(), fixed());
        pair.client.request(ms(0), server(), get("/1").with_message_id(1));
        for bytes in &datagrams {
            pair.client.handle_datagram(ms(1), server(), bytes);
            pair.inject(bytes);
        }
        pair.run_plain(ms(100_000));
    }

    /// Nor do they bring down a careless one.
    #[test]
    fn any_bytes_with_every_parser_quirk(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let quirks = fotaproof_coap::Quirks {
            version_unchecked: true,
            token_length_unchecked: true,
            option_overrun: true,
            bare_marker: fotaproof_coap::BareMarker::Nul,
            critical_ignored: true,
            first_of_repeated: true,
            unknown_method_is_get: true,
            ..fotaproof_coap::Quirks::default()
        };
        let mut pair = Pair::new(fixed(), fotaproof_coap::Config { quirks, ..fixed() });
        pair.inject(&bytes);
        pair.run_plain(ms(10));
    }
}
