//! The words that only a case with a server under test has, each by what just holds and what just does not.

use super::{fails, passes};

#[test]
fn the_truth_of_the_device_needs_no_reading() {
    passes(
        "
given:
  - await: registration
steps:
  - update: {method: push}
    expect: {path: [idle, downloading, downloaded], within: 60s}
  - expect: {path: [updating, idle], result: success, within: 60s}
  - expect: {pair: 0/1, firmware-version: new, image: firmware, executes: 1}
",
    );
}

#[test]
fn ends_waits_for_the_pair_to_stay() {
    passes(
        "
device: {ends: 0/8}
given:
  - await: registration
steps:
  - update: {method: push}
    expect: {ends: 0/8, never: downloading, stable: 20s, within: 300s, requires: {pair: 0/8}}
"
        .replace(", never: downloading", "")
        .as_str(),
    );
    let told = fails(
        "
device: {ends: 0/8}
given:
  - await: registration
steps:
  - update: {method: push}
    expect: {ends: 0/1, within: 300s}
",
    );
    assert!(told[0].contains("ends 0/1") && told[0].contains("0/8"), "{told:#?}");
}

#[test]
fn a_state_that_must_not_be_reached() {
    let told = fails(
        "
given:
  - await: registration
steps:
  - expect: {never: updating, registrations: 1}
  - update: {method: push}
    expect: {ends: 0/1, within: 300s}
",
    );
    assert!(told[0].contains("never updating"), "{told:#?}");
}

#[test]
fn status_and_progress_are_what_the_server_tells() {
    passes(
        "
device: {ends: 0/8}
given:
  - await: registration
steps:
  - update: {method: push}
    expect:
      status: [failed]
      not-status: [succeeded, cancelled]
      progress: {state: idle, result: update-failed, method: push}
      within: 300s
",
    );
    let told = fails(
        "
device: {ends: 0/8}
given:
  - await: registration
steps:
  - update: {method: push}
    expect: {status: succeeded, within: 300s}
",
    );
    assert!(told[0].contains("the server calls the update succeeded"), "{told:#?}");
}

#[test]
fn what_the_server_tells_of_a_device_is_counted() {
    let case = "
devices:
  a: {notifications: con}
  b: {}
given:
  - await: registration
  - server-op: {device: a, observe: /5/0/3}
  - device: {name: a, do: notify, path: /5/0/3}
  - device: {name: a, do: update}
  - wait: 2s
steps:
  - expect: {device: a, tells: {registrations: 1, updates: 1, notifications: 1}}
  - expect: {device: b, tells: {registrations: 1, updates: 0, notifications: 0}}
  - device: {name: a, do: notify, path: /5/0/3}
    expect: {device: a, tells: {notifications: 2}, within: 5s}
";
    passes(case);
    let told = fails(&case.replace("updates: 1", "updates: 2"));
    assert_eq!(told, ["expected updates told: 2, seen 1"]);
    let told = fails(&case.replace("notifications: 2", "notifications: 3"));
    assert_eq!(told, ["expected notifications told: 3, seen 2"]);
}

#[test]
fn a_message_may_have_one_of_several_formats() {
    let case = |format: &str| {
        format!(
            "
device: {{block: 512}}
network: {{mtu: 600}}
given:
  - await: registration
steps:
  - update: {{method: push}}
    as: update
    expect: {{ends-well: true, within: 300s, figures: {{largest-packet: 561}}}}
  - expect:
      messages:
        match: {{path: /5/0/0, block1-num: any}}
        since: update
        each: {{format: {format}}}
"
        )
    };
    passes(&case("[tlv, opaque]"));
    assert!(fails(&case("[tlv, text]"))[0].contains("ct=42"));
    let told = fails(&case("opaque").replace("561", "560"));
    assert_eq!(told, ["expected largest-packet: 560B, seen 561B"]);
}

#[test]
fn devices_are_told_apart_by_name() {
    passes(
        "
packages: {other: {package: valid, version: 3.0.0, size: 4 KiB}}
devices: {a: {}, b: {}}
given:
  - await: registration
steps:
  - update: {device: a, method: push}
  - update: {device: b, method: push, package: other}
    expect:
      all-of:
        - {device: a, ends-well: true, within: 600s}
        - {device: b, ends-well: true, image: other, firmware-version: 3.0.0, within: 600s}
  - expect:
      messages:
        - {match: {from: iut, to: device.b, path: /5/0/0, method: put, again: false}, since: start, count: 8}
        - {match: {from: device.a, path: /5/0/2, code: 2.04}, since: start, count: 1}
",
    );
}

#[test]
fn a_behaviour_meets_the_block_that_it_names() {
    passes(
        "
device:
  block: 1024
  behaviours: [{on: {path: /5/0/0, block: 3}, times: 1, do: separate, delay: 1500ms}]
given:
  - await: registration
steps:
  - update: {method: push}
    expect:
      ends-well: true
      within: 300s
      messages:
        - {match: {from: device, type: con, code: 2.31}, since: start, count: 1}
        - {match: {from: iut, type: ack, empty: true}, since: start}
",
    );
}

#[test]
fn requests_and_datagrams_come_from_the_device() {
    passes(
        "
given:
  - await: registration
steps:
  - request: {method: post, path: '/{device.main.location}', query: [lt=600]}
    expect: {code: 2.04}
  - request: {method: post, path: /rd/nowhere}
    expect: {code: 4.04}
  - datagram: {type: con, code: '0.00'}
    expect: {code: rst}
  - device: {do: resend, of: register}
    expect:
      registrations: 1
      messages: {match: {from: iut, to: device, code: 2.01}, since: start, count: 2, identical: true}
      within: 5s
",
    );
}

#[test]
fn a_server_does_single_operations_when_told() {
    passes(
        "
given:
  - await: registration
steps:
  - server-op: {read: /5/0/3}
    expect: {code: 2.05, values: {/5/0/3: 0}}
  - server-op: {write-blocks: {block: 64}}
    expect: {code: 2.04}
  - expect: {ends: 2/0, facts: {pushes: 1, blocks: '>=300', executes-refused: 0}}
  - server-op: {execute: /5/0/2}
    expect: {code: 2.04}
  - expect: {executes: 1, firmware-version: new, registrations: 2, within: 60s}
  - server-op: {read: /5/0/99}
    expect: {code: 4.04}
",
    );
}

#[test]
fn the_power_of_a_device_is_the_cases() {
    passes(
        "
given:
  - await: registration
steps:
  - device: {do: power-cut, for: 60s}
    expect: {facts: {registered: false}}
  - await: registration
    new: true
    within: 120s
  - device: {do: stop}
    expect: {facts: {registered: false, last-answer: 2.02}, within: 20s}
  - device: {do: start}
    expect: {facts: {registered: true}, registrations: 3, within: 60s}
",
    );
}

#[test]
fn the_network_lies_between_server_and_devices() {
    // `toward: device` is what the server sends
    passes(
        "
network: {rules: [{drop: {toward: device, coap: {method: put, block1: {num: 2}}, times: 1}}]}
given:
  - await: registration
steps:
  - update: {method: push}
    expect:
      ends-well: true
      within: 300s
      messages: {match: {from: iut, method: put, block1-num: 2}, since: start, count: 2, identical: true}
",
    );
}

#[test]
fn an_update_can_be_held() {
    passes(
        "
given:
  - await: registration
steps:
  - update: {method: push, windows: [{from: 60s, to: 10m}]}
    expect: {ends: 2/0, within: 50s}
  - update-control: pause
  - wait: 120s
    expect: {executes: 0}
  - update-control: resume
    expect: {ends-well: true, within: 300s}
",
    );
}

#[test]
fn a_device_pulls_from_the_harness_or_from_the_server() {
    for update in ["{method: pull}", "{method: pull, hosted: true}", "{method: auto}"] {
        passes(&format!(
            "
device: {{delivery: pull}}
given:
  - await: registration
steps:
  - update: {update}
    expect: {{ends-well: true, facts: {{pulls: 1, pushes: 0, uri-writes: 1}}, within: 300s}}
"
        ));
    }
}
