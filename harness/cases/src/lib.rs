//! The case language: loading, validation, JSON Schema, selection, claims.
//!
//! A case is YAML, one a file. Every value keeps its place in the file, so that a mistake is
//! shown where it stands. This crate knows nothing of networks or sockets: it turns text into
//! plain data ([`ast`]) and says what is wrong with it.

pub mod ast;
pub mod manifest;
