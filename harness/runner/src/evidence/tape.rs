//! Events on their way to another thread.
//!
//! An event holds bytes that its session goes on using. Were they given away, each core would wait for what the other has touched
//! and free what the other has allocated; so those of nearly all events, datagrams and packets, are copied one after the other.

use bytes::Bytes;
use fotaproof_trace::{Datagram, Event, EventKind, Packet};

/// Events that go to the other thread at once: to wake it costs more than to write a page.
const EVENTS: usize = 1024;

/// The same in bytes of datagrams and packets.
const BYTES: usize = 256 << 10;

/// Some events in their order.
#[derive(Debug, Default)]
pub(super) struct Tape {
    /// Each with the number of its bytes, which it does not hold itself.
    events: Vec<(Event, usize)>,
    bytes: Vec<u8>,
}

impl Tape {
    pub(super) fn record(&mut self, event: &Event) {
        let (kind, bytes) = match &event.kind {
            EventKind::Datagram(datagram) => (without_payload(datagram), &datagram.payload[..]),
            EventKind::Packet(packet) => (without_bytes(packet), &packet.bytes[..]),
            other => (other.clone(), &[][..]),
        };
        let (no, at) = (event.no, event.at);
        self.events.push((Event { no, at, kind }, bytes.len()));
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) const fn is_full(&self) -> bool {
        self.events.len() >= EVENTS || self.bytes.len() >= BYTES
    }

    /// Gives the events as they were; then the tape is empty.
    pub(super) fn play(&mut self, mut to: impl FnMut(&Event)) {
        let mut rest = &self.bytes[..];
        for (mut event, length) in self.events.drain(..) {
            let (own, others) = rest.split_at(length.min(rest.len()));
            rest = others;
            match &mut event.kind {
                EventKind::Datagram(datagram) => datagram.payload = Bytes::copy_from_slice(own),
                EventKind::Packet(packet) => packet.bytes = Bytes::copy_from_slice(own),
                _ => {}
            }
            to(&event);
        }
        self.bytes.clear();
    }
}

const fn without_payload(datagram: &Datagram) -> EventKind {
    EventKind::Datagram(Datagram {
        payload: Bytes::new(),
        point: datagram.point,
        toward: datagram.toward,
        datagram: datagram.datagram,
        src: datagram.src,
        dst: datagram.dst,
        packets: datagram.packets,
        largest: datagram.largest,
        altered: datagram.altered,
        planned: datagram.planned,
    })
}

const fn without_bytes(packet: &Packet) -> EventKind {
    EventKind::Packet(Packet {
        bytes: Bytes::new(),
        point: packet.point,
        toward: packet.toward,
        packet: packet.packet,
        datagram: packet.datagram,
        fragment: packet.fragment,
        altered: packet.altered,
    })
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use fotaproof_trace::{Fragment, Point, Toward};

    use super::*;

    fn events() -> Vec<Event> {
        let datagram = Datagram {
            point: Point::Peer,
            toward: Toward::Iut,
            datagram: 7,
            src: ([192, 0, 2, 1], 5683).into(),
            dst: ([192, 0, 2, 2], 56830).into(),
            payload: Bytes::from_static(b"payload"),
            packets: 2,
            largest: 1280,
            altered: true,
            planned: true,
        };
        let packet = Packet {
            point: Point::Aside,
            toward: Toward::Peer,
            packet: 9,
            datagram: 7,
            fragment: Some(Fragment {
                index: 1,
                offset: 8,
                more: true,
            }),
            bytes: Bytes::from_static(b"a packet"),
            altered: true,
        };
        let text = "a remark".to_owned();
        let empty = Datagram {
            payload: Bytes::new(),
            ..datagram
        };
        [
            EventKind::Datagram(datagram),
            EventKind::Note { text },
            EventKind::Datagram(empty),
            EventKind::Packet(packet),
        ]
        .into_iter()
        .enumerate()
        .map(|(index, kind)| Event {
            no: index as u64 + 1,
            at: Duration::from_millis(index as u64),
            kind,
        })
        .collect()
    }

    #[test]
    fn what_is_played_is_what_was_recorded() {
        let mut tape = Tape::default();
        for _ in 0..2 {
            events().iter().for_each(|event| tape.record(event));
            let mut played = Vec::new();
            tape.play(|event| played.push(event.clone()));
            assert_eq!(played, events());
        }
    }

    #[test]
    fn it_is_full_by_events_or_by_bytes() {
        let events = events();
        let mut tape = Tape::default();
        for _ in 1..EVENTS {
            tape.record(&events[1]);
        }
        assert!(!tape.is_full());
        tape.record(&events[1]);
        assert!(tape.is_full());
        tape.play(|_| {});
        assert!(!tape.is_full());
        let mut large = events[3].clone();
        if let EventKind::Packet(packet) = &mut large.kind {
            packet.bytes = Bytes::from(vec![0; BYTES]);
        }
        tape.record(&large);
        assert!(tape.is_full());
    }
}
