//! Orders in the middle of a test. The snapshot shows each on the wire.

use fotaproof_coap::Request;
use fotaproof_lwm2m::{Act, Behaviour, DeviceAct, DeviceConfig, NumSelect, OnRequest, Resend};
use fotaproof_wire::coap::{Code, Szx, build};
use fotaproof_wire::{LwPath, Value};

use super::{blocks, image, seconds, tester};
use crate::rig::{Rig, request};

const STATE: LwPath = LwPath::resource(5, 0, 3);

fn registered() -> Rig {
    let mut rig = Rig::new(tester());
    rig.observe("/5/0/3", b"s");
    rig
}

#[test]
fn every_order_on_the_wire() {
    let stray = DeviceAct::NotifyWith {
        path: STATE,
        token: b"never".to_vec(),
        confirmable: true,
    };
    let stories: Vec<(&str, Vec<DeviceAct>)> = vec![
        ("register again", vec![DeviceAct::Register]),
        ("update", vec![DeviceAct::Update]),
        (
            "de-register, and then there is nothing to update",
            vec![DeviceAct::Deregister, DeviceAct::Update],
        ),
        ("register from a new port", vec![DeviceAct::Rebind, DeviceAct::Register]),
        (
            "notify from a new port",
            vec![DeviceAct::Rebind, DeviceAct::Notify(STATE)],
        ),
        ("notify with a token never given", vec![stray]),
        ("sleep and wake", vec![DeviceAct::Sleep(seconds(100)), DeviceAct::Wake]),
        ("reboot", vec![DeviceAct::Reboot]),
        ("power cut", vec![DeviceAct::PowerCut { off_for: seconds(3) }]),
        ("the same Register twice", vec![DeviceAct::ResendLast(Resend::Register)]),
        (
            "the same Update twice",
            vec![DeviceAct::Update, DeviceAct::ResendLast(Resend::Update)],
        ),
        (
            "the same notification twice",
            vec![DeviceAct::Notify(STATE), DeviceAct::ResendLast(Resend::Notification)],
        ),
        (
            "show another value",
            vec![DeviceAct::SetValue(STATE, Value::Integer(2))],
        ),
        ("become another pair", vec![DeviceAct::SetPair(2, 0)]),
        ("send", vec![DeviceAct::Send(vec![STATE, LwPath::resource(4, 0, 2)])]),
        (
            "a datagram of any kind",
            vec![DeviceAct::Raw(vec![0x40, 0x01, 0x12, 0x34].into())],
        ),
    ];
    let mut text = String::new();
    for (name, acts) in stories {
        let mut rig = registered();
        let line = rig.log.len();
        for act in acts {
            rig.act(act);
            rig.seconds(1);
        }
        rig.seconds(6);
        text += &format!("{name}\n{}\n", rig.story(line));
    }
    insta::assert_snapshot!("orders", text);
}

#[test]
fn confirmable_notifications_are_resent_with_their_message_id() {
    let mut rig = Rig::new(DeviceConfig {
        confirmable_notifications: true,
        ..tester()
    });
    rig.observe("/5/0/3", b"s");
    let line = rig.log.len();
    rig.act(DeviceAct::SetPair(2, 0));
    rig.seconds(1);
    rig.act(DeviceAct::ResendLast(Resend::Notification));
    rig.seconds(1);
    let story = rig.story(line);
    assert_eq!(story.matches("< CON 2.05 Content #1").count(), 2, "{story}");
    // The server counts it once.
    assert_eq!(rig.notified(b"s"), ["2"]);
}

#[test]
fn shown_values_survive_reboots_and_can_be_taken_back() {
    let mut rig = registered();
    let quality = LwPath::resource(4, 0, 2);
    rig.act(DeviceAct::SetValue(quality, Value::Integer(-120)));
    rig.act(DeviceAct::Reboot);
    rig.seconds(3);
    assert_eq!(rig.get("/4/0/2"), "-120");
    rig.act(DeviceAct::UnsetValue(quality));
    assert_eq!(rig.get("/4/0/2"), "-85");
}

#[test]
fn a_pair_that_object_5_does_not_know_is_only_shown() {
    let mut rig = registered();
    rig.act(DeviceAct::SetPair(0, 12));
    assert_eq!(rig.pair(), "0/12");
    assert_eq!((rig.device.truth().state, rig.device.truth().result), (0, 0));
    rig.act(DeviceAct::SetPair(2, 8));
    assert_eq!((rig.pair(), rig.device.truth().result), ("2/8".to_owned(), 8));
}

#[test]
fn an_update_under_way_ends_as_told() {
    let finish = |state: &str, result| {
        let mut rig = registered();
        blocks(&mut rig, 0..if state == "downloading" { 4 } else { 8 }, Szx::S512);
        if state == "updating" {
            rig.execute("/5/0/2");
            rig.seconds(1);
        }
        rig.act(DeviceAct::Finish { result });
        rig.seconds(10);
        format!("{} {}", rig.pair(), rig.get("/3/0/3"))
    };
    assert_eq!(finish("downloading", 4), "0/4 1.0.0");
    assert_eq!(finish("downloaded", 5), "0/5 1.0.0");
    assert_eq!(finish("updating", 1), "0/1 2.0.0");
    assert_eq!(finish("updating", 8), "2/8 1.0.0");
    assert_eq!(finish("updating", 2), "0/2 1.0.0");
    assert_eq!(finish("updating", 11), "2/11 1.0.0");
}

#[test]
fn behaviours_come_and_go() {
    let mut rig = registered();
    let refuse = |code| Behaviour::always(OnRequest::block(NumSelect::From(0)), Act::code(code));
    rig.act(DeviceAct::AddBehaviour(refuse(Code::BAD_REQUEST)));
    assert_eq!(blocks(&mut rig, [0], Szx::S512), "4.00");
    // The newest goes first.
    rig.act(DeviceAct::AddBehaviour(refuse(Code::METHOD_NOT_ALLOWED)));
    assert_eq!(blocks(&mut rig, [0], Szx::S512), "4.05");
    rig.act(DeviceAct::ClearBehaviours);
    assert_eq!(blocks(&mut rig, [0], Szx::S512), "2.31");
}

#[test]
fn any_request_can_be_sent_to_the_server() {
    let mut rig = registered();
    let file = image();
    rig.serve_body(crate::rig::SERVER, file.clone());
    let mut packet = request("0.01", "/fw");
    build::set_block2(
        &mut packet,
        fotaproof_wire::coap::BlockValue::new(7, false, Szx::S64).unwrap(),
    );
    rig.act(DeviceAct::Request {
        tag: 7,
        request: Box::new(Request::confirmable(packet)),
    });
    rig.seconds(1);
    let answer = rig.device.poll_answer().unwrap();
    assert_eq!(answer.tag, 7);
    let packet = answer.answer.unwrap();
    assert_eq!(
        (Code::from(packet.header.code), packet.payload.as_slice()),
        (Code::CONTENT, &file[448..512])
    );
    assert!(rig.device.poll_answer().is_none());
}

#[test]
fn an_order_without_meaning_is_noted_and_left() {
    let mut rig = Rig::off(tester(), fotaproof_lwm2m::Flash::new("1.0.0"));
    rig.act(DeviceAct::Update);
    rig.act(DeviceAct::Register);
    rig.act(DeviceAct::SetPair(0, 8));
    assert!(rig.log.iter().all(|line| line.contains(" # ")), "{:?}", rig.log);
    rig.power_on();
    assert_eq!(rig.pair(), "0/8");
}
