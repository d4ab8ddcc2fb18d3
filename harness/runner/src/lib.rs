//! Sessions, the virtual and the real driver, IUT processes, verdicts, scheduling.

pub mod audit;
pub mod embedded;
pub mod embedded_server;
pub mod evidence;
pub mod expected;
pub mod iut;
pub mod matrix;
pub mod packages;
pub mod prepare;
pub mod real;
pub mod run;
mod schedule;
pub mod session;
pub mod shrink;
pub mod sweep;
pub mod virtual_driver;
pub mod virtual_iut;
mod watched;
