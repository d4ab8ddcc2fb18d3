//! Lines to data and back.

use serde::Serialize;

use crate::{Message, Reply};

/// The longest line that is read, in bytes. What is longer is cut off and reported.
pub const LINE_LIMIT: usize = 1 << 20;

/// Why a line is no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Longer than [`LINE_LIMIT`].
    #[error("the line is longer than {LINE_LIMIT} bytes; it begins with {begin:?}")]
    TooLong {
        /// How it begins.
        begin: String,
    },
    /// No JSON, or JSON that is no message.
    #[error("the line is no message of the protocol: {reason}; it begins with {begin:?}")]
    NotAMessage {
        /// Why.
        reason: String,
        /// How it begins.
        begin: String,
    },
}

/// The beginning of a line, for messages.
fn begin(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().take(80).collect()
}

/// Reads one line.
///
/// # Errors
/// When it is no message of the protocol.
pub fn parse(line: &[u8]) -> Result<Message, LineError> {
    let not = |reason: String| LineError::NotAMessage {
        reason,
        begin: begin(line),
    };
    let json: serde_json::Value = serde_json::from_slice(line).map_err(|error| not(error.to_string()))?;
    if json.get("event").is_some() {
        return serde_json::from_value(json)
            .map(Message::Event)
            .map_err(|error| not(error.to_string()));
    }
    let reply: Reply = serde_json::from_value(json).map_err(|error| not(error.to_string()))?;
    if reply.ok.is_some() == reply.error.is_some() {
        return Err(not("a reply has exactly one of `ok` and `error`".to_owned()));
    }
    Ok(Message::Reply(reply))
}

/// One line, with its end.
///
/// # Panics
/// Never: the types of the protocol can all be written as JSON.
#[must_use]
pub fn to_line<T: Serialize>(message: &T) -> String {
    let mut line = serde_json::to_string(message).unwrap_or_default();
    line.push('\n');
    line
}

/// Bytes in, lines out, bounded.
#[derive(Debug, Default)]
pub struct Lines {
    held: Vec<u8>,
    /// The rest of a line that was too long is being skipped.
    skipping: bool,
}

impl Lines {
    /// Takes bytes and gives the lines that they end; empty lines are left out.
    pub fn take(&mut self, mut bytes: &[u8]) -> Vec<Result<Vec<u8>, LineError>> {
        let mut lines = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (part, rest) = bytes.split_at(end);
            bytes = &rest[1..];
            if core::mem::take(&mut self.skipping) {
                continue;
            }
            self.held.extend_from_slice(part);
            let line = core::mem::take(&mut self.held);
            if line.len() > LINE_LIMIT {
                lines.push(Err(LineError::TooLong { begin: begin(&line) }));
            } else if !line.iter().all(u8::is_ascii_whitespace) {
                lines.push(Ok(line));
            }
        }
        if !self.skipping {
            self.held.extend_from_slice(bytes);
            if self.held.len() > LINE_LIMIT {
                lines.push(Err(LineError::TooLong { begin: begin(&self.held) }));
                self.held = Vec::new();
                self.skipping = true;
            }
        }
        lines
    }
}
