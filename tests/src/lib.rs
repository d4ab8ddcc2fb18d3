//! The whole program from outside: what the tests, benches and examples of this crate share.
//!
//! - [`play`]: cases on the embedded device, with or without their journal;
//! - [`campaign`]: the library over lossy networks, looking for false verdicts;
//! - [`images`]: cases that push images of any size;
//! - [`program`]: the `fotaproof` program as a process;
//! - [`memory`]: the peak memory of this process.

pub mod campaign;
pub mod fuzz;
pub mod images;
pub mod memory;
pub mod play;
pub mod program;
