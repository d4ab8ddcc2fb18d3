//! The library as tests: each case on the embedded device, and each defect that a case names.
//!
//! `cargo test -p fotaproof-tests --test library` runs all; a filter selects as with other tests:
//! `cargo test -p fotaproof-tests --test library push.happy`. A case that the embedded device does
//! not claim is ignored with the claims that it lacks. A filter that selects nothing fails.

use std::process::ExitCode;
use std::sync::Arc;

use fotaproof_cases::LoadedCase;
use fotaproof_runner::iut::{Iut, Planted};
use fotaproof_runner::prepare::{CaseOptions, Unprepared};
use fotaproof_tests::play::{cases, play, told};
use fotaproof_trace::{Blame, Verdict};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let iut = Arc::new(Iut::embedded());
    let cases: Vec<Arc<LoadedCase>> = cases().into_iter().map(Arc::new).collect();
    let mut trials = Vec::new();
    for case in &cases {
        let (case, iut) = (case.clone(), iut.clone());
        trials.push(Trial::ignorable_test(case.full_id(), move || clean(&case, &iut)).with_kind("case"));
    }
    for group in cases.chunk_by(|a, b| a.id == b.id) {
        let mut defects: Vec<&str> = group
            .iter()
            .flat_map(|case| &case.case.defects)
            .map(|d| d.value.as_str())
            .collect();
        defects.sort_unstable();
        defects.dedup();
        for defect in defects {
            let name = format!("{}::{defect}", group[0].id);
            let (group, iut, defect) = (group.to_vec(), iut.clone(), defect.to_owned());
            trials.push(Trial::ignorable_test(name, move || caught(&group, &iut, &defect)).with_kind("defect"));
        }
    }
    let listed = arguments.list;
    let done = libtest_mimic::run(&arguments, trials);
    if !listed && done.num_passed + done.num_failed + done.num_ignored == 0 {
        eprintln!("error: nothing is selected, and nothing selected is no success");
        return ExitCode::from(4);
    }
    done.exit_code()
}

/// A case on the clean device passes.
fn clean(case: &LoadedCase, iut: &Iut) -> Result<Completion, Failed> {
    match play(case, iut, &CaseOptions::default(), &mut |_| {}) {
        Err(Unprepared::NotApplicable(claims)) => Ok(Completion::ignored_with(format!(
            "the embedded IUT does not claim {claims}"
        ))),
        Err(error) => Err(error.to_string().into()),
        Ok(outcome) if outcome.verdict == Verdict::Pass => Ok(Completion::Completed),
        Ok(outcome) => Err(told(&outcome).into()),
    }
}

/// A variant of the case fails on the defect, for a clause of the case.
fn caught(variants: &[Arc<LoadedCase>], iut: &Iut, defect: &str) -> Result<Completion, Failed> {
    let role = variants[0].case.role.value;
    let defect = Planted::find(defect, role).ok_or_else(|| format!("there is no defect `{defect}`"))?;
    let iut = iut.with_defect(defect);
    let strict = CaseOptions {
        strict: true,
        ..CaseOptions::default()
    };
    let mut seen = String::new();
    let mut lacks = None;
    for case in variants
        .iter()
        .filter(|case| case.case.defects.iter().any(|d| d.value == defect.name()))
    {
        let outcome = match play(case, &iut, &strict, &mut |_| {}) {
            Err(Unprepared::NotApplicable(claims)) => {
                lacks = Some(claims);
                continue;
            }
            Err(error) => return Err(error.to_string().into()),
            Ok(outcome) => outcome,
        };
        let for_its_clause = outcome.findings.iter().any(|finding| {
            finding.blame == Blame::Iut
                && finding
                    .clauses
                    .iter()
                    .any(|clause| case.case.clauses.iter().any(|own| own.value == *clause))
        });
        if outcome.verdict == Verdict::Fail && for_its_clause {
            return Ok(Completion::Completed);
        }
        seen.push_str(&format!("{}: {}", case.full_id(), told(&outcome)));
    }
    match lacks {
        Some(claims) if seen.is_empty() => Ok(Completion::ignored_with(format!(
            "the embedded device does not claim {claims}"
        ))),
        _ => Err(format!("{defect} is not caught for a clause of the case:\n{seen}").into()),
    }
}
