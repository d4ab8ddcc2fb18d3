//! Delta debugging: the smallest set of events with which a run still fails.
//!
//! A. Zeller and R. Hildebrandt, Simplifying and Isolating Failure-Inducing Input, IEEE Transactions on Software
//! Engineering 28(2), 2002: parts of the set are left out, large ones first, and in the end each event by itself.

use std::collections::BTreeMap;

/// What a search came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The events that are left, by their index, ascending.
    pub events: Vec<usize>,
    /// Whether each of them was left out by itself and the run did not fail then.
    pub minimal: bool,
    /// Sets that were tried.
    pub tried: usize,
}

/// The smallest set of `count` events that fails; all together do. `fails` says whether a set does, or nothing when it
/// may be asked no more. No set is asked about twice.
pub fn smallest(count: usize, fails: &mut dyn FnMut(&[usize]) -> Option<bool>) -> Found {
    let mut known: BTreeMap<Vec<usize>, bool> = BTreeMap::new();
    let mut tried = 0;
    let mut ask = |set: &[usize]| -> Option<bool> {
        if let Some(answer) = known.get(set) {
            return Some(*answer);
        }
        let answer = fails(set)?;
        tried += 1;
        known.insert(set.to_vec(), answer);
        Some(answer)
    };
    let mut events: Vec<usize> = (0..count).collect();
    let minimal = reduce(&mut events, &mut ask).is_some();
    Found { events, minimal, tried }
}

/// Reduces a set that fails; none when no more may be asked.
fn reduce(events: &mut Vec<usize>, ask: &mut dyn FnMut(&[usize]) -> Option<bool>) -> Option<()> {
    if events.is_empty() || ask(&[])? {
        events.clear();
        return Some(());
    }
    let mut parts = 2;
    while events.len() > 1 {
        let size = events.len().div_ceil(parts);
        let mut start = 0;
        let mut smaller = false;
        while start < events.len() {
            let end = (start + size).min(events.len());
            let rest: Vec<usize> = events[..start].iter().chain(&events[end..]).copied().collect();
            // one part alone is the rest of another when there are two
            if !rest.is_empty() && ask(&rest)? {
                *events = rest;
                smaller = true;
            } else {
                start = end;
            }
        }
        if size == 1 {
            if !smaller {
                break;
            }
        } else {
            parts = (events.len().div_ceil(size) * 2).min(events.len().max(1));
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_of_four_hundred_are_found_in_few_runs() {
        let found = smallest(400, &mut |set| Some(set.contains(&17) && set.contains(&333)));
        assert_eq!((found.events.as_slice(), found.minimal), (&[17, 333][..], true));
        assert!(found.tried < 70, "{} runs", found.tried);
    }

    #[test]
    fn a_run_that_fails_anyway_needs_no_event() {
        let found = smallest(100, &mut |_| Some(true));
        assert_eq!(
            found,
            Found {
                events: vec![],
                minimal: true,
                tried: 1
            }
        );
    }

    #[test]
    fn one_event_alone() {
        let found = smallest(1, &mut |set| Some(!set.is_empty()));
        assert_eq!((found.events, found.minimal), (vec![0], true));
    }

    #[test]
    fn when_no_more_may_be_asked_the_best_so_far_is_told_as_such() {
        let mut left = 5;
        let found = smallest(64, &mut |set| {
            left -= 1;
            (left >= 0).then(|| set.contains(&3))
        });
        assert!(!found.minimal);
        assert!(found.events.contains(&3) && found.events.len() < 64);
        assert_eq!(found.tried, 5);
    }

    proptest! {
        #[test]
        fn what_is_left_fails_and_nothing_of_it_can_go(count in 1..60_usize, wanted in proptest::collection::btree_set(0..60_usize, 0..6), either: bool) {
            let wanted: Vec<usize> = wanted.into_iter().filter(|event| *event < count).collect();
            // all of them, or any one of them
            let fails = |set: &[usize]| {
                if either { wanted.is_empty() || wanted.iter().any(|event| set.contains(event)) } else { wanted.iter().all(|event| set.contains(event)) }
            };
            let found = smallest(count, &mut |set| Some(fails(set)));
            prop_assert!(found.minimal);
            prop_assert!(fails(&found.events));
            for event in &found.events {
                let without: Vec<usize> = found.events.iter().copied().filter(|other| other != event).collect();
                prop_assert!(!fails(&without));
            }
        }
    }
}
