//! Settings of the update server.

use core::net::SocketAddr;

use fotaproof_coap as coap;
use fotaproof_wire::coap::Szx;

use crate::server_defects::ServerDefectSet;

/// Settings of an [`UpdateServer`](super::UpdateServer).
#[derive(Debug, Clone)]
pub struct UpdateServerConfig {
    /// Where it can be reached; the reply to `start` names it.
    pub address: SocketAddr,
    /// Where it can be reached over DTLS, when `start` brings credentials; none: it has no DTLS.
    pub secure: Option<SocketAddr>,
    /// Seed of everything random.
    pub seed: u64,
    /// What it does wrong on purpose.
    pub defects: ServerDefectSet,
    /// Transmission parameters of its CoAP layer.
    pub coap: coap::Config,
    /// Block size of a push that names none, and the largest block of its repository.
    pub szx: Szx,
}

impl UpdateServerConfig {
    /// A correct server at this address.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            secure: None,
            seed: 1,
            defects: ServerDefectSet::new(),
            coap: coap::Config::default(),
            szx: Szx::S512,
        }
    }
}
