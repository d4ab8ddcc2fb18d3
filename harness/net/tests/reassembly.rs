//! Reassembly of captured packets: limits, lies, order.

mod common;

use core::time::Duration;

use bytes::Bytes;
use common::*;
use fotaproof_net::{Limits, LinkSpec, Reassembler, ReassemblyError};
use proptest::prelude::*;

const ZERO: Duration = Duration::ZERO;

fn fragments(len: usize) -> Vec<Bytes> {
    packets(
        &once(
            LinkSpec {
                mtu: 276,
                ..LinkSpec::perfect()
            },
            len,
        ),
        true,
    )
    .into_iter()
    .map(|(.., bytes)| bytes)
    .collect()
}

/// An IPv4 fragment by hand.
fn fragment(ident: u16, offset: u16, more: bool, data: &[u8]) -> Bytes {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
    packet[2..4].copy_from_slice(&(20 + data.len() as u16).to_be_bytes());
    packet[4..6].copy_from_slice(&ident.to_be_bytes());
    packet[6..8].copy_from_slice(&((offset / 8) | (u16::from(more) << 13)).to_be_bytes());
    packet.extend_from_slice(data);
    packet.into()
}

#[test]
fn fragments_wait_thirty_seconds_and_no_longer() {
    for (late, whole) in [(30_000, true), (30_001, false)] {
        let mut reassembler = Reassembler::default();
        let parts = fragments(400);
        assert_eq!(reassembler.push(ZERO, &parts[0]), Ok(None));
        assert_eq!(reassembler.push(ms(late), &parts[1]).unwrap().is_some(), whole);
        assert_eq!(reassembler.discarded(), u64::from(!whole));
    }
}

#[test]
fn a_repeated_fragment_is_ignored_and_an_overlap_ends_the_datagram() {
    let mut reassembler = Reassembler::default();
    assert_eq!(reassembler.push(ZERO, &fragment(1, 0, true, &[1; 16])), Ok(None));
    assert_eq!(reassembler.push(ZERO, &fragment(1, 0, true, &[1; 16])), Ok(None));
    assert_eq!(
        reassembler.push(ZERO, &fragment(1, 8, true, &[1; 16])),
        Err(ReassemblyError::Overlap { offset: 8 })
    );
    assert_eq!(
        (reassembler.pending(), reassembler.bytes(), reassembler.discarded()),
        (0, 0, 1)
    );
    // Same place, other bytes.
    assert_eq!(reassembler.push(ZERO, &fragment(2, 0, true, &[1; 16])), Ok(None));
    assert_eq!(
        reassembler.push(ZERO, &fragment(2, 0, true, &[2; 16])),
        Err(ReassemblyError::Overlap { offset: 0 })
    );
    // Two ends.
    assert_eq!(reassembler.push(ZERO, &fragment(3, 16, false, &[1; 5])), Ok(None));
    assert_eq!(
        reassembler.push(ZERO, &fragment(3, 24, false, &[1; 5])),
        Err(ReassemblyError::Overlap { offset: 24 })
    );
    // Data before the end that lies behind it.
    assert_eq!(reassembler.push(ZERO, &fragment(4, 32, true, &[1; 8])), Ok(None));
    assert_eq!(
        reassembler.push(ZERO, &fragment(4, 16, false, &[1; 8])),
        Err(ReassemblyError::Overlap { offset: 16 })
    );
}

#[test]
fn a_datagram_ends_at_65535_bytes() {
    let mut reassembler = Reassembler::default();
    assert_eq!(reassembler.push(ZERO, &fragment(1, 65_528, false, &[0; 7])), Ok(None));
    assert_eq!(
        reassembler.push(ZERO, &fragment(2, 65_528, false, &[0; 8])),
        Err(ReassemblyError::TooLong { end: 65_536 })
    );
}

#[test]
fn only_the_last_fragment_may_be_uneven() {
    let mut reassembler = Reassembler::default();
    assert_eq!(
        reassembler.push(ZERO, &fragment(1, 0, true, &[0; 15])),
        Err(ReassemblyError::Misaligned { offset: 0, length: 15 })
    );
    assert_eq!(reassembler.push(ZERO, &fragment(1, 16, false, &[0; 15])), Ok(None));
}

#[test]
fn packets_that_lie_about_themselves_are_refused() {
    let mut reassembler = Reassembler::default();
    let mut push = |bytes: &[u8]| {
        reassembler
            .push(ZERO, &Bytes::copy_from_slice(bytes))
            .unwrap_err()
            .to_string()
    };
    let good = fragments(10)[0].clone();
    insta::assert_snapshot!(push(&[]), @"packet ends at byte 0, needs 1");
    insta::assert_snapshot!(push(&[0x55; 40]), @"ip version 5 at byte 0");
    insta::assert_snapshot!(push(&good[..19]), @"packet ends at byte 19, needs 20");
    insta::assert_snapshot!(push(&good[..37]), @"packet ends at byte 37, needs 38");
    insta::assert_snapshot!(push(&[&[0x44], &good[1..]].concat()), @"ipv4 header of 16 bytes in a packet of 38");
    insta::assert_snapshot!(push(&[&[0x4f], &good[1..]].concat()), @"ipv4 header of 60 bytes in a packet of 38");
    insta::assert_snapshot!(push(&[0x60; 39]), @"packet ends at byte 39, needs 40");
    // A chain of destination options without end.
    let mut chain = vec![0x60, 0, 0, 0, 0, 200, 60, 64];
    chain.resize(40, 1);
    chain.extend([60, 0, 0, 0, 0, 0, 0, 0].repeat(25));
    insta::assert_snapshot!(push(&chain), @"more than 16 extension headers, the next at byte 168");
}

#[test]
fn padding_after_the_packet_is_left_out() {
    let good = fragments(1)[0].clone();
    let padded: Bytes = [&good[..], &[0xaa; 17]].concat().into();
    let whole = Reassembler::default().push(ZERO, &padded).unwrap().unwrap();
    assert_eq!(
        (whole.payload.len(), whole.udp().unwrap().unwrap().payload),
        (9, payload(1))
    );
}

/// Fragment bombs: many datagrams begun, none ended; one datagram in crumbs.
#[test]
fn memory_is_bounded() {
    let limits = Limits {
        bytes: 100_000,
        datagrams: 50,
        fragments: 10,
        ..Limits::default()
    };
    let mut reassembler = Reassembler::new(limits);
    for ident in 0..5000 {
        let _ = reassembler.push(ZERO, &fragment(ident, 0, true, &[0; 1024]));
        let _ = reassembler.push(ZERO, &fragment(ident, 2048, true, &[0; 4096]));
        assert!(reassembler.bytes() <= 100_000 && reassembler.pending() <= 50);
    }
    assert!(reassembler.discarded() > 4900);
    let crumbs: Vec<_> = (0..11)
        .map(|n| reassembler.push(ZERO, &fragment(9999, n * 16, true, &[0; 8])))
        .collect();
    assert_eq!(crumbs[9..], [Ok(None), Err(ReassemblyError::TooMany { limit: 10 })]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_fragments_does_not_matter(len in 300_usize..5000, seed: u64) {
        let mut parts = fragments(len);
        fastrand::Rng::with_seed(seed).shuffle(&mut parts);
        let mut reassembler = Reassembler::default();
        let mut whole: Vec<_> = parts.iter().filter_map(|part| reassembler.push(ZERO, part).unwrap()).collect();
        prop_assert_eq!(whole.len(), 1);
        prop_assert_eq!(whole.remove(0).udp().unwrap().unwrap().payload, payload(len));
        prop_assert_eq!((reassembler.pending(), reassembler.bytes()), (0, 0));
    }

    #[test]
    fn no_bytes_make_it_panic_or_grow(packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 0..200), v6: bool) {
        let mut reassembler = Reassembler::new(Limits { bytes: 2000, datagrams: 8, ..Limits::default() });
        for (n, mut packet) in packets.into_iter().enumerate() {
            if let Some(first) = packet.first_mut() {
                *first = if v6 { 0x60 } else { 0x45 };
            }
            // A likely length, few ids, and a fragment header, so that more than the first check is reached.
            let length = packet.len();
            if v6 && length > 48 {
                packet[4..6].copy_from_slice(&((length - 40) as u16).to_be_bytes());
                packet[6] = 44;
                packet[8..40].fill(1);
                packet[42] = 0;
                packet[44..48].fill(0);
            } else if !v6 && length > 20 {
                packet[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                packet[4..6].fill(0);
                packet[6] &= 0x20;
                packet[9] = 17;
                packet[12..20].fill(1);
            }
            if let Ok(Some(whole)) = reassembler.push(ms(n as u64), &packet.into()) {
                let _ = whole.udp();
            }
            prop_assert!(reassembler.bytes() <= 2000 && reassembler.pending() <= 8);
        }
    }
}
