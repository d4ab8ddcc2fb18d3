//! What a case leaves behind: its journal and its capture, written while it runs.
//!
//! `fotaproof-out/<run>/cases/<id>.journal.jsonl` and `<id>.pcapng`. A line of the journal is
//! handed to the operating system soon after its event, so that a harness that is killed leaves
//! what happened so far.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use fotaproof_trace::{CaptureInfo, CaptureWriter, Event, EventKind, IutEvent, write_line};

/// Bytes of journal that wait for the operating system at the most, in virtual time.
const JOURNAL_BYTES: usize = 64 << 10;

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
    journal: File,
    buffer: Vec<u8>,
    capture: Option<(PathBuf, CaptureWriter<BufWriter<File>>)>,
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
            let writer = CaptureWriter::new(BufWriter::with_capacity(JOURNAL_BYTES, file), &info)
                .map_err(|error| at(&path, io::Error::other(error)))?;
            Some((path, writer))
        } else {
            None
        };
        Ok(Self {
            journal_path,
            journal,
            buffer: Vec::with_capacity(if wanted.at_once { 4096 } else { JOURNAL_BYTES + 4096 }),
            capture,
            output: None,
            output_path: folder.join(format!("{name}.output.log")),
            output_bytes: 0,
            at_once: wanted.at_once,
            error: None,
        })
    }

    /// Takes one event. After an error nothing more is written; [`finish`](Self::finish) tells.
    pub fn on_event(&mut self, event: &Event) {
        if self.error.is_some() {
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
        write_line(event, &mut self.buffer);
        if self.at_once || self.buffer.len() >= JOURNAL_BYTES {
            self.flush_journal();
        }
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

    fn flush_journal(&mut self) {
        if let Err(source) = self.journal.write_all(&self.buffer) {
            self.error = Some(EvidenceError {
                path: self.journal_path.clone(),
                source,
            });
        }
        self.buffer.clear();
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
        if self.error.is_none() {
            self.flush_journal();
        }
        if self.error.is_none()
            && let Some((path, mut output)) = self.output.take()
            && let Err(source) = output.flush()
        {
            self.error = Some(EvidenceError { path, source });
        }
        if let Some((path, capture)) = self.capture.take() {
            let done = capture
                .finish()
                .map_err(io::Error::other)
                .and_then(|mut file| file.flush());
            if let Err(source) = done {
                self.error.get_or_insert(EvidenceError { path, source });
            }
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
