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
    let line = line.get(..400).unwrap_or(line);
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
    if !json.is_object() {
        return Err(not("it is no JSON object".to_owned()));
    }
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
                lines.push(Err(LineError::TooLong {
                    begin: begin(&self.held),
                }));
                self.held = Vec::new();
                self.skipping = true;
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_a_reason(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            match parse(&line) {
                Ok(message) => {
                    let again = to_line(&message);
                    prop_assert_eq!(parse(again.trim_end().as_bytes()), Ok(message));
                }
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }

        /// Where the pieces are cut makes no difference to the lines.
        #[test]
        fn lines_do_not_depend_on_how_the_bytes_come(
            lines in proptest::collection::vec("[ a-z{}]{0,12}", 0..8),
            cut in 1_usize..20,
        ) {
            let bytes: Vec<u8> = lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect();
            let mut reader = Lines::default();
            let read: Vec<Vec<u8>> = bytes.chunks(cut).flat_map(|chunk| reader.take(chunk)).map(Result::unwrap).collect();
            let meant: Vec<Vec<u8>> = lines
                .iter()
                .filter(|line| !line.trim().is_empty())
                .map(|line| line.clone().into_bytes())
                .collect();
            prop_assert_eq!(read, meant);
        }
    }

    #[test]
    fn a_line_of_the_limit_is_read_and_one_byte_more_is_not() {
        let mut lines = Lines::default();
        let mut longest = vec![b'x'; LINE_LIMIT];
        longest.push(b'\n');
        assert!(matches!(&lines.take(&longest)[..], [Ok(line)] if line.len() == LINE_LIMIT));
        longest.insert(0, b'x');
        assert!(matches!(&lines.take(&longest)[..], [Err(LineError::TooLong { .. })]));
        assert_eq!(lines.take(b"next\n"), [Ok(b"next".to_vec())]);
    }

    #[test]
    fn a_line_without_end_is_reported_once_and_not_kept() {
        let mut lines = Lines::default();
        let chunk = vec![b'x'; 64 * 1024];
        let mut errors = 0;
        for _ in 0..2_000 {
            errors += lines.take(&chunk).len();
            assert!(lines.held.len() <= LINE_LIMIT + chunk.len());
        }
        assert_eq!(errors, 1);
        assert_eq!(lines.take(b"still the same line\nnext\n"), [Ok(b"next".to_vec())]);
    }

    #[test]
    fn json_that_nests_without_end_is_refused() {
        let deep = "[".repeat(100_000);
        assert!(matches!(parse(deep.as_bytes()), Err(LineError::NotAMessage { .. })));
    }

    #[test]
    fn a_carriage_return_before_the_end_does_no_harm() {
        let mut lines = Lines::default();
        let read = lines.take(b"{\"id\":1,\"ok\":{}}\r\n");
        assert!(parse(read[0].as_ref().unwrap()).is_ok());
    }
}
