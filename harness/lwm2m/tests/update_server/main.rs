//! The embedded server of updates with the reference device, in virtual time.

mod defects;
mod rig;
mod secure;
mod stories;
