//! Reading captures: pcap and pcapng, the usual link types, IP and UDP.

use bytes::Bytes;
use core::time::Duration;
use pcap_file::DataLink;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::PcapNgReader;
use pcap_file::pcapng::blocks::Block;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use std::io::{self, Cursor, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Why a capture cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The first bytes are those of no capture.
    #[error("this is neither pcap nor pcapng: it starts with {0:02x?}")]
    NotACapture([u8; 4]),
    /// The file ends before its first packet could be told.
    #[error("the capture is cut before its head ends")]
    Cut,
    /// The format is broken.
    #[error("after {packets} packets: {reason}")]
    Format {
        /// Packets read before.
        packets: u64,
        /// What the reader said.
        reason: String,
    },
    /// The file refused.
    #[error("cannot read the capture: {0}")]
    Io(#[from] io::Error),
}

/// One packet of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapturedPacket {
    /// Frame number, from 1.
    pub number: u64,
    /// Time since 1970-01-01 00:00:00 UTC; zero when the capture does not say.
    pub at: Duration,
    /// Interface; 0 in pcap.
    pub interface: u32,
    /// Link type number.
    pub link: u32,
    /// The frame with its link header.
    pub frame: Bytes,
    /// The frame was longer when it was captured.
    pub cut: bool,
    /// Comments.
    pub comments: Vec<String>,
}

impl CapturedPacket {
    /// The IP packet in the frame.
    #[must_use]
    pub fn ip(&self) -> Option<&[u8]> {
        ip_of(self.link, &self.frame)
    }
}

type Source<R> = io::Chain<Cursor<[u8; 4]>, R>;

enum Format<R: Read> {
    Pcap(PcapReader<Source<R>>),
    PcapNg(PcapNgReader<Source<R>>),
}

/// Reads a capture packet by packet; it holds one at a time.
pub struct CaptureReader<R: Read> {
    format: Format<R>,
    number: u64,
    ended: bool,
}

impl<R: Read> core::fmt::Debug for CaptureReader<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CaptureReader")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl<R: Read> CaptureReader<R> {
    /// Tells the format by its first bytes.
    ///
    /// # Errors
    /// When it is no capture.
    pub fn new(mut input: R) -> Result<Self, ReadError> {
        let mut magic = [0; 4];
        input.read_exact(&mut magic).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ReadError::Cut,
            _ => ReadError::Io(error),
        })?;
        let source = Cursor::new(magic).chain(input);
        let broken = |reason: String| ReadError::Format { packets: 0, reason };
        let format = match magic {
            [0x0a, 0x0d, 0x0d, 0x0a] => {
                Format::PcapNg(PcapNgReader::new(source).map_err(|error| broken(error.to_string()))?)
            }
            [0xa1, 0xb2, 0xc3 | 0x3c, 0xd4 | 0x4d] | [0xd4 | 0x4d, 0xc3 | 0x3c, 0xb2, 0xa1] => {
                Format::Pcap(PcapReader::new(source).map_err(|error| broken(error.to_string()))?)
            }
            other => return Err(ReadError::NotACapture(other)),
        };
        Ok(Self {
            format,
            number: 0,
            ended: false,
        })
    }

    fn read(&mut self) -> Option<Result<CapturedPacket, String>> {
        match &mut self.format {
            Format::Pcap(reader) => {
                let link = u32::from(reader.header().datalink);
                let packet = match reader.next_packet()? {
                    Ok(packet) => packet,
                    Err(error) => return Some(Err(error.to_string())),
                };
                Some(Ok(CapturedPacket {
                    number: 0,
                    at: packet.timestamp(),
                    interface: 0,
                    link,
                    cut: packet.orig_len() > packet.len(),
                    frame: Bytes::copy_from_slice(packet.data()),
                    comments: Vec::new(),
                }))
            }
            Format::PcapNg(reader) => loop {
                let (block, state) = match reader.next_block()? {
                    Ok(next) => next,
                    Err(error) => return Some(Err(error.to_string())),
                };
                let link_of = |interface: u32| {
                    state
                        .interfaces()
                        .get(interface as usize)
                        .map_or(u32::MAX, |found| u32::from(found.linktype))
                };
                match block {
                    Block::EnhancedPacket(packet) => {
                        let comments = packet.options.iter().filter_map(|option| match option {
                            EnhancedPacketOption::Common(CommonOption::Comment(text)) => Some(text.to_string()),
                            _ => None,
                        });
                        return Some(Ok(CapturedPacket {
                            number: 0,
                            at: packet.timestamp,
                            interface: packet.interface_id,
                            link: link_of(packet.interface_id),
                            cut: packet.original_len as usize > packet.data.len(),
                            frame: Bytes::copy_from_slice(&packet.data),
                            comments: comments.collect(),
                        }));
                    }
                    Block::SimplePacket(packet) => {
                        return Some(Ok(CapturedPacket {
                            number: 0,
                            at: Duration::ZERO,
                            interface: 0,
                            link: link_of(0),
                            cut: packet.original_len as usize > packet.data.len(),
                            frame: Bytes::copy_from_slice(&packet.data),
                            comments: Vec::new(),
                        }));
                    }
                    _ => {}
                }
            },
        }
    }
}

impl<R: Read> Iterator for CaptureReader<R> {
    type Item = Result<CapturedPacket, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.read() {
            Some(Ok(packet)) => {
                self.number += 1;
                Some(Ok(CapturedPacket {
                    number: self.number,
                    ..packet
                }))
            }
            Some(Err(reason)) => {
                self.ended = true;
                Some(Err(ReadError::Format {
                    packets: self.number,
                    reason,
                }))
            }
            None => {
                self.ended = true;
                None
            }
        }
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// The IP packet behind the link header of a frame.
#[must_use]
pub fn ip_of(link: u32, frame: &[u8]) -> Option<&[u8]> {
    const IPV4: u16 = 0x0800;
    const IPV6: u16 = 0x86dd;
    let (protocol, offset) = match DataLink::from(link) {
        DataLink::ETHERNET => {
            let mut offset = 12;
            // Tags of VLANs, doubled or not.
            while matches!(be16(frame, offset)?, 0x8100 | 0x88a8 | 0x9100) {
                offset += 4;
            }
            (be16(frame, offset)?, offset + 2)
        }
        DataLink::LINUX_SLL => (be16(frame, 14)?, 16),
        DataLink::LINUX_SLL2 => (be16(frame, 0)?, 20),
        DataLink::NULL | DataLink::LOOP => (0, 4),
        DataLink::RAW | DataLink::IPV4 | DataLink::IPV6 => (0, 0),
        _ => return None,
    };
    let packet = frame.get(offset..)?;
    let version = packet.first()? >> 4;
    match (protocol, version) {
        (0 | IPV4, 4) | (0 | IPV6, 6) => Some(packet),
        _ => None,
    }
}

/// What an IP packet carries, as far as UDP goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpUdp<'a> {
    /// A whole datagram.
    Datagram {
        /// Source.
        src: SocketAddr,
        /// Destination.
        dst: SocketAddr,
        /// UDP payload.
        payload: &'a [u8],
    },
    /// A fragment: needs reassembly.
    Fragment,
}

/// The UDP datagram in an IP packet; none when it is another protocol or cut.
#[must_use]
pub fn udp_of(packet: &[u8]) -> Option<IpUdp<'_>> {
    let (src, dst, udp) = match packet.first()? >> 4 {
        4 => {
            let header = usize::from(packet[0] & 15) * 4;
            let total = usize::from(be16(packet, 2)?);
            if header < 20 || total < header || *packet.get(9)? != 17 {
                return None;
            }
            if be16(packet, 6)? & 0x3fff != 0 {
                return Some(IpUdp::Fragment);
            }
            let address = |at: usize| -> Option<IpAddr> {
                let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
                Some(IpAddr::from(Ipv4Addr::from(octets)))
            };
            (address(12)?, address(16)?, packet.get(header..total)?)
        }
        6 => {
            let address = |at: usize| -> Option<IpAddr> {
                let octets: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
                Some(IpAddr::from(Ipv6Addr::from(octets)))
            };
            let end = 40 + usize::from(be16(packet, 4)?);
            let mut next = *packet.get(6)?;
            let mut offset = 40;
            // Hop-by-hop, routing and destination options are skipped.
            while matches!(next, 0 | 43 | 60) {
                next = *packet.get(offset)?;
                offset += 8 + usize::from(*packet.get(offset + 1)?) * 8;
            }
            match next {
                17 => (address(8)?, address(24)?, packet.get(offset..end)?),
                44 => return Some(IpUdp::Fragment),
                _ => return None,
            }
        }
        _ => return None,
    };
    let length = usize::from(be16(udp, 4)?);
    Some(IpUdp::Datagram {
        src: SocketAddr::new(src, be16(udp, 0)?),
        dst: SocketAddr::new(dst, be16(udp, 2)?),
        payload: udp.get(8..length)?,
    })
}

#[cfg(test)]
mod tests {
    use super::{CaptureReader, IpUdp, ReadError, ip_of, udp_of};
    use proptest::prelude::*;

    fn ipv4(payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend([0x16, 0x33, 0x16, 0x34]);
        packet.extend((payload.len() as u16 + 8).to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(payload);
        let total = packet.len() as u16;
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet
    }

    #[test]
    fn link_types() {
        let packet = ipv4(b"x");
        let framed = |head: &[u8]| [head, &packet].concat();
        let ethernet = framed(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0]);
        let vlan = framed(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x81, 0, 0, 7, 8, 0]);
        let sll = framed(&[0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0]);
        let sll2 = framed(&[8, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0]);
        let null = framed(&[2, 0, 0, 0]);
        for (link, frame) in [
            (1, &ethernet),
            (1, &vlan),
            (113, &sll),
            (276, &sll2),
            (0, &null),
            (101, &packet),
        ] {
            assert_eq!(ip_of(link, frame), Some(&packet[..]), "link type {link}");
        }
        let arp = framed(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 6]);
        assert_eq!(ip_of(1, &arp), None);
    }

    #[test]
    fn datagrams_and_fragments() {
        let mut packet = ipv4(b"hello");
        // Ethernet padding behind the packet is not payload.
        packet.extend([0; 6]);
        let Some(IpUdp::Datagram { src, dst, payload }) = udp_of(&packet) else {
            panic!("a datagram")
        };
        assert_eq!(
            (src.to_string().as_str(), dst.to_string().as_str()),
            ("10.0.0.1:5683", "10.0.0.2:5684")
        );
        assert_eq!(payload, b"hello");
        packet[6] = 0x20;
        assert_eq!(udp_of(&packet), Some(IpUdp::Fragment));
        packet[6] = 0;
        packet[9] = 6;
        assert_eq!(udp_of(&packet), None);
    }

    #[test]
    fn other_files_are_refused() {
        assert!(matches!(
            CaptureReader::new(&b"abcdefgh"[..]),
            Err(ReadError::NotACapture(_))
        ));
        assert!(matches!(CaptureReader::new(&b"ab"[..]), Err(ReadError::Cut)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(link in 0u32..300, bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(packet) = ip_of(link, &bytes) {
                let _ = udp_of(packet);
            }
            let _ = udp_of(&bytes);
        }

        #[test]
        fn no_capture_panics(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            for magic in [[0x0a, 0x0d, 0x0d, 0x0a], [0xd4, 0xc3, 0xb2, 0xa1]] {
                let bytes = [&magic[..], &tail].concat();
                if let Ok(reader) = CaptureReader::new(&bytes[..]) {
                    for packet in reader.take(100) {
                        let _ = packet;
                    }
                }
            }
        }
    }
}
