//! Every renderer over one run that has everything in it, and over hostile strings.

mod fixture;
mod hostile;
mod rendered;
mod schema;
