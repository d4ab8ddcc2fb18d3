//! The reference server and the repository against a scripted device.

mod interfaces;
mod push;
mod repository;
mod with_device;
mod world;
