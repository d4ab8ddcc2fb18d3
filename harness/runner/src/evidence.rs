//! What a case leaves behind: its journal and its capture, written while it runs.
//!
//! `fotaproof-out/<run>/cases/<id>.journal.jsonl` and `<id>.pcapng`. A line of the journal is
//! handed to the operating system soon after its event, so that a harness that is killed leaves
//! what happened so far.
//!
//! A case of many events in virtual time has a thread that writes for it, for the session keeps one core busy as it is.
//! The events reach it in order and in batches, of which only a few wait: a disk that is slower than the session slows the
//! session down, as it does without the thread. The batches come back, and the session frees what it made.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use fotaproof_trace::{CaptureInfo, CaptureWriter, Event, EventKind, IutEvent, write_line};

/// Bytes of journal that wait for the operating system at the most, in virtual time.
const JOURNAL_BYTES: usize = 64 << 10;
/// Events of a case before it is worth a thread: most cases of the library have fewer.
const EVENTS_ALONE: usize = 8192;
/// Events that go to the thread at once.
const BATCH: usize = 256;
/// Batches that wait for the thread at the most.
const BATCHES: usize = 16;

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

/// The evidence of one case while it runs.
#[derive(Debug)]
pub struct Evidence {
    way: Way,
    /// Events taken so far, up to [`EVENTS_ALONE`].
    events: usize,
    at_once: bool,
}

/// Who writes.
#[derive(Debug)]
enum Way {
    /// Whoever gives the events.
    Here(Box<Files>),
    /// A thread.
    Aside(Aside),
    /// A thread did, and failed.
    Lost(Box<EvidenceError>),
}

/// The thread that writes, and what goes there and back.
#[derive(Debug)]
struct Aside {
    batch: Vec<Arc<Event>>,
    there: SyncSender<Vec<Arc<Event>>>,
    back: Receiver<Vec<Arc<Event>>>,
    thread: JoinHandle<Option<Files>>,
    journal_path: PathBuf,
}

/// The files of one case while it runs.
#[derive(Debug)]
struct Files {
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
        let files = Files {
            journal_path,
            journal,
            buffer: Vec::with_capacity(if wanted.at_once { 4096 } else { JOURNAL_BYTES + 4096 }),
            capture,
            output: None,
            output_path: folder.join(format!("{name}.output.log")),
            output_bytes: 0,
            at_once: wanted.at_once,
            error: None,
        };
        Ok(Self {
            way: Way::Here(Box::new(files)),
            events: 0,
            at_once: wanted.at_once,
        })
    }

    /// Takes one event. After an error nothing more is written; [`finish`](Self::finish) tells.
    pub fn on_event(&mut self, event: &Arc<Event>) {
        match &mut self.way {
            Way::Here(files) => {
                files.on_event(event);
                self.events += 1;
                if self.events == EVENTS_ALONE && !self.at_once {
                    self.step_aside();
                }
            }
            Way::Aside(aside) => {
                aside.batch.push(event.clone());
                if aside.batch.len() >= BATCH {
                    aside.send();
                }
            }
            Way::Lost(_) => {}
        }
    }

    /// Has a thread write from now on, where there is a core for it.
    fn step_aside(&mut self) {
        if std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1) {
            self.way = match core::mem::replace(&mut self.way, Way::Lost(Box::new(broken(Path::new(""))))) {
                Way::Here(files) => Aside::new(files),
                way => way,
            };
        }
    }

    /// Waits until all events are with the files: what they know can be asked for from then on.
    pub fn drain(&mut self) {
        self.way = match core::mem::replace(&mut self.way, Way::Lost(Box::new(broken(Path::new(""))))) {
            Way::Aside(aside) => aside.end(),
            way => way,
        };
    }

    /// The number of a datagram's first packet in the capture, from 1; to be asked after [`drain`](Self::drain).
    #[must_use]
    pub fn packet_of(&self, datagram: u64) -> Option<u64> {
        match &self.way {
            Way::Here(files) => files
                .capture
                .as_ref()
                .and_then(|(_, capture)| capture.frame_of(datagram)),
            Way::Aside(_) | Way::Lost(_) => None,
        }
    }

    /// Writes what waits and tells whether everything was written.
    ///
    /// # Errors
    /// The first error of this case's evidence.
    pub fn finish(mut self) -> Result<(), EvidenceError> {
        self.drain();
        match self.way {
            Way::Here(files) => files.finish(),
            Way::Lost(error) => Err(*error),
            Way::Aside(aside) => Err(broken(&aside.journal_path)),
        }
    }

    /// Whether the IUT printed something; to be asked after [`drain`](Self::drain).
    #[must_use]
    pub const fn has_output(&self) -> bool {
        match &self.way {
            Way::Here(files) => files.output.is_some(),
            Way::Aside(_) | Way::Lost(_) => false,
        }
    }
}

/// The thread that wrote is gone before its time.
fn broken(path: &Path) -> EvidenceError {
    EvidenceError {
        path: path.to_path_buf(),
        source: io::Error::other("the thread that writes the evidence ended early; this is a defect of the harness"),
    }
}

impl Aside {
    /// The files stay here if the system refuses a thread: a run is worth more than its speed.
    fn new(files: Box<Files>) -> Way {
        let journal_path = files.journal_path.clone();
        let (there, inbox) = sync_channel::<Vec<Arc<Event>>>(BATCHES);
        let (outbox, back) = channel();
        // the files follow by themselves, so that they are not lost with a thread that never came to be
        let (give, take) = channel::<Files>();
        let thread = std::thread::Builder::new()
            .name("evidence".to_owned())
            .spawn(move || write_all(&take, &inbox, &outbox));
        match thread {
            Ok(thread) => match give.send(*files) {
                Ok(()) => Way::Aside(Self {
                    batch: Vec::with_capacity(BATCH),
                    there,
                    back,
                    thread,
                    journal_path,
                }),
                Err(files) => Way::Here(Box::new(files.0)),
            },
            Err(_) => Way::Here(files),
        }
    }

    /// Sends the batch and frees one that came back.
    fn send(&mut self) {
        let mut next = self.back.try_recv().unwrap_or_else(|_| Vec::with_capacity(BATCH));
        next.clear();
        // the end tells of a thread that is gone
        drop(self.there.send(core::mem::replace(&mut self.batch, next)));
    }

    fn end(mut self) -> Way {
        self.send();
        drop(self.there);
        match self.thread.join() {
            Ok(Some(files)) => Way::Here(Box::new(files)),
            Ok(None) | Err(_) => Way::Lost(Box::new(broken(&self.journal_path))),
        }
    }
}

/// The thread: takes the files, writes batch after batch, gives the files back at the end.
fn write_all(
    files: &Receiver<Files>,
    inbox: &Receiver<Vec<Arc<Event>>>,
    outbox: &Sender<Vec<Arc<Event>>>,
) -> Option<Files> {
    let mut files = files.recv().ok()?;
    while let Ok(batch) = inbox.recv() {
        for event in &batch {
            files.on_event(event);
        }
        // nobody takes it any more when the case is over
        drop(outbox.send(batch));
    }
    Some(files)
}

impl Files {
    fn on_event(&mut self, event: &Event) {
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

    fn finish(mut self) -> Result<(), EvidenceError> {
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
}
