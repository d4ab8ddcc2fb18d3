//! What an IUT prints: line by line, up to a bound, whatever it prints.

use core::time::Duration;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

use super::process::ProcessEvent;

/// Longest line that is told or kept, in bytes; the rest of it is cut off.
const LINE: usize = 2_000;
/// Lines told to the session in one case.
const TOLD_LINES: usize = 5_000;
/// Bytes told to the session in one case.
const TOLD_BYTES: usize = 512 * 1024;
/// Bytes kept in the output log of one case.
const KEPT_BYTES: usize = 4 * 1024 * 1024;
/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;
/// Bytes after which a flood is read no faster than one chunk a pause, so that it does not eat the other cases' time.
const FLOOD: usize = 16 * 1024 * 1024;
/// That pause.
const PAUSE: Duration = Duration::from_millis(2);

/// The output of one case, over all starts of its IUT.
#[derive(Debug)]
pub(super) struct Output {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    file: Option<File>,
    /// The log is full, or cannot be written.
    closed: bool,
    kept: usize,
    told_lines: usize,
    told_bytes: usize,
    silenced: bool,
}

impl Output {
    pub(super) fn new(path: &Path) -> Arc<Self> {
        Arc::new(Self {
            path: path.to_path_buf(),
            state: Mutex::default(),
        })
    }

    /// Keeps a line; gives what the session is told of it, if it is told.
    pub(super) fn take(&self, stream: &str, line: &str) -> Option<String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.keep(&self.path, stream, line);
        if state.told_lines >= TOLD_LINES || state.told_bytes >= TOLD_BYTES {
            if state.silenced {
                return None;
            }
            state.silenced = true;
            return Some(format!(
                "[harness] {TOLD_LINES} lines or {TOLD_BYTES} bytes were printed; further output is not in the journal"
            ));
        }
        state.told_lines += 1;
        state.told_bytes += line.len();
        Some(line.to_owned())
    }
}

impl State {
    fn keep(&mut self, path: &Path, stream: &str, line: &str) {
        if self.closed {
            return;
        }
        if self.file.is_none() {
            match File::create(path) {
                Ok(file) => self.file = Some(file),
                Err(_) => self.closed = true,
            }
        }
        let Some(file) = &mut self.file else { return };
        let text = if self.kept + line.len() > KEPT_BYTES {
            self.closed = true;
            format!("[harness] the output is longer than {KEPT_BYTES} bytes; the rest is not kept\n")
        } else {
            format!("{stream}: {line}\n")
        };
        self.kept += text.len();
        // a log that cannot be written does not end the case; the journal tells when the disk is full
        if file.write_all(text.as_bytes()).is_err() {
            self.closed = true;
        }
        if self.closed {
            self.file = None;
        }
    }
}

/// Reads a stream to its end and tells its lines.
pub(super) async fn read_lines(
    mut reader: impl AsyncRead + Unpin,
    stderr: bool,
    output: Arc<Output>,
    events: mpsc::Sender<ProcessEvent>,
) {
    let stream = if stderr { "stderr" } else { "stdout" };
    let mut chunk = vec![0; CHUNK];
    let mut lines = Lines::default();
    let mut total = 0_usize;
    loop {
        let length = match reader.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(length) => length,
        };
        total = total.saturating_add(length);
        for line in lines.take(&chunk[..length]) {
            if let Some(line) = output.take(stream, &line) {
                // nobody listens any more: go on reading, so that the process does not hang on its pipe
                let _ = events.send(ProcessEvent::Line { stderr, line }).await;
            }
        }
        if total > FLOOD {
            tokio::time::sleep(PAUSE).await;
        }
    }
    if let Some(line) = lines.rest()
        && let Some(line) = output.take(stream, &line)
    {
        let _ = events.send(ProcessEvent::Line { stderr, line }).await;
    }
}

/// Cuts bytes into printable lines of bounded length.
#[derive(Debug, Default)]
struct Lines {
    line: Vec<u8>,
    cut: usize,
}

impl Lines {
    fn take(&mut self, mut bytes: &[u8]) -> Vec<String> {
        let mut done = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.add(&bytes[..end]);
            done.extend(self.rest_or_empty());
            bytes = &bytes[end + 1..];
        }
        self.add(bytes);
        done
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = LINE.saturating_sub(self.line.len()).min(bytes.len());
        self.line.extend_from_slice(&bytes[..room]);
        self.cut += bytes.len() - room;
    }

    fn rest(&mut self) -> Option<String> {
        if self.line.is_empty() {
            None
        } else {
            self.rest_or_empty()
        }
    }

    fn rest_or_empty(&mut self) -> Option<String> {
        let mut line = printable(&self.line);
        if self.cut > 0 {
            line.push_str(&format!(" [harness: {} bytes cut off]", self.cut));
        }
        self.line.clear();
        self.cut = 0;
        Some(line)
    }
}

/// UTF-8 without control characters; a carriage return before the end goes.
fn printable(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_their_ends_wherever_the_chunks_are() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"one\r\ntw"), ["one"]);
        assert_eq!(lines.take(b"o\n\nthree"), ["two", ""]);
        assert_eq!(lines.rest().as_deref(), Some("three"));
        assert_eq!(lines.rest(), None);
    }

    #[test]
    fn a_line_without_end_does_not_grow() {
        let mut lines = Lines::default();
        for _ in 0..100 {
            assert!(lines.take(&[b'x'; 1_000]).is_empty());
        }
        assert!(lines.line.len() <= LINE);
        let line = lines.rest().unwrap();
        assert!(line.ends_with("[harness: 98000 bytes cut off]"), "{line}");
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(printable(b"a\x1b[31m\xff\tb"), "a\u{fffd}[31m\u{fffd}\tb");
    }

    #[test]
    fn what_is_told_and_kept_has_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("output.log");
        let output = Output::new(&path);
        assert!(!path.exists());
        let line = "x".repeat(1_000);
        let told = (0..10_000)
            .filter_map(|_| output.take("stdout", &line))
            .collect::<Vec<_>>();
        assert!(told.len() <= TOLD_LINES + 1 && told.iter().map(String::len).sum::<usize>() < TOLD_BYTES + 2_000);
        assert!(told.last().unwrap().starts_with("[harness]"));
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(kept.len() < KEPT_BYTES + 2_000, "{}", kept.len());
        assert!(kept.ends_with("the rest is not kept\n"));
    }
}
