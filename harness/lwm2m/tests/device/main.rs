//! The reference device against a scripted server and file server, in virtual time: what a correct one does, and that each defect shows.

mod defects;
mod objects;
mod pull;
mod push;
mod registration;
mod restart;
mod rig;
mod scenarios;
mod states;
mod tester;
