//! The secure address: DTLS in front of the server, and the endpoint that each identity belongs to.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use fotaproof_adapter::Credential;
use fotaproof_coap::Transmit;
use fotaproof_dtls::{self as dtls, Output, Psk, UnknownIdentities};

use super::host::UpdateServer;
use crate::server_defects::ServerDefect;

/// Length of the connection ids that the server gives.
const CONNECTION_ID: usize = 6;

/// DTLS of one instance.
#[derive(Debug)]
pub(super) struct Secure {
    pub(super) address: SocketAddr,
    associations: dtls::Server,
    /// The endpoint of each identity.
    endpoints: BTreeMap<Vec<u8>, Option<String>>,
    /// Peers that speak to the secure address, whatever became of their associations: nothing goes to them in clear.
    peers: BTreeSet<SocketAddr>,
}

impl UpdateServer {
    /// Opens the secure address for devices with these credentials. None where a key is not hexadecimal.
    pub(super) fn secure(&mut self, address: SocketAddr, credentials: &[Credential]) -> Option<()> {
        let mut keys = Vec::new();
        let mut endpoints = BTreeMap::new();
        for credential in credentials {
            let identity = credential.identity.clone().into_bytes();
            keys.push(Psk::new(identity.clone(), credential.key_bytes()?));
            endpoints.insert(identity, credential.endpoint.clone());
        }
        let mut config = dtls::ServerConfig::new(keys);
        config.connection_id = Some(CONNECTION_ID);
        if self.has(ServerDefect::CidIgnored) {
            config.connection_ids_by_address = true;
        }
        if self.has(ServerDefect::AnyIdentity) {
            config.unknown_identities = UnknownIdentities::FirstKey;
        }
        if !self.has(ServerDefect::IdentityUnbound) {
            for endpoint in endpoints.values().flatten() {
                self.server.protect(endpoint.clone());
            }
        }
        self.secure = Some(Secure {
            address,
            associations: dtls::Server::new(config, self.config.seed ^ 0x6474_6c73),
            endpoints,
            peers: BTreeSet::new(),
        });
        Some(())
    }

    /// Takes a datagram at the secure address.
    pub fn handle_secure_datagram(&mut self, now: Duration, from: SocketAddr, bytes: &[u8]) {
        if let Some(secure) = &mut self.secure {
            secure.associations.handle_datagram(now, from, bytes);
            self.pump(now);
        }
    }

    /// The next datagram to send from the secure address.
    pub fn poll_secure_transmit(&mut self) -> Option<Transmit> {
        self.secure_out.pop_front()
    }

    /// Does what is due at the secure address.
    pub(super) fn secure_timeout(&mut self, now: Duration) {
        if let Some(secure) = &mut self.secure
            && secure.associations.poll_deadline().is_some_and(|at| at <= now)
        {
            secure.associations.handle_timeout(now);
            self.pump(now);
        }
    }

    pub(super) fn secure_deadline(&self) -> Option<Duration> {
        self.secure
            .as_ref()
            .and_then(|secure| secure.associations.poll_deadline())
    }

    /// Moves what waits between the server and its associations; true when a device said something.
    pub(super) fn pump_secure(&mut self, now: Duration) -> bool {
        let Some(secure) = &mut self.secure else { return false };
        let mut heard = false;
        while let Some(transmit) = self.server.poll_transmit() {
            if secure.peers.contains(&transmit.to) {
                // without an association nobody could read it
                let _ = secure.associations.send(now, transmit.to, &transmit.bytes);
            } else {
                self.clear_out.push_back(transmit);
            }
        }
        while let Some(said) = secure.associations.poll_output() {
            let peer = said.peer;
            match said.output {
                Output::Datagram(bytes) => self.secure_out.push_back(Transmit { to: peer, bytes }),
                Output::Data(bytes) => {
                    heard = true;
                    self.server.handle_datagram(now, peer, &bytes);
                }
                Output::Established(established) => {
                    secure.peers.insert(peer);
                    if !self.config.defects.contains(&ServerDefect::IdentityUnbound) {
                        let endpoint = secure.endpoints.get(&established.identity).cloned().flatten();
                        self.server.bind(peer, endpoint);
                    }
                }
                Output::Moved { from } => {
                    secure.peers.insert(peer);
                    if !self.config.defects.contains(&ServerDefect::IdentityUnbound) {
                        let endpoint = secure
                            .associations
                            .identity(peer)
                            .and_then(|identity| secure.endpoints.get(identity).cloned().flatten());
                        self.server.unbind(from);
                        self.server.bind(peer, endpoint);
                    }
                }
                Output::Failed(_) if self.config.defects.contains(&ServerDefect::FailureEndsAll) => {
                    for other in secure.peers.clone() {
                        secure.associations.close(now, other);
                    }
                }
                Output::Failed(_) | Output::Closed | Output::KeyLog(_) => {}
            }
        }
        heard
    }
}
