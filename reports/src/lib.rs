//! Renderers over one result model.
