//! `fotaproof matrix` when something is wrong: a peer that is not there or breaks, Ctrl-C, a disk that is full, entries that are stale.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fotaproof_tests::program::{Ended, fotaproof, path};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::{fotaproof_in, run_folder, scratch};

/// The longest that a test waits for a process; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(120);

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("a file");
}

/// A server whose adapter goes wrong in this way.
fn server(folder: &Path, name: &str, adapter: &str) {
    let text =
        format!("name: {name}\nrole: server\nadapter: {adapter}\nclaims: [\"srv:push\", \"srv:pull\", \"srv:repo\"]\n");
    write(folder, &format!("{name}.yaml"), &text);
}

fn wrapped(folder: &Path, fault: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/adapter/wrapped.py");
    let words = format!("[python3, \"{}\", {fault}, \"{}\"]", script.display(), path().display());
    server(folder, fault, &words);
}

/// A client of this command.
fn client(folder: &Path, name: &str, command: &str) {
    let text = format!("name: {name}\ncommand: {command}\nclaims: [push]\npackages:\n  valid: {{builtin: true}}\n");
    write(folder, &format!("{name}.yaml"), &text);
}

/// `matrix.json` of the only run.
fn results(folder: &Path) -> Value {
    let text = fs::read(run_folder(&folder.join("out")).join("matrix.json")).expect("matrix.json");
    serde_json::from_slice(&text).expect("JSON")
}

/// What a reader wants to know of a matrix, without what differs from run to run.
fn told(folder: &Path, code: Option<i32>, results: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut out = format!("exit code {}, {}\n", code.unwrap_or(-1), results["exit_code"]);
    for cell in results["cells"].as_array().expect("cells") {
        let expected = if cell["expected"] == true { " as expected" } else { "" };
        let _ = writeln!(
            out,
            "{}{expected} {}: {}",
            text(&cell["verdict"]),
            text(&cell["id"]),
            text(&cell["reason"])
        );
        for note in cell["notes"].as_array().expect("notes") {
            let _ = writeln!(out, "    {}", text(note));
        }
    }
    for (key, word) in [("stale_expectations", "stale"), ("notes", "note")] {
        for one in results[key].as_array().expect("a list") {
            let _ = writeln!(out, "{word}: {}", text(one));
        }
    }
    if let Some(why) = results["aborted"].as_str() {
        let _ = writeln!(out, "aborted: {why}");
    }
    out.replace(&folder.display().to_string(), "[folder]")
}

fn matrix(folder: &Path, line: &str) -> String {
    let ended = fotaproof_in(folder, &format!("matrix {line} --out out"));
    told(folder, ended.code, &results(folder))
}

#[test]
fn an_adapter_that_dies_in_mid_cell_spoils_its_cell_and_no_other() {
    let folder = scratch();
    wrapped(folder.path(), "dies-in-update");
    insta::assert_snapshot!(
        "matrix-adapter-dies",
        matrix(
            folder.path(),
            "--clients embedded --servers embedded,dies-in-update.yaml --ways push"
        )
    );
}

#[test]
fn a_server_that_is_not_there_is_nobody_to_judge() {
    let folder = scratch();
    wrapped(folder.path(), "elsewhere");
    server(folder.path(), "missing", "[no-such-adapter]");
    server(folder.path(), "mute", "[sleep, \"1000\"]\nadapter-ready: 1s");
    insta::assert_snapshot!(
        "matrix-no-server",
        matrix(
            folder.path(),
            "--clients embedded --servers elsewhere.yaml,missing.yaml,mute.yaml --ways push --timeout 3"
        )
    );
}

#[test]
fn a_client_that_never_registers_is_nobody_to_judge() {
    let folder = scratch();
    client(folder.path(), "silent", "[sleep, \"1000\"]");
    client(folder.path(), "gone", "[sh, -c, \"exit 3\"]");
    client(folder.path(), "missing", "[no-such-client]");
    insta::assert_snapshot!(
        "matrix-no-client",
        matrix(
            folder.path(),
            "--clients silent.yaml,gone.yaml,missing.yaml --servers embedded --ways push --timeout 1"
        )
    );
}

#[test]
fn what_no_side_claims_is_told_with_its_reason() {
    let folder = scratch();
    let text = "name: web only\ncommand: [sleep, \"1\"]\nclaims: [\"pull:https\", \"pull:coaps\"]\n";
    write(folder.path(), "web.yaml", text);
    insta::assert_snapshot!(
        "matrix-not-applicable",
        matrix(folder.path(), "--clients web.yaml,web.yaml --servers embedded")
    );
}

#[test]
fn an_expected_failure_that_did_not_happen_fails_the_matrix() {
    let folder = scratch();
    write(
        folder.path(),
        "fine.yaml",
        "name: fine\nembedded: {}\nclaims: [push, \"pull:coap\"]\nexpected-failures: fine.expected.yaml\n",
    );
    let entry = |case: &str, clause: &str| format!("- case: \"{case}\"\n  clause: {clause}\n  reason: it did once\n");
    let all = [
        // it does not happen any more
        entry("matrix.push[client=fine,*", "interop"),
        // of a way that is not run, and of a client that takes no part
        entry("matrix.pull", "interop"),
        entry("matrix.push[client=other,*", "interop"),
        // for cases, not for the matrix
        entry("*", "token-echo"),
    ];
    write(folder.path(), "fine.expected.yaml", &all.concat());
    insta::assert_snapshot!(
        "matrix-stale",
        matrix(
            folder.path(),
            "--clients embedded,fine.yaml --servers embedded --ways push"
        )
    );
}

#[test]
fn what_a_check_finds_of_the_server_is_the_servers() {
    let folder = scratch();
    write(
        folder.path(),
        "wrong.yaml",
        "name: wrong\nrole: server\nembedded: {defects: [srv-execute-twice]}\n",
    );
    insta::assert_snapshot!(
        "matrix-wrong-server",
        matrix(folder.path(), "--clients embedded --servers wrong.yaml --ways push")
    );
}

#[test]
fn who_cannot_take_part_is_refused_before_anything_runs() {
    let folder = scratch();
    server(folder.path(), "hello", "[sleep, \"1\"]");
    client(folder.path(), "plain", "[sleep, \"1\"]");
    let mut all = String::new();
    for line in [
        "--clients hello.yaml --servers embedded",
        "--clients embedded --servers plain.yaml",
        "--clients embedded --servers hello.yaml --speed 10",
        "--clients plain.yaml --servers embedded --speed 10",
        "--clients embedded --servers embedded --speed 0.5",
    ] {
        let ended = fotaproof_in(folder.path(), &format!("matrix {line} --out out"));
        let _ = writeln!(all, "{line}\n  {}: {}", ended.code.unwrap_or(-1), ended.err.trim_end());
    }
    assert!(!folder.path().join("out").exists(), "nothing was run");
    insta::assert_snapshot!("matrix-refused", all);
}

#[test]
fn a_folder_that_cannot_be_made() {
    let folder = scratch();
    write(folder.path(), "file", "");
    let ended = fotaproof_in(
        folder.path(),
        "matrix --clients embedded --servers embedded --out file/out",
    );
    assert_eq!(ended.code, Some(5), "{}", ended.err);
    assert!(ended.err.contains("file/out"), "{}", ended.err);
}

#[test]
fn evidence_past_what_the_system_allows_ends_the_run_and_shows_what_is_done() {
    let folder = scratch();
    let line = "matrix --clients embedded --servers embedded --size 200k --out out";
    // a limit on the size of files meets the same code as a full disk, without a disk
    let script = format!("trap '' XFSZ; ulimit -f 64; exec '{}' {line}", path().display());
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .expect("bash");
    let ended = Ended::from(output);
    assert_eq!(ended.code, Some(5), "{}{}", ended.out, ended.err);
    let all = format!("{} {}", ended.out, ended.err);
    let told = all.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("push over ethernet"), "{told}");
    assert!(
        told.contains("cannot write") && told.contains("File too large"),
        "{told}"
    );
}

/// The journals of the cells of the only run, if it began.
fn journals(folder: &Path) -> Vec<PathBuf> {
    let runs = fs::read_dir(folder.join("out")).into_iter().flatten().flatten();
    runs.flat_map(|run| fs::read_dir(run.path().join("cells")).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(".journal.jsonl"))
        .collect()
}

/// A matrix with one cell that ends and one that does not, once the latter runs.
fn endless_matrix(folder: &Path) -> std::process::Child {
    // it says that it is there, and goes on for ever
    client(folder, "endless", "[sh, -c, \"echo there; exec sleep 1000\"]");
    let line = "matrix --clients embedded,endless.yaml --servers embedded --ways push --out out";
    let child = fotaproof(folder, &line.split(' ').collect::<Vec<_>>())
        .spawn()
        .expect("the program starts");
    let begun = Instant::now();
    let is_there = |path: &PathBuf| fs::read_to_string(path).is_ok_and(|text| text.contains("\"line\":\"there\""));
    while !journals(folder).iter().any(is_there) {
        assert!(begun.elapsed() < PATIENCE, "the client was not started");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

fn signalled(child: std::process::Child, signal: Signal) -> Ended {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    kill(pid, signal).expect("the process is there");
    Ended::from(child.wait_with_output().expect("it ends"))
}

#[test]
fn a_matrix_that_is_killed_leaves_the_cells_that_had_ended() {
    let folder = scratch();
    let ended = signalled(endless_matrix(folder.path()), Signal::SIGKILL);
    insta::assert_snapshot!(
        "matrix-killed",
        told(folder.path(), ended.code, &results(folder.path()))
    );
}

#[test]
fn a_matrix_that_ended_early_is_resumed() {
    let folder = scratch();
    signalled(endless_matrix(folder.path()), Signal::SIGINT);
    let run = run_folder(&folder.path().join("out"));
    let before = results(folder.path());
    // the client is mended
    write(folder.path(), "endless.yaml", "name: endless\nembedded: {}\n");
    let line = format!(
        "matrix --clients embedded,endless.yaml --servers embedded --ways push --resume {}",
        run.display()
    );
    let ended = fotaproof_in(folder.path(), &line);
    let after = results(folder.path());
    insta::assert_snapshot!("matrix-resumed", told(folder.path(), ended.code, &after));
    assert_eq!(after["cells"][0], before["cells"][0], "it was not run again");
    assert_eq!(after["started"], before["started"]);
    let mut all = String::new();
    for more in ["--seed 2", "--size 1k", "--speed 2"] {
        let ended = fotaproof_in(folder.path(), &format!("{line} {more}"));
        let _ = writeln!(all, "{}: {}", ended.code.unwrap_or(-1), ended.err.trim_end());
    }
    for line in [
        format!(
            "matrix --clients embedded --servers embedded --resume {}",
            run.display()
        ),
        "matrix --clients embedded --servers embedded --resume nowhere".to_owned(),
    ] {
        let ended = fotaproof_in(folder.path(), &line);
        let _ = writeln!(all, "{}: {}", ended.code.unwrap_or(-1), ended.err.trim_end());
    }
    insta::assert_snapshot!(
        "matrix-not-resumed",
        all.replace(&folder.path().display().to_string(), "[folder]").replace(
            &run.file_name().expect("a name").to_string_lossy().into_owned(),
            "[run]"
        )
    );
}

#[test]
fn an_interrupt_keeps_what_is_done() {
    let folder = scratch();
    let ended = signalled(endless_matrix(folder.path()), Signal::SIGINT);
    insta::assert_snapshot!(
        "matrix-interrupted",
        told(folder.path(), ended.code, &results(folder.path()))
    );
    assert!(ended.out.contains("INTERRUPTED"), "{}", ended.out);
    let run = run_folder(&folder.path().join("out"));
    assert!(run.join("matrix.html").exists() && run.join("cells/ethernet.push.embedded.embedded.pcapng").exists());
}
