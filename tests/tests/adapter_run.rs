//! Runs against servers whose adapter, or who themselves, are wrong in one way each: verdict, reason, exit code, and that nothing is
//! left running.
//!
//! Skipped, with the reason, where there is no Python; `FOTAPROOF_REQUIRE_PEERS=1` makes that a failure.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fotaproof_tests::program::{self, Ended};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Longest that a test waits for a process to get somewhere; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// The variable that all which a run starts inherits.
const TRACE: &str = "FOTAPROOF_TEST";

/// A clock that makes the waiting short, and waiting that is short anyway.
const SPEED: &str = "\
speed: {faketime: false, arguments: [\"--speed={speed}\"], at-most: 50}
parameters: {registration: 15s, download: 60s, reboot: 20s}
";
/// How fast: a machine that is busy with other tests is late by some 100 ms now and then, which is less than 2 s of the session's time.
const FACTOR: &str = "5";

fn double() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/adapter/double.py")
}

fn has_python() -> bool {
    let there = Command::new("python3")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let required = std::env::var_os("FOTAPROOF_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(there || !required, "python3 is missing and FOTAPROOF_REQUIRE_PEERS=1");
    if !there {
        eprintln!("skipped: there is no python3");
    }
    there
}

/// Whatever lives of what a run started.
fn left(trace: &str) -> Vec<String> {
    let wanted = format!("{TRACE}={trace}");
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    processes
        .filter(|entry| {
            let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            environ.split(|byte| *byte == 0).any(|one| one == wanted.as_bytes())
        })
        .map(|entry| std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default())
        .collect()
}

/// A run in a folder of its own.
struct Run {
    folder: tempfile::TempDir,
    trace: String,
    arguments: Vec<String>,
}

impl Run {
    /// Of these cases against the server of this adapter; `more` are further lines of its manifest.
    fn of(adapter: &[&str], more: &str, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let trace = folder.path().display().to_string();
        let manifest = folder.path().join("server.yaml");
        let words: Vec<String> = adapter.iter().map(|word| format!("{word:?}")).collect();
        let text = format!(
            "name: server\nrole: server\nadapter: [{}]\nclaims: [\"srv:push\", \"srv:campaign\", \"srv:report\"]\n{more}",
            words.join(", ")
        );
        std::fs::write(&manifest, text).expect("written");
        let mut arguments: Vec<String> = ["run", "--iut"].map(str::to_owned).to_vec();
        arguments.push(manifest.display().to_string());
        arguments.extend(["--out".to_owned(), folder.path().join("out").display().to_string()]);
        arguments.extend(options.iter().map(|word| (*word).to_owned()));
        Self {
            folder,
            trace,
            arguments,
        }
    }

    fn command(&self) -> Command {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut command = program::fotaproof(&root, &arguments);
        command.env(TRACE, &self.trace);
        command
    }

    fn results(&self) -> Value {
        let run = std::fs::read_dir(self.folder.path().join("out")).ok();
        let run = run.and_then(|mut runs| runs.next()?.ok());
        let bytes = run.and_then(|run| std::fs::read(run.path().join("results.json")).ok());
        bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// Exit code, verdicts with their reasons and whom they blame, and why the run ended early.
    fn told(&self) -> String {
        let ended = Ended::from(self.command().output().expect("the program starts"));
        assert!(!ended.err.contains("panicked"), "the program panicked: {}", ended.err);
        let lives = left(&self.trace);
        assert!(lives.is_empty(), "{lives:?} is left");
        self.shown(ended.code)
    }

    fn shown(&self, code: Option<i32>) -> String {
        let results = self.results();
        let mut text = format!("  exit code {}\n", code.unwrap_or(-1));
        for case in results["cases"].as_array().into_iter().flatten() {
            let word = |key: &str| case[key].as_str().unwrap_or_default().to_owned();
            let (verdict, reason) = (word("verdict"), word("reason"));
            if verdict == "not-applicable" {
                continue;
            }
            text.push_str(&format!("  {}: {verdict}", word("id")));
            let mut seen = String::new();
            for finding in case["findings"].as_array().into_iter().flatten() {
                let word = |key: &str| finding[key].as_str().unwrap_or_default();
                if finding["grade"] == "must" {
                    seen = word("seen").to_owned();
                    text.push_str(&format!(", blame {}", word("blame")));
                    break;
                }
            }
            if !reason.is_empty() {
                text.push_str(&format!(": {reason}"));
            }
            text.push('\n');
            if !seen.is_empty() && !reason.contains(&seen) {
                text.push_str(&format!("    seen: {seen}\n"));
            }
            for note in case["notes"].as_array().into_iter().flatten() {
                text.push_str(&format!("    note: {}\n", note.as_str().unwrap_or_default()));
            }
        }
        if let Some(aborted) = results["aborted"].as_str() {
            text.push_str(&format!("  ended early: {aborted}\n"));
        }
        masked(&text)
    }
}

/// Ports and process numbers differ in every run.
fn masked(text: &str) -> String {
    let mut out = text.to_owned();
    for (before, mask) in [("127.0.0.1:", "PORT"), ("(pid ", "PID")] {
        let mut done = String::new();
        let mut rest = out.as_str();
        while let Some(at) = rest.find(before) {
            let (head, tail) = rest.split_at(at + before.len());
            done.push_str(head);
            done.push_str(mask);
            rest = tail.trim_start_matches(|c: char| c.is_ascii_digit());
        }
        done.push_str(rest);
        out = done;
    }
    out
}

/// One after the other what becomes of runs with these faults, which are made at once: most of their time is waiting.
fn all(faults: &[&str], run: impl Fn(&str) -> Run + Sync) -> String {
    let told: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = faults.iter().map(|fault| scope.spawn(|| run(fault).told())).collect();
        running.into_iter().map(|one| one.join().expect("it ended")).collect()
    });
    let both = faults.iter().zip(told);
    both.map(|(fault, told)| format!("{fault}\n{told}")).collect()
}

fn hello_with(fault: &str) -> Run {
    let double = double();
    let adapter = ["python3", double.to_str().expect("text"), fault];
    Run::of(&adapter, SPEED, &["--speed", FACTOR, "sanity.server-alive"])
}

/// The reference server behind a double, at a speed that makes the waiting short.
fn campaign_with(fault: &str) -> Run {
    behind(fault, "srv.method.push-only")
}

fn alive_with(fault: &str) -> Run {
    behind(fault, "sanity.server-alive")
}

fn behind(fault: &str, case: &str) -> Run {
    let (double, program) = (double(), program::path().display().to_string());
    let adapter = [
        "python3",
        double.to_str().expect("text"),
        fault,
        &program,
        "adapter",
        "serve",
    ];
    Run::of(&adapter, SPEED, &["--speed", FACTOR, case])
}

#[test]
fn an_adapter_that_does_not_keep_to_its_protocol() {
    if has_python() {
        let faults = [
            "wrong-version",
            "hello-twice",
            "unknown-event",
            "long-line",
            "not-utf8",
            "nul",
            "twice",
            "other-ids",
            "chatty",
            "gigabyte",
        ];
        insta::assert_snapshot!("run-breaks-the-protocol", all(&faults, hello_with));
    }
}

/// What the case hears of first, a message too many or that the harness ended the adapter for that, depends on who is faster.
#[test]
fn an_adapter_that_says_more_than_anybody_can_hear() {
    if has_python() {
        let told = hello_with("floods-events").told();
        let begins = "  exit code 5\n  sanity.server-alive: error, blame adapter: the adapter ";
        assert!(told.starts_with(begins), "{told}");
        assert!(
            told.contains("more than 10000 messages at once for `sanity-server-alive`"),
            "{told}"
        );
    }
}

#[test]
fn an_adapter_that_fails() {
    if has_python() {
        let faults = [
            "dies",
            "dies-at-once",
            "dies-in-start",
            "closes-its-output",
            "refuses-to-start",
        ];
        insta::assert_snapshot!("run-fails", all(&faults, hello_with));
        let faults = ["wrong-address", "exits-with-3", "ignores-quit", "leaves-a-child"];
        insta::assert_snapshot!("run-ends-badly", all(&faults, alive_with));
    }
}

#[test]
fn a_server_that_cannot_be_talked_to() {
    if has_python() {
        let faults = ["refuses", "talks-garbage", "resets", "says-nothing", "closes-its-port"];
        insta::assert_snapshot!("run-server", all(&faults, hello_with));
    }
}

/// Neither the adapter nor, behind one that is there, the server.
#[test]
fn a_server_that_is_not_there() {
    let run = |adapter: &[&str]| Run::of(adapter, "", &["sanity.server-alive"]).told();
    let told = [run(&["no-such-server"]), run(&["/nowhere/server"])].concat();
    insta::assert_snapshot!("run-not-there", told);
    // a precondition that never comes is no less the adapter's
    if has_python() {
        let told = campaign_with("wrong-address").told();
        let begins = "  exit code 5\n  srv.method.push-only: error, blame adapter: nobody listens at 127.0.0.1:PORT, where the adapter says";
        assert!(told.starts_with(begins), "{told}");
    }
}

#[test]
fn a_campaign_that_goes_wrong() {
    if has_python() {
        let faults = [
            "none",
            "dies-in-a-campaign",
            "stops-in-a-campaign",
            "never-ends",
            "says-it-succeeded",
            "says-it-failed",
        ];
        insta::assert_snapshot!("run-campaign", all(&faults, campaign_with));
    }
}

/// Two cases and the sanity case, one after the other, of one adapter.
fn three_cases(fault: &str) -> Run {
    let mut run = behind(fault, "srv.method.both");
    run.arguments
        .extend(["srv.method.push-only", "sanity.server-alive"].map(str::to_owned));
    run
}

/// One process serves all cases. One that dies is started again: only the case in which it died is lost.
#[test]
fn an_adapter_that_died_is_started_again_for_the_next_case() {
    if !has_python() {
        return;
    }
    insta::assert_snapshot!("run-started-again", all(&["dies-in-a-campaign"], three_cases));
}

/// One that is gone when the next case wants it is no matter for that case: it is started again, and the run says so.
#[test]
fn an_adapter_that_dies_between_two_cases() {
    if !has_python() {
        return;
    }
    insta::assert_snapshot!("run-dies-between", all(&["dies-after-stop"], three_cases));
}

/// The adapter stops the harness for a second, which is 5 s at this speed: nobody knows what the server would have done meanwhile.
#[test]
fn a_failure_while_the_harness_was_late_is_inconclusive() {
    if has_python() {
        let run = hello_with("makes-late");
        let told = run.told();
        assert!(
            told.starts_with(
                "  exit code 5\n  sanity.server-alive: inconclusive, blame harness: the harness was late by "
            ),
            "{told}"
        );
        assert!(told.contains("this may be why: expect registered"), "{told}");
        let results = run.results();
        let case = &results["cases"][0];
        assert!(case["late_ms"].as_f64().is_some_and(|late| late > 2_000.0), "{case}");
    }
}

/// A person at the server's console takes 3 s for everything, 15 s at this speed, and nobody's failure.
#[test]
fn a_server_that_is_asked_by_hand() {
    if has_python() {
        assert_eq!(
            campaign_with("late").told(),
            "  exit code 0\n  srv.method.push-only: pass\n"
        );
    }
}

/// Ready is an event: a start may take as long as the manifest allows and is never slept for.
#[test]
fn an_adapter_that_is_slow_to_start() {
    let program = program::path().display();
    let script = format!("sleep 1; exec {program} adapter serve");
    let run = |ready: &str| {
        let adapter = ["sh", "-c", &script];
        Run::of(&adapter, &format!("adapter-ready: {ready}\n"), &["sanity.server-alive"]).told()
    };
    assert_eq!(run("50s"), "  exit code 0\n  sanity.server-alive: pass\n");
    insta::assert_snapshot!("run-not-ready", run("200ms"));
}

#[test]
fn an_interrupt_ends_server_and_adapter_and_keeps_the_evidence() {
    let program = program::path().display().to_string();
    let run = Run::of(&[&program, "adapter", "serve"], "", &["srv.method.push-only"]);
    let mut harness = run.command().spawn().expect("the program starts");
    // until the case is at work
    let begun = Instant::now();
    let journal = || {
        let runs = std::fs::read_dir(run.folder.path().join("out")).ok()?;
        let run = runs.flatten().next()?.path();
        let text = std::fs::read_to_string(run.join("cases/srv.method.push-only.journal.jsonl")).ok()?;
        text.contains("update-start").then_some(())
    };
    while journal().is_none() {
        assert!(begun.elapsed() < PATIENCE, "the case did not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = Pid::from_raw(i32::try_from(harness.id()).expect("a process id"));
    kill(pid, Signal::SIGINT).expect("it is there");
    let code = harness.wait().expect("it ends").code();
    assert_eq!(code, Some(130));
    assert!(left(&run.trace).is_empty());
    let results = run.results();
    assert_eq!(results["aborted"], "interrupted");
    assert_eq!(results["cases"].as_array().map(Vec::len), Some(1), "{results}");
}

/// Two cases in each of which a device on a desk loses its power in the middle, and what it holds is looked at by hand.
const ON_THE_DESK: &str = "
title: A package survives a power cut
purpose: What is stored is there when the power comes back.
needs: [push, kill, restart]
clauses: [oma-fw/T2]
defects: [success-without-install]
firmware: {package: valid, size: 4096}
given:
  - await: registration
    within: 30s
steps:
  - push: {}
    expect: {code: 2.04, ends: 2/0, within: 30s}
  - iut: power-cut
  - iut: start
    expect: {registration: {new: true}, within: 30s}
  - expect: {image: firmware}
";

/// A run on a board that a hand switches.
fn on_the_desk(fault: &str) -> Run {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let listen = socket.local_addr().expect("its address");
    drop(socket);
    let library = folder.path().join("library/desk");
    std::fs::create_dir_all(&library).expect("made");
    for name in ["one", "two"] {
        std::fs::write(library.join(format!("{name}.yaml")), ON_THE_DESK).expect("written");
    }
    let desk = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/adapter/desk.py");
    let manifest = folder.path().join("board.yaml");
    let text = format!(
        "name: board\nboard: {{endpoint: desk, listen: \"{listen}\"}}\n\
         adapter: [python3, {desk:?}, {fault}, \"{{fotaproof}}\", \"{listen}\", \"{{state}}\"]\n\
         claims: [push, kill, restart, stop, persist, \"hook:digest\", object=1.2, lwm2m=1.2]\n\
         packages: {{valid: {{builtin: true}}}}\nparameters: {{stable: 50ms, poll: 20ms}}\ninstances: 1\n"
    );
    std::fs::write(&manifest, text).expect("written");
    let mut arguments = vec!["run".to_owned()];
    for (option, path) in [
        ("--iut", manifest),
        ("--library", folder.path().join("library")),
        ("--out", folder.path().join("out")),
    ] {
        arguments.extend([option.to_owned(), path.display().to_string()]);
    }
    Run {
        trace: folder.path().display().to_string(),
        folder,
        arguments,
    }
}

/// A hand that fails is the hand's failure, the next case has it again, and nothing is left on the desk.
#[test]
fn a_device_that_needs_a_hand() {
    if has_python() {
        let faults = ["none", "slow", "refuses", "dies", "dies-between", "blind"];
        insta::assert_snapshot!("run-hand", all(&faults, on_the_desk));
    }
}
