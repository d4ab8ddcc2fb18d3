//! What the emulated link tells, as the events of a trace: directions, points, packets and their fates.

use core::time::Duration;

use bytes::Bytes;
use fotaproof_net as net;
use fotaproof_trace::{Fate, FateOfPacket, Fragment, Packet, Point, Toward};

pub(crate) const fn toward_net(toward: Toward) -> net::Toward {
    match toward {
        Toward::Iut => net::Toward::Iut,
        Toward::Peer => net::Toward::Peer,
    }
}

pub(crate) const fn toward_trace(toward: net::Toward) -> Toward {
    match toward {
        net::Toward::Iut => Toward::Iut,
        net::Toward::Peer => Toward::Peer,
    }
}

/// Where a datagram enters the link.
pub(crate) const fn entry(toward: Toward) -> Point {
    match toward {
        Toward::Peer => Point::Iut,
        Toward::Iut => Point::Peer,
    }
}

/// Where a datagram leaves the link.
pub(crate) const fn exit(toward: Toward) -> Point {
    match toward {
        Toward::Peer => Point::Peer,
        Toward::Iut => Point::Iut,
    }
}

/// A packet that passes a point of the link.
pub(crate) fn packet_event(
    point: net::Point,
    toward: net::Toward,
    packet: net::PacketId,
    datagram: net::DatagramId,
    fragment: Option<net::Fragment>,
    bytes: Bytes,
    altered: bool,
) -> Packet {
    Packet {
        point: match point {
            net::Point::Iut => Point::Iut,
            net::Point::Peer => Point::Peer,
        },
        toward: toward_trace(toward),
        packet: packet.0,
        datagram: datagram.0,
        fragment: fragment.map(|part| Fragment {
            index: part.index,
            offset: part.offset,
            more: part.more,
        }),
        bytes,
        altered,
    }
}

/// What became of a packet; the link tells no direction of it.
pub(crate) fn fate_event(
    toward: Toward,
    packet: net::PacketId,
    datagram: net::DatagramId,
    rule: Option<String>,
    fate: &net::Fate,
    draw: Option<f64>,
) -> FateOfPacket {
    let (fate, reason, delay) = fate_words(fate);
    FateOfPacket {
        toward,
        packet: packet.0,
        datagram: datagram.0,
        rule,
        fate,
        reason,
        delay,
        draw,
    }
}

/// A fate as an event tells it: what, why, how much later.
fn fate_words(fate: &net::Fate) -> (Fate, Option<String>, Option<Duration>) {
    match fate {
        net::Fate::Pass => (Fate::Pass, None, None),
        net::Fate::Dropped(reason) => (Fate::Dropped, Some(format!("{reason:?}").to_ascii_lowercase()), None),
        net::Fate::Delayed(by) => (Fate::Delayed, None, Some(*by)),
        net::Fate::Duplicated { gap, .. } => (Fate::Duplicated, None, Some(*gap)),
        net::Fate::Corrupted { .. } => (Fate::Corrupted, None, None),
        net::Fate::Truncated(_) => (Fate::Truncated, None, None),
        net::Fate::Swapped => (Fate::Swapped, None, None),
        net::Fate::Refused => (Fate::Refused, None, None),
    }
}

/// Into how many IP packets a datagram is cut, and the size of the largest.
pub(crate) fn cut(spec: &net::LinkSpec, toward: Toward, ipv6: bool, payload: usize) -> (u16, u16) {
    let header = if ipv6 { 40 } else { 20 };
    let whole = header + 8 + payload;
    let mtu = usize::from(spec.mtu(toward_net(toward)));
    let fragments = matches!(spec.oversize, net::Oversize::Fragment | net::Oversize::Filter);
    if whole <= mtu || !fragments {
        return (1, u16::try_from(whole).unwrap_or(u16::MAX));
    }
    let fragment_header = if ipv6 { 8 } else { 0 };
    let each = (mtu.saturating_sub(header + fragment_header) & !7).max(8);
    let count = (8 + payload).div_ceil(each);
    (
        u16::try_from(count).unwrap_or(u16::MAX),
        u16::try_from(header + fragment_header + each).unwrap_or(u16::MAX),
    )
}
