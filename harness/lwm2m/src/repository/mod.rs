//! A file server over CoAP from which devices pull packages, with planned faults.
//!
//! [`FileServer`] is the serving itself and works over any endpoint: [`Repository`] gives it an address of its own, the
//! [`Server`](crate::server::Server) lends it its own, so that a URI can name the server itself.
//!
//! Files are never copied: an answer holds the bytes of its block only.

mod config;
mod files;

pub use config::{Act, EmptyAck, Fault, File, On, RepositoryConfig, RepositoryEvent};
pub use files::FileServer;

use core::time::Duration;
use std::net::SocketAddr;

use fotaproof_coap::{Endpoint, Event, Transmit};

/// A CoAP endpoint of its own that serves files.
#[derive(Debug)]
pub struct Repository {
    endpoint: Endpoint,
    files: FileServer,
}

impl Repository {
    /// A repository with the files and faults of the configuration.
    #[must_use]
    pub fn new(config: RepositoryConfig) -> Self {
        let endpoint = Endpoint::new(config.coap.clone(), config.seed);
        Self {
            endpoint,
            files: FileServer::new(config),
        }
    }

    /// Takes a datagram.
    pub fn handle_datagram(&mut self, now: Duration, from: SocketAddr, bytes: &[u8]) {
        self.endpoint.handle_datagram(now, from, bytes);
        self.pump(now);
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.endpoint.handle_timeout(now);
        self.files.handle_timeout(now, &mut self.endpoint);
        self.pump(now);
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.endpoint.poll_transmit()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<RepositoryEvent> {
        self.files.poll_event()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_deadline(&self) -> Option<Duration> {
        [self.endpoint.poll_deadline(), self.files.poll_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// The files and faults, to look at and to change.
    pub const fn files(&mut self) -> &mut FileServer {
        &mut self.files
    }

    /// Answers every held request; how many they were.
    pub fn release(&mut self, now: Duration) -> usize {
        self.files.release(now, &mut self.endpoint)
    }

    fn pump(&mut self, now: Duration) {
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                Event::Request {
                    id,
                    from,
                    packet,
                    confirmable,
                } => {
                    self.files
                        .handle_request(now, &mut self.endpoint, id, from, &packet, confirmable);
                }
                Event::DuplicateRequest { from, count, .. } => self.files.repeated(from, count),
                _ => {}
            }
        }
    }
}
