//! What all checks together cost: a push and a pull, an exchange an iteration.

use bytes::Bytes;
use core::time::Duration;
use divan::counter::ItemsCount;
use fotaproof_checks::{CheckConfig, Checks};
use fotaproof_trace::{Datagram, Event, EventKind, Point, Toward};
use fotaproof_wire::coap::{BlockValue, Code, RawMessage, Szx, Type, option};

const EXCHANGES: u32 = 16_384;

fn main() {
    divan::main();
}

fn event(no: u64, toward: Toward, message: &RawMessage) -> Event {
    let (iut, server) = ("10.0.0.1:40000".parse().unwrap(), "10.0.0.2:5683".parse().unwrap());
    let (src, dst) = if toward == Toward::Peer {
        (iut, server)
    } else {
        (server, iut)
    };
    let payload = Bytes::from(message.encode());
    let largest = payload.len() as u16 + 28;
    let datagram = Datagram {
        point: Point::Iut,
        toward,
        datagram: no,
        src,
        dst,
        payload,
        packets: 1,
        largest,
        altered: false,
        planned: false,
    };
    Event {
        no,
        at: Duration::from_millis(no * 20),
        kind: EventKind::Datagram(datagram),
    }
}

fn push(szx: Szx) -> Vec<Event> {
    let mut events = Vec::new();
    for num in 0..EXCHANGES {
        let block = BlockValue {
            num,
            more: num + 1 < EXCHANGES,
            szx,
        }
        .encode();
        let request = RawMessage::new(Type::Con, Code::PUT, num as u16, &[1, 2, 3, 4])
            .with_option(option::URI_PATH, *b"5")
            .with_option(option::URI_PATH, *b"0")
            .with_option(option::URI_PATH, *b"0")
            .with_option(option::CONTENT_FORMAT, [42])
            .with_option(option::BLOCK1, block.clone());
        let request = RawMessage {
            payload: vec![7; szx.size()],
            ..request
        };
        let code = if num + 1 < EXCHANGES {
            Code::CONTINUE
        } else {
            Code::CHANGED
        };
        let answer = RawMessage::new(Type::Ack, code, num as u16, &[1, 2, 3, 4]).with_option(option::BLOCK1, block);
        events.push(event(events.len() as u64 + 1, Toward::Iut, &request));
        events.push(event(events.len() as u64 + 1, Toward::Peer, &answer));
    }
    events
}

fn pull(szx: Szx) -> Vec<Event> {
    let mut events = Vec::new();
    for num in 0..EXCHANGES {
        let asked = BlockValue { num, more: false, szx }.encode();
        let told = BlockValue {
            num,
            more: num + 1 < EXCHANGES,
            szx,
        }
        .encode();
        let token = num.to_be_bytes();
        let request = RawMessage::new(Type::Con, Code::GET, num as u16, &token)
            .with_option(option::URI_PATH, *b"firmware")
            .with_option(option::BLOCK2, asked);
        let answer = RawMessage::new(Type::Ack, Code::CONTENT, num as u16, &token).with_option(option::BLOCK2, told);
        let answer = RawMessage {
            payload: vec![7; szx.size()],
            ..answer
        };
        events.push(event(events.len() as u64 + 1, Toward::Peer, &request));
        events.push(event(events.len() as u64 + 1, Toward::Iut, &answer));
    }
    events
}

fn judge(events: &[Event]) {
    let mut checks = Checks::new(CheckConfig {
        mtu: Some(1280),
        ..CheckConfig::default()
    });
    let mut findings = Vec::new();
    for event in events {
        checks.on_event(event, &mut findings);
    }
    checks.finish(Duration::from_secs(9_999), &mut findings);
    assert!(findings.is_empty(), "{findings:?}");
}

#[divan::bench(args = [64, 1024])]
fn push_datagrams(bencher: divan::Bencher<'_, '_>, size: usize) {
    let events = push(Szx::from_size(size).unwrap());
    bencher.counter(ItemsCount::new(events.len())).bench(|| judge(&events));
}

#[divan::bench(args = [64, 1024])]
fn pull_datagrams(bencher: divan::Bencher<'_, '_>, size: usize) {
    let events = pull(Szx::from_size(size).unwrap());
    bencher.counter(ItemsCount::new(events.len())).bench(|| judge(&events));
}
