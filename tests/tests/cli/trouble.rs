//! Bad luck: readers that go away, full disks, folders that cannot be written.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use fotaproof_tests::program::{Ended, fotaproof, path};

use crate::{data, fotaproof_in, long_library, scratch};

#[test]
fn a_reader_that_goes_away_is_no_error() {
    for line in [
        "list --library library",
        "schema case",
        "run --no-evidence --format json --library library push",
        "explain --library library push.whole",
        "completions bash",
        "audit --library library push",
    ] {
        let mut child = fotaproof(data(), &line.split_whitespace().collect::<Vec<_>>())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ended = Ended::from(child.wait_with_output().unwrap());
        assert_eq!(ended.code, Some(0), "`{line}`: {}", ended.err);
        assert!(
            !ended.err.contains("panicked") && !ended.err.contains("error"),
            "`{line}`: {}",
            ended.err
        );
    }
}

/// The program below a shell that limits it first.
fn below_a_shell(folder: &Path, before: &str, line: &str) -> Ended {
    let program = path().display();
    let output = Command::new("bash")
        .args(["-c", &format!("{before}; exec '{program}' {line}")])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("bash");
    let ended = Ended::from(output);
    assert!(!ended.err.contains("panicked"), "{}", ended.err);
    ended
}

#[test]
fn standard_output_on_a_full_disk() {
    for line in ["list --library library", "run --no-evidence --library library reg.read"] {
        let ended = below_a_shell(data(), "exec > /dev/full", line);
        assert_eq!(ended.code, Some(5), "`{line}`: {}", ended.err);
        assert!(
            ended.err.contains("cannot write to standard output"),
            "`{line}`: {}",
            ended.err
        );
    }
}

/// All that was printed, as one line.
fn unwrapped(ended: &Ended) -> String {
    format!("{} {}", ended.out, ended.err)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn evidence_that_grows_past_what_the_system_allows() {
    let folder = scratch();
    long_library(folder.path());
    // a limit on the size of files meets the same code as a full disk, without a disk
    let ended = below_a_shell(
        folder.path(),
        "trap '' XFSZ; ulimit -f 64",
        "run --library long --out runs --jobs 1",
    );
    assert_eq!(ended.code, Some(5), "{}{}", ended.out, ended.err);
    let told = unwrapped(&ended);
    assert!(
        told.contains("cannot write") && told.contains("File too large"),
        "{told}"
    );
}

#[test]
fn evidence_on_a_full_disk() {
    let folder = scratch();
    long_library(folder.path());
    fs::create_dir(folder.path().join("disk")).unwrap();
    let script = format!(
        "mount -t tmpfs -o size=256k full disk && exec '{}' run --library long --out disk --jobs 1",
        path().display()
    );
    // a mount namespace of its own: nothing is left behind
    let mut probe = Command::new("unshare");
    probe
        .args([
            "--mount",
            "--map-root-user",
            "sh",
            "-c",
            "mount -t tmpfs -o size=64k full disk",
        ])
        .current_dir(folder.path());
    let allowed = probe.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !allowed.is_ok_and(|status| status.success()) {
        println!("skipped: this system does not let a test mount a small disk of its own");
        return;
    }
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--map-root-user", "sh", "-c", &script])
        .current_dir(folder.path())
        .stdin(Stdio::null());
    let ended = Ended::from(command.output().unwrap());
    assert_eq!(ended.code, Some(5), "{}{}", ended.out, ended.err);
    let told = unwrapped(&ended);
    assert!(
        told.contains("cannot write") && told.contains("No space left on device"),
        "{told}"
    );
}

#[test]
fn folders_that_cannot_be_written() {
    let folder = scratch();
    fs::write(folder.path().join("file"), "").unwrap();
    let library = data().join("library");
    for out in ["file", "file/below", "/proc/nowhere"] {
        let ended = fotaproof_in(
            folder.path(),
            &format!("run --out {out} --library {} reg.read", library.display()),
        );
        assert_eq!(ended.code, Some(5), "{out}: {}{}", ended.out, ended.err);
        assert!(ended.err.starts_with("error: cannot write "), "{out}: {}", ended.err);
    }
}

#[test]
fn a_process_group_of_its_own_and_no_standard_streams() {
    let mut command = Command::new(path());
    command
        .args(["run", "--no-evidence", "--library", "library", "reg.read"])
        .current_dir(data())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    assert_eq!(command.status().unwrap().code(), Some(0));
}
