//! retransmission-timing.

use crate::catalogue::RETRANSMISSION_TIMING;
use crate::context::{Message, Repeat};
use crate::report::{Broken, Ref, Report};
use core::time::Duration;
use fotaproof_trace::Grade;
use fotaproof_wire::coap::{Type, summary_of};

/// In a capture, copies closer than this are made by the network.
const NETWORK_COPY: Duration = Duration::from_millis(200);

/// Rules on a copy that the IUT sent.
pub(crate) fn on_sent(message: &Message<'_>, report: &mut Report) {
    let Repeat::Copy {
        number,
        since_previous,
        interval_before,
        first,
    } = message.repeat
    else {
        return;
    };
    if message.kind != Type::Con {
        return;
    }
    if !report.is_live() && since_previous < NETWORK_COPY {
        return;
    }
    let timing = report.config.timing;
    let tolerance = timing.tolerance;
    if number > timing.max_retransmit {
        if report.is_live() {
            broken(
                message,
                first,
                Grade::Must,
                format!("at most {} retransmissions", timing.max_retransmit),
                number,
                since_previous,
                report,
            );
        }
        return;
    }
    let (earliest, latest) = match interval_before {
        // Intervals are doubled; in a capture the one before may have lost a packet.
        Some(before) if report.is_live() => (before * 2, before * 2),
        Some(_) => (timing.ack_timeout, Duration::MAX),
        None => (timing.ack_timeout, timing.ack_timeout.mul_f64(timing.ack_random_factor)),
    };
    // The tolerance of the interval before counts twice when it is doubled.
    let slack = if interval_before.is_some() {
        tolerance * 3
    } else {
        tolerance
    };
    if since_previous + slack < earliest {
        let grade = report.weaker_in_capture(Grade::Must);
        broken(
            message,
            first,
            grade,
            format!("not before {:.3} s", earliest.as_secs_f64()),
            number,
            since_previous,
            report,
        );
    } else if report.is_live() && since_previous > latest.saturating_add(slack) {
        broken(
            message,
            first,
            Grade::Should,
            format!("within {:.3} s", latest.as_secs_f64()),
            number,
            since_previous,
            report,
        );
    }
}

fn broken(
    message: &Message<'_>,
    first: Ref,
    grade: Grade,
    expected: String,
    number: u32,
    after: Duration,
    report: &mut Report,
) {
    report.add(
        RETRANSMISSION_TIMING,
        Broken {
            grade,
            title: "a retransmission does not keep its time".to_owned(),
            expected,
            seen: format!(
                "retransmission {number} after {:.3} s: {}",
                after.as_secs_f64(),
                summary_of(&message.view)
            ),
            clause: "rfc7252/4.2",
            rests_on: &[first, message.here],
            hint: None,
        },
    );
}
