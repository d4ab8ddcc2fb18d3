//! One start of an IUT: a process group with its output.

use core::time::Duration;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::keeper::Kept;
use super::launch::{Launch, start_failure};
use super::output::{Output, read_lines};
use super::survivors;

/// How long the output of a process that ended is waited for; a child of it may hold the pipe for ever.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// Lines that wait for the driver.
const QUEUE: usize = 256;

/// What a process does.
#[derive(Debug)]
pub(super) enum ProcessEvent {
    /// It printed a line.
    Line {
        /// On standard error.
        stderr: bool,
        /// The line.
        line: String,
    },
    /// Its first process ended.
    Exited {
        /// How, in words.
        status: String,
        /// With exit code 0.
        success: bool,
    },
}

/// A running process and its group. Dropping it kills the group and what carries its mark.
#[derive(Debug)]
pub(super) struct Process {
    /// The first process, which gives the group its number.
    pub(super) pid: Pid,
    events: mpsc::Receiver<ProcessEvent>,
    /// Lines for its standard input, which stays open until this is dropped.
    stdin: Option<mpsc::UnboundedSender<String>>,
    mark: String,
    /// The end of the first process was told.
    leader_gone: bool,
    /// The first process is reaped: its number may be somebody else's soon.
    reaped: Arc<AtomicBool>,
    /// Nothing is left to end.
    over: bool,
    /// Dropped after all is ended.
    _kept: Kept,
}

impl Process {
    /// Starts it in a process group of its own.
    pub(super) fn start(launch: &Launch, output: &Arc<Output>) -> Result<Self, String> {
        let mut command = Command::new(&launch.program);
        command
            .args(&launch.arguments)
            .envs(launch.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&launch.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let kept = Kept::new(Some(&launch.mark));
        let mut child = command
            .spawn()
            .map_err(|error| start_failure(&launch.program, &launch.folder, &error))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        let pid = pid.ok_or_else(|| "the process has no number".to_owned())?;
        kept.group(pid);
        let (sender, events) = mpsc::channel(QUEUE);
        let readers = [
            child
                .stdout
                .take()
                .map(|stream| tokio::spawn(read_lines(stream, false, output.clone(), sender.clone()))),
            child
                .stderr
                .take()
                .map(|stream| tokio::spawn(read_lines(stream, true, output.clone(), sender.clone()))),
        ];
        let stdin = child.stdin.take().map(|mut stream| {
            let (lines, mut queue) = mpsc::unbounded_channel::<String>();
            tokio::spawn(async move {
                while let Some(line) = queue.recv().await {
                    // it may have closed its end
                    let _ = stream.write_all(line.as_bytes()).await;
                }
            });
            lines
        });
        let reaped = Arc::new(AtomicBool::new(false));
        tokio::spawn(reap(
            child,
            reaped.clone(),
            readers.into_iter().flatten().collect(),
            sender,
        ));
        Ok(Self {
            pid,
            events,
            stdin,
            mark: launch.mark.clone(),
            leader_gone: false,
            reaped,
            over: false,
            _kept: kept,
        })
    }

    /// The next thing that it does; after its end there is none. Dropping the future loses nothing.
    pub(super) async fn event(&mut self) -> ProcessEvent {
        match self.events.recv().await {
            Some(event) => {
                self.leader_gone |= matches!(event, ProcessEvent::Exited { .. });
                event
            }
            None => core::future::pending().await,
        }
    }

    /// Sends a signal to the first process alone, as a program that has children ends them itself; to the whole group when the first
    /// process is gone. Says whether it went to the group.
    pub(super) fn signal(&self, signal: Signal) -> bool {
        let gone = self.reaped.load(Ordering::Acquire);
        if gone {
            self.signal_group(signal);
        } else {
            // it may have ended in between
            let _ = kill(self.pid, signal);
        }
        gone
    }

    /// Its group, unless that is gone. The kernel gives the number to no process as long as the group has a member, so a process of
    /// that number after the first one was reaped is somebody else's.
    fn group(&self) -> Option<Pid> {
        let gone = self.reaped.load(Ordering::Acquire) && Path::new(&format!("/proc/{}", self.pid)).exists();
        (!gone).then_some(self.pid)
    }

    /// Sends a signal to the whole group.
    pub(super) fn signal_group(&self, signal: Signal) {
        if let Some(group) = self.group() {
            // it may be empty
            let _ = killpg(group, signal);
        }
    }

    /// Writes a line to its standard input.
    pub(super) fn write_line(&self, line: &str) {
        if let Some(stdin) = &self.stdin {
            // its end may be closed
            let _ = stdin.send(format!("{line}\n"));
        }
    }

    /// Closes its standard input.
    pub(super) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// The end of the first process was told.
    pub(super) const fn is_leader_gone(&self) -> bool {
        self.leader_gone
    }

    /// What lives of it.
    pub(super) fn survivors(&self) -> Vec<survivors::Survivor> {
        survivors::find(&self.mark, self.group())
    }

    /// Ends all that lives of it; says what that was.
    pub(super) fn end(&self) -> Vec<survivors::Survivor> {
        // who is there is asked first: what is killed may be gone before it can be named
        let mut left = self.survivors();
        if !left.is_empty() {
            self.signal_group(Signal::SIGKILL);
            for more in survivors::end(&self.mark, self.group()) {
                if !left.contains(&more) {
                    left.push(more);
                }
            }
        }
        left
    }

    /// Its end was seen to and all that was left is ended.
    pub(super) const fn set_over(&mut self) {
        self.over = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.over {
            self.end();
        }
    }
}

/// Waits for the end of the first process, and for its last lines.
async fn reap(
    mut child: Child,
    reaped: Arc<AtomicBool>,
    readers: Vec<JoinHandle<()>>,
    events: mpsc::Sender<ProcessEvent>,
) {
    let (status, success) = match child.wait().await {
        Ok(status) => (in_words(status), status.success()),
        Err(error) => (format!("lost: {error}"), false),
    };
    reaped.store(true, Ordering::Release);
    let aborts: Vec<_> = readers.iter().map(JoinHandle::abort_handle).collect();
    let last_words = async {
        for reader in readers {
            // a reader that was aborted has nothing to say
            let _ = reader.await;
        }
    };
    let timely = tokio::time::timeout(LAST_WORDS, last_words).await.is_ok();
    // the driver may be gone
    let _ = events.send(ProcessEvent::Exited { status, success }).await;
    if !timely {
        // who holds the pipe is ended by the driver; the readers go when it is gone
        events.closed().await;
        for abort in aborts {
            abort.abort();
        }
    }
}

/// An exit status in words.
pub(super) fn in_words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("signal {number} ({signal})"),
            Err(_) => format!("signal {number}"),
        },
        (None, None) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn an_exit_is_told_by_code_or_signal() {
        assert_eq!(in_words(ExitStatus::from_raw(3 << 8)), "exit code 3");
        assert_eq!(in_words(ExitStatus::from_raw(11)), "signal 11 (SIGSEGV)");
    }
}
