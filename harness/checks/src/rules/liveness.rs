//! ping-reset and separate-response-acked.
//!
//! An absence is held against the IUT only when it was surely there: it spoke shortly before each copy, at least two
//! copies reached it a second or more apart, and it spoke again well after the last, all in one life.

use crate::catalogue::{PING_RESET, SEPARATE_RESPONSE_ACKED};
use crate::context::{Context, Message};
use crate::report::{Broken, Ref, Report};
use core::time::Duration;
use fotaproof_trace::Grade;
use fotaproof_wire::coap::{Type, summary_of};
use std::collections::BTreeMap;

/// A device that spoke so recently is awake.
const AWAKE: Duration = Duration::from_secs(30);
/// Copies closer than this may be lost to one and the same hiccup.
const APART: Duration = Duration::from_secs(1);
/// No client has given up a request that is younger.
const FRESH: Duration = Duration::from_secs(2);
/// Things waited for at a time.
const BOUND: usize = 256;

#[derive(Debug)]
struct Waiting {
    ping: bool,
    life: u32,
    conversation: u32,
    copies: u32,
    last_at: Duration,
    first: Ref,
    last: Ref,
    what: String,
    /// A response to a request just sent, that nothing has answered before.
    wanted: bool,
    /// It spoke well after the last copy, in the same life.
    spoke_after: bool,
}

/// CONs that wait for the IUT's ACK or RST.
#[derive(Debug, Default)]
pub(crate) struct Liveness {
    waiting: BTreeMap<(u32, u16), Waiting>,
}

impl Liveness {
    pub(crate) fn on_message(&mut self, message: &Message<'_>, context: &Context, report: &mut Report) {
        if message.outgoing {
            self.on_sent(message, report);
        } else if message.kind == Type::Con && (message.code.is_empty() || message.is_response()) {
            self.on_received(message, context, report);
        }
    }

    fn on_received(&mut self, message: &Message<'_>, context: &Context, report: &Report) {
        let ping = message.code.is_empty();
        // A response that nothing waits for may be ignored or reset.
        let waited_for = message
            .request
            .is_some_and(|request| request.life == message.life && !request.ambiguous);
        let awake = context
            .last_out(message.conversation)
            .is_some_and(|last| last + AWAKE > message.at);
        if !report.is_live() || (!ping && (!waited_for || message.odd)) || !awake {
            return;
        }
        let wanted = message.request.is_some_and(|request| message.at < request.at + FRESH)
            && message.tally.is_some_and(|(requests, responses)| requests == responses);
        let key = (message.conversation, message.message_id);
        let full = self.waiting.len() >= BOUND;
        match self.waiting.get_mut(&key) {
            Some(waiting) if waiting.life == message.life && waiting.ping == ping => {
                if message.at >= waiting.last_at + APART {
                    waiting.copies += 1;
                }
                waiting.last_at = message.at;
                waiting.last = message.here;
                waiting.spoke_after = false;
            }
            _ if !full => {
                let fresh = Waiting {
                    ping,
                    life: message.life,
                    conversation: message.conversation,
                    copies: 1,
                    last_at: message.at,
                    first: message.here,
                    last: message.here,
                    what: summary_of(&message.view),
                    wanted,
                    spoke_after: false,
                };
                self.waiting.insert(key, fresh);
            }
            _ => {}
        }
    }

    fn on_sent(&mut self, message: &Message<'_>, report: &mut Report) {
        if self.waiting.is_empty() {
            return;
        }
        if matches!(message.kind, Type::Ack | Type::Rst)
            && let Some(waiting) = self.waiting.remove(&(message.conversation, message.message_id))
        {
            Self::on_reply(message, &waiting, report);
        }
        let grace = report.config.timing.grace;
        for waiting in self.waiting.values_mut() {
            if waiting.conversation == message.conversation
                && waiting.life == message.life
                && message.at > waiting.last_at + grace * 2
            {
                waiting.spoke_after = true;
            }
        }
        let now = message.at;
        let keep = AWAKE * 8;
        self.waiting.retain(|_, waiting| {
            let over = waiting.last_at + keep < now;
            if over {
                Self::on_silence(waiting, report);
            }
            !over
        });
    }

    fn on_reply(message: &Message<'_>, waiting: &Waiting, report: &mut Report) {
        if waiting.ping && message.kind == Type::Ack {
            report.add(
                PING_RESET,
                Broken {
                    grade: Grade::Must,
                    title: "a ping is answered by an Acknowledgement".to_owned(),
                    expected: "a Reset with the message id of the Empty message".to_owned(),
                    seen: summary_of(&message.view),
                    clause: "rfc7252/4.2",
                    rests_on: &[waiting.last, message.here],
                    hint: None,
                },
            );
        } else if waiting.wanted && message.kind == Type::Rst && waiting.life == message.life {
            report.add(
                SEPARATE_RESPONSE_ACKED,
                Broken {
                    grade: Grade::Must,
                    title: "a separate response that was asked for is rejected".to_owned(),
                    expected: "an Acknowledgement; a response may come before the empty Acknowledgement of its request"
                        .to_owned(),
                    seen: format!("a Reset to {}", waiting.what),
                    clause: "rfc7252/5.2.2",
                    rests_on: &[waiting.last, message.here],
                    hint: None,
                },
            );
        }
    }

    fn on_silence(waiting: &Waiting, report: &mut Report) {
        if waiting.copies < 2 || !waiting.spoke_after {
            return;
        }
        let (check, title, expected, clause) = if waiting.ping {
            (
                PING_RESET,
                "a ping is not answered",
                "a Reset with the message id of the Empty message",
                "rfc7252/4.2",
            )
        } else {
            (
                SEPARATE_RESPONSE_ACKED,
                "a separate response is not acknowledged",
                "an Acknowledgement with the message id of the response",
                "rfc7252/5.2.2",
            )
        };
        report.add(
            check,
            Broken {
                grade: Grade::Must,
                title: title.to_owned(),
                expected: expected.to_owned(),
                seen: format!(
                    "nothing, though {} copies came and the IUT was awake: {}",
                    waiting.copies, waiting.what
                ),
                clause,
                rests_on: &[waiting.first, waiting.last],
                hint: None,
            },
        );
    }

    pub(crate) fn finish(&mut self, report: &mut Report) {
        for waiting in core::mem::take(&mut self.waiting).values() {
            Self::on_silence(waiting, report);
        }
    }
}
