//! `matrix.html`: one page that holds all it needs and fetches nothing. Every text goes through the template, which escapes
//! it; the page's policy forbids scripts and outside resources.

use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::view::{
    COLUMNS, LEGEND, MEASURED, STALE, blame, evidence, figures, findings, grids, headline, href, interop, is_problem,
    named, network_note, next, outcome, short, speed_note, summary,
};
use super::{Cell, MatrixResults, Party, Side, Way};
use crate::model::{Finding, Verdict};
use crate::text::{count, duration, lines, one_line};
use crate::view::{join, run_word};
use crate::write::{WriteError, write_atomically};

/// Name of the file in the folder of a run.
pub const FILE: &str = "matrix.html";

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

const STYLE: &str = "
:root { color-scheme: light dark; --good: #1a7f37; --bad: #cf222e; --unsure: #9a6700; --line: #8884; --soft: #8881; }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --bad: #f85149; --unsure: #d29922; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: .5rem 0 1rem; } th, td { padding: .3rem .8rem; border: 1px solid var(--line); }
.grid td { text-align: center; min-width: 8rem; } .figures { font-size: 14px; } .figures th, .figures td { padding: .25rem .45rem; white-space: nowrap; } .figures td { text-align: right; font-variant-numeric: tabular-nums; } th { text-align: left; } .figures th[scope=row] { font-weight: 400; } .why { font-size: 13px; display: inline-block; max-width: 14rem; }
.wide { overflow-x: auto; } a { color: inherit; }
details { border-top: 1px solid var(--line); padding: .3rem 0; } summary { cursor: pointer; overflow-wrap: anywhere; }
.verdict { font-weight: 600; } .pass { color: var(--good); } .fail { color: var(--bad); } .unsure { color: var(--unsure); } .quiet { opacity: .7; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .3rem 0 .8rem 1.2rem; }
dt { opacity: .7; } dd { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; } code { font: 13px ui-monospace, monospace; overflow-wrap: anywhere; }
.finding { margin: .5rem 0 0 1.2rem; } :target { background: var(--soft); } dl[id] { scroll-margin-top: 3rem; } h2.fail { font-size: 1.1em; }
@media (max-width: 40rem) { body { margin: 1rem auto; } dl { grid-template-columns: 1fr; } dt { margin-top: .3rem; } .finding, dl { margin-left: .4rem; } .grid td { min-width: 6rem; } }
";

/// The page. Paths of evidence are relative to the folder of the run, where it stands.
#[must_use]
pub fn render(results: &MatrixResults) -> String {
    let word = run_word(results.exit_code).to_lowercase();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { "fotaproof matrix: " (word) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "fotaproof matrix: " span class=(if results.exit_code == 0 { "pass" } else { "fail" }) { (word) } }
                p { (summary(results)) }
                @if let Some(reason) = &results.aborted { p.unsure { "The run ended early: " (one_line(reason)) } }
                @if !results.stale_expectations.is_empty() {
                    h2.fail { (STALE) }
                    ul { @for entry in &results.stale_expectations { li { (one_line(entry)) } } }
                }
                @for note in &results.notes { p.quiet { "Note: " (one_line(note)) } }
                dl {
                    dt { "run" } dd { (one_line(&results.run)) ", " (one_line(&results.started)) }
                    dt { "packages" } dd { (results.size) " bytes" }
                    dt { "harness" } dd { "fotaproof " (one_line(&results.harness)) }
                }
                @for (network, way) in grids(results) {
                    h2 { (way.word()) " over " (one_line(network)) }
                    @if let Some(note) = network_note(results, network, way) { p.quiet { (note) } }
                    div.wide tabindex="0" role="region" aria-label={ (way.word()) " over " (one_line(network)) } { (grid(results, network, way)) }
                }
                (legend())
                (measurements(results))
                h2 { "Cells" }
                @for (index, cell) in results.cells.iter().enumerate() { (self::cell(index, cell)) }
                h2 { "Who took part" }
                (parties("client", &results.clients))
                (parties("server", &results.servers))
            }
        }
    };
    page.into_string()
}

/// Writes the page, whole or not at all.
///
/// # Errors
/// Those of [`write_atomically`].
pub fn write_file(path: &Path, results: &MatrixResults) -> Result<(), WriteError> {
    write_atomically(path, render(results).as_bytes())
}

const fn class(cell: &Cell) -> &'static str {
    if cell.expected {
        return "quiet";
    }
    class_of(cell.verdict)
}

const fn class_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Inconclusive | Verdict::Error => "unsure",
        Verdict::NotApplicable | Verdict::NotRun => "quiet",
    }
}

fn grid(results: &MatrixResults, network: &str, way: Way) -> Markup {
    html! {
        table.grid {
            thead { tr { th scope="col" { "client \\ server" } @for server in &results.servers { th scope="col" { (named(server)) } } } }
            tbody {
                @for client in &results.clients {
                    tr {
                        th scope="row" { (named(client)) }
                        @for server in &results.servers { td { (entry(results, network, way, &client.name, &server.name)) } }
                    }
                }
            }
        }
    }
}

fn entry(results: &MatrixResults, network: &str, way: Way, client: &str, server: &str) -> Markup {
    let found =
        results.cells.iter().enumerate().find(|(_, cell)| {
            cell.network == network && cell.way == way && cell.client == client && cell.server == server
        });
    let Some((index, cell)) = found else {
        return html! { "-" };
    };
    html! {
        a class={ "verdict " (class(cell)) } href={ "#cell-" (index) } { (short(cell)) }
        @if let Some(href) = cell.evidence.capture.as_deref().and_then(href) { br; a.quiet href=(href) aria-label={ "capture of " (one_line(&cell.id)) } { "capture" } }
        @if let Some(first) = cell.blame.as_ref().and_then(|blame| blame.packets.first()) { span.quiet { ", packet " (first) } }
        @if cell.verdict == Verdict::NotApplicable { br; span.quiet.why { (headline(cell)) } }
    }
}

fn legend() -> Markup {
    html! {
        details {
            summary { "What the entries mean" }
            dl { @for (word, meaning, verdict) in LEGEND {
                dt { span class={ "verdict " (class_of(verdict)) } { (word) } } dd { (meaning) }
            } }
        }
    }
}

fn measurements(results: &MatrixResults) -> Markup {
    let measured: Vec<(usize, &Cell)> = results
        .cells
        .iter()
        .enumerate()
        .filter(|(_, cell)| cell.measured.is_some())
        .collect();
    html! {
        @if !measured.is_empty() {
            h2 { "Measurements" }
            p.quiet { (MEASURED) }
            @if let Some(note) = speed_note(results) { p.unsure { (note) } }
            div.wide tabindex="0" role="region" aria-label="Measurements" {
                table.figures {
                    thead { tr { th scope="col" { "cell" } @for column in COLUMNS { th scope="col" { (column) } } } }
                    tbody {
                        @for (index, cell) in measured {
                            tr {
                                th scope="row" { a href={ "#cell-" (index) } { (one_line(&cell.id)) } }
                                @if let Some(measured) = &cell.measured { @for figure in figures(measured) { td { (figure) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn cell(index: usize, cell: &Cell) -> Markup {
    html! {
        details open[is_problem(cell)] {
            summary {
                span class={ "verdict " (class(cell)) } { (outcome(cell)) } " " code { (one_line(&cell.id)) } " "
                @if cell.wall_ms > 0.0 { span.quiet { (duration(cell.wall_ms)) } }
            }
            // a link to what is inside opens it
            dl id={ "cell-" (index) } {
                @if !cell.reason.is_empty() { dt { "why" } dd { (headline(cell)) } }
                @if let Some(blame) = blame(cell) { dt { "at fault" } dd { (blame) } }
                @if let Some(next) = next(cell) { dt { "next" } dd { (next) } }
                @if cell.verdict != Verdict::NotApplicable {
                    dt { "update" } dd { (interop(cell)) }
                    dt { "checks of the client" } dd { (side(&cell.client_side)) }
                    dt { "checks of the server" } dd { (side(&cell.server_side)) }
                    @if let Some(measured) = &cell.measured {
                        @for (name, figure) in COLUMNS.iter().zip(figures(measured)) { dt { "measured: " (name) } dd { (figure) } }
                    }
                    dt { "seed" } dd { (cell.seed) }
                }
                @for note in &cell.notes { dt { "note" } dd { (lines(note).join("\n")) } }
                @for (label, path) in evidence(cell) { dt { (label) } dd { (link(path)) } }
                @if !cell.repeat.is_empty() { dt { "repeat" } dd { code { (one_line(&cell.repeat)) } } }
            }
            @for (whose, finding) in findings(cell) { (self::finding(whose, finding)) }
        }
    }
}

fn side(side: &Side) -> String {
    let mut text = side.verdict.word().to_owned();
    if !side.findings.is_empty() {
        let findings = u32::try_from(side.findings.len()).unwrap_or(u32::MAX);
        text += &format!(", {}", count(findings, "finding"));
    }
    for met in &side.expected {
        text += &format!("\nexpected ({}): {}", one_line(&met.clause), one_line(&met.reason));
    }
    text
}

fn finding(whose: &str, finding: &Finding) -> Markup {
    html! {
        div.finding {
            strong { (one_line(&finding.title)) } " " span.quiet { "(" (whose) ", " (one_line(&finding.grade)) ")" }
            dl {
                dt { "expected" } dd { (lines(&finding.expected).join("\n")) }
                dt { "seen" } dd { (lines(&finding.seen).join("\n")) }
                dt { "check" } dd { (one_line(&finding.source)) }
                dt { "clause" } dd { (one_line(&finding.clauses.join(", "))) }
                @if !finding.packets.is_empty() { dt { "packets" } dd { (join(&finding.packets)) } }
                @if let Some(hint) = &finding.hint { dt { "look at" } dd { (lines(hint).join("\n")) } }
            }
        }
    }
}

fn parties(role: &str, parties: &[Party]) -> Markup {
    html! {
        @for party in parties {
            details {
                summary { (role) " " strong { (named(party)) } }
                dl {
                    @if let Some(text) = &party.description { dt { "what it is" } dd { (one_line(text)) } }
                    @if let Some(manifest) = &party.manifest { dt { "manifest" } dd { (one_line(manifest)) } }
                    dt { "claims" } dd { (one_line(&party.claims.join(", "))) }
                }
            }
        }
    }
}

/// A link to a file beside the page. What is no plain relative path is shown and not linked.
fn link(path: &str) -> Markup {
    let text = one_line(path);
    html! {
        @match href(path) {
            Some(href) => a href=(href) { code { (text) } },
            None => code { (text) },
        }
    }
}
