//! Cases with a server under test, in virtual time: devices of the harness against the embedded server, and adapters that break.

mod broken;
mod language;
mod library_level;

use core::time::Duration;
use std::sync::Arc;

use fotaproof_cases::library::CaseSource;
use fotaproof_cases::{LoadedCase, Parameters, Style, load_case, render_all};
use fotaproof_runner::iut::{Iut, Planted};
use fotaproof_runner::prepare::{CaseOptions, embedded_iut, session_config};
use fotaproof_runner::session::Outcome;
use fotaproof_runner::virtual_driver;
use fotaproof_trace::{Event, EventKind, Point, Toward, Verdict, write_line};

/// A case of a text that begins with `device:`, `given:` or `steps:`.
pub(crate) fn case(body: &str) -> LoadedCase {
    let text = format!("title: a case\npurpose: a test\nrole: server\nclauses: [obj5/2]\n{body}");
    let source = CaseSource {
        id: "srv.test".to_owned(),
        path: "srv/test.yaml".to_owned(),
        text: text.into(),
    };
    match load_case(&source, &Parameters::default(), &|_, _| Err("no includes".to_owned())) {
        Ok(mut cases) => cases.remove(0),
        Err(problems) => panic!("{}", render_all(&problems, Style::Plain)),
    }
}

fn play_on(iut: &Iut, case: &LoadedCase, sink: &mut dyn FnMut(&Arc<Event>)) -> Outcome {
    let options = CaseOptions {
        capture: true,
        ..CaseOptions::default()
    };
    let config = session_config(case, iut, &options).unwrap_or_else(|error| panic!("{error}"));
    let server = embedded_iut(case, iut, &config).expect("the embedded server");
    virtual_driver::run(config, server, sink, &|| false)
}

pub(crate) fn play(body: &str) -> Outcome {
    play_on(&Iut::embedded(), &case(body), &mut |_| {})
}

/// Plays it on the server with a defect.
fn play_with(defect: &str, body: &str) -> Outcome {
    let case = case(body);
    let defect = Planted::find(defect, case.case.role.value).expect("a defect of the server");
    play_on(&Iut::embedded().with_defect(defect), &case, &mut |_| {})
}

#[track_caller]
pub(crate) fn passes(body: &str) {
    let outcome = play(body);
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:#?}");
    assert!(outcome.held > 0, "something was judged");
}

/// It fails; what was expected and seen, for each must.
#[track_caller]
pub(crate) fn fails(body: &str) -> Vec<String> {
    told(&play(body))
}

#[track_caller]
fn told(outcome: &Outcome) -> Vec<String> {
    assert_eq!(outcome.verdict, Verdict::Fail, "{outcome:#?}");
    outcome
        .findings
        .iter()
        .map(|finding| format!("expected {}, seen {}", finding.expected, finding.seen))
        .collect()
}

const PUSHED: &str = "
device: {delivery: push}
given:
  - await: registration
steps:
  - update: {method: push}
    expect: {ends-well: true, within: 600s}
";

#[test]
fn an_update_ends_well() {
    passes(PUSHED);
}

#[test]
fn an_early_execute_is_found_by_the_case_and_by_a_check() {
    let body = PUSHED.replace("delivery: push", "delivery: push, downloaded-after: 30s");
    passes(&body);
    let outcome = play_with("srv-execute-early", &body);
    let told = told(&outcome);
    assert!(told.iter().any(|line| line.contains("an Execute came at")), "{told:#?}");
    assert!(
        told.iter().any(|line| line.contains("State 2, read or notified")),
        "{told:#?}"
    );
}

#[test]
fn the_same_seed_writes_the_same_journal() {
    let case = case(PUSHED);
    let journal = || {
        let mut bytes = Vec::new();
        let outcome = play_on(&Iut::embedded(), &case, &mut |event| write_line(event, &mut bytes));
        (outcome, bytes)
    };
    let (first, again) = (journal(), journal());
    assert_eq!(first.0, again.0);
    assert!(first.1 == again.1, "the journals differ");
    let text = String::from_utf8_lossy(&first.1);
    assert!(text.contains("\"role\":\"server\""));
    assert!(
        text.contains("\"by\":\"truth\""),
        "what the device has is in the journal"
    );
    assert!(
        text.contains("update-start"),
        "what the adapter was asked is in the journal"
    );
}

/// What goes between a device and a repository of the harness never comes near the server, and is evidence all the same.
#[test]
fn the_traffic_of_a_separate_repository_is_told_as_what_it_is() {
    let body = "
device: {delivery: pull}
repositories: {main: {path: /v2.bin}}
given:
  - await: registration
steps:
  - update: {method: pull, repository: main}
    as: update
    expect: {ends-well: true, within: 600s}
  - expect:
      messages:
        - match: {from: device, to: repository, method: get}
          since: update
          count: 40
        - match: {from: repository, code: 2.05}
          since: update
          count: 40
          contiguous: true
";
    let mut beside = Vec::new();
    let mut packets = 0;
    let mut server = None;
    let outcome = play_on(&Iut::embedded(), &case(body), &mut |event| match &event.kind {
        EventKind::Datagram(datagram) if datagram.point == Point::Aside => beside.push((datagram.src, datagram.dst)),
        EventKind::Datagram(datagram) if datagram.toward == Toward::Iut => server = Some(datagram.dst),
        EventKind::Packet(packet) if packet.point == Point::Aside => packets += 1,
        _ => {}
    });
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:#?}");
    assert_eq!(beside.len(), 80, "40 requests and 40 answers");
    assert!(
        beside
            .iter()
            .all(|(src, dst)| Some(*src) != server && Some(*dst) != server)
    );
    assert!(packets == 0 || packets == 80, "{packets} packets");
}

#[test]
fn a_device_and_a_server_are_run_together_by_role() {
    let iut = Iut::embedded();
    let server = case(PUSHED);
    assert_eq!(iut.for_role(server.case.role.value).name, "embedded server");
    assert!(fotaproof_runner::prepare::not_applicable(&server, &iut).is_none());
    let only_client = Iut {
        counterpart: None,
        ..Iut::embedded()
    };
    assert_eq!(
        fotaproof_runner::prepare::not_applicable(&server, &only_client).as_deref(),
        Some("the server role")
    );
}

#[test]
fn a_case_without_an_answer_to_its_question_is_inconclusive() {
    // the device is never switched on
    let outcome = play(
        "
device: {start: false}
given:
  - await: registration
    within: 30s
steps:
  - expect: {executes: 0}
",
    );
    assert_eq!(outcome.verdict, Verdict::Inconclusive, "{outcome:#?}");
    assert!(outcome.never_registered);
    assert!(outcome.duration >= Duration::from_secs(30));
}
