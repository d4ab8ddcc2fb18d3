//! Reactions to requests. The snapshot shows each on the wire: time, direction (`<` from the device), message with a number for its message ID.

use fotaproof_lwm2m::{Act, Behaviour, NumSelect, OnRequest};
use fotaproof_wire::LwPath;
use fotaproof_wire::coap::{Code, Szx, content_format};

use super::{at_block, blocks, image, seconds, with};
use crate::rig::{Rig, request};

/// Blocks 0 to 2 at 512, the second of which is met by the behaviour.
fn second_of_three(act: Act) -> String {
    let mut rig = at_block(1, act);
    let line = rig.log.len();
    blocks(&mut rig, 0..3, Szx::S512);
    rig.seconds(8);
    rig.story(line)
}

#[test]
fn every_act_on_the_wire() {
    let busy = Act::Code {
        code: Code::SERVICE_UNAVAILABLE,
        max_age: Some(10),
        block1: None,
        size1: None,
    };
    let hint = Act::Code {
        code: Code::REQUEST_ENTITY_TOO_LARGE,
        max_age: None,
        block1: Some(Szx::S64),
        size1: Some(8192),
    };
    let separate = |seconds_, ack| Act::Separate {
        delay: seconds(seconds_),
        ack,
    };
    let stories = [
        ("5.03 with Max-Age", busy),
        ("4.13 with a smaller size and Size1", hint),
        ("4.08", Act::code(Code::REQUEST_ENTITY_INCOMPLETE)),
        ("2.31 with a smaller size", Act::SmallerBlock(Szx::S256)),
        ("silence: the retransmission is heard", Act::Silence),
        ("the answer is lost: the retransmission gets it again", Act::AnswerLost),
        ("separate after an empty ACK", separate(1, true)),
        ("separate without an ACK before", separate(1, false)),
        ("twice", Act::Twice),
        ("a late copy", Act::LateCopy { delay: seconds(3) }),
        ("piggybacked late", Act::Delay(seconds(5))),
        ("RST", Act::Reset),
        ("a pause of the flash", Act::Pause(seconds(5))),
        ("power cut", Act::PowerCut { off_for: seconds(3) }),
        (
            "a new address",
            Act::Rebind {
                announce_after: seconds(5),
            },
        ),
        ("sleep", Act::Sleep { for_: seconds(4) }),
    ];
    let mut text = String::new();
    for (name, act) in stories {
        text += &format!("{name}\n{}\n", second_of_three(act));
    }
    insta::assert_snapshot!("behaviours", text);
}

#[test]
fn a_separate_response_whose_ack_is_lost_is_two_behaviours() {
    let on = || OnRequest::block(NumSelect::Is(1));
    let separate = Act::Separate {
        delay: seconds(1),
        ack: true,
    };
    let mut rig = with(vec![
        Behaviour::once(on(), separate),
        Behaviour::once(on(), Act::AnswerLost),
    ]);
    let line = rig.log.len();
    assert_eq!(blocks(&mut rig, 0..3, Szx::S512), "2.31 2.31 2.31");
    let story = rig.story(line);
    assert!(!story.contains("< ACK 0.00"), "{story}");
    assert!(story.contains("< CON 2.31 Continue #3 B1 1/1/512"), "{story}");
}

#[test]
fn an_answer_lost_twice_and_then_for_ever() {
    let lost = |num, times| Behaviour {
        times,
        ..Behaviour::always(OnRequest::block(NumSelect::Is(num)), Act::AnswerLost)
    };
    let mut rig = with(vec![lost(3, Some(2)), lost(6, None)]);
    assert_eq!(
        blocks(&mut rig, 0..8, Szx::S512),
        "2.31 2.31 2.31 2.31 2.31 2.31 - 2.04"
    );
    // Block 6 arrived all the same, and once: only the answer is missing.
    assert_eq!(rig.device.truth().blocks_received, 8);
}

#[test]
fn a_body_goes_on_after_a_busy_device_and_begins_anew_after_408() {
    let busy = Act::Code {
        code: Code::SERVICE_UNAVAILABLE,
        max_age: Some(10),
        block1: None,
        size1: None,
    };
    let mut rig = at_block(3, busy);
    assert_eq!(
        blocks(&mut rig, [0, 1, 2, 3, 3, 4, 5, 6, 7], Szx::S512),
        "2.31 2.31 2.31 5.03 2.31 2.31 2.31 2.31 2.04"
    );
    assert_eq!(rig.pair(), "2/0");

    let mut rig = at_block(3, Act::code(Code::REQUEST_ENTITY_INCOMPLETE));
    assert_eq!(blocks(&mut rig, [0, 1, 2, 3, 4], Szx::S512), "2.31 2.31 2.31 4.08 4.08");
    assert_eq!(rig.pair(), "1/0");
    assert_eq!(
        blocks(&mut rig, 0..8, Szx::S512),
        "2.31 2.31 2.31 2.31 2.31 2.31 2.31 2.04"
    );
    assert_eq!(rig.pair(), "2/0");
    // Only the time for another block is left to begin anew.
    let mut rig = at_block(3, Act::code(Code::REQUEST_ENTITY_INCOMPLETE));
    blocks(&mut rig, 0..4, Szx::S512);
    rig.seconds(199);
    assert_eq!(rig.pair(), "1/0");
    rig.seconds(2);
    assert_eq!(rig.pair(), "0/4");
}

#[test]
fn larger_blocks_are_refused_until_the_server_takes_the_hint() {
    let refuse = Behaviour::always(
        OnRequest {
            larger_than: Some(Szx::S64),
            ..OnRequest::block(NumSelect::Is(0))
        },
        Act::Code {
            code: Code::REQUEST_ENTITY_TOO_LARGE,
            max_age: None,
            block1: Some(Szx::S64),
            size1: None,
        },
    );
    let mut rig = with(vec![refuse]);
    let body = image();
    assert_eq!(
        [Szx::S512, Szx::S128, Szx::S64].map(|szx| rig.block(&body, 0, szx)),
        ["4.13", "4.13", "2.31"]
    );
}

#[test]
fn the_place_in_the_body_is_met_whatever_the_block_size() {
    for (szx, num) in [(Szx::S64, 16), (Szx::S256, 4), (Szx::S512, 2)] {
        let on = OnRequest {
            from_byte: Some(1024),
            ..OnRequest::path(LwPath::resource(5, 0, 0))
        };
        let mut rig = with(vec![Behaviour::once(on, Act::code(Code::BAD_REQUEST))]);
        let codes = blocks(&mut rig, 0..=num, szx);
        assert!(codes.ends_with("2.31 4.00"), "{codes}");
    }
}

#[test]
fn numbers_paths_and_methods_select_requests() {
    let refuse = |on| Behaviour::always(on, Act::code(Code::BAD_REQUEST));
    let codes = |on: OnRequest| {
        let mut rig = with(vec![refuse(on)]);
        blocks(&mut rig, [0, 1, 2, 3, 7], Szx::S512)
    };
    assert_eq!(codes(OnRequest::block(NumSelect::From(2))), "2.31 2.31 4.00 4.00 4.00");
    assert_eq!(codes(OnRequest::block(NumSelect::Every(2))), "2.31 4.00 4.08 4.00 4.00");
    assert_eq!(codes(OnRequest::block(NumSelect::Last)), "2.31 2.31 2.31 2.31 4.00");
    let skipped = OnRequest {
        skip: 2,
        ..OnRequest::path(LwPath::object(5))
    };
    assert_eq!(codes(skipped), "2.31 2.31 4.00 4.00 4.00");

    let mut rig = with(vec![refuse(OnRequest::method(Code::GET, LwPath::instance(5, 0)))]);
    assert_eq!(rig.get("/5/0/3"), "4.00");
    assert_eq!(rig.get("/3/0/3"), "1.0.0");
    assert_eq!(rig.put("/5/0/0", content_format::OPAQUE, &[0]), "2.04");
    // A package in one datagram is block 0 and the last.
    let mut rig = with(vec![refuse(OnRequest::block(NumSelect::Last))]);
    assert_eq!(rig.put("/5/0/0", content_format::OPAQUE, b"xy"), "4.00");
    // A NUL package is none at all.
    assert_eq!(rig.put("/5/0/0", content_format::OPAQUE, &[0]), "2.04");
}

#[test]
fn the_first_behaviour_that_fits_is_taken_until_it_is_used_up() {
    let on = || OnRequest::path(LwPath::resource(5, 0, 2));
    let mut rig = with(vec![
        Behaviour::times(on(), Act::code(Code::SERVICE_UNAVAILABLE), 2),
        Behaviour::once(on(), Act::code(Code::BAD_REQUEST)),
    ]);
    let execute = |rig: &mut Rig| rig.code_of(request("0.02", "/5/0/2"));
    let codes: Vec<String> = (0..4).map(|_| execute(&mut rig)).collect();
    assert_eq!(codes.join(" "), "5.03 5.03 4.00 4.05");
}

#[test]
fn a_sleeping_device_keeps_its_body() {
    let mut rig = at_block(3, Act::Sleep { for_: seconds(300) });
    assert_eq!(blocks(&mut rig, 0..4, Szx::S512), "2.31 2.31 2.31 -");
    assert!(rig.device.truth().asleep);
    let line = rig.log.len();
    rig.seconds(300);
    assert!(
        rig.story(line).contains("< CON 0.02 POST #1 /rd/a7"),
        "{}",
        rig.story(line)
    );
    assert_eq!(blocks(&mut rig, 3..8, Szx::S512), "2.31 2.31 2.31 2.31 2.04");
    assert_eq!(rig.pair(), "2/0");
}

#[test]
fn after_a_power_cut_nothing_of_the_push_is_left() {
    let mut rig = at_block(3, Act::PowerCut { off_for: seconds(120) });
    assert_eq!(blocks(&mut rig, 0..4, Szx::S512), "2.31 2.31 2.31 -");
    assert!(!rig.device.truth().powered);
    rig.seconds(60);
    assert_eq!((rig.pair(), rig.get("/3/0/3")), ("0/0".to_owned(), "1.0.0".to_owned()));
    assert_eq!((rig.registrations.len(), rig.device.truth().boots), (2, 2));
}

#[test]
fn behind_a_new_address_the_body_goes_on() {
    let mut rig = at_block(
        3,
        Act::Rebind {
            announce_after: seconds(5),
        },
    );
    assert_eq!(blocks(&mut rig, 0..4, Szx::S512), "2.31 2.31 2.31 2.31");
    let before = rig.address;
    rig.seconds(6);
    assert_ne!(rig.address, before);
    assert_eq!(blocks(&mut rig, 4..8, Szx::S512), "2.31 2.31 2.31 2.04");
}
