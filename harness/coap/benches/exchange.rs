//! One request and its response, both endpoints, no loss. The aim is under 3 µs.

use std::{net::SocketAddr, time::Duration};

use coap_lite::{MessageClass, Packet};
use fotaproof_coap::{
    Config, Endpoint, Event, Request,
    blockwise::{Block1Receive, Block1Send, BlockArrival, ReceiveConfig, ReceiveStep, SendStep},
};
use fotaproof_wire::coap::{Code, Szx, build};

fn main() {
    divan::main();
}

fn client() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 40000))
}

fn server() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 2], 5683))
}

fn exchange(a: &mut Endpoint, b: &mut Endpoint, now: Duration, request: &Packet, response: &Packet) {
    a.request(now, server(), Request::confirmable(request.clone()));
    while let Some(transmit) = a.poll_transmit() {
        b.handle_datagram(now, client(), &transmit.bytes);
    }
    while let Some(event) = b.poll_event() {
        if let Event::Request { id, .. } = event {
            b.respond(now, id, response.clone());
        }
    }
    while let Some(transmit) = b.poll_transmit() {
        a.handle_datagram(now, server(), &transmit.bytes);
    }
    while let Some(event) = a.poll_event() {
        assert!(matches!(event, Event::Response { .. }));
    }
}

/// Time goes on by 10 ms a round, so that message IDs and the deduplication cache are at their steady state.
fn bench_exchange(bencher: divan::Bencher<'_, '_>, payload: usize) {
    let mut request = Packet::new();
    request.header.code = MessageClass::from(Code::PUT);
    build::set_path(&mut request, "/5/0/0");
    build::set_content_format(&mut request, 42);
    build::set_block1(&mut request, "7/1/64".parse().unwrap());
    request.payload = vec![7; payload];
    let mut response = Packet::new();
    response.header.code = MessageClass::from(Code::CONTINUE);
    build::set_block1(&mut response, "7/1/64".parse().unwrap());
    let mut a = Endpoint::new(Config::default(), 1);
    let mut b = Endpoint::new(Config::default(), 2);
    let mut now = Duration::ZERO;
    bencher.bench_local(|| {
        now += Duration::from_millis(10);
        exchange(&mut a, &mut b, now, &request, &response);
    });
}

#[divan::bench]
fn block_of_64(bencher: divan::Bencher<'_, '_>) {
    bench_exchange(bencher, 64);
}

#[divan::bench]
fn block_of_1024(bencher: divan::Bencher<'_, '_>) {
    bench_exchange(bencher, 1024);
}

/// The machines alone, a body of 65536 blocks.
#[divan::bench]
fn machines_65536_blocks() -> u64 {
    let mut send = Block1Send::new(1 << 20, Szx::S16);
    let mut receive = Block1Receive::new(ReceiveConfig::default());
    loop {
        let step = send.next_step().unwrap();
        let arrival = BlockArrival {
            from: client(),
            request_tag: None,
            block: step.block,
            payload_len: (step.range.end - step.range.start) as usize,
            size1: None,
        };
        let taken = receive.on_block(Duration::ZERO, &arrival);
        let code = taken.code().unwrap_or(Code::CHANGED);
        if let SendStep::Done(_) = send.on_response(code, taken.answer(), None) {
            let ReceiveStep::Complete { total, .. } = taken else {
                return 0;
            };
            return total;
        }
    }
}
