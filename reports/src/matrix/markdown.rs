//! The matrix as Markdown, for a summary of a build or a page of a wiki.

use core::fmt::Write as _;
use std::path::Path;

use super::view::{
    COLUMNS, LEGEND, MEASURED, STALE, blame, evidence, figures, findings, grids, headline, href, interop, is_problem,
    named, network_note, next, not_applicable, outcome, short, speed_note, summary,
};
use super::{Cell, MatrixResults};
use crate::text::one_line;
use crate::view::run_word;
use crate::write::{WriteError, write_atomically};

/// Name of the file in the folder of a run.
pub const FILE: &str = "matrix.md";

/// The text, escaped so that nothing in it acts: neither as Markdown nor as HTML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in one_line(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '(' | ')' | '#' | '|' | '!' | '~' | '{' | '}' | '$' | '@' => {
                out.push('\\');
                out.push(c);
            }
            // an address would become a link by itself
            ':' => out.push_str("&#58;"),
            c => out.push(c),
        }
    }
    out
}

/// A code span; a text with a backtick of its own, which could end it, stands as plain text.
fn code(text: &str) -> String {
    let text = one_line(text);
    if text.contains('`') {
        escaped(&text)
    } else {
        format!("`{}`", text.replace('|', "\\|"))
    }
}

fn linked(text: &str, path: Option<&str>) -> String {
    match path.and_then(href) {
        Some(href) => format!("[{}]({href})", escaped(text)),
        None => escaped(text),
    }
}

/// The matrix as Markdown. Links are relative to the folder of the run.
#[must_use]
pub fn render(results: &MatrixResults) -> String {
    let mut out = format!(
        "# fotaproof matrix: {}\n\n{}. Packages of {} bytes; fotaproof {}; {}.\n",
        run_word(results.exit_code).to_lowercase(),
        escaped(&summary(results)),
        results.size,
        escaped(&results.harness),
        escaped(&results.started)
    );
    if let Some(reason) = &results.aborted {
        let _ = write!(out, "\nThe run ended early&#58; {}.\n", escaped(reason));
    }
    if !results.stale_expectations.is_empty() {
        let _ = writeln!(out, "\n{}\n", escaped(STALE));
        for entry in &results.stale_expectations {
            let _ = writeln!(out, "- {}", escaped(entry));
        }
    }
    for note in &results.notes {
        let _ = write!(out, "\nNote&#58; {}.\n", escaped(note));
    }
    for (network, way) in grids(results) {
        let _ = write!(out, "\n## {} over {}\n\n", way.word(), escaped(network));
        if let Some(note) = network_note(results, network, way) {
            let _ = write!(out, "{}\n\n", escaped(&note));
        }
        out.push_str("| client \\ server |");
        for server in &results.servers {
            let _ = write!(out, " {} |", escaped(&named(server)));
        }
        out.push_str("\n|---|");
        out.push_str(&"---|".repeat(results.servers.len()));
        for client in &results.clients {
            let _ = write!(out, "\n| {} |", escaped(&named(client)));
            for server in &results.servers {
                let text = results.cell(network, way, &client.name, &server.name).map_or_else(
                    || "-".to_owned(),
                    |cell| linked(&short(cell), cell.evidence.capture.as_deref()),
                );
                let _ = write!(out, " {text} |");
            }
        }
        out.push('\n');
    }
    if results.cells.iter().any(|cell| cell.measured.is_some()) {
        let note = speed_note(results).map_or_else(String::new, |note| format!(" {note}"));
        let _ = write!(
            out,
            "\n## Measurements\n\n{}\n\n| cell |",
            escaped(&format!("{MEASURED}{note}"))
        );
        for column in COLUMNS {
            let _ = write!(out, " {column} |");
        }
        out.push_str("\n|---|");
        out.push_str(&"---:|".repeat(COLUMNS.len()));
        for cell in &results.cells {
            let Some(measured) = &cell.measured else { continue };
            let _ = write!(out, "\n| {} |", linked(&cell.id, cell.evidence.capture.as_deref()));
            for figure in figures(measured) {
                let _ = write!(out, " {} |", escaped(&figure));
            }
        }
        out.push('\n');
    }
    let problems: Vec<&Cell> = results.cells.iter().filter(|cell| is_problem(cell)).collect();
    if !problems.is_empty() {
        out.push_str("\n## What needs attention\n");
        for cell in problems {
            problem(&mut out, cell);
        }
    }
    let reasons = not_applicable(results);
    if !reasons.is_empty() {
        out.push_str("\n## Not applicable\n");
        for reason in reasons {
            let _ = write!(out, "\n- {}", escaped(&reason));
        }
        out.push('\n');
    }
    out.push_str("\n## What the entries mean\n\n| entry | meaning |\n|---|---|\n");
    for (word, meaning, _) in LEGEND {
        let _ = writeln!(out, "| {} | {} |", escaped(word), escaped(meaning));
    }
    out
}

fn problem(out: &mut String, cell: &Cell) {
    let _ = write!(
        out,
        "\n### {}: {}\n\n{}. Update: {}.\n",
        outcome(cell),
        escaped(&cell.id),
        escaped(&headline(cell)),
        escaped(&interop(cell))
    );
    if let Some(blame) = blame(cell) {
        let _ = write!(out, "\n- at fault: {}", escaped(&blame));
    }
    if let Some(next) = next(cell) {
        let _ = write!(out, "\n- next: {}", escaped(&next));
    }
    for (side, finding) in findings(cell) {
        let _ = write!(
            out,
            "\n- {side}, {}: {}; expected {}, seen {} ({})",
            escaped(&finding.grade),
            escaped(&finding.title),
            escaped(&finding.expected),
            escaped(&finding.seen),
            escaped(&finding.clauses.join(", "))
        );
    }
    for note in &cell.notes {
        let _ = write!(out, "\n- {}", escaped(note));
    }
    for (label, path) in evidence(cell) {
        let _ = write!(out, "\n- {label}: {}", linked(path, Some(path)));
    }
    if !cell.repeat.is_empty() {
        let _ = write!(out, "\n- repeat: {}", code(&cell.repeat));
    }
    out.push('\n');
}

/// Writes the page, whole or not at all.
///
/// # Errors
/// Those of [`write_atomically`].
pub fn write_file(path: &Path, results: &MatrixResults) -> Result<(), WriteError> {
    write_atomically(path, render(results).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_name_acts() {
        assert_eq!(escaped("a|b *c* <i> [x](y)"), "a\\|b \\*c\\* &lt;i&gt; \\[x\\]\\(y\\)");
        assert_eq!(escaped("http://x"), "http&#58;//x");
        assert_eq!(escaped("two\nlines"), "two lines");
    }

    #[test]
    fn a_code_span_holds_what_cannot_end_it() {
        assert_eq!(code("fotaproof matrix"), "`fotaproof matrix`");
        assert_eq!(code("a `b` <c>"), "a \\`b\\` &lt;c&gt;");
    }
}
