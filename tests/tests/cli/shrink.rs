//! `fotaproof shrink`: from a run's folder to a case file that anyone can run.

use std::path::Path;

use crate::{fotaproof_in, run_folder, scratch};

/// A run of one case over a network that loses a tenth; gives its folder, relative.
fn run(folder: &Path, more: &str) -> String {
    fotaproof_in(folder, &format!("run push.happy --network lossy-10 --out runs {more}"));
    let run = run_folder(&folder.join("runs"));
    format!("runs/{}", run.file_name().expect("a name").to_string_lossy())
}

#[test]
fn a_failing_run_becomes_a_case_that_fails_again() {
    let folder = scratch();
    let run = run(folder.path(), "--defect no-dedup");
    let ended = fotaproof_in(folder.path(), &format!("shrink {run} push.happy"));
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{}", ended.out);
    let lines: Vec<&str> = ended.out.lines().collect();
    assert!(
        lines[0].starts_with("push.happy fails if and only if the ACK of block "),
        "{}",
        ended.out
    );
    assert_eq!(lines[1], "  finding: a copy of a request is answered differently");
    assert_eq!(lines[3], format!("written to {run}/shrunk/push/happy.yaml"));
    let repeat = lines[4].strip_prefix("repeat: fotaproof ").expect("how to repeat it");
    assert_eq!(
        repeat,
        format!("run --library {run}/shrunk --defect no-dedup --seed 1 push.happy")
    );
    assert_eq!(lines[5], "checked: the file fails with the same finding");
    // as the user would
    let again = fotaproof_in(folder.path(), &format!("{repeat} --no-evidence"));
    assert_eq!(again.code, Some(1));
    assert!(
        again.out.contains("a copy of a request is answered differently"),
        "{}",
        again.out
    );
    let clean = fotaproof_in(folder.path(), &format!("run --library {run}/shrunk --no-evidence"));
    assert_eq!(clean.code, Some(0), "a correct device passes: {}", clean.out);
    let checked = fotaproof_in(folder.path(), &format!("check {run}/shrunk/push/happy.yaml"));
    assert_eq!(checked.code, Some(0), "{}", checked.err);
}

#[test]
fn only_what_failed_is_shrunk() {
    let folder = scratch();
    let run = run(folder.path(), "");
    let ended = fotaproof_in(folder.path(), &format!("shrink {run} push.happy"));
    assert_eq!(ended.code, Some(2));
    assert_eq!(
        ended.err,
        "error: the verdict of `push.happy` is pass; only what failed can be shrunk\n"
    );
    let ended = fotaproof_in(folder.path(), &format!("shrink {run} push.hapy"));
    assert_eq!(ended.code, Some(4));
    assert_eq!(
        ended.err,
        "error: the run holds no case `push.hapy`; did you mean `push.happy`?\n"
    );
    let ended = fotaproof_in(folder.path(), "shrink runs/none push.happy");
    assert_eq!(ended.code, Some(2));
}
