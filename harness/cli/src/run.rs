//! `run`: cases, evidence, reports, exit code.

use core::sync::atomic::Ordering;
use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use fotaproof_cases::LoadedCase;
use fotaproof_cases::ast::Role;
use fotaproof_net::RecordedFate;
use fotaproof_reports::model::{FORMAT, IutInfo, RunResults, Totals, exit_code};
use fotaproof_reports::progress::{Progress as State, ended};
use fotaproof_reports::{github, html, json, junit, tap, terminal};
use fotaproof_runner::iut::Iut;
use fotaproof_runner::prepare::CaseOptions;
use fotaproof_runner::run::{Finished, Progress, RunOptions, new_folder, run as run_cases};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::args::{Color, Format, RunArgs};
use crate::failure::Failure;
use crate::{Done, inputs, interrupt, print};

/// Columns of a report where no terminal tells.
const WIDTH: usize = 100;

/// What a run left.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) results: RunResults,
    pub(crate) folder: Option<PathBuf>,
}

pub(crate) fn run(args: &RunArgs) -> Done {
    run_with(args, None).map(|ran| ran.code)
}

/// Runs, with the fates of an earlier run where there are any.
pub(crate) fn run_with(args: &RunArgs, replay: Option<Arc<Vec<RecordedFate>>>) -> Result<Ran, Failure> {
    if args.speed < 1.0 || !args.speed.is_finite() {
        return Err(Failure::Usage("--speed takes a number of at least 1".to_owned()));
    }
    let (library, iut, cases) = inputs::of_selection(&args.selection, &args.defect)?;
    let network = inputs::network(args.network.as_deref(), &library)?;
    let flag = interrupt::flag();
    let started = SystemTime::now();
    let name = run_name(started);
    let folder = if args.no_evidence {
        None
    } else {
        Some(new_folder(&args.out, &name).map_err(|error| Failure::Environment(error.to_string()))?)
    };
    let options = RunOptions {
        case: CaseOptions {
            seed: args.seed,
            network: network.clone(),
            strict: args.strict,
            capture: folder.is_some(),
            speed: args.speed,
            record: folder.is_some(),
            replay,
            link: None,
        },
        jobs: args.jobs.unwrap_or_else(|| {
            if iut.is_embedded() {
                std::thread::available_parallelism().map_or(1, usize::from)
            } else {
                1
            }
        }),
        fail_fast: args.fail_fast,
        chosen: !args.selection.selectors.is_empty(),
        folder: folder.clone(),
        repeat: repeat(args),
    };
    let human = args.format == Format::Human;
    let shown = Shown::new(cases.len(), human, folder.as_deref())?;
    let begun = Instant::now();
    let today = humantime::format_rfc3339_seconds(started).to_string();
    let finished = run_cases(&iut, &cases, &options, &flag, &|event| shown.on(&event), &today[..10]);
    shown.bar.finish_and_clear();
    let results = results(
        args,
        &iut,
        &cases,
        finished,
        &network.name,
        started,
        begun,
        folder.as_deref(),
    );
    let interrupted = flag.load(Ordering::Relaxed);
    let results = RunResults {
        exit_code: if interrupted {
            exit_code::INTERRUPTED
        } else {
            results.exit_code
        },
        ..results
    };
    let place = folder
        .as_ref()
        .map_or_else(String::new, |folder| folder.display().to_string());
    show(args, &results, &place)?;
    if let Some(folder) = &folder {
        write_files(folder, &results, &place)?;
    }
    Ok(Ran {
        code: results.exit_code,
        results,
        folder,
    })
}

#[expect(clippy::too_many_arguments, reason = "each is a plain fact of the run")]
fn results(
    args: &RunArgs,
    iut: &Iut,
    cases: &[LoadedCase],
    finished: Finished,
    network: &str,
    started: SystemTime,
    begun: Instant,
    folder: Option<&Path>,
) -> RunResults {
    debug_assert_eq!(cases.len(), finished.cases.len());
    let totals = Totals::of(&finished.cases);
    let mut results = RunResults {
        format: FORMAT,
        harness: env!("CARGO_PKG_VERSION").to_owned(),
        run: folder
            .and_then(Path::file_name)
            .map_or_else(|| run_name(started), |name| name.to_string_lossy().into_owned()),
        started: humantime::format_rfc3339_seconds(started).to_string(),
        seconds: begun.elapsed().as_secs_f64(),
        iut: IutInfo {
            name: names(iut, cases),
            role: roles(cases),
            version: iut.version.clone(),
            manifest: iut.manifest_file.clone(),
            claims: claims(iut, cases),
            defects: args.defect.clone(),
        },
        network: network.to_owned(),
        seed: args.seed,
        speed: args.speed,
        strict: args.strict,
        selectors: args.selection.selectors.clone(),
        library: args
            .selection
            .library
            .as_ref()
            .map_or_else(|| "embedded".to_owned(), |dir| dir.display().to_string()),
        totals,
        cases: finished.cases,
        stale_expectations: finished.stale,
        aborted: finished.aborted,
        ..RunResults::default()
    };
    results.exit_code = if finished.error.is_some() {
        exit_code::INCONCLUSIVE
    } else {
        results.verdict_code()
    };
    results
}

/// The roles that the cases have.
fn of_cases(cases: &[LoadedCase]) -> Vec<Role> {
    [Role::Client, Role::Server]
        .into_iter()
        .filter(|role| cases.iter().any(|case| case.case.role.value == *role))
        .collect()
}

fn roles(cases: &[LoadedCase]) -> String {
    let words: Vec<&str> = of_cases(cases).into_iter().map(Role::word).collect();
    words.join(" and ")
}

/// Who is tested: the IUT, and its counterpart where there are cases for that one too.
fn names(iut: &Iut, cases: &[LoadedCase]) -> String {
    let names: Vec<&str> = of_cases(cases)
        .into_iter()
        .map(|role| iut.for_role(role).name.as_str())
        .collect();
    names.join(" and ")
}

fn claims(iut: &Iut, cases: &[LoadedCase]) -> Vec<String> {
    let mut claims: Vec<String> = of_cases(cases)
        .into_iter()
        .flat_map(|role| iut.for_role(role).claims.list())
        .collect();
    claims.sort();
    claims.dedup();
    claims
}

pub(crate) fn run_name(started: SystemTime) -> String {
    humantime::format_rfc3339_seconds(started)
        .to_string()
        .replace([':', '-'], "")
        .replace('T', "-")
        .trim_end_matches('Z')
        .to_owned()
}

/// The command that repeats a case, without its id.
fn repeat(args: &RunArgs) -> String {
    let mut words = vec!["fotaproof run".to_owned()];
    if let Some(iut) = &args.selection.iut {
        words.push(format!("--iut {}", quoted(&iut.display().to_string())));
    }
    if let Some(library) = &args.selection.library {
        words.push(format!("--library {}", quoted(&library.display().to_string())));
    }
    if let Some(network) = &args.network {
        words.push(format!("--network {}", quoted(network)));
    }
    for defect in &args.defect {
        words.push(format!("--defect {defect}"));
    }
    words.push(format!("--seed {}", args.seed));
    if args.speed > 1.0 {
        words.push(format!("--speed {}", args.speed));
    }
    if args.strict {
        words.push("--strict".to_owned());
    }
    words.join(" ")
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = word
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-._/+=,@:".contains(c));
    if plain {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

fn show(args: &RunArgs, results: &RunResults, place: &str) -> Result<(), Failure> {
    let text = match args.format {
        Format::Human => terminal::render(
            results,
            &terminal::Options {
                width: WIDTH,
                colour: match args.color {
                    Color::Always => true,
                    Color::Never => false,
                    Color::Auto => std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
                },
                folder: place.to_owned(),
            },
        ),
        Format::Json => json::render(results).map_err(|error| Failure::Environment(error.to_string()))?,
        Format::Junit => {
            let xml = junit::render(results, place).map_err(|error| Failure::Environment(error.to_string()))?;
            String::from_utf8_lossy(&xml).into_owned()
        }
        Format::Tap => tap::render(results, place),
        Format::Github => github::render(results, place),
    };
    print(&text);
    Ok(())
}

fn write_files(folder: &Path, results: &RunResults, place: &str) -> Result<(), Failure> {
    let told = |error: fotaproof_reports::WriteError| Failure::Environment(error.to_string());
    json::write_file(&folder.join("results.json"), results).map_err(told)?;
    junit::write_file(&folder.join("junit.xml"), results, place).map_err(told)?;
    html::write_file(&folder.join(html::FILE), results).map_err(told)
}

/// Progress for a person, and the run's own journal.
struct Shown {
    bar: ProgressBar,
    state: Mutex<State>,
    lines: bool,
    journal: Option<Mutex<File>>,
    begun: Instant,
}

impl Shown {
    fn new(total: usize, human: bool, folder: Option<&Path>) -> Result<Self, Failure> {
        let bar = ProgressBar::new(total as u64);
        let terminal = std::io::stderr().is_terminal();
        if terminal && human {
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            if let Ok(style) = ProgressStyle::with_template("{bar:24} {msg}") {
                bar.set_style(style);
            }
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let journal = match folder {
            None => None,
            Some(folder) => {
                let path: PathBuf = folder.join("journal.jsonl");
                let file = File::create(&path)
                    .map_err(|error| Failure::Environment(format!("cannot write {}: {error}", path.display())))?;
                Some(Mutex::new(file))
            }
        };
        Ok(Self {
            bar,
            state: Mutex::new(State::new(u32::try_from(total).unwrap_or(u32::MAX))),
            lines: human && !terminal,
            journal,
            begun: Instant::now(),
        })
    }

    fn on(&self, event: &Progress<'_>) {
        let at_ms = self.begun.elapsed().as_millis();
        let line = match event {
            Progress::Started { id } => serde_json::json!({"at_ms": at_ms, "event": "started", "case": id}),
            Progress::Ended { result } => serde_json::json!({
                "at_ms": at_ms,
                "event": "ended",
                "case": result.id,
                "verdict": result.verdict,
                "reason": result.reason,
                "seed": result.seed,
            }),
        };
        if let Some(journal) = &self.journal
            && let Ok(mut file) = journal.lock()
        {
            // a full disk shows at the case's own evidence and at results.json
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
        let Ok(mut state) = self.state.lock() else { return };
        match event {
            Progress::Started { id } => state.begin(id),
            Progress::Ended { result } => {
                state.end(result);
                // a run that is over within a second needs no progress
                if self.lines && self.begun.elapsed().as_millis() > 1000 {
                    eprintln!("{}", ended(result, WIDTH));
                }
                self.bar.inc(1);
            }
        }
        self.bar.set_message(state.line(WIDTH - 26));
    }
}
