//! The thread that writes for a long case.
//!
//! What it gets is bytes, not events: a few large buffers change hands and come back, while events would leave the cache of
//! one core for that of the other and return to be freed. Each file has its order. Only some buffers wait: a disk that is slower
//! than the session slows the session down, as it does without the thread, and a harness that is killed has lost little.

use core::sync::atomic::{AtomicBool, Ordering};
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

/// Buffers that wait for the thread at the most.
const WAITING: usize = 8;

/// Bytes that go to the thread at once: to wake it costs more than to write some pages.
const BATCH: usize = 256 << 10;

/// Bytes for one of the files.
struct Chunk {
    file: usize,
    bytes: Vec<u8>,
}

/// The first error, and in which file.
type Written = Result<(), (usize, io::Error)>;

/// A file behind a buffer; who writes it can change.
#[derive(Debug)]
pub(super) struct Sink {
    buffer: Vec<u8>,
    /// It is written when there are so many bytes.
    full: usize,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Here(File),
    Aside {
        file: usize,
        there: SyncSender<Chunk>,
        back: Receiver<Vec<u8>>,
    },
    /// Between the two.
    Nowhere,
}

impl Sink {
    /// A file that is written when so many bytes wait.
    pub(super) fn new(file: File, full: usize) -> Self {
        Self {
            // the last line goes beyond
            buffer: Vec::with_capacity(full + 4096),
            full,
            way: Way::Here(file),
        }
    }

    /// To append to; then comes [`flush_if_full`](Self::flush_if_full).
    pub(super) const fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    pub(super) fn flush_if_full(&mut self) -> io::Result<()> {
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
        if self.buffer.is_empty() {
            return Ok(());
        }
        match &mut self.way {
            Way::Here(file) => {
                let written = file.write_all(&self.buffer);
                self.buffer.clear();
                written
            }
            Way::Aside { file, there, back } => {
                let next = back.try_recv().unwrap_or_else(|_| Vec::with_capacity(self.full + 4096));
                let bytes = core::mem::replace(&mut self.buffer, next);
                there.send(Chunk { file: *file, bytes }).map_err(|_| gone())
            }
            Way::Nowhere => Err(gone()),
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that writes the evidence ended early, which is a defect of the harness")
}

/// The thread.
#[derive(Debug)]
pub(super) struct Aside {
    failed: Arc<AtomicBool>,
    thread: JoinHandle<Written>,
}

impl Aside {
    /// Gives files to a thread, which ends when all sinks are dropped. `None`, and all as before, where there is no second core
    /// or the system refuses a thread.
    pub(super) fn start(sinks: Vec<&mut Sink>) -> Option<Self> {
        if std::thread::available_parallelism().map_or(1, core::num::NonZero::get) < 2 {
            return None;
        }
        let failed = Arc::new(AtomicBool::new(false));
        let (there, inbox) = sync_channel(WAITING);
        // the files follow the thread, so that they are not lost with one that never came to be
        let (give, take) = channel();
        let told = Arc::clone(&failed);
        let thread = std::thread::Builder::new()
            .name("evidence".to_owned())
            .spawn(move || {
                let written = take.recv().map_or(Ok(()), |files| write(files, &inbox));
                told.store(written.is_err(), Ordering::Relaxed);
                // whoever sends must not wait for ever
                drop(inbox);
                written
            })
            .ok()?;
        let mut files = Vec::new();
        for (number, sink) in sinks.into_iter().enumerate() {
            let (outbox, back) = channel();
            match core::mem::replace(&mut sink.way, Way::Nowhere) {
                Way::Here(file) => {
                    files.push((file, outbox));
                    sink.full = BATCH;
                    sink.way = Way::Aside {
                        file: number,
                        there: there.clone(),
                        back,
                    };
                }
                way => sink.way = way,
            }
        }
        // it is there: nothing but this ends it
        drop(give.send(files));
        Some(Self { failed, thread })
    }

    /// Whether something could not be written: what comes after is in vain.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Waits until all is written; the sinks are gone by then.
    pub(super) fn end(self) -> Written {
        self.thread.join().unwrap_or_else(|_| Err((0, gone())))
    }
}

/// Writes until nobody sends any more, or until a file takes no more.
fn write(mut files: Vec<(File, Sender<Vec<u8>>)>, inbox: &Receiver<Chunk>) -> Written {
    while let Ok(Chunk {
        file: number,
        mut bytes,
    }) = inbox.recv()
    {
        let Some((file, outbox)) = files.get_mut(number) else {
            continue;
        };
        file.write_all(&bytes).map_err(|error| (number, error))?;
        bytes.clear();
        // at the end nobody takes it
        drop(outbox.send(bytes));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_keep_their_order_whoever_writes() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["journal", "capture"].map(|name| folder.path().join(name));
        let mut sinks = paths.each_ref().map(|path| Sink::new(File::create(path).unwrap(), 64));
        let mut expected = [Vec::new(), Vec::new()];
        let mut aside = None;
        for number in 0..10_000_u32 {
            for (sink, expected) in sinks.iter_mut().zip(&mut expected) {
                let line = format!("{number}\n");
                sink.write_all(line.as_bytes()).unwrap();
                expected.extend_from_slice(line.as_bytes());
            }
            if number == 5000 {
                aside = Aside::start(sinks.iter_mut().collect());
            }
        }
        for sink in &mut sinks {
            sink.flush().unwrap();
        }
        drop(sinks);
        if let Some(aside) = aside {
            aside.end().unwrap();
        }
        for (path, expected) in paths.iter().zip(expected) {
            assert!(std::fs::read(path).unwrap() == expected, "{}", path.display());
        }
    }

    #[test]
    fn a_full_disk_is_told_at_the_end_and_stops_nobody() {
        let Ok(full) = File::options().write(true).open("/dev/full") else {
            println!("skipped: this system has no /dev/full");
            return;
        };
        let mut sink = Sink::new(full, 64);
        let Some(aside) = Aside::start(vec![&mut sink]) else {
            println!("skipped: one core");
            return;
        };
        // the thread is gone at some point, and then sending says so
        while sink.write_all(&[b'x'; 64]).is_ok() {}
        drop(sink);
        let (file, error) = aside.end().unwrap_err();
        assert_eq!((file, error.kind()), (0, io::ErrorKind::StorageFull));
    }
}
