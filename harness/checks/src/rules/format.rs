//! message-format and mtu.

use crate::catalogue::{MESSAGE_FORMAT, MTU};
use crate::context::Message;
use crate::report::{Broken, Ref, Report};
use fotaproof_trace::{Datagram, Grade};
use fotaproof_wire::coap::{FormatError, LintRule, lint, summary};

/// Bytes that are no message.
pub(crate) fn malformed(event: u64, datagram: &Datagram, error: FormatError, report: &mut Report) {
    report.add(
        MESSAGE_FORMAT,
        Broken {
            grade: Grade::Must,
            title: "a datagram is no CoAP message".to_owned(),
            expected: error.rule.to_string(),
            seen: format!("{error}: {}", summary(&datagram.payload)),
            clause: error.rule.clause(),
            rests_on: &[Ref {
                event,
                datagram: datagram.datagram,
            }],
            hint: None,
        },
    );
}

/// Rules on what a well-formed message says.
pub(crate) fn lints(message: &Message<'_>, report: &mut Report) {
    for found in lint(&message.view) {
        let grade = match found.rule {
            // Sending an option that others need not know is no fault; blocks have a check of their own.
            LintRule::UnknownCriticalOption | LintRule::BlockNotFilled | LintRule::BlockOverfull => continue,
            LintRule::LeadingZero | LintRule::UnassignedCode => Grade::Should,
            _ => Grade::Must,
        };
        report.add(
            MESSAGE_FORMAT,
            Broken {
                grade,
                title: found.rule.to_string(),
                expected: "a message whose code and options keep their definitions".to_owned(),
                seen: format!("{found} in {}", summary(message.view.bytes())),
                clause: found.rule.clause(),
                rests_on: &[message.here],
                hint: None,
            },
        );
    }
}

/// The datagram fits into one packet of the link.
pub(crate) fn mtu(event: u64, datagram: &Datagram, report: &mut Report) {
    let Some(mtu) = report.config.mtu else { return };
    let headers = if datagram.src.is_ipv4() { 28 } else { 48 };
    let size = datagram.payload.len() + headers;
    if size > usize::from(mtu) {
        report.add(
            MTU,
            Broken {
                grade: Grade::Should,
                title: "a datagram is larger than the link's MTU".to_owned(),
                expected: format!("at most {mtu} bytes with IP and UDP headers"),
                seen: format!("{size} bytes: {}", summary(&datagram.payload)),
                clause: "rfc7252/4.6",
                rests_on: &[Ref {
                    event,
                    datagram: datagram.datagram,
                }],
                hint: Some("choose a smaller block size"),
            },
        );
    }
}
