//! Each defect makes a difference that can be seen from outside, and a correct device makes none.

use std::collections::BTreeMap;

use fotaproof_lwm2m::Defect;

use crate::rig::{Rig, with};
use crate::scenarios::{HEAVY, SCENARIOS};

fn transcript(index: usize, defect: Option<Defect>) -> String {
    let scenario = &SCENARIOS[index];
    let mut rig = Rig::new(with(defect, (scenario.config)()));
    (scenario.play)(&mut rig);
    rig.transcript()
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for index in (0..SCENARIOS.len()).step_by(7) {
        assert_eq!(transcript(index, None), transcript(index, None), "{}", SCENARIOS[index].name);
    }
}

/// Whether a scenario is worth its time for a defect.
fn is_tried(index: usize, defect: Defect) -> bool {
    let large = [Defect::Num12Bit, Defect::Num16Bit, Defect::Length16Bit, Defect::BodyInMemory];
    !HEAVY.contains(&SCENARIOS[index].name) || large.contains(&defect)
}

#[test]
fn every_defect_shows_in_a_scenario() {
    let mut clean: BTreeMap<usize, String> = BTreeMap::new();
    let mut table = String::new();
    let mut hidden = Vec::new();
    for defect in Defect::all() {
        let shows = (0..SCENARIOS.len()).filter(|index| is_tried(*index, defect)).find(|&index| {
            let expected = clean.entry(index).or_insert_with(|| transcript(index, None));
            transcript(index, Some(defect)) != *expected
        });
        match shows {
            Some(index) => table += &format!("{defect:<28} {}\n", SCENARIOS[index].name),
            None => hidden.push(defect.name()),
        }
    }
    assert!(hidden.is_empty(), "no scenario shows {hidden:?}");
    insta::assert_snapshot!("defects", table);
}
