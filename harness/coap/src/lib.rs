//! A CoAP endpoint as a state machine (RFC 7252, RFC 7959, RFC 7641).
//!
//! Nothing here owns a socket or reads a clock. An [`Endpoint`] is fed with datagrams and time-outs and is asked for datagrams
//! to send, for events and for its next deadline; `now` is the time since the start of the session. It does the message
//! layer: CON, NON, ACK and RST, retransmission, deduplication, tokens, separate responses, pings, NSTART and observe.
//!
//! Block-wise transfer is made of the pure machines in [`blockwise`], which the owner composes over the endpoint: they hold
//! offsets, never bytes.
//!
//! Misbehaviour for planted defects is a parameter: [`Quirks`] of the message layer and quirks of each block-wise machine.

pub mod blockwise;
mod config;
mod endpoint;
mod event;
pub mod observe;
mod quirks;
mod token;

pub use config::{Config, is_known_critical};
pub use endpoint::Endpoint;
pub use event::{
    Ended, Event, ExchangeId, Failure, NotificationPolicy, Observer, Request, RequestId, ResponseMode, Transmit,
};
pub use quirks::{BareMarker, DuplicateFilter, Duplicates, Quirks};
pub use token::Token;
