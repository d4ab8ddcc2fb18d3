//! The embedded server of updates with the reference device, in virtual time.

#[macro_use]
mod told;

mod defects;
mod operator;
mod rig;
mod secure;
mod stories;
