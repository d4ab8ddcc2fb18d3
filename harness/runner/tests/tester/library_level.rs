//! A server without an engine of its own: the harness's campaign drives it over single operations.

use core::time::Duration;

use fotaproof_adapter::{Event, Message};
use fotaproof_runner::iut::Iut;
use fotaproof_runner::prepare::{CaseOptions, embedded_iut, session_config};
use fotaproof_runner::session::{AdapterInput, Input, Outcome, Output, Session};
use fotaproof_trace::Verdict;

use super::case;

/// Plays a case on the embedded server, whose hello does not tell of these operations; gives what it was asked.
fn play_without(hidden: &[&str], body: &str) -> (Outcome, Vec<&'static str>) {
    let (case, iut) = (case(body), Iut::embedded());
    let config = session_config(&case, &iut, &CaseOptions::default()).expect("a session");
    let mut server = embedded_iut(&case, &iut, &config).expect("the embedded server");
    let mut session = Session::new(config);
    let mut now = Duration::ZERO;
    let mut asked = Vec::new();
    loop {
        loop {
            let mut busy = false;
            while let Some(output) = session.poll_output() {
                busy = true;
                match output {
                    Output::Adapter(request) => {
                        asked.push(request.operation.name());
                        server.request(now, *request);
                    }
                    Output::Transmit { from, to, bytes } => server.datagram(now, from, to, bytes),
                    Output::Done(outcome) => return (*outcome, asked),
                    _ => {}
                }
            }
            while let Some(mut input) = server.poll_input() {
                busy = true;
                if let Input::Adapter(AdapterInput::Message(Message::Event(Event::Hello(hello)))) = &mut input {
                    hello
                        .capabilities
                        .retain(|name| !hidden.iter().any(|start| name.starts_with(start)));
                }
                session.handle(now, input);
            }
            if !busy {
                break;
            }
        }
        let next = [session.poll_deadline(), server.poll_deadline()];
        now = next.into_iter().flatten().min().map_or(now, |at| at.max(now));
        server.handle_timeout(now);
        session.handle_timeout(now);
    }
}

const BODY: &str = "
given:
  - await: registration
steps:
  - update: {method: push}
    expect: {ends-well: true, facts: {pushes: 1, executes-refused: 0}, executes: 1, within: 600s}
";

#[test]
fn the_harness_drives_the_update() {
    let (outcome, asked) = play_without(&["update-"], BODY);
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:#?}");
    assert!(
        asked.contains(&"write-blocks") && asked.contains(&"execute"),
        "{asked:?}"
    );
    assert!(!asked.contains(&"update-start"), "{asked:?}");
}

#[test]
fn the_harness_tells_how_its_own_campaign_ends() {
    let body = "
device: {ends: 0/8}
given:
  - await: registration
steps:
  - update: {method: push}
    expect: {ends: 0/8, status: failed, progress: {result: update-failed}, within: 600s}
";
    let (outcome, _) = play_without(&["update-"], body);
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:#?}");
}

#[test]
fn a_server_that_can_do_nothing_leaves_the_case_without_a_verdict() {
    let (outcome, _) = play_without(&[""], BODY);
    assert_eq!(outcome.verdict, Verdict::Inconclusive, "{outcome:#?}");
}

#[test]
fn a_server_that_cannot_observe_is_made_to_read() {
    let (outcome, asked) = play_without(&["update-", "observe"], BODY);
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:#?}");
    assert!(!asked.contains(&"observe"), "{asked:?}");
    assert!(asked.iter().filter(|name| **name == "read").count() > 4, "{asked:?}");
}

#[test]
fn a_pull_needs_no_write_in_blocks_and_a_push_does() {
    let hidden = ["update-", "write-blocks"];
    let pull = "
repositories: {main: {path: /v2.bin}}
given:
  - await: registration
steps:
  - update: {method: pull, repository: main}
    expect: {ends-well: true, facts: {pulls: 1}, within: 600s}
";
    let (outcome, asked) = play_without(&hidden, pull);
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:#?}");
    assert!(
        asked.contains(&"execute") && !asked.contains(&"write-blocks"),
        "{asked:?}"
    );
    let (outcome, _) = play_without(&hidden, BODY);
    assert_eq!(outcome.verdict, Verdict::Inconclusive, "{outcome:#?}");
}
