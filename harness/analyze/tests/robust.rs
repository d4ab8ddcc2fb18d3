//! Captures that lie, break, or are meant to harm: what could be read is reported, and where it broke.

use core::time::Duration;
use fotaproof_analyze::replay::TARGETS;
use fotaproof_analyze::report::Verdict;
use fotaproof_analyze::{Analysis, CaptureReport, Options, analyze, synth};
use proptest::prelude::*;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 5683);

fn device(last: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, last), 40_000)
}

fn judged(bytes: &[u8]) -> CaptureReport {
    analyze("test", bytes, Options::default())
}

fn code(report: CaptureReport) -> i32 {
    Analysis::new(vec![report]).exit_code
}

fn get(id: u16, token: &[u8], path: &[u8]) -> Vec<u8> {
    synth::coap(0, 1, id, token, &[(11, path)], b"")
}

fn content(id: u16, token: &[u8], payload: &[u8]) -> Vec<u8> {
    synth::coap(2, 0x45, id, token, &[(12, b"")], payload)
}

/// A device that fetches a file of one message, twice.
fn small() -> Vec<u8> {
    let mut capture = synth::pcap_head(101);
    for id in 0..2 {
        let at = |ms| Duration::from_millis(u64::from(id) * 1000 + ms);
        let ask = synth::udp(device(1), SERVER, &get(id, &[1], b"fw"));
        synth::pcap_record(&mut capture, at(0), &ask);
        let answer = synth::udp(SERVER, device(1), &content(id, &[1], b"image"));
        synth::pcap_record(&mut capture, at(20), &answer);
    }
    capture
}

#[test]
fn a_small_capture_passes() {
    let report = judged(&small());
    assert_eq!((report.counts.coap, report.devices.len()), (4, 1));
    assert_eq!(report.verdict, Verdict::Pass, "{report:#?}");
    assert_eq!(report.devices[0].traffic.round_trip.as_ref().unwrap().count, 2);
    assert_eq!(code(report), 0);
}

#[test]
fn every_cut_of_a_capture_is_told() {
    let whole = small();
    // The ends of the head and of each record, where nothing is missing.
    let mut ends = vec![24];
    while let Some(length) = whole.get(ends[ends.len() - 1] + 8..).and_then(<[u8]>::first_chunk::<4>) {
        ends.push(ends[ends.len() - 1] + 16 + u32::from_le_bytes(*length) as usize);
    }
    assert_eq!(ends.len(), 5);
    for end in 0..whole.len() {
        let report = judged(&whole[..end]);
        let broken = report.broken.clone();
        assert_eq!(broken.is_none(), ends.contains(&end), "cut at {end}: {broken:?}");
        if let Some(broken) = broken {
            assert!(broken.offset <= end as u64);
            assert_eq!(code(report), if end == 0 { 3 } else { 5 }, "cut at {end}");
        }
    }
}

#[test]
fn a_device_that_failed_before_the_capture_broke_has_failed() {
    let mut capture = small();
    // Its answer carries another token.
    synth::pcap_record(
        &mut capture,
        Duration::from_secs(3),
        &synth::udp(SERVER, device(1), &get(9, &[1], b"5")),
    );
    synth::pcap_record(
        &mut capture,
        Duration::from_secs(3),
        &synth::udp(device(1), SERVER, &content(9, &[2], b"0")),
    );
    capture.extend([0; 5]);
    let report = judged(&capture);
    assert!(report.broken.as_ref().is_some_and(|broken| !broken.invalid));
    assert_eq!(report.verdict, Verdict::Fail);
    assert_eq!(code(report), 1, "a fail is worse than an early end");
    // Bytes that break the format are: what follows them may be anything.
    capture.truncate(capture.len() - 5);
    capture.extend([0xff; 64]);
    let report = judged(&capture);
    assert!(report.broken.as_ref().is_some_and(|broken| broken.invalid));
    assert_eq!((report.verdict, code(report)), (Verdict::Fail, 3));
}

#[test]
fn no_capture_at_all() {
    assert_eq!(code(judged(b"")), 3, "empty");
    assert_eq!(code(judged(b"GIF89a, surely")), 3, "another file");
    assert_eq!(code(judged(&synth::pcap_head(101))), 4, "no packet is no success");
}

#[test]
fn a_length_that_lies_is_refused_and_not_waited_for() {
    let mut capture = small();
    let frames = 4;
    capture.extend([0; 8]);
    capture.extend(0xffff_fff0_u32.to_le_bytes());
    capture.extend([0; 64]);
    let report = judged(&capture);
    let broken = report.broken.clone().unwrap();
    assert_eq!((broken.frames, broken.invalid), (frames, true), "{broken:?}");
    assert_eq!(report.devices.len(), 1, "what was read is reported");
    assert_eq!(code(report), 3);

    let mut capture = synth::pcapng_head();
    capture.extend(6u32.to_le_bytes());
    capture.extend(0x7fff_fff0_u32.to_le_bytes());
    let broken = judged(&capture).broken.unwrap();
    assert!(broken.reason.contains("2147483632"), "{broken:?}");
}

#[test]
fn an_interface_that_is_not_there() {
    let mut capture = synth::pcapng_head();
    let mut body = 7u32.to_le_bytes().to_vec();
    body.extend([0; 8]);
    body.extend([4, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 4]);
    synth::pcapng_block(&mut capture, 6, &body);
    let broken = judged(&capture).broken.unwrap();
    assert!(broken.invalid && broken.reason.contains('7'), "{broken:?}");
}

#[test]
fn interface_descriptions_without_end() {
    let mut capture = synth::pcapng_head();
    for _ in 0..100_000 {
        synth::pcapng_block(&mut capture, 1, &[101, 0, 0, 0, 0, 0, 0, 0]);
    }
    let broken = judged(&capture).broken.unwrap();
    assert!(broken.reason.contains("interface"), "{broken:?}");
}

#[test]
fn fragments_that_overlap_and_fragments_without_end() {
    let packet = synth::udp(device(1), SERVER, &get(1, &[1], &[b'x'; 200]));
    let mut capture = synth::pcap_head(101);
    synth::pcap_record(&mut capture, Duration::ZERO, &synth::fragment(&packet, 0, 64, true));
    synth::pcap_record(&mut capture, Duration::ZERO, &synth::fragment(&packet, 56, 64, true));
    let report = judged(&capture);
    assert_eq!(
        (report.counts.unreadable, report.counts.incomplete, report.counts.coap),
        (1, 1, 0)
    );

    let mut capture = synth::pcap_head(101);
    let mut bomb = packet;
    for id in 0..60_000_u16 {
        bomb[4..6].copy_from_slice(&id.to_be_bytes());
        synth::pcap_record(&mut capture, Duration::ZERO, &synth::fragment(&bomb, 0, 64, true));
    }
    let report = judged(&capture);
    assert_eq!(report.counts.incomplete, 60_000);
    assert!(report.devices.is_empty());
}

#[test]
fn fragments_in_order_and_out_of_order_are_a_datagram() {
    let packet = synth::udp(device(1), SERVER, &get(1, &[1], &[b'x'; 200]));
    let body = packet.len() - 20;
    let mut capture = synth::pcap_head(101);
    synth::pcap_record(
        &mut capture,
        Duration::ZERO,
        &synth::fragment(&packet, 64, body - 64, false),
    );
    synth::pcap_record(&mut capture, Duration::ZERO, &synth::fragment(&packet, 0, 64, true));
    let report = judged(&capture);
    assert_eq!((report.counts.reassembled, report.counts.coap), (1, 1));
    let traffic = &report.devices[0].traffic;
    assert_eq!((traffic.fragmented, traffic.sent_bytes), (1, packet.len() as u64 + 20));
}

/// Datagrams of many devices wait and are taken device by device; that shows nowhere.
#[test]
fn many_devices_at_once_are_judged_as_each_alone() {
    let mut alone = vec![synth::pcap_head(101); 40];
    let mut together = synth::pcap_head(101);
    for round in 0..300_u16 {
        for (last, alone) in alone.iter_mut().enumerate() {
            let at = Duration::from_millis(u64::from(round) * 100);
            let device = device(last as u8);
            // Every seventh answer of each third device has another token.
            let token = [if round % 7 == 0 && last % 3 == 0 { 9 } else { 1 }];
            let path: [(u16, &[u8]); 3] = [(11, b"5"), (11, b"0"), (11, b"3")];
            let ask = synth::udp(SERVER, device, &synth::coap(0, 1, round, &[1], &path, b""));
            let answer = synth::udp(device, SERVER, &content(round, &token, b"0"));
            for packet in [ask, answer] {
                synth::pcap_record(alone, at, &packet);
                synth::pcap_record(&mut together, at, &packet);
            }
        }
    }
    let whole = judged(&together);
    assert_eq!(whole.devices.len(), 40);
    for (device, alone) in whole.devices.iter().zip(&alone) {
        let report = judged(alone);
        assert_eq!(report.devices.len(), 1);
        let one = &report.devices[0];
        assert_eq!((&device.endpoint, &device.traffic), (&one.endpoint, &one.traffic));
        assert_eq!(
            (&device.checks, device.findings.len()),
            (&one.checks, one.findings.len())
        );
    }
    assert!(whole.devices[3].verdict == Verdict::Fail && whole.devices[4].verdict == Verdict::Pass);
}

#[test]
fn one_token_for_everything_and_a_chain_of_options() {
    let mut capture = synth::pcap_head(101);
    for id in 0..5000_u16 {
        let at = Duration::from_millis(u64::from(id));
        synth::pcap_record(&mut capture, at, &synth::udp(device(1), SERVER, &get(id, &[7], b"fw")));
    }
    let options: Vec<(u16, &[u8])> = vec![(11, b"a"); 20_000];
    let chain = synth::coap(0, 1, 9, &[1], &options, b"");
    synth::pcap_record(
        &mut capture,
        Duration::from_secs(9),
        &synth::udp(device(2), SERVER, &chain),
    );
    let report = judged(&capture);
    assert_eq!(report.counts.coap, 5001);
    assert_eq!(report.devices.len(), 2);
}

#[test]
fn an_encrypted_capture_is_inconclusive() {
    let mut capture = synth::pcap_head(101);
    let hello = [22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    let to = SocketAddrV4::new(*SERVER.ip(), 5684);
    synth::pcap_record(&mut capture, Duration::ZERO, &synth::udp(device(1), to, &hello));
    let report = judged(&capture);
    assert_eq!((report.verdict, report.encrypted.len()), (Verdict::Inconclusive, 1));
    assert_eq!(code(report), 5);
}

#[test]
fn coap_on_another_port_is_recognised_and_dns_is_not() {
    let at = |port| SocketAddrV4::new(*SERVER.ip(), port);
    let one = |port, payload: &[u8]| {
        let mut capture = synth::pcap_head(101);
        synth::pcap_record(&mut capture, Duration::ZERO, &synth::udp(device(1), at(port), payload));
        capture
    };
    assert_eq!(judged(&one(34_567, &get(1, &[1], b"fw"))).counts.coap, 1);
    assert_eq!(judged(&one(53, &get(1, &[1], b"fw"))).counts.coap, 0);
    assert_eq!(judged(&one(34_567, b"hello, world")).counts.other_udp, 1);
    let forced = Options {
        ports: vec![34_567],
        ..Options::default()
    };
    let report = analyze("test", &one(34_567, b"hello, world")[..], forced);
    assert_eq!(report.counts.coap, 1, "it is asked for");
}

#[test]
fn every_corpus_file() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (target, run) in TARGETS {
        let folder = corpus.join(target);
        let mut files: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        assert!(files.len() >= 7, "{} has only {} files", folder.display(), files.len());
        for file in files {
            println!("{}", file.display());
            run(&std::fs::read(&file).unwrap());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300), target in 0..TARGETS.len()) {
        TARGETS[target].1(&bytes);
    }

    #[test]
    fn any_capture_head(tail in proptest::collection::vec(any::<u8>(), 0..200), pcap in any::<bool>()) {
        let mut bytes = if pcap { synth::pcap_head(101) } else { synth::pcapng_head() };
        bytes.extend(tail);
        TARGETS[0].1(&bytes);
    }

    /// Any byte of a good capture turned into any other.
    #[test]
    fn a_capture_with_a_wrong_byte(at in 0usize..238, to in any::<u8>()) {
        let mut bytes = small();
        let at = at % bytes.len();
        bytes[at] = to;
        TARGETS[0].1(&bytes);
    }

    /// Blocks of any kind with any body.
    #[test]
    fn any_blocks(blocks in proptest::collection::vec((0u32..12, proptest::collection::vec(any::<u8>(), 0..60)), 0..12)) {
        let mut bytes = synth::pcapng_head();
        for (kind, body) in blocks {
            synth::pcapng_block(&mut bytes, kind, &body);
        }
        TARGETS[0].1(&bytes);
    }

    /// Messages that are almost right.
    #[test]
    fn almost_messages(
        messages in proptest::collection::vec(
            (any::<u8>(), 0u8..4, any::<u8>(), 0u16..4, 0u8..3, proptest::collection::vec(any::<u8>(), 0..40), 0usize..6),
            0..60,
        )
    ) {
        let paths: [&[(u16, &[u8])]; 6] = [
            &[(11, b"rd"), (15, b"ep=x"), (15, b"lwm2m=1.1")],
            &[(11, b"rd"), (11, b"1")],
            &[(11, b"5"), (11, b"0"), (11, b"0"), (27, &[8])],
            &[(6, b""), (11, b"5"), (11, b"0"), (11, b"3")],
            &[(12, &[0x2d, 0x16])],
            &[(11, b"fw"), (23, &[0x1e])],
        ];
        let mut bytes = Vec::new();
        for (way, kind, code, id, token, payload, path) in messages {
            let message = synth::coap(kind, code, id, &[token], paths[path], &payload);
            bytes.extend([way, message.len() as u8]);
            bytes.extend(message);
        }
        TARGETS[2].1(&bytes);
    }
}
