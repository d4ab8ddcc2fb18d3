//! Renderers over one result model, one a file.
//!
//! Every renderer is a function over [`model::RunResults`] and gives text or bytes; what is
//! written to disk goes through [`write_atomically`], so that a report is whole or absent.
//! Nothing that an IUT said reaches a terminal, a page or a file of XML as it came: see
//! [`text`].

pub mod github;
pub mod html;
pub mod json;
pub mod junit;
pub mod matrix;
pub mod model;
pub mod progress;
pub mod tap;
pub mod terminal;
pub mod text;
mod view;
mod write;

pub use write::{WriteError, write_atomically};
