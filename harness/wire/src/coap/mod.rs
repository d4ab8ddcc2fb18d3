//! CoAP messages: RFC 7252 with block-wise transfer (RFC 7959), observe (RFC 7641) and CoAP over TCP (RFC 8323).
//!
//! Three ways to hold a message, each for its own use:
//! - [`MessageView`]: a strict view on received bytes that knows the offset of everything; no allocation.
//! - `coap_lite::Packet`: the model of a well-formed message; [`build`] fills it, [`encode`] writes it.
//! - [`RawMessage`]: writes whatever it is told, including messages that break the rules.

pub mod block;
pub mod build;
mod code;
pub mod content_format;
mod encode;
mod lint;
pub mod option;
mod raw;
mod summary;
pub mod tcp;
pub mod uint;
mod view;

pub use block::{BlockError, BlockValue, Szx};
pub use code::{Code, ParseCodeError, Type};
pub use encode::{EncodeError, encode};
pub use lint::{Lint, LintRule, lint};
pub use raw::{RawMessage, RawOption};
pub use summary::{summary, summary_of};
pub use view::{FormatError, FormatRule, Layout, MessageView, OptionIter, OptionView, peek_header};
