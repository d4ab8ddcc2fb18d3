//! The library over lossy networks on the clean device: whatever fails there is a false verdict.
//!
//! A network that loses packets may keep a case from being judged (inconclusive), but it must never
//! make the harness accuse a correct device.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::collections::BTreeMap;
use std::sync::Mutex;

use fotaproof_cases::LoadedCase;
use fotaproof_runner::iut::Iut;
use fotaproof_runner::prepare::{CaseOptions, RunNetwork, Unprepared};
use fotaproof_trace::Verdict;

use crate::play::{play, told};

/// The networks that a campaign goes over, from mild to hardly usable.
pub const NETWORKS: [&str; 6] = [
    "lossy-10",
    "bursty",
    "congested",
    "nb-iot-deep",
    "satellite",
    "lossy-30",
];

/// A correct device was accused, or the harness failed.
#[derive(Clone, Debug)]
pub struct FalseVerdict {
    /// Id of the case with its variant.
    pub case: String,
    /// The network.
    pub network: String,
    /// Seed of the run.
    pub seed: u64,
    /// What the harness said.
    pub told: String,
}

/// What a campaign came to.
#[derive(Clone, Debug, Default)]
pub struct Campaign {
    /// Runs of the library.
    pub runs: usize,
    /// Cases played in all.
    pub played: usize,
    /// Those that passed.
    pub passed: usize,
    /// Those without a verdict, by case and reason.
    pub inconclusive: BTreeMap<(String, String), usize>,
    /// Cases played and passed, by network.
    pub by_network: BTreeMap<String, (usize, usize)>,
    /// False verdicts.
    pub wrong: Vec<FalseVerdict>,
}

impl Campaign {
    /// Cases that ended inconclusive.
    #[must_use]
    pub fn unclear(&self) -> usize {
        self.inconclusive.values().sum()
    }

    /// The share of cases that passed over a network, in percent.
    #[must_use]
    pub fn percent(&self, network: &str) -> usize {
        self.by_network
            .get(network)
            .map_or(0, |(played, passed)| passed * 100 / played)
    }

    /// The campaign in words.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for wrong in &self.wrong {
            text.push_str(&format!(
                "false verdict: {} over {} with seed {}\n  repeat: fotaproof run --network {} --seed {} '{}'\n  {}",
                wrong.case, wrong.network, wrong.seed, wrong.network, wrong.seed, wrong.case, wrong.told
            ));
        }
        for ((case, reason), count) in &self.inconclusive {
            text.push_str(&format!("inconclusive {count:>4} times: {case}: {reason}\n"));
        }
        for (network, (played, passed)) in &self.by_network {
            text.push_str(&format!("{network}: {passed} of {played} passed\n"));
        }
        text.push_str(&format!(
            "{} runs of the library, {} cases played: {} passed, {} inconclusive, {} false verdicts\n",
            self.runs,
            self.played,
            self.passed,
            self.unclear(),
            self.wrong.len()
        ));
        text
    }
}

/// A reason with every number as `N`, so that like reasons are counted together.
fn without_numbers(reason: &str) -> String {
    let mut text = String::with_capacity(reason.len());
    for c in reason.chars() {
        if !c.is_ascii_digit() {
            text.push(c);
        } else if !text.ends_with('N') {
            text.push('N');
        }
    }
    text.replace("N.N", "N")
}

/// Runs the library `runs` times, each time over the next network and with the next seed.
#[must_use]
pub fn campaign(cases: &[LoadedCase], networks: &[RunNetwork], runs: usize, first_seed: u64, jobs: usize) -> Campaign {
    let iut = Iut::embedded();
    let done = Mutex::new(Campaign {
        runs,
        ..Campaign::default()
    });
    let next = AtomicUsize::new(0);
    let total = runs * cases.len();
    let worker = || {
        loop {
            let task = next.fetch_add(1, Ordering::Relaxed);
            if task >= total {
                return;
            }
            let (run, case) = (task / cases.len(), &cases[task % cases.len()]);
            let network = &networks[run % networks.len()];
            let options = CaseOptions {
                seed: first_seed + run as u64,
                network: network.clone(),
                ..CaseOptions::default()
            };
            let played = play(case, &iut, &options, &mut |_| {});
            let mut done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let wrong = |told: String| FalseVerdict {
                case: case.full_id(),
                network: network.name.clone(),
                seed: options.seed,
                told,
            };
            match played {
                Err(Unprepared::NotApplicable(_)) => continue,
                Err(error) => done.wrong.push(wrong(error.to_string())),
                Ok(outcome) => match outcome.verdict {
                    Verdict::Pass => {
                        done.passed += 1;
                        done.by_network.entry(network.name.clone()).or_default().1 += 1;
                    }
                    Verdict::Inconclusive => {
                        *done
                            .inconclusive
                            .entry((case.full_id(), without_numbers(&outcome.reason)))
                            .or_default() += 1;
                    }
                    Verdict::None | Verdict::Fail | Verdict::Error => done.wrong.push(wrong(told(&outcome))),
                },
            }
            done.played += 1;
            done.by_network.entry(network.name.clone()).or_default().0 += 1;
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(worker);
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.wrong.sort_by(|a, b| (a.seed, &a.case).cmp(&(b.seed, &b.case)));
    done
}
