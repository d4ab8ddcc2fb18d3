//! `fotaproof sweep`: a plan, a table, and the files.

use crate::{fotaproof_in, scratch};

#[test]
fn a_plan_gives_a_table_and_three_files() {
    let folder = scratch();
    let plan = "title: Two sizes\nsize: 4096\nblock: [1024, 256]\nmtu: 576\nnetwork: [mine.yaml]\nseeds: 2\n";
    std::fs::write(folder.path().join("plan.yaml"), plan).expect("a file");
    std::fs::write(folder.path().join("mine.yaml"), "summary: mine\nboth: {delay: 10ms}\n").expect("a file");
    let ended = fotaproof_in(folder.path(), "sweep plan.yaml --jobs 2 --out found");
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{}", ended.out);
    assert!(
        ended.out.starts_with("Two sizes\npush of 4096 bytes, 2 runs of each"),
        "{}",
        ended.out
    );
    assert!(
        ended
            .out
            .ends_with("\nsweep.csv, sweep.json and sweep.svg are in found\n"),
        "{}",
        ended.out
    );
    let read = |name: &str| std::fs::read_to_string(folder.path().join("found").join(name)).expect("a file");
    assert_eq!(read("sweep.csv").lines().count(), 3);
    assert!(
        read("sweep.csv")
            .lines()
            .nth(1)
            .expect("a line")
            .starts_with("mine.yaml,1024,576,fragment,0,2,2,0,")
    );
    let found: serde_json::Value = serde_json::from_str(&read("sweep.json")).expect("JSON");
    assert_eq!(found["rows"][0]["fragments"], 2);
    let chart = read("sweep.svg");
    assert!(chart.starts_with("<svg ") && chart.ends_with("</svg>\n"));
    let mut reader = quick_xml::Reader::from_str(&chart);
    while !matches!(reader.read_event().expect("XML"), quick_xml::events::Event::Eof) {}
}

#[test]
fn mistakes_in_a_plan_end_with_three() {
    let folder = scratch();
    std::fs::write(
        folder.path().join("plan.yaml"),
        "title: x\nsize: 10\nblock: 100\nseeds: 1\n",
    )
    .expect("a file");
    let ended = fotaproof_in(folder.path(), "sweep plan.yaml");
    assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""));
    assert!(ended.err.contains("100 is no block size"), "{}", ended.err);
    let ended = fotaproof_in(folder.path(), "sweep none.yaml");
    assert_eq!(ended.code, Some(3));
    std::fs::write(
        folder.path().join("net.yaml"),
        "title: x\nsize: 10\nblock: 64\nnetwork: lte-n\nseeds: 1\n",
    )
    .expect("a file");
    let ended = fotaproof_in(folder.path(), "sweep net.yaml");
    assert_eq!(
        (ended.code, ended.err.contains("did you mean `lte-m`?")),
        (Some(2), true),
        "{}",
        ended.err
    );
}

#[test]
fn a_plan_is_checked_like_any_other_file() {
    let folder = scratch();
    let plan = "title: Two sizes\nsize: 4096\nblock: 64\nseeds: 2\n";
    std::fs::write(folder.path().join("plan.yaml"), plan).expect("a file");
    let ended = fotaproof_in(folder.path(), "check plan.yaml");
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (Some(0), "plan.yaml: a valid sweep plan\n")
    );
    std::fs::write(folder.path().join("plan.yaml"), plan.replace("64", "65")).expect("a file");
    let ended = fotaproof_in(folder.path(), "check plan.yaml");
    assert_eq!(ended.code, Some(3), "{}", ended.out);
    assert!(ended.err.contains("65 is no block size"), "{}", ended.err);
}
