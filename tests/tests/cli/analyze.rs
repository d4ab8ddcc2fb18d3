//! `analyze` and `diff`: captures and runs from outside.

use std::path::Path;

use crate::{fotaproof, fotaproof_in, scratch};

const CAPTURES: &str = "../../../fixtures/captures";

#[test]
fn exit_codes_of_analyze() {
    for (file, code) in [
        ("pass-own-register.pcapng", 0),
        ("pass-libcoap-blocks.pcapng", 0),
        ("fail-npm-push.pcapng", 1),
        ("inconclusive-dtls.pcapng", 5),
        ("broken-cut.pcapng", 5),
        ("broken-length-lies.pcapng", 3),
        ("broken-empty.pcap", 3),
        ("no-such-file.pcap", 5),
    ] {
        let ended = fotaproof(&format!("analyze {CAPTURES}/{file}"));
        assert_eq!(ended.code, Some(code), "{file}: {}{}", ended.out, ended.err);
        assert_eq!(ended.err, "", "{file}");
    }
    assert_eq!(fotaproof("analyze").code, Some(2));
    let ended = fotaproof(&format!("analyze --skip no-such {CAPTURES}/pass-own-register.pcapng"));
    assert_eq!(
        (ended.code, ended.err.as_str()),
        (Some(2), "error: there is no check `no-such`\n")
    );
    // Of several captures the worst counts.
    let ended = fotaproof(&format!(
        "analyze {CAPTURES}/pass-own-register.pcapng {CAPTURES}/fail-npm-push.pcapng"
    ));
    assert_eq!(ended.code, Some(1));
    let ended = fotaproof(&format!("analyze --skip token-echo {CAPTURES}/fail-npm-push.pcapng"));
    assert_eq!(ended.code, Some(0), "the check that fails was left out");
}

#[test]
fn what_analyze_leaves() {
    let folder = scratch();
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/captures");
    for name in ["pass-own-lost-acks.pcapng", "pass-field-classic.pcap"] {
        std::fs::copy(captures.join(name), folder.path().join(name)).expect("a copy");
    }
    let ended = fotaproof_in(
        folder.path(),
        "analyze --format json --out out pass-own-lost-acks.pcapng pass-field-classic.pcap",
    );
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let report: serde_json::Value = serde_json::from_str(&ended.out).expect("JSON");
    assert_eq!(report["captures"][0]["verdict"], "pass");
    let mut names: Vec<String> = std::fs::read_dir(folder.path().join("out"))
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let expected = [
        "analysis.json",
        "junit.xml",
        "pass-field-classic.annotated.pcapng",
        "pass-field-classic.svg",
        "pass-own-lost-acks.annotated.pcapng",
        "pass-own-lost-acks.svg",
    ];
    assert_eq!(names, expected);
}

#[test]
fn the_same_capture_has_no_difference() {
    let ended = fotaproof(&format!(
        "diff {CAPTURES}/pass-own-push.pcapng {CAPTURES}/pass-own-push.pcapng"
    ));
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""));
    assert_eq!(ended.out, "device fotaproof-push-happy: no difference\nno regression\n");
}

#[test]
fn differences_of_two_captures() {
    let worse = fotaproof(&format!(
        "diff {CAPTURES}/pass-own-lost-acks.pcapng {CAPTURES}/fail-own-duplicate-answer.pcapng"
    ));
    assert_eq!(worse.code, Some(1), "{}", worse.out);
    insta::assert_snapshot!("diff-captures", worse.out);
    let better = fotaproof(&format!(
        "diff --max-goodput-loss 1000 --max-retransmissions 100 {CAPTURES}/fail-own-duplicate-answer.pcapng {CAPTURES}/pass-own-lost-acks.pcapng"
    ));
    assert_eq!(better.code, Some(0), "what is gone is no regression:\n{}", better.out);
    let ended = fotaproof(&format!("diff {CAPTURES}/pass-own-push.pcapng ."));
    assert_eq!(ended.code, Some(2), "a capture and a folder");
}

#[test]
fn differences_as_json() {
    let line = format!("diff --format json {CAPTURES}/pass-own-lost-acks.pcapng");
    let worse = fotaproof(&format!("{line} {CAPTURES}/fail-own-duplicate-answer.pcapng"));
    assert_eq!(worse.code, Some(1), "{}", worse.err);
    let report: serde_json::Value = serde_json::from_str(&worse.out).expect("JSON");
    assert_eq!(
        (&report["regressions"], &report["exit_code"]),
        (&serde_json::json!(2), &serde_json::json!(1))
    );
    let device = &report["devices"][0];
    assert_eq!(device["changes"][0]["what"], "verdict");
    assert_eq!(device["parting"]["same"], 10);
    let unreadable = fotaproof(&format!("{line} {CAPTURES}/broken-empty.pcap"));
    assert_eq!(unreadable.code, Some(3), "{}", unreadable.err);
    let report: serde_json::Value = serde_json::from_str(&unreadable.out).expect("JSON");
    assert!(report["unreadable"].is_string(), "{report}");
}

#[test]
fn differences_of_two_runs() {
    let folder = scratch();
    let name = |line: &str| {
        assert!(fotaproof_in(folder.path(), line).code.is_some());
        let out = line.split_whitespace().last().expect("a folder");
        let mut runs = std::fs::read_dir(folder.path().join(out)).expect("the folder");
        let run = runs.next().expect("a run").expect("an entry").file_name();
        format!("{out}/{}", run.to_string_lossy())
    };
    let yesterday = name("run reg.initial sanity.alive --out a");
    let today = name("run reg.initial sanity.alive --defect reg-lists-security --out b");
    let same = fotaproof_in(folder.path(), &format!("diff {yesterday} {yesterday}"));
    assert_eq!((same.code, same.out.as_str()), (Some(0), "no regression\n"));
    let worse = fotaproof_in(folder.path(), &format!("diff {yesterday} {today}"));
    assert_eq!(worse.code, Some(1), "{}", worse.out);
    insta::assert_snapshot!("diff-runs", worse.out);
    let better = fotaproof_in(folder.path(), &format!("diff {today} {yesterday}"));
    assert_eq!(better.code, Some(0), "{}", better.out);
}
