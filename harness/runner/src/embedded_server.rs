//! The embedded server of updates as an IUT: the same process, the same clock as the session, the adapter protocol without a pipe.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use fotaproof_adapter as adapter;
use fotaproof_lwm2m::update_server::{UpdateServer, UpdateServerConfig};

use crate::session::PackageImage;
use crate::watched::{Timed, Watched};

/// The embedded server with its address.
#[derive(Debug)]
pub struct EmbeddedServer {
    /// Asked far more often than something happens to it.
    server: Watched<UpdateServer>,
    address: SocketAddr,
    secure: Option<SocketAddr>,
    /// Packages by the names under which the session speaks of them.
    files: BTreeMap<String, Bytes>,
}

/// What the server gives its driver.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for one turn of the loop, and a message is rare beside datagrams"
)]
pub enum ServerOutput {
    /// A datagram.
    Transmit {
        /// From this address of the server.
        from: SocketAddr,
        /// To this address.
        to: SocketAddr,
        /// The datagram.
        bytes: Bytes,
    },
    /// A message of the adapter protocol.
    Message(adapter::Message),
}

impl Timed for UpdateServer {
    fn poll_deadline(&self) -> Option<Duration> {
        self.poll_deadline()
    }
}

impl EmbeddedServer {
    /// A server that can take these packages.
    #[must_use]
    pub fn new(config: UpdateServerConfig, packages: &BTreeMap<String, PackageImage>) -> Self {
        let (address, secure) = (config.address, config.secure);
        Self {
            server: Watched::new(UpdateServer::new(config)),
            address,
            secure,
            files: packages
                .iter()
                .map(|(name, image)| (name.clone(), image.bytes.clone()))
                .collect(),
        }
    }

    /// Where it can be reached.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it can be reached over DTLS.
    #[must_use]
    pub const fn secure_address(&self) -> Option<SocketAddr> {
        self.secure
    }

    /// Gives it a datagram at its secure address.
    pub fn secure_datagram(&mut self, now: Duration, from: SocketAddr, bytes: &[u8]) {
        if self.server.is_started() {
            self.server.handle_secure_datagram(now, from, bytes);
        }
    }

    /// Gives it a datagram; without an instance nobody listens.
    pub fn datagram(&mut self, now: Duration, from: SocketAddr, bytes: &[u8]) {
        if self.server.is_started() {
            self.server.handle_datagram(now, from, bytes);
        }
    }

    /// Its process is killed: what it knew is lost, and nobody is told.
    pub fn power_cut(&mut self) {
        self.server.power_cut();
    }

    /// Asks it for something.
    pub fn request(&mut self, now: Duration, request: adapter::Request) {
        let files = &self.files;
        self.server
            .request(now, request, &mut |name: &str| files.get(name).cloned());
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.server.next().is_some_and(|at| at <= now) {
            self.server.handle_timeout(now);
        }
    }

    /// When something is due.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Duration> {
        self.server.next()
    }

    /// The next thing for the driver.
    pub fn poll_output(&mut self) -> Option<ServerOutput> {
        if !self.server.is_awake() {
            return None;
        }
        let output = self.next_output();
        if output.is_none() {
            self.server.sleep();
        }
        output
    }

    fn next_output(&mut self) -> Option<ServerOutput> {
        let server = self.server.within();
        if let Some(message) = server.poll_message() {
            return Some(ServerOutput::Message(message));
        }
        let (from, transmit) = match server.poll_transmit() {
            Some(transmit) => (self.address, transmit),
            None => (self.secure?, server.poll_secure_transmit()?),
        };
        Some(ServerOutput::Transmit {
            from,
            to: transmit.to,
            bytes: transmit.bytes,
        })
    }
}
