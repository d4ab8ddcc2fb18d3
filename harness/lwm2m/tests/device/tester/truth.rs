//! What a device really did, for the judgement over a server.

use fotaproof_lwm2m::package;
use fotaproof_wire::coap::{Code, Szx};

use super::{blocks, image, tester};
use crate::rig::{FILES, Rig, request};

#[test]
fn an_update_leaves_its_traces() {
    let mut rig = Rig::new(tester());
    rig.observe("/5/0/3", b"s");
    blocks(&mut rig, 0..8, Szx::S512);
    rig.get("/5/0/3");
    rig.execute("/5/0/2");
    rig.seconds(10);
    let truth = rig.device.truth();
    assert_eq!(
        (truth.powered, truth.registered, truth.location.as_str()),
        (true, true, "/rd/a7")
    );
    assert_eq!((truth.registrations, truth.boots, truth.installs), (2, 2, 1));
    assert_eq!((truth.state, truth.result, truth.version.as_str()), (0, 1, "2.0.0"));
    let digest = package::hex(&package::digest(&image()));
    let received = truth.received.unwrap();
    assert_eq!(
        (received.length, &received.sha256, &truth.running_sha256),
        (4096, &digest, &digest)
    );
    assert_eq!(
        (truth.blocks_received, truth.pushes_started, truth.packages_received),
        (8, 1, 1)
    );
    assert_eq!((truth.executes, truth.executes_refused), (1, 0));
    assert_eq!(
        (truth.executed[0].state, truth.executed[0].answer),
        (2, Some(Code::CHANGED))
    );
    let pairs: Vec<String> = truth
        .history
        .iter()
        .map(|(_, state, result)| format!("{state}/{result}"))
        .collect();
    assert_eq!(pairs.join(" "), "0/0 1/0 2/0 3/0 0/1");
    assert_eq!(truth.reads[&"/5/0/3".parse().unwrap()], 2);
    assert_eq!(truth.observes[&"/5/0/3".parse().unwrap()], 1);
    // The reboot ended the observation.
    assert!(truth.observed.is_empty());
}

#[test]
fn a_retransmission_counts_once() {
    let mut rig = Rig::new(tester());
    blocks(&mut rig, 0..8, Szx::S512);
    let mut lost = 0;
    rig.lose = Box::new(move |toward_device, text| {
        let answer = !toward_device && text.contains("2.04");
        lost += u32::from(answer);
        answer && lost == 1
    });
    let before = rig.device.truth().requests;
    assert_eq!(rig.execute("/5/0/2"), "2.04");
    let truth = rig.device.truth();
    assert_eq!((truth.executes, truth.requests), (1, before + 1));
}

#[test]
fn refusals_resets_and_uris_are_counted() {
    let mut rig = Rig::new(tester());
    rig.serve_body(FILES, image());
    rig.execute("/5/0/2");
    rig.uri("coap://192.0.2.20/fw");
    rig.seconds(5);
    rig.uri("http://192.0.2.20/fw");
    rig.nul();
    rig.uri("");
    rig.get("/9");
    let truth = rig.device.truth();
    assert_eq!((truth.executes, truth.executes_refused), (1, 1));
    assert_eq!((truth.uri_writes, truth.pulls_started, truth.resets), (1, 1, 2));
    assert_eq!(truth.uris, ["coap://192.0.2.20/fw", "http://192.0.2.20/fw", ""]);
    assert_eq!((truth.requests, truth.rejected), (6, 3));
    assert_eq!(truth.last_request.map(|at| at.as_secs()), Some(rig.now.as_secs()));
}

#[test]
fn what_others_ask_is_not_counted() {
    let mut rig = Rig::new(tester());
    rig.ask_from(
        crate::rig::OTHER,
        fotaproof_coap::Request::confirmable(request("0.01", "/5/0/3")),
    );
    assert_eq!(rig.device.truth().requests, 0);
}
