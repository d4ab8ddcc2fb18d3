//! Datagrams of many devices wait and are taken device by device, so that each device is fetched into the processor's
//! cache once for many of them. What waits is dissected already.

use bytes::Bytes;
use core::hint::black_box;
use fotaproof_checks::facts::Dissection;
use fotaproof_trace::{Datagram, Event, EventKind, Point, Toward};
use fotaproof_wire::coap::{Code, MessageView};

use super::{Analyzer, Carried};
use crate::device::{Learnt, Seen};
use crate::facts::{Message, Target};

/// So many wait.
const BATCH: usize = 65536;
/// With so few devices nothing waits.
const FEW: usize = 16;
/// End of a chain in a batch.
const END: u32 = u32::MAX;

/// A datagram whose device is known.
#[derive(Debug)]
pub(super) struct Queued {
    device: u32,
    /// The next of the same device.
    next: u32,
    /// It goes from the first end of its conversation to the second.
    from_first: bool,
    packets: u16,
    largest: u16,
    planned: bool,
    altered: bool,
    seen: Seen,
    payload: Bytes,
    /// None when it is no message.
    read: Option<Dissection>,
}

impl Queued {
    pub(super) const fn new(
        device: u32,
        seen: Seen,
        from_first: bool,
        carried: &Carried,
        payload: Bytes,
        read: Option<Dissection>,
    ) -> Self {
        Self {
            device,
            next: END,
            from_first,
            packets: carried.packets,
            largest: carried.largest,
            planned: carried.planned,
            altered: carried.altered,
            seen,
            payload,
            read,
        }
    }

    /// Something of each part.
    fn glance(&self) -> u64 {
        let read = self.read.as_ref().map_or(0, |read| read.bytes ^ read.facts.uri);
        u64::from(self.next) ^ self.seen.packet ^ read
    }
}

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Batch {
    queued: Vec<Queued>,
    /// First and last of each device.
    chains: Vec<(u32, u32)>,
    /// Devices of which something waits.
    touched: Vec<u32>,
}

impl Batch {
    fn push(&mut self, queued: Queued, devices: usize) {
        let at = self.queued.len() as u32;
        if self.chains.len() < devices {
            self.chains.resize(devices, (END, END));
        }
        let Some((first, last)) = self.chains.get_mut(queued.device as usize) else {
            return;
        };
        if *first == END {
            *first = at;
            self.touched.push(queued.device);
        } else if let Some(before) = self.queued.get_mut(*last as usize) {
            before.next = at;
        }
        *last = at;
        self.queued.push(queued);
    }
}

impl Analyzer {
    pub(super) fn enqueue(&mut self, mut queued: Queued) {
        if self.devices.len() <= FEW {
            self.take(&mut queued);
            return;
        }
        self.batch.push(queued, self.devices.len());
        if self.batch.queued.len() >= BATCH {
            self.flush();
        }
    }

    /// Takes what waits, device by device, each in its order.
    pub(super) fn flush(&mut self) {
        if self.batch.queued.is_empty() {
            return;
        }
        let mut batch = core::mem::take(&mut self.batch);
        for device in batch.touched.drain(..) {
            let Some(chain) = batch.chains.get_mut(device as usize) else {
                continue;
            };
            let mut at = core::mem::replace(chain, (END, END)).0;
            while let Some(queued) = batch.queued.get(at as usize) {
                let next = queued.next;
                // A look at what comes next brings it into the cache while this one is taken.
                black_box(batch.queued.get(next as usize).map(Queued::glance));
                if let Some(queued) = batch.queued.get_mut(at as usize) {
                    self.take(queued);
                }
                at = next;
            }
        }
        batch.queued.clear();
        self.batch = batch;
    }

    /// A datagram that a device sent or received. Its payload is taken out.
    fn take(&mut self, queued: &mut Queued) {
        let (device, seen) = (queued.device, queued.seen);
        let Some(state) = self.devices.get_mut(device as usize) else {
            return;
        };
        let Some((first, second)) = self.flow_list.get(seen.flow as usize).map(|flow| flow.ends) else {
            return;
        };
        let (src, dst) = if queued.from_first {
            (first, second)
        } else {
            (second, first)
        };
        let datagram = Datagram {
            point: Point::Iut,
            toward: if seen.from_device { Toward::Peer } else { Toward::Iut },
            datagram: seen.packet,
            src,
            dst,
            payload: core::mem::take(&mut queued.payload),
            packets: queued.packets,
            largest: queued.largest,
            altered: queued.altered,
            planned: queued.planned && !seen.from_device,
        };
        let traffic = &mut state.traffic;
        traffic.fragmented += u64::from(datagram.packets > 1);
        traffic.largest = traffic.largest.max(datagram.largest);
        let read = queued.read.as_ref();
        let view = read.and_then(|read| MessageView::with_layout(&datagram.payload, read.layout));
        let (Some(view), Some(read)) = (view, read) else {
            state.on_malformed(&seen);
            let event = Event {
                no: seen.packet,
                at: seen.at,
                kind: EventKind::Datagram(datagram),
            };
            state.checks.on_event(&event, &mut state.findings);
            return;
        };
        let message = Message::of_udp(&view, read);
        if let Some(tap) = &mut self.tap {
            tap.take(device, seen.from_device, &message, seen.at, seen.packet);
        }
        if message.facts.target == Target::Other && message.code.is_request() {
            state.name_file(message.facts.uri, || message.path());
        }
        state.judged.deregistered |= seen.from_device && message.code == Code::DELETE;
        let learnt = state.on_message(&message, &seen);
        state
            .checks
            .on_dissected(seen.packet, seen.at, &datagram, read, &mut state.findings);
        if learnt != Learnt::default() {
            let peer = if seen.from_device { datagram.dst } else { datagram.src };
            self.learn(device, peer, learnt);
        }
    }
}
