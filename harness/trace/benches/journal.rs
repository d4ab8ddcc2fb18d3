//! What it costs to keep evidence: a line of the journal, a packet of the capture.

use bytes::Bytes;
use core::time::Duration;
use divan::counter::ItemsCount;
use fotaproof_trace::*;

fn main() {
    divan::main();
}

fn event(no: u64, kind: EventKind) -> Event {
    Event {
        no,
        at: Duration::from_millis(no * 20),
        kind,
    }
}

fn datagram(no: u64) -> Event {
    event(
        no,
        EventKind::Datagram(Datagram {
            point: Point::Iut,
            toward: Toward::Peer,
            datagram: no,
            src: "10.0.0.1:40000".parse().unwrap(),
            dst: "10.0.0.2:5683".parse().unwrap(),
            payload: Bytes::from(vec![0x5a; 90]),
            packets: 1,
            largest: 118,
            altered: false,
            planned: false,
        }),
    )
}

fn packet(no: u64) -> Event {
    event(
        no,
        EventKind::Packet(Packet {
            point: Point::Iut,
            toward: Toward::Peer,
            packet: no,
            datagram: no,
            fragment: None,
            bytes: Bytes::from(vec![0x45; 118]),
            altered: false,
        }),
    )
}

fn fate(no: u64) -> Event {
    event(
        no,
        EventKind::Fate(FateOfPacket {
            toward: Toward::Peer,
            packet: no,
            datagram: no,
            rule: None,
            fate: Fate::Pass,
            reason: None,
            delay: None,
            draw: None,
        }),
    )
}

#[divan::bench(args = ["datagram", "packet", "fate"])]
fn lines(bencher: divan::Bencher<'_, '_>, kind: &str) {
    let events: Vec<Event> = (1..=1000)
        .map(|no| match kind {
            "datagram" => datagram(no),
            "packet" => packet(no),
            _ => fate(no),
        })
        .collect();
    let mut out = Vec::with_capacity(1 << 20);
    bencher.counter(ItemsCount::new(events.len())).bench_local(|| {
        out.clear();
        for event in &events {
            write_line(event, &mut out);
        }
        out.len()
    });
}

#[divan::bench]
fn capture(bencher: divan::Bencher<'_, '_>) {
    let events: Vec<Event> = (1..=1000).flat_map(|no| [packet(no), fate(no)]).collect();
    bencher.counter(ItemsCount::new(1000usize)).bench_local(|| {
        let mut writer = CaptureWriter::new(Vec::new(), &CaptureInfo::default()).unwrap();
        for event in &events {
            writer.on_event(event).unwrap();
        }
        writer.finish().unwrap().len()
    });
}
