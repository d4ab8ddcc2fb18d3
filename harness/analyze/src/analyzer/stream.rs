//! CoAP over TCP: segments to streams, streams to messages.

use super::{Analyzer, Carried};
use crate::device::{Learnt, Seen};
use crate::facts::{Facts, Message, Target};
use crate::flow::{COAP, Kind, NOBODY};
use crate::tcp::{Segment, begins_with_csm};
use fotaproof_checks::hash::Address;

impl Analyzer {
    pub(super) fn on_segment(&mut self, number: u64, air: u32, segment: &Segment<'_>) {
        let has = |port: u16| segment.src.port() == port || segment.dst.port() == port;
        let ends = if segment.src <= segment.dst {
            (segment.src, segment.dst)
        } else {
            (segment.dst, segment.src)
        };
        let known = self
            .flows
            .get(&(Address(ends.0), Address(ends.1)))
            .and_then(|index| self.flow_list.get(*index as usize));
        let coap = has(COAP)
            || self.options.ports.iter().any(|port| has(*port))
            || known.is_some_and(|flow| flow.kind == Kind::Coap)
            || begins_with_csm(segment.payload);
        if !coap {
            self.counts.other += 1;
            return;
        }
        let Some(index) = self.flow(segment.src, segment.dst, number) else {
            return;
        };
        if let Some(flow) = self.flow_list.get_mut(index as usize) {
            flow.kind = Kind::Coap;
        }
        let mut streams = core::mem::take(&mut self.streams);
        let mut air = air;
        streams.push(segment, |frame| {
            self.counts.coap_tcp += 1;
            let facts = Facts::of_tcp(frame.code(), frame.options());
            let message = Message::of_tcp(frame, &facts);
            // The bytes of a segment count once, with its first message.
            self.on_tcp_message(
                index,
                number,
                core::mem::take(&mut air),
                frame.bytes().len(),
                segment,
                &message,
            );
        });
        self.streams = streams;
    }

    fn on_tcp_message(
        &mut self,
        index: u32,
        number: u64,
        air: u32,
        length: usize,
        segment: &Segment<'_>,
        message: &Message<'_>,
    ) {
        // Signaling is between the ends of one connection.
        if message.code.class() == 7 {
            return;
        }
        self.flush();
        let Some(flow) = self.flow_list.get_mut(index as usize) else {
            return;
        };
        flow.datagrams += 1;
        let from_device = (flow.device != NOBODY).then(|| flow.device_first == (flow.ends.0 == segment.src));
        let carried = Carried {
            src: segment.src,
            dst: segment.dst,
            air,
            packets: 1,
            largest: 0,
            planned: false,
            altered: false,
        };
        let device = flow.device;
        let (device, from_device) = self.party(index, device, from_device, Some(message), &carried, number);
        let (Some(from_device), Some(state)) = (from_device, self.devices.get_mut(device as usize)) else {
            self.counts.undecided += 1;
            return;
        };
        let seen = Seen {
            flow: index,
            from_device,
            at: self.now,
            packet: number,
            air,
            length: length as u32,
        };
        if message.facts.target == Target::Other && message.code.is_request() {
            state.name_file(message.facts.uri, || message.path());
        }
        if let Some(tap) = &mut self.tap {
            tap.take(device, from_device, message, self.now, number);
        }
        state.judged.tcp += u64::from(from_device);
        let learnt = state.on_message(message, &seen);
        if learnt != Learnt::default() {
            let peer = if from_device { segment.dst } else { segment.src };
            self.learn(device, peer, learnt);
        }
    }
}
