//! What a case leaves behind: its journal and its capture, written while it runs.
//!
//! `fotaproof-out/<run>/cases/<id>.journal.jsonl` and `<id>.pcapng`. A line of the journal is
//! handed to the operating system soon after its event, so that a harness that is killed leaves
//! what happened so far.
//!
//! A long case in virtual time keeps one core busy; what is written of it is made and written by a thread of its own
//! ([`aside`]), which gets the events on a [`tape`].

mod aside;
mod files;
mod tape;

use std::io;
use std::path::{Path, PathBuf};

use fotaproof_trace::Event;

use self::aside::Aside;
use self::files::Files;

/// Bytes of journal before a case is worth a thread: nearly all of the library have fewer.
const BYTES_ALONE: usize = 2 << 20;

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
    writer: Writer,
    /// A thread may come to write.
    may_step_aside: bool,
}

/// Who writes.
#[derive(Debug)]
enum Writer {
    /// Whoever tells of the events.
    Here(Box<Files>),
    Aside(Aside),
    /// The thread was lost with the files.
    Nobody(EvidenceError),
}

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
        Ok(Self {
            writer: Writer::Here(Box::new(Files::create(folder, id, comment, wanted)?)),
            may_step_aside: !wanted.at_once,
        })
    }

    /// Takes one event. After an error nothing more is written; [`finish`](Self::finish) tells.
    pub fn on_event(&mut self, event: &Event) {
        match &mut self.writer {
            Writer::Here(files) => {
                files.on_event(event);
                if self.may_step_aside && files.journal_bytes() >= BYTES_ALONE {
                    self.step_aside();
                }
            }
            Writer::Aside(aside) => aside.on_event(event),
            Writer::Nobody(_) => {}
        }
    }

    /// Has a thread write from now on. Where the system refuses one it stays as it is.
    fn step_aside(&mut self) {
        self.may_step_aside = false;
        self.replace(|writer| match writer {
            Writer::Here(files) => match Aside::start(files) {
                Ok(aside) => Writer::Aside(aside),
                Err(files) => Writer::Here(files),
            },
            other => other,
        });
    }

    /// Waits until all events so far are taken: from here on it is known which [packet](Self::packet_of) has which number.
    pub fn settle(&mut self) {
        self.replace(|writer| match writer {
            Writer::Aside(aside) => aside.end().map_or_else(Writer::Nobody, Writer::Here),
            other => other,
        });
    }

    fn replace(&mut self, by: impl FnOnce(Writer) -> Writer) {
        let nobody = EvidenceError {
            path: PathBuf::new(),
            source: io::Error::other("the writer changes"),
        };
        self.writer = by(core::mem::replace(&mut self.writer, Writer::Nobody(nobody)));
    }

    const fn files(&self) -> Option<&Files> {
        match &self.writer {
            Writer::Here(files) => Some(files),
            Writer::Aside(_) | Writer::Nobody(_) => None,
        }
    }

    /// The number of a datagram's first packet in the capture, from 1; all are known once it is [settled](Self::settle).
    #[must_use]
    pub fn packet_of(&self, datagram: u64) -> Option<u64> {
        self.files()?.packet_of(datagram)
    }

    /// Whether the IUT printed something; known once it is [settled](Self::settle).
    #[must_use]
    pub fn has_output(&self) -> bool {
        self.files().is_some_and(Files::has_output)
    }

    /// Writes what waits and tells whether everything was written.
    ///
    /// # Errors
    /// The first error of this case's evidence.
    pub fn finish(mut self) -> Result<(), EvidenceError> {
        self.settle();
        match self.writer {
            Writer::Here(files) => files.finish(),
            Writer::Nobody(error) => Err(error),
            Writer::Aside(_) => Ok(()),
        }
    }
}
