//! The command line from outside: what is printed, what is left, and the exit code.
//!
//! Exit codes are public: 0 passed, 1 a case failed, 2 usage, 3 invalid file, 4 nothing selected,
//! 5 inconclusive or error, 130 interrupted.

mod analyze;
mod codes;
mod evidence;
mod help;
mod inputs;
mod interrupted;
mod matrix;
mod matrix_trouble;
mod relay;
mod shown;
mod shrink;
mod sweep;
mod trouble;

use std::path::{Path, PathBuf};

use fotaproof_tests::program::{Ended, run};
use tempfile::TempDir;

/// The folder of files that tests read; paths in outputs are relative to it.
fn data() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data"))
}

fn scratch() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// Runs the program in the folder of test data; `{line}` is split at blanks.
fn fotaproof(line: &str) -> Ended {
    run(data(), &line.split_whitespace().collect::<Vec<_>>())
}

/// Runs the program in another folder.
fn fotaproof_in(folder: &Path, line: &str) -> Ended {
    run(folder, &line.split_whitespace().collect::<Vec<_>>())
}

/// The only folder below `folder`: that of the run.
fn run_folder(folder: &Path) -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder of the runs")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert_eq!(found.len(), 1, "one run in {}", folder.display());
    found.remove(0)
}

/// A library whose cases take a while even in virtual time.
fn long_library(folder: &Path) {
    let case = r#"title: A large image is pushed
purpose: It takes long enough to be interrupted.
needs: [push]
clauses: [rfc7959/2.5]
defects: [ack-wrong-num]
limit: 24h
for: {round: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]}
firmware: {package: valid, size: 2 MiB}
given:
  - await: registration
steps:
  - push: {block: 64}
    expect: {code: 2.04, within: 24h, because: "round {round}"}
"#;
    std::fs::create_dir_all(folder.join("long/push")).expect("a folder");
    std::fs::write(folder.join("long/push/large.yaml"), case).expect("a file");
}
