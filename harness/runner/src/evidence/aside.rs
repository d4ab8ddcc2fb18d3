//! The thread that writes for a long case.
//!
//! It has the files and makes of each event what stands in them. Only some tapes wait: a disk that is slower than the session
//! slows the session down, as it does without the thread, and a harness that is killed has lost little.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use fotaproof_trace::Event;

use super::EvidenceError;
use super::files::Files;
use super::tape::Tape;

/// Tapes that wait for the thread at the most.
const WAITING: usize = 8;

/// The thread, and what goes to it.
#[derive(Debug)]
pub(super) struct Aside {
    tape: Tape,
    there: SyncSender<Tape>,
    /// Tapes that were played, to be used again.
    back: Receiver<Tape>,
    thread: JoinHandle<Option<Box<Files>>>,
    journal: PathBuf,
}

impl Aside {
    /// Gives the files to a thread; gives them back where there is no second core or the system refuses a thread.
    pub(super) fn start(files: Box<Files>) -> Result<Self, Box<Files>> {
        if std::thread::available_parallelism().map_or(1, core::num::NonZero::get) < 2 {
            return Err(files);
        }
        let (there, inbox) = sync_channel(WAITING);
        let (outbox, back) = channel();
        // the files follow the thread, so that they are not lost with one that never came to be
        let (give, take) = channel();
        let started = std::thread::Builder::new()
            .name("evidence".to_owned())
            .spawn(move || Some(write(take.recv().ok()?, &inbox, &outbox)));
        let Ok(thread) = started else { return Err(files) };
        let journal = files.journal_path().to_path_buf();
        give.send(files).map_err(|unsent| unsent.0)?;
        Ok(Self {
            tape: Tape::default(),
            there,
            back,
            thread,
            journal,
        })
    }

    pub(super) fn on_event(&mut self, event: &Event) {
        self.tape.record(event);
        if self.tape.is_full() {
            let next = self.back.try_recv().unwrap_or_default();
            // a thread that is gone is told of at the end
            drop(self.there.send(core::mem::replace(&mut self.tape, next)));
        }
    }

    /// Waits until all events are taken, and gives the files back.
    ///
    /// # Errors
    /// When the thread ended before, and with it the files.
    pub(super) fn end(self) -> Result<Box<Files>, EvidenceError> {
        drop(self.there.send(self.tape));
        drop(self.there);
        match self.thread.join() {
            Ok(Some(files)) => Ok(files),
            Ok(None) | Err(_) => Err(EvidenceError {
                path: self.journal,
                source: io::Error::other(
                    "the thread that writes the evidence ended early, which is a defect of the harness",
                ),
            }),
        }
    }
}

/// Writes until nobody sends any more.
fn write(mut files: Box<Files>, inbox: &Receiver<Tape>, outbox: &Sender<Tape>) -> Box<Files> {
    while let Ok(mut tape) = inbox.recv() {
        tape.play(|event| files.on_event(event));
        // at the end nobody takes it
        drop(outbox.send(tape));
    }
    files
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::path::Path;

    use fotaproof_trace::{Datagram, EventKind, Point, Toward};

    use super::super::Wanted;
    use super::*;

    const WANTED: Wanted = Wanted {
        capture: true,
        at_once: false,
    };

    fn event(no: u64) -> Event {
        Event {
            no,
            at: Duration::from_millis(no),
            kind: EventKind::Datagram(Datagram {
                point: Point::Iut,
                toward: Toward::Peer,
                datagram: no,
                src: ([192, 0, 2, 1], 5683).into(),
                dst: ([192, 0, 2, 2], 5683).into(),
                payload: no.to_be_bytes().to_vec().into(),
                packets: 1,
                largest: 36,
                altered: false,
                planned: false,
            }),
        }
    }

    #[test]
    fn the_journal_is_the_same_whoever_writes() {
        let folder = tempfile::tempdir().unwrap();
        let files = |id| Box::new(Files::create(folder.path(), id, "", WANTED).unwrap());
        let (mut here, mut there) = (files("here"), files("there"));
        (0..5000).for_each(|no| {
            here.on_event(&event(no));
            there.on_event(&event(no));
        });
        let Ok(mut aside) = Aside::start(there) else {
            println!("skipped: one core");
            return;
        };
        (5000..20_000).for_each(|no| {
            here.on_event(&event(no));
            aside.on_event(&event(no));
        });
        here.finish().unwrap();
        aside.end().unwrap().finish().unwrap();
        let read = |name: &str| std::fs::read(folder.path().join(format!("{name}.journal.jsonl"))).unwrap();
        assert!(read("here") == read("there") && !read("here").is_empty());
    }

    #[test]
    fn a_full_disk_is_told_at_the_end_and_stops_nobody() {
        if !Path::new("/dev/full").exists() {
            println!("skipped: this system has no /dev/full");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/full", folder.path().join("full.journal.jsonl")).unwrap();
        let files = Box::new(Files::create(folder.path(), "full", "", WANTED).unwrap());
        let Ok(mut aside) = Aside::start(files) else {
            println!("skipped: one core");
            return;
        };
        (0..20_000).for_each(|no| aside.on_event(&event(no)));
        let error = aside.end().unwrap().finish().unwrap_err();
        assert!(error.path.ends_with("full.journal.jsonl"));
        assert_eq!(error.source.kind(), io::ErrorKind::StorageFull);
    }
}
