//! The embedded server of updates: many devices, one [`Campaign`](crate::campaign::Campaign) each, and a repository of its own.
//!
//! It is the server role's counterpart of the [`Device`](crate::Device): a correct server in a box that takes datagrams and time and can be made to
//! do wrong by name. It speaks the adapter protocol in process, so that whoever drives a real server through an adapter drives this one alike.

mod config;
mod device;
mod events;
mod host;
mod requests;
mod secure;
mod tasks;

pub use config::UpdateServerConfig;
pub use host::UpdateServer;
