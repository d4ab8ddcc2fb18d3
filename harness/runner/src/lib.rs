//! Sessions, the virtual and the real driver, IUT processes, verdicts, scheduling.

pub mod session;
