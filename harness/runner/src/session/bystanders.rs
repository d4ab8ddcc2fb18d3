//! The parties of the harness that most cases do not need: other hosts, and repositories with an address of their own.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use fotaproof_lwm2m::repository::Repository;
use fotaproof_lwm2m::server::Server;

use super::world::PartyEvent;
use crate::watched::Timed;

/// A datagram of one of them: from, to, what.
pub(super) type FromBystander = (SocketAddr, SocketAddr, Bytes);

/// Other hosts and repositories.
#[derive(Debug, Default)]
pub(crate) struct Bystanders {
    pub(crate) others: BTreeMap<SocketAddr, Server>,
    pub(crate) repositories: BTreeMap<String, Repository>,
}

impl Timed for Server {
    fn poll_deadline(&self) -> Option<Duration> {
        self.poll_deadline()
    }
}

impl Timed for Bystanders {
    fn poll_deadline(&self) -> Option<Duration> {
        let others = self.others.values().filter_map(Server::poll_deadline);
        let repositories = self.repositories.values().filter_map(Repository::poll_deadline);
        others.chain(repositories).min()
    }
}

impl Bystanders {
    /// What is due.
    pub(super) fn handle_timeout(&mut self, now: Duration) {
        for other in self.others.values_mut() {
            if other.poll_deadline().is_some_and(|at| at <= now) {
                other.handle_timeout(now);
            }
        }
        for repository in self.repositories.values_mut() {
            if repository.poll_deadline().is_some_and(|at| at <= now) {
                repository.handle_timeout(now);
            }
        }
    }

    /// What they send; the addresses are those of the repositories.
    pub(super) fn sent(&mut self, addresses: &BTreeMap<String, SocketAddr>) -> Vec<FromBystander> {
        let mut sent = Vec::new();
        for (address, other) in &mut self.others {
            while let Some(transmit) = other.poll_transmit() {
                sent.push((*address, transmit.to, transmit.bytes));
            }
        }
        for (name, repository) in &mut self.repositories {
            let Some(address) = addresses.get(name).copied() else {
                continue;
            };
            while let Some(transmit) = repository.poll_transmit() {
                sent.push((address, transmit.to, transmit.bytes));
            }
        }
        sent
    }

    /// What they tell.
    pub(super) fn told(&mut self) -> Vec<PartyEvent> {
        let mut told = Vec::new();
        for other in self.others.values_mut() {
            while let Some(event) = other.poll_event() {
                told.push(PartyEvent::Other(Box::new(event)));
            }
        }
        for (name, repository) in &mut self.repositories {
            while let Some(event) = repository.poll_event() {
                told.push(PartyEvent::Repository(name.clone(), Box::new(event)));
            }
        }
        told
    }
}
