//! The harness is killed with SIGKILL, or told twice to end: nothing of what it started lives on, however deaf it is.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use fotaproof_tests::program;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longest that a test waits for something that takes a moment.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program that hears neither signals nor the end of its input, with a child in a session of its own and one that threw its
/// environment away. It writes the numbers of all three.
const DEAF: &str = "\
trap '' HUP INT TERM
${2-setsid} sleep 1000 </dev/null >/dev/null 2>&1 &
leaver=$!
env -i sleep 1000 </dev/null >/dev/null 2>&1 &
echo $$ $leaver $! > \"$1.new\"
mv \"$1.new\" \"$1\"
while :; do sleep 1000 </dev/null; done
";
const HELLO: &str = r#"{"event":"hello","protocol":"1.0","name":"deaf","version":"1","role":"server","capabilities":["start","stop","quit"]}"#;

/// Waits until something is there, looking now and then.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn lives(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.trim_start().chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

fn write(path: &Path, text: &str) -> String {
    fs::write(path, text).expect("written");
    path.to_str().expect("text").to_owned()
}

/// Starts the harness on the manifest that `manifest` makes of the command, ends it by these signals when the program runs, and
/// waits until all of the program is gone.
fn killed(signals: &[Signal], command: &[&str], manifest: impl Fn(&str) -> Option<String>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = write(&folder.path().join("deaf.sh"), DEAF);
    let greeting = write(
        &folder.path().join("greeting.sh"),
        &format!("echo '{HELLO}'\nread line\n. \"{script}\"\n"),
    );
    let pids = folder.path().join("pids");
    let pids_text = pids.to_str().expect("text");
    let mut arguments: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
    match manifest(&format!("[sh, \"{script}\", \"{pids_text}\"]")) {
        Some(text) => {
            let text = text.replace("greeting", &format!("[sh, \"{greeting}\", \"{pids_text}\"]"));
            arguments.push(write(&folder.path().join("iut.yaml"), &text));
        }
        None => arguments.extend(["sh".to_owned(), greeting, pids_text.to_owned()]),
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let temporary = folder.path().join("tmp");
    fs::create_dir(&temporary).expect("made");
    let mut harness = program::fotaproof(folder.path(), &arguments)
        .env("TMPDIR", &temporary)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the program starts");
    let pids: Vec<Pid> = until("the start of the program", || {
        let text = fs::read_to_string(&pids).ok()?;
        Some(
            text.split_whitespace()
                .map(|word| Pid::from_raw(word.parse().expect("a number")))
                .collect(),
        )
    });
    assert_eq!(pids.len(), 3);
    assert!(pids.iter().all(|pid| lives(*pid)), "{pids:?}");
    let own = Pid::from_raw(i32::try_from(harness.id()).expect("a process id"));
    for signal in signals {
        kill(own, *signal).expect("it is there");
        std::thread::sleep(Duration::from_millis(100));
    }
    harness.wait().expect("it ends");
    until("the end of all that was started", || {
        pids.iter().all(|pid| !lives(*pid)).then_some(())
    });
    until("the removal of its temporary folders", || {
        fs::read_dir(&temporary).ok()?.next().is_none().then_some(())
    });
}

const KILL: &[Signal] = &[Signal::SIGKILL];

#[test]
fn of_a_client() {
    killed(KILL, &["run", "--out", "out", "sanity.alive", "--iut"], |command| {
        Some(format!(
            "name: deaf\ncommand: {command}\npackages: {{valid: {{builtin: true}}}}\n"
        ))
    });
}

/// Without evidence the device's folder is a temporary one.
#[test]
fn of_a_client_that_leaves_no_evidence() {
    killed(KILL, &["run", "--no-evidence", "sanity.alive", "--iut"], |command| {
        // it makes sure that there is something to be removed
        let command = command.replace("[sh, ", "[sh, -c, 'echo x > \"$3/flash\"; exec sh \"$1\" \"$2\"', sh, ");
        let command = command.replace(']', ", \"{state}\"]");
        Some(format!(
            "name: deaf\ncommand: {command}\npackages: {{valid: {{builtin: true}}}}\n"
        ))
    });
}

#[test]
fn of_an_adapter() {
    killed(KILL, &["run", "--out", "out", "sanity.server-alive", "--iut"], |_| {
        Some("name: deaf\nrole: server\nadapter: greeting\nclaims: [any]\n".to_owned())
    });
}

#[test]
fn of_an_adapter_that_is_checked() {
    killed(KILL, &["adapter", "check", "--"], |_| None);
}

#[test]
fn of_a_preparation() {
    killed(KILL, &["run", "--out", "out", "sanity.alive", "--iut"], |command| {
        // what a preparation starts in a session of its own is meant to stay
        let command = command.replace(']', ", nohup]");
        Some(format!(
            "name: deaf\ncommand: [sleep, \"1000\"]\npackages: {{valid: {{builtin: true}}}}\nprepare: {command}\n"
        ))
    });
}

#[test]
fn of_a_builder_of_packages() {
    killed(KILL, &["run", "--no-evidence", "push.happy", "--iut"], |command| {
        let command = command.replace(']', ", nohup]");
        Some(format!(
            "name: deaf\ncommand: [sleep, \"1000\"]\nclaims: [push, restart]\npackages: {{valid: {{command: {command}}}}}\n"
        ))
    });
}

/// The first asks for an orderly end, the second ends the harness at once.
#[test]
fn by_a_second_interrupt() {
    let twice = [Signal::SIGINT, Signal::SIGINT];
    killed(&twice, &["run", "--out", "out", "sanity.alive", "--iut"], |command| {
        Some(format!(
            "name: deaf\ncommand: {command}\npackages: {{valid: {{builtin: true}}}}\n"
        ))
    });
}
