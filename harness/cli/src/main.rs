//! The `fotaproof` command.
fn main() {}
