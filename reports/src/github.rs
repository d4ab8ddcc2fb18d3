//! Workflow commands of GitHub Actions, and the page of a job's summary.
//!
//! GitHub shows ten errors and ten warnings of a step, so each case gives one annotation: its
//! weightiest finding at its line, the rest in the text.

use crate::model::{CaseResult, RunResults, Totals, Verdict};
use crate::text::{count, duration, lines, one_line};
use crate::view::{by_weight, case_file, details, headline, is_problem, outcome, run_summary, run_word, suites};

/// Annotations, one a line. `folder` stands before the paths of evidence.
#[must_use]
pub fn render(results: &RunResults, folder: &str) -> String {
    let mut out = String::new();
    for case in results.cases.iter().filter(|case| is_problem(case)) {
        out += &annotation(results, case, folder);
    }
    for stale in &results.stale_expectations {
        let message = format!(
            "{}\nno failure met this entry of the expected-failures file: remove it",
            one_line(stale)
        );
        out += &format!("::error title=stale expectation::{}\n", data(&message));
    }
    if let Some(reason) = &results.aborted {
        out += &format!("::error title=the run ended early::{}\n", data(reason));
    }
    let level = if results.exit_code == 0 { "notice" } else { "error" };
    out += &format!(
        "::{level} title=fotaproof {}::{}\n",
        property(&run_word(results.exit_code).to_lowercase()),
        data(&run_summary(results))
    );
    out
}

fn annotation(results: &RunResults, case: &CaseResult, folder: &str) -> String {
    let level = if case.verdict == Verdict::Inconclusive {
        "warning"
    } else {
        "error"
    };
    let mut properties = vec![];
    let file = case_file(results, case);
    if !file.is_empty() {
        properties.push(format!("file={}", property(&file)));
        let line = by_weight(case).first().map_or(0, |finding| finding.line);
        if line > 0 {
            properties.push(format!("line={line}"));
        }
    }
    properties.push(format!(
        "title={}",
        property(&format!("{}: {}", case.id, outcome(case)))
    ));
    let headline = headline(case);
    let mut message = details(results, case, folder);
    if by_weight(case)
        .first()
        .is_none_or(|finding| one_line(&finding.title) != headline)
    {
        message = format!("{headline}\n{message}");
    }
    format!("::{level} {}::{}\n", properties.join(","), data(&message))
}

/// A message: any characters but line ends, which end the command.
fn data(text: &str) -> String {
    lines(text)
        .join("\n")
        .replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// A property: the marks that separate properties as well.
fn property(text: &str) -> String {
    data(&one_line(text)).replace(':', "%3A").replace(',', "%2C")
}

/// The summary of a job, in Markdown, for the file that `GITHUB_STEP_SUMMARY` names.
#[must_use]
pub fn summary(results: &RunResults) -> String {
    let mut out = format!(
        "### fotaproof: {}\n\n{}\n\n",
        run_word(results.exit_code).to_lowercase(),
        escape(&run_summary(results))
    );
    if let Some(reason) = &results.aborted {
        out += &format!("The run ended early: {}\n\n", escape(reason));
    }
    out += "| suite | passed | failed | expected failures | inconclusive | errors | not applicable | time |\n";
    out += "|---|---:|---:|---:|---:|---:|---:|---:|\n";
    for (suite, cases) in suites(results) {
        let totals = Totals::of(cases.iter().copied());
        let time = duration(cases.iter().map(|case| case.wall_ms).sum());
        out += &format!(
            "| {} | {} | {} | {} | {} | {} | {} | {time} |\n",
            escape(suite),
            totals.passed,
            totals.failed,
            totals.expected_failures,
            totals.inconclusive,
            totals.errors,
            totals.not_applicable
        );
    }
    let problems: Vec<_> = results.cases.iter().filter(|case| is_problem(case)).collect();
    if !problems.is_empty() {
        out += "\n| case | verdict | why | clauses | repeat |\n|---|---|---|---|---|\n";
    }
    for case in problems {
        let clauses = by_weight(case)
            .first()
            .map_or(&case.clauses, |finding| &finding.clauses);
        out += &format!(
            "| {} | {} | {} | {} | {} |\n",
            escape(&case.id),
            outcome(case),
            escape(&headline(case)),
            escape(&clauses.join(", ")),
            escape(&case.repeat)
        );
    }
    let stale = u32::try_from(results.stale_expectations.len()).unwrap_or(u32::MAX);
    if stale > 0 {
        out += &format!(
            "\n{} (they fail the run until removed):\n\n",
            count(stale, "stale expectation")
        );
        for entry in &results.stale_expectations {
            out += &format!("- {}\n", escape(entry));
        }
    }
    out
}

/// Markdown with nothing but text in it.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in one_line(text).chars() {
        match c {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            '@' => out += "&#64;",
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' | '$' => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}
