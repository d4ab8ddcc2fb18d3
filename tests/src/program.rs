//! The `fotaproof` program as a process.
//!
//! Cargo tells the path of a binary only to tests of its own crate. It lies beside the folder of
//! this test's own executable; cargo is asked once to bring it up to date.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// The path of the program, built from the present sources. `FOTAPROOF_BIN` names another one.
///
/// # Panics
/// When it cannot be built.
#[must_use]
pub fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        if let Some(path) = std::env::var_os("FOTAPROOF_BIN") {
            return path.into();
        }
        let me = std::env::current_exe().expect("a test knows its own path");
        // target/<profile>/deps/<test>
        let folder = me
            .parent()
            .and_then(Path::parent)
            .expect("a test lies in a folder of the profile");
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build
            .args(["build", "--quiet", "--package", "fotaproof-cli"])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        if folder.file_name().is_some_and(|name| name == "release") {
            build.arg("--release");
        }
        let built = build.status();
        let path = folder.join("fotaproof");
        assert!(
            built.is_ok_and(|status| status.success()) && path.exists(),
            "cannot build the program at {}",
            path.display()
        );
        path
    })
}

/// The program with these arguments, in this folder, without a terminal.
#[must_use]
pub fn fotaproof(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(path());
    command
        .args(arguments)
        .current_dir(folder)
        .env_remove("NO_COLOR")
        .env_remove("RUST_BACKTRACE")
        .env("COLUMNS", "100")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What a process that ended left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs the program to its end.
///
/// # Panics
/// When it cannot be started, or when it panics.
#[must_use]
pub fn run(folder: &Path, arguments: &[&str]) -> Ended {
    let output = fotaproof(folder, arguments).output().expect("the program starts");
    let ended = Ended::from(output);
    assert!(!ended.err.contains("panicked"), "the program panicked: {}", ended.err);
    ended
}
