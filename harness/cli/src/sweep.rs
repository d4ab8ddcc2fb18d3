//! `sweep`: an update over many combinations of settings, in virtual time.

use std::path::{Path, PathBuf};

use clap::Args;
use fotaproof_cases::Library;
use fotaproof_reports::model::exit_code;
use fotaproof_runner::sweep::{self, SweepError, settings};
use indicatif::{ProgressBar, ProgressDrawTarget};

use crate::failure::Failure;
use crate::{Done, inputs, interrupt, print};

/// `sweep`.
#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    /// The plan: a file, or the name of one of the library, such as `fragmentation`.
    plan: String,
    /// Runs at once; the number of cores if absent.
    #[arg(long, short = 'j', value_name = "N")]
    jobs: Option<usize>,
    /// Writes sweep.csv, sweep.json and sweep.svg into this folder.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(crate) fn sweep(args: &SweepArgs) -> Done {
    let library = Library::embedded();
    let in_library = format!("sweeps/{}.yaml", args.plan);
    let plan = match library.get(&in_library) {
        Some(text) => sweep::load(&in_library, text)?,
        None => sweep::load(&args.plan, &inputs::read(Path::new(&args.plan))?)?,
    };
    let settings = settings(&plan, &|name| inputs::network(Some(name), &library))?;
    let flag = interrupt::flag();
    let bar = ProgressBar::new((settings.len() * plan.seeds.value as usize) as u64);
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
    let jobs = args
        .jobs
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let done = sweep::sweep(&plan, &settings, jobs, &flag, &|runs| bar.set_position(runs as u64));
    bar.finish_and_clear();
    let found = match done {
        Ok(found) => found,
        Err(SweepError::Interrupted) => return Ok(exit_code::INTERRUPTED),
        Err(error) => return Err(Failure::Environment(error.to_string())),
    };
    print(&sweep::table(&found));
    if let Some(out) = &args.out {
        let json = sweep::json(&found).map_err(|error| Failure::Environment(error.to_string()))?;
        std::fs::create_dir_all(out)
            .map_err(|error| Failure::Environment(format!("cannot make {}: {error}", out.display())))?;
        for (name, text) in [
            ("sweep.csv", sweep::csv(&found)),
            ("sweep.json", json),
            ("sweep.svg", sweep::svg(&found)),
        ] {
            let path = out.join(name);
            std::fs::write(&path, text)
                .map_err(|error| Failure::Environment(format!("cannot write {}: {error}", path.display())))?;
        }
        print(&format!(
            "\nsweep.csv, sweep.json and sweep.svg are in {}\n",
            out.display()
        ));
    }
    Ok(exit_code::PASSED)
}
