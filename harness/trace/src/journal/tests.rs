use super::{JOURNAL_FORMAT, JournalError, JournalReader, write_line};
use crate::event::*;
use crate::finding::{Blame, Finding, FindingSource, Grade, Verdict};
use bytes::Bytes;
use core::time::Duration;
use proptest::prelude::*;

fn one_of_each() -> Vec<Event> {
    let from = "[2001:db8::1]:5683".parse().unwrap();
    let registration = Registration {
        endpoint: "dev\"ice".to_owned(),
        location: "/rd/1".to_owned(),
        from,
        version: "1.1".to_owned(),
        lifetime: 300,
        objects: vec!["</5>;ver=1.1".to_owned()],
        new: true,
    };
    let kinds = vec![
        EventKind::CaseStarted {
            case: "push.plain[block=64]".to_owned(),
            seed: u64::MAX,
            role: "client".to_owned(),
            iut: "embedded".to_owned(),
            network: "default".to_owned(),
            harness: "0.1.0".to_owned(),
            journal: JOURNAL_FORMAT,
        },
        EventKind::Iut(IutEvent::Started),
        EventKind::Iut(IutEvent::Output {
            stream: Stream::Stderr,
            line: "hello".to_owned(),
        }),
        EventKind::Iut(IutEvent::Exited {
            status: "exit code 1".to_owned(),
        }),
        EventKind::Iut(IutEvent::Hook {
            name: "button".to_owned(),
            phase: HookPhase::Asked,
            text: String::new(),
        }),
        EventKind::StepStarted {
            index: 0,
            line: 12,
            text: "await: registration".to_owned(),
        },
        EventKind::Packet(Packet {
            point: Point::Iut,
            toward: Toward::Peer,
            packet: 1,
            datagram: 1,
            fragment: Some(Fragment {
                index: 1,
                offset: 1256,
                more: false,
            }),
            bytes: Bytes::new(),
            altered: true,
        }),
        EventKind::Fate(FateOfPacket {
            toward: Toward::Peer,
            packet: 1,
            datagram: 1,
            rule: Some("lose".to_owned()),
            fate: Fate::Delayed,
            reason: None,
            delay: Some(Duration::from_nanos(1_500_000_001)),
            draw: Some(0.25),
        }),
        EventKind::Datagram(Datagram {
            point: Point::Peer,
            toward: Toward::Peer,
            datagram: 1,
            src: from,
            dst: "127.0.0.1:1".parse().unwrap(),
            payload: Bytes::from_static(&[0x40, 1, 0, 0xff]),
            packets: 1,
            largest: 60,
            altered: false,
            planned: true,
        }),
        EventKind::Registered(registration.clone()),
        EventKind::Updated(registration),
        EventKind::Deregistered {
            endpoint: "device".to_owned(),
            location: "/rd/1".to_owned(),
            from,
        },
        EventKind::Sample(Sample {
            object: 5,
            state: Some(1),
            result: None,
            by: SampleSource::Notification,
        }),
        EventKind::Transfer(TransferFacts {
            phase: TransferPhase::Ended,
            way: TransferWay::Pull,
            bytes: 1 << 40,
            sha256: "ab".to_owned(),
            expected_sha256: Some("cd".to_owned()),
        }),
        EventKind::Expectation(ExpectationOutcome {
            step: 3,
            line: 14,
            grade: Grade::Should,
            held: false,
            text: "code".to_owned(),
            expected: "2.04".to_owned(),
            seen: "4.08".to_owned(),
        }),
        EventKind::Finding(Finding {
            source: FindingSource::Expectation { step: 3, line: 14 },
            grade: Grade::Must,
            blame: Blame::Iut,
            clauses: vec!["rfc7252/4.5".to_owned()],
            title: "title".to_owned(),
            expected: "this".to_owned(),
            seen: "that".to_owned(),
            datagrams: vec![1],
            events: vec![9],
            hint: Some("look".to_owned()),
        }),
        EventKind::Note {
            text: "control \u{1b} and\nline".to_owned(),
        },
        EventKind::StepEnded {
            index: 0,
            outcome: "held".to_owned(),
        },
        EventKind::CaseEnded {
            verdict: Verdict::Pass,
            reason: String::new(),
            duration: Duration::from_millis(93_000),
            late: Some(Late {
                by: Duration::from_millis(3_100),
                wall: Duration::from_millis(31),
                due: Duration::from_millis(12_000),
            }),
        },
    ];
    kinds
        .into_iter()
        .enumerate()
        .map(|(index, kind)| Event {
            no: index as u64 + 1,
            at: Duration::from_nanos(index as u64 * 1_000_000_007),
            kind,
        })
        .collect()
}

fn written(events: &[Event]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for event in events {
        write_line(event, &mut bytes);
    }
    bytes
}

#[test]
fn the_format() {
    insta::assert_snapshot!("journal", String::from_utf8(written(&one_of_each())).unwrap());
}

#[test]
fn every_kind_comes_back() {
    let events = one_of_each();
    let read: Vec<Event> = JournalReader::new(&written(&events)[..]).map(Result::unwrap).collect();
    assert_eq!(read, events);
    for event in &events {
        assert!(
            serde_json::to_string(event)
                .unwrap()
                .contains(&format!("\"event\":\"{}\"", event.kind.name()))
        );
    }
}

#[test]
fn a_cut_last_line_is_left_out() {
    let events = one_of_each();
    let bytes = written(&events);
    let mut reader = JournalReader::new(&bytes[..bytes.len() - 2]);
    assert_eq!(reader.by_ref().map(Result::unwrap).count(), events.len() - 1);
    assert!(reader.was_cut());
    // Only its line end is missing: nothing is lost.
    let mut reader = JournalReader::new(&bytes[..bytes.len() - 1]);
    assert_eq!(reader.by_ref().map(Result::unwrap).count(), events.len());
    assert!(!reader.was_cut());
}

#[test]
fn a_broken_line_in_the_middle_has_its_number() {
    let mut bytes = written(&one_of_each()[..2]);
    bytes.extend(b"{\"no\":3}\n");
    bytes.extend(written(&one_of_each()[2..3]));
    let results: Vec<_> = JournalReader::new(&bytes[..]).collect();
    assert!(matches!(&results[2], Err(JournalError::Line { line: 3, .. })));
    assert!(results[3].is_ok());
}

fn datagrams() -> impl Strategy<Value = Event> {
    let address = || any::<std::net::SocketAddr>();
    let ends = (any::<bool>(), any::<bool>(), address(), address());
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u16>(), any::<u16>());
    let content = (prop::collection::vec(any::<u8>(), 0..40), any::<bool>(), any::<bool>());
    (ends, numbers, content).prop_map(
        |((at_iut, to_iut, src, dst), (no, at, datagram, packets, largest), (payload, altered, planned))| Event {
            no,
            at: Duration::from_nanos(at),
            kind: EventKind::Datagram(Datagram {
                point: if at_iut { Point::Iut } else { Point::Peer },
                toward: if to_iut { Toward::Iut } else { Toward::Peer },
                datagram,
                src,
                dst,
                payload: Bytes::from(payload),
                packets,
                largest,
                altered,
                planned,
            }),
        },
    )
}

proptest! {
    #[test]
    fn the_short_way_of_a_datagram_writes_the_same(event in datagrams()) {
        let long = serde_json::to_string(&event).unwrap() + "\n";
        prop_assert_eq!(String::from_utf8(written(&[event])).unwrap(), long);
    }

    #[test]
    fn a_journal_cut_anywhere_is_readable(at in 0usize..4000) {
        let bytes = written(&one_of_each());
        let cut = &bytes[..at.min(bytes.len())];
        for event in JournalReader::new(cut) {
            prop_assert!(event.is_ok());
        }
    }

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for event in JournalReader::new(&bytes[..]) {
            let _ = event;
        }
    }
}
