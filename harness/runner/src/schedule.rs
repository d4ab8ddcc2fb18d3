//! Cases on a real IUT: the sanity case first and last, the others in between, several at once.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use fotaproof_cases::LoadedCase;
use fotaproof_cases::ast::Role;
use fotaproof_cases::manifest::Manifest;
use fotaproof_reports::model::{CaseResult, Verdict as Shown};

use crate::evidence::{EvidenceError, file_name};
use crate::expected::Expectations;
use crate::iut::Iut;
use crate::prepare::session_config;
use crate::real::adapter::{AdapterHost, Hand, launch_of};
use crate::real::keeper::KeptFolder;
use crate::real::{self, Interrupt, RealCase, Scaling, ServerCase};
use crate::run::{
    Progress, RunError, RunOptions, described, evidence_of, is_sanity, judged, open_evidence, unprepared,
};

/// Lifetime in seconds when neither the case nor the manifest says one.
const LIFETIME: u32 = 86_400;
/// How often the flag of an interrupt is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long the adapter has to end all its instances.
const QUIT: Duration = Duration::from_secs(15);

/// Everything a schedule works with.
pub(crate) struct Schedule<'a> {
    pub(crate) iut: &'a Iut,
    pub(crate) cases: &'a [LoadedCase],
    pub(crate) options: &'a RunOptions,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) interrupt: &'a AtomicBool,
    pub(crate) expectations: &'a Mutex<Expectations>,
    pub(crate) results: &'a [Mutex<Option<CaseResult>>],
    pub(crate) progress: &'a (dyn Fn(Progress<'_>) + Sync),
}

/// Runs all cases; gives why it ended early.
pub(crate) fn run_all(schedule: &Schedule<'_>, error: &Mutex<Option<RunError>>) -> Option<String> {
    let (manifest, folder) = schedule.iut.manifest.as_ref()?;
    let scratch = match &schedule.options.folder {
        Some(folder) => Scratch::Kept(folder.join("iut")),
        None => match KeptFolder::new() {
            Ok(folder) => Scratch::Temporary(folder),
            Err(failed) => {
                lock(error).get_or_insert(RunError::Runtime(failed));
                return Some("no temporary folder".to_owned());
            }
        },
    };
    let root = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    // the clock of an adapter that is only a hand is not that of the device
    let scaling = match manifest.role.value {
        Role::Server => match real::scaling(manifest, schedule.options.case.speed) {
            Ok(scaling) => scaling,
            Err(refused) => return Some(refused.to_string()),
        },
        Role::Client => Scaling::default(),
    };
    let host = launch_of(manifest, folder, &root, scratch.path()).map(|launch| {
        // what cannot be made, the adapter misses
        let _ = std::fs::create_dir_all(scratch.path());
        let mut launch = launch.scaled(&scaling);
        launch.log = schedule.options.folder.as_ref().map(|run| run.join("adapter.log"));
        Arc::new(AdapterHost::new(launch))
    });
    let mut place = Place {
        manifest,
        folder,
        scratch: scratch.path(),
        host,
        bound: usize::MAX,
    };
    if let Err(why) = ready(schedule, &place) {
        return Some(why);
    }
    match greet(schedule, &place) {
        Ok(bound) => place.bound = bound,
        Err(why) => return Some(why),
    }
    let aborted = run_cases(schedule, &place, error);
    // after the last case, whatever became of it
    let dismissed = dismiss(&place);
    aborted.or(dismissed)
}

/// Starts the adapter of the run, where there is one; gives how many instances it has at once.
fn greet(schedule: &Schedule<'_>, place: &Place<'_>) -> Result<usize, String> {
    let Some(host) = &place.host else { return Ok(usize::MAX) };
    let greeted = drive(schedule.interrupt, async |mut interrupt| {
        tokio::select! {
            adapter = host.get() => Some(adapter),
            () = interrupt.wait() => None,
        }
    });
    let adapter = match greeted.map_err(|error| error.to_string())? {
        Some(adapter) => adapter.map_err(|error| error.to_string())?,
        None => return Err("interrupted".to_owned()),
    };
    let role = place.manifest.role.value.word();
    if adapter.hello().role != role {
        return Err(format!(
            "the adapter is one for a {}, and the manifest is of a {role}",
            adapter.hello().role
        ));
    }
    Ok(adapter
        .hello()
        .instances
        .map_or(usize::MAX, |bound| usize::try_from(bound).unwrap_or(usize::MAX)))
}

/// Ends the adapter of the run in order; says what was not.
fn dismiss(place: &Place<'_>) -> Option<String> {
    let host = place.host.as_ref()?;
    let never = AtomicBool::new(false);
    let farewell = drive(&never, async |_| host.quit(QUIT).await).ok()??;
    if farewell.in_order() {
        return None;
    }
    let replied = farewell
        .replied
        .err()
        .map(|error| format!(", {error}"))
        .unwrap_or_default();
    let left = farewell
        .left
        .map(|left| format!(", it left {left}"))
        .unwrap_or_default();
    Some(format!(
        "the adapter did not end in order: {}{replied}{left}",
        farewell.status
    ))
}

/// Runs all cases; gives why it ended early.
fn run_cases(schedule: &Schedule<'_>, place: &Place<'_>, error: &Mutex<Option<RunError>>) -> Option<String> {
    let sanity = schedule.cases.iter().position(is_sanity);
    if let Some(i) = sanity {
        one(schedule, place, i, error);
        if let Some(why) = unfit(schedule, i) {
            return Some(format!("the IUT is not fit to be tested: {why}"));
        }
    }
    let rest: Vec<usize> = (0..schedule.cases.len()).filter(|i| Some(*i) != sanity).collect();
    let bound = place
        .manifest
        .instances
        .map_or(usize::MAX, usize::from)
        .min(place.bound);
    let jobs = schedule.options.jobs.clamp(1, rest.len().max(1)).min(bound.max(1));
    let next = AtomicUsize::new(0);
    let worker = || {
        loop {
            if schedule.stop.load(Ordering::Relaxed) || schedule.interrupt.load(Ordering::Relaxed) {
                return;
            }
            let Some(i) = rest.get(next.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            one(schedule, place, *i, error);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(worker);
        }
    });
    let ended = schedule.stop.load(Ordering::Relaxed) || schedule.interrupt.load(Ordering::Relaxed);
    if let Some(i) = sanity.filter(|_| !ended && !rest.is_empty()) {
        // the first result stands unless the IUT or its environment broke on the way
        let first = lock(&schedule.results[i]).clone();
        one(schedule, place, i, error);
        if let Some(why) = unfit(schedule, i) {
            return Some(format!("the sanity case passed at first and does not any more: {why}"));
        }
        *lock(&schedule.results[i]) = first;
    }
    None
}

/// Where the instances live.
struct Place<'a> {
    manifest: &'a Arc<Manifest>,
    folder: &'a Path,
    scratch: &'a Path,
    /// The adapter of the run, where the manifest has one.
    host: Option<Arc<AdapterHost>>,
    /// How many instances the adapter has at once.
    bound: usize,
}

enum Scratch {
    Kept(PathBuf),
    Temporary(KeptFolder),
}

impl Scratch {
    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Why no further case makes sense after the sanity case.
fn unfit(schedule: &Schedule<'_>, i: usize) -> Option<String> {
    let result = lock(&schedule.results[i]);
    let result = result.as_ref()?;
    match result.verdict {
        Shown::Pass | Shown::NotApplicable | Shown::NotRun => None,
        _ if result.expected_failure.is_some() => None,
        verdict => Some(format!("{}: {}", verdict.word(), result.reason)),
    }
}

/// A runtime for one case and the task that carries an interrupt into it.
pub(crate) fn drive<T>(interrupt: &AtomicBool, work: impl AsyncFnOnce(Interrupt) -> T) -> Result<T, std::io::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let (handle, signal) = real::interrupt();
        let watch = async {
            loop {
                if interrupt.load(Ordering::Relaxed) {
                    handle.interrupt();
                    core::future::pending::<()>().await;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            done = work(signal) => done,
            () = watch => unreachable!("the watch never ends"),
        }
    });
    // a name that is still being resolved must not hold the run
    runtime.shutdown_timeout(Duration::from_millis(10));
    Ok(done)
}

/// Prepares the IUT, once a run.
fn ready(schedule: &Schedule<'_>, place: &Place<'_>) -> Result<(), String> {
    let root = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    drive(schedule.interrupt, async |interrupt| {
        real::prepare(place.manifest, place.folder, &root, interrupt).await
    })
    .map_err(|error| error.to_string())?
    .map(|_| ())
    .map_err(|error| error.to_string())
}

fn one(schedule: &Schedule<'_>, place: &Place<'_>, i: usize, error: &Mutex<Option<RunError>>) {
    let case = &schedule.cases[i];
    let id = case.full_id();
    (schedule.progress)(Progress::Started { id: &id });
    let result = match case_result(schedule, place, i) {
        Ok(result) => result,
        Err(failed) => {
            schedule.stop.store(true, Ordering::Relaxed);
            let reason = failed.to_string();
            lock(error).get_or_insert(failed);
            CaseResult {
                verdict: Shown::Error,
                reason,
                ..described(case, schedule.options)
            }
        }
    };
    let failed = matches!(result.verdict, Shown::Fail | Shown::Error) && result.expected_failure.is_none();
    if schedule.options.fail_fast && failed {
        schedule.stop.store(true, Ordering::Relaxed);
    }
    (schedule.progress)(Progress::Ended { result: &result });
    *lock(&schedule.results[i]) = Some(result);
}

/// An endpoint name that tells the case and is short enough for every client.
fn endpoint(manifest: &Manifest, case: &LoadedCase, instance: usize) -> String {
    match &manifest.endpoint {
        Some(name) => name
            .replace("{case}", &case.id.replace('.', "-"))
            .replace("{instance}", &instance.to_string()),
        None => {
            let short: String = case.id.replace('.', "-").chars().take(32).collect();
            format!("fp{instance}-{short}")
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a case took by the clock on the wall is reported"
)]
fn case_result(schedule: &Schedule<'_>, place: &Place<'_>, i: usize) -> Result<CaseResult, RunError> {
    let (case, options) = (&schedule.cases[i], schedule.options);
    let begun = Instant::now();
    let config = match session_config(case, schedule.iut, &options.case) {
        Ok(config) => config,
        Err(why) => return Ok(unprepared(case, options, &why)),
    };
    let id = case.full_id();
    let name = file_name(&id);
    let folder = place.scratch.join(&name);
    let mut evidence = open_evidence(&config, options, true)?;
    let output = match &options.folder {
        Some(run) => run.join("cases").join(format!("{name}.output.log")),
        None => place.scratch.join(format!("{name}.output.log")),
    };
    let own = case.case.iut.as_ref().and_then(|iut| iut.lifetime);
    let endpoint = endpoint(place.manifest, case, i);
    let outcome = drive(schedule.interrupt, async |mut interrupt| {
        let mut sink = |event: &Arc<fotaproof_trace::Event>| {
            if let Some(evidence) = &mut evidence {
                evidence.on_event(event);
            }
        };
        // a case that cuts the power of its server kills a process, which must be nobody else's
        let apart = match &place.host {
            Some(host) if fotaproof_cases::devices::cuts_server(&case.case) => {
                Some(Arc::new(host.apart(Some(output.with_extension("adapter.log")))))
            }
            _ => None,
        };
        let adapter = match apart.as_ref().or(place.host.as_ref()) {
            Some(host) => tokio::select! {
                adapter = host.get() => match adapter {
                    Ok(adapter) => Some(adapter),
                    Err(error) => return real::given_up(error.to_string(), Duration::ZERO),
                },
                () = interrupt.wait() => return real::given_up("interrupted".to_owned(), Duration::ZERO),
            },
            None => None,
        };
        let before = match &place.host {
            Some(host) => host.obituary().await,
            None => None,
        };
        let before = before.map(|error| error.before_the_case());
        if place.manifest.role.value == Role::Server {
            let Some(adapter) = adapter else {
                return real::given_up("the manifest has no `adapter`".to_owned(), Duration::ZERO);
            };
            let case = ServerCase {
                config,
                adapter,
                host: place.host.clone().filter(|_| apart.is_none()),
                own: apart.clone(),
                folder: folder.clone(),
                speed: options.case.speed,
                skew: None,
            };
            let mut outcome = real::run_server_case(case, &mut sink, interrupt).await;
            if let Some(apart) = apart {
                apart.quit(QUIT).await;
            }
            outcome.notes.extend(before);
            return outcome;
        }
        let real_case = RealCase {
            config,
            manifest: place.manifest.clone(),
            manifest_folder: place.folder.to_path_buf(),
            root: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
            folder: folder.clone(),
            output: output.clone(),
            instance: u32::try_from(i).unwrap_or(u32::MAX),
            speed: options.case.speed,
            lifetime: own
                .map(|span| u32::try_from(span.0.as_secs()).unwrap_or(u32::MAX))
                .or(place.manifest.lifetime)
                .unwrap_or(LIFETIME),
            hand: adapter.map(|adapter| {
                let instance = match &place.manifest.board {
                    Some(board) => board.value.endpoint.clone(),
                    None => endpoint.clone(),
                };
                Hand::new(adapter, instance, place.host.clone())
            }),
            endpoint,
            skew: None,
        };
        let mut outcome = real::run_case(real_case, &mut sink, interrupt).await;
        outcome.notes.extend(before);
        outcome
    })
    .map_err(RunError::Runtime)?;
    if let Some(run) = &options.folder
        && !outcome.fates.is_empty()
    {
        write_fates(&run.join("cases").join(format!("{name}.fates.json")), &outcome.fates)?;
    }
    let mut result = judged(case, options, &outcome, evidence.as_ref(), schedule.expectations);
    result.evidence = evidence_of(&id, options, output.exists());
    if let Some(evidence) = evidence {
        evidence.finish()?;
    }
    if result.verdict == Shown::Pass {
        // the state of an IUT that passed says nothing more
        if let Err(error) = std::fs::remove_dir_all(&folder)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(RunError::Evidence(EvidenceError {
                path: folder,
                source: error,
            }));
        }
    }
    result.wall_ms = begun.elapsed().as_secs_f64() * 1e3;
    Ok(result)
}

/// Keeps what the link did to each packet, for `replay`.
fn write_fates(path: &Path, fates: &[fotaproof_net::RecordedFate]) -> Result<(), EvidenceError> {
    serde_json::to_vec(fates)
        .map_err(std::io::Error::other)
        .and_then(|bytes| std::fs::write(path, bytes))
        .map_err(|source| EvidenceError {
            path: path.to_path_buf(),
            source,
        })
}
