//! The journal: one event a line, JSON, handed to the operating system when the event happens.
//!
//! A line is complete before it is written, and a batch of events is one `write(2)`, so a harness that is killed
//! leaves every event that happened; at worst the last line is cut, and the reader tolerates exactly that.

use crate::event::{Datagram, Event, EventKind, Point, Toward};
use crate::serial::hex;
use std::io::{BufRead, Write};
use std::net::SocketAddr;

/// Version of the journal format, in the first line of every journal.
pub const JOURNAL_FORMAT: u32 = 1;

/// Appends one event as a line of JSON.
pub fn write_line(event: &Event, out: &mut Vec<u8>) {
    let start = out.len();
    if let EventKind::Datagram(datagram) = &event.kind {
        write_datagram(event, datagram, out);
        return;
    }
    // Writing to memory fails only for a map whose keys are no strings, which no event holds.
    if serde_json::to_writer(&mut *out, event).is_err() {
        out.truncate(start);
        return;
    }
    out.push(b'\n');
}

/// The same for a datagram: nearly all lines are such, and each of their parts is known to need no escape.
fn write_datagram(event: &Event, datagram: &Datagram, out: &mut Vec<u8>) {
    let at = u64::try_from(event.at.as_nanos()).unwrap_or(u64::MAX);
    out.extend(b"{\"no\":");
    put_number(out, event.no);
    out.extend(b",\"at_ns\":");
    put_number(out, at);
    out.extend(match datagram.point {
        Point::Iut => &b",\"event\":\"datagram\",\"point\":\"iut\""[..],
        Point::Peer => b",\"event\":\"datagram\",\"point\":\"peer\"",
        Point::Aside => b",\"event\":\"datagram\",\"point\":\"aside\"",
    });
    out.extend(match datagram.toward {
        Toward::Iut => &b",\"toward\":\"iut\",\"datagram\":"[..],
        Toward::Peer => b",\"toward\":\"peer\",\"datagram\":",
    });
    put_number(out, datagram.datagram);
    out.extend(b",\"src\":\"");
    put_address(out, datagram.src);
    out.extend(b"\",\"dst\":\"");
    put_address(out, datagram.dst);
    out.extend(b"\",\"payload\":\"");
    hex::append(&datagram.payload, out);
    out.extend(b"\",\"packets\":");
    put_number(out, datagram.packets.into());
    out.extend(b",\"largest\":");
    put_number(out, datagram.largest.into());
    if datagram.altered {
        out.extend(b",\"altered\":true");
    }
    if datagram.planned {
        out.extend(b",\"planned\":true");
    }
    out.extend(b"}\n");
}

fn put_number(out: &mut Vec<u8>, mut number: u64) {
    // 2^64 has 20 digits.
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

fn put_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address {
        SocketAddr::V4(address) => {
            for (index, octet) in address.ip().octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                put_number(out, octet.into());
            }
            out.push(b':');
            put_number(out, address.port().into());
        }
        // Writing to memory does not fail.
        SocketAddr::V6(address) => drop(write!(out, "{address}")),
    }
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
