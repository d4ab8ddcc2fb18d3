//! DTLS 1.2 with pre-shared keys as a state machine (RFC 6347, RFC 5246, RFC 4279).
//!
//! Nothing here owns a socket or reads a clock. A [`Client`] is one association; a [`Server`] is all associations of one
//! listening address. Both are fed with datagrams and time-outs and are asked for [`Output`] and for their next deadline; `now`
//! is the time since the start of the session, and everything random comes from a seed: the same seed and the same datagrams
//! give the same bytes.
//!
//! The suites are those that LwM2M names for pre-shared keys (LwM2M Transport section 5.2.8.1): [`Suite`]. Beside them: cookies,
//! retransmission of flights, fragments, the replay window, the extended master secret (RFC 7627), encrypt-then-MAC (RFC 7366)
//! and connection ids (RFC 9146), with which a client may change its address. There is neither resumption nor renegotiation.
//!
//! [`protection`], [`record`], [`handshake`] and [`hello`] are also what reading the captures of others needs.

mod client;
mod config;
mod describe;
pub mod handshake;
pub mod hello;
mod link;
mod output;
pub mod protection;
pub mod record;
pub mod replay;
mod server;

pub use client::Client;
pub use config::{ClientConfig, Psk, ServerConfig, Suite, Timings, UnknownIdentities};
pub use describe::describe;
pub use output::{Alert, ConnectionIds, Established, Failure, Output, ServerOutput};
pub use server::Server;
