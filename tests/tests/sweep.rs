//! Sweeps against the closed forms: what a link that loses each packet with probability p does to datagrams of n
//! fragments, and to updates made of them.

use core::sync::atomic::AtomicBool;

use fotaproof_runner::sweep::{
    Plan, Row, Sweep, csv, datagram_loss, json, load, settings, share_at, svg, sweep, table,
};
use fotaproof_tests::play;

fn plan(text: &str) -> Plan {
    load("plan.yaml", text).unwrap_or_else(|problems| {
        panic!(
            "{}",
            fotaproof_cases::render_all(&problems, fotaproof_cases::Style::Plain)
        )
    })
}

fn run(plan: &Plan) -> Sweep {
    let settings = settings(plan, &|name| Ok::<_, ()>(play::network(name))).expect("networks");
    sweep(plan, &settings, 2, &AtomicBool::new(false), &|_| {}).expect("it runs")
}

/// Normal quantile of 99.99 %, both sides: the seeds are fixed, so this is met for good or never.
const Z: f64 = 3.9;

fn measured_as_expected(row: &Row) {
    let expected = row.datagram_loss_expected.expect("independent loss");
    let measured = row.datagram_loss.expect("datagrams").value;
    let lost = (measured * row.datagrams as f64).round() as u64;
    let interval = share_at(lost, row.datagrams, Z).expect("datagrams");
    assert!(
        (interval.low..=interval.high).contains(&expected),
        "block {} over {} ({} packets), loss {:?}: {measured} of {} datagrams, expected {expected}",
        row.block,
        row.mtu,
        row.fragments,
        row.loss,
        row.datagrams
    );
}

const PUSH: &str =
    "title: Fragments\nsize: 20480\nblock: 1024\nmtu: [1280, 576, 320]\nloss: [0, 5 %, 20 %]\nseeds: 25\n";

#[test]
fn lost_blocks_follow_the_closed_form_for_fragments() {
    let found = run(&plan(PUSH));
    assert_eq!(found.rows.len(), 9);
    let fragments: Vec<u16> = found.rows.iter().map(|row| row.fragments).collect();
    assert_eq!(fragments, [1, 1, 1, 2, 2, 2, 4, 4, 4]);
    for row in &found.rows {
        measured_as_expected(row);
    }
    // without loss there is nothing to repeat, and a block takes a round trip of 40 ms
    for row in found.rows.iter().filter(|row| row.loss == Some(0.0)) {
        assert_eq!((row.failure.value, row.retransmitted.value), (0.0, 0.0));
        let goodput = row.goodput_bps.expect("it went through").value;
        assert!((goodput - 1024.0 * 8.0 / 0.04).abs() < 1.0, "{goodput}");
    }
    // the argument of the field: at the same loss of packets, fragments cost more
    let at = |mtu: u16, loss: f64| {
        found
            .rows
            .iter()
            .find(|row| row.mtu == mtu && row.loss == Some(loss))
            .expect("a row")
    };
    assert!(at(1280, 0.05).retransmitted.high < at(320, 0.05).retransmitted.low);
    assert!(at(1280, 0.05).goodput_bps.expect("it went").low > at(320, 0.05).goodput_bps.expect("it went").high);
    assert!(at(1280, 0.2).failure.high < at(320, 0.2).failure.low);
}

#[test]
fn updates_fail_as_often_as_five_transmissions_in_a_row_do() {
    // a block gets through when its fragments and its acknowledgement do, and has five chances (RFC 7252 section 4.8)
    let found = run(&plan(
        "title: Failures\nsize: 20480\nblock: 1024\nmtu: [576]\nloss: [20 %]\nseeds: 150\n",
    ));
    let row = &found.rows[0];
    let blocks = 20480 / 1024;
    let once = datagram_loss(0.2, u32::from(row.fragments) + 1);
    let expected = 1.0 - (1.0 - once.powi(5)).powi(blocks);
    let failed = (row.failure.value * row.runs as f64).round() as u64;
    let interval = share_at(failed, row.runs, Z).expect("runs");
    assert!(
        (interval.low..=interval.high).contains(&expected),
        "{} of {}, expected {expected}",
        failed,
        row.runs
    );
}

#[test]
fn a_pull_is_measured_too() {
    let found = run(&plan(
        "title: Pull\nway: pull\nsize: 8192\nblock: [512]\nmtu: [1280, 320]\nloss: [0, 10 %]\nseeds: 10\n",
    ));
    assert_eq!(found.way, "pull");
    assert_eq!(
        found.rows.iter().map(|row| row.fragments).collect::<Vec<_>>(),
        [1, 1, 2, 2]
    );
    for row in &found.rows {
        measured_as_expected(row);
    }
    assert_eq!(found.rows[0].failure.value, 0.0);
}

#[test]
fn the_same_plan_gives_the_same_numbers() {
    let small = plan(
        "title: Twice\nsize: 4096\nblock: [256, 1024]\nmtu: 576\nloss: 5 %\noversize: [fragment, filter]\nseeds: 3\n",
    );
    let once = run(&small);
    assert_eq!(csv(&once), csv(&run(&small)));
    assert_eq!(once.rows.len(), 4);
    // a firewall that passes first fragments only never lets a fragmented block through
    assert_eq!((once.rows[3].oversize, once.rows[3].failure.value), ("filter", 1.0));
    assert_eq!(
        (once.rows[3].goodput_bps, once.rows[3].datagram_loss_expected),
        (None, None)
    );
    insta::assert_snapshot!("sweep table", table(&once));
    insta::assert_snapshot!("sweep csv", csv(&once));
    insta::assert_snapshot!("sweep svg", svg(&once));
    let read: serde_json::Value = serde_json::from_str(&json(&once).expect("JSON")).expect("JSON");
    assert_eq!(
        (read["format"].as_u64(), read["rows"].as_array().map(Vec::len)),
        (Some(1), Some(4))
    );
}

#[test]
fn the_plan_of_the_library_is_that_of_the_field() {
    let text = std::fs::read_to_string(play::testcases().join("sweeps/fragmentation.yaml")).expect("the plan");
    let plan = plan(&text);
    assert_eq!((plan.size.value.0, plan.combinations()), (102_400, 2 * 3 * 9));
    let losses: Vec<f64> = plan
        .loss
        .as_ref()
        .expect("losses")
        .0
        .iter()
        .map(|loss| loss.value.0)
        .collect();
    assert_eq!((losses.first(), losses.last()), (Some(&0.0), Some(&0.2)));
}

#[test]
fn mistakes_in_a_plan_are_shown_in_their_place() {
    let text = "title: Wrong\nsize: 4096\nblock: [1024, 1000]\nmtu: [20]\nloss: []\nseeds: 0\n";
    let problems = load("plan.yaml", text).unwrap_err();
    insta::assert_snapshot!(
        "sweep mistakes",
        fotaproof_cases::render_all(&problems, fotaproof_cases::Style::Plain)
    );
    let problems = load("plan.yaml", "title: Wrong\nsize: 4096\nblocks: 1024\nseeds: 3\n").unwrap_err();
    insta::assert_snapshot!(
        "sweep unknown key",
        fotaproof_cases::render_all(&problems, fotaproof_cases::Style::Plain)
    );
}
