//! The report that a person reads first: a table by suite, then what needs attention, then one
//! line. It is plain text that reads the same without colour; colour only underlines it.

use std::collections::BTreeMap;

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ContentArrangement, Table, TableComponent};

use crate::model::{CaseResult, Finding, RunResults, Totals, Verdict, exit_code};
use crate::text::{duration, fit, lines, one_line, wrap};
use crate::view::{
    by_weight, evidence_path, facts, headline, is_problem, location, names, outcome, run_summary, run_word, suites,
    weight,
};

/// How the report is laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Columns of the terminal; at least 60 are taken.
    pub width: usize,
    /// Whether to colour.
    pub colour: bool,
    /// The folder of the run, which stands before the paths of evidence; empty for none.
    pub folder: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            width: 100,
            colour: false,
            folder: String::new(),
        }
    }
}

/// Findings of one case that are shown in full.
const MOST_FINDINGS: usize = 6;
/// Lines of one value; a payload can be a firmware image.
const MOST_LINES: usize = 12;
/// Cases named for one recommendation.
const MOST_NAMES: usize = 3;
/// Column where the values stand after their labels.
const INDENT: usize = 14;

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();

/// The run as text for a terminal; ends with a line end.
#[must_use]
pub fn render(results: &RunResults, options: &Options) -> String {
    let mut page = Page {
        out: String::new(),
        width: options.width.clamp(60, 200),
        colour: options.colour,
    };
    header(&mut page, results);
    table(&mut page, results);
    for case in results.cases.iter().filter(|case| is_problem(case)) {
        problem(&mut page, results, case, &options.folder);
    }
    expected_failures(&mut page, results);
    stale(&mut page, results);
    recommendations(&mut page, results);
    page.line("");
    if let Some(reason) = &results.aborted {
        page.wrapped(0, YELLOW, &format!("The run ended early: {}", one_line(reason)));
    }
    last_line(&mut page, results, options);
    page.out
}

struct Page {
    out: String,
    width: usize,
    colour: bool,
}

impl Page {
    fn paint(&self, style: Style, text: &str) -> String {
        if self.colour && !style.is_plain() && !text.is_empty() {
            format!("{}{text}{}", style.render(), style.render_reset())
        } else {
            text.to_owned()
        }
    }

    fn line(&mut self, text: &str) {
        self.out += text;
        self.out.push('\n');
    }

    fn painted(&mut self, style: Style, text: &str) {
        let text = self.paint(style, text);
        self.line(&text);
    }

    /// A paragraph, all its lines indented.
    fn wrapped(&mut self, indent: usize, style: Style, text: &str) {
        for part in wrap(text, self.width - indent) {
            let line = format!("{:indent$}{}", "", self.paint(style, &part));
            self.line(line.trim_end());
        }
    }

    /// A label and its value. Paths and commands stay whole, so that they can be copied.
    fn field(&mut self, label: &str, value: &str, whole: bool) {
        let mut parts: Vec<String> = if whole {
            vec![one_line(value)]
        } else {
            lines(value)
                .iter()
                .flat_map(|line| wrap(line, self.width - INDENT))
                .collect()
        };
        let hidden = parts.len().saturating_sub(MOST_LINES);
        if hidden > 1 {
            parts.truncate(MOST_LINES);
            parts.push(format!("({hidden} more lines in {})", crate::json::FILE));
        }
        for (at, part) in parts.iter().enumerate() {
            let label = format!("    {:<8}  ", if at == 0 { label } else { "" });
            let line = format!("{}{part}", self.paint(DIM, &label));
            self.line(line.trim_end());
        }
    }
}

fn header(page: &mut Page, results: &RunResults) {
    let iut = &results.iut;
    let mut parts = vec![format!("fotaproof {}", one_line(&results.harness))];
    let version = iut
        .version
        .as_ref()
        .map_or_else(String::new, |version| format!(" {}", one_line(version)));
    parts.push(format!(
        "IUT {}{version} ({})",
        one_line(&iut.name),
        one_line(&iut.role)
    ));
    parts.push(format!("network {}", one_line(&results.network)));
    if (results.speed - 1.0).abs() > f64::EPSILON {
        parts.push(format!("speed {}", results.speed));
    }
    if results.strict {
        parts.push("strict".to_owned());
    }
    page.wrapped(0, BOLD, &parts.join(", "));
    page.line("");
}

fn table(page: &mut Page, results: &RunResults) {
    let all = Totals::of(&results.cases);
    let with_not_run = all.not_run > 0;
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_style(TableComponent::HeaderLines, '─');
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.force_no_tty();
    let mut head = vec!["suite", "passed", "failed", "expected", "inconclusive", "errors", "n/a"];
    if with_not_run {
        head.push("not run");
    }
    head.push("time");
    table.set_header(head.clone());
    let row = |name: &str, totals: &Totals, ms: f64| {
        let figure = |number: u32| {
            if number == 0 {
                "-".to_owned()
            } else {
                number.to_string()
            }
        };
        let mut row = vec![
            fit(&one_line(name), page.width.saturating_sub(68).clamp(10, 32)),
            figure(totals.passed),
            figure(totals.failed),
            figure(totals.expected_failures),
            figure(totals.inconclusive),
            figure(totals.errors),
            figure(totals.not_applicable),
        ];
        if with_not_run {
            row.push(figure(totals.not_run));
        }
        row.push(duration(ms));
        row
    };
    let time = |cases: &[&CaseResult]| {
        cases
            .iter()
            .map(|case| case.wall_ms)
            .filter(|ms| ms.is_finite())
            .sum::<f64>()
    };
    let suites = suites(results);
    for (name, cases) in &suites {
        table.add_row(row(name, &Totals::of(cases.iter().copied()), time(cases)));
    }
    table.add_row(row("all", &all, results.seconds * 1000.0));
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if at + 1 == head.len() { 0 } else { 2 }));
        if at > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    // One line a row: names are cut above. The styles go on afterwards, whole lines at a time.
    let mut styles = vec![BOLD, DIM];
    styles.extend(
        suites
            .iter()
            .map(|(_, cases)| row_style(&Totals::of(cases.iter().copied()))),
    );
    styles.push(BOLD);
    let text = table.to_string();
    let last = suites.len() + 2;
    for (at, line) in text.lines().enumerate() {
        if at == last {
            let rule = text.lines().nth(1).unwrap_or_default().trim_end();
            page.painted(DIM, rule);
        }
        page.painted(styles.get(at).copied().unwrap_or_default(), line.trim_end());
    }
}

const fn row_style(totals: &Totals) -> Style {
    if totals.failed > 0 {
        RED
    } else if totals.inconclusive + totals.errors > 0 {
        YELLOW
    } else {
        Style::new()
    }
}

const fn verdict_style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Pass => GREEN.bold(),
        Verdict::Fail => RED.bold(),
        Verdict::Inconclusive | Verdict::Error => YELLOW.bold(),
        Verdict::NotApplicable | Verdict::NotRun => DIM,
    }
}

fn problem(page: &mut Page, results: &RunResults, case: &CaseResult, folder: &str) {
    page.line("");
    let verdict = page.paint(verdict_style(case.verdict), &outcome(case).to_uppercase());
    let id = page.paint(BOLD, &one_line(&case.id));
    page.line(&format!("{verdict}  {id}"));
    page.wrapped(4, Style::new(), &one_line(&case.title));
    let findings = by_weight(case);
    let headline = headline(case);
    if findings.iter().all(|finding| one_line(&finding.title) != headline) {
        page.field("why", &headline, false);
    }
    for (at, finding) in findings.iter().take(MOST_FINDINGS).enumerate() {
        self::finding(page, results, case, finding, (findings.len() > 1).then_some(at + 1));
    }
    if findings.len() > MOST_FINDINGS {
        let more = findings.len() - MOST_FINDINGS;
        page.wrapped(
            2,
            DIM,
            &format!("and {more} more in {}", evidence_path(folder, crate::json::FILE)),
        );
    }
    if findings.is_empty() {
        page.field("at", &location(results, case, 0), true);
        if !case.clauses.is_empty() {
            page.field(
                if case.clauses.len() == 1 { "clause" } else { "clauses" },
                &names(&case.clauses),
                false,
            );
        }
    }
    for note in case.notes.iter().take(MOST_NAMES) {
        page.field("note", note, false);
    }
    for (label, path) in [("capture", &case.evidence.capture), ("output", &case.evidence.output)] {
        if let Some(path) = path {
            page.field(label, &evidence_path(folder, path), true);
        }
    }
    if !case.repeat.is_empty() {
        page.field("repeat", &case.repeat, true);
    }
}

fn finding(page: &mut Page, results: &RunResults, case: &CaseResult, finding: &Finding, number: Option<usize>) {
    let number = number.map_or_else(String::new, |number| format!("{number}) "));
    let title = format!("{number}{} ({})", one_line(&finding.title), weight(finding));
    page.wrapped(2, Style::new(), &title);
    for (label, text) in facts(results, case, finding) {
        page.field(label, &text, label == "at");
    }
}

fn expected_failures(page: &mut Page, results: &RunResults) {
    let mut first = true;
    for case in &results.cases {
        let Some(expected) = &case.expected_failure else {
            continue;
        };
        if std::mem::take(&mut first) {
            page.line("");
            page.painted(BOLD, "Failed as expected of this IUT");
        }
        let link = expected
            .link
            .as_ref()
            .map_or_else(String::new, |link| format!(" ({})", one_line(link)));
        page.wrapped(2, Style::new(), &one_line(&case.id));
        page.wrapped(
            4,
            DIM,
            &format!("{}: {}{link}", one_line(&expected.clause), one_line(&expected.reason)),
        );
    }
}

fn stale(page: &mut Page, results: &RunResults) {
    if results.stale_expectations.is_empty() {
        return;
    }
    page.line("");
    page.painted(
        RED.bold(),
        "Stale expectations: no failure met them, and they fail the run until removed",
    );
    for entry in &results.stale_expectations {
        page.wrapped(2, Style::new(), &one_line(entry));
    }
}

/// Findings that failed nothing, those of many cases told once.
fn recommendations(page: &mut Page, results: &RunResults) {
    let mut told: BTreeMap<(String, String, String), Vec<String>> = BTreeMap::new();
    for case in results.cases.iter().filter(|case| case.verdict == Verdict::Pass) {
        for finding in &case.findings {
            let key = (
                one_line(&finding.grade),
                one_line(&finding.title),
                names(&finding.clauses),
            );
            let cases = told.entry(key).or_default();
            let id = one_line(&case.id);
            if !cases.contains(&id) {
                cases.push(id);
            }
        }
    }
    if told.is_empty() {
        return;
    }
    page.line("");
    page.painted(BOLD, "Not followed, without failing a case (--strict fails them)");
    for ((grade, title, clauses), cases) in told {
        let clauses = if clauses.is_empty() {
            clauses
        } else {
            format!(" [{clauses}]")
        };
        page.wrapped(2, Style::new(), &format!("{grade}: {title}{clauses}"));
        let mut named = cases.iter().take(MOST_NAMES).cloned().collect::<Vec<_>>().join(", ");
        if cases.len() > MOST_NAMES {
            named += &format!(" and {} more", cases.len() - MOST_NAMES);
        }
        page.wrapped(4, DIM, &format!("in {named}"));
    }
}

fn last_line(page: &mut Page, results: &RunResults, options: &Options) {
    let style = match results.exit_code {
        exit_code::PASSED => GREEN.bold(),
        exit_code::FAILED => RED.bold(),
        _ => YELLOW.bold(),
    };
    let mut line = format!(
        "{}: {}",
        page.paint(style, run_word(results.exit_code)),
        run_summary(results)
    );
    if !options.folder.is_empty() {
        line += &format!("; evidence in {}", one_line(&options.folder));
    }
    page.line(&line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_a_thousand_lines_is_cut_and_tells_where_the_rest_is() {
        let finding = Finding {
            title: "garbage".into(),
            seen: "line\n".repeat(1000),
            ..Finding::default()
        };
        let case = CaseResult {
            verdict: Verdict::Fail,
            findings: vec![finding],
            ..CaseResult::default()
        };
        let results = RunResults {
            cases: vec![case],
            ..RunResults::default()
        };
        let text = render(&results, &Options::default());
        assert_eq!(text.lines().filter(|line| line.ends_with("  line")).count(), MOST_LINES);
        assert!(text.contains("(988 more lines in results.json)"), "{text}");
    }
}
