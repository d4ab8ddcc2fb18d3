//! A run: cases one after the other or several at once, evidence, results.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use fotaproof_cases::LoadedCase;
use fotaproof_reports::model::{self, CaseResult, Verdict as Shown};
use fotaproof_trace::{Blame, Finding, FindingSource, Verdict};

use crate::evidence::{Evidence, EvidenceError, Wanted, file_name};
use crate::expected::Expectations;
use crate::iut::Iut;
use crate::prepare::{CaseOptions, Unprepared, embedded_iut, session_config};
use crate::session::{Outcome, SessionConfig};
use crate::virtual_driver;

/// The case that is run first and last on a real IUT.
pub const SANITY: &str = "sanity.alive";

/// The same for a server.
pub const SERVER_SANITY: &str = "sanity.server-alive";

/// How a run is made.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// What is asked of every case.
    pub case: CaseOptions,
    /// Cases at once; at least one.
    pub jobs: usize,
    /// End after the first failure.
    pub fail_fast: bool,
    /// The cases are a choice, so an expected failure for many of them may have met nothing.
    pub chosen: bool,
    /// The run's folder; no evidence without one.
    pub folder: Option<PathBuf>,
    /// The arguments that repeat a case, put before its id.
    pub repeat: String,
}

/// What a run tells while it goes on.
#[derive(Debug)]
pub enum Progress<'a> {
    /// A case begins.
    Started {
        /// Its id.
        id: &'a str,
    },
    /// A case ended.
    Ended {
        /// Its result.
        result: &'a CaseResult,
    },
}

/// Why a run could not be made to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Evidence cannot be written.
    #[error("{0}")]
    Evidence(#[from] EvidenceError),
    /// The system refuses what a run in real time needs.
    #[error("cannot run in real time: {0}")]
    Runtime(std::io::Error),
}

/// A finished run.
#[derive(Debug)]
pub struct Finished {
    /// The cases in order.
    pub cases: Vec<CaseResult>,
    /// Entries of the expected-failures file that nothing met.
    pub stale: Vec<String>,
    /// Why it ended before all cases were run.
    pub aborted: Option<String>,
    /// Evidence that could not be written.
    pub error: Option<RunError>,
}

/// Runs cases on an embedded IUT in virtual time, or on a real one.
///
/// `interrupt` ends the run; what ran so far is complete.
pub fn run(
    iut: &Iut,
    cases: &[LoadedCase],
    options: &RunOptions,
    interrupt: &AtomicBool,
    progress: &(dyn Fn(Progress<'_>) + Sync),
    today: &str,
) -> Finished {
    let expectations = Mutex::new(Expectations::new(&iut.expected));
    let results: Vec<Mutex<Option<CaseResult>>> = cases.iter().map(|_| Mutex::new(None)).collect();
    let stop = AtomicBool::new(false);
    let error: Mutex<Option<RunError>> = Mutex::new(None);
    let one = |i: usize| {
        let case = &cases[i];
        let id = case.full_id();
        progress(Progress::Started { id: &id });
        let result = match run_case(iut, case, options, interrupt, &expectations) {
            Ok(result) => result,
            Err(failed) => {
                stop.store(true, Ordering::Relaxed);
                let result = CaseResult {
                    verdict: Shown::Error,
                    reason: failed.to_string(),
                    ..described(case, options)
                };
                lock(&error).get_or_insert(RunError::Evidence(failed));
                result
            }
        };
        let failed = matches!(result.verdict, Shown::Fail | Shown::Error) && result.expected_failure.is_none();
        if options.fail_fast && failed {
            stop.store(true, Ordering::Relaxed);
        }
        progress(Progress::Ended { result: &result });
        *lock(&results[i]) = Some(result);
    };
    let mut aborted = None;
    if iut.is_embedded() {
        work(&order_of(cases, options.jobs), options.jobs, &stop, interrupt, &one);
    } else {
        aborted = crate::schedule::run_all(
            &crate::schedule::Schedule {
                iut,
                cases,
                options,
                stop: &stop,
                interrupt,
                expectations: &expectations,
                results: &results,
                progress,
            },
            &error,
        );
    }
    if interrupt.load(Ordering::Relaxed) {
        aborted = Some("interrupted".to_owned());
    } else if stop.load(Ordering::Relaxed) && aborted.is_none() {
        aborted = Some(match &*lock(&error) {
            Some(error) => error.to_string(),
            None => "stopped at the first failure, as asked".to_owned(),
        });
    }
    let finished: Vec<CaseResult> = results
        .into_iter()
        .zip(cases)
        .map(|(result, case)| {
            let result = result.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
            result.unwrap_or_else(|| CaseResult {
                verdict: Shown::NotRun,
                ..described(case, options)
            })
        })
        .collect();
    let all_ran = aborted.is_none();
    let stale = if all_ran {
        lock(&expectations).stale(today, options.chosen)
    } else {
        Vec::new()
    };
    Finished {
        cases: finished,
        stale,
        aborted,
        error: error.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// In which order the cases begin. On several threads the long ones are first, so that no thread is left with one at the end.
fn order_of(cases: &[LoadedCase], jobs: usize) -> Vec<usize> {
    let is_long = |i: &usize| cases[*i].case.tags.iter().any(|tag| tag.value == "long");
    let mut order: Vec<usize> = (0..cases.len()).collect();
    if jobs > 1 {
        order.sort_by_key(|i| !is_long(i));
    }
    order
}

/// Gives each index to one of some threads.
fn work(order: &[usize], jobs: usize, stop: &AtomicBool, interrupt: &AtomicBool, one: &(dyn Fn(usize) + Sync)) {
    let next = AtomicUsize::new(0);
    let worker = || {
        loop {
            if stop.load(Ordering::Relaxed) || interrupt.load(Ordering::Relaxed) {
                return;
            }
            let Some(i) = order.get(next.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            one(*i);
        }
    };
    let jobs = jobs.clamp(1, order.len().max(1));
    if jobs == 1 {
        worker();
        return;
    }
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(worker);
        }
    });
}

/// The parts of a result that are known before the case runs.
pub(crate) fn described(case: &LoadedCase, options: &RunOptions) -> CaseResult {
    let id = case.full_id();
    CaseResult {
        title: case.case.title.clone(),
        suite: case.suite.clone(),
        file: case.path.clone(),
        clauses: case.case.clauses.iter().map(|clause| clause.value.clone()).collect(),
        ets: case.case.ets.iter().map(|ets| ets.value.clone()).collect(),
        tags: case.case.tags.iter().map(|tag| tag.value.clone()).collect(),
        seed: crate::prepare::case_seed(options.case.seed, &id),
        repeat: format!("{} '{id}'", options.repeat),
        id,
        ..CaseResult::default()
    }
}

/// A result for a case that cannot be run.
pub(crate) fn unprepared(case: &LoadedCase, options: &RunOptions, why: &Unprepared) -> CaseResult {
    let result = described(case, options);
    match why {
        Unprepared::NotApplicable(claims) => CaseResult {
            verdict: Shown::NotApplicable,
            reason: format!("the IUT does not claim {claims}"),
            ..result
        },
        Unprepared::Package(crate::packages::MakeError::NotSupplied(kind)) => CaseResult {
            verdict: Shown::Inconclusive,
            reason: format!("the manifest supplies no package of kind `{kind}`"),
            ..result
        },
        Unprepared::Setting(_) => CaseResult {
            verdict: Shown::Inconclusive,
            reason: why.to_string(),
            ..result
        },
        other => CaseResult {
            verdict: Shown::Error,
            reason: other.to_string(),
            ..result
        },
    }
}

/// Files of evidence of a case, relative to the run's folder.
pub(crate) fn evidence_of(id: &str, options: &RunOptions, output: bool) -> model::Evidence {
    if options.folder.is_none() {
        return model::Evidence::default();
    }
    let name = file_name(id);
    model::Evidence {
        journal: Some(format!("cases/{name}.journal.jsonl")),
        capture: options.case.capture.then(|| format!("cases/{name}.pcapng")),
        output: output.then(|| format!("cases/{name}.output.log")),
    }
}

/// Opens the evidence of a case.
pub(crate) fn open_evidence(
    config: &SessionConfig,
    options: &RunOptions,
    at_once: bool,
) -> Result<Option<Evidence>, EvidenceError> {
    let Some(folder) = &options.folder else { return Ok(None) };
    let comment = format!("{} seed {} against {}", config.id, config.seed, config.iut);
    let wanted = Wanted {
        capture: options.case.capture,
        at_once,
    };
    Evidence::create(&folder.join("cases"), &config.id, &comment, wanted).map(Some)
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a case took by the clock on the wall is reported"
)]
fn run_case(
    iut: &Iut,
    case: &LoadedCase,
    options: &RunOptions,
    interrupt: &AtomicBool,
    expectations: &Mutex<Expectations>,
) -> Result<CaseResult, EvidenceError> {
    let begun = Instant::now();
    let config = match session_config(case, iut, &options.case) {
        Ok(config) => config,
        Err(why) => return Ok(unprepared(case, options, &why)),
    };
    let Some(device) = embedded_iut(case, iut, &config) else {
        return Ok(described(case, options));
    };
    let mut evidence = open_evidence(&config, options, false)?;
    let outcome = virtual_driver::run(
        config,
        device,
        &mut |event| {
            if let Some(evidence) = &mut evidence {
                evidence.on_event(event);
            }
        },
        &|| interrupt.load(Ordering::Relaxed),
    );
    if let Some(evidence) = &mut evidence {
        evidence.settle();
    }
    let mut result = judged(case, options, &outcome, evidence.as_ref(), expectations);
    if let Some(evidence) = evidence {
        evidence.finish()?;
    }
    result.wall_ms = begun.elapsed().as_secs_f64() * 1e3;
    Ok(result)
}

/// The result of an outcome.
pub(crate) fn judged(
    case: &LoadedCase,
    options: &RunOptions,
    outcome: &Outcome,
    evidence: Option<&Evidence>,
    expectations: &Mutex<Expectations>,
) -> CaseResult {
    let id = case.full_id();
    let judged = lock(expectations).judge(&id, outcome, options.case.strict);
    let mut notes = outcome.notes.clone();
    notes.extend(judged.notes);
    // what the reason says is said
    notes.retain(|note| *note != judged.reason);
    CaseResult {
        verdict: shown(judged.verdict),
        expected_failure: judged.expected.map(|failure| model::ExpectedFailure {
            clause: failure.clause.value.clone(),
            reason: failure.reason.clone(),
            link: failure.link,
        }),
        reason: judged.reason,
        iut_ms: outcome.duration.as_secs_f64() * 1e3,
        late_ms: outcome.late.map(|late| late.by.as_secs_f64() * 1e3),
        held: outcome.held,
        findings: outcome
            .findings
            .iter()
            .map(|finding| {
                shown_finding(finding, &|datagram| {
                    evidence.and_then(|evidence| evidence.packet_of(datagram))
                })
            })
            .collect(),
        notes,
        measurements: outcome
            .measurements
            .iter()
            .map(|m| model::Measurement {
                name: m.name.clone(),
                value: m.value,
                unit: m.unit.clone(),
            })
            .collect(),
        evidence: evidence_of(&id, options, evidence.is_some_and(Evidence::has_output)),
        ..described(case, options)
    }
}

const fn shown(verdict: Verdict) -> Shown {
    match verdict {
        Verdict::None => Shown::NotRun,
        Verdict::Pass => Shown::Pass,
        Verdict::Inconclusive => Shown::Inconclusive,
        Verdict::Fail => Shown::Fail,
        Verdict::Error => Shown::Error,
    }
}

/// A finding as a report shows it; `packet_of` gives the packet of a datagram in the capture.
pub(crate) fn shown_finding(finding: &Finding, packet_of: &dyn Fn(u64) -> Option<u64>) -> model::Finding {
    let packets = finding
        .datagrams
        .iter()
        .filter_map(|datagram| packet_of(*datagram))
        .collect();
    model::Finding {
        source: match &finding.source {
            FindingSource::Check(id) => id.clone(),
            FindingSource::Expectation { .. } => "expectation".to_owned(),
            FindingSource::Harness => "harness".to_owned(),
        },
        grade: finding.grade.to_string(),
        blame: match finding.blame {
            Blame::Iut => "iut",
            Blame::Case => "case",
            Blame::Adapter => "adapter",
            Blame::Environment => "environment",
            Blame::Harness => "harness",
        }
        .to_owned(),
        clauses: finding.clauses.clone(),
        title: finding.title.clone(),
        expected: finding.expected.clone(),
        seen: finding.seen.clone(),
        line: match finding.source {
            FindingSource::Expectation { line, .. } => line,
            _ => 0,
        },
        packets,
        hint: finding.hint.clone(),
    }
}

/// Whether a case is the sanity case.
#[must_use]
pub fn is_sanity(case: &LoadedCase) -> bool {
    case.id == SANITY || case.id == SERVER_SANITY
}

/// The folder of a run that nobody uses yet, below `base`.
///
/// # Errors
/// When it cannot be created.
pub fn new_folder(base: &Path, name: &str) -> Result<PathBuf, EvidenceError> {
    let at = |path: &Path, source: std::io::Error| EvidenceError {
        path: path.to_path_buf(),
        source,
    };
    std::fs::create_dir_all(base).map_err(|source| at(base, source))?;
    for n in 0..10_000 {
        let path = base.join(if n == 0 { name.to_owned() } else { format!("{name}-{n}") });
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(at(&path, source)),
        }
    }
    Err(at(base, std::io::Error::other("no free folder name")))
}
