//! `diff`: two captures, or two runs: what is different, and what of it is worse.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use fotaproof_analyze::diff::{self, CaseDiff, Change, DeviceDiff, DiffReport, Parting, Thresholds};
use fotaproof_analyze::{Options, ladder};
use fotaproof_reports::model::{CaseResult, RunResults, Verdict, exit_code};
use fotaproof_reports::text::one_line;

use crate::analyze::{Judging, capture};
use crate::failure::Failure;
use crate::{Done, print};

/// Messages shown before and after the place where two captures part.
const BEFORE: usize = 3;
const AFTER: usize = 3;

/// `diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The first: a capture, or the folder of a run.
    a: PathBuf,
    /// The second, of the same kind: what is worse in it is a regression.
    b: PathBuf,
    /// How captures are judged.
    #[command(flatten)]
    judging: Judging,
    /// A loss of goodput of more than so many percent is a regression.
    #[arg(long, value_name = "PERCENT", default_value_t = 10.0)]
    max_goodput_loss: f64,
    /// More retransmissions, by so many percent of all messages, are a regression.
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0)]
    max_retransmissions: f64,
    /// What is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text for a person.
    Human,
    /// The differences as JSON; `fotaproof schema diff` prints its schema.
    Json,
}

pub(crate) fn diff(args: &DiffArgs) -> Done {
    let thresholds = Thresholds {
        goodput: args.max_goodput_loss,
        retransmissions: args.max_retransmissions,
        strict: args.judging.strict(),
    };
    let options = args.judging.options()?;
    let mut report = match (args.a.is_dir(), args.b.is_dir()) {
        (true, true) => runs(&args.a, &args.b, &options, &thresholds)?,
        (false, false) => captures(&args.a, &args.b, &options, &thresholds),
        _ => {
            return Err(Failure::Usage(
                "both must be captures, or both folders of runs".to_owned(),
            ));
        }
    };
    report.a = args.a.display().to_string();
    report.b = args.b.display().to_string();
    print(&match args.format {
        Format::Human => text_of(&report),
        Format::Json => diff::json(&report).map_err(|error| Failure::Environment(error.to_string()))?,
    });
    Ok(report.exit_code)
}

fn text_of(report: &DiffReport) -> String {
    let mut text = String::new();
    if let Some(why) = &report.unreadable {
        let _ = writeln!(text, "{why}");
        return text;
    }
    let indent = if report.devices.is_empty() { "" } else { "  " };
    show_changes(&mut text, indent, &report.changes);
    for device in &report.devices {
        if device.changes.is_empty() && device.parting.is_none() {
            let _ = writeln!(text, "device {}: no difference", one_line(&device.endpoint));
            continue;
        }
        let _ = writeln!(text, "device {}", one_line(&device.endpoint));
        show_changes(&mut text, "  ", &device.changes);
        device
            .parting
            .iter()
            .for_each(|parting| show_parting(&mut text, parting));
    }
    for case in &report.cases {
        let _ = writeln!(text, "case {}", one_line(&case.id));
        show_changes(&mut text, "  ", &case.changes);
        case.partings
            .iter()
            .for_each(|parting| show_parting(&mut text, parting));
    }
    let last = match report.regressions {
        0 => "no regression".to_owned(),
        1 => "1 regression".to_owned(),
        many => format!("{many} regressions"),
    };
    let _ = writeln!(text, "{last}");
    text
}

/// Compares two captures.
fn captures(a: &Path, b: &Path, options: &Options, thresholds: &Thresholds) -> DiffReport {
    let (in_a, in_b) = (capture(a, options), capture(b, options));
    for (report, path) in [(&in_a, a), (&in_b, b)] {
        if let Some(broken) = &report.broken
            && report.format.is_empty()
        {
            let unreadable = format!("{}: {}", path.display(), broken.reason);
            return DiffReport {
                unreadable: Some(unreadable),
                exit_code: if broken.invalid {
                    exit_code::INVALID
                } else {
                    exit_code::INCONCLUSIVE
                },
                ..DiffReport::default().counted()
            };
        }
    }
    let (changes, mut devices) = diff::captures(&in_a, &in_b, thresholds);
    for device in &mut devices {
        device.parting = parting(a, b, options, device);
    }
    DiffReport {
        changes,
        devices,
        ..DiffReport::default()
    }
    .counted()
}

fn show_changes(text: &mut String, indent: &str, changes: &[Change]) {
    for change in changes {
        let mark = if change.regression { "WORSE" } else { "     " };
        let _ = writeln!(
            text,
            "{indent}{mark} {}: {} -> {}",
            one_line(&change.what),
            one_line(&change.a),
            one_line(&change.b)
        );
    }
}

fn show_parting(text: &mut String, parting: &Parting) {
    let _ = writeln!(text, "  the messages part after {} that are the same", parting.same);
    for (name, lines) in [("first", &parting.a), ("second", &parting.b)] {
        let _ = writeln!(text, "    {name}");
        if lines.is_empty() {
            let _ = writeln!(text, "      nothing more");
        }
        for line in lines {
            let _ = writeln!(
                text,
                "    {:>10.3}  #{:<6} {}",
                line.at,
                line.packet,
                one_line(&line.text)
            );
        }
    }
}

/// Reads both captures again, for where their messages part.
fn parting(a: &Path, b: &Path, options: &Options, device: &DeviceDiff) -> Option<Parting> {
    let hashes = |path: &Path, device| Some(ladder::hashes(File::open(path).ok()?, options, device));
    let (in_a, in_b) = (hashes(a, device.devices.0)?, hashes(b, device.devices.1)?);
    let same = in_a.iter().zip(&in_b).take_while(|(a, b)| a == b).count();
    if same == in_a.len() && same == in_b.len() {
        return None;
    }
    let window = same.saturating_sub(BEFORE)..same + AFTER;
    let lines = |path: &Path, device| Some(ladder::lines(File::open(path).ok()?, options, device, window.clone()));
    Some(Parting {
        same,
        a: lines(a, device.devices.0)?,
        b: lines(b, device.devices.1)?,
    })
}

fn results(folder: &Path) -> Result<RunResults, Failure> {
    let path = folder.join("results.json");
    let text =
        std::fs::read_to_string(&path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
    serde_json::from_str(&text).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

/// Compares two runs case by case.
fn runs(a: &Path, b: &Path, options: &Options, thresholds: &Thresholds) -> Result<DiffReport, Failure> {
    let (first, second) = (results(a)?, results(b)?);
    let by_id = |results: &RunResults| -> BTreeMap<String, CaseResult> {
        results
            .cases
            .iter()
            .map(|case| (case.id.clone(), case.clone()))
            .collect()
    };
    let (in_a, in_b) = (by_id(&first), by_id(&second));
    let mut report = DiffReport::default();
    for (id, case) in &in_a {
        let Some(other) = in_b.get(id) else {
            let gone = changed(&format!("case {id}"), "there", "not there", true);
            report.changes.push(gone);
            continue;
        };
        let mut differs = CaseDiff {
            id: id.clone(),
            changes: case_changes(case, other, thresholds),
            partings: Vec::new(),
        };
        if let (Some(one), Some(two)) = (&case.evidence.capture, &other.evidence.capture) {
            let (one, two) = (a.join(one), b.join(two));
            if one.is_file() && two.is_file() {
                let (report_a, report_b) = (capture(&one, options), capture(&two, options));
                // The run itself already told its verdict and its findings.
                let (_, mut devices) = diff::captures(&report_a, &report_b, thresholds);
                for device in &mut devices {
                    differs.changes.extend(
                        device
                            .changes
                            .drain(..)
                            .filter(|change| change.what != "verdict" && !change.what.starts_with("finding ")),
                    );
                    differs.partings.extend(parting(&one, &two, options, device));
                }
            }
        }
        if !differs.changes.is_empty() || !differs.partings.is_empty() {
            report.cases.push(differs);
        }
    }
    for id in in_b.keys().filter(|id| !in_a.contains_key(*id)) {
        let new = changed(&format!("case {id}"), "not there", "there", false);
        report.changes.push(new);
    }
    Ok(report.counted())
}

fn changed(what: &str, a: &str, b: &str, regression: bool) -> Change {
    Change {
        what: what.to_owned(),
        a: a.to_owned(),
        b: b.to_owned(),
        regression,
    }
}

fn case_changes(a: &CaseResult, b: &CaseResult, thresholds: &Thresholds) -> Vec<Change> {
    let mut changes = Vec::new();
    if a.verdict != b.verdict {
        let failed = |case: &CaseResult| {
            matches!(case.verdict, Verdict::Fail | Verdict::Error) && case.expected_failure.is_none()
        };
        let worse = failed(b) && !failed(a) || a.verdict == Verdict::Pass;
        changes.push(changed("verdict", a.verdict.word(), b.verdict.word(), worse));
    }
    let known = |case: &CaseResult, source: &str, title: &str| {
        case.findings
            .iter()
            .any(|finding| finding.source == source && finding.title == title)
    };
    for finding in b
        .findings
        .iter()
        .filter(|finding| !known(a, &finding.source, &finding.title))
    {
        let worse = (finding.grade == "must" || thresholds.strict) && b.expected_failure.is_none();
        changes.push(changed(
            &format!("finding {} ({})", finding.source, finding.grade),
            "none",
            &finding.title,
            worse,
        ));
    }
    for finding in a
        .findings
        .iter()
        .filter(|finding| !known(b, &finding.source, &finding.title))
    {
        changes.push(changed(
            &format!("finding {} ({})", finding.source, finding.grade),
            &finding.title,
            "gone",
            false,
        ));
    }
    changes
}
