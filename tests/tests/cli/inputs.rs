//! Bad input: the place with a caret, a hint, exit 3, and never a panic.

use std::fs;
use std::path::Path;

use fotaproof_tests::program::Ended;

use crate::{fotaproof, fotaproof_in, scratch};

const GOOD: &str = "title: A registered client answers a read
purpose: The smallest case there is.
clauses: [obj5/3]
defects: [never-registers]
given:
  - await: registration
steps:
  - read: /5/0/3
    expect: {code: 2.05}
";

/// `check` of one case file; it must be refused with exit 3.
fn refused(text: impl AsRef<[u8]>) -> String {
    let folder = scratch();
    fs::create_dir_all(folder.path().join("reg")).unwrap();
    fs::write(folder.path().join("reg/bad.yaml"), text).unwrap();
    let checked = fotaproof_in(folder.path(), "check reg/bad.yaml");
    assert_eq!(checked.code, Some(3), "{}{}", checked.out, checked.err);
    assert!(checked.out.is_empty(), "{}", checked.out);
    // the same mistake in a library keeps it from being run
    let ran = fotaproof_in(folder.path(), "run --no-evidence --library .");
    assert_eq!(ran.code, Some(3), "{}{}", ran.out, ran.err);
    checked.err
}

/// A library of one case in the folder `good`.
fn good_library(folder: &Path) {
    fs::create_dir_all(folder.join("good/reg")).unwrap();
    fs::write(folder.join("good/reg/read.yaml"), GOOD).unwrap();
}

fn with(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from));
    GOOD.replace(from, to)
}

#[test]
fn the_case_without_mistakes_is_valid() {
    let folder = scratch();
    fs::write(folder.path().join("good.yaml"), GOOD).unwrap();
    assert_eq!(fotaproof_in(folder.path(), "check good.yaml").code, Some(0));
}

#[test]
fn mistakes_in_a_case() {
    let mistakes = [
        ("unknown-key", with("expect:", "expct:")),
        ("wrong-type", with("clauses: [obj5/3]", "clauses: {obj5: 3}")),
        ("wrong-value", with("code: 2.05", "code: two")),
        (
            "unknown-state",
            with("expect: {code: 2.05}", "expect: {path: [idle, downloadet]}"),
        ),
        ("unknown-clause", with("obj5/3", "obj5/33")),
        ("unknown-defect", with("never-registers", "never-register")),
        ("unknown-claim", with("clauses:", "needs: [pusch]\nclauses:")),
        ("missing-key", with("title: A registered client answers a read\n", "")),
        (
            "key-twice",
            with("clauses: [obj5/3]", "clauses: [obj5/3]\nclauses: [obj5/3]"),
        ),
        ("broken-yaml", with("clauses: [obj5/3]", "clauses: [obj5/3")),
        (
            "two-actions",
            with("  - read: /5/0/3", "  - read: /5/0/3\n    execute: /5/0/2"),
        ),
    ];
    for (name, text) in mistakes {
        let told = refused(text);
        assert!(told.contains("reg/bad.yaml:"), "{name} has no place:\n{told}");
        insta::assert_snapshot!(format!("bad-{name}"), told);
    }
}

#[test]
fn all_mistakes_of_a_file_are_told_at_once() {
    let told = refused(
        with("expect:", "expct:")
            .replace("obj5/3", "obj5/33")
            .replace("await:", "awiat:"),
    );
    assert!(told.contains("expct") && told.contains("awiat"), "{told}");
}

#[test]
fn two_files_with_one_id() {
    let folder = scratch();
    fs::create_dir_all(folder.path().join("library/reg")).unwrap();
    fs::write(folder.path().join("library/reg/read.yaml"), GOOD).unwrap();
    fs::write(folder.path().join("library/reg.read.yaml"), GOOD).unwrap();
    let ended = fotaproof_in(folder.path(), "list --library library");
    assert_eq!(ended.code, Some(3), "{}{}", ended.out, ended.err);
    insta::assert_snapshot!("bad-duplicate-id", ended.err);
}

#[test]
fn includes_that_go_round() {
    let folder = scratch();
    fs::create_dir_all(folder.path().join("library/reg")).unwrap();
    fs::create_dir_all(folder.path().join("library/common")).unwrap();
    fs::write(
        folder.path().join("library/reg/read.yaml"),
        format!("include: [../common/a.yaml]\n{GOOD}"),
    )
    .unwrap();
    fs::write(
        folder.path().join("library/common/a.yaml"),
        "include: [b.yaml]\ntags: [a]\n",
    )
    .unwrap();
    fs::write(
        folder.path().join("library/common/b.yaml"),
        "include: [a.yaml]\ntags: [b]\n",
    )
    .unwrap();
    for line in ["list --library library", "check library/reg/read.yaml"] {
        let ended = fotaproof_in(folder.path(), line);
        assert_eq!(ended.code, Some(3), "{}{}", ended.out, ended.err);
        assert!(ended.err.contains("goes round"), "{}", ended.err);
    }
    let ended = fotaproof_in(folder.path(), "list --library library");
    insta::assert_snapshot!("bad-cyclic-include", ended.err);
}

#[test]
fn an_include_that_leads_out_of_the_library() {
    let folder = scratch();
    fs::create_dir_all(folder.path().join("library/reg")).unwrap();
    fs::write(folder.path().join("secret.yaml"), "tags: [secret]\n").unwrap();
    fs::write(
        folder.path().join("library/reg/read.yaml"),
        format!("include: [../../secret.yaml]\n{GOOD}"),
    )
    .unwrap();
    let ended = fotaproof_in(folder.path(), "list --library library");
    assert_eq!(ended.code, Some(3), "{}{}", ended.out, ended.err);
    assert!(ended.err.contains("leads out of the library"), "{}", ended.err);
}

#[test]
fn bytes_that_are_no_text() {
    let mut rng = fastrand::Rng::with_seed(5);
    let garbage: Vec<u8> = core::iter::repeat_with(|| rng.u8(..)).take(4096).collect();
    let told = refused(garbage);
    assert!(told.contains("UTF-8"), "{told}");
    refused([0_u8; 64]);
    refused([]);
    refused("\u{feff}");
    refused("- - - - - -");
    refused("*anchor");
    refused("&a [*a, *a]");
    refused(format!("title: {}", "[".repeat(10_000)));
    // an alias bomb
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..9 {
        bomb.push_str(&format!(
            "a{i}: &a{i} [{}]\n",
            vec![format!("*a{}", i - 1); 10].join(", ")
        ));
    }
    refused(bomb);
}

#[test]
fn a_file_of_100_mb_is_refused_before_it_is_read() {
    let folder = scratch();
    fs::create_dir_all(folder.path().join("large")).unwrap();
    let path = folder.path().join("large/large.yaml");
    fs::File::create(&path)
        .and_then(|file| file.set_len(100_000_000))
        .unwrap();
    good_library(folder.path());
    for line in [
        "check large/large.yaml",
        "run --no-evidence --library large",
        "run --no-evidence --library good --iut large/large.yaml",
        "run --no-evidence --library good --network large/large.yaml",
    ] {
        let ended = fotaproof_in(folder.path(), line);
        assert_eq!(ended.code, Some(3), "`{line}`: {}{}", ended.out, ended.err);
        assert!(
            ended.err.contains("the file has 100000000 bytes; the limit is 1048576"),
            "`{line}`: {}",
            ended.err
        );
    }
}

#[test]
fn files_that_are_not_there_or_are_folders() {
    let folder = scratch();
    fs::create_dir(folder.path().join("folder.yaml")).unwrap();
    good_library(folder.path());
    for (line, why) in [
        ("check nowhere.yaml", "nowhere.yaml"),
        ("check folder.yaml", "folder.yaml"),
        ("run --no-evidence --library good --iut nowhere.yaml", "nowhere.yaml"),
        ("run --no-evidence --library good --iut folder.yaml", "folder.yaml"),
        (
            "run --no-evidence --library good --network nowhere.yaml",
            "nowhere.yaml",
        ),
        ("run --no-evidence --library nowhere", "no such folder"),
        ("list --library nowhere", "no such folder"),
        ("explain --library nowhere push.happy", "no such folder"),
    ] {
        let ended = fotaproof_in(folder.path(), line);
        assert_eq!(ended.code, Some(3), "`{line}`: {}{}", ended.out, ended.err);
        assert!(ended.err.contains(why), "`{line}`: {}", ended.err);
    }
}

fn told(folder: &Path, line: &str) -> Ended {
    let ended = fotaproof_in(folder, line);
    assert_eq!(ended.code, Some(3), "`{line}`: {}{}", ended.out, ended.err);
    ended
}

#[test]
fn mistakes_in_manifests_and_networks() {
    let folder = scratch();
    good_library(folder.path());
    let manifest = "name: thing\nrole: client\ncommand: [./thing]\nclaims: [push]\n";
    fs::write(folder.path().join("iut.yaml"), manifest.replace("claims:", "clams:")).unwrap();
    insta::assert_snapshot!("bad-manifest-key", told(folder.path(), "check iut.yaml").err);
    fs::write(folder.path().join("iut.yaml"), manifest.replace("[push]", "[pusch]")).unwrap();
    insta::assert_snapshot!(
        "bad-manifest-claim",
        told(folder.path(), "run --no-evidence --library good --iut iut.yaml").err
    );
    fs::write(
        folder.path().join("net.yaml"),
        "summary: a link\nmtu: 1280\nboth: {los: 5 %}\n",
    )
    .unwrap();
    insta::assert_snapshot!("bad-network-key", told(folder.path(), "check net.yaml").err);
    insta::assert_snapshot!(
        "bad-network-run",
        told(folder.path(), "run --no-evidence --library good --network ./net.yaml").err
    );
}

#[test]
fn garbage_in_place_of_a_run_to_replay() {
    let folder = scratch();
    for text in ["", "{", "[]", "{\"format\": 99}", "\u{0}\u{1}"] {
        fs::create_dir_all(folder.path().join("run")).unwrap();
        fs::write(folder.path().join("run/results.json"), text).unwrap();
        let ended = fotaproof_in(folder.path(), "replay run push.happy");
        assert!(
            matches!(ended.code, Some(2 | 3)),
            "{text:?}: {:?} {}{}",
            ended.code,
            ended.out,
            ended.err
        );
        assert!(ended.err.contains("results.json"), "{}", ended.err);
    }
    let ended = fotaproof("replay nowhere push.happy");
    assert!(matches!(ended.code, Some(2 | 3)), "{}", ended.err);
}
