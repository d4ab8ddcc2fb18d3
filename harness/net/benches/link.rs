//! What a datagram costs on the link. `cargo bench -p fotaproof-net`.

use core::time::Duration;

use bytes::Bytes;
use divan::{Bencher, counter::ItemsCount};
use fotaproof_net::{
    Action, BlockSel, Datagram, DirectionSpec, Facts, Kind, Link, LinkSpec, Loss, Reassembler, Rule, Select, Toward,
};

fn main() {
    divan::main();
}

const DATAGRAMS: u64 = 10_000;

fn datagram(len: usize) -> Datagram {
    Datagram {
        toward: Toward::Peer,
        src: "192.0.2.1:5683".parse().unwrap(),
        dst: "192.0.2.2:5683".parse().unwrap(),
        payload: Bytes::from(vec![0x5a; len]),
        facts: Facts {
            kind: Some(Kind::Con),
            code: Some(3),
            ..Facts::default()
        },
    }
}

fn run(bencher: Bencher<'_, '_>, spec: &LinkSpec, len: usize, bytes: bool) {
    let template = datagram(len);
    bencher
        .counter(ItemsCount::new(DATAGRAMS))
        .with_inputs(|| Link::new(spec.clone(), 1))
        .bench_local_refs(|link| {
            link.set_packet_bytes(bytes);
            for n in 0..DATAGRAMS {
                let now = Duration::from_micros(n * 100);
                link.send(now, template.clone());
                while let Some(event) = link.poll(now) {
                    divan::black_box(event);
                }
            }
        });
}

#[divan::bench(args = [64, 1024])]
fn perfect_without_bytes(bencher: Bencher<'_, '_>, len: usize) {
    run(bencher, &LinkSpec::perfect(), len, false);
}

#[divan::bench(args = [64, 1024])]
fn perfect_with_bytes(bencher: Bencher<'_, '_>, len: usize) {
    run(bencher, &LinkSpec::perfect(), len, true);
}

#[divan::bench]
fn delay_20_ms(bencher: Bencher<'_, '_>) {
    run(bencher, &LinkSpec::default(), 64, true);
}

#[divan::bench]
fn loss_jitter_rate_and_rules(bencher: Bencher<'_, '_>) {
    let direction = DirectionSpec {
        loss: Loss::Bernoulli(0.1),
        delay: Duration::from_millis(20),
        jitter: Duration::from_millis(10),
        rate_bps: Some(10_000_000),
        ..DirectionSpec::default()
    };
    let select = |num| Select {
        block1: Some(BlockSel::Num(num)),
        ..Select::default()
    };
    let rules = (0..10)
        .map(|num| Rule::new("drop", select(num), Action::Drop))
        .collect();
    run(
        bencher,
        &LinkSpec {
            toward_server: direction,
            rules,
            ..LinkSpec::default()
        },
        64,
        true,
    );
}

#[divan::bench]
fn two_fragments(bencher: Bencher<'_, '_>) {
    run(
        bencher,
        &LinkSpec {
            mtu: 576,
            ..LinkSpec::perfect()
        },
        1045,
        true,
    );
}

#[divan::bench]
fn reassembly_of_ten_fragments(bencher: Bencher<'_, '_>) {
    let mut link = Link::new(
        LinkSpec {
            mtu: 576,
            ..LinkSpec::perfect()
        },
        1,
    );
    link.send(Duration::ZERO, datagram(5500));
    let mut packets = Vec::new();
    while let Some(event) = link.poll(Duration::ZERO) {
        if let fotaproof_net::LinkEvent::Packet {
            point: fotaproof_net::Point::Peer,
            bytes,
            ..
        } = event
        {
            packets.push(bytes);
        }
    }
    let mut reassembler = Reassembler::default();
    bencher.counter(ItemsCount::new(packets.len())).bench_local(|| {
        for packet in &packets {
            divan::black_box(reassembler.push(Duration::ZERO, packet).is_ok());
        }
    });
}
