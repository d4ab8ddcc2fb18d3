//! What several renderers say in the same way.

use crate::model::{CaseResult, Evidence, Finding, RunResults, Totals, Verdict, exit_code};
use crate::text::{count, duration, one_line};

/// The cases by suite, suites in the order of their first case.
pub(crate) fn suites(results: &RunResults) -> Vec<(&str, Vec<&CaseResult>)> {
    let mut suites: Vec<(&str, Vec<&CaseResult>)> = vec![];
    for case in &results.cases {
        match suites.iter_mut().find(|(name, _)| *name == case.suite) {
            Some((_, cases)) => cases.push(case),
            None => suites.push((&case.suite, vec![case])),
        }
    }
    suites
}

/// How a case ended, in the words of the reports.
pub(crate) const fn outcome(case: &CaseResult) -> &'static str {
    if case.expected_failure.is_some() {
        "expected failure"
    } else {
        case.verdict.word()
    }
}

/// Whether the case needs somebody's attention.
pub(crate) const fn is_problem(case: &CaseResult) -> bool {
    case.expected_failure.is_none() && matches!(case.verdict, Verdict::Fail | Verdict::Inconclusive | Verdict::Error)
}

/// The counts in words, without those that are zero.
pub(crate) fn counts(totals: &Totals) -> String {
    let mut parts = vec![format!("{} passed", totals.passed)];
    for (number, word) in [
        (totals.failed, "failed"),
        (totals.expected_failures, "failed as expected"),
        (totals.inconclusive, "inconclusive"),
        (totals.errors, if totals.errors == 1 { "error" } else { "errors" }),
        (totals.not_applicable, "not applicable"),
        (totals.not_run, "not run"),
    ] {
        if number > 0 {
            parts.push(format!("{number} {word}"));
        }
    }
    parts.join(", ")
}

/// How the run ended, in one word.
pub(crate) const fn run_word(code: i32) -> &'static str {
    match code {
        exit_code::PASSED => "PASSED",
        exit_code::FAILED => "FAILED",
        exit_code::NOTHING_SELECTED => "NOTHING RUN",
        exit_code::INCONCLUSIVE => "INCONCLUSIVE",
        exit_code::INTERRUPTED => "INTERRUPTED",
        _ => "NOT COMPLETED",
    }
}

/// The run in one line, without its first word.
pub(crate) fn run_summary(results: &RunResults) -> String {
    let mut line = counts(&Totals::of(&results.cases));
    let stale = u32::try_from(results.stale_expectations.len()).unwrap_or(u32::MAX);
    if stale > 0 {
        line += &format!(", {}", count(stale, "stale expectation"));
    }
    line += &format!("; {}", duration(results.seconds * 1000.0));
    let iut: f64 = results
        .cases
        .iter()
        .map(|case| case.iut_ms)
        .filter(|ms| ms.is_finite())
        .sum();
    if iut > results.seconds * 1000.0 {
        line += &format!(" for {} of the IUT's time", duration(iut));
    }
    line + &format!("; seed {}", results.seed)
}

/// Where a finding rests in the file of its case.
pub(crate) fn location(results: &RunResults, case: &CaseResult, line: u32) -> String {
    let file = case_file(results, case);
    if line == 0 || file.is_empty() {
        file
    } else {
        format!("{file}:{line}")
    }
}

/// The file of a case, from where the tool was started.
pub(crate) fn case_file(results: &RunResults, case: &CaseResult) -> String {
    let file = one_line(&case.file);
    let library = results.library.trim_end_matches('/');
    let inside = library.is_empty() || library == "embedded" || file.starts_with('/');
    if inside || file.is_empty() || file.starts_with(&format!("{library}/")) {
        file
    } else {
        format!("{library}/{file}")
    }
}

/// A file of evidence, from where the tool was started.
pub(crate) fn evidence_path(folder: &str, file: &str) -> String {
    let file = one_line(file);
    let folder = folder.trim_end_matches('/');
    if folder.is_empty() || file.starts_with('/') {
        file
    } else {
        format!("{folder}/{file}")
    }
}

/// Numbers of packets, or others, with commas.
pub(crate) fn join<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// Names of strangers, each on one line, with commas.
pub(crate) fn names(items: &[String]) -> String {
    items.iter().map(|item| one_line(item)).collect::<Vec<_>>().join(", ")
}

/// What there is to say about a finding: labels and texts, texts as they came.
pub(crate) fn facts(results: &RunResults, case: &CaseResult, finding: &Finding) -> Vec<(&'static str, String)> {
    let mut facts = vec![];
    if finding.line > 0 {
        facts.push(("at", location(results, case, finding.line)));
    }
    for (label, text) in [("expected", &finding.expected), ("seen", &finding.seen)] {
        if !text.is_empty() {
            facts.push((label, text.clone()));
        }
    }
    if !finding.clauses.is_empty() {
        facts.push((
            if finding.clauses.len() == 1 {
                "clause"
            } else {
                "clauses"
            },
            names(&finding.clauses),
        ));
    }
    if !finding.packets.is_empty() {
        facts.push((
            if finding.packets.len() == 1 {
                "packet"
            } else {
                "packets"
            },
            join(&finding.packets),
        ));
    }
    if let Some(hint) = &finding.hint {
        facts.push(("hint", hint.clone()));
    }
    facts
}

/// Who is to blame for a finding, and how much it weighs: `must, blame iut, check token-echo`.
pub(crate) fn weight(finding: &Finding) -> String {
    let source = one_line(&finding.source);
    let source = if source.is_empty() || source == "expectation" {
        source
    } else {
        format!("check {source}")
    };
    let blame = one_line(&finding.blame);
    let blame = if blame.is_empty() {
        blame
    } else {
        format!("blame {blame}")
    };
    [one_line(&finding.grade), blame, source]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}

/// Findings, those that weigh most first.
pub(crate) fn by_weight(case: &CaseResult) -> Vec<&Finding> {
    let mut findings: Vec<_> = case.findings.iter().collect();
    findings.sort_by_key(|finding| match finding.grade.as_str() {
        "should" => 1,
        "advice" => 2,
        _ => 0,
    });
    findings
}

/// Why the case ended as it did, in one line.
pub(crate) fn headline(case: &CaseResult) -> String {
    let reason = one_line(&case.reason);
    if !reason.is_empty() {
        return reason;
    }
    by_weight(case)
        .first()
        .map_or_else(|| outcome(case).to_owned(), |finding| one_line(&finding.title))
}

/// The case in plain lines: every finding with what it rests on, the evidence, the command that
/// repeats it.
pub(crate) fn details(results: &RunResults, case: &CaseResult, folder: &str) -> String {
    let mut out = String::new();
    for (number, finding) in by_weight(case).into_iter().enumerate() {
        out += &format!("{}) {} ({})\n", number + 1, finding.title, weight(finding));
        for (label, text) in facts(results, case, finding) {
            out += &format!("   {label}: {text}\n");
        }
    }
    for note in &case.notes {
        out += &format!("note: {note}\n");
    }
    for (label, path) in evidence(case) {
        out += &format!("{label}: {}\n", evidence_path(folder, path));
    }
    if !case.repeat.is_empty() {
        out += &format!("repeat: {}\n", case.repeat);
    }
    out
}

/// The files of evidence with their labels.
pub(crate) fn evidence(case: &CaseResult) -> impl Iterator<Item = (&'static str, &str)> {
    let Evidence {
        journal,
        capture,
        output,
    } = &case.evidence;
    [("capture", capture), ("output", output), ("journal", journal)]
        .into_iter()
        .filter_map(|(label, path)| path.as_deref().map(|path| (label, path)))
}
