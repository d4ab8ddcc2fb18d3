//! The files of one case, and what each event writes into them.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use fotaproof_trace::{CaptureInfo, CaptureWriter, Event, EventKind, IutEvent, write_line};

use super::{EvidenceError, Wanted, file_name};

/// Bytes of journal that wait for the operating system at the most, in virtual time; also those of the capture.
const WAITING: usize = 64 << 10;

/// Output of the IUT that is kept, in bytes.
const OUTPUT_BYTES: u64 = 4 << 20;

/// A file behind a buffer.
#[derive(Debug)]
struct Sink {
    file: File,
    buffer: Vec<u8>,
    /// It is written when there are so many bytes.
    full: usize,
}

impl Sink {
    fn new(file: File, full: usize) -> Self {
        Self {
            file,
            // the last line goes beyond
            buffer: Vec::with_capacity(full + 4096),
            full,
        }
    }

    fn flush_if_full(&mut self) -> io::Result<()> {
        if self.buffer.len() >= self.full {
            self.flush()?;
        }
        Ok(())
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        self.flush_if_full()
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.buffer);
        self.buffer.clear();
        written
    }
}

/// The journal, the capture and the IUT's output of one case while it runs.
#[derive(Debug)]
pub(super) struct Files {
    journal_path: PathBuf,
    journal: Sink,
    /// Bytes of journal so far.
    journal_bytes: usize,
    capture: Option<(PathBuf, CaptureWriter<Sink>)>,
    output: Option<(PathBuf, BufWriter<File>)>,
    output_path: PathBuf,
    output_bytes: u64,
    at_once: bool,
    error: Option<EvidenceError>,
}

impl Files {
    pub(super) fn create(folder: &Path, id: &str, comment: &str, wanted: Wanted) -> Result<Self, EvidenceError> {
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
            let writer = CaptureWriter::new(Sink::new(file, WAITING), &info)
                .map_err(|error| at(&path, io::Error::other(error)))?;
            Some((path, writer))
        } else {
            None
        };
        Ok(Self {
            journal_path,
            journal: Sink::new(journal, if wanted.at_once { 0 } else { WAITING }),
            journal_bytes: 0,
            capture,
            output: None,
            output_path: folder.join(format!("{name}.output.log")),
            output_bytes: 0,
            at_once: wanted.at_once,
            error: None,
        })
    }

    /// Takes one event. After an error nothing more is written; [`finish`](Self::finish) tells.
    pub(super) fn on_event(&mut self, event: &Event) {
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
        let before = self.journal.buffer.len();
        write_line(event, &mut self.journal.buffer);
        self.journal_bytes += self.journal.buffer.len() - before;
        if let Err(source) = self.journal.flush_if_full() {
            self.error = Some(EvidenceError {
                path: self.journal_path.clone(),
                source,
            });
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

    pub(super) fn journal_path(&self) -> &Path {
        &self.journal_path
    }

    pub(super) const fn journal_bytes(&self) -> usize {
        self.journal_bytes
    }

    /// The number of a datagram's first packet in the capture, from 1.
    pub(super) fn packet_of(&self, datagram: u64) -> Option<u64> {
        self.capture
            .as_ref()
            .and_then(|(_, capture)| capture.frame_of(datagram))
    }

    /// Whether the IUT printed something.
    pub(super) const fn has_output(&self) -> bool {
        self.output.is_some()
    }

    /// Writes what waits and tells whether everything was written.
    pub(super) fn finish(mut self) -> Result<(), EvidenceError> {
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
        if let Some((path, capture)) = self.capture.take()
            && let Err(error) = capture.finish()
        {
            let source = io::Error::other(error);
            self.error.get_or_insert(EvidenceError { path, source });
        }
        match self.error {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}
