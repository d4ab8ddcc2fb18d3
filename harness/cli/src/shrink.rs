//! `shrink`: the smallest set of network events with which a case of a failing run still fails.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use fotaproof_cases::{Library, LoadedCase};
use fotaproof_reports::json;
use fotaproof_reports::model::{CaseResult, RunResults, exit_code};
use fotaproof_runner::evidence::file_name;
use fotaproof_runner::iut::Iut;
use fotaproof_runner::prepare::CaseOptions;
use fotaproof_runner::run::{RunOptions, run};
use fotaproof_runner::shrink::{ShrinkError, Shrunk, Symptom, Tally, Task, case_file, shrink};
use fotaproof_trace::{Event, JournalReader};

use crate::failure::Failure;
use crate::{Done, inputs, interrupt, print, run as run_command};

/// `shrink`.
#[derive(Debug, Args)]
pub(crate) struct ShrinkArgs {
    /// The folder of the run.
    run: PathBuf,
    /// The id of the case that failed, with its variant.
    case: String,
    /// Use the cases of this folder instead of those in the program.
    #[arg(long, value_name = "DIR")]
    library: Option<PathBuf>,
    /// The folder for the case file, made like a library; `shrunk` in the folder of the run if absent.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Runs at most, against a real IUT.
    #[arg(long, value_name = "N", default_value_t = 60)]
    tries: usize,
}

pub(crate) fn shrunk(args: &ShrinkArgs) -> Done {
    let begun = Instant::now();
    let path = args.run.join(json::FILE);
    let before = json::read_file(&path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
    let result = result_of(&before, &args.case)?;
    let Some(symptom) = Symptom::of(result) else {
        let verdict = result.verdict.word();
        return Err(Failure::Usage(format!(
            "the verdict of `{}` is {verdict}; only what failed can be shrunk",
            args.case
        )));
    };
    let folder = args
        .library
        .clone()
        .or_else(|| (before.library != "embedded").then(|| before.library.clone().into()));
    let library = inputs::library(folder.as_deref())?;
    let iut = inputs::iut(before.iut.manifest.as_deref().map(Path::new), &before.iut.defects)?;
    let cases = inputs::selected(
        inputs::cases(&library, &iut.parameters)?,
        core::slice::from_ref(&args.case),
    )?;
    let Some(case) = cases.iter().find(|case| case.full_id() == args.case) else {
        return Err(Failure::NothingSelected(format!(
            "the library holds no case `{}` any more",
            args.case
        )));
    };
    let network = inputs::network(
        (before.network != "default").then_some(before.network.as_str()),
        &library,
    )?;
    let options = RunOptions {
        case: CaseOptions {
            seed: before.seed,
            network,
            strict: before.strict,
            speed: before.speed,
            ..CaseOptions::default()
        },
        jobs: 1,
        ..RunOptions::default()
    };
    let journal = if iut.is_embedded() {
        Vec::new()
    } else {
        journal(
            &args
                .run
                .join("cases")
                .join(format!("{}.journal.jsonl", file_name(&args.case))),
        )?
    };
    let flag = interrupt::flag();
    let task = Task {
        iut: &iut,
        case,
        options: &options,
        symptom,
        journal,
        tries: args.tries,
    };
    let found = match shrink(&task, &flag) {
        Ok(found) => found,
        Err(ShrinkError::Interrupted) => return Ok(exit_code::INTERRUPTED),
        Err(error) => return Err(Failure::Environment(error.to_string())),
    };
    print(&format!(
        "{}\n",
        told(&args.case, &task.symptom.shown, &found, begun.elapsed().as_secs_f64())
    ));
    let out = args.out.clone().unwrap_or_else(|| args.run.join("shrunk"));
    let file = write(
        case,
        &found,
        &out,
        &comment(&args.case, &task.symptom.shown, &before, &found),
    )?;
    let again = checked(&task, &iut, &options, &out, case, args.tries)?;
    print(&format!("written to {}\n", file.display()));
    print(&format!("repeat: {}\n", repeat(&before, &out, &args.case)));
    print(&match again {
        Tally { failed: 1, of: 1 } => "checked: the file fails with the same finding\n".to_owned(),
        Tally { failed: 0, of } => format!("the file did not fail in {of} of {of} runs: do not rely on it\n"),
        Tally { failed, of } => format!("checked: the file fails with the same finding in {failed} of {of} runs\n"),
    });
    Ok(if again.failed > 0 {
        exit_code::PASSED
    } else {
        exit_code::INCONCLUSIVE
    })
}

fn result_of<'a>(before: &'a RunResults, case: &str) -> Result<&'a CaseResult, Failure> {
    before.cases.iter().find(|result| result.id == case).ok_or_else(|| {
        let near = fotaproof_cases::words::nearest(case, before.cases.iter().map(|case| case.id.as_str()));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        Failure::NothingSelected(format!("the run holds no case `{case}`{hint}"))
    })
}

fn journal(path: &Path) -> Result<Vec<Event>, Failure> {
    let told = |error: String| Failure::Environment(format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(|error| told(error.to_string()))?;
    JournalReader::new(BufReader::new(file))
        .collect::<Result<_, _>>()
        .map_err(|error| told(error.to_string()))
}

fn told(case: &str, finding: &str, found: &Shrunk, seconds: f64) -> String {
    let mut text = format!("{case} {}\n", found.sentence());
    text.push_str(&format!("  finding: {finding}\n"));
    text.push_str(&format!(
        "  {} of {} network events on {} packets are needed; {} runs in {seconds:.1} s",
        found.needed.len(),
        found.events,
        found.packets,
        found.runs
    ));
    if found.jitter {
        text.push_str("\n  the lateness of single packets was needed to bring it back");
    }
    if found.again.of > 1 {
        let Tally { failed, of } = found.again;
        text.push_str(&format!("\n  the smallest set failed in {failed} of {of} further runs"));
        if failed < of {
            text.push_str(": the failure is flaky, and a set may have been taken for harmless that is not");
        }
    }
    text
}

fn comment(case: &str, finding: &str, before: &RunResults, found: &Shrunk) -> String {
    format!(
        "Made by `fotaproof shrink` from {case} of run {}, network {}, seed {}.\nIt {}.\nFinding: {finding}",
        before.run,
        before.network,
        before.seed,
        found.sentence()
    )
}

fn write(case: &LoadedCase, found: &Shrunk, out: &Path, comment: &str) -> Result<PathBuf, Failure> {
    let text = case_file(case, &found.link, comment).map_err(|error| Failure::Environment(error.to_string()))?;
    let file = out.join(format!("{}.yaml", case.id.replace('.', "/")));
    let told = |error: std::io::Error| Failure::Environment(format!("cannot write {}: {error}", file.display()));
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(told)?;
    }
    std::fs::write(&file, text).map_err(told)?;
    Ok(file)
}

/// Runs what was written as anyone would.
fn checked(
    task: &Task<'_>,
    iut: &Iut,
    options: &RunOptions,
    out: &Path,
    case: &LoadedCase,
    tries: usize,
) -> Result<Tally, Failure> {
    let library = Library::from_dir(out)?;
    let (cases, problems) = library.load(&iut.parameters);
    let id = case.full_id();
    let Some(written) = cases.iter().find(|written| written.full_id() == id) else {
        return Err(if problems.is_empty() {
            Failure::Environment(format!("the file that was written holds no `{id}`"))
        } else {
            Failure::Invalid(problems)
        });
    };
    let options = RunOptions {
        case: CaseOptions {
            network: Default::default(),
            ..options.case.clone()
        },
        ..options.clone()
    };
    let runs = if iut.is_embedded() { 1 } else { 3.min(tries.max(1)) };
    let flag = core::sync::atomic::AtomicBool::new(false);
    let failed = (0..runs)
        .filter(|_| {
            let finished = run(iut, core::slice::from_ref(written), &options, &flag, &|_| {}, "");
            finished.cases.iter().any(|result| task.symptom.is_in(result))
        })
        .count();
    Ok(Tally { failed, of: runs })
}

fn repeat(before: &RunResults, out: &Path, case: &str) -> String {
    let mut words = vec!["fotaproof run".to_owned()];
    if let Some(manifest) = &before.iut.manifest {
        words.push(format!("--iut {}", run_command::quoted(manifest)));
    }
    words.push(format!("--library {}", run_command::quoted(&out.display().to_string())));
    for defect in &before.iut.defects {
        words.push(format!("--defect {defect}"));
    }
    words.push(format!("--seed {}", before.seed));
    if before.speed > 1.0 {
        words.push(format!("--speed {}", before.speed));
    }
    if before.strict {
        words.push("--strict".to_owned());
    }
    words.push(run_command::quoted(case));
    words.join(" ")
}
