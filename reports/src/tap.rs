//! TAP version 14, for harnesses that read the Test Anything Protocol.
//!
//! An expected failure is a `TODO`, what was not run a `SKIP`; inconclusive and error are
//! `not ok`, with the verdict in the diagnostics.

use serde_json::json;

use crate::model::{CaseResult, RunResults, Verdict};
use crate::text::one_line;
use crate::view::{by_weight, case_file, evidence, evidence_path, facts, headline, is_problem, run_summary};

/// The run as TAP. `folder` stands before the paths of evidence.
#[must_use]
pub fn render(results: &RunResults, folder: &str) -> String {
    let points = results.cases.len() + results.stale_expectations.len();
    let mut out = format!("TAP version 14\n1..{points}\n");
    let mut number = 0;
    for case in &results.cases {
        number += 1;
        out += &point(results, case, number, folder);
    }
    for stale in &results.stale_expectations {
        number += 1;
        out += &format!("not ok {number} - stale expectation: {}\n", escape(stale));
    }
    out += &format!("# {}\n", run_summary(results));
    if let Some(reason) = &results.aborted {
        out += &format!("Bail out! {}\n", escape(reason));
    }
    out
}

fn point(results: &RunResults, case: &CaseResult, number: usize, folder: &str) -> String {
    let failed = is_problem(case) || case.expected_failure.is_some();
    let mut out = format!(
        "{} {number} - {}",
        if failed { "not ok" } else { "ok" },
        escape(&case.id)
    );
    if let Some(expected) = &case.expected_failure {
        out += &format!(" # TODO {}: {}", escape(&expected.clause), escape(&expected.reason));
    } else if matches!(case.verdict, Verdict::NotApplicable | Verdict::NotRun) {
        out += &format!(" # SKIP {}: {}", case.verdict.word(), escape(&headline(case)));
    }
    out.push('\n');
    if failed {
        out += &diagnostics(results, case, folder);
    }
    out
}

/// A YAML block; its texts are JSON strings, which YAML 1.2 reads as they are.
fn diagnostics(results: &RunResults, case: &CaseResult, folder: &str) -> String {
    let mut out = String::from("  ---\n");
    let mut line = |indent: &str, key: &str, value: &str| {
        out += &format!("  {indent}{key}: {}\n", json!(one_line(value)));
    };
    line("", "title", &case.title);
    line("", "verdict", case.verdict.word());
    line("", "message", &headline(case));
    line("", "file", &case_file(results, case));
    for (label, path) in evidence(case) {
        line("", label, &evidence_path(folder, path));
    }
    if !case.repeat.is_empty() {
        line("", "repeat", &case.repeat);
    }
    if !case.findings.is_empty() {
        out += "  findings:\n";
        for finding in by_weight(case) {
            out += &format!("    - title: {}\n", json!(one_line(&finding.title)));
            for (key, text) in [
                ("grade", &finding.grade),
                ("blame", &finding.blame),
                ("source", &finding.source),
            ] {
                out += &format!("      {key}: {}\n", json!(one_line(text)));
            }
            for (key, text) in facts(results, case, finding) {
                out += &format!("      {key}: {}\n", json!(one_line(&text)));
            }
        }
    }
    out + "  ...\n"
}

/// A description on one line; `#` would begin a directive.
fn escape(text: &str) -> String {
    one_line(text).replace('\\', "\\\\").replace('#', "\\#")
}
