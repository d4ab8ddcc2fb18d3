//! Who may register under which endpoint name, where devices authenticate themselves (LwM2M Core section 6.2.1).

use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};

/// What the credentials of devices allow. Without credentials everybody may do everything.
#[derive(Debug, Default)]
pub(super) struct Authority {
    /// Endpoints that have credentials: nobody else registers under their names.
    endpoints: BTreeSet<String>,
    /// Peers that authenticated themselves, and the endpoint that their identity belongs to.
    peers: BTreeMap<SocketAddr, Option<String>>,
}

impl Authority {
    /// Whether there is nothing to ask.
    pub(super) fn is_empty(&self) -> bool {
        self.endpoints.is_empty() && self.peers.is_empty()
    }

    /// The endpoint registers with its credentials alone from now on.
    pub(super) fn protect(&mut self, endpoint: String) {
        self.endpoints.insert(endpoint);
    }

    /// The peer authenticated itself as this endpoint; none where its identity belongs to no endpoint.
    pub(super) fn bind(&mut self, peer: SocketAddr, endpoint: Option<String>) {
        self.peers.insert(peer, endpoint);
    }

    /// What was known of a peer is void.
    pub(super) fn release(&mut self, peer: SocketAddr) {
        self.peers.remove(&peer);
    }

    /// Whether this peer may act as that endpoint.
    pub(super) fn allows(&self, peer: SocketAddr, endpoint: &str) -> bool {
        match self.peers.get(&peer) {
            Some(Some(own)) => own == endpoint,
            Some(None) | None => !self.endpoints.contains(endpoint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protected_name_is_for_its_identity_alone() {
        let [own, other, clear]: [SocketAddr; 3] =
            ["192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"].map(|address| address.parse().unwrap());
        let mut authority = Authority::default();
        assert!(authority.is_empty());
        assert!(authority.allows(clear, "dev"));
        authority.protect("dev".to_owned());
        authority.bind(own, Some("dev".to_owned()));
        authority.bind(other, Some("another".to_owned()));
        assert!(authority.allows(own, "dev"));
        assert!(!authority.allows(other, "dev"));
        assert!(!authority.allows(clear, "dev"));
        assert!(authority.allows(clear, "without-credentials"));
        // an identity of one endpoint is for no other name
        assert!(!authority.allows(own, "without-credentials"));
        authority.release(own);
        assert!(!authority.allows(own, "dev"));
    }
}
