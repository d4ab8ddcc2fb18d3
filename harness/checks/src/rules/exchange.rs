//! message-id-reuse, retransmission-identity, token-echo, duplicate-answer, duplicate-once, response-code.

use crate::catalogue::{
    DUPLICATE_ANSWER, DUPLICATE_ONCE, MESSAGE_ID_REUSE, RESPONSE_CODE, RETRANSMISSION_IDENTITY, TOKEN_ECHO,
};
use crate::context::{Message, Repeat, Request};
use crate::facts::Target;
use crate::report::{Broken, Ref, Report};
use core::time::Duration;
use fotaproof_trace::Grade;
use fotaproof_wire::coap::{Code, Type, summary_of};

/// A 16-bit counter that wraps within the lifetime because so much was sent; only a stall could avoid it.
const WRAPPED: u64 = 1 << 15;

/// After an Execute a device may be another: its answers are compared only for so long.
const BEFORE_REBOOT: Duration = Duration::from_secs(2);

/// Rules on one message that the IUT sent.
pub(crate) fn on_sent(message: &Message<'_>, report: &mut Report) {
    if let Repeat::Reuse {
        previous,
        was_answered,
        since_first,
        between,
    } = &message.repeat
    {
        reuse(message, previous, *was_answered, *since_first, *between, report);
    }
    if message.is_response() {
        token_echo(message, report);
        duplicate_answer(message, report);
        response_code(message, report);
    } else if message.kind == Type::Ack && message.code.is_empty() {
        known_id(message, report);
    }
}

fn reuse(
    message: &Message<'_>,
    previous: &Request,
    was_answered: bool,
    since_first: Duration,
    between: u64,
    report: &mut Report,
) {
    if between >= WRAPPED {
        return;
    }
    let seen = format!(
        "{:.3} s after the first: {}",
        since_first.as_secs_f64(),
        summary_of(&message.view)
    );
    let rests_on = [previous.here, message.here];
    let meant_as_copy = previous.kind == Type::Con
        && message.kind == Type::Con
        && !was_answered
        && previous.token == message.token
        && previous.code == message.code;
    if meant_as_copy {
        report.add(
            RETRANSMISSION_IDENTITY,
            Broken {
                grade: Grade::Must,
                title: "a retransmission differs from the first transmission".to_owned(),
                expected: format!("the bytes of the first transmission of message {}", message.message_id),
                seen,
                clause: "rfc7252/4.2",
                rests_on: &rests_on,
                hint: None,
            },
        );
    } else {
        let lifetime = if previous.kind == Type::Con {
            "EXCHANGE_LIFETIME"
        } else {
            "NON_LIFETIME"
        };
        report.add(
            MESSAGE_ID_REUSE,
            Broken {
                grade: Grade::Must,
                title: format!("message id {} is used again too early", message.message_id),
                expected: format!("another message id until {lifetime} is over"),
                seen,
                clause: "rfc7252/4.4",
                rests_on: &rests_on,
                hint: Some("a receiver takes the second message for a copy of the first"),
            },
        );
    }
}

fn known_id(message: &Message<'_>, report: &mut Report) {
    if !message.id_known && report.is_live() {
        report.add(
            TOKEN_ECHO,
            Broken {
                grade: Grade::Must,
                title: "an Acknowledgement has a message id that was never received".to_owned(),
                expected: "the message id of the message it acknowledges".to_owned(),
                seen: summary_of(&message.view),
                clause: "rfc7252/4.2",
                rests_on: &[message.here],
                hint: None,
            },
        );
    }
}

fn token_echo(message: &Message<'_>, report: &mut Report) {
    if message.kind == Type::Ack {
        known_id(message, report);
        let Some(request) = &message.request else { return };
        // A malformed or reused original may have been read in another way than here.
        if request.odd || request.ambiguous || request.life != message.life || !request.code.is_request() {
            return;
        }
        if request.token != message.token {
            report.add(
                TOKEN_ECHO,
                Broken {
                    grade: Grade::Must,
                    title: "a response does not carry the token of its request".to_owned(),
                    expected: format!("token {}", request.token),
                    seen: format!("token {}: {}", message.token, summary_of(&message.view)),
                    clause: "rfc7252/5.3.1",
                    rests_on: &[request.here, message.here],
                    hint: None,
                },
            );
            return;
        }
    } else if !message.token_known && message.is_first() && report.is_live() {
        report.add(
            TOKEN_ECHO,
            Broken {
                grade: Grade::Must,
                title: "a response has a token that nobody asked with".to_owned(),
                expected: "the token of a request".to_owned(),
                seen: format!("token {}: {}", message.token, summary_of(&message.view)),
                clause: "rfc7252/5.3.1",
                rests_on: &[message.here],
                hint: None,
            },
        );
        return;
    }
    one_answer(message, report);
}

/// A request has one answer; a copy of it may get one more.
fn one_answer(message: &Message<'_>, report: &mut Report) {
    let Some((requests, responses)) = message.tally else {
        return;
    };
    let Some(request) = &message.request else { return };
    if responses <= requests || !report.is_live() || request.odd || request.ambiguous || request.life != message.life {
        return;
    }
    report.add(
        TOKEN_ECHO,
        Broken {
            grade: Grade::Must,
            title: "a request is answered more than once".to_owned(),
            expected: format!("at most {requests} responses with token {}", message.token),
            seen: format!("response {responses}: {}", summary_of(&message.view)),
            clause: "rfc7252/5.2",
            rests_on: &[request.here, message.here],
            hint: None,
        },
    );
}

/// Idempotent requests may be processed again (RFC 7252, 4.5), so a copy of a GET may see a newer value; but an
/// accepted block or write must not turn into an error.
fn duplicate_answer(message: &Message<'_>, report: &mut Report) {
    let Some(request) = &message.request else { return };
    if request.odd || request.ambiguous || request.life != message.life || message.odd || request.copies < 2 {
        return;
    }
    if message.kind == Type::Ack {
        // A second reply without the token is one deviation, and it is told already.
        if message.token != request.token {
            return;
        }
        let Some(first) = &message.earlier_answer else { return };
        if first.bytes == crate::hash::of(message.view.bytes()) {
            return;
        }
        let executed =
            request.code == Code::POST && request.facts.target.lw().is_some_and(|path| path.resource.is_some());
        if executed && request.facts.block1.is_none() && message.at.saturating_sub(first.at) >= BEFORE_REBOOT {
            return;
        }
        let grade = match request.code {
            Code::POST => Grade::Must,
            Code::PUT | Code::IPATCH if first.code.is_success() != message.code.is_success() => Grade::Must,
            Code::PUT | Code::IPATCH if first.code != message.code => Grade::Should,
            _ => return,
        };
        report.add(
            DUPLICATE_ANSWER,
            Broken {
                grade,
                title: "a copy of a request is answered differently".to_owned(),
                expected: format!("{} again, as the first copy was answered", first.code),
                seen: summary_of(&message.view),
                clause: "rfc7252/4.5",
                rests_on: &[request.here, first.here, message.here],
                hint: Some("the server believes the answer that reaches it"),
            },
        );
        return;
    }
    // A separate response to each copy: it was processed again.
    let Some((requests, responses)) = message.tally else {
        return;
    };
    if message.is_first() && request.code == Code::POST && requests == request.copies && responses > 1 {
        report.add(
            DUPLICATE_ONCE,
            Broken {
                grade: Grade::Must,
                title: "a copy of a request is processed again".to_owned(),
                expected: "one response to all copies of a request that is not idempotent".to_owned(),
                seen: format!("response {responses}: {}", summary_of(&message.view)),
                clause: "rfc7252/4.5",
                rests_on: &[request.here, message.here],
                hint: None,
            },
        );
    }
}

fn response_code(message: &Message<'_>, report: &mut Report) {
    let Some(request) = message.plain_answer() else { return };
    let Target::Lw(path) = request.facts.target else {
        composite_code(message, request, report);
        return;
    };
    let block1 = request.facts.block1.is_some();
    let (operation, success): (&str, &[Code]) = match (request.code, path.depth()) {
        (Code::GET, _) => ("Read, Discover or Observe", &[Code::CONTENT]),
        (Code::PUT, _) => ("Write or Write-Attributes", &[Code::CHANGED]),
        (Code::POST, 1) => ("Create", &[Code::CREATED]),
        (Code::POST, 2) => ("Write", &[Code::CHANGED]),
        (Code::POST, _) => ("Execute or Write", &[Code::CHANGED]),
        (Code::DELETE, _) => ("Delete", &[Code::DELETED]),
        _ => return,
    };
    if message.code.is_success() {
        let revalidated = message.code == Code::VALID && request.facts.etag.is_some();
        let continues = message.code == Code::CONTINUE && block1;
        if !success.contains(&message.code) && !revalidated && !continues {
            wrong_success(message, request, operation, success, report);
        }
        return;
    }
    if !is_listed_error(message.code, request) {
        report.add(
            RESPONSE_CODE,
            Broken {
                grade: Grade::Advice,
                title: format!("an unusual error code for {operation}"),
                expected: "an error code that is listed for the operation".to_owned(),
                seen: summary_of(&message.view),
                clause: "oma-core/6.3",
                rests_on: &[request.here, message.here],
                hint: None,
            },
        );
    }
}

fn composite_code(message: &Message<'_>, request: &Request, report: &mut Report) {
    if request.facts.target != Target::Root || !message.code.is_success() {
        return;
    }
    let continues = message.code == Code::CONTINUE && request.facts.block1.is_some();
    let (operation, success): (&str, &[Code]) = match request.code {
        Code::FETCH => ("Read-Composite or Observe-Composite", &[Code::CONTENT]),
        Code::IPATCH => ("Write-Composite", &[Code::CHANGED]),
        _ => return,
    };
    if !success.contains(&message.code) && !continues {
        wrong_success(message, request, operation, success, report);
    }
}

fn wrong_success(message: &Message<'_>, request: &Request, operation: &str, success: &[Code], report: &mut Report) {
    let rests_on: [Ref; 2] = [request.here, message.here];
    report.add(
        RESPONSE_CODE,
        Broken {
            grade: Grade::Must,
            title: format!("a success code that does not belong to {operation}"),
            expected: success.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "),
            seen: summary_of(&message.view),
            clause: "oma-core/6.3",
            rests_on: &rests_on,
            hint: None,
        },
    );
}

/// Error codes that the operation lists, and those that CoAP itself may give to any request.
fn is_listed_error(code: Code, request: &Request) -> bool {
    let body = request.payload_length > 0;
    match (code.class(), code.detail()) {
        (4, 0..=5 | 12 | 29) | (5, 0 | 1 | 3) => true,
        (4, 6) => request.facts.accept || request.code == Code::GET,
        (4, 8 | 13) => request.facts.block1.is_some() || body,
        (4, 9 | 15 | 22) => body,
        _ => false,
    }
}
