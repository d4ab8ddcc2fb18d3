//! What enters the link: datagrams, the CoAP facts the caller gives with them, and the ids handed out.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Direction of travel. `peer` is what the IUT sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Toward {
    /// From the harness's peer to the implementation under test.
    Iut,
    /// From the implementation under test to the harness's peer.
    Peer,
}

impl core::fmt::Display for Toward {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Iut => "the IUT",
            Self::Peer => "the peer",
        })
    }
}

impl Toward {
    /// Both directions, in the order the link keeps them.
    pub const BOTH: [Self; 2] = [Self::Iut, Self::Peer];

    /// The end where packets of this direction enter the link.
    pub const fn entry(self) -> Point {
        match self {
            Self::Iut => Point::Peer,
            Self::Peer => Point::Iut,
        }
    }

    /// The end where packets of this direction leave the link.
    pub const fn exit(self) -> Point {
        match self {
            Self::Iut => Point::Iut,
            Self::Peer => Point::Peer,
        }
    }

    /// The other direction.
    pub const fn reverse(self) -> Self {
        match self {
            Self::Iut => Self::Peer,
            Self::Peer => Self::Iut,
        }
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

/// One of the two ends of the link; each is a capture interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Point {
    /// The end of the implementation under test.
    Iut,
    /// The end of the harness's peer.
    Peer,
}

/// A datagram on the link: the n-th `send`, from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DatagramId(pub u64);

/// An IP packet on the link, counted over both directions from 0. Copies made by duplication keep the id of their original.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PacketId(pub u64);

/// A rule added while the link runs; give it back to remove the rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GuardId(pub u64);

/// CoAP message type (RFC 7252 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Confirmable.
    Con,
    /// Non-confirmable.
    Non,
    /// Acknowledgement.
    Ack,
    /// Reset.
    Rst,
}

/// The value of a Block1 or Block2 option (RFC 7959 section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlockFacts {
    /// Block number.
    pub num: u32,
    /// Whether more blocks follow.
    pub more: bool,
    /// Block size in bytes (16 to 1024).
    pub size: u16,
}

/// CoAP facts of a datagram. The caller gives them; the link parses no CoAP. All empty for what is not CoAP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// Message type.
    pub kind: Option<Kind>,
    /// Code byte: class in the upper 3 bits, detail in the lower 5 (RFC 7252 section 3).
    pub code: Option<u8>,
    /// Token. A slice of the payload costs no allocation.
    pub token: Bytes,
    /// Message id.
    pub message_id: Option<u16>,
    /// Block1 option.
    pub block1: Option<BlockFacts>,
    /// Block2 option.
    pub block2: Option<BlockFacts>,
    /// Uri-Path as `/5/0/0`. A response has none on the wire; the caller may give that of its request.
    pub path: Option<Arc<str>>,
    /// Observe option.
    pub observe: Option<u32>,
}

impl Facts {
    /// Whether the code says request (class 0, detail not 0: RFC 7252 section 12.1).
    pub fn is_request(&self) -> bool {
        self.code.is_some_and(|code| code != 0 && code >> 5 == 0)
    }

    /// Whether the code says response (classes 2, 4 and 5: RFC 7252 section 12.1).
    pub fn is_response(&self) -> bool {
        self.code.is_some_and(|code| matches!(code >> 5, 2 | 4 | 5))
    }
}

/// A UDP datagram given to the link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Datagram {
    /// Direction of travel.
    pub toward: Toward,
    /// Source, as the sender knows it.
    pub src: SocketAddr,
    /// Destination, as the sender knows it (behind a NAT: the mapped address).
    pub dst: SocketAddr,
    /// UDP payload.
    pub payload: Bytes,
    /// What rules may select by.
    pub facts: Facts,
}
