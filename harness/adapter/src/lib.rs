//! The adapter protocol 1.0: what harness and adapter say to each other, as data.
//!
//! JSON Lines over the adapter's standard input and output. The harness writes [`Request`]s, the adapter writes [`Message`]s: first
//! the event `hello`, then replies and events in any order. `docs/ADAPTERS.md` is the reference for people, the JSON Schemas
//! under `testcases/schema` are the one for machines.
//!
//! Sans-IO: lines in, data out.

mod line;
mod message;
mod request;
mod schema;

pub use line::{LINE_LIMIT, LineError, Lines, parse, to_line};
pub use message::{
    Addresses, Answer, ErrorKind, Event, Hello, Message, Progress, Registration, Reply, ReplyError, Response,
    UpdateStatus,
};
pub use request::{
    Conditions, Credential, DeviceAction, Listen, Method, Operation, Package, Request, Security, Timings, Value,
};

pub use schema::schemas;

/// The version of the protocol. Adapters of another first number are refused; a higher second number may have more operations,
/// events and fields.
pub const PROTOCOL: &str = "1.0";
