//! The matrix as a person reads it first: a grid for each network and way, the measurements, then what needs attention.

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ContentArrangement, Table, TableComponent};

use super::view::{
    COLUMNS, STALE, blame, evidence, figures, findings, grids, headline, interop, is_problem, named, network_note,
    next, not_applicable, outcome, short, speed_note, summary,
};
use super::{Cell, MatrixResults};
use crate::model::{Verdict, exit_code};
use crate::terminal::Options;
use crate::text::{count, fit, one_line, width, wrap};
use crate::view::{evidence_path, join, run_word};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();

/// Columns that a name may take.
const NAME: usize = 28;
/// Findings of one cell that are shown.
const MOST_FINDINGS: usize = 6;

/// The matrix as text for a terminal; ends with a line end.
#[must_use]
pub fn render(results: &MatrixResults, options: &Options) -> String {
    let paint = |style: Style, text: &str| {
        if options.colour && !text.is_empty() {
            format!("{}{text}{}", style.render(), style.render_reset())
        } else {
            text.to_owned()
        }
    };
    let columns = options.width.clamp(60, 200);
    let mut out = format!(
        "fotaproof {} · matrix · {} × {} · packages of {} bytes\n",
        one_line(&results.harness),
        several(results.clients.len(), "client"),
        several(results.servers.len(), "server"),
        results.size
    );
    for (network, way) in grids(results) {
        out += &format!(
            "\n{}\n",
            paint(BOLD, &format!("{} over {}", way.word(), one_line(network)))
        );
        if let Some(note) = network_note(results, network, way) {
            for part in wrap(&note, columns.saturating_sub(2)) {
                out += &format!("{}\n", paint(DIM, &part));
            }
        }
        out += &grid(results, network, way, &paint);
    }
    let measured = measurements(results);
    if let Some(note) = speed_note(results).filter(|_| !measured.is_empty()) {
        out.push('\n');
        for part in wrap(&note, columns.saturating_sub(2)) {
            out += &format!("{}\n", paint(DIM, &part));
        }
    }
    out += &measured;
    for cell in results.cells.iter().filter(|cell| is_problem(cell)) {
        let style = if cell.verdict == Verdict::Fail { RED } else { YELLOW };
        out += &format!("\n{} {}\n", paint(style, outcome(cell)), one_line(&cell.id));
        problem(&mut out, cell, &options.folder, columns);
    }
    expected(&mut out, results, columns);
    inapplicable(&mut out, results, columns);
    if !results.stale_expectations.is_empty() {
        out += &format!("\n{}\n", paint(RED, STALE));
        for entry in &results.stale_expectations {
            for (at, part) in wrap(&one_line(entry), columns.saturating_sub(4)).iter().enumerate() {
                out += &format!("{}{part}\n", if at == 0 { "  " } else { "    " });
            }
        }
    }
    out.push('\n');
    for note in &results.notes {
        out += &format!("Note: {}\n", one_line(note));
    }
    if let Some(reason) = &results.aborted {
        out += &format!(
            "{}\n",
            paint(YELLOW, &format!("The run ended early: {}", one_line(reason)))
        );
    }
    let style = match results.exit_code {
        exit_code::PASSED => GREEN,
        exit_code::FAILED => RED,
        _ => YELLOW,
    };
    out += &format!("{}  {}", paint(style, run_word(results.exit_code)), summary(results));
    if !options.folder.is_empty() {
        out += &paint(DIM, &format!("  {}", evidence_path(&options.folder, super::html::FILE)));
    }
    out.push('\n');
    out
}

fn several(number: usize, word: &str) -> String {
    count(u32::try_from(number).unwrap_or(u32::MAX), word)
}

fn plain() -> Table {
    let mut table = Table::new();
    table
        .load_preset(comfy_table::presets::NOTHING)
        .set_style(TableComponent::HeaderLines, '─')
        .set_style(TableComponent::MiddleHeaderIntersections, ' ')
        .set_content_arrangement(ContentArrangement::Disabled);
    table
}

fn grid(results: &MatrixResults, network: &str, way: super::Way, paint: &dyn Fn(Style, &str) -> String) -> String {
    let mut table = plain();
    let mut header = vec!["client \\ server".to_owned()];
    header.extend(results.servers.iter().map(|server| fit(&named(server), NAME)));
    table.set_header(header);
    for client in &results.clients {
        let mut row = vec![fit(&named(client), NAME)];
        for server in &results.servers {
            let text = results
                .cell(network, way, &client.name, &server.name)
                .map_or_else(|| "-".to_owned(), short);
            row.push(text);
        }
        table.add_row(row);
    }
    // colour afterwards: it must not count as columns
    let mut text = trimmed(&table.to_string());
    for (word, style) in [("FAIL:", RED), ("error", YELLOW), ("inconclusive", YELLOW)] {
        text = text.replace(word, &paint(style, word));
    }
    text
}

/// The table without spaces at the ends of its lines.
fn trimmed(table: &str) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn measurements(results: &MatrixResults) -> String {
    let mut table = plain();
    let mut header = vec!["cell".to_owned()];
    header.extend(COLUMNS.map(str::to_owned));
    table.set_header(header);
    let mut any = false;
    for cell in &results.cells {
        if let Some(measured) = &cell.measured {
            any = true;
            let mut row = vec![fit(&one_line(&cell.id), 60)];
            row.extend(figures(measured));
            table.add_row(row);
        }
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        if index > 0 && index < COLUMNS.len() {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    if any {
        format!("\n{}", trimmed(&table.to_string()))
    } else {
        String::new()
    }
}

fn field(out: &mut String, label: &str, value: &str, columns: usize, whole: bool) {
    let parts = if whole {
        vec![value.to_owned()]
    } else {
        wrap(value, columns.saturating_sub(14))
    };
    for (at, part) in parts.iter().enumerate() {
        let line = format!("    {:<8}  {part}", if at == 0 { label } else { "" });
        *out += line.trim_end();
        out.push('\n');
    }
}

fn problem(out: &mut String, cell: &Cell, folder: &str, columns: usize) {
    field(out, "why", &headline(cell), columns, false);
    if let Some(blame) = blame(cell) {
        field(out, "at fault", &blame, columns, false);
    }
    if let Some(next) = next(cell) {
        field(out, "next", &next, columns, false);
    }
    field(out, "update", &interop(cell), columns, false);
    let all = findings(cell);
    for (side, finding) in all.iter().take(MOST_FINDINGS) {
        let mut text = format!(
            "{side}, {}: {}; expected {}; seen {} ({}, {})",
            one_line(&finding.grade),
            one_line(&finding.title),
            one_line(&finding.expected),
            one_line(&finding.seen),
            one_line(&finding.source),
            finding
                .clauses
                .iter()
                .map(|clause| one_line(clause))
                .collect::<Vec<_>>()
                .join(", "),
        );
        if !finding.packets.is_empty() {
            text += &format!(", packets {}", join(&finding.packets));
        }
        field(out, "finding", &text, columns, false);
    }
    if all.len() > MOST_FINDINGS {
        field(
            out,
            "",
            &format!("and {} more in {}", all.len() - MOST_FINDINGS, super::json::FILE),
            columns,
            false,
        );
    }
    for note in &cell.notes {
        field(out, "note", &one_line(note), columns, false);
    }
    for (label, path) in evidence(cell) {
        let label = label.split('\'').next().unwrap_or(label);
        field(out, label, &evidence_path(folder, path), columns, true);
    }
    if !cell.repeat.is_empty() {
        field(out, "repeat", &one_line(&cell.repeat), columns, true);
    }
}

/// What was expected of a side, once for each.
fn expected(out: &mut String, results: &MatrixResults, columns: usize) {
    let mut all: Vec<(String, usize)> = Vec::new();
    for cell in &results.cells {
        for (name, side) in [(&cell.client, &cell.client_side), (&cell.server, &cell.server_side)] {
            for met in &side.expected {
                let text = format!(
                    "{}: {}: {}",
                    one_line(name),
                    one_line(&met.clause),
                    one_line(&met.reason)
                );
                match all.iter_mut().find(|(known, _)| *known == text) {
                    Some((_, count)) => *count += 1,
                    None => all.push((text, 1)),
                }
            }
        }
    }
    if all.is_empty() {
        return;
    }
    *out += "\nExpected failures that were met\n";
    for (text, cells) in all {
        let many = if cells == 1 { "cell" } else { "cells" };
        for (at, part) in wrap(&format!("{text} ({cells} {many})"), columns.saturating_sub(4))
            .iter()
            .enumerate()
        {
            *out += &format!("{}{part}\n", if at == 0 { "  " } else { "    " });
        }
    }
}

/// Why cells do not apply.
fn inapplicable(out: &mut String, results: &MatrixResults, columns: usize) {
    let reasons = not_applicable(results);
    if reasons.is_empty() {
        return;
    }
    *out += "\nNot applicable\n";
    for reason in reasons {
        for part in wrap(&reason, columns.saturating_sub(4)) {
            *out += &format!("  {part}\n");
        }
    }
}

/// The line that stays when a cell has ended, for a terminal that cannot redraw.
#[must_use]
pub fn ended(cell: &Cell, columns: usize) -> String {
    let mut line = format!(
        "{:<16}  {}  ({})",
        outcome(cell),
        one_line(&cell.id),
        crate::text::duration(cell.wall_ms)
    );
    if is_problem(cell) {
        line += &format!("  {}", headline(cell));
    }
    let line = fit(&line, columns);
    debug_assert!(width(&line) <= columns);
    line
}
