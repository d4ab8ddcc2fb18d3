//! The `fotaproof` command: arguments in, exit code out.

mod adapter;
mod analyze;
mod args;
mod audit;
mod diff;
mod explain;
mod failure;
mod inputs;
mod interrupt;
mod list;
mod matrix;
mod peers;
mod relay;
mod replay;
mod run;
mod schema;
mod shrink;
mod sweep;

use core::sync::atomic::{AtomicBool, Ordering};
use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use fotaproof_reports::model::exit_code;
use fotaproof_runner::real::keeper;

use crate::args::{Cli, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // help and version are asked for and go to standard output
            let code = if error.use_stderr() {
                exit_code::USAGE
            } else {
                exit_code::PASSED
            };
            let _ = error.print();
            return exit(code);
        }
    };
    keeper::employ(&["keep"]);
    let done = match cli.command {
        Command::Run(args) => run::run(&args),
        Command::List(args) => list::list(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Check(args) => list::check(&args),
        Command::Audit(args) => audit::audit(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Analyze(args) => analyze::analyze(&args),
        Command::Diff(args) => diff::diff(&args),
        Command::Adapter(args) => adapter::adapter(&args),
        Command::Device(args) => peers::device(&args),
        Command::Server(args) => peers::server(&args),
        Command::Matrix(args) => matrix::matrix(&args),
        Command::Relay(args) => relay::relay(&args),
        Command::Shrink(args) => shrink::shrunk(&args),
        Command::Sweep(args) => sweep::sweep(&args),
        Command::Schema(args) => schema::schema(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "fotaproof", &mut script);
            print(&String::from_utf8_lossy(&script));
            Ok(exit_code::PASSED)
        }
        Command::Keep => {
            keeper::keep(std::io::stdin().lock());
            Ok(exit_code::PASSED)
        }
    };
    keeper::dismiss();
    match done {
        Ok(code) => exit(code),
        Err(failure) => {
            let _ = std::io::stderr().write_all(failure.text().as_bytes());
            exit(failure.code())
        }
    }
}

fn exit(code: i32) -> ExitCode {
    let lost = code == exit_code::PASSED && OUTPUT_LOST.load(Ordering::Relaxed);
    let code = if lost { exit_code::INCONCLUSIVE } else { code };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Standard output refused what was printed, for another reason than a reader that went away.
static OUTPUT_LOST: AtomicBool = AtomicBool::new(false);

/// Prints data to standard output. A reader that went away (`| head`) is no error.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        && error.kind() != std::io::ErrorKind::BrokenPipe
        && !OUTPUT_LOST.swap(true, Ordering::Relaxed)
    {
        let _ = writeln!(std::io::stderr(), "error: cannot write to standard output: {error}");
    }
}

/// What every command gives: an exit code, or why there is none.
pub(crate) type Done = Result<i32, Failure>;
