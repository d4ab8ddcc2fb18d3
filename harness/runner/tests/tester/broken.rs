//! An adapter that breaks is no server that fails.

use core::time::Duration;

use fotaproof_adapter::{Answer, ErrorKind, Event, Hello, Message, Operation, Reply, ReplyError};
use fotaproof_runner::iut::Iut;
use fotaproof_runner::prepare::{CaseOptions, session_config};
use fotaproof_runner::session::{AdapterInput, Input, Outcome, Output, Session};
use fotaproof_trace::{Blame, Verdict};

use super::case;

fn reply(id: u64) -> Reply {
    Reply {
        id,
        ok: Some(Answer {
            addresses: Some(fotaproof_adapter::Addresses {
                coap: "192.0.2.2:5683".to_owned(),
                coaps: None,
            }),
            ..Answer::default()
        }),
        error: None,
    }
}

/// A session whose adapter does what `answer` says to each request.
fn run(body: &str, answer: impl Fn(&Operation, u64) -> Vec<AdapterInput>) -> (Outcome, Vec<&'static str>) {
    let config = session_config(&case(body), &Iut::embedded(), &CaseOptions::default()).expect("a session");
    let mut session = Session::new(config);
    let mut now = Duration::ZERO;
    let mut asked = Vec::new();
    loop {
        while let Some(output) = session.poll_output() {
            match output {
                Output::Adapter(request) => {
                    asked.push(request.operation.name());
                    for input in answer(&request.operation, request.id) {
                        session.handle(now, Input::Adapter(input));
                    }
                }
                Output::Done(outcome) => return (*outcome, asked),
                _ => {}
            }
        }
        now = session.poll_deadline().map_or(now, |at| at.max(now));
        session.handle_timeout(now);
    }
}

const BODY: &str = "
steps:
  - expect: {executes: 0, registrations: 0}
";

#[track_caller]
fn is_the_adapters(outcome: &Outcome) {
    assert_eq!(outcome.verdict, Verdict::Error, "{outcome:#?}");
    assert!(outcome.findings.iter().all(|finding| finding.blame == Blame::Adapter));
}

#[test]
fn a_session_starts_and_stops_its_instance() {
    let body = format!("liveness: false\n{BODY}");
    let (outcome, asked) = run(&body, |operation, id| match operation {
        Operation::Start { .. } => vec![
            AdapterInput::Message(Message::Event(Event::Hello(Hello::default()))),
            AdapterInput::Message(Message::Reply(reply(id))),
        ],
        _ => Vec::new(),
    });
    assert_eq!(outcome.verdict, Verdict::Pass, "{outcome:#?}");
    assert_eq!(asked, ["start", "stop"]);
}

#[test]
fn an_adapter_that_says_nothing() {
    let (outcome, _) = run(BODY, |_, _| Vec::new());
    is_the_adapters(&outcome);
    assert!(
        outcome.reason.contains("does not reply to `start`"),
        "{}",
        outcome.reason
    );
}

#[test]
fn an_adapter_that_dies() {
    let (outcome, _) = run(BODY, |_, _| {
        vec![AdapterInput::Died {
            status: "exit code 1".to_owned(),
        }]
    });
    is_the_adapters(&outcome);
    assert!(outcome.reason.contains("exit code 1"), "{}", outcome.reason);
}

#[test]
fn an_adapter_that_talks_nonsense() {
    let (outcome, _) = run(BODY, |_, _| {
        vec![AdapterInput::Broken {
            reason: "the line is no message".to_owned(),
            line: "}{".to_owned(),
        }]
    });
    is_the_adapters(&outcome);
}

#[test]
fn an_adapter_that_answers_what_was_not_asked() {
    let (outcome, _) = run(BODY, |_, id| vec![AdapterInput::Message(Message::Reply(reply(id + 7)))]);
    is_the_adapters(&outcome);
}

#[test]
fn a_server_that_cannot_be_started() {
    let (outcome, asked) = run(BODY, |_, id| {
        vec![AdapterInput::Message(Message::Reply(Reply {
            id,
            ok: None,
            error: Some(ReplyError {
                kind: ErrorKind::Failed,
                message: "the port is taken".to_owned(),
            }),
        }))]
    });
    is_the_adapters(&outcome);
    assert!(outcome.reason.contains("the port is taken"));
    assert_eq!(asked, ["start"], "what never ran is not stopped");
}

#[test]
fn what_an_adapter_cannot_do_leaves_the_case_without_a_verdict() {
    let body = "
steps:
  - server-op: {read: /5/0/3}
    expect: {code: 2.05}
";
    let (outcome, asked) = run(body, |operation, id| match operation {
        Operation::Start { .. } => vec![AdapterInput::Message(Message::Reply(reply(id)))],
        _ => Vec::new(),
    });
    assert_eq!(outcome.verdict, Verdict::Inconclusive, "{outcome:#?}");
    assert_eq!(asked, ["start", "stop"]);
}
