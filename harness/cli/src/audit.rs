//! `audit`: the matrix of cases against planted defects.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fotaproof_reports::model::exit_code;
use fotaproof_runner::audit::{Audit, Mark, audit as run_audit};
use fotaproof_runner::prepare::CaseOptions;

use crate::args::AuditArgs;
use crate::{Done, inputs, interrupt, print};

pub(crate) fn audit(args: &AuditArgs) -> Done {
    let (_, iut, cases) = inputs::of_selection(&args.selection, &[])?;
    let flag = interrupt::flag();
    let options = CaseOptions {
        seed: args.seed,
        ..CaseOptions::default()
    };
    let jobs = args
        .jobs
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let begun = Instant::now();
    let shown = Mutex::new(begun);
    let progress = |done: usize, all: usize| {
        let Ok(mut last) = shown.lock() else { return };
        // a log wants a sign of life now and then, a person more often
        let terminal = std::io::stderr().is_terminal();
        if last.elapsed() > Duration::from_millis(if terminal { 200 } else { 10_000 }) {
            *last = Instant::now();
            let end = if terminal { "\r" } else { "\n" };
            let _ = write!(std::io::stderr(), "{done} of {all} runs{end}");
        }
    };
    let done = run_audit(&iut, &cases, &options, args.full, jobs, &flag, &progress);
    if flag.load(core::sync::atomic::Ordering::Relaxed) {
        return Ok(exit_code::INTERRUPTED);
    }
    let problems = done.problems();
    if args.json {
        print(&json(&done, &problems));
    } else {
        print(&text(&done, &problems, args.why));
    }
    eprintln!("audited in {:.1} s", begun.elapsed().as_secs_f64());
    Ok(if problems.is_empty() {
        exit_code::PASSED
    } else {
        exit_code::FAILED
    })
}

const fn word(mark: Mark) -> &'static str {
    match mark {
        Mark::Caught => "caught",
        Mark::OtherReason => "caught for another clause",
        Mark::Unclear => "no verdict",
        Mark::Survived => "survived",
    }
}

fn text(audit: &Audit, problems: &[String], why: bool) -> String {
    let mut text = String::new();
    let width = audit.rows.iter().map(|row| row.id.len()).max().unwrap_or(0).min(56);
    for row in &audit.rows {
        if row.not_applicable {
            text.push_str(&format!("{:width$}  not applicable to the embedded IUT\n", row.id));
            continue;
        }
        let clean = row.clean.0;
        let mut words = Vec::new();
        for defect in &row.named {
            let mark = row.marks.get(defect).map_or("not run", |(mark, _)| word(*mark));
            words.push(format!("{defect}: {mark}"));
        }
        if audit.full {
            let also = row
                .marks
                .iter()
                .filter(|(d, (mark, _))| *mark == Mark::Caught && !row.named.contains(d))
                .count();
            words.push(format!("and {also} others caught"));
        }
        text.push_str(&format!("{:width$}  clean: {clean}  {}\n", row.id, words.join(", ")));
        if why {
            for (defect, (mark, told)) in &row.marks {
                if row.named.contains(defect) || *mark == Mark::Caught {
                    text.push_str(&format!("    {defect} {}: {told}\n", word(*mark)));
                }
            }
        }
    }
    text.push('\n');
    for problem in problems {
        text.push_str(&format!("problem: {problem}\n"));
    }
    let cases = audit.rows.iter().filter(|row| !row.not_applicable).count();
    let pairs: usize = audit.rows.iter().map(|row| row.marks.len()).sum();
    text.push_str(&format!(
        "{cases} cases, {pairs} runs with a planted defect, {} problems\n",
        problems.len()
    ));
    text
}

fn json(audit: &Audit, problems: &[String]) -> String {
    let rows: Vec<serde_json::Value> = audit
        .rows
        .iter()
        .map(|row| {
            let marks: serde_json::Map<String, serde_json::Value> = row
                .marks
                .iter()
                .map(|(defect, (mark, why))| {
                    (
                        defect.to_string(),
                        serde_json::json!({"mark": word(*mark), "named": row.named.contains(defect), "why": why}),
                    )
                })
                .collect();
            serde_json::json!({
                "case": row.id,
                "applies": !row.not_applicable,
                "clean": row.clean.0.to_string(),
                "reason": row.clean.1,
                "defects": marks,
            })
        })
        .collect();
    let survivors: Vec<String> = audit.survivors.iter().map(ToString::to_string).collect();
    format!(
        "{:#}\n",
        serde_json::json!({"format": 1, "full": audit.full, "cases": rows, "survivors": survivors, "problems": problems})
    )
}
