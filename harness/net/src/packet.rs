//! IP packets.
use std::net::SocketAddr;

/// Bytes of an IPv4 header without options (RFC 791 section 3.1).
pub const IPV4_HEADER: usize = 20;
/// Bytes of an IPv6 header (RFC 8200 section 3).
pub const IPV6_HEADER: usize = 40;
/// Bytes of an IPv6 fragment header (RFC 8200 section 4.5).
pub const IPV6_FRAGMENT_HEADER: usize = 8;
/// Bytes of a UDP header (RFC 768).
pub const UDP_HEADER: usize = 8;

/// Bytes an unfragmented packet between these addresses has before its UDP payload.
pub fn overhead(src: SocketAddr, dst: SocketAddr) -> usize {
    UDP_HEADER + if src.is_ipv4() && dst.is_ipv4() { IPV4_HEADER } else { IPV6_HEADER }
}
