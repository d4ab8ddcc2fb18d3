//! Reassembly of IP packets from captures.

use core::time::Duration;
use std::net::IpAddr;

use bytes::Bytes;

/// Bounds of a [`Reassembler`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long fragments wait for the rest.
    pub timeout: Duration,
    /// Fragment bytes kept at most, with a fixed cost for each fragment.
    pub bytes: usize,
    /// Datagrams under way at most.
    pub datagrams: usize,
    /// Fragments of one datagram at most.
    pub fragments: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), bytes: 4 << 20, datagrams: 1024, fragments: 8192 }
    }
}

/// An IP packet's content, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassembled {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// IP protocol number or IPv6 next header (17: UDP).
    pub protocol: u8,
    /// What the IP packet carries.
    pub payload: Bytes,
    /// IP packets it came in.
    pub packets: u16,
    /// The largest of them in bytes.
    pub largest: u16,
}

/// Why a packet was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReassemblyError {
    /// Shorter than its header says.
    #[error("packet ends at {have}, needs {need}")]
    Truncated {
        /// Bytes there are.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
}

/// Puts IP fragments together. Bounded: see [`Limits`].
#[derive(Debug, Default)]
pub struct Reassembler {
    limits: Limits,
}

impl Reassembler {
    /// With these bounds.
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }
    /// Takes an IP packet; gives its content when it is whole.
    pub fn push(&mut self, now: Duration, packet: &Bytes) -> Result<Option<Reassembled>, ReassemblyError> {
        let _ = (now, packet, self.limits);
        Ok(None)
    }
}
