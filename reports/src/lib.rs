//! Renderers over one result model, one a file.

pub mod model;
