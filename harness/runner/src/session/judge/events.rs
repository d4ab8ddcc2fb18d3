//! Goals about what was received: registrations, notifications, messages, silence.

use core::time::Duration;

use fotaproof_cases::ast::{At, Expect, ValueMatch};
use fotaproof_wire::path::LwPath;

use super::super::goals::Running;
use super::super::{Anchor, Session, messages};
use super::{Poll, broken};

impl Session {
    pub(super) fn judge_registration(&self, e: &Expect, running: &Running, until: Duration) -> Poll {
        let Some(want) = e.registration.as_ref().map(|at| &at.value) else {
            return Poll::Held(String::new());
        };
        let all = &self.facts.registrations;
        let since = if want.new == Some(true) {
            running.anchor.registrations
        } else {
            0
        };
        let Some(((_, last), before)) = all
            .get(since..)
            .and_then(<[_]>::last)
            .zip(Some(&all[..all.len().saturating_sub(1)]))
        else {
            if self.now < until {
                return Poll::Pending;
            }
            let seen = match (&self.facts.iut_status, self.facts.iut_running) {
                (Some(status), false) => format!("none; the IUT ended: {status}"),
                _ => format!("none in {:.3} s", until.as_secs_f64()),
            };
            return broken(
                if want.new == Some(true) {
                    "a new registration"
                } else {
                    "a registration"
                },
                seen,
            );
        };
        let previous = before.last().map(|(_, r)| r);
        if want.same_endpoint == Some(true)
            && let Some(previous) = previous
            && previous.endpoint != last.endpoint
        {
            return broken(format!("endpoint name {}", previous.endpoint), last.endpoint.clone());
        }
        if want.new_address == Some(true)
            && let Some(previous) = previous
            && previous.address == last.address
        {
            return broken("another address or port", last.address.to_string());
        }
        let queries = [
            ("ep", Some(last.endpoint.clone())),
            ("lt", Some(last.lifetime.to_string())),
            ("lwm2m", Some(last.lwm2m.to_string())),
            ("b", Some(last.binding.clone())),
        ];
        for (name, want) in &want.query {
            let have = queries
                .iter()
                .find(|(n, _)| n == name)
                .and_then(|(_, value)| value.clone())
                .unwrap_or_default();
            if !want.matches(&have) || (have.is_empty() && *want == ValueMatch::Any) {
                return broken(format!("{name}={want}"), format!("{name}={have}"));
            }
        }
        // an alternate path stands before all of them (Core, Register)
        let root = last.links.root.as_str();
        let plain = |target: &str| target.strip_prefix(root).unwrap_or(target).to_owned();
        let targets: Vec<String> = last.objects.iter().map(|link| plain(&link.target)).collect();
        for path in want.has.iter().flat_map(|all| all.iter()) {
            if !targets.contains(&path.0) {
                return broken(format!("{path} in the object list"), targets.join(", "));
            }
        }
        for path in want.lacks.iter().flat_map(|all| all.iter()) {
            let below = format!("{path}/");
            if let Some(odd) = targets
                .iter()
                .find(|target| **target == path.0 || target.starts_with(&below))
            {
                return broken(format!("no {path} in the object list"), odd.clone());
            }
        }
        if let Some((expected, seen)) = super::forms::attributes_differ(&last.objects, root, &want.attributes) {
            return broken(expected, seen);
        }
        Poll::Held(format!("ep={} from {}", last.endpoint, last.address))
    }

    pub(super) fn judge_notification(&self, e: &Expect, running: &Running, until: Duration) -> Poll {
        let Some(want) = e.notification.as_ref().map(|at| &at.value) else {
            return Poll::Held(String::new());
        };
        let Ok(path) = want.path.0.parse::<LwPath>() else {
            return Poll::Unknown(format!("{} is no LwM2M path", want.path));
        };
        let all = &self.facts.notifications;
        let hit = all
            .iter()
            .enumerate()
            .skip(running.anchor.notifications)
            .find(|(i, (_, p, value))| {
                *p == path
                    && want.value.as_ref().is_none_or(|want| want.matches(value))
                    && self.notified_values(*i, &want.values)
            });
        let told = || match &want.value {
            None if !want.values.is_empty() => {
                let all: Vec<String> = want
                    .values
                    .iter()
                    .map(|(path, value)| format!("{path} = {value}"))
                    .collect();
                format!("a notification of {path} with {}", all.join(", "))
            }
            Some(value) => format!("a notification of {path} with {value}"),
            None => format!("a notification of {path}"),
        };
        let Some((i, (at, _, value))) = hit else {
            if self.now < until {
                return Poll::Pending;
            }
            let others: Vec<String> = all
                .iter()
                .skip(running.anchor.notifications)
                .map(|(at, p, value)| format!("{p} = {value} at {:.3} s", at.as_secs_f64()))
                .collect();
            return broken(
                told(),
                if others.is_empty() {
                    "none".to_owned()
                } else {
                    others.join(", ")
                },
            );
        };
        if let Some(after) = want.after_previous {
            // the one before may have taken the longest way, this one the shortest
            let jitter = self.world.link.spec().toward_server.jitter;
            let previous = all[..i]
                .iter()
                .rev()
                .find(|(_, p, _)| *p == path)
                .map(|(at, _, _)| *at)
                .into_iter()
                .chain(self.facts.observed_at.get(&path).copied())
                .max();
            if let Some(previous) = previous
                && *at + self.config.tolerance + Duration::from_millis(20) + jitter * 2 < previous + after.0
            {
                return broken(
                    format!("{}, at least {:?} after the one before", told(), after.0),
                    format!("{:?} after", at.saturating_sub(previous)),
                );
            }
        }
        Poll::Held(format!("{path} = {value} at {:.3} s", at.as_secs_f64()))
    }

    /// Whether a notification has all of these values.
    fn notified_values(&self, nth: usize, wanted: &std::collections::BTreeMap<String, ValueMatch>) -> bool {
        wanted.iter().all(|(path, want)| {
            self.facts.notified.get(nth).is_some_and(|values| {
                values.iter().any(|(at, value)| {
                    at.to_string() == *path && want.matches(&super::super::answer::value_text(value))
                })
            })
        })
    }

    pub(super) fn since(&self, label: Option<&At<String>>, running: &Running) -> Anchor {
        match label.map(|label| label.value.as_str()) {
            None => running.anchor,
            Some("start") => self.script.start,
            Some(name) => self
                .script
                .labels
                .get(name)
                .map_or(running.anchor, |label| label.anchor),
        }
    }

    pub(super) fn judge_messages(
        &self,
        e: &Expect,
        i: usize,
        listen: &mut Option<Duration>,
        running: &Running,
        until: Duration,
    ) -> Poll {
        let Some(ask) = e.messages.as_ref().and_then(|all| all.value.get(i)) else {
            return Poll::Held(String::new());
        };
        let since = self.since(ask.since.as_ref(), running).log;
        if let Some(span) = ask.listen {
            let end = *listen.get_or_insert(self.now + span.0);
            if self.now < end {
                return Poll::Pending;
            }
        }
        let judged = messages::judge(
            &self.facts.log,
            since,
            ask,
            &self.config.addresses,
            self.now,
            self.config.tolerance,
        );
        if judged.held {
            return Poll::Held(judged.seen);
        }
        if ask.listen.is_none() && judged.may_still && e.within.is_some() && self.now < until {
            return Poll::Pending;
        }
        Poll::Broken {
            expected: judged.expected,
            seen: judged.seen,
            datagrams: judged.datagrams,
        }
    }

    pub(super) fn judge_silence(&self, e: &Expect, i: usize, listen: &mut Option<Duration>, running: &Running) -> Poll {
        let Some(ask) = e.silence.as_ref().and_then(|all| all.value.get(i)) else {
            return Poll::Held(String::new());
        };
        let since = self.since(ask.since.as_ref(), running).log;
        let span = ask.listen.map_or(Duration::ZERO, |span| span.0);
        let end = *listen.get_or_insert(self.now + span);
        let what = ask.what.clone().unwrap_or_else(|| messages::words(&ask.select));
        let expected = match ask.listen {
            Some(span) => format!("no {what} for {:?}", span.0),
            None => format!("no {what}"),
        };
        if let Some(seen) = self
            .facts
            .log
            .matching(since, &ask.select, &self.config.addresses)
            .next()
        {
            return Poll::Broken {
                expected,
                seen: messages::told(seen),
                datagrams: vec![seen.datagram],
            };
        }
        if self.now < end {
            return Poll::Pending;
        }
        Poll::Held(expected)
    }
}
