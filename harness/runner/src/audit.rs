//! The audit: every case against the clean embedded device and against planted defects.
//!
//! A case that fails on the clean device accuses a correct peer; a case that passes on a defect
//! that it names proves nothing; a defect that is caught only for a clause the case does not
//! name was caught by luck.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::collections::BTreeMap;
use std::sync::Mutex;

use fotaproof_cases::LoadedCase;
use fotaproof_cases::ast::Role;
use fotaproof_trace::{Blame, Finding, FindingSource, Verdict};

use crate::iut::{Iut, Planted};
use crate::prepare::{CaseOptions, Unprepared, embedded_iut, session_config};
use crate::session::Outcome;
use crate::virtual_driver;

/// What a case makes of a defect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// It passes: the defect survives.
    Survived,
    /// It ends inconclusive or in an error.
    Unclear,
    /// It fails, but for no clause of the case.
    OtherReason,
    /// It fails for a clause of the case.
    Caught,
}

/// One case of the audit.
#[derive(Clone, Debug)]
pub struct Row {
    /// Id with the variant.
    pub id: String,
    /// What the clean device got; empty reason for a pass.
    pub clean: (Verdict, String),
    /// The case does not apply to the embedded device.
    pub not_applicable: bool,
    /// Defects that the case names.
    pub named: Vec<Planted>,
    /// What the case makes of each defect that it was run against.
    pub marks: BTreeMap<Planted, (Mark, String)>,
}

/// The whole audit.
#[derive(Clone, Debug, Default)]
pub struct Audit {
    /// The cases.
    pub rows: Vec<Row>,
    /// Defects that no case catches, when all were tried.
    pub survivors: Vec<Planted>,
    /// All defects were tried on all cases.
    pub full: bool,
}

impl Audit {
    /// What is wrong with the library or the device, a line each.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for row in self.rows.iter().filter(|row| !row.not_applicable) {
            if row.clean.0 != Verdict::Pass {
                problems.push(format!(
                    "{}: {} on the clean device: {}",
                    row.id, row.clean.0, row.clean.1
                ));
            }
        }
        // a defect must be caught by one variant of a case, for a clause of the case
        let mut by_case: BTreeMap<(&str, Planted), Vec<&(Mark, String)>> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| !row.not_applicable) {
            let case = row.id.split('[').next().unwrap_or(&row.id);
            for defect in &row.named {
                if let Some(mark) = row.marks.get(defect) {
                    by_case.entry((case, *defect)).or_default().push(mark);
                }
            }
        }
        for ((case, defect), marks) in by_case {
            let Some((mark, why)) = marks.iter().max_by_key(|mark| mark.0) else {
                continue;
            };
            match mark {
                Mark::Caught => {}
                Mark::OtherReason => {
                    problems.push(format!("{case}: {defect} is caught, but for another clause: {why}"));
                }
                Mark::Unclear => problems.push(format!("{case}: {defect} leaves the case without a verdict: {why}")),
                Mark::Survived => problems.push(format!("{case}: {defect} survives")),
            }
        }
        for defect in &self.survivors {
            problems.push(format!("no case catches {defect}"));
        }
        problems
    }
}

/// Runs the audit. With `full`, every case is run against every defect, else against those that
/// it names.
pub fn audit(
    iut: &Iut,
    cases: &[LoadedCase],
    options: &CaseOptions,
    full: bool,
    jobs: usize,
    interrupt: &AtomicBool,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Audit {
    let strict = CaseOptions {
        strict: true,
        capture: false,
        ..options.clone()
    };
    let mut tasks: Vec<(usize, Option<Planted>)> = Vec::new();
    let mut rows: Vec<Row> = Vec::new();
    for (i, case) in cases.iter().enumerate() {
        let not_applicable = crate::prepare::not_applicable(case, iut).is_some();
        let role = case.case.role.value;
        let named: Vec<Planted> = case
            .case
            .defects
            .iter()
            .filter_map(|d| Planted::find(&d.value, role))
            .collect();
        if !not_applicable {
            tasks.push((i, None));
            let tried: Vec<Planted> = if full { Planted::all(role) } else { named.clone() };
            tasks.extend(tried.into_iter().map(|defect| (i, Some(defect))));
        }
        rows.push(Row {
            id: case.full_id(),
            clean: (Verdict::None, String::new()),
            not_applicable,
            named,
            marks: BTreeMap::new(),
        });
    }
    let rows = Mutex::new(rows);
    let next = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let worker = || {
        loop {
            let t = next.fetch_add(1, Ordering::Relaxed);
            let Some((i, defect)) = tasks.get(t) else { return };
            if interrupt.load(Ordering::Relaxed) {
                return;
            }
            let case = &cases[*i];
            match defect {
                None => {
                    let clean = match one(iut, case, options, interrupt) {
                        Ok(outcome) => (outcome.verdict, outcome.reason),
                        Err(why) => (Verdict::Error, why.to_string()),
                    };
                    lock(&rows)[*i].clean = clean;
                }
                Some(defect) => {
                    let mark = match one(&iut.with_defect(*defect), case, &strict, interrupt) {
                        Ok(outcome) => mark(case, &outcome),
                        Err(why) => (Mark::Unclear, why.to_string()),
                    };
                    lock(&rows)[*i].marks.insert(*defect, mark);
                }
            }
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, tasks.len());
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(worker);
        }
    });
    let rows = rows.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    // those of a role without a case were not tried
    let roles: Vec<Role> = [Role::Client, Role::Server]
        .into_iter()
        .filter(|role| cases.iter().any(|case| case.case.role.value == *role))
        .collect();
    let survivors = if full {
        roles
            .into_iter()
            .flat_map(Planted::all)
            .filter(|defect| {
                !rows
                    .iter()
                    .any(|row| row.marks.get(defect).is_some_and(|mark| mark.0 == Mark::Caught))
            })
            .collect()
    } else {
        Vec::new()
    };
    Audit { rows, survivors, full }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn one(iut: &Iut, case: &LoadedCase, options: &CaseOptions, interrupt: &AtomicBool) -> Result<Outcome, Unprepared> {
    let config = session_config(case, iut, options)?;
    let Some(device) = embedded_iut(case, iut, &config) else {
        return Err(Unprepared::NotApplicable("an embedded IUT".to_owned()));
    };
    Ok(virtual_driver::run(config, device, &mut |_| {}, &|| {
        interrupt.load(Ordering::Relaxed)
    }))
}

/// What an outcome says of a defect.
fn mark(case: &LoadedCase, outcome: &Outcome) -> (Mark, String) {
    let told = |finding: &Finding| {
        let source = match &finding.source {
            FindingSource::Check(id) => id.clone(),
            other => other.to_string(),
        };
        format!(
            "{} [{}] ({source}): expected {}, seen {}",
            finding.title,
            finding.clauses.join(", "),
            finding.expected,
            finding.seen
        )
    };
    let blamed: Vec<&Finding> = outcome.findings.iter().filter(|f| f.blame == Blame::Iut).collect();
    match outcome.verdict {
        Verdict::Fail => {
            let own = blamed.iter().find(|finding| {
                finding
                    .clauses
                    .iter()
                    .any(|clause| case.case.clauses.iter().any(|own| own.value == *clause))
            });
            match own {
                Some(finding) => (Mark::Caught, told(finding)),
                None => (
                    Mark::OtherReason,
                    blamed.first().map(|finding| told(finding)).unwrap_or_default(),
                ),
            }
        }
        Verdict::Pass | Verdict::None => (Mark::Survived, String::new()),
        Verdict::Inconclusive | Verdict::Error => (Mark::Unclear, outcome.reason.clone()),
    }
}
