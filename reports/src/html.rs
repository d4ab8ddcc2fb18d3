//! `report.html`: one page that holds all it needs and fetches nothing. Every text goes through
//! the template, which escapes it; the page's policy forbids scripts and outside resources.

use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::model::{CaseResult, Finding, RunResults, Totals, Verdict};
use crate::text::{duration, lines, one_line};
use crate::view::{
    by_weight, case_file, evidence, facts, headline, is_problem, names, outcome, run_summary, run_word, suites, weight,
};
use crate::write::{WriteError, write_atomically};

/// Name of the file in the folder of a run.
pub const FILE: &str = "report.html";

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

const STYLE: &str = "
:root { color-scheme: light dark; --good: #1a7f37; --bad: #cf222e; --unsure: #9a6700; --line: #8884; }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --bad: #f85149; --unsure: #d29922; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; } tfoot { font-weight: 600; }
details { border-top: 1px solid var(--line); padding: .3rem 0; } summary { cursor: pointer; overflow-wrap: anywhere; }
.verdict { font-weight: 600; } .pass { color: var(--good); } .fail { color: var(--bad); } .inconclusive, .error { color: var(--unsure); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .3rem 0 .8rem 1.2rem; }
dt { opacity: .7; } dd { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; } code { font: 13px ui-monospace, monospace; overflow-wrap: anywhere; }
.finding { margin: .5rem 0 0 1.2rem; } .quiet { opacity: .7; }
";

/// The page. Paths of evidence are relative to the folder of the run, where it stands.
#[must_use]
pub fn render(results: &RunResults) -> String {
    let word = run_word(results.exit_code);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { "fotaproof: " (word.to_lowercase()) ", " (one_line(&results.iut.name)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "fotaproof: " span class=(if results.exit_code == 0 { "pass" } else { "fail" }) { (word.to_lowercase()) } }
                p { (run_summary(results)) }
                @if let Some(reason) = &results.aborted { p.error { "The run ended early: " (one_line(reason)) } }
                (run(results))
                (table(results))
                @if !results.stale_expectations.is_empty() {
                    h2 { "Stale expectations" }
                    p { "No failure met these entries; they fail the run until removed." }
                    ul { @for entry in &results.stale_expectations { li { (one_line(entry)) } } }
                }
                @for (suite, cases) in suites(results) {
                    h2 { (one_line(suite)) }
                    @for case in cases { (self::case(results, case)) }
                }
            }
        }
    };
    page.into_string()
}

/// Writes the page, whole or not at all.
///
/// # Errors
/// Those of [`write_atomically`].
pub fn write_file(path: &Path, results: &RunResults) -> Result<(), WriteError> {
    write_atomically(path, render(results).as_bytes())
}

fn run(results: &RunResults) -> Markup {
    let iut = &results.iut;
    let mut rows = vec![
        (
            "IUT",
            format!(
                "{} {} ({})",
                iut.name,
                iut.version.as_deref().unwrap_or_default(),
                iut.role
            ),
        ),
        ("network", results.network.clone()),
        ("run", format!("{}, {}", results.run, results.started)),
        (
            "harness",
            format!("fotaproof {}, library {}", results.harness, results.library),
        ),
    ];
    if !iut.claims.is_empty() {
        rows.push(("claims", names(&iut.claims)));
    }
    if !results.selectors.is_empty() {
        rows.push(("selected", names(&results.selectors)));
    }
    html! { dl { @for (label, text) in rows { dt { (label) } dd { (one_line(&text)) } } } }
}

fn table(results: &RunResults) -> Markup {
    let row = |name: &str, totals: Totals, ms: f64| {
        html! {
            tr {
                td { (one_line(name)) } td { (totals.passed) } td { (totals.failed) } td { (totals.expected_failures) }
                td { (totals.inconclusive) } td { (totals.errors) } td { (totals.not_applicable) } td { (totals.not_run) } td { (duration(ms)) }
            }
        }
    };
    html! {
        table {
            thead {
                tr {
                    th { "suite" } th { "passed" } th { "failed" } th { "expected failures" } th { "inconclusive" }
                    th { "errors" } th { "not applicable" } th { "not run" } th { "time" }
                }
            }
            tbody {
                @for (name, cases) in suites(results) {
                    (row(name, Totals::of(cases.iter().copied()), cases.iter().map(|case| case.wall_ms).sum()))
                }
            }
            tfoot { (row("all", Totals::of(&results.cases), results.seconds * 1000.0)) }
        }
    }
}

fn case(results: &RunResults, case: &CaseResult) -> Markup {
    let class = match case.verdict {
        _ if case.expected_failure.is_some() => "quiet",
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Inconclusive => "inconclusive",
        Verdict::Error => "error",
        Verdict::NotApplicable | Verdict::NotRun => "quiet",
    };
    html! {
        details id=(one_line(&case.id)) open[is_problem(case)] {
            summary {
                span class={ "verdict " (class) } { (outcome(case)) } " " code { (one_line(&case.id)) } " "
                span.quiet { (duration(case.wall_ms)) }
            }
            dl {
                dt { "title" } dd { (one_line(&case.title)) }
                @if case.verdict != Verdict::Pass { dt { "why" } dd { (headline(case)) } }
                @if let Some(expected) = &case.expected_failure {
                    dt { "expected" } dd { (one_line(&expected.clause)) ": " (one_line(&expected.reason)) }
                    @if let Some(link) = &expected.link { dt { "known at" } dd { (one_line(link)) } }
                }
                dt { "file" } dd { (case_file(results, case)) }
                @for (label, list) in [("clauses", &case.clauses), ("test ids", &case.ets), ("tags", &case.tags)] {
                    @if !list.is_empty() { dt { (label) } dd { (names(list)) } }
                }
                @for figure in &case.measurements { dt { (one_line(&figure.name)) } dd { (figure.value) " " (one_line(&figure.unit)) } }
                @for note in &case.notes { dt { "note" } dd { (lines(note).join("\n")) } }
                @for (label, path) in evidence(case) { dt { (label) } dd { (link(path)) } }
                @if !case.repeat.is_empty() { dt { "repeat" } dd { code { (one_line(&case.repeat)) } } }
            }
            @for finding in by_weight(case) { (self::finding(results, case, finding)) }
        }
    }
}

fn finding(results: &RunResults, case: &CaseResult, finding: &Finding) -> Markup {
    html! {
        div.finding {
            strong { (one_line(&finding.title)) } " " span.quiet { "(" (weight(finding)) ")" }
            dl { @for (label, text) in facts(results, case, finding) { dt { (label) } dd { (lines(&text).join("\n")) } } }
        }
    }
}

/// A link to a file beside the page. What is no plain relative path is shown and not linked.
fn link(path: &str) -> Markup {
    let text = one_line(path);
    if path.starts_with(['/', '\\']) || path.split('/').any(|part| part == "..") {
        return html! { code { (text) } };
    }
    let mut href = String::from("./");
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/' => href.push(char::from(byte)),
            _ => href += &format!("%{byte:02X}"),
        }
    }
    html! { a href=(href) { code { (text) } } }
}
