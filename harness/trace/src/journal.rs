//! The journal: one event a line, JSON, handed to the operating system when the event happens.
//!
//! A line is complete before it is written, and a batch of events is one `write(2)`, so a harness that is killed
//! leaves every event that happened; at worst the last line is cut, and the reader tolerates exactly that.

use crate::event::Event;
use std::io::BufRead;

/// Version of the journal format, in the first line of every journal.
pub const JOURNAL_FORMAT: u32 = 1;

/// Appends one event as a line of JSON.
pub fn write_line(event: &Event, out: &mut Vec<u8>) {
    let start = out.len();
    // Writing to memory fails only for a map whose keys are no strings, which no event holds.
    if serde_json::to_writer(&mut *out, event).is_err() {
        out.truncate(start);
        return;
    }
    out.push(b'\n');
}

/// Why a journal cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A line that is no event.
    #[error("line {line}: {source}")]
    Line {
        /// Line number, from 1.
        line: u64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A line that is no UTF-8 text or could not be read.
    #[error("line {line}: cannot read: {source}")]
    Read {
        /// Line number, from 1.
        line: u64,
        /// What the reader said.
        source: std::io::Error,
    },
}

/// Reads a journal event by event.
#[derive(Debug)]
pub struct JournalReader<R> {
    input: R,
    buffer: Vec<u8>,
    line: u64,
    cut: bool,
}

impl<R: BufRead> JournalReader<R> {
    /// A reader at the first line.
    pub const fn new(input: R) -> Self {
        Self {
            input,
            buffer: Vec::new(),
            line: 0,
            cut: false,
        }
    }

    /// Number of the line read last, from 1.
    pub const fn line(&self) -> u64 {
        self.line
    }

    /// The last line was cut off and left out: the writer was killed.
    pub const fn was_cut(&self) -> bool {
        self.cut
    }
}

impl<R: BufRead> Iterator for JournalReader<R> {
    type Item = Result<Event, JournalError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.buffer.clear();
            match self.input.read_until(b'\n', &mut self.buffer) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(source) => {
                    return Some(Err(JournalError::Read {
                        line: self.line + 1,
                        source,
                    }));
                }
            }
            self.line += 1;
            let whole = self.buffer.last() == Some(&b'\n');
            let text = self.buffer.trim_ascii();
            if text.is_empty() {
                continue;
            }
            return match serde_json::from_slice(text) {
                Ok(event) => Some(Ok(event)),
                Err(_) if !whole => {
                    self.cut = true;
                    None
                }
                Err(source) => Some(Err(JournalError::Line {
                    line: self.line,
                    source,
                })),
            };
        }
    }
}

#[cfg(test)]
mod tests;
