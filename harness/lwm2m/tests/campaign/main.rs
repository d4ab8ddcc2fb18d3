//! The campaign as a machine: what a correct server does next, told by what it is told.

mod conditions;
mod failures;
mod link;
mod properties;
mod talk;
mod updates;
mod ways;
