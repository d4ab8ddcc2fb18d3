//! Expected failures: findings that are known of an IUT and do not fail its run.
//!
//! An entry counts only for the case and the clause (or check) that it names, and for what was seen if it says so. Findings of
//! checks that are expected leave the case as it would be without them; an expectation of the
//! case that is expected to break makes the case an expected failure. An entry that was asked
//! for by a case that ran and that no finding met is stale and fails the run, unless it says `sometimes`.

use fotaproof_cases::manifest::ExpectedFailure;
use fotaproof_trace::{Blame, Finding, FindingSource, Verdict};
use globset::Glob;

use crate::session::Outcome;

/// The entries of an IUT and which of them were met.
#[derive(Debug)]
pub struct Expectations {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    failure: ExpectedFailure,
    matcher: Option<globset::GlobMatcher>,
    /// A case that it is for was run to an end.
    asked: bool,
    met: bool,
}

/// An outcome after the expected findings are taken out.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The verdict without what is expected; `Fail` for an expected failure too.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// The entry for which the case fails as expected.
    pub expected: Option<ExpectedFailure>,
    /// Findings that are expected and do not count.
    pub notes: Vec<String>,
}

impl Expectations {
    /// The entries of an expected-failures file.
    #[must_use]
    pub fn new(entries: &[ExpectedFailure]) -> Self {
        Self {
            entries: entries
                .iter()
                .map(|failure| Entry {
                    failure: failure.clone(),
                    matcher: Glob::new(&escaped(&failure.case.value))
                        .ok()
                        .map(|glob| glob.compile_matcher()),
                    asked: false,
                    met: false,
                })
                .collect(),
        }
    }

    /// Judges an outcome with what is expected of the case.
    pub fn judge(&mut self, id: &str, outcome: &Outcome, strict: bool) -> Judged {
        let mut judged = Judged {
            verdict: outcome.base,
            reason: outcome.base_reason.clone(),
            expected: None,
            notes: Vec::new(),
        };
        let base = id.split('[').next().unwrap_or(id);
        let mut stops: Option<ExpectedFailure> = None;
        for entry in &mut self.entries {
            // a case that could not be judged says nothing of what the IUT would have done
            entry.asked |= matches!(outcome.verdict, Verdict::Pass | Verdict::Fail) && entry.is_for(id, base);
        }
        for finding in &outcome.findings {
            let entry = self
                .entries
                .iter_mut()
                .find(|entry| entry.is_for(id, base) && entry.covers(finding));
            let verdict = Verdict::of_finding(finding, strict);
            if verdict == Verdict::None {
                // it would fail the case under `--strict`, so its entry is of use
                if let Some(entry) = entry.filter(|_| finding.blame == Blame::Iut) {
                    entry.met = true;
                }
                continue;
            }
            match entry {
                Some(entry) if is_of_iut(finding) => {
                    entry.met = true;
                    if matches!(finding.source, FindingSource::Check(_)) {
                        let note = format!("expected ({}): {}", entry.failure.clause.value, finding.title);
                        if !judged.notes.contains(&note) {
                            judged.notes.push(note);
                        }
                    } else {
                        stops.get_or_insert_with(|| entry.failure.clone());
                    }
                }
                _ => {
                    if verdict > judged.verdict {
                        judged.verdict = verdict;
                        judged.reason.clone_from(&finding.title);
                    }
                }
            }
        }
        if let Some(failure) = stops
            && judged.verdict < Verdict::Fail
        {
            judged.verdict = Verdict::Fail;
            judged.reason.clone_from(&failure.reason);
            judged.expected = Some(failure);
        }
        if judged.verdict == Verdict::None {
            judged.verdict = Verdict::Pass;
        }
        judged
    }

    /// The entry that covers a finding in a case, with its place in the file.
    #[must_use]
    pub fn covering(&self, id: &str, finding: &Finding) -> Option<(usize, &ExpectedFailure)> {
        let base = id.split('[').next().unwrap_or(id);
        self.entries
            .iter()
            .enumerate()
            .find(|(_, entry)| entry.is_for(id, base) && entry.covers(finding))
            .map(|(index, entry)| (index, &entry.failure))
    }

    /// Whether the entry at this place is for a case.
    #[must_use]
    pub fn is_for(&self, index: usize, id: &str) -> bool {
        let base = id.split('[').next().unwrap_or(id);
        self.entries.get(index).is_some_and(|entry| entry.is_for(id, base))
    }

    /// Entries that a case could have met and none did, and entries past their day. When the cases are `chosen` out of the
    /// library, an entry for many of them says nothing.
    #[must_use]
    pub fn stale(&self, today: &str, chosen: bool) -> Vec<String> {
        let mut stale = Vec::new();
        for entry in &self.entries {
            let f = &entry.failure;
            if let Some(expires) = &f.expires
                && expires.value.as_str() < today
            {
                stale.push(format!(
                    "{} ({}): the entry expired on {}",
                    f.case.value, f.clause.value, expires.value
                ));
            } else if entry.asked && !entry.met && f.sometimes != Some(true) && !(chosen && entry.is_for_many()) {
                stale.push(format!(
                    "{} ({}): no case failed for this any more (line {})",
                    f.case.value, f.clause.value, f.case.pos.line
                ));
            }
        }
        stale
    }
}

/// What the IUT did, though perhaps only because the harness was late: where it is expected anyway, there is no doubt.
const fn is_of_iut(finding: &Finding) -> bool {
    matches!(finding.blame, Blame::Iut | Blame::Harness)
}

impl Entry {
    fn is_for(&self, id: &str, base: &str) -> bool {
        let case = &self.failure.case.value;
        case == id
            || case == base
            || self
                .matcher
                .as_ref()
                .is_some_and(|matcher| matcher.is_match(id) || matcher.is_match(base))
    }

    fn is_for_many(&self) -> bool {
        self.failure.case.value.contains(['*', '?', '{'])
    }

    fn covers(&self, finding: &Finding) -> bool {
        let ExpectedFailure { clause, seen, .. } = &self.failure;
        let clause = &clause.value;
        let named =
            finding.clauses.contains(clause) || matches!(&finding.source, FindingSource::Check(id) if id == clause);
        named && seen.as_ref().is_none_or(|seen| finding.seen.contains(seen.as_str()))
    }
}

/// A variant's brackets are no character class.
fn escaped(glob: &str) -> String {
    glob.replace('[', "\\[").replace(']', "\\]")
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use fotaproof_cases::files::load_expected_failures;
    use fotaproof_trace::Grade;

    const STEP: FindingSource = FindingSource::Expectation { step: 0, line: 1 };

    fn finding(source: FindingSource, seen: &str) -> Finding {
        Finding {
            source,
            grade: Grade::Must,
            blame: Blame::Iut,
            clauses: vec!["rfc7252/4.5".to_owned()],
            title: "the answer is not as expected".to_owned(),
            expected: "2.04".to_owned(),
            seen: seen.to_owned(),
            datagrams: Vec::new(),
            events: Vec::new(),
            hint: None,
        }
    }

    fn outcome(findings: Vec<Finding>) -> Outcome {
        Outcome {
            verdict: Verdict::Fail,
            base: Verdict::Pass,
            base_reason: String::new(),
            reason: String::new(),
            findings,
            notes: Vec::new(),
            measurements: Vec::new(),
            duration: Duration::ZERO,
            late: None,
            held: 0,
            never_registered: false,
            fates: Vec::new(),
        }
    }

    fn expectations(seen: &str) -> Expectations {
        let text = format!("- case: net.loss.burst\n  clause: rfc7252/4.5\n  reason: nothing is deduplicated\n{seen}");
        Expectations::new(&load_expected_failures("test.yaml", &text).unwrap())
    }

    fn judged(expectations: &mut Expectations, source: FindingSource, seen: &str) -> Judged {
        expectations.judge("net.loss.burst[run=8]", &outcome(vec![finding(source, seen)]), false)
    }

    #[test]
    fn without_seen_the_clause_alone_decides() {
        let mut entries = expectations("");
        assert!(judged(&mut entries, STEP, "no answer").expected.is_some());
    }

    #[test]
    fn what_was_seen_must_fit() {
        let mut entries = expectations("  seen: \"4.05\"\n");
        let same = judged(&mut entries, STEP, "4.05 Method Not Allowed");
        assert!(same.expected.is_some());
        assert!(entries.stale("2026-01-01", false).is_empty());
        let other = judged(&mut entries, STEP, "no answer");
        assert_eq!((other.verdict, other.expected), (Verdict::Fail, None));
    }

    #[test]
    fn another_failure_of_the_clause_leaves_the_entry_stale() {
        let mut entries = expectations("  seen: \"4.05\"\n");
        let check = FindingSource::Check("duplicate-answer".to_owned());
        assert_eq!(judged(&mut entries, check, "ACK 5.00").verdict, Verdict::Fail);
        assert_eq!(entries.stale("2026-01-01", false).len(), 1);
    }

    fn judged_late(expectations: &mut Expectations, seen: &str) -> Judged {
        let late = Finding {
            blame: Blame::Harness,
            ..finding(STEP, seen)
        };
        let outcome = Outcome {
            verdict: Verdict::Inconclusive,
            ..outcome(vec![late])
        };
        expectations.judge("net.loss.burst[run=8]", &outcome, false)
    }

    #[test]
    fn what_is_expected_is_expected_however_late_the_harness_was() {
        let mut entries = expectations("  seen: \"4.05\"\n");
        assert!(judged_late(&mut entries, "4.05 Method Not Allowed").expected.is_some());
        assert!(entries.stale("2026-01-01", false).is_empty());
    }

    #[test]
    fn what_the_harness_was_late_for_fails_nobody_and_leaves_no_entry_stale() {
        let mut entries = expectations("  seen: \"4.05\"\n");
        let judged = judged_late(&mut entries, "no answer");
        assert_eq!((judged.verdict, judged.expected), (Verdict::Inconclusive, None));
        assert!(entries.stale("2026-01-01", false).is_empty());
    }
}
