//! LwM2M objects, the reference device and the reference server.

pub mod registration;
pub mod repository;
pub mod server;
