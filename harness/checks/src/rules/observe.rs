//! observe-order and observe-token.

use crate::catalogue::{OBSERVE_ORDER, OBSERVE_TOKEN};
use crate::context::{Message, Repeat};
use crate::facts::{Target, Token};
use crate::report::{Broken, Ref, Report};
use core::time::Duration;
use fotaproof_trace::Grade;
use fotaproof_wire::coap::{Code, Type, summary_of};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// A notification so much later is newer whatever its number (RFC 7641, 3.4).
const FRESH_AGAIN: Duration = Duration::from_secs(128);
/// Half of the 24-bit number space.
const HALF: u32 = 1 << 23;
/// Observations remembered.
const BOUND: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Cancelled,
    /// By a RST; to a Non-confirmable one a device need not match it.
    Reset {
        confirmable: bool,
    },
    Failed,
    Registered,
}

#[derive(Debug)]
struct Observation {
    peer: SocketAddr,
    since: Duration,
    life: u32,
    last: Option<(u32, Duration, Ref)>,
    end: Option<(End, Duration, Ref)>,
    /// The IUT answered something that came after the end, so it has read that too.
    read_on: bool,
    strays: u32,
}

/// Observations that the IUT serves.
#[derive(Debug, Default)]
pub(crate) struct Observations {
    live: BTreeMap<(u32, Token), Observation>,
    /// A Register under way: its peer and when it was sent first.
    register: Option<(SocketAddr, Duration)>,
}

impl Observations {
    pub(crate) fn on_message(&mut self, message: &Message<'_>, report: &mut Report) {
        if message.outgoing {
            self.on_sent(message, report);
        } else {
            self.on_received(message);
        }
    }

    fn on_received(&mut self, message: &Message<'_>) {
        let key = (message.conversation, message.token);
        if message.code.is_request() {
            if message.facts.observe == Some(0) && matches!(message.code, Code::GET | Code::FETCH) {
                // A copy of the request may come after the end of its observation; it is no new one for an IUT that
                // knows it, but one that has forgotten may take it so.
                let old = self.live.get(&key);
                let known = matches!(message.repeat, Repeat::Copy { .. }) && old.is_some_and(|old| old.end.is_none());
                if !known && (self.live.len() < BOUND || old.is_some()) {
                    let fresh = Observation {
                        peer: message.peer,
                        since: message.at,
                        life: message.life,
                        last: None,
                        end: None,
                        read_on: false,
                        strays: 0,
                    };
                    self.live.insert(key, fresh);
                }
            }
            return;
        }
        if message.kind == Type::Rst {
            if let Some(notification) = &message.request
                && notification.code.is_response()
                && notification.facts.observe.is_some()
                && let Some(observation) = self.live.get_mut(&(message.conversation, notification.token))
                && notification.at >= observation.since
            {
                let confirmable = notification.kind == Type::Con;
                observation
                    .end
                    .get_or_insert((End::Reset { confirmable }, message.at, message.here));
            }
            return;
        }
        let registered = message
            .request
            .is_some_and(|request| request.facts.target == Target::Register);
        if message.code == Code::CREATED
            && registered
            && let Some((peer, asked)) = self.register
            && peer == message.peer
        {
            // What the server asks for once it has taken the Register is a new observation, even when the network
            // brings it before the answer.
            for observation in self.live.values_mut() {
                if observation.peer == peer && observation.since < asked {
                    observation
                        .end
                        .get_or_insert((End::Registered, message.at, message.here));
                }
            }
        }
    }

    fn on_sent(&mut self, message: &Message<'_>, report: &mut Report) {
        if message.code == Code::POST && message.facts.target == Target::Register && message.is_first() {
            self.register = Some((message.peer, message.at));
        }
        if self.live.is_empty() || !message.is_response() {
            return;
        }
        if let Some(request) = &message.request
            && matches!(message.repeat, Repeat::First)
        {
            for observation in self.live.values_mut() {
                if let Some((_, at, _)) = observation.end
                    && request.at > at
                {
                    observation.read_on = true;
                }
            }
        }
        let notification = matches!(message.kind, Type::Con | Type::Non);
        let key = (message.conversation, message.token);
        let Some(observation) = self.live.get_mut(&key) else {
            return;
        };
        // To a message id that is used again too early the answer of the first request is given again (RFC 7252, 4.5).
        let reused = message.request.is_some_and(|request| request.ambiguous);
        if !message.is_first() || message.earlier_answer.is_some() || reused {
            return;
        }
        if let Some(request) = &message.request
            && request.facts.observe == Some(1)
            && message.code.is_success()
            && message.facts.observe.is_none()
        {
            observation
                .end
                .get_or_insert((End::Cancelled, message.at, message.here));
            return;
        }
        if message.code.is_error() {
            let of_the_observation = message.request.is_none_or(|request| request.facts.observe == Some(0));
            if notification && observation.last.is_some() && of_the_observation {
                observation.end.get_or_insert((End::Failed, message.at, message.here));
            }
            return;
        }
        let Some(number) = message.facts.observe else { return };
        if notification {
            belongs(message, observation, report);
        }
        in_order(message, number, observation, report);
        observation.last = Some((number, message.at, message.here));
        observation.life = message.life;
    }
}

fn belongs(message: &Message<'_>, observation: &mut Observation, report: &mut Report) {
    let Some((end, at, place)) = observation.end else {
        return;
    };
    if message.at <= at + report.config.timing.grace {
        return;
    }
    observation.strays += 1;
    let (grade, what, clause) = match end {
        End::Cancelled => (Grade::Must, "was cancelled", "rfc7641/3.6"),
        // It may not have read the RST yet, if it reads nothing.
        End::Reset { .. } if !observation.read_on && observation.strays < 2 => return,
        End::Reset { confirmable: true } => (Grade::Must, "was rejected with a Reset", "rfc7641/3.6"),
        End::Reset { confirmable: false } => (Grade::Should, "was rejected with a Reset", "rfc7641/3.6"),
        End::Failed => (Grade::Must, "ended with an error code", "rfc7641/4.2"),
        End::Registered => (Grade::Should, "is from before the last Register", "oma-core/6.4.1"),
    };
    report.add(
        OBSERVE_TOKEN,
        Broken {
            grade: report.weaker_in_capture(grade),
            title: format!("a notification of an observation that {what}"),
            expected: "no further notification with this token".to_owned(),
            seen: format!(
                "{:.3} s later: {}",
                message.at.saturating_sub(at).as_secs_f64(),
                summary_of(&message.view)
            ),
            clause,
            rests_on: &[place, message.here],
            hint: None,
        },
    );
}

fn in_order(message: &Message<'_>, number: u32, observation: &Observation, report: &mut Report) {
    let Some((before, at, place)) = observation.last else {
        return;
    };
    // A reboot may begin the count anew, and the end of an observation was judged already.
    if observation.life != message.life || observation.end.is_some() || message.at > at + FRESH_AGAIN {
        return;
    }
    if !is_newer(before, number) {
        report.add(
            OBSERVE_ORDER,
            Broken {
                grade: report.weaker_in_capture(Grade::Must),
                title: "a notification is not newer than the one before".to_owned(),
                expected: format!("an Observe value newer than {before}"),
                seen: format!("{number}: {}", summary_of(&message.view)),
                clause: "rfc7641/4.4",
                rests_on: &[place, message.here],
                hint: Some("a server drops what looks old"),
            },
        );
    }
}

/// The order of 24-bit numbers (RFC 7641, 3.4).
fn is_newer(before: u32, after: u32) -> bool {
    (before < after && after - before < HALF) || (before > after && before - after > HALF)
}

#[cfg(test)]
mod tests {
    use super::is_newer;

    #[test]
    fn numbers_wrap_at_24_bits() {
        assert!(is_newer(1, 2));
        assert!(!is_newer(2, 2));
        assert!(!is_newer(2, 1));
        assert!(is_newer(0, (1 << 23) - 1));
        assert!(!is_newer(0, 1 << 23));
        assert!(is_newer(0xff_ffff, 0));
        assert!(is_newer((1 << 23) + 1, 0));
        assert!(!is_newer(1 << 23, 0));
    }
}
