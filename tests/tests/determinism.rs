//! The same case, seed and build give a byte-identical journal.

use fotaproof_cases::LoadedCase;
use fotaproof_runner::iut::Iut;
use fotaproof_runner::prepare::{CaseOptions, Unprepared};
use fotaproof_tests::play::{cases, journal, network, short_cases};

fn lossy(seed: u64) -> CaseOptions {
    CaseOptions {
        seed,
        network: network("lossy-10"),
        ..CaseOptions::default()
    }
}

fn journal_of(case: &LoadedCase, options: &CaseOptions) -> Option<Vec<u8>> {
    match journal(case, &Iut::embedded(), options) {
        Ok((_, journal)) => Some(journal),
        Err(Unprepared::NotApplicable(_)) => None,
        Err(error) => panic!("{}: {error}", case.full_id()),
    }
}

fn named(id: &str) -> LoadedCase {
    cases()
        .into_iter()
        .find(|case| case.id == id)
        .unwrap_or_else(|| panic!("there is no case {id}"))
}

/// Where two journals part, for a message that helps.
fn first_difference(one: &[u8], other: &[u8]) -> String {
    let (one, other) = (String::from_utf8_lossy(one), String::from_utf8_lossy(other));
    let lines = one.lines().zip(other.lines()).enumerate().find(|(_, (a, b))| a != b);
    match lines {
        Some((i, (a, b))) => format!("line {}:\n{a}\n{b}", i + 1),
        None => "one is longer than the other".to_owned(),
    }
}

#[test]
fn every_case_twice() {
    let mut compared = 0;
    for case in short_cases() {
        let Some(first) = journal_of(&case, &lossy(7)) else {
            continue;
        };
        let second = journal_of(&case, &lossy(7)).unwrap_or_default();
        assert!(
            first == second,
            "{}: {}",
            case.full_id(),
            first_difference(&first, &second)
        );
        assert!(
            first.ends_with(b"\n") && first.len() > 500,
            "{}: a journal of {} bytes",
            case.full_id(),
            first.len()
        );
        compared += 1;
    }
    assert!(compared > 10, "only {compared} cases were compared");
}

#[test]
fn three_cases_a_hundred_times() {
    for id in ["push.happy", "pull.coap.happy", "reg.initial"] {
        let case = named(id);
        let first = journal_of(&case, &lossy(11)).expect("the embedded device claims it");
        for _ in 1..100 {
            let again = journal_of(&case, &lossy(11)).unwrap_or_default();
            assert!(first == again, "{id}: {}", first_difference(&first, &again));
        }
    }
}

#[test]
fn a_journal_does_not_depend_on_the_thread_or_on_what_ran_beside_it() {
    let case = named("push.happy");
    let alone = journal_of(&case, &lossy(5));
    let together: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..4).map(|_| scope.spawn(|| journal_of(&case, &lossy(5)))).collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    for journal in together {
        assert!(journal == alone);
    }
}

#[test]
fn another_seed_gives_another_journal() {
    let case = named("push.happy");
    assert!(journal_of(&case, &lossy(1)) != journal_of(&case, &lossy(2)));
}
