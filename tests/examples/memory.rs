//! The peak memory of the whole library run in one process, with evidence:
//! `cargo run --release -p fotaproof-tests --example memory -- [JOBS]`.

use core::sync::atomic::AtomicBool;
use std::time::Instant;

use fotaproof_runner::iut::Iut;
use fotaproof_runner::prepare::CaseOptions;
use fotaproof_runner::run::{RunOptions, run};
use fotaproof_tests::{memory, play};

fn main() {
    let jobs = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(2);
    let begun = Instant::now();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cases = play::short_cases();
    let options = RunOptions {
        case: CaseOptions {
            capture: true,
            ..CaseOptions::default()
        },
        jobs,
        folder: Some(folder.path().to_path_buf()),
        ..RunOptions::default()
    };
    let finished = run(
        &Iut::embedded(),
        &cases,
        &options,
        &AtomicBool::new(false),
        &|_| {},
        "2026-01-01",
    );
    println!(
        "{} cases, {jobs} at once, evidence on: {:.2} s",
        finished.cases.len(),
        begun.elapsed().as_secs_f64()
    );
    match memory::peak() {
        Some(bytes) => println!("peak memory {:.1} MB", bytes as f64 / 1e6),
        None => println!("the system does not tell the peak memory"),
    }
}
