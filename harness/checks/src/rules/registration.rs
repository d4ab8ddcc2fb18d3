//! register-sanity and no-message-after-deregister.

use crate::catalogue::{NO_MESSAGE_AFTER_DEREGISTER, REGISTER_SANITY};
use crate::context::Message;
use crate::facts::Target;
use crate::report::{Broken, Ref, Report};
use core::time::Duration;
use fotaproof_trace::Grade;
use fotaproof_wire::coap::{Code, Type, content_format, option, summary_of};
use std::net::SocketAddr;

/// What was learnt of registrations.
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    /// Peer, when and where its 2.02 reached the IUT.
    gone: Option<(SocketAddr, Duration, Ref)>,
}

impl Registrations {
    pub(crate) fn on_message(&mut self, message: &Message<'_>, report: &mut Report) {
        if message.outgoing {
            let registers = message.code == Code::POST && message.facts.target == Target::Register;
            if registers {
                if message.is_first() {
                    register(message, report);
                }
                self.gone = self.gone.filter(|(peer, ..)| *peer != message.peer);
            } else {
                self.silence(message, report);
            }
        } else if message.code == Code::DELETED
            && !message.odd
            && let Some(request) = &message.request
            && request.code == Code::DELETE
            && request.facts.target == Target::Registration
            && request.life == message.life
        {
            self.gone.get_or_insert((message.peer, message.at, message.here));
        }
    }

    fn silence(&self, message: &Message<'_>, report: &mut Report) {
        let Some((peer, at, place)) = self.gone else { return };
        if peer != message.peer || !message.is_first() || message.at <= at + report.config.timing.grace {
            return;
        }
        let notification = matches!(message.kind, Type::Con | Type::Non)
            && message.is_response()
            && message.facts.observe.is_some()
            // The first response to a new Observe is no notification of the lost registration.
            && message.request.is_none_or(|request| request.at < at);
        let speaks = message.code == Code::POST && matches!(message.facts.target, Target::Registration | Target::Send);
        if notification || speaks {
            report.add(
                NO_MESSAGE_AFTER_DEREGISTER,
                Broken {
                    grade: Grade::Should,
                    title: "the client goes on after its De-register".to_owned(),
                    expected: "nothing but a new Register".to_owned(),
                    seen: format!(
                        "{:.3} s later: {}",
                        message.at.saturating_sub(at).as_secs_f64(),
                        summary_of(&message.view)
                    ),
                    clause: "oma-core/6.2.3",
                    rests_on: &[place, message.here],
                    hint: None,
                },
            );
        }
    }
}

fn register(message: &Message<'_>, report: &mut Report) {
    let first_block = message.facts.block1.is_none_or(|block| block.num == 0);
    let whole = message.facts.block1.is_none_or(|block| block.num == 0 && !block.more);
    if !first_block {
        return;
    }
    let mut broken = |grade, title: &str, expected: &str, clause: &str| {
        report.add(
            REGISTER_SANITY,
            Broken {
                grade,
                title: title.to_owned(),
                expected: expected.to_owned(),
                seen: summary_of(&message.view),
                clause,
                rests_on: &[message.here],
                hint: None,
            },
        );
    };
    let mut version = None;
    let mut endpoint = false;
    for query in message.view.options_of(option::URI_QUERY) {
        if let Some(value) = query.value.strip_prefix(b"lwm2m=") {
            version = Some(value);
        }
        endpoint |= query.value.strip_prefix(b"ep=").is_some_and(|name| !name.is_empty());
    }
    if message.facts.content_format != Some(content_format::LINK_FORMAT) {
        broken(
            Grade::Must,
            "a Register without Content-Format 40",
            "Content-Format application/link-format (40)",
            "oma-core/6.2.1",
        );
    }
    match version {
        None => broken(
            Grade::Must,
            "a Register without its LwM2M version",
            "the query lwm2m with the version",
            "oma-core/6.2.1",
        ),
        Some(b"1.0") if !endpoint => {
            broken(
                Grade::Must,
                "a Register without endpoint name",
                "the query ep, which LwM2M 1.0 demands",
                "oma-core/6.2.1",
            );
        }
        Some(value) if !is_version(value) => {
            broken(
                Grade::Must,
                "a Register with a version that is none",
                "lwm2m=1.0, 1.1 or 1.2",
                "oma-core/6.2.1",
            );
        }
        Some(_) => {}
    }
    if !whole {
        return;
    }
    match links(message.view.payload()) {
        Err(()) => broken(
            Grade::Must,
            "a Register whose object list is no link format",
            "links such as </1/0>,</3/0>",
            "rfc6690/2",
        ),
        Ok(targets) if targets.is_empty() => {
            broken(
                Grade::Must,
                "a Register without objects",
                "links such as </1/0>,</3/0>",
                "oma-core/6.2.1",
            );
        }
        Ok(targets) => {
            if targets.iter().any(|target| is_object(target, "0")) {
                broken(
                    Grade::Must,
                    "a Register that lists the Security object",
                    "no </0> in the list",
                    "oma-core/6.2.1",
                );
            }
        }
    }
}

fn is_version(value: &[u8]) -> bool {
    matches!(value, [major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// `/0`, `/0/1`, or the same below a root path.
fn is_object(target: &str, object: &str) -> bool {
    target
        .strip_prefix('/')
        .is_some_and(|path| path == object || path.strip_prefix(object).is_some_and(|rest| rest.starts_with('/')))
}

/// The targets of a link-format payload; only its outer form is read here (RFC 6690, 2).
fn links(payload: &[u8]) -> Result<Vec<String>, ()> {
    let text = core::str::from_utf8(payload).map_err(|_| ())?;
    let mut targets = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let inner = rest.strip_prefix('<').ok_or(())?;
        let (target, after) = inner.split_once('>').ok_or(())?;
        targets.push(target.to_owned());
        let mut quoted = false;
        let mut end = after.len();
        let mut escaped = false;
        for (index, character) in after.char_indices() {
            match character {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                ',' if !quoted => {
                    end = index;
                    break;
                }
                _ => {}
            }
        }
        if quoted || !(after[..end].trim().is_empty() || after.trim_start().starts_with(';')) {
            return Err(());
        }
        rest = after.get(end + 1..).unwrap_or("").trim_start();
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::links;

    #[test]
    fn link_lists() {
        assert_eq!(
            links(b"</1/0>,</5>;ver=\"1,1\",</5/0>").unwrap(),
            ["/1/0", "/5", "/5/0"]
        );
        assert_eq!(links(b"").unwrap(), Vec::<String>::new());
        assert!(links(b"/1/0").is_err());
        assert!(links(b"</1/0").is_err());
        assert!(links(b"</1/0>x").is_err());
        assert!(links(b"</1/0>;a=\"").is_err());
        assert!(links(&[0xff]).is_err());
    }
}
