//! Reassembly of IP packets from captures, where nothing is known and anything may be a lie. Overlapping fragments discard their datagram
//! (RFC 5722; for IPv4 the same is done here), exact repetitions are ignored, and time, memory and number are bounded.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;

use crate::packet::{self, FRAGMENT, IPV4_HEADER, IPV6_FRAGMENT_HEADER, IPV6_HEADER, UDP, UDP_HEADER};

/// What a kept fragment costs beyond its bytes.
const FRAGMENT_COST: usize = 64;
/// IPv6 extension headers followed in one packet.
const MAX_EXTENSIONS: usize = 16;

/// Bounds of a [`Reassembler`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long fragments wait for the rest, counted from the first that came.
    pub timeout: Duration,
    /// Fragment bytes kept at most, with a fixed cost for each fragment. The oldest datagram makes room.
    pub bytes: usize,
    /// Datagrams under way at most. The oldest makes room.
    pub datagrams: usize,
    /// Fragments of one datagram at most.
    pub fragments: usize,
}

impl Default for Limits {
    /// 30 s and 4 MiB as in Linux (ip-sysctl `ipfrag_time`, `ipfrag_high_thresh`), 1024 datagrams of 8192 fragments (all that 65,535 bytes give).
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            bytes: 4 << 20,
            datagrams: 1024,
            fragments: 8192,
        }
    }
}

/// An IP packet's content, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassembled {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// IP protocol number or IPv6 next header (17: UDP).
    pub protocol: u8,
    /// What the IP packet carries. A slice of the packet when that was not a fragment.
    pub payload: Bytes,
    /// IP packets it came in.
    pub packets: u16,
    /// The largest of them in bytes.
    pub largest: u16,
}

/// A UDP datagram found in an IP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Udp {
    /// Source.
    pub src: SocketAddr,
    /// Destination.
    pub dst: SocketAddr,
    /// Payload.
    pub payload: Bytes,
    /// What the checksum says.
    pub checksum: Checksum,
}

/// What a UDP checksum says (RFC 768).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// It fits.
    Right,
    /// It does not. Captures of sent packets have such when the network card computes checksums.
    Wrong,
    /// It is zero: none was computed.
    Absent,
}

impl Reassembled {
    /// The UDP datagram in it; none when it is another protocol.
    pub fn udp(&self) -> Result<Option<Udp>, ReassemblyError> {
        if self.protocol != UDP {
            return Ok(None);
        }
        let header: &[u8; UDP_HEADER] = need(&self.payload, 0)?;
        let field = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let length = usize::from(field(4));
        if length < UDP_HEADER || length > self.payload.len() {
            return Err(ReassemblyError::UdpLength {
                length,
                have: self.payload.len(),
            });
        }
        let checksum = if field(6) == 0 {
            Checksum::Absent
        } else if packet::udp_is_right(self.src, self.dst, &self.payload[..length]) {
            Checksum::Right
        } else {
            Checksum::Wrong
        };
        let (src, dst) = (SocketAddr::new(self.src, field(0)), SocketAddr::new(self.dst, field(2)));
        Ok(Some(Udp {
            src,
            dst,
            payload: self.payload.slice(UDP_HEADER..length),
            checksum,
        }))
    }
}

/// Why a packet was not taken. Offsets count from the first byte of the IP packet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReassemblyError {
    /// It ends before its header says.
    #[error("packet ends at byte {have}, needs {need}")]
    Truncated {
        /// Bytes there are.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// Neither version 4 nor 6.
    #[error("ip version {version} at byte 0")]
    Version {
        /// The version found.
        version: u8,
    },
    /// The IPv4 header is shorter than 20 bytes or longer than the packet (RFC 791 section 3.1).
    #[error("ipv4 header of {length} bytes in a packet of {total}")]
    HeaderLength {
        /// Header length.
        length: usize,
        /// Total length.
        total: usize,
    },
    /// More IPv6 extension headers than anyone needs.
    #[error("more than 16 extension headers, the next at byte {offset}")]
    Extensions {
        /// Where the next one is.
        offset: usize,
    },
    /// A fragment that is not the last is empty or no multiple of 8 bytes (RFC 8200 section 4.5).
    #[error("fragment at {offset} has {length} bytes, not a multiple of 8, and more follow")]
    Misaligned {
        /// Fragment offset.
        offset: usize,
        /// Bytes carried.
        length: usize,
    },
    /// A fragment reaches beyond 65,535 bytes (RFC 8200 section 4.5).
    #[error("fragment ends at {end}, beyond 65535")]
    TooLong {
        /// Where it ends in the datagram.
        end: usize,
    },
    /// A fragment overlaps another, or the end another gave; the datagram is discarded (RFC 5722).
    #[error("fragment at {offset} overlaps another")]
    Overlap {
        /// Fragment offset.
        offset: usize,
    },
    /// More fragments than the limit; the datagram is discarded.
    #[error("more than {limit} fragments")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The UDP length is less than 8 or more than there is (RFC 768).
    #[error("udp length {length} in {have} bytes")]
    UdpLength {
        /// The length field.
        length: usize,
        /// Bytes there are.
        have: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    src: IpAddr,
    dst: IpAddr,
    /// IPv4 keys have the protocol too (RFC 791 section 2.3); IPv6 ones do not (RFC 8200 section 4.5).
    protocol: Option<u8>,
    ident: u32,
}

#[derive(Debug)]
struct Partial {
    began: (Duration, u64),
    /// By offset, without overlap.
    parts: BTreeMap<usize, Bytes>,
    have: usize,
    total: Option<usize>,
    protocol: u8,
    cost: usize,
    largest: u16,
}

/// Puts IP fragments together. Bounded: see [`Limits`].
#[derive(Debug, Default)]
pub struct Reassembler {
    limits: Limits,
    partial: BTreeMap<Key, Partial>,
    ages: BTreeSet<((Duration, u64), Key)>,
    bytes: usize,
    began: u64,
    discarded: u64,
}

/// What an IP header says.
struct Header {
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    data: core::ops::Range<usize>,
    fragment: Option<Part>,
}

struct Part {
    key: Key,
    offset: usize,
    more: bool,
}

impl Reassembler {
    /// With these bounds.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Takes an IP packet (bytes after its end, such as Ethernet padding, are left out); gives its content when it is whole, none when more
    /// fragments are to come.
    pub fn push(&mut self, now: Duration, packet: &Bytes) -> Result<Option<Reassembled>, ReassemblyError> {
        while self
            .ages
            .first()
            .is_some_and(|((began, _), _)| now.saturating_sub(*began) > self.limits.timeout)
        {
            self.discard_oldest();
        }
        let Header {
            src,
            dst,
            protocol,
            data,
            fragment,
        } = parse(packet)?;
        let largest = u16::try_from(data.end).unwrap_or(u16::MAX);
        let Some(part) = fragment else {
            return Ok(Some(Reassembled {
                src,
                dst,
                protocol,
                payload: packet.slice(data),
                packets: 1,
                largest,
            }));
        };
        let key = part.key;
        let whole = self.insert(now, part, protocol, largest, &packet[data]);
        if let Err(ReassemblyError::Overlap { .. } | ReassemblyError::TooMany { .. }) = whole {
            self.discard(key);
        }
        Ok(whole?.map(|(protocol, payload, packets, largest)| Reassembled {
            src,
            dst,
            protocol,
            payload,
            packets,
            largest,
        }))
    }

    fn insert(
        &mut self,
        now: Duration,
        part: Part,
        protocol: u8,
        size: u16,
        data: &[u8],
    ) -> Result<Option<(u8, Bytes, u16, u16)>, ReassemblyError> {
        let Part { key, offset, more } = part;
        let end = offset + data.len();
        if more && (data.is_empty() || !data.len().is_multiple_of(8)) {
            return Err(ReassemblyError::Misaligned {
                offset,
                length: data.len(),
            });
        }
        if end > usize::from(u16::MAX) {
            return Err(ReassemblyError::TooLong { end });
        }
        if !self.partial.contains_key(&key) {
            while self.partial.len() >= self.limits.datagrams.max(1) {
                self.discard_oldest();
            }
            let began = (now, self.began);
            self.began += 1;
            self.ages.insert((began, key));
            let partial = Partial {
                began,
                parts: BTreeMap::new(),
                have: 0,
                total: None,
                protocol,
                cost: 0,
                largest: 0,
            };
            self.partial.insert(key, partial);
        }
        let Some(partial) = self.partial.get_mut(&key) else {
            return Ok(None);
        };
        let overlap = Err(ReassemblyError::Overlap { offset });
        match partial.parts.get(&offset) {
            Some(same) if *same == data && more == (partial.total != Some(end)) => return Ok(None),
            Some(_) => return overlap,
            None => {}
        }
        let before = partial
            .parts
            .range(..offset)
            .next_back()
            .is_some_and(|(at, part)| at + part.len() > offset);
        let after = partial.parts.range(offset..).next().is_some_and(|(at, _)| *at < end);
        let last = partial.parts.last_key_value().map_or(0, |(at, part)| at + part.len());
        let beyond = partial
            .total
            .is_some_and(|total| end > total || (!more && end != total))
            || (!more && last > end);
        if before || after || beyond {
            return overlap;
        }
        if partial.parts.len() >= self.limits.fragments {
            return Err(ReassemblyError::TooMany {
                limit: self.limits.fragments,
            });
        }
        if !more {
            partial.total = Some(end);
        }
        if offset == 0 {
            partial.protocol = protocol;
        }
        partial.have += data.len();
        partial.largest = partial.largest.max(size);
        if partial.total == Some(partial.have) {
            // No overlap and all bytes there: nothing is missing.
            let mut payload = Vec::with_capacity(partial.have);
            partial.parts.insert(offset, Bytes::copy_from_slice(data));
            partial.parts.values().for_each(|part| payload.extend_from_slice(part));
            let (protocol, packets, largest) = (partial.protocol, partial.parts.len() as u16, partial.largest);
            self.remove(key);
            return Ok(Some((protocol, payload.into(), packets, largest)));
        }
        // Copied, so that a small fragment does not keep a large buffer alive.
        partial.parts.insert(offset, Bytes::copy_from_slice(data));
        partial.cost += data.len() + FRAGMENT_COST;
        self.bytes += data.len() + FRAGMENT_COST;
        while self.bytes > self.limits.bytes && self.discard_oldest() {}
        Ok(None)
    }

    /// Datagrams that wait for fragments.
    pub fn pending(&self) -> usize {
        self.partial.len()
    }

    /// Bytes in use, by the measure of [`Limits::bytes`].
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Datagrams given up: too old, too many, overlapping.
    pub const fn discarded(&self) -> u64 {
        self.discarded
    }

    fn remove(&mut self, key: Key) -> bool {
        let Some(partial) = self.partial.remove(&key) else {
            return false;
        };
        self.ages.remove(&(partial.began, key));
        self.bytes -= partial.cost;
        true
    }

    fn discard(&mut self, key: Key) -> bool {
        let was_there = self.remove(key);
        self.discarded += u64::from(was_there);
        was_there
    }

    fn discard_oldest(&mut self) -> bool {
        self.ages
            .first()
            .map(|(_, key)| *key)
            .is_some_and(|key| self.discard(key))
    }
}

/// A piece of fixed length at an offset.
fn need<const N: usize>(packet: &[u8], at: usize) -> Result<&[u8; N], ReassemblyError> {
    packet
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .ok_or(ReassemblyError::Truncated {
            have: packet.len(),
            need: at + N,
        })
}

fn parse(packet: &[u8]) -> Result<Header, ReassemblyError> {
    let [first] = *need(packet, 0)?;
    match first >> 4 {
        4 => parse_v4(packet),
        6 => parse_v6(packet),
        version => Err(ReassemblyError::Version { version }),
    }
}

fn parse_v4(packet: &[u8]) -> Result<Header, ReassemblyError> {
    let fixed: &[u8; IPV4_HEADER] = need(packet, 0)?;
    let field = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
    let length = usize::from(fixed[0] & 15) * 4;
    // Segmentation offload leaves a total length of zero in captures of sent packets.
    let total = if field(2) == 0 {
        packet.len()
    } else {
        usize::from(field(2))
    };
    if length < IPV4_HEADER || length > total {
        return Err(ReassemblyError::HeaderLength { length, total });
    }
    if total > packet.len() {
        return Err(ReassemblyError::Truncated {
            have: packet.len(),
            need: total,
        });
    }
    let (protocol, flags) = (fixed[9], field(6));
    let address = |at: usize| IpAddr::V4(Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]));
    let (src, dst) = (address(12), address(16));
    let (more, offset) = (flags & 0x2000 != 0, usize::from(flags & 0x1fff) * 8);
    let key = Key {
        src,
        dst,
        protocol: Some(protocol),
        ident: u32::from(field(4)),
    };
    let fragment = (more || offset > 0).then_some(Part { key, offset, more });
    Ok(Header {
        src,
        dst,
        protocol,
        data: length..total,
        fragment,
    })
}

fn parse_v6(packet: &[u8]) -> Result<Header, ReassemblyError> {
    let fixed: &[u8; IPV6_HEADER] = need(packet, 0)?;
    let address = |at: usize| {
        let mut octets = [0; 16];
        octets.copy_from_slice(&fixed[at..at + 16]);
        IpAddr::V6(Ipv6Addr::from(octets))
    };
    let (src, dst) = (address(8), address(24));
    let length = usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    let total = if length == 0 {
        packet.len()
    } else {
        IPV6_HEADER + length
    };
    if total > packet.len() {
        return Err(ReassemblyError::Truncated {
            have: packet.len(),
            need: total,
        });
    }
    let packet = &packet[..total];
    let (mut protocol, mut at) = (fixed[6], IPV6_HEADER);
    for _ in 0..MAX_EXTENSIONS {
        match protocol {
            // Hop-by-hop options, routing, destination options (RFC 8200 section 4): length in units of 8 bytes, the first not counted.
            0 | 43 | 60 => {
                let [next, units] = *need(packet, at)?;
                protocol = next;
                at += (usize::from(units) + 1) * 8;
            }
            FRAGMENT => {
                let extension: &[u8; IPV6_FRAGMENT_HEADER] = need(packet, at)?;
                let flags = u16::from_be_bytes([extension[2], extension[3]]);
                let ident = u32::from_be_bytes([extension[4], extension[5], extension[6], extension[7]]);
                let (more, offset) = (flags & 1 != 0, usize::from(flags & !7));
                protocol = extension[0];
                at += IPV6_FRAGMENT_HEADER;
                if more || offset > 0 {
                    let part = Part {
                        key: Key {
                            src,
                            dst,
                            protocol: None,
                            ident,
                        },
                        offset,
                        more,
                    };
                    return Ok(Header {
                        src,
                        dst,
                        protocol,
                        data: at..total,
                        fragment: Some(part),
                    });
                }
                // An atomic fragment is whole by itself (RFC 6946): go on with the next header.
            }
            _ if at > total => return Err(ReassemblyError::Truncated { have: total, need: at }),
            _ => {
                return Ok(Header {
                    src,
                    dst,
                    protocol,
                    data: at..total,
                    fragment: None,
                });
            }
        }
    }
    Err(ReassemblyError::Extensions { offset: at })
}
