//! Each public exit code.

use crate::{fotaproof, fotaproof_in, scratch};

#[test]
fn zero_when_all_passed() {
    let ended = fotaproof("run --library library --no-evidence push reg.read");
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("PASSED"), "{}", ended.out);
}

#[test]
fn one_when_a_case_failed() {
    let ended = fotaproof("run --library library --no-evidence --defect success-without-install push");
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("FAIL  push.whole[block=256]"), "{}", ended.out);
    assert!(
        ended.out.contains("oma-fw/T2") || ended.out.contains("oma-fw/T5"),
        "{}",
        ended.out
    );
}

#[test]
fn one_when_the_audit_finds_a_problem() {
    let folder = scratch();
    let case = "title: A case that its defect does not break\n\
                purpose: It proves nothing about the defect that it names.\n\
                clauses: [obj5/3]\n\
                defects: [execute-twice]\n\
                given:\n  - await: registration\n\
                steps:\n  - read: /5/0/3\n    expect: {code: 2.05}\n";
    std::fs::create_dir_all(folder.path().join("library/reg")).unwrap();
    std::fs::write(folder.path().join("library/reg/weak.yaml"), case).unwrap();
    let ended = fotaproof_in(folder.path(), "audit --library library");
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.out.contains("problem: reg.weak: execute-twice survives"),
        "{}",
        ended.out
    );
}

#[test]
fn two_for_wrong_usage() {
    for line in [
        "",
        "fly",
        "run --fly",
        "run --seed much",
        "run --jobs 1 --format xml",
        "run --speed 0.5 --no-evidence --library library",
        "run --speed NaN --no-evidence --library library",
        "run --no-evidence --out there",
        "run --no-evidence --library library clase:x",
        "explain",
        "schema fly",
        "completions fly",
    ] {
        let ended = fotaproof(line);
        assert_eq!(ended.code, Some(2), "`{line}`: {}{}", ended.out, ended.err);
        assert!(ended.out.is_empty() && !ended.err.is_empty(), "`{line}`: {}", ended.out);
    }
}

#[test]
fn two_with_a_hint_for_an_unknown_defect_or_network() {
    let defect = fotaproof("run --no-evidence --library library --defect execute-twise");
    assert_eq!(defect.code, Some(2));
    assert_eq!(
        defect.err,
        "error: there is no defect `execute-twise`; did you mean `execute-twice`?\n"
    );
    let network = fotaproof("run --no-evidence --library library --network nb-iott");
    assert_eq!(network.code, Some(2));
    assert_eq!(
        network.err,
        "error: there is no network `nb-iott`; did you mean `nb-iot`?\n"
    );
}

#[test]
fn three_for_an_invalid_file() {
    let ended = fotaproof("run --no-evidence --library nowhere");
    assert_eq!(ended.code, Some(3), "{}{}", ended.out, ended.err);
}

#[test]
fn four_when_nothing_is_selected() {
    let cases = [
        (
            "run --no-evidence --library library push.wole",
            "did you mean `push.whole`?",
        ),
        (
            "run --no-evidence --library library suite:zzz",
            "nothing is selected by `suite:zzz`",
        ),
        ("run --no-evidence --library library push !push", "taken out again"),
        (
            "list --library library tag:nothing-has-it",
            "nothing is selected by `tag:nothing-has-it`",
        ),
        (
            "audit --library library defect:zzz",
            "nothing is selected by `defect:zzz`",
        ),
        ("explain --library library push.wole", "did you mean `push.whole`?"),
    ];
    for (line, hint) in cases {
        let ended = fotaproof(line);
        assert_eq!(ended.code, Some(4), "`{line}`: {}{}", ended.out, ended.err);
        assert!(ended.err.contains(hint), "`{line}`: {}", ended.err);
        assert!(ended.out.is_empty(), "`{line}`: {}", ended.out);
    }
}

#[test]
fn four_for_a_library_without_a_case() {
    let folder = scratch();
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    let ended = fotaproof_in(folder.path(), "run --no-evidence --library empty");
    assert_eq!(ended.code, Some(4), "{}{}", ended.out, ended.err);
    assert!(ended.err.contains("holds no case"), "{}", ended.err);
}

#[test]
fn four_when_no_selected_case_applies() {
    let ended = fotaproof("run --library library --no-evidence reg.software");
    assert_eq!(ended.code, Some(4), "{}{}", ended.out, ended.err);
}

#[test]
fn five_when_a_case_was_inconclusive_and_none_failed() {
    let ended = fotaproof("run --library library --no-evidence reg");
    assert_eq!(ended.code, Some(5), "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("INCONCLUSIVE  reg.late"), "{}", ended.out);
    // a failure weighs more
    let ended = fotaproof("run --library library --no-evidence --defect reads-unanswered reg");
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
}

#[test]
fn fail_fast_ends_after_the_first_failure() {
    let all = fotaproof("run --library library --no-evidence --jobs 1 --defect success-without-install");
    let first = fotaproof("run --library library --no-evidence --jobs 1 --defect success-without-install --fail-fast");
    assert_eq!((all.code, first.code), (Some(1), Some(1)));
    assert!(all.out.contains("push.whole[block=1024]"), "{}", all.out);
    assert!(!first.out.contains("FAIL  push.whole[block=1024]"), "{}", first.out);
}

#[test]
fn the_same_seed_gives_the_same_run_whatever_the_jobs() {
    let verdicts = |line: &str| {
        let ended = fotaproof(line);
        let mut results: serde_json::Value = serde_json::from_str(&ended.out).expect("JSON");
        for name in ["run", "started", "seconds"] {
            results[name] = serde_json::Value::Null;
        }
        for case in results["cases"].as_array_mut().expect("cases") {
            case["wall_ms"] = serde_json::Value::Null;
        }
        if let Some(totals) = results["totals"].as_object_mut() {
            totals.retain(|name, _| !name.contains("wall"));
        }
        results
    };
    let line = "run --library library --no-evidence --format json --network lossy-10 --seed 42";
    let one = verdicts(&format!("{line} --jobs 1"));
    assert_eq!(one, verdicts(&format!("{line} --jobs 1")));
    assert_eq!(one, verdicts(&format!("{line} --jobs 4")));
    let other = verdicts("run --library library --no-evidence --format json --network lossy-10 --seed 43");
    assert_ne!(one["cases"], other["cases"]);
}
