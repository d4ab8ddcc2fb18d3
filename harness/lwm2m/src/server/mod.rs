//! The reference server: registrations, device management and the push of a package.
//!
//! A [`Server`] takes datagrams and time-outs and gives datagrams, events and its next deadline, like everything in this crate. Its caller, a
//! session, says step by step what it does: each call such as [`Server::read`] or [`Server::push`] gives an [`OpId`] at once, and what came of it
//! follows as [`ServerEvent`]s with that id. Nothing is judged here.
//!
//! Left alone the server behaves as the specifications ask. What a case needs beyond that is a parameter: a [`Policy`] for each interface that
//! devices call, the fields of [`RequestSpec`] and [`PushSpec`], datagrams of any bytes, the same datagram again.
//!
//! Devices are known by their endpoint name, never by their address; requests go to where the name was last seen.

mod authority;
mod event;
mod interfaces;
mod ops;
mod push;
mod reference;
mod responses;
mod types;

pub use event::{OpFailure, PushOutcome, ServerEvent};
pub use reference::Server;
pub use types::{
    Answer, BlockStep, Cancel, Interface, Method, OnIncomplete, OpId, Policy, PushSpec, PushToken, RequestSpec,
    ServerConfig, TokenChoice,
};
