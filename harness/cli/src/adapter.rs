//! `adapter check`: tests a program that speaks the adapter protocol.

use std::path::Path;

use clap::{Args, Subcommand, ValueEnum};
use fotaproof_cases::ast::Span;
use fotaproof_cases::load_manifest;
use fotaproof_lwm2m::server_defects::{ServerDefect, ServerDefectSet};
use fotaproof_reports::model::exit_code;
use fotaproof_runner::real::adapter::check::{CheckOptions, CheckReport, CheckVerdict, Checked, check};
use fotaproof_runner::real::adapter::serve::serve;
use fotaproof_runner::real::adapter::{AdapterLaunch, launch_of};
use fotaproof_runner::real::{interrupt, terminal};
use serde_json::json;

use crate::failure::Failure;
use crate::{Done, inputs, print};

/// `adapter`.
#[derive(Debug, Args)]
pub(crate) struct AdapterArgs {
    /// What to do.
    #[command(subcommand)]
    command: AdapterCommand,
}

/// What can be done with an adapter.
#[derive(Debug, Subcommand)]
enum AdapterCommand {
    /// Tests an adapter against the protocol, and every operation that it claims against the reference device.
    ///
    /// Ends with exit code 0 when nothing failed, 1 when a check failed, 5 when the adapter could not be started.
    Check(CheckArgs),
    /// Is an adapter itself: the reference server of updates behind the protocol, on standard input and output.
    Serve(ServeArgs),
}

/// `adapter serve`.
#[derive(Debug, Args)]
struct ServeArgs {
    /// Plants a defect of servers; can be given several times.
    #[arg(long, value_name = "NAME")]
    defect: Vec<String>,
    /// How many times faster than the wall its clock runs, as a harness that runs at `--speed` wants it.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    speed: f64,
}

/// `adapter check`.
#[derive(Debug, Args)]
struct CheckArgs {
    /// The adapter: a program with its arguments, or a manifest with `adapter`.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND|MANIFEST"
    )]
    command: Vec<String>,
    /// How long it may take to its first line; that of the manifest, or 60 s, if absent.
    #[arg(long, value_name = "TIME")]
    ready: Option<Span>,
    /// How long an answer may take that waits for no device.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    within: Span,
    /// Of an adapter for devices: the endpoint of a device that it has. It is switched off and on, its power is cut, and it is wiped.
    #[arg(long, value_name = "NAME", default_value = "check-device")]
    device: String,
    /// What is printed.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table, and what was expected where a check failed.
    Human,
    /// JSON.
    Json,
}

pub(crate) fn adapter(args: &AdapterArgs) -> Done {
    match &args.command {
        AdapterCommand::Check(args) => checked(args),
        AdapterCommand::Serve(args) => served(args),
    }
}

fn served(args: &ServeArgs) -> Done {
    let mut defects = ServerDefectSet::new();
    for name in &args.defect {
        let defect: ServerDefect = name
            .parse()
            .map_err(|_| Failure::Usage(format!("there is no defect `{name}` of servers")))?;
        defects.insert(defect);
    }
    if !(args.speed.is_finite() && args.speed > 0.0) {
        return Err(Failure::Usage(format!(
            "a speed of {} is not possible; it is a positive number such as 20",
            args.speed
        )));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (handle, stop) = interrupt();
        terminal::stop_at_signals(handle)?;
        let lines = terminal::stdin_lines(None);
        serve(&defects, args.speed, lines, stop, &mut |line| print(line)).await;
        Ok::<_, Failure>(())
    })?;
    // the thread that reads standard input may still wait for a line
    runtime.shutdown_background();
    Ok(exit_code::PASSED)
}

fn checked(args: &CheckArgs) -> Done {
    let mut launch = launch(&args.command)?;
    if let Some(ready) = &args.ready {
        launch.ready = ready.0;
    }
    let options = CheckOptions {
        launch,
        within: args.within.0,
        device: args.device.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let (handle, mut stop) = interrupt();
        terminal::stop_at_signals(handle)?;
        Ok::<_, Failure>(tokio::select! {
            report = check(&options) => Some(report),
            // dropping the check ends the adapter
            () = stop.wait() => None,
        })
    })?;
    let Some(report) = report else {
        return Ok(exit_code::INTERRUPTED);
    };
    print(&match args.format {
        Format::Human => human(&options.launch.command.join(" "), &report),
        Format::Json => format!("{:#}\n", as_json(&options.launch.command, &report)),
    });
    Ok(if report.not_started {
        exit_code::INCONCLUSIVE
    } else if report.count(CheckVerdict::Failed) > 0 {
        exit_code::FAILED
    } else {
        exit_code::PASSED
    })
}

/// From a manifest when there is one alone, from a command otherwise.
fn launch(words: &[String]) -> Result<AdapterLaunch, Failure> {
    let [one] = words else {
        return Ok(AdapterLaunch::new(words.to_vec()));
    };
    let path = Path::new(one);
    let is_manifest = path
        .extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml");
    if !is_manifest {
        return Ok(AdapterLaunch::new(words.to_vec()));
    }
    let manifest = load_manifest(one, &inputs::read(path)?)?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let state = std::env::temp_dir();
    launch_of(&manifest.manifest, folder, Path::new("."), &state)
        .ok_or_else(|| Failure::Usage(format!("{one} has no `adapter`")))
}

/// The table.
fn human(command: &str, report: &CheckReport) -> String {
    let mut text = format!("{command}\n\n");
    let width = report.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    for check in &report.checks {
        text.push_str(&line(check, width));
    }
    let count = |verdict: CheckVerdict| report.count(verdict);
    text.push_str(&format!(
        "\n{} passed, {} failed, {} not claimed, {} not tested\n",
        count(CheckVerdict::Passed),
        count(CheckVerdict::Failed),
        count(CheckVerdict::NotClaimed),
        count(CheckVerdict::NotTested),
    ));
    text
}

fn line(check: &Checked, width: usize) -> String {
    let Checked {
        name,
        verdict,
        expected,
        seen,
    } = check;
    let word = match verdict {
        CheckVerdict::Passed => "pass",
        CheckVerdict::Failed => "FAIL",
        CheckVerdict::NotClaimed | CheckVerdict::NotTested => "  - ",
    };
    match verdict {
        CheckVerdict::Failed => {
            let indent = " ".repeat(width + 8);
            format!("{word}  {name:width$}  expected: {expected}\n{indent}seen: {seen}\n")
        }
        _ => format!("{word}  {name:width$}  {seen}\n"),
    }
}

fn as_json(command: &[String], report: &CheckReport) -> serde_json::Value {
    let checks: Vec<_> = report
        .checks
        .iter()
        .map(|check| {
            json!({
                "name": check.name,
                "verdict": check.verdict.word().replace(' ', "-"),
                "expected": check.expected,
                "seen": check.seen,
            })
        })
        .collect();
    json!({
        "command": command,
        "hello": report.hello,
        "checks": checks,
        "passed": report.count(CheckVerdict::Passed),
        "failed": report.count(CheckVerdict::Failed),
        "not-claimed": report.count(CheckVerdict::NotClaimed),
        "not-tested": report.count(CheckVerdict::NotTested),
    })
}
