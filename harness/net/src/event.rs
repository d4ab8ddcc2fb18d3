//! What comes out of the link.

use core::time::Duration;
use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::facts::{DatagramId, PacketId, Point, Toward};

/// Something that happened on the link. Events come in time order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkEvent {
    /// A packet passes a capture point: on entry at the sender's end, on exit at the receiver's.
    Packet {
        /// When.
        at: Duration,
        /// Which end.
        point: Point,
        /// Direction of travel.
        toward: Toward,
        /// Which packet. Copies keep the id.
        packet: PacketId,
        /// Which datagram it carries, or a part of.
        datagram: DatagramId,
        /// Set when it carries a part.
        fragment: Option<Fragment>,
        /// The whole IP packet with right checksums (unless damaged). Empty when the link was told to make none.
        bytes: Bytes,
        /// Bytes it takes on the link (IP packet, or PDU without IP).
        size: u16,
        /// Its data is not what was sent. Address translation does not count.
        altered: bool,
    },
    /// What the link decided about a packet. A packet that meets several things has an event for each; one that only passes has one. The receiver's end
    /// decides later about packets that arrived (checksum, reassembly).
    Fate {
        /// When.
        at: Duration,
        /// Which packet.
        packet: PacketId,
        /// Which datagram.
        datagram: DatagramId,
        /// The rule that decided; none: the link's models.
        rule: Option<String>,
        /// What was decided.
        fate: Fate,
        /// The random draw it rests on (from 0 up to 1; below the probability means it happens).
        draw: Option<f64>,
    },
    /// A whole datagram is there at the receiver's end.
    Delivered {
        /// When.
        at: Duration,
        /// Direction of travel.
        toward: Toward,
        /// Which datagram.
        datagram: DatagramId,
        /// 0 for its first arrival, then 1, 2, ...
        copy: u32,
        /// Source as the receiver sees it, after address translation.
        src: SocketAddr,
        /// Destination as the receiver sees it.
        dst: SocketAddr,
        /// UDP payload.
        payload: Bytes,
        /// IP packets it came in.
        packets: u16,
        /// The largest of them in bytes.
        largest: u16,
        /// The payload is not what was sent.
        altered: bool,
    },
    /// The sender is told that its datagram is too large (as by ICMP, RFC 1191 and RFC 8201, or by its own interface).
    Refused {
        /// When.
        at: Duration,
        /// The end that is told.
        to_sender: Point,
        /// Which datagram.
        datagram: DatagramId,
        /// The MTU it is told.
        mtu: u16,
    },
}

impl LinkEvent {
    /// When it happened.
    pub const fn at(&self) -> Duration {
        match self {
            Self::Packet { at, .. } | Self::Fate { at, .. } | Self::Delivered { at, .. } | Self::Refused { at, .. } => {
                *at
            }
        }
    }

    /// The datagram it is about.
    pub const fn datagram(&self) -> DatagramId {
        match self {
            Self::Packet { datagram, .. }
            | Self::Fate { datagram, .. }
            | Self::Delivered { datagram, .. }
            | Self::Refused { datagram, .. } => *datagram,
        }
    }
}

/// The part of a datagram a fragment carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fragment {
    /// Place in the datagram, from 0.
    pub index: u16,
    /// Offset in bytes into what the IP packet would carry, a multiple of 8.
    pub offset: u16,
    /// Whether more fragments follow.
    pub more: bool,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It goes on as it is.
    Pass,
    /// It is lost.
    Dropped(DropReason),
    /// It takes this much longer than the link's own delay.
    Delayed(Duration),
    /// So many more copies arrive.
    Duplicated {
        /// Copies in addition to the packet itself.
        copies: u32,
        /// Time between them.
        gap: Duration,
    },
    /// Bits are flipped.
    Corrupted {
        /// Which bits of the IP packet, counted from the most significant bit of its first byte.
        bits: Vec<u32>,
        /// The checksum was made to fit.
        fixed: bool,
    },
    /// Only so many bytes of UDP payload are left.
    Truncated(u16),
    /// It changes places with another.
    Swapped,
    /// It is too large and the sender is told.
    Refused,
}

/// Why a packet was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DropReason {
    /// A rule says so.
    Rule,
    /// Random loss.
    Loss,
    /// It is larger than the link carries.
    Oversize,
    /// A firewall lets only first fragments pass.
    Filtered,
    /// The queue is full.
    Queue,
    /// The link is down.
    Blackout,
    /// No address mapping leads inward.
    Nat,
    /// The receiver did not get all fragments in time.
    Reassembly,
    /// The receiver's checksum does not fit.
    Checksum,
}

/// Counts of one direction since the link began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Datagrams given to the link.
    pub datagrams: u64,
    /// Packets that entered.
    pub packets: u64,
    /// Bytes that entered.
    pub bytes: u64,
    /// Packets that were fragments.
    pub fragments: u64,
    /// Packets that left, copies included.
    pub packets_out: u64,
    /// Datagrams delivered, copies included.
    pub delivered: u64,
    /// Packets lost for each reason, receiver's end included.
    pub dropped: std::collections::BTreeMap<DropReason, u64>,
    /// Packets a rule decided about.
    pub by_rule: u64,
}

impl Counters {
    pub(crate) fn count_drop(&mut self, reason: DropReason) {
        *self.dropped.entry(reason).or_default() += 1;
    }

    /// Packets lost, whatever the reason.
    pub fn lost(&self) -> u64 {
        self.dropped.values().sum()
    }
}
