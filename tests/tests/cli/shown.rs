//! What a person and a machine read: list, explain, check, and the formats of a run.

use crate::{fotaproof, fotaproof_in, scratch};

/// What differs from run to run: times and names of runs.
fn filters() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    // times on the wall
    settings.add_filter(r"(?m) +\d+(\.\d+)? m?s$", "  TIME");
    // the width of the table follows the times
    settings.add_filter(r" +time\n", "  time\n");
    settings.add_filter("─+", "───");
    settings.add_filter(r"; \d+(\.\d+)? m?s for", "; TIME for");
    settings.add_filter(r"runs/[0-9]{8}-[0-9]{6}(-\d+)?", "runs/RUN");
    settings.add_filter(r#""[0-9]{8}-[0-9]{6}(-\d+)?""#, "\"RUN\"");
    settings.add_filter(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?", "WHEN");
    settings.add_filter(r#"("(?:seconds|wall_ms)": )[0-9.e-]+"#, "${1}0");
    settings.add_filter(r#"( time=")[0-9.]+""#, "${1}0\"");
    // the claims grow with the embedded device
    settings.add_filter(r#""claims": \[[^\]]*\]"#, "\"claims\": [...]");
    settings.add_filter(r"duration_ms: [0-9.]+", "duration_ms: 0");
    settings
}

#[test]
fn a_list_for_a_person_and_for_a_machine() {
    let list = fotaproof("list --library library");
    assert_eq!((list.code, list.err.as_str()), (Some(0), "5 cases\n"));
    insta::assert_snapshot!("list", list.out);
    let json = fotaproof("list --library library --json reg");
    assert_eq!(json.code, Some(0));
    insta::assert_snapshot!("list-json", json.out);
}

#[test]
fn selections() {
    let ids = |line: &str| -> Vec<String> {
        let list = fotaproof(&format!("list --library library {line}"));
        assert_eq!(list.code, Some(0), "{line}: {}", list.err);
        list.out
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .map(str::to_owned)
            .collect()
    };
    let both = ["push.whole[block=256]", "push.whole[block=1024]"];
    assert_eq!(ids("push.whole"), both);
    assert_eq!(ids("push.*"), both);
    assert_eq!(ids("suite:push"), both);
    assert_eq!(ids("tag:small"), both);
    assert_eq!(ids("ets:770"), both);
    assert_eq!(ids("defect:success-without-install"), both);
    assert_eq!(ids("clause:oma-fw/T5"), both);
    assert_eq!(ids("push.whole[block=256]"), both[..1]);
    assert_eq!(ids("!push !reg.late !reg.software"), ["reg.read"]);
}

#[test]
fn a_case_explained_from_its_one_source() {
    let all = fotaproof("explain --library library push.whole");
    assert_eq!((all.code, all.err.as_str()), (Some(0), ""));
    insta::assert_snapshot!("explain", all.out);
    let one = fotaproof("explain --library library push.whole[block=256]");
    assert_eq!(one.code, Some(0));
    insta::assert_snapshot!("explain-variant", one.out);
    // the library in the program
    let own = fotaproof("explain push.happy");
    assert_eq!(own.code, Some(0));
    insta::assert_snapshot!("explain-push-happy", own.out);
}

#[test]
fn a_passive_check_explained() {
    let mut text = String::new();
    for check in fotaproof_checks::all() {
        let explained = fotaproof(&format!("explain {}", check.id));
        assert_eq!(explained.code, Some(0), "{}", check.id);
        text.push_str(&explained.out);
        text.push('\n');
    }
    for check in fotaproof_checks::all() {
        assert!(text.contains(check.title), "{} is not explained", check.id);
    }
}

#[test]
fn a_check_of_valid_files() {
    let files = fotaproof("check library/push/whole.yaml library/reg/read.yaml");
    assert_eq!((files.code, files.err.as_str()), (Some(0), ""));
    insta::assert_snapshot!("check", files.out);
    let library = fotaproof("check");
    assert_eq!(library.code, Some(0), "{}", library.err);
    assert!(
        library.out.starts_with("the library in the program: "),
        "{}",
        library.out
    );
}

#[test]
fn an_audit() {
    let audit = fotaproof("audit --library library push reg.read");
    assert_eq!(audit.code, Some(0), "{}{}", audit.out, audit.err);
    insta::assert_snapshot!("audit", audit.out);
    let json = fotaproof("audit --library library --json reg.read");
    let json: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(json["cases"][0]["defects"]["reads-unanswered"]["mark"], "caught");
    assert_eq!(json["problems"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_run_in_each_format() {
    let folder = scratch();
    let library = crate::data().join("library");
    std::os::unix::fs::symlink(&library, folder.path().join("library")).unwrap();
    filters().bind(|| {
        for format in ["human", "json", "junit", "tap", "github"] {
            let line =
                format!("run --library library --out runs --jobs 1 --format {format} --defect reads-unanswered reg");
            let ended = fotaproof_in(folder.path(), &line);
            assert_eq!(ended.code, Some(1), "{}", ended.err);
            insta::assert_snapshot!(format!("run-{format}"), ended.out);
        }
        let passed = fotaproof_in(folder.path(), "run --library library --out runs --jobs 1 push reg.read");
        assert_eq!(passed.code, Some(0));
        insta::assert_snapshot!("run-passed", passed.out);
    });
}

#[test]
fn colours_only_where_they_are_wanted() {
    let plain = fotaproof("run --library library --no-evidence reg.read");
    assert!(!plain.out.contains('\u{1b}'), "a pipe gets no colours");
    let coloured = fotaproof("run --library library --no-evidence --color always reg.read");
    assert!(coloured.out.contains('\u{1b}'));
}

#[test]
fn a_seed_repeats_a_run() {
    let first = fotaproof("run --library library --no-evidence --format json --seed 18446744073709551615 reg.read");
    let results: serde_json::Value = serde_json::from_str(&first.out).expect("JSON");
    assert_eq!(results["seed"], u64::MAX);
    let repeat = results["cases"][0]["repeat"].as_str().expect("a command");
    assert_eq!(
        repeat,
        "fotaproof run --library library --seed 18446744073709551615 'reg.read'"
    );
}
