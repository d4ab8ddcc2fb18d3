//! From a broken rule to a finding: grades, switched-off checks, and no more than a few of each.

use crate::catalogue::CheckInfo;
use crate::config::{CheckConfig, Mode};
use fotaproof_trace::{Blame, Finding, FindingSource, Grade};
use std::collections::BTreeMap;

/// Findings of one check and grade that are reported; the last of them waits for the end and carries the count.
const LIMIT: usize = 3;

/// Where a datagram stands in the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ref {
    pub(crate) event: u64,
    pub(crate) datagram: u64,
}

/// What a rule has to say.
#[derive(Debug)]
pub(crate) struct Broken<'a> {
    pub(crate) grade: Grade,
    pub(crate) title: String,
    pub(crate) expected: String,
    pub(crate) seen: String,
    pub(crate) clause: &'a str,
    pub(crate) rests_on: &'a [Ref],
    pub(crate) hint: Option<&'a str>,
}

#[derive(Debug, Default)]
struct Tally {
    count: usize,
    held: Option<Finding>,
}

/// Collects findings.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) config: CheckConfig,
    tallies: BTreeMap<(&'static str, Grade), Tally>,
    ready: Vec<Finding>,
}

impl Report {
    pub(crate) fn new(config: CheckConfig) -> Self {
        Self {
            config,
            tallies: BTreeMap::new(),
            ready: Vec::new(),
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.config.mode == Mode::Live
    }

    /// The grade of what a capture can only suggest, because packets may be missing or doubled in it.
    pub(crate) fn weaker_in_capture(&self, grade: Grade) -> Grade {
        if self.is_live() { grade } else { Grade::Advice }
    }

    pub(crate) fn add(&mut self, check: &'static CheckInfo, broken: Broken<'_>) {
        if self.config.disabled.iter().any(|id| id == check.id) {
            return;
        }
        debug_assert!(
            check.clauses.contains(&broken.clause),
            "{} does not name {}",
            check.id,
            broken.clause
        );
        let overridden = self
            .config
            .grades
            .iter()
            .find(|(id, _)| id == check.id)
            .map(|(_, grade)| *grade);
        let grade = overridden.unwrap_or(broken.grade);
        let tally = self.tallies.entry((check.id, grade)).or_default();
        tally.count += 1;
        if tally.count > LIMIT {
            return;
        }
        let finding = Finding {
            source: FindingSource::Check(check.id.to_owned()),
            grade,
            blame: Blame::Iut,
            clauses: vec![broken.clause.to_owned()],
            title: broken.title,
            expected: broken.expected,
            seen: broken.seen,
            datagrams: broken.rests_on.iter().map(|place| place.datagram).collect(),
            events: broken.rests_on.iter().map(|place| place.event).collect(),
            hint: broken.hint.map(str::to_owned),
        };
        if tally.count == LIMIT {
            tally.held = Some(finding);
        } else {
            self.ready.push(finding);
        }
    }

    /// Hands out what is ready.
    pub(crate) fn drain(&mut self, findings: &mut Vec<Finding>) {
        findings.append(&mut self.ready);
    }

    /// Hands out what was held back, with the count of what was left out.
    pub(crate) fn finish(&mut self, findings: &mut Vec<Finding>) {
        self.drain(findings);
        for tally in self.tallies.values_mut() {
            if let Some(mut finding) = tally.held.take() {
                let more = tally.count - LIMIT;
                if more > 0 {
                    finding.seen.push_str(&format!(" (and {more} more like it)"));
                }
                findings.push(finding);
            }
        }
    }
}
