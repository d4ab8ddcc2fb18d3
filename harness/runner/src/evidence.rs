//! What a case leaves behind: its journal and its capture, written while it runs.
//!
//! `fotaproof-out/<run>/cases/<id>.journal.jsonl` and `<id>.pcapng`. A line of the journal is
//! handed to the operating system soon after its event, so that a harness that is killed leaves
//! what happened so far.
//!
//! A long case in virtual time keeps one core busy; its bytes go to the operating system by way of a thread of their own
//! ([`aside`]).

mod aside;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use fotaproof_trace::{CaptureError, CaptureInfo, CaptureWriter, Event, EventKind, IutEvent, write_line};

use self::aside::{Aside, Sink};

/// Bytes of journal that wait for the operating system at the most, in virtual time; also those of the capture.
const JOURNAL_BYTES: usize = 64 << 10;

/// Bytes of journal before a case is worth a thread: nearly all of the library have fewer.
const BYTES_ALONE: usize = 2 << 20;

/// The capture among the files that the thread has; the journal is the first.
const CAPTURE: usize = 1;

/// Why evidence cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}")]
pub struct EvidenceError {
    /// The file.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

/// What evidence of a case is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The capture too.
    pub capture: bool,
    /// Every event at once (real time), not in batches (virtual time).
    pub at_once: bool,
}

/// The files of one case while it runs.
#[derive(Debug)]
pub struct Evidence {
    journal_path: PathBuf,
    journal: Sink,
    /// Bytes of journal so far, up to [`BYTES_ALONE`].
    journal_bytes: usize,
    capture: Option<(PathBuf, CaptureWriter<Sink>)>,
    aside: Option<Aside>,
    output: Option<(PathBuf, BufWriter<File>)>,
    output_path: PathBuf,
    output_bytes: u64,
    at_once: bool,
    error: Option<EvidenceError>,
}

/// Output of the IUT that is kept, in bytes.
const OUTPUT_BYTES: u64 = 4 << 20;

/// The name of a case as a file name.
#[must_use]
pub fn file_name(id: &str) -> String {
    id.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-._=[],".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect()
}

impl Evidence {
    /// Creates the files of a case in a folder.
    ///
    /// # Errors
    /// When they cannot be created.
    pub fn create(folder: &Path, id: &str, comment: &str, wanted: Wanted) -> Result<Self, EvidenceError> {
        let at = |path: &Path, source: io::Error| EvidenceError {
            path: path.to_path_buf(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(|source| at(folder, source))?;
        let name = file_name(id);
        let journal_path = folder.join(format!("{name}.journal.jsonl"));
        let journal = File::create(&journal_path).map_err(|source| at(&journal_path, source))?;
        let capture = if wanted.capture {
            let path = folder.join(format!("{name}.pcapng"));
            let file = File::create(&path).map_err(|source| at(&path, source))?;
            let info = CaptureInfo {
                comment: comment.to_owned(),
                application: format!("fotaproof {}", env!("CARGO_PKG_VERSION")),
                ..CaptureInfo::default()
            };
            let writer = CaptureWriter::new(Sink::new(file, JOURNAL_BYTES), &info)
                .map_err(|error| at(&path, io::Error::other(error)))?;
            Some((path, writer))
        } else {
            None
        };
        Ok(Self {
            journal_path,
            journal: Sink::new(journal, if wanted.at_once { 0 } else { JOURNAL_BYTES }),
            journal_bytes: 0,
            capture,
            aside: None,
            output: None,
            output_path: folder.join(format!("{name}.output.log")),
            output_bytes: 0,
            at_once: wanted.at_once,
            error: None,
        })
    }

    /// Takes one event. After an error nothing more is written; [`finish`](Self::finish) tells.
    pub fn on_event(&mut self, event: &Event) {
        if self.error.is_some() || self.aside.as_ref().is_some_and(Aside::has_failed) {
            return;
        }
        if let Some((path, capture)) = &mut self.capture
            && let Err(error) = capture.on_event(event)
        {
            self.error = Some(EvidenceError {
                path: path.clone(),
                source: io::Error::other(error),
            });
            return;
        }
        match &event.kind {
            // whole packets stand in the capture and as datagrams in the journal
            EventKind::Packet(packet) if packet.fragment.is_none() && !packet.altered => return,
            // a process's output is kept by the driver that reads it
            EventKind::Iut(IutEvent::Output { line, .. }) if !self.at_once => self.output(line),
            _ => {}
        }
        let before = self.journal.buffer().len();
        write_line(event, self.journal.buffer());
        self.journal_bytes += self.journal.buffer().len() - before;
        if let Err(source) = self.journal.flush_if_full() {
            self.error = Some(EvidenceError {
                path: self.journal_path.clone(),
                source,
            });
        }
        if self.journal_bytes >= BYTES_ALONE && self.aside.is_none() && !self.at_once {
            self.step_aside();
        }
    }

    /// Has a thread write from now on. Where the system refuses one it stays as it is.
    fn step_aside(&mut self) {
        self.journal_bytes = 0;
        let mut sinks = vec![&mut self.journal];
        sinks.extend(self.capture.as_mut().map(|(_, capture)| capture.output_mut()));
        self.aside = Aside::start(sinks);
    }

    fn output(&mut self, line: &str) {
        if self.output.is_none() {
            match File::create(&self.output_path) {
                Ok(file) => self.output = Some((self.output_path.clone(), BufWriter::new(file))),
                Err(source) => {
                    self.error = Some(EvidenceError {
                        path: self.output_path.clone(),
                        source,
                    });
                    return;
                }
            }
        }
        if self.output_bytes > OUTPUT_BYTES {
            return;
        }
        self.output_bytes += line.len() as u64 + 1;
        let Some((path, output)) = &mut self.output else { return };
        let text = if self.output_bytes > OUTPUT_BYTES {
            "... more output is not kept"
        } else {
            line
        };
        if let Err(source) = writeln!(output, "{text}") {
            self.error = Some(EvidenceError {
                path: path.clone(),
                source,
            });
        }
    }

    /// The number of a datagram's first packet in the capture, from 1.
    #[must_use]
    pub fn packet_of(&self, datagram: u64) -> Option<u64> {
        self.capture
            .as_ref()
            .and_then(|(_, capture)| capture.frame_of(datagram))
    }

    /// Writes what waits and tells whether everything was written.
    ///
    /// # Errors
    /// The first error of this case's evidence.
    pub fn finish(mut self) -> Result<(), EvidenceError> {
        if self.error.is_none()
            && let Err(source) = self.journal.flush()
        {
            self.error = Some(EvidenceError {
                path: self.journal_path.clone(),
                source,
            });
        }
        if self.error.is_none()
            && let Some((path, mut output)) = self.output.take()
            && let Err(source) = output.flush()
        {
            self.error = Some(EvidenceError { path, source });
        }
        let capture_path = self.capture.as_ref().map(|(path, _)| path.clone());
        if let Some((path, capture)) = self.capture.take()
            && let Err(error) = capture.finish()
        {
            let source = io::Error::other(error);
            self.error.get_or_insert(EvidenceError { path, source });
        }
        // what the thread met is older than what came of it here
        drop(self.journal);
        if let Some(Err((file, source))) = self.aside.map(Aside::end) {
            let failed = match capture_path {
                Some(path) if file == CAPTURE => EvidenceError {
                    path,
                    source: io::Error::other(CaptureError::Io(source)),
                },
                _ => EvidenceError {
                    path: self.journal_path,
                    source,
                },
            };
            return Err(failed);
        }
        match self.error {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Whether the IUT printed something.
    #[must_use]
    pub const fn has_output(&self) -> bool {
        self.output.is_some()
    }
}
