//! What can be wrong with an adapter. All of it is the adapter's fault or its environment's, never the implementation's behind it,
//! except [`AdapterError::Refused`], which is an orderly answer.

use core::time::Duration;

use fotaproof_adapter::{ErrorKind, PROTOCOL, ReplyError};

/// Why an adapter did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdapterError {
    /// It could not be started.
    #[error("the adapter cannot be started: {0}")]
    NotStarted(String),
    /// No hello came in time.
    #[error("the adapter said no hello within {within:?}{said}")]
    NoHello {
        /// How long was waited.
        within: Duration,
        /// The end of its standard error, in words.
        said: String,
    },
    /// Its first line is something else.
    #[error("the first line of the adapter is no hello: {0}")]
    NotHello(String),
    /// It speaks another version of the protocol.
    #[error("the adapter speaks version `{0}` of the protocol, and this harness version `{PROTOCOL}`")]
    Version(String),
    /// It ended.
    #[error("the adapter ended: {status}{said}")]
    Died {
        /// How, in words.
        status: String,
        /// The end of its standard error, in words.
        said: String,
    },
    /// It wrote what the protocol does not know.
    #[error("the adapter breaks the protocol: {0}")]
    Broken(String),
    /// It did not answer in time.
    #[error("the adapter did not answer `{operation}` within {within:?}")]
    Silent {
        /// The operation.
        operation: String,
        /// How long was waited.
        within: Duration,
    },
    /// It refused in order.
    #[error("the adapter refused `{operation}` ({}): {}", kind_word(.error), .error.message)]
    Refused {
        /// The operation.
        operation: String,
        /// Why.
        error: ReplyError,
    },
    /// Its reply lacks what the operation promises.
    #[error("the adapter's reply to `{operation}` lacks {lacks}")]
    Incomplete {
        /// The operation.
        operation: String,
        /// The field.
        lacks: String,
    },
}

impl AdapterError {
    /// In words, of one that turned out to be gone when a case began.
    #[must_use]
    pub fn before_the_case(&self) -> String {
        format!("before this case began, {self}; it was started again")
    }

    /// Whether it cannot do this at all.
    #[must_use]
    pub const fn is_unsupported(&self) -> bool {
        matches!(self, Self::Refused { error, .. } if matches!(error.kind, ErrorKind::Unsupported))
    }

    /// Whether it was an orderly answer: the adapter works, and what it stands for did not do what was asked.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

/// The word of an error's kind on the wire.
#[must_use]
pub fn kind_word(error: &ReplyError) -> String {
    serde_json::to_value(error.kind)
        .ok()
        .and_then(|word| word.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// The last lines of standard error, for a message; nothing when there are none.
pub(super) fn said<'a>(lines: impl IntoIterator<Item = &'a String>) -> String {
    let lines: Vec<&str> = lines.into_iter().map(String::as_str).collect();
    if lines.is_empty() {
        String::new()
    } else {
        format!("; its last words: {}", lines.join(" | "))
    }
}
