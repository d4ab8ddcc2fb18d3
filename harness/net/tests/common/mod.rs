//! What the tests of the link share.
#![allow(
    clippy::allow_attributes,
    dead_code,
    reason = "each test file uses a part, and another one"
)]

use core::time::Duration;
use std::net::SocketAddr;

use bytes::Bytes;
use fotaproof_net::{Datagram, DropReason, Facts, Fate, Link, LinkEvent, LinkSpec, Toward};

pub(crate) const IUT: &str = "192.0.2.1:5683";
pub(crate) const SERVER: &str = "192.0.2.2:5683";
pub(crate) const IUT6: &str = "[2001:db8::1]:5683";
pub(crate) const SERVER6: &str = "[2001:db8::2]:5683";

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn payload(len: usize) -> Bytes {
    (0..len).map(|at| (at % 251) as u8).collect()
}

pub(crate) fn datagram(toward: Toward, len: usize) -> Datagram {
    with(toward, len, Facts::default())
}

pub(crate) fn with(toward: Toward, len: usize, facts: Facts) -> Datagram {
    between(toward, (IUT, SERVER), len, facts)
}

pub(crate) fn between(toward: Toward, (iut, server): (&str, &str), len: usize, facts: Facts) -> Datagram {
    let (iut, server): (SocketAddr, SocketAddr) = (iut.parse().unwrap(), server.parse().unwrap());
    let (src, dst) = if toward == Toward::Peer {
        (iut, server)
    } else {
        (server, iut)
    };
    Datagram {
        toward,
        src,
        dst,
        payload: payload(len),
        facts,
    }
}

/// All events until nothing is under way.
pub(crate) fn drain(link: &mut Link) -> Vec<LinkEvent> {
    let mut events = Vec::new();
    while let Some(at) = link.poll_deadline() {
        events.extend(core::iter::from_fn(|| link.poll(at)));
    }
    events
}

/// All events until then.
pub(crate) fn until(link: &mut Link, then: Duration) -> Vec<LinkEvent> {
    core::iter::from_fn(|| link.poll(then)).collect()
}

/// Sends one datagram toward the server at time zero and runs to the end.
pub(crate) fn once(spec: LinkSpec, len: usize) -> Vec<LinkEvent> {
    let mut link = Link::new(spec, 1);
    link.send(Duration::ZERO, datagram(Toward::Peer, len));
    drain(&mut link)
}

/// Payloads that arrived.
pub(crate) fn delivered(events: &[LinkEvent]) -> Vec<Bytes> {
    events
        .iter()
        .filter_map(|event| {
            if let LinkEvent::Delivered { payload, .. } = event {
                Some(payload.clone())
            } else {
                None
            }
        })
        .collect()
}

/// When what arrived, by datagram.
pub(crate) fn arrivals(events: &[LinkEvent]) -> Vec<(u64, Duration)> {
    let arrival = |event: &LinkEvent| {
        if let LinkEvent::Delivered { at, datagram, .. } = event {
            Some((datagram.0, *at))
        } else {
            None
        }
    };
    events.iter().filter_map(arrival).collect()
}

pub(crate) fn fates(events: &[LinkEvent]) -> Vec<(Option<String>, Fate)> {
    let fate = |event: &LinkEvent| {
        if let LinkEvent::Fate { rule, fate, .. } = event {
            Some((rule.clone(), fate.clone()))
        } else {
            None
        }
    };
    events.iter().filter_map(fate).collect()
}

pub(crate) fn drops(events: &[LinkEvent]) -> Vec<DropReason> {
    fates(events)
        .into_iter()
        .filter_map(|(_, fate)| {
            if let Fate::Dropped(reason) = fate {
                Some(reason)
            } else {
                None
            }
        })
        .collect()
}

/// Size, fragment offset and whether more follow, bytes.
pub(crate) type Passed = (u16, Option<(u16, bool)>, Bytes);

/// Packets past a capture point.
pub(crate) fn packets(events: &[LinkEvent], entry: bool) -> Vec<Passed> {
    let packet = |event: &LinkEvent| match event {
        LinkEvent::Packet {
            point,
            toward,
            size,
            fragment,
            bytes,
            ..
        } if (*point == toward.entry()) == entry => Some((
            *size,
            fragment.map(|fragment| (fragment.offset, fragment.more)),
            bytes.clone(),
        )),
        _ => None,
    };
    events.iter().filter_map(packet).collect()
}
