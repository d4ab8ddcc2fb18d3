//! IPv4 and IPv6 packets with UDP in them: writing, checksums.

use std::net::{IpAddr, SocketAddr};

use crate::event::Fragment;

/// Bytes of an IPv4 header without options (RFC 791 section 3.1).
pub const IPV4_HEADER: usize = 20;
/// Bytes of an IPv6 header (RFC 8200 section 3).
pub const IPV6_HEADER: usize = 40;
/// Bytes of an IPv6 fragment header (RFC 8200 section 4.5).
pub const IPV6_FRAGMENT_HEADER: usize = 8;
/// Bytes of a UDP header (RFC 768).
pub const UDP_HEADER: usize = 8;
/// IP protocol number of UDP.
pub(crate) const UDP: u8 = 17;
/// Next header value of the IPv6 fragment header (RFC 8200 section 4.5).
pub(crate) const FRAGMENT: u8 = 44;

const HOP_LIMIT: u8 = 64;

/// Bytes an unfragmented packet between these addresses has before its UDP payload.
pub fn overhead(src: SocketAddr, dst: SocketAddr) -> usize {
    UDP_HEADER
        + if src.is_ipv4() && dst.is_ipv4() {
            IPV4_HEADER
        } else {
            IPV6_HEADER
        }
}

/// The most UDP payload one datagram takes: a 16-bit total length in IPv4, a 16-bit payload length in IPv6.
pub(crate) fn max_payload(src: SocketAddr, dst: SocketAddr) -> usize {
    let max = usize::from(u16::MAX) - UDP_HEADER;
    if src.is_ipv4() && dst.is_ipv4() {
        max - IPV4_HEADER
    } else {
        max - IPV6_HEADER
    }
}

/// Bytes of IP header before the carried data.
pub(crate) fn ip_header(src: SocketAddr, dst: SocketAddr, fragment: bool) -> usize {
    if src.is_ipv4() && dst.is_ipv4() {
        IPV4_HEADER
    } else if fragment {
        IPV6_HEADER + IPV6_FRAGMENT_HEADER
    } else {
        IPV6_HEADER
    }
}

/// Both addresses in one family: IPv4 when both are, else IPv6 (an IPv4 address mapped).
fn ips(src: SocketAddr, dst: SocketAddr) -> (IpAddr, IpAddr) {
    let v6 = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => IpAddr::V6(ip.to_ipv6_mapped()),
        IpAddr::V6(_) => ip,
    };
    if src.is_ipv4() == dst.is_ipv4() {
        (src.ip(), dst.ip())
    } else {
        (v6(src.ip()), v6(dst.ip()))
    }
}

/// One's complement sum of 16-bit words, not yet folded (RFC 1071). Odd data counts as if a zero byte followed.
fn sum(data: &[u8]) -> u64 {
    let (words, rest) = data.as_chunks::<4>();
    // 32-bit words sum to the same once folded: 2^16 is 1 modulo 2^16 - 1.
    let total: u64 = words.iter().map(|word| u64::from(u32::from_be_bytes(*word))).sum();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    total + u64::from(u32::from_be_bytes(last))
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn pseudo_header(src: IpAddr, dst: IpAddr, length: usize) -> u64 {
    let addresses = match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => sum(&src.octets()) + sum(&dst.octets()),
        (IpAddr::V6(src), IpAddr::V6(dst)) => sum(&src.octets()) + sum(&dst.octets()),
        // Mapped addresses never reach this far, but have a sum all the same.
        (IpAddr::V4(v4), IpAddr::V6(v6)) | (IpAddr::V6(v6), IpAddr::V4(v4)) => {
            sum(&v4.to_ipv6_mapped().octets()) + sum(&v6.octets())
        }
    };
    addresses + u64::from(UDP) + length as u64
}

/// A UDP header with its checksum (RFC 768; for IPv6 RFC 8200 section 8.1).
pub(crate) fn udp_header(src: SocketAddr, dst: SocketAddr, payload: &[u8]) -> [u8; UDP_HEADER] {
    let (source, destination) = ips(src, dst);
    let length = UDP_HEADER + payload.len();
    let mut header = [0; UDP_HEADER];
    header[..2].copy_from_slice(&src.port().to_be_bytes());
    header[2..4].copy_from_slice(&dst.port().to_be_bytes());
    header[4..6].copy_from_slice(&(length as u16).to_be_bytes());
    let checksum = !fold(pseudo_header(source, destination, length) + sum(&header) + sum(payload));
    // A computed zero is sent as all ones; zero means there is no checksum.
    let checksum = if checksum == 0 { 0xffff } else { checksum };
    header[6..].copy_from_slice(&checksum.to_be_bytes());
    header
}

/// Whether a whole UDP datagram (header and payload) passes the receiver's checks: its length and its checksum.
pub(crate) fn udp_is_right(src: IpAddr, dst: IpAddr, udp: &[u8]) -> bool {
    let Some(header) = udp.first_chunk::<UDP_HEADER>() else {
        return false;
    };
    usize::from(u16::from_be_bytes([header[4], header[5]])) == udp.len()
        && fold(pseudo_header(src, dst, udp.len()) + sum(udp)) == 0xffff
}

/// What an IP packet carries: a UDP datagram, or a part of it.
pub(crate) struct Content<'a> {
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
    pub(crate) ident: u32,
    pub(crate) dont_fragment: bool,
    pub(crate) udp: &'a [u8; UDP_HEADER],
    pub(crate) payload: &'a [u8],
    /// The part, and its length in bytes of UDP datagram.
    pub(crate) part: Option<(Fragment, usize)>,
}

/// Writes an IP packet.
pub(crate) fn ip_packet(content: &Content<'_>) -> Vec<u8> {
    let (src, dst) = ips(content.src, content.dst);
    let whole = UDP_HEADER + content.payload.len();
    let (from, to) = match content.part {
        None => (0, whole),
        Some((fragment, length)) => {
            let from = usize::from(fragment.offset).min(whole);
            (from, (from + length).min(whole))
        }
    };
    let data = to - from;
    let mut packet = Vec::with_capacity(IPV6_HEADER + IPV6_FRAGMENT_HEADER + data);
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut header = [0; IPV4_HEADER];
            header[0] = 0x45;
            header[2..4].copy_from_slice(&((IPV4_HEADER + data) as u16).to_be_bytes());
            header[4..6].copy_from_slice(&(content.ident as u16).to_be_bytes());
            let mut flags = content.part.map_or(0, |(fragment, _)| {
                (fragment.offset / 8) | u16::from(fragment.more) << 13
            });
            flags |= u16::from(content.dont_fragment) << 14;
            header[6..8].copy_from_slice(&flags.to_be_bytes());
            header[8] = HOP_LIMIT;
            header[9] = UDP;
            header[12..16].copy_from_slice(&src.octets());
            header[16..].copy_from_slice(&dst.octets());
            let checksum = !fold(sum(&header));
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            packet.extend_from_slice(&header);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            let extension = if content.part.is_some() {
                IPV6_FRAGMENT_HEADER
            } else {
                0
            };
            let mut header = [0; IPV6_HEADER];
            header[0] = 0x60;
            header[4..6].copy_from_slice(&((extension + data) as u16).to_be_bytes());
            header[6] = if content.part.is_some() { FRAGMENT } else { UDP };
            header[7] = HOP_LIMIT;
            header[8..24].copy_from_slice(&src.octets());
            header[24..].copy_from_slice(&dst.octets());
            packet.extend_from_slice(&header);
            if let Some((fragment, _)) = content.part {
                packet.extend_from_slice(&[UDP, 0]);
                packet.extend_from_slice(&(fragment.offset & !7 | u16::from(fragment.more)).to_be_bytes());
                packet.extend_from_slice(&content.ident.to_be_bytes());
            }
        }
        // `ips` gives one family.
        _ => return packet,
    }
    if from < UDP_HEADER {
        packet.extend_from_slice(&content.udp[from..to.min(UDP_HEADER)]);
    }
    packet.extend_from_slice(&content.payload[from.saturating_sub(UDP_HEADER)..to.saturating_sub(UDP_HEADER)]);
    packet
}

/// Flips bits, counted from the most significant bit of the first byte. Those beyond the end are left out.
pub(crate) fn flip(bytes: &mut [u8], bits: impl IntoIterator<Item = u32>) {
    for bit in bits {
        if let Some(byte) = bytes.get_mut(bit as usize / 8) {
            *byte ^= 0x80 >> (bit % 8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn content<'a>(src: SocketAddr, dst: SocketAddr, udp: &'a [u8; 8], payload: &'a [u8]) -> Content<'a> {
        Content {
            src,
            dst,
            ident: 1,
            dont_fragment: false,
            udp,
            payload,
            part: None,
        }
    }

    /// The bytes come from a computation apart from this crate.
    #[test]
    fn an_ipv4_packet_is_written_to_the_byte() {
        let (src, dst) = ("192.0.2.1:5683".parse().unwrap(), "192.0.2.2:5683".parse().unwrap());
        let payload = [0x40, 0x01, 0x00, 0x07];
        let udp = udp_header(src, dst, &payload);
        let packet = ip_packet(&content(src, dst, &udp, &payload));
        let hex: String = packet.iter().map(|byte| format!("{byte:02x}")).collect();
        insta::assert_snapshot!(hex, @"45000020000100004011f6c8c0000201c000020216331633000c0f6440010007");
        assert_eq!(fold(sum(&packet[..20])), 0xffff);
        assert!(udp_is_right(src.ip(), dst.ip(), &packet[20..]));
    }

    #[test]
    fn every_single_flipped_bit_is_seen_by_the_udp_checksum() {
        for (src, dst) in [
            ("192.0.2.1:5683", "192.0.2.2:7"),
            ("[2001:db8::1]:5683", "[2001:db8::2]:7"),
        ] {
            let (src, dst): (SocketAddr, SocketAddr) = (src.parse().unwrap(), dst.parse().unwrap());
            let payload: Vec<u8> = (0..33).collect();
            let udp = udp_header(src, dst, &payload);
            let packet = ip_packet(&content(src, dst, &udp, &payload));
            let data = &packet[ip_header(src, dst, false)..];
            assert!(udp_is_right(src.ip(), dst.ip(), data));
            for bit in 0..data.len() as u32 * 8 {
                let mut damaged = data.to_vec();
                flip(&mut damaged, [bit]);
                assert!(!udp_is_right(src.ip(), dst.ip(), &damaged), "bit {bit}");
            }
        }
    }

    #[test]
    fn a_checksum_of_zero_is_sent_as_all_ones() {
        let (src, dst) = ("192.0.2.1:5683".parse().unwrap(), "192.0.2.2:5683".parse().unwrap());
        let seen = (0..=u16::MAX)
            .map(|word| udp_header(src, dst, &word.to_be_bytes()))
            .find(|header| header[6..] == [0xff, 0xff]);
        assert!(seen.is_some());
        assert!((0..=u16::MAX).all(|word| udp_header(src, dst, &word.to_be_bytes())[6..] != [0, 0]));
    }
}
