//! Goals about states and results: paths, ends, and states that must not be seen.

use core::time::Duration;

use fotaproof_cases::ast::Expect;
use fotaproof_trace::{Blame, Finding, FindingSource, Grade};

use super::super::firmware::{Firmware, Follow, pair_matches, pairs_told};
use super::super::goals::{PairRead, ReadState, Running};
use super::super::{Never, Session};
use super::{Poll, Weight, broken};

impl Session {
    pub(super) fn settle(&mut self, object: u16) {
        if let Some(firmware) = self.facts.firmware.get_mut(&object) {
            firmware.settle();
        }
    }

    pub(super) fn poll_interval(&self) -> Duration {
        self.span("poll", Duration::from_millis(500))
    }

    pub(super) fn judge_path(
        &mut self,
        e: &Expect,
        read: &mut PairRead,
        next: &mut Option<Duration>,
        until: Duration,
    ) -> Poll {
        let object = e.object.unwrap_or(5);
        let Some(stations) = e.path.as_ref().map(|path| path.value.clone()) else {
            return Poll::Held(String::new());
        };
        let told = || {
            let words: Vec<String> = stations.iter().map(ToString::to_string).collect();
            let result = e.result.as_ref().map_or_else(String::new, |all| {
                let words: Vec<String> = all.value.iter().map(ToString::to_string).collect();
                format!(" with result {}", words.join(" or "))
            });
            format!("{}{result}", words.join(" > "))
        };
        loop {
            let firmware = self.facts.firmware.entry(object).or_default();
            let follow = firmware.follow(&stations);
            let result = firmware.result();
            let right = match &e.result {
                Some(wanted) => result.is_some_and(|result| wanted.value.iter().any(|want| want.0 == result)),
                None => true,
            };
            match follow {
                Follow::Astray { state } => {
                    let seen = format!("{} ({})", firmware.told(), fotaproof_cases::ast::StateName(state));
                    return broken(told(), seen);
                }
                Follow::Arrived if right => {
                    let seen = firmware.told();
                    firmware.settle();
                    return Poll::Held(seen);
                }
                _ if self.now >= until => {
                    let seen = format!("{} in {:.3} s", firmware.told(), self.now.as_secs_f64());
                    return broken(told(), seen);
                }
                _ => {}
            }
            if !self.poll_pair(object, read, next) {
                return Poll::Pending;
            }
        }
    }

    /// Reads the pair again and again; true when a new pair was learnt.
    pub(super) fn poll_pair(&mut self, object: u16, read: &mut PairRead, next: &mut Option<Duration>) -> bool {
        if next.is_some_and(|next| self.now < next) || !self.facts.iut_running {
            if !self.facts.iut_running {
                *next = Some(self.now + self.poll_interval());
            }
            return false;
        }
        *next = None;
        match read.poll(self, object) {
            ReadState::Pending => false,
            ReadState::Value(_) => {
                *read = PairRead::default();
                *next = Some(self.now + self.poll_interval());
                true
            }
            ReadState::Failed(_) => {
                *read = PairRead::default();
                *next = Some(self.now + self.poll_interval());
                false
            }
        }
    }

    pub(super) fn judge_ends(
        &mut self,
        e: &Expect,
        read: &mut PairRead,
        next: &mut Option<Duration>,
        until: Duration,
        began: Duration,
    ) -> Poll {
        let object = e.object.unwrap_or(5);
        let Some(wanted) = e.ends.as_ref().map(|ends| ends.value.clone()) else {
            return Poll::Held(String::new());
        };
        let stable = e
            .stable
            .map_or_else(|| self.span("stable", Duration::from_secs(5)), |span| span.0);
        loop {
            let firmware = self.facts.firmware.entry(object).or_default();
            if let (Some(pair), Some(since), Some(last)) =
                (firmware.pair(), firmware.steady_since(), firmware.last_complete())
                && pair_matches(pair, &wanted)
                && last >= since + stable
                && last >= began
            {
                firmware.settle();
                return Poll::Held(format!("{}/{}", pair.0, pair.1));
            }
            // a pair that is right already only has to be seen to stay
            let right = firmware.pair().is_some_and(|pair| pair_matches(pair, &wanted));
            let end = until + stable * if right { 4 } else { 1 };
            if self.now >= end {
                let seen = match firmware.pair() {
                    Some(pair) => format!("{}/{} ({})", pair.0, pair.1, firmware.told()),
                    None => "no pair could be read".to_owned(),
                };
                return broken(format!("ends {}", pairs_told(&wanted)), seen);
            }
            if !self.poll_pair(object, read, next) {
                return Poll::Pending;
            }
        }
    }

    pub(super) fn watch(&mut self, e: &Expect, weight: Weight, running: &Running, line: u32) {
        let Some(never) = &e.never else { return };
        let clauses = self.clauses(e.clauses.as_ref());
        let object = e.object.unwrap_or(5);
        let states: Vec<u8> = never.value.iter().map(|state| state.0).collect();
        let tester = self.is_tester().then(|| Self::device_name(e.device.as_ref()));
        self.script.never.push(Never {
            states,
            object,
            device: tester.clone(),
            grade: match weight {
                Weight::Should => Grade::Should,
                Weight::Advice => Grade::Advice,
                _ => Grade::Must,
            },
            step: running.index,
            line,
            clauses,
            told: false,
        });
        // what was seen since the action began counts too
        let (known, since) = match &tester {
            Some(name) => {
                let firmware = self.world.devices.get(name).map(|device| &device.firmware);
                // all that held since the action began
                let since = firmware.map_or(0, |firmware| firmware.index_at(running.anchor.at));
                (firmware, since)
            }
            None => (self.facts.firmware.get(&object), running.anchor.samples),
        };
        let seen: Vec<u8> = known
            .map(|firmware: &Firmware| firmware.since(since).iter().filter_map(|s| s.state).collect())
            .unwrap_or_default();
        for state in seen {
            self.judge_never(object, state, tester.as_deref());
        }
    }

    /// A state was seen: is it one that must not be?
    pub(in crate::session) fn judge_never(&mut self, object: u16, state: u8, device: Option<&str>) {
        let mut found = Vec::new();
        for never in &mut self.script.never {
            let meant = never.object == object && never.device.as_deref() == device;
            if meant && !never.told && never.states.contains(&state) {
                never.told = true;
                found.push(never.clone());
            }
        }
        for never in found {
            let name = fotaproof_cases::ast::StateName(state);
            self.find(Finding {
                source: FindingSource::Expectation {
                    step: never.step,
                    line: never.line,
                },
                grade: never.grade,
                blame: Blame::Iut,
                clauses: never.clauses,
                title: match device {
                    None => format!("the IUT shows state {name}, which it must not reach here"),
                    Some(_) => format!("the device was brought to state {name}, which it must not reach here"),
                },
                expected: format!("never {name}"),
                seen: format!("{name} at {:.3} s", self.now.as_secs_f64()),
                datagrams: Vec::new(),
                events: vec![self.event_no],
                hint: None,
            });
        }
    }
}
