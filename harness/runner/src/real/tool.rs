//! Commands beside the IUT: preparation, version, actions of a board, builders of packages.

use core::time::Duration;
use std::path::PathBuf;
use std::process::Stdio;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::keeper::Kept;
use super::launch::start_failure;
use super::process::in_words;

/// Bytes of each stream that are kept.
const KEPT: usize = 64 * 1024;

/// A command that ends by itself.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Program and arguments, placeholders filled in.
    pub words: Vec<String>,
    /// Where it runs.
    pub folder: PathBuf,
    /// Variables beside those of the harness.
    pub environment: Vec<(String, String)>,
    /// Its process group is ended after this time.
    pub within: Duration,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolOutput {
    /// With exit code 0.
    pub success: bool,
    /// How, in words.
    pub status: String,
    /// The beginning of its standard output.
    pub stdout: String,
    /// The beginning of its standard error.
    pub stderr: String,
}

impl ToolOutput {
    /// What to tell of a failure: the status, and the last line that was printed.
    #[must_use]
    pub fn failure(&self) -> String {
        let last = |text: &str| {
            text.lines()
                .rev()
                .map(str::trim)
                .find(|line| !line.is_empty())
                .map(str::to_owned)
        };
        match last(&self.stderr).or_else(|| last(&self.stdout)) {
            Some(line) => format!("{}: {line}", self.status),
            None => self.status.clone(),
        }
    }
}

/// Why a command has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// No words.
    #[error("the command is empty")]
    Empty,
    /// It could not be started.
    #[error("{0}")]
    Start(String),
    /// It took too long.
    #[error("`{program}` did not end within {within:?} and was killed")]
    TooSlow {
        /// The program.
        program: String,
        /// The time that it had.
        within: Duration,
    },
}

/// Runs a command in a process group of its own, with no input, and ends the group afterwards.
///
/// # Errors
/// When it cannot be started or does not end in time.
pub async fn run(tool: &Tool) -> Result<ToolOutput, ToolError> {
    let (program, arguments) = tool.words.split_first().ok_or(ToolError::Empty)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(tool.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&tool.folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let kept = Kept::new(None);
    let mut child = command
        .spawn()
        .map_err(|error| ToolError::Start(start_failure(program, &tool.folder, &error)))?;
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
    pid.inspect(|pid| kept.group(*pid));
    let group = Group(pid, kept);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let work = async { tokio::join!(child.wait(), beginning(stdout), beginning(stderr)) };
    let Ok((status, stdout, stderr)) = tokio::time::timeout(tool.within, work).await else {
        drop(group);
        // reap it
        let _ = child.wait().await;
        return Err(ToolError::TooSlow {
            program: program.clone(),
            within: tool.within,
        });
    };
    let status = status.map_err(|error| ToolError::Start(format!("`{program}` was lost: {error}")))?;
    Ok(ToolOutput {
        success: status.success(),
        status: in_words(status),
        stdout,
        stderr,
    })
}

/// Ends a process group when it goes.
struct Group(
    Option<Pid>,
    #[expect(dead_code, reason = "it is dropped after the group is ended")] Kept,
);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // it is empty when all ended in order
            let _ = killpg(pid, Signal::SIGKILL);
        }
    }
}

/// Reads to the end and keeps the beginning.
async fn beginning(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let mut kept = Vec::new();
    let mut chunk = vec![0; 8192];
    while let Ok(length @ 1..) = stream.read(&mut chunk).await {
        let room = KEPT.saturating_sub(kept.len()).min(length);
        kept.extend_from_slice(&chunk[..room]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, within: Duration) -> Tool {
        Tool {
            words: ["sh", "-c", script].map(str::to_owned).to_vec(),
            folder: std::env::temp_dir(),
            environment: vec![("NAME".to_owned(), "value".to_owned())],
            within,
        }
    }

    #[tokio::test]
    async fn a_command_is_told_by_its_status_and_last_line() {
        let done = run(&shell(
            "echo $NAME; echo first >&2; echo last >&2; exit 3",
            Duration::from_secs(20),
        ))
        .await
        .unwrap();
        assert_eq!((done.success, done.stdout.as_str()), (false, "value\n"));
        assert_eq!(done.failure(), "exit code 3: last");
    }

    #[tokio::test]
    async fn a_command_that_hangs_is_killed_with_its_children() {
        let error = run(&shell(
            "trap '' TERM; sleep 300 & sleep 300",
            Duration::from_millis(100),
        ))
        .await
        .unwrap_err();
        assert_eq!(error.to_string(), "`sh` did not end within 100ms and was killed");
    }

    #[tokio::test]
    async fn a_command_that_is_not_there_is_named() {
        let tool = Tool {
            words: vec!["no-such-program-of-fotaproof".to_owned()],
            ..shell("", Duration::from_secs(1))
        };
        let error = run(&tool).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the command `no-such-program-of-fotaproof` is not found in PATH"
        );
    }
}
