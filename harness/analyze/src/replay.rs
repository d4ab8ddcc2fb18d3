//! What a fuzz target runs, callable from tests too: every corpus file goes through the same functions.
//!
//! Nothing may panic, and what a report counts must stay within its bounds.

use bytes::Bytes;
use core::time::Duration;
use fotaproof_net::{Limits, Reassembler};
use std::io::sink;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::analyzer::{Options, analyze};
use crate::capture::CaptureParser;
use crate::report::{Analysis, CaptureReport};
use crate::{annotate, human, junit, report, svg, synth};

/// A fuzz target: its name and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// Every fuzz target.
pub const TARGETS: [Target; 4] = [
    ("capture_reader", capture_reader),
    ("reassembly", reassembly),
    ("analyzer", analyzer),
    ("outputs", outputs),
];

/// A capture of any bytes: pieces of any size give the same frames as the whole.
pub fn capture_reader(bytes: &[u8]) {
    let whole = read(bytes, usize::MAX);
    assert_eq!(whole, read(bytes, 7), "pieces read otherwise than the whole");
}

/// A capture of any bytes, judged, and everything that can be made of the report. Slow, so a target of its own.
pub fn outputs(bytes: &[u8]) {
    shown(analyze("fuzz", bytes, Options::default()), bytes);
    let conversation = conversation(bytes);
    shown(analyze("fuzz", &conversation[..], Options::default()), &conversation);
}

fn read(bytes: &[u8], size: usize) -> (u64, u64, Result<(), String>) {
    let mut parser = CaptureParser::default();
    for piece in bytes.chunks(size) {
        parser.feed(Bytes::copy_from_slice(piece));
        loop {
            match parser.next_frame() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(broken) => return (broken.frames, broken.offset, Err(broken.to_string())),
            }
        }
    }
    let end = parser.finish().map_err(|broken| broken.to_string());
    (parser.frames(), parser.offset(), end)
}

fn shown(capture: CaptureReport, bytes: &[u8]) {
    assert!(capture.devices.len() <= Options::default().devices);
    assert!(capture.bytes <= bytes.len() as u64);
    let _ = svg::render(&capture);
    if !capture.format.is_empty() {
        // What the writer refuses is told, not a panic.
        let _ = annotate::annotate(&capture, bytes, sink());
    }
    let analysis = Analysis::new(vec![capture]);
    let _ = human::render(&analysis);
    assert!(report::json(&analysis).is_ok());
    assert!(junit::render(&analysis).is_ok());
}

/// IP packets, each behind its length in one byte times 4: bounded memory whatever they are.
pub fn reassembly(bytes: &[u8]) {
    let limits = Limits {
        timeout: Duration::from_secs(1),
        bytes: 4096,
        datagrams: 8,
        fragments: 16,
    };
    let mut reassembler = Reassembler::new(limits);
    let mut now = Duration::ZERO;
    let mut rest = bytes;
    while let Some((length, more)) = rest.split_first() {
        let (packet, more) = more.split_at((usize::from(*length) * 4).min(more.len()));
        rest = more;
        now += Duration::from_millis(u64::from(*length));
        if let Ok(Some(whole)) = reassembler.push(now, &Bytes::copy_from_slice(packet)) {
            let _ = whole.udp();
        }
        assert!(reassembler.bytes() <= limits.bytes && reassembler.pending() <= limits.datagrams);
    }
}

/// Datagrams between a few addresses, judged: two bytes say which, when and how long, the message follows.
pub fn analyzer(bytes: &[u8]) {
    let report = analyze("fuzz", &conversation(bytes)[..], Options::default());
    assert!(report.devices.len() <= Options::default().devices);
}

fn conversation(bytes: &[u8]) -> Vec<u8> {
    let mut capture = synth::pcap_head(101);
    let mut now = Duration::ZERO;
    let mut rest = bytes;
    while let Some(([way, length], more)) = rest.split_first_chunk::<2>() {
        let (payload, more) = more.split_at(usize::from(*length).min(more.len()));
        rest = more;
        now += Duration::from_millis(1 << (way >> 4));
        let device = SocketAddrV4::new(
            Ipv4Addr::new(192, 0, 2, 2 + (way >> 1 & 1)),
            50_000 + u16::from(way >> 2 & 1),
        );
        let server = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), if way & 8 == 0 { 5683 } else { 6000 });
        let (src, dst) = if way & 1 == 0 {
            (device, server)
        } else {
            (server, device)
        };
        synth::pcap_record(&mut capture, now, &synth::udp(src, dst, payload));
    }
    capture
}
