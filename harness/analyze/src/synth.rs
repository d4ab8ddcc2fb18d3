//! Captures made up from parts: for tests, fuzz targets and the generator of large captures.

use core::time::Duration;
use std::net::SocketAddrV4;

/// The head of a pcap file with microseconds, little-endian.
#[must_use]
pub fn pcap_head(link: u32) -> Vec<u8> {
    let mut head = Vec::with_capacity(24);
    head.extend(0xa1b2_c3d4_u32.to_le_bytes());
    head.extend([2, 0, 4, 0]);
    head.extend([0; 8]);
    head.extend(262_144_u32.to_le_bytes());
    head.extend(link.to_le_bytes());
    head
}

/// Appends a record of a pcap file.
pub fn pcap_record(out: &mut Vec<u8>, at: Duration, frame: &[u8]) {
    let length = (frame.len() as u32).to_le_bytes();
    out.extend((at.as_secs() as u32).to_le_bytes());
    out.extend(at.subsec_micros().to_le_bytes());
    out.extend(length);
    out.extend(length);
    out.extend_from_slice(frame);
}

/// Appends a block of a pcapng file, little-endian, padded.
pub fn pcapng_block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let length = (body.len().next_multiple_of(4) + 12) as u32;
    out.extend(kind.to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend_from_slice(body);
    out.resize(out.len() + body.len().next_multiple_of(4) - body.len(), 0);
    out.extend(length.to_le_bytes());
}

/// The head of a pcapng file with one interface of raw IP.
#[must_use]
pub fn pcapng_head() -> Vec<u8> {
    let mut head = Vec::new();
    let mut section = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
    section.extend([1, 0, 0, 0]);
    section.extend([0xff; 8]);
    pcapng_block(&mut head, 0x0a0d_0d0a, &section);
    pcapng_block(&mut head, 1, &[101, 0, 0, 0, 0, 0, 0, 0]);
    head
}

/// An IPv4 packet with a UDP datagram, without checksums.
#[must_use]
pub fn udp(src: SocketAddrV4, dst: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let mut packet = Vec::with_capacity(28 + payload.len());
    packet.extend([0x45, 0]);
    packet.extend((28 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 1, 0, 0, 64, 17, 0, 0]);
    packet.extend(src.ip().octets());
    packet.extend(dst.ip().octets());
    packet.extend(src.port().to_be_bytes());
    packet.extend(dst.port().to_be_bytes());
    packet.extend((8 + payload.len() as u16).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend_from_slice(payload);
    packet
}

/// A piece of an IPv4 packet that [`udp`] made; `offset` and `length` count behind the IP header.
#[must_use]
pub fn fragment(packet: &[u8], offset: usize, length: usize, more: bool) -> Vec<u8> {
    let mut piece = packet.get(..20).unwrap_or_default().to_vec();
    let body = packet
        .get(20 + offset..(20 + offset + length).min(packet.len()))
        .unwrap_or_default();
    piece.extend_from_slice(body);
    let total = (piece.len() as u16).to_be_bytes();
    piece[2..4].copy_from_slice(&total);
    let flags = (offset as u16 / 8) | if more { 0x2000 } else { 0 };
    piece[6..8].copy_from_slice(&flags.to_be_bytes());
    piece
}

/// A message: type and code as they stand in the header, options in ascending order, a payload when not empty.
#[must_use]
pub fn coap(kind: u8, code: u8, id: u16, token: &[u8], options: &[(u16, &[u8])], payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(32 + payload.len());
    message.push(0x40 | kind << 4 | token.len() as u8 & 15);
    message.push(code);
    message.extend(id.to_be_bytes());
    message.extend_from_slice(token);
    let mut last = 0;
    for (number, value) in options {
        let nibble = |number: usize| match number {
            0..13 => (number as u8, Vec::new()),
            13..269 => (13, vec![(number - 13) as u8]),
            _ => (14, ((number - 269) as u16).to_be_bytes().to_vec()),
        };
        let (delta, delta_more) = nibble(usize::from(number - last));
        let (length, length_more) = nibble(value.len());
        message.push(delta << 4 | length);
        message.extend(delta_more);
        message.extend(length_more);
        message.extend_from_slice(value);
        last = *number;
    }
    if !payload.is_empty() {
        message.push(0xff);
        message.extend_from_slice(payload);
    }
    message
}
