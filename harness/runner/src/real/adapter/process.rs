//! The process of an adapter: a group of its own, its pipes, its end.

use core::time::Duration;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};

use fotaproof_adapter::{LineError, Lines};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::error::said;
use crate::real::Scaling;
use crate::real::keeper::Kept;
use crate::real::launch::start_failure;
use crate::real::output::{Output, read_lines};
use crate::real::process::{ProcessEvent, in_words};
use crate::real::survivors::{self, MARKER, Survivor, remove_faketime};

/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;
/// Bytes that need not be messages before a flood is read slowly, so that it does not eat the other cases' time.
const FLOOD: usize = 16 * 1024 * 1024;
/// How slowly: a chunk each.
const PAUSE: Duration = Duration::from_millis(2);
/// How long the output of a process that ended is waited for; a child of it may hold the pipe for ever.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How long a killed process may take to be gone.
const DYING: Duration = Duration::from_secs(5);
/// Lines of standard error that a message shows.
const TAIL: usize = 5;

/// How an adapter is started.
#[derive(Clone, Debug)]
pub struct AdapterLaunch {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Its working folder.
    pub folder: PathBuf,
    /// Variables besides those of the harness.
    pub environment: Vec<(String, String)>,
    /// Where its standard error is kept, up to a bound.
    pub log: Option<PathBuf>,
    /// libfaketime is preloaded, and leaves shared memory behind.
    pub faketime: bool,
    /// How long it may take to its hello. Being there is an event, so this can be generous: a JVM is slow to start.
    pub ready: Duration,
}

impl AdapterLaunch {
    /// With the default of everything but the command: the present folder, no log, [`super::READY`].
    #[must_use]
    pub fn new(command: Vec<String>) -> Self {
        Self {
            command,
            folder: PathBuf::from("."),
            environment: Vec::new(),
            log: None,
            faketime: false,
            ready: super::READY,
        }
    }

    /// On a scaled clock.
    #[must_use]
    pub fn scaled(mut self, scaling: &Scaling) -> Self {
        self.command.extend(scaling.arguments.iter().cloned());
        self.environment.extend(scaling.environment.iter().cloned());
        self.faketime = scaling.faketime;
        self
    }
}

/// What the process does.
#[derive(Debug)]
pub(super) enum Happening {
    /// Lines of standard output.
    Lines(Vec<Result<Vec<u8>, LineError>>),
    /// It ended, and all that it wrote was told.
    Ended {
        /// How, in words.
        status: String,
        /// With exit code 0.
        success: bool,
    },
}

/// The running process. Dropping it kills the group and what carries its mark.
#[derive(Debug)]
pub(super) struct AdapterChild {
    child: Child,
    pid: Pid,
    stdout: Option<ChildStdout>,
    lines: Lines,
    chunk: Vec<u8>,
    read: usize,
    stdin: Option<mpsc::UnboundedSender<String>>,
    stderr: mpsc::Receiver<ProcessEvent>,
    tail: VecDeque<String>,
    mark: String,
    faketime: bool,
    /// How it ended, once it is reaped.
    status: Option<(String, bool)>,
    /// The output of an ended process is waited for until then.
    last_words: Option<Instant>,
    over: bool,
    /// Dropped after all is ended.
    _kept: Kept,
}

impl AdapterChild {
    pub(super) fn start(launch: &AdapterLaunch) -> Result<Self, String> {
        let Some((program, arguments)) = launch.command.split_first() else {
            return Err("its command is empty".to_owned());
        };
        let mark = new_mark();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .envs(launch.environment.iter().map(|(name, value)| (name, value)))
            .env(MARKER, &mark)
            .current_dir(&launch.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let kept = Kept::new(Some(&mark));
        let mut child = command
            .spawn()
            .map_err(|error| start_failure(program, &launch.folder, &error))?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        let pid = pid.ok_or_else(|| "the process has no number".to_owned())?;
        kept.group(pid);
        let log = launch.log.clone().unwrap_or_else(|| PathBuf::from("/dev/null"));
        let (sender, stderr) = mpsc::channel(256);
        if let Some(stream) = child.stderr.take() {
            tokio::spawn(read_lines(stream, true, Output::new(&log), sender));
        }
        let stdin = child.stdin.take().map(|mut stream| {
            let (lines, mut queue) = mpsc::unbounded_channel::<String>();
            tokio::spawn(async move {
                while let Some(line) = queue.recv().await {
                    // its end shows elsewhere
                    if stream.write_all(line.as_bytes()).await.is_err() {
                        break;
                    }
                }
            });
            lines
        });
        Ok(Self {
            stdout: child.stdout.take(),
            child,
            pid,
            lines: Lines::default(),
            chunk: vec![0; CHUNK],
            read: 0,
            stdin,
            stderr,
            tail: VecDeque::new(),
            mark,
            faketime: launch.faketime,
            status: None,
            last_words: None,
            over: false,
            _kept: kept,
        })
    }

    /// Writes a line, which has its end, to its standard input.
    pub(super) fn write(&self, line: String) {
        if let Some(stdin) = &self.stdin {
            // its end may be closed, which shows elsewhere
            let _ = stdin.send(line);
        }
    }

    /// The next thing that it does; after its end there is none. Dropping the future loses nothing.
    pub(super) async fn happening(&mut self) -> Happening {
        loop {
            let ended = self.status.is_some();
            let all_said = self.stdout.is_none() && self.stderr.is_closed() && self.stderr.is_empty();
            if ended && (all_said || self.last_words.is_some_and(|until| Instant::now() >= until)) {
                let (status, success) = self.status.clone().unwrap_or_default();
                self.drain_tail();
                return Happening::Ended { status, success };
            }
            if self.read > FLOOD {
                tokio::time::sleep(PAUSE).await;
            }
            let last_words = self.last_words;
            let reading = async {
                match &mut self.stdout {
                    Some(stdout) => stdout.read(&mut self.chunk).await,
                    None => core::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                line = self.stderr.recv(), if !self.stderr.is_closed() || !self.stderr.is_empty() => {
                    if let Some(ProcessEvent::Line { line, .. }) = line {
                        keep(&mut self.tail, line);
                    }
                }
                read = reading => match read {
                    Ok(0) | Err(_) => {
                        self.stdout = None;
                        if self.status.is_none() {
                            // without it nothing can be said any more; it may be about to end by itself
                            self.last_words.get_or_insert_with(|| Instant::now() + LAST_WORDS);
                        }
                    }
                    Ok(length) => {
                        self.read = self.read.saturating_add(length);
                        let lines = self.lines.take(&self.chunk[..length]);
                        if !lines.is_empty() {
                            return Happening::Lines(lines);
                        }
                    }
                },
                status = self.child.wait(), if !ended => {
                    self.status = Some(match status {
                        Ok(status) => (in_words(status), status.success()),
                        Err(error) => (format!("lost: {error}"), false),
                    });
                    self.last_words = Some(Instant::now() + LAST_WORDS);
                }
                () = at(last_words), if last_words.is_some() => {
                    if self.status.is_none() {
                        self.status = Some(("it closed its standard output".to_owned(), false));
                    }
                    self.last_words = Some(Instant::now());
                    self.stdout = None;
                }
            }
        }
    }

    /// A line was a message: it is no flood.
    pub(super) const fn made_sense(&mut self) {
        self.read = 0;
    }

    fn drain_tail(&mut self) {
        while let Ok(ProcessEvent::Line { line, .. }) = self.stderr.try_recv() {
            keep(&mut self.tail, line);
        }
    }

    /// The end of its standard error, for a message.
    pub(super) fn said(&mut self) -> String {
        self.drain_tail();
        said(&self.tail)
    }

    /// Ends all that lives of it and waits until it is gone; gives what was left besides its first process, in words.
    pub(super) async fn end(&mut self) -> Option<String> {
        self.stdin = None;
        let first = self.pid;
        let left: Vec<Survivor> = self.kill().into_iter().filter(|one| one.pid != first).collect();
        let until = Instant::now() + DYING;
        let mut pause = Duration::from_millis(1);
        if !matches!(tokio::time::timeout(DYING, self.child.wait()).await, Ok(Ok(_))) {
            return Some(format!("SIGKILL did not end the adapter (pid {first})"));
        }
        loop {
            let still = survivors::end(&self.mark, None);
            if still.is_empty() {
                break;
            }
            if Instant::now() >= until {
                return Some(format!("SIGKILL did not end {}", survivors::told(&still)));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        self.over = true;
        (!left.is_empty()).then(|| survivors::told(&left))
    }

    /// Its group, unless the number may be somebody else's by now.
    fn group(&self) -> Option<Pid> {
        let reaped = self.child.id().is_none();
        let taken = reaped && Path::new(&format!("/proc/{}", self.pid)).exists();
        (!taken).then_some(self.pid)
    }

    fn kill(&self) -> Vec<Survivor> {
        let left = survivors::find(&self.mark, self.group());
        if !left.is_empty() {
            if let Some(group) = self.group() {
                // it may be empty
                let _ = killpg(group, Signal::SIGKILL);
            }
            survivors::end(&self.mark, self.group());
        }
        if self.faketime {
            // of the first process: the others share its memory, unless they threw their environment away
            remove_faketime(self.pid);
            left.iter().for_each(|one| remove_faketime(one.pid));
        }
        left
    }
}

impl Drop for AdapterChild {
    fn drop(&mut self) {
        if !self.over {
            self.kill();
        }
    }
}

fn keep(tail: &mut VecDeque<String>, line: String) {
    if tail.len() == TAIL {
        tail.pop_front();
    }
    tail.push_back(line);
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => core::future::pending().await,
    }
}

/// The mark of an adapter's processes: no other of any harness on this machine has the same.
fn new_mark() -> String {
    static ADAPTERS: AtomicU64 = AtomicU64::new(1);
    format!(
        "{}-adapter-{}",
        std::process::id(),
        ADAPTERS.fetch_add(1, Ordering::Relaxed)
    )
}
