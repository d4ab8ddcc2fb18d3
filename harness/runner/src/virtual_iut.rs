//! An IUT in virtual time: the embedded device or the embedded server, as the role of the case wants it.

use core::time::Duration;
use std::net::SocketAddr;

use bytes::Bytes;
use fotaproof_adapter as adapter;

use crate::embedded::{EmbeddedIut, EmbeddedOutput};
use crate::embedded_server::{EmbeddedServer, ServerOutput};
use crate::session::{AdapterInput, Input, IutCommand, IutReport};

/// An IUT of the same process and the same clock.
#[derive(Debug)]
pub enum VirtualIut {
    /// The embedded device.
    Device(Box<EmbeddedIut>),
    /// The embedded server.
    Server(Box<EmbeddedServer>),
}

impl VirtualIut {
    /// Gives it a datagram.
    pub fn datagram(&mut self, now: Duration, from: SocketAddr, to: SocketAddr, bytes: Bytes) {
        match self {
            Self::Device(device) => device.datagram(now, from, to, bytes),
            Self::Server(server) if to == server.address() => server.datagram(now, from, &bytes),
            Self::Server(server) if server.secure_address() == Some(to) => server.secure_datagram(now, from, &bytes),
            Self::Server(_) => {}
        }
    }

    /// Does something to it from outside.
    pub fn command(&mut self, now: Duration, command: IutCommand) -> Option<IutReport> {
        match self {
            Self::Device(device) => device.command(now, command),
            Self::Server(server) if command == IutCommand::PowerCut => {
                server.power_cut();
                Some(IutReport::PowerCut)
            }
            Self::Server(_) => None,
        }
    }

    /// Asks the adapter of a server for something.
    pub fn request(&mut self, now: Duration, request: adapter::Request) {
        if let Self::Server(server) = self {
            server.request(now, request);
        }
    }

    /// SHA-256 of the image that a device holds, in hexadecimal.
    #[must_use]
    pub fn image_digest(&self) -> Option<String> {
        match self {
            Self::Device(device) => device.image_digest(),
            Self::Server(_) => None,
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Duration) {
        match self {
            Self::Device(device) => device.handle_timeout(now),
            Self::Server(server) => server.handle_timeout(now),
        }
    }

    /// When something is due.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Duration> {
        match self {
            Self::Device(device) => device.poll_deadline(),
            Self::Server(server) => server.poll_deadline(),
        }
    }

    /// The next input for the session.
    pub fn poll_input(&mut self) -> Option<Input> {
        Some(match self {
            Self::Device(device) => match device.poll_output()? {
                EmbeddedOutput::Transmit { from, to, bytes } => Input::Datagram { from, to, bytes },
                EmbeddedOutput::Report(report) => Input::Iut(report),
            },
            Self::Server(server) => match server.poll_output()? {
                ServerOutput::Transmit { from, to, bytes } => Input::Datagram { from, to, bytes },
                ServerOutput::Message(message) => Input::Adapter(AdapterInput::Message(message)),
            },
        })
    }
}
