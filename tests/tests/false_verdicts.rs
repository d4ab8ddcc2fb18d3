//! A correct device is never accused, whatever the network loses.
//!
//! The plain test is a sample; `FALSE_VERDICT_RUNS=200` makes it as long as wanted, and the example
//! `false-verdicts` does the same in release with a report.

use fotaproof_tests::campaign::{NETWORKS, campaign};
use fotaproof_tests::play::{network, short_cases};

#[test]
fn the_clean_device_is_never_accused() {
    let runs = std::env::var("FALSE_VERDICT_RUNS")
        .ok()
        .map_or(3 * NETWORKS.len(), |text| {
            text.parse().expect("FALSE_VERDICT_RUNS is a number")
        });
    let networks: Vec<_> = NETWORKS.iter().map(|name| network(name)).collect();
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let done = campaign(&short_cases(), &networks, runs, 1, jobs);
    println!("{}", done.text());
    assert!(done.wrong.is_empty(), "{}", done.text());
    // a harness that never judges accuses nobody either
    for (network, least) in [("satellite", 95), ("lossy-10", 85), ("congested", 60), ("bursty", 60)] {
        assert!(
            done.percent(network) >= least,
            "over {network} too little is judged:\n{}",
            done.text()
        );
    }
}
