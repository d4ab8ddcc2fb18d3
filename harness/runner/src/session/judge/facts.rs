//! Goals about facts that are asked for, alternatives, and records.

use std::collections::VecDeque;

use fotaproof_cases::ast::{Expect, FirmwareVersion, OutcomeGrade};
use fotaproof_trace::{Blame, Finding, FindingSource, Grade, Verdict};

use super::super::goals::{OneRead, ReadState, Running};
use super::super::{Measurement, Output, Session};
use super::{Judging, Poll, Weight, broken};

impl Session {
    pub(super) fn judge_version(&mut self, e: &Expect, read: &mut OneRead) -> Poll {
        let Some(want) = e.firmware_version.as_ref().map(|at| &at.value) else {
            return Poll::Held(String::new());
        };
        let wanted = match want {
            FirmwareVersion::Is(version) => version.clone(),
            FirmwareVersion::New => match self.package(None) {
                Ok(image) if !image.version.is_empty() => image.version,
                _ => return Poll::Unknown("the package names no version".to_owned()),
            },
            FirmwareVersion::Old => match &self.facts.old_version {
                Some(version) if !version.is_empty() => version.clone(),
                _ => return Poll::Unknown("the version before the case could not be read".to_owned()),
            },
        };
        match read.poll(self) {
            ReadState::Pending => Poll::Pending,
            ReadState::Value(version) if version == wanted => Poll::Held(version),
            ReadState::Value(version) => broken(format!("/3/0/3 is {wanted}"), version),
            ReadState::Failed(why) => broken(format!("/3/0/3 is {wanted}"), why),
        }
    }

    pub(super) fn judge_no_image(&mut self, asked: &mut bool) -> Poll {
        if !*asked {
            *asked = true;
            self.facts.image_digest = None;
            self.out.push_back(Output::AskImageDigest);
            return Poll::Pending;
        }
        match self.facts.image_digest.take() {
            None => Poll::Pending,
            Some(None) => Poll::Held("no image".to_owned()),
            Some(Some(digest)) => broken("no image", format!("SHA-256 {digest}")),
        }
    }

    pub(super) fn judge_image(&mut self, e: &Expect, asked: &mut bool) -> Poll {
        let Some(name) = &e.image else {
            return Poll::Held(String::new());
        };
        if !self.config.claims.has("hook:digest") {
            return Poll::Unknown("the IUT has no hook that tells the image it holds".to_owned());
        }
        if name.value == "none" {
            return self.judge_no_image(asked);
        }
        let Ok(image) = self.package(Some(&name.value)) else {
            return Poll::Unknown(format!("there is no package `{}`", name.value));
        };
        let wanted = super::super::answer::sha256(&image.bytes);
        if !*asked {
            *asked = true;
            self.facts.image_digest = None;
            self.out.push_back(Output::AskImageDigest);
            return Poll::Pending;
        }
        match self.facts.image_digest.take() {
            None => Poll::Pending,
            Some(Some(digest)) if digest == wanted => Poll::Held(format!("SHA-256 {digest}")),
            Some(Some(digest)) => broken(format!("an image with SHA-256 {wanted}"), format!("SHA-256 {digest}")),
            Some(None) => broken(format!("an image with SHA-256 {wanted}"), "no image"),
        }
    }

    /// Tries one outcome after the other without reporting the broken ones.
    pub(super) fn judge_any_of(
        &mut self,
        e: &Expect,
        at: &mut usize,
        inner: &mut Judging,
        told: &mut Vec<String>,
        running: &Running,
    ) -> Poll {
        let Some(outcomes) = e.any_of.as_ref().map(|all| &all.value) else {
            return Poll::Held(String::new());
        };
        let mut fresh = inner.goals.is_empty();
        while let Some(outcome) = outcomes.get(*at) {
            if fresh {
                let mut body = 0;
                let mut goals = VecDeque::new();
                let mut expect = outcome.value.expect.clone();
                if expect.value.within.is_none() {
                    expect.value.within.clone_from(&e.within);
                }
                self.goals_of(&expect, Weight::Must, &mut body, &mut goals);
                inner.goals = goals;
                if inner.goals.is_empty() {
                    // its claims do not hold
                    *at += 1;
                    continue;
                }
            }
            fresh = true;
            let mut why = None;
            while let Some(mut goal) = inner.goals.pop_front() {
                match self.poll_goal(&mut goal, running) {
                    Poll::Pending => {
                        inner.goals.push_front(goal);
                        return Poll::Pending;
                    }
                    Poll::Held(_) | Poll::Unknown(_) => {}
                    Poll::Broken { expected, seen, .. } => {
                        why = Some(format!("expected {expected}, seen {seen}"));
                        break;
                    }
                }
            }
            inner.goals.clear();
            let Some(why) = why else {
                let note = outcome
                    .value
                    .note
                    .clone()
                    .unwrap_or_else(|| format!("outcome {}", *at + 1));
                self.outcome_reached(outcome.value.grade, &note, e, running, outcome.pos.line);
                if outcome.value.ends_case == Some(true) {
                    self.script.next = usize::MAX;
                }
                return Poll::Held(note);
            };
            told.push(format!("({}) {why}", *at + 1));
            *at += 1;
        }
        broken("one of the acceptable outcomes", told.join("; "))
    }

    pub(super) fn outcome_reached(
        &mut self,
        grade: OutcomeGrade,
        note: &str,
        e: &Expect,
        running: &Running,
        line: u32,
    ) {
        let grade = match grade {
            OutcomeGrade::Pass => return,
            OutcomeGrade::Inconclusive => {
                self.conclude(
                    Verdict::Inconclusive,
                    &format!("the specifications do not say what this means: {note}"),
                );
                return;
            }
            OutcomeGrade::Should => Grade::Should,
            OutcomeGrade::Advice => Grade::Advice,
        };
        if let Some(excuse) = self.excuse() {
            self.note(format!("{note}; {excuse}"));
            return;
        }
        self.find(Finding {
            source: FindingSource::Expectation {
                step: running.index,
                line,
            },
            grade,
            blame: Blame::Iut,
            clauses: self.clauses(e.clauses.as_ref()),
            title: note.to_owned(),
            expected: "the first of the acceptable outcomes".to_owned(),
            seen: note.to_owned(),
            datagrams: Vec::new(),
            events: vec![self.event_no],
            hint: None,
        });
    }

    pub(super) fn record(&mut self, e: &Expect, running: &Running) {
        for name in e.record.iter().flat_map(|all| all.iter()) {
            let Some((value, unit)) = self.figure(name, running) else {
                self.note(format!("nothing is measured as `{name}`"));
                continue;
            };
            let label = running
                .step
                .label
                .as_ref()
                .map_or_else(|| format!("step {}", running.index + 1), |l| l.value.clone());
            self.script.measurements.push(Measurement {
                name: format!("{label}: {name}"),
                value,
                unit: unit.to_owned(),
            });
        }
    }
}
