//! The library many times over lossy networks on the clean device, other seeds each time:
//! `cargo run --release -p fotaproof-tests --example false-verdicts -- [RUNS] [FIRST-SEED] [NETWORK...]`.
//!
//! Exits 1 when a correct device was accused.

use std::process::ExitCode;
use std::time::Instant;

use fotaproof_tests::campaign::{NETWORKS, campaign};
use fotaproof_tests::play;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let runs = arguments.next().and_then(|word| word.parse().ok()).unwrap_or(200);
    let seed = arguments.next().and_then(|word| word.parse().ok()).unwrap_or(1);
    let mut names: Vec<String> = arguments.collect();
    if names.is_empty() {
        names = NETWORKS.map(str::to_owned).to_vec();
    }
    let networks: Vec<_> = names.iter().map(|name| play::network(name)).collect();
    let cases = play::short_cases();
    let begun = Instant::now();
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let done = campaign(&cases, &networks, runs, seed, jobs);
    print!("{}", done.text());
    println!("over {} in {:.1} s", names.join(", "), begun.elapsed().as_secs_f64());
    if done.wrong.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
