//! What a transfer costs, read from the events of its run.

use core::time::Duration;
use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;

use fotaproof_trace::{Event, EventKind, Point, Toward};
use fotaproof_wire::coap::MessageView;

/// Counts of one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter {
    seen: HashSet<(SocketAddr, SocketAddr, u16)>,
    /// Datagrams with a block of the image: fragments of each.
    blocks: BTreeMap<u64, u16>,
    /// Of those with so many fragments: sent and delivered.
    pub(super) fates: BTreeMap<u16, (u64, u64)>,
    arrived: HashSet<u64>,
    first: Option<Duration>,
    last: Duration,
    /// Bytes of IP of messages that were sent before, both ways.
    pub(super) again: u64,
    /// Bytes of IP of all of the transfer, both ways.
    pub(super) all: u64,
}

impl Meter {
    /// Takes one event; only messages with a block count.
    pub(super) fn take(&mut self, event: &Event) {
        let EventKind::Datagram(datagram) = &event.kind else {
            return;
        };
        let Ok(view) = MessageView::parse(&datagram.payload) else {
            return;
        };
        if view.block1().ok().flatten().is_none() && view.block2().ok().flatten().is_none() {
            return;
        }
        self.first.get_or_insert(event.at);
        self.last = event.at;
        let entry = if datagram.toward == Toward::Peer {
            Point::Iut
        } else {
            Point::Peer
        };
        if datagram.point != entry {
            if let Some(fragments) = self.blocks.get(&datagram.datagram)
                && self.arrived.insert(datagram.datagram)
            {
                self.fates.entry(*fragments).or_default().1 += 1;
            }
            return;
        }
        let header = if datagram.src.is_ipv6() { 40 } else { 20 };
        let bytes = datagram.payload.len() as u64 + 8 + header * u64::from(datagram.packets);
        self.all += bytes;
        if !self.seen.insert((datagram.src, datagram.dst, view.message_id())) {
            self.again += bytes;
        }
        if datagram.toward == Toward::Iut && !view.payload().is_empty() {
            self.blocks.insert(datagram.datagram, datagram.packets);
            self.fates.entry(datagram.packets).or_default().0 += 1;
        }
    }

    /// From the first message of the transfer to its last.
    pub(super) fn time(&self) -> Option<Duration> {
        self.first.map(|first| self.last.saturating_sub(first))
    }

    /// Fragments of most datagrams with blocks: all but the last block of an image.
    pub(super) fn fragments(&self) -> u16 {
        self.fates
            .iter()
            .max_by_key(|(fragments, (sent, _))| (*sent, **fragments))
            .map_or(0, |(fragments, _)| *fragments)
    }
}
