//! Situations of the server-role cases that take several settings and behaviours together, and that no mixture of them breaks the device.

use std::time::Duration;

use fotaproof_lwm2m::{Act, Behaviour, DeviceAct, DeviceConfig, NumSelect, OnRequest, Resend};
use fotaproof_wire::LwPath;
use fotaproof_wire::coap::{Code, Szx, content_format};
use proptest::prelude::*;

use super::{blocks, image, seconds, tester, with};
use crate::rig::{FILES, Rig};

const fn block(num: u32) -> NumSelect {
    NumSelect::Is(num)
}

fn once(num: u32, act: Act) -> Behaviour {
    Behaviour::once(OnRequest::block(block(num)), act)
}

/// `srv.late-ack`.
#[test]
fn a_late_ack_falls_between_the_next_block_and_its_ack() {
    let mut rig = with(vec![
        once(5, Act::LateCopy { delay: seconds(3) }),
        once(6, Act::Delay(seconds(4))),
    ]);
    blocks(&mut rig, 0..5, Szx::S512);
    let line = rig.log.len();
    assert_eq!(blocks(&mut rig, 5..8, Szx::S512), "2.31 2.31 2.04");
    insta::assert_snapshot!("late-ack", rig.story(line));
}

/// `srv.retransmit`: with the last of five transmissions the server has to give up.
#[test]
fn an_answer_that_is_lost_five_times_never_comes() {
    let lost = |times| Behaviour::times(OnRequest::block(block(3)), Act::AnswerLost, times);
    for (times, code) in [(4, "2.31"), (5, "-")] {
        let mut rig = with(vec![lost(times)]);
        let line = rig.log.len();
        assert_eq!(blocks(&mut rig, 0..4, Szx::S512), format!("2.31 2.31 2.31 {code}"));
        assert_eq!(rig.story(line).matches("B1 3/1/512 ct=42").count(), 5);
        assert_eq!(rig.device.truth().blocks_received, 4);
    }
}

/// `srv.notify.new-port`.
#[test]
fn downloaded_is_notified_from_a_new_port_before_the_update() {
    let mut rig = Rig::new(DeviceConfig {
        confirmable_notifications: true,
        behaviours: vec![Behaviour::once(
            OnRequest::block(NumSelect::Last),
            Act::Rebind {
                announce_after: seconds(20),
            },
        )],
        ..tester()
    });
    rig.observe("/5/0/3", b"s");
    blocks(&mut rig, 0..7, Szx::S512);
    let line = rig.log.len();
    blocks(&mut rig, [7], Szx::S512);
    rig.seconds(30);
    rig.act(DeviceAct::NotifyWith {
        path: LwPath::resource(5, 0, 3),
        token: vec![0xde, 0xad],
        confirmable: true,
    });
    rig.seconds(5);
    insta::assert_snapshot!("new-port", rig.story(line));
}

/// `srv.queue-mode`: a body goes on after 300 s of sleep.
#[test]
fn asleep_nothing_is_sent_and_nothing_is_heard() {
    let mut rig = Rig::new(DeviceConfig {
        binding: "UQ".to_owned(),
        wake_for: Some(seconds(93)),
        lifetime: 1200,
        behaviours: vec![once(3, Act::Sleep { for_: seconds(300) })],
        ..tester()
    });
    rig.observe("/5/0/3", b"s");
    blocks(&mut rig, 0..4, Szx::S512);
    rig.act(DeviceAct::SetValue(
        LwPath::resource(4, 0, 2),
        fotaproof_wire::Value::Integer(-70),
    ));
    let line = rig.log.len();
    rig.seconds(200);
    assert!(!rig.story(line).contains('<'), "{}", rig.story(line));
    rig.seconds(100);
    assert_eq!(blocks(&mut rig, 3..8, Szx::S512), "2.31 2.31 2.31 2.31 2.04");
}

/// `srv.no-update-loop`.
#[test]
fn the_result_is_gone_after_a_second_restart() {
    let mut rig = Rig::new(tester());
    blocks(&mut rig, 0..8, Szx::S512);
    rig.execute("/5/0/2");
    rig.seconds(10);
    assert_eq!(rig.pair(), "0/1");
    rig.act(DeviceAct::SetPair(0, 0));
    rig.act(DeviceAct::Reboot);
    rig.seconds(5);
    assert_eq!((rig.pair(), rig.get("/3/0/3")), ("0/0".into(), "2.0.0".into()));
    assert_eq!(rig.registrations.len(), 3);
}

/// `srv.405.leftover-package`.
#[test]
fn a_leftover_package_is_in_the_way_until_it_is_reset() {
    let mut rig = Rig::new(DeviceConfig {
        initial_pair: Some((2, 0)),
        behaviours: vec![Behaviour::once(
            OnRequest {
                from_byte: Some(1),
                ..OnRequest::path(LwPath::resource(5, 0, 0))
            },
            Act::code(Code::METHOD_NOT_ALLOWED),
        )],
        ..tester()
    });
    assert_eq!(blocks(&mut rig, [0, 0], Szx::S512), "4.05 4.00");
    assert_eq!((rig.nul(), rig.pair()), ("2.04".into(), "0/0".into()));
    assert_eq!(
        blocks(&mut rig, 0..8, Szx::S512),
        "2.31 2.31 2.31 2.31 2.31 2.31 2.31 2.04"
    );
}

/// `srv.413.final`: a NUL package is no body, so that a reset is not refused.
#[test]
fn a_device_with_little_memory_refuses_every_body() {
    let refuse = Act::Code {
        code: Code::REQUEST_ENTITY_TOO_LARGE,
        max_age: None,
        block1: None,
        size1: Some(8192),
    };
    let mut rig = with(vec![Behaviour::always(OnRequest::block(block(0)), refuse)]);
    let line = rig.log.len();
    assert_eq!(blocks(&mut rig, [0], Szx::S1024), "4.13");
    let story = rig.story(line);
    assert!(
        story.contains("4.13 Request Entity Too Large #1 size1=8192\n"),
        "{story}"
    );
    assert_eq!(rig.put("/5/0/0", content_format::OPAQUE, &image()[..900]), "4.13");
    assert_eq!((rig.nul(), rig.pair()), ("2.04".into(), "0/0".into()));
}

/// Power cut at a byte: a pull goes on from where it was, a push is lost.
#[test]
fn the_power_goes_at_a_byte_of_the_package() {
    let config = || DeviceConfig {
        power_cut_at: Some((2048, seconds(10))),
        ..tester()
    };
    let mut rig = Rig::new(config());
    rig.serve_body(FILES, image());
    let line = rig.log.len();
    rig.uri("coap://192.0.2.20/fw");
    rig.seconds(20);
    assert_eq!((rig.pair(), rig.device.truth().boots), ("2/0".into(), 2));
    let story = rig.story(line);
    let gets = story.matches("GET").count();
    // Eight blocks, each asked for once; the two others are the reads of the pair.
    assert_eq!(gets, 10, "{story}");

    let mut rig = Rig::new(config());
    assert_eq!(blocks(&mut rig, 0..4, Szx::S512), "2.31 2.31 2.31 -");
    rig.seconds(20);
    assert_eq!(rig.pair(), "0/0");
    // Only the first time.
    assert_eq!(
        blocks(&mut rig, 0..8, Szx::S512),
        "2.31 2.31 2.31 2.31 2.31 2.31 2.31 2.04"
    );
}

fn any_act() -> impl Strategy<Value = Act> {
    let time = (0_u64..20_000).prop_map(Duration::from_millis);
    prop_oneof![
        prop::sample::select(vec![0x80_u8, 0x88, 0x8d, 0xa3, 0x44]).prop_map(|code| Act::Code {
            code: Code(code),
            max_age: Some(3),
            block1: Some(Szx::S64),
            size1: Some(9),
        }),
        prop::sample::select(vec![Szx::S16, Szx::S64, Szx::S1024]).prop_map(Act::SmallerBlock),
        Just(Act::Silence),
        Just(Act::AnswerLost),
        (time.clone(), any::<bool>()).prop_map(|(delay, ack)| Act::Separate { delay, ack }),
        Just(Act::Twice),
        time.clone().prop_map(|delay| Act::LateCopy { delay }),
        time.clone().prop_map(Act::Delay),
        Just(Act::Reset),
        time.clone().prop_map(|off_for| Act::PowerCut { off_for }),
        time.clone().prop_map(|announce_after| Act::Rebind { announce_after }),
        time.clone().prop_map(|for_| Act::Sleep { for_ }),
        time.prop_map(Act::Pause),
    ]
}

fn any_order() -> impl Strategy<Value = DeviceAct> {
    let state = LwPath::resource(5, 0, 3);
    let fixed = vec![
        DeviceAct::Register,
        DeviceAct::Update,
        DeviceAct::Deregister,
        DeviceAct::Rebind,
        DeviceAct::Sleep(seconds(30)),
        DeviceAct::Wake,
        DeviceAct::Reboot,
        DeviceAct::PowerCut { off_for: seconds(5) },
        DeviceAct::Notify(LwPath::object(5)),
        DeviceAct::NotifyWith {
            path: state,
            token: vec![1; 9],
            confirmable: true,
        },
        DeviceAct::SetValue(state, fotaproof_wire::Value::String("?".to_owned())),
        DeviceAct::UnsetValue(state),
        DeviceAct::ResendLast(Resend::Register),
        DeviceAct::ResendLast(Resend::Update),
        DeviceAct::ResendLast(Resend::Notification),
        DeviceAct::Send(vec![LwPath::ROOT, LwPath::resource(9, 9, 9)]),
        DeviceAct::Raw(vec![0xff; 3].into()),
        DeviceAct::ClearBehaviours,
    ];
    prop_oneof![
        prop::sample::select(fixed),
        (0_u8..5, 0_u8..14).prop_map(|(state, result)| DeviceAct::SetPair(state, result)),
        (0_u8..14).prop_map(|result| DeviceAct::Finish { result }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The rig fails on a livelock; afterwards the device takes a package like any other.
    #[test]
    fn no_mixture_breaks_the_device(
        behaviours in prop::collection::vec((0_u32..9, any_act(), 1_u32..4), 0..6),
        orders in prop::collection::vec(any_order(), 0..6),
        wake_for in prop::option::of(5_u64..60),
        send_changes in any::<bool>(),
    ) {
        let behaviours = behaviours
            .into_iter()
            .map(|(num, act, times)| Behaviour::times(OnRequest::block(block(num)), act, times))
            .collect();
        let mut rig = Rig::new(DeviceConfig {
            behaviours,
            wake_for: wake_for.map(seconds),
            send_changes,
            lwm2m: fotaproof_lwm2m::Version::V1_1,
            ..tester()
        });
        rig.observe("/5/0/3", b"s");
        let mut orders = orders.into_iter();
        for num in 0..8 {
            blocks(&mut rig, [num], Szx::S512);
            if let Some(order) = orders.next() {
                rig.act(order);
                rig.seconds(3);
            }
        }
        rig.act(DeviceAct::ClearBehaviours);
        rig.act(DeviceAct::UnsetValue(LwPath::resource(5, 0, 3)));
        rig.act(DeviceAct::SetPair(0, 0));
        rig.act(DeviceAct::Wake);
        rig.seconds(60);
        rig.act(DeviceAct::Reboot);
        rig.seconds(4);
        let codes = blocks(&mut rig, 0..8, Szx::S512);
        prop_assert_eq!(codes, "2.31 2.31 2.31 2.31 2.31 2.31 2.31 2.04");
        prop_assert_eq!(rig.pair(), "2/0");
    }
}
