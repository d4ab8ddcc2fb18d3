//! Cases on a server that has no update engine of its own: the embedded one without its campaign level, so that the harness itself is the
//! operator, over single operations. What such a case judges is what the server sends; it must hold on either level.

use core::time::Duration;

use fotaproof_adapter::{Event, Message};
use fotaproof_cases::Claims;
use fotaproof_cases::ast::Role;
use fotaproof_runner::iut::Iut;
use fotaproof_runner::prepare::{CaseOptions, Unprepared, embedded_iut, session_config};
use fotaproof_runner::session::{AdapterInput, Input, Outcome, Output, Session, SessionConfig};
use fotaproof_runner::virtual_iut::VirtualIut;
use fotaproof_tests::play::{short_cases, told};
use fotaproof_trace::Verdict;

/// The embedded server as one claims it who only has its library.
fn library_server() -> Iut {
    let mut iut = Iut::embedded_server();
    iut.claims = Claims::default();
    for word in ["srv:library", "srv:push", "srv:pull", "srv:repo", "pkg:valid"] {
        iut.claims.add(word).expect("a claim");
    }
    iut
}

/// A session with an adapter that offers single operations only.
fn play(config: SessionConfig, mut iut: VirtualIut) -> Outcome {
    let mut now = Duration::ZERO;
    let mut session = Session::new(config);
    loop {
        loop {
            let mut busy = false;
            while let Some(output) = session.poll_output() {
                busy = true;
                match output {
                    Output::Event(_) | Output::AskImageDigest => {}
                    Output::Transmit { from, to, bytes } => iut.datagram(now, from, to, bytes),
                    Output::Iut(command) => {
                        if let Some(report) = iut.command(now, command) {
                            session.handle(now, Input::Iut(report));
                        }
                    }
                    Output::Adapter(request) => {
                        assert!(!request.operation.name().starts_with("update-"), "{request:?}");
                        iut.request(now, *request);
                    }
                    Output::Done(outcome) => return *outcome,
                }
            }
            while let Some(mut input) = iut.poll_input() {
                busy = true;
                if let Input::Adapter(AdapterInput::Message(Message::Event(Event::Hello(hello)))) = &mut input {
                    hello.capabilities.retain(|name| !name.starts_with("update-"));
                }
                session.handle(now, input);
            }
            if !busy {
                break;
            }
        }
        let next = [session.poll_deadline(), iut.poll_deadline()]
            .into_iter()
            .flatten()
            .min();
        match next {
            Some(at) => now = now.max(at),
            None => session.handle(now, Input::Interrupt),
        }
        iut.handle_timeout(now);
        session.handle_timeout(now);
    }
}

#[test]
fn what_a_server_sends_is_judged_alike_when_the_harness_is_its_operator() {
    let iut = library_server();
    let mut played = 0;
    let mut wrong = String::new();
    // the long ones say nothing more on this level
    for case in short_cases() {
        if case.case.role.value != Role::Server {
            continue;
        }
        let config = match session_config(&case, &iut, &CaseOptions::default()) {
            Ok(config) => config,
            Err(Unprepared::NotApplicable(_)) => continue,
            Err(error) => panic!("{}: {error}", case.full_id()),
        };
        let Some(server) = embedded_iut(&case, &iut, &config) else {
            continue;
        };
        let outcome = play(config, server);
        played += 1;
        if outcome.verdict != Verdict::Pass {
            wrong.push_str(&format!("{}: {}\n", case.full_id(), told(&outcome)));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(played >= 25, "only {played} cases apply");
}
