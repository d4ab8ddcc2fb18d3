//! The real side of the runner from outside: sockets, processes and clocks.

#![expect(clippy::disallowed_methods, reason = "the tests look at the real world")]

mod board;
mod common;
mod iut;
mod late;
mod peers;
