//! Signals: SIGINT and SIGTERM end in good order with 130, SIGKILL leaves what happened so far.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use fotaproof_tests::program::{Ended, fotaproof};
use fotaproof_trace::EventKind;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::evidence::{elements, journal, results};
use crate::{long_library, run_folder, scratch};

/// Longest that a test waits for a process to get somewhere; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(120);

fn start(folder: &Path, line: &str) -> Child {
    fotaproof(folder, &line.split_whitespace().collect::<Vec<_>>())
        .spawn()
        .expect("the program starts")
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    kill(pid, signal).expect("the process is there");
}

/// Waits until something is true, looking now and then.
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The journals of the cases of a run.
fn journals(out: &Path) -> Vec<PathBuf> {
    let Ok(runs) = fs::read_dir(out) else { return Vec::new() };
    let mut found = Vec::new();
    for run in runs.flatten() {
        let Ok(cases) = fs::read_dir(run.path().join("cases")) else {
            continue;
        };
        found.extend(
            cases
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.to_string_lossy().ends_with(".journal.jsonl")),
        );
    }
    found.sort();
    found
}

fn ended(child: Child) -> Ended {
    let ended = Ended::from(child.wait_with_output().expect("the process ends"));
    assert!(!ended.err.contains("panicked"), "{}", ended.err);
    ended
}

/// Starts a long run and waits until some of it is on the disk.
fn in_the_middle(folder: &Path) -> Child {
    long_library(folder);
    let child = start(folder, "run --library long --out runs --jobs 2");
    until("a journal of some size", || {
        journals(&folder.join("runs"))
            .iter()
            .any(|path| fs::metadata(path).is_ok_and(|meta| meta.len() > 300_000))
    });
    child
}

fn interrupted_run(by: Signal) {
    let folder = scratch();
    let child = in_the_middle(folder.path());
    signal(&child, by);
    let ended = ended(child);
    assert_eq!(ended.code, Some(130), "{}{}", ended.out, ended.err);
    let run = run_folder(&folder.path().join("runs"));
    let results = results(&run);
    assert_eq!(results["exit_code"], 130);
    assert_eq!(results["aborted"], "interrupted");
    let cases = results["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), 16, "a case that was not run is told as such");
    assert!(
        cases.iter().any(|case| case["verdict"] == "not-run"),
        "the run was not in its middle"
    );
    elements(
        &fs::read_to_string(run.join("junit.xml")).expect("junit.xml"),
        "testcase",
    );
    // what was begun is complete
    for path in journals(&folder.path().join("runs")) {
        let events = journal(&path, false);
        assert!(
            matches!(
                events.last().map(|event| &event.kind),
                Some(EventKind::CaseEnded { .. })
            ),
            "{}",
            path.display()
        );
    }
}

#[test]
fn sigint_ends_a_run_with_complete_evidence() {
    interrupted_run(Signal::SIGINT);
}

#[test]
fn sigterm_ends_a_run_with_complete_evidence() {
    interrupted_run(Signal::SIGTERM);
}

#[test]
fn signals_end_an_audit() {
    for by in [Signal::SIGINT, Signal::SIGTERM] {
        let folder = scratch();
        long_library(folder.path());
        let child = start(folder.path(), "audit --full --library long");
        // the signals are caught as soon as the thread that waits for them is there
        until("a thread for signals", || {
            let tasks = fs::read_dir(format!("/proc/{}/task", child.id()));
            tasks.is_ok_and(|tasks| {
                tasks
                    .flatten()
                    .any(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "signals"))
            })
        });
        std::thread::sleep(Duration::from_millis(200));
        signal(&child, by);
        let ended = ended(child);
        assert_eq!(ended.code, Some(130), "{by}: {}{}", ended.out, ended.err);
        assert_eq!(ended.out, "", "{by}: half an audit is no audit");
    }
}

#[test]
fn sigkill_leaves_journals_that_can_be_read() {
    for round in 0..3 {
        let folder = scratch();
        let mut child = in_the_middle(folder.path());
        std::thread::sleep(Duration::from_millis(37 * round));
        signal(&child, Signal::SIGKILL);
        let status = child.wait().expect("the process ends");
        assert_eq!(status.code(), None, "it was killed");
        let mut events = 0;
        for path in journals(&folder.path().join("runs")) {
            events += journal(&path, true).len();
        }
        assert!(events > 500, "only {events} events are on the disk");
        let run = run_folder(&folder.path().join("runs"));
        let lines = fs::read_to_string(run.join("journal.jsonl")).expect("journal.jsonl");
        let whole = lines.rfind('\n').map_or(0, |end| end + 1);
        for line in lines[..whole].lines() {
            let _: serde_json::Value = serde_json::from_str(line).expect("JSON");
        }
        assert!(lines.contains("\"started\""), "{lines}");
    }
}
