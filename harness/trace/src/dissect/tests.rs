use super::{Dissected, ladder};
use crate::event::{Datagram, Event, EventKind, Fate, FateOfPacket, IutEvent, Point, Toward};
use crate::finding::Verdict;
use bytes::Bytes;
use core::time::Duration;
use fotaproof_wire::coap::{Code, RawMessage, Type, option};

fn datagram(point: Point, toward: Toward, id: u64, payload: Vec<u8>) -> EventKind {
    EventKind::Datagram(Datagram {
        point,
        toward,
        datagram: id,
        src: "10.0.0.1:5683".parse().unwrap(),
        dst: "10.0.0.2:5683".parse().unwrap(),
        payload: Bytes::from(payload),
        packets: 1,
        largest: 60,
        altered: false,
        planned: false,
    })
}

#[test]
fn a_ladder() {
    let block = RawMessage::new(Type::Con, Code::PUT, 4711, &[0xa1])
        .with_option(option::URI_PATH, *b"5")
        .with_option(option::URI_PATH, *b"0")
        .with_option(option::URI_PATH, *b"0")
        .with_option(option::BLOCK1, [0x08]);
    let block = RawMessage {
        payload: vec![0; 16],
        ..block
    }
    .encode();
    let answer = RawMessage::new(Type::Ack, Code::CONTINUE, 4711, &[0xa1])
        .with_option(option::BLOCK1, [0x08])
        .encode();
    let kinds = [
        (0, EventKind::Iut(IutEvent::Started)),
        (
            0,
            EventKind::StepStarted {
                index: 0,
                line: 12,
                text: "push /5/0/0".to_owned(),
            },
        ),
        (10, datagram(Point::Peer, Toward::Iut, 1, block)),
        (30, datagram(Point::Iut, Toward::Iut, 1, vec![])),
        (30, datagram(Point::Iut, Toward::Peer, 2, answer)),
        (
            30,
            EventKind::Fate(FateOfPacket {
                toward: Toward::Peer,
                packet: 2,
                datagram: 2,
                rule: Some("lose-ack".to_owned()),
                fate: Fate::Dropped,
                reason: None,
                delay: None,
                draw: None,
            }),
        ),
        (40, datagram(Point::Iut, Toward::Peer, 3, vec![0x41])),
        (
            93_000,
            EventKind::CaseEnded {
                verdict: Verdict::Fail,
                reason: "it gave up".to_owned(),
                duration: Duration::ZERO,
                late: None,
            },
        ),
    ];
    let events: Vec<Event> = kinds
        .into_iter()
        .enumerate()
        .map(|(index, (at, kind))| Event {
            no: index as u64 + 1,
            at: Duration::from_millis(at),
            kind,
        })
        .collect();
    let dissected = Dissected::of(&events[2]).unwrap();
    assert!(dissected.is_departure() && !dissected.from_iut() && dissected.message.is_ok());
    insta::assert_snapshot!("ladder", ladder(&events));
}
