//! The case language: loading, validation, JSON Schema, selection, claims.
//!
//! A case is YAML, one a file. Every value keeps its place in the file, so that a mistake is
//! shown where it stands. This crate knows nothing of networks or sockets: it turns text into
//! plain data ([`ast`]) and says what is wrong with it.
//!
//! The way of a file: [`node`] reads YAML into a tree with places, [`library`] merges what it
//! includes, [`expand`] makes the variants and unrolls the loops, [`de`] turns each into
//! [`ast::Case`], and [`validate`] looks for what types cannot say. Whatever is wrong on the way
//! becomes a [`Problem`] with a caret.

pub mod ast;
pub mod claims;
pub mod clauses;
pub mod de;
pub mod devices;
pub mod expand;
pub mod expects;
pub mod explain;
pub mod files;
pub mod library;
pub mod manifest;
mod more;
pub mod node;
pub mod problem;
pub mod schema;
mod security;
pub mod select;
pub mod steps;
pub mod validate;
pub mod words;

pub use claims::{ClaimExpr, Claims};
pub use clauses::{Clause, ClauseCatalogue, Level};
pub use expand::{Parameters, default_parameters};
pub use explain::{Explanation, explain};
pub use files::{FileKind, check_file, load_expected_failures, load_manifest, load_network};
pub use library::{CaseSource, Library, LoadedCase, load_case, load_case_file};
pub use problem::{LoadError, Problem, Style, render_all};
pub use select::{SelectError, Subject, select};
pub use validate::{Known, validate};
