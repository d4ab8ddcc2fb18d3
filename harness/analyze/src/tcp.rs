//! CoAP over TCP (RFC 8323): the streams of a capture put in order, within bounds.

use bytes::Bytes;
use fotaproof_checks::hash::{Address, Map};
use fotaproof_wire::coap::Code;
use fotaproof_wire::coap::tcp::FrameView;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Streams followed.
const STREAMS: usize = 1024;
/// The longest message that is waited for.
const LONGEST: usize = 64 << 10;
/// Segments that wait for an earlier one, each stream.
const WAITING: usize = 32;

/// A TCP segment in an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment<'a> {
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
    pub(crate) sequence: u32,
    pub(crate) syn: bool,
    pub(crate) payload: &'a [u8],
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The segment in an IP packet that is no fragment.
pub(crate) fn segment_of(packet: &[u8]) -> Option<Segment<'_>> {
    let (src, dst, tcp): (IpAddr, IpAddr, &[u8]) = match packet.first()? >> 4 {
        4 => {
            let header = usize::from(packet[0] & 15) * 4;
            let total = usize::from(be16(packet, 2)?);
            // Segmentation offload leaves a length of zero in captures of sent packets.
            let total = if total == 0 { packet.len() } else { total };
            if header < 20 || *packet.get(9)? != 6 || be16(packet, 6)? & 0x3fff != 0 {
                return None;
            }
            let address = |at: usize| Some(IpAddr::V4(Ipv4Addr::from(*packet.get(at..)?.first_chunk::<4>()?)));
            (address(12)?, address(16)?, packet.get(header..total)?)
        }
        6 => {
            let end = 40 + usize::from(be16(packet, 4)?);
            let (mut next, mut offset) = (*packet.get(6)?, 40);
            // Hop-by-hop, routing and destination options are skipped (RFC 8200, 4).
            while matches!(next, 0 | 43 | 60) {
                next = *packet.get(offset)?;
                offset += 8 + usize::from(*packet.get(offset + 1)?) * 8;
            }
            if next != 6 {
                return None;
            }
            let address = |at: usize| Some(IpAddr::V6(Ipv6Addr::from(*packet.get(at..)?.first_chunk::<16>()?)));
            (address(8)?, address(24)?, packet.get(offset..end)?)
        }
        _ => return None,
    };
    let offset = usize::from(tcp.get(12)? >> 4) * 4;
    if offset < 20 {
        return None;
    }
    Some(Segment {
        src: SocketAddr::new(src, be16(tcp, 0)?),
        dst: SocketAddr::new(dst, be16(tcp, 2)?),
        sequence: u32::from_be_bytes(*tcp.get(4..)?.first_chunk()?),
        syn: tcp.get(13)? & 2 != 0,
        payload: tcp.get(offset..)?,
    })
}

/// Each side of a connection begins with a Capabilities and Settings Message (RFC 8323, 5.3): a sign of CoAP on any port.
pub(crate) fn begins_with_csm(payload: &[u8]) -> bool {
    matches!(FrameView::parse(payload), Ok(Some(frame)) if frame.code() == Code::CSM)
}

#[derive(Debug, Default)]
struct Stream {
    next: Option<u32>,
    buffer: Vec<u8>,
    waiting: BTreeMap<u32, Bytes>,
    broken: bool,
}

/// All streams, each one way.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    streams: Map<(Address, Address), Stream>,
    /// Bytes that are not in the capture, times.
    pub(crate) holes: u64,
    /// Streams that are no CoAP from some byte on.
    pub(crate) broken: u64,
    /// Segments of streams beyond the bound.
    pub(crate) beyond: u64,
}

impl Streams {
    /// Takes a segment and hands out the messages that are whole now.
    pub(crate) fn push(&mut self, segment: &Segment<'_>, mut on_message: impl FnMut(&FrameView<'_>)) {
        let key = (Address(segment.src), Address(segment.dst));
        if self.streams.len() >= STREAMS && !self.streams.contains_key(&key) {
            self.beyond += 1;
            return;
        }
        let stream = self.streams.entry(key).or_default();
        if segment.syn {
            *stream = Stream {
                next: Some(segment.sequence.wrapping_add(1)),
                ..Stream::default()
            };
        }
        if segment.payload.is_empty() || stream.broken {
            return;
        }
        let next = *stream.next.get_or_insert(segment.sequence);
        let ahead = segment.sequence.wrapping_sub(next) as i32;
        if ahead > 0 {
            stream
                .waiting
                .insert(segment.sequence, Bytes::copy_from_slice(segment.payload));
            if stream.waiting.len() <= WAITING {
                return;
            }
            // What is missing is not in the capture: go on behind it.
            self.holes += 1;
            stream.buffer.clear();
            let first = stream.waiting.keys().min_by_key(|at| at.wrapping_sub(next)).copied();
            stream.next = first;
        } else {
            let known = ahead.unsigned_abs() as usize;
            if let Some(fresh) = segment.payload.get(known..)
                && !fresh.is_empty()
            {
                stream.buffer.extend_from_slice(fresh);
                stream.next = Some(next.wrapping_add(fresh.len() as u32));
            }
        }
        while let Some(next) = stream.next
            && let Some(waiting) = stream.waiting.remove(&next)
        {
            stream.buffer.extend_from_slice(&waiting);
            stream.next = Some(next.wrapping_add(waiting.len() as u32));
        }
        let mut taken = 0;
        while let Some(rest) = stream.buffer.get(taken..)
            && !rest.is_empty()
        {
            match FrameView::parse(rest) {
                Ok(Some(message)) => {
                    on_message(&message);
                    taken += message.bytes().len();
                }
                Ok(None) if rest.len() <= LONGEST => break,
                _ => {
                    self.broken += 1;
                    stream.broken = true;
                    taken = stream.buffer.len();
                    stream.waiting.clear();
                }
            }
        }
        stream.buffer.drain(..taken);
    }
}

#[cfg(test)]
mod tests {
    use super::{Segment, Streams, segment_of};
    use fotaproof_wire::coap::Code;
    use std::net::SocketAddr;

    fn push(streams: &mut Streams, sequence: u32, payload: &[u8]) -> Vec<Code> {
        let address = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let mut codes = Vec::new();
        let segment = Segment {
            src: address(1),
            dst: address(5683),
            sequence,
            syn: false,
            payload,
        };
        streams.push(&segment, |message| codes.push(message.code()));
        codes
    }

    #[test]
    fn segments_out_of_order_and_doubled() {
        let mut streams = Streams::default();
        // CSM, then GET with token 7f: messages of 2 and 3 bytes.
        let bytes = [0x00, 0xe1, 0x01, 0x01, 0x7f];
        assert_eq!(push(&mut streams, u32::MAX, &bytes[..1]), []);
        assert_eq!(push(&mut streams, 2, &bytes[3..]), [], "waits for what is before");
        assert_eq!(
            push(&mut streams, 0, &bytes[1..3]),
            [Code::CSM, Code::GET],
            "numbers wrap"
        );
        assert_eq!(push(&mut streams, 0, &bytes[1..3]), [], "a copy");
    }

    #[test]
    fn a_segment_behind_extension_headers_of_ipv6() {
        let mut tcp = vec![0; 22];
        (tcp[1], tcp[2], tcp[3], tcp[12]) = (9, 0x16, 0x33, 5 << 4);
        let packet = |headers: &[u8], first: u8| {
            let mut packet = vec![0; 40];
            (packet[0], packet[6]) = (0x60, first);
            packet.extend_from_slice(headers);
            packet.extend_from_slice(&tcp);
            packet[5] = (headers.len() + tcp.len()) as u8;
            packet
        };
        // Hop-by-hop options, then destination options of 16 bytes.
        let mut headers = vec![60, 0, 0, 0, 0, 0, 0, 0, 6, 1];
        headers.resize(24, 0);
        let plain = packet(&[], 6);
        let behind = packet(&headers, 0);
        let segment = segment_of(&behind).unwrap();
        assert_eq!((segment.src.port(), segment.dst.port()), (9, 5683));
        assert_eq!(segment.payload.len(), 2);
        assert_eq!(Some(segment), segment_of(&plain));
        assert_eq!(segment_of(&behind[..50]), None, "cut within the headers");
    }

    #[test]
    fn a_stream_that_is_no_coap_ends() {
        let mut streams = Streams::default();
        push(&mut streams, 1, &[0x0f; 8]);
        assert_eq!(streams.broken, 1);
        assert_eq!(push(&mut streams, 9, &[0x00, 0xe1]), []);
    }
}
