use super::{CaptureInfo, CaptureWriter, plain_block};
use crate::event::{Event, EventKind, Fate, FateOfPacket, Packet, Point, Toward};
use crate::finding::{Blame, Finding, FindingSource, Grade};
use crate::read::CaptureReader;
use bytes::Bytes;
use core::time::Duration;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use std::borrow::Cow;

fn event(at: u64, kind: EventKind) -> Event {
    Event {
        no: 1,
        at: Duration::from_nanos(at),
        kind,
    }
}

fn packet(at: u64, point: Point, id: u64) -> Event {
    event(
        at,
        EventKind::Packet(Packet {
            point,
            toward: Toward::Iut,
            packet: id,
            datagram: id,
            fragment: None,
            bytes: Bytes::from(vec![0x45; 30]),
            altered: false,
        }),
    )
}

fn finding(datagram: u64) -> EventKind {
    EventKind::Finding(Finding {
        source: FindingSource::Check("token-echo".to_owned()),
        grade: Grade::Must,
        blame: Blame::Iut,
        clauses: vec!["rfc7252/5.3.1".to_owned()],
        title: "a title".to_owned(),
        expected: "this".to_owned(),
        seen: "that".to_owned(),
        datagrams: vec![datagram],
        events: vec![],
        hint: None,
    })
}

fn info() -> CaptureInfo {
    CaptureInfo {
        comment: "push.plain, seed 1".to_owned(),
        application: "fotaproof 0.1.0".to_owned(),
        epoch: Duration::from_secs(1_000_000),
        hosts: vec![
            ("10.0.0.1".parse().unwrap(), "iut".to_owned()),
            ("fe80::1".parse().unwrap(), "server".to_owned()),
        ],
    }
}

#[test]
fn both_ends_show_with_comments_and_nanoseconds() {
    let mut writer = CaptureWriter::new(Vec::new(), &info()).unwrap();
    writer.secrets("CLIENT_RANDOM 00 11\n").unwrap();
    writer
        .on_event(&event(
            0,
            EventKind::StepStarted {
                index: 0,
                line: 7,
                text: "push".to_owned(),
            },
        ))
        .unwrap();
    writer.on_event(&packet(1, Point::Peer, 1)).unwrap();
    writer.on_event(&packet(20_000_001, Point::Iut, 1)).unwrap();
    writer.on_event(&packet(20_000_002, Point::Iut, 2)).unwrap();
    writer
        .on_event(&event(
            20_000_002,
            EventKind::Fate(FateOfPacket {
                toward: Toward::Peer,
                packet: 2,
                datagram: 2,
                rule: Some("lose-ack".to_owned()),
                fate: Fate::Dropped,
                reason: Some("rule".to_owned()),
                delay: None,
                draw: None,
            }),
        ))
        .unwrap();
    writer.on_event(&event(20_000_003, finding(1))).unwrap();
    assert_eq!(writer.frame_of(2), Some(3));
    assert_eq!(writer.frame_of(9), None);
    let bytes = writer.finish().unwrap();
    let packets: Vec<_> = CaptureReader::new(&bytes[..]).unwrap().map(Result::unwrap).collect();
    let summary: Vec<_> = packets
        .iter()
        .map(|packet| {
            (
                packet.number,
                packet.interface,
                packet.at.as_nanos() - 1_000_000_000_000_000,
                packet.comments.join("; "),
            )
        })
        .collect();
    assert_eq!(
        summary,
        [
            (1, 1, 1, "step 1 (line 7): push".to_owned()),
            (
                2,
                0,
                20_000_001,
                "check token-echo (must, rfc7252/5.3.1): a title. Expected: this. Seen: that".to_owned()
            ),
            (3, 0, 20_000_002, "dropped by rule lose-ack".to_owned()),
        ]
    );
}

#[test]
fn a_finding_about_a_written_packet_stands_at_the_last() {
    let mut writer = CaptureWriter::new(Vec::new(), &info()).unwrap().with_bound(200);
    writer.on_event(&packet(1, Point::Iut, 1)).unwrap();
    writer.on_event(&packet(2, Point::Iut, 2)).unwrap();
    writer.on_event(&event(3, finding(1))).unwrap();
    let bytes = writer.finish().unwrap();
    let packets: Vec<_> = CaptureReader::new(&bytes[..]).unwrap().map(Result::unwrap).collect();
    assert!(packets[0].comments.is_empty());
    assert!(packets[1].comments[0].starts_with("about frame 1: check token-echo"));
}

#[test]
fn a_cut_capture_gives_what_it_has() {
    let mut writer = CaptureWriter::new(Vec::new(), &info()).unwrap();
    writer.on_event(&packet(1, Point::Iut, 1)).unwrap();
    writer.on_event(&packet(2, Point::Iut, 2)).unwrap();
    let bytes = writer.finish().unwrap();
    let read: Vec<_> = CaptureReader::new(&bytes[..bytes.len() - 5]).unwrap().collect();
    assert_eq!(read.len(), 2);
    assert!(read[0].is_ok());
    assert!(read[1].is_err());
}

#[test]
fn a_plain_packet_is_written_as_the_library_writes_it() {
    for length in 0..9 {
        let bytes = vec![7; length];
        let block = EnhancedPacketBlock {
            interface_id: 1,
            timestamp: Duration::new(5_000_000_000, 7),
            original_len: length as u32,
            data: Cow::Borrowed(&bytes),
            options: Vec::new(),
        };
        let mut capture = CaptureWriter::new(Vec::new(), &info()).unwrap();
        let head = capture.writer.get_mut().len();
        capture.writer.write_pcapng_block(block.clone()).unwrap();
        let mut ours = Vec::new();
        plain_block(block.timestamp, Point::Peer, &bytes, &mut ours).unwrap();
        assert_eq!(capture.writer.get_mut()[head..], ours, "{length} bytes");
    }
}
