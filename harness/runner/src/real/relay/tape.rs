//! The capture of a relay.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use fotaproof_net as net;
use fotaproof_trace::{CaptureInfo, CaptureWriter, Event, EventKind, FateOfPacket, Fragment, Packet, Point};

use crate::session::world::{fate_words, toward_trace};

/// Bytes of packets that wait for comments. What the link says about a packet comes at once, so few are enough, and a
/// relay that is killed leaves nearly all.
const WAITING: usize = 64 << 10;

/// Writes every packet at both ends of the link.
pub(super) struct Tape {
    path: PathBuf,
    writer: CaptureWriter<BufWriter<File>>,
    no: u64,
    pub(super) packets: u64,
}

impl Tape {
    #[expect(clippy::disallowed_methods, reason = "a capture from the field has the wall's clock")]
    pub(super) fn create(path: &Path, comment: String, to: SocketAddr) -> io::Result<Self> {
        let file = File::create(path)?;
        let epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let info = CaptureInfo {
            comment,
            application: format!("fotaproof relay {}", env!("CARGO_PKG_VERSION")),
            epoch,
            hosts: vec![(to.ip(), "server".to_owned())],
        };
        let writer = CaptureWriter::new(BufWriter::with_capacity(WAITING, file), &info)
            .map_err(io::Error::other)?
            .with_bound(WAITING);
        Ok(Self {
            path: path.to_path_buf(),
            writer,
            no: 0,
            packets: 0,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn take(&mut self, event: &net::LinkEvent) -> io::Result<()> {
        let (at, kind) = match event {
            net::LinkEvent::Packet {
                at,
                point,
                toward,
                packet,
                datagram,
                fragment,
                bytes,
                altered,
                ..
            } => {
                self.packets += 1;
                let packet = Packet {
                    point: match point {
                        net::Point::Iut => Point::Iut,
                        net::Point::Peer => Point::Peer,
                    },
                    toward: toward_trace(*toward),
                    packet: packet.0,
                    datagram: datagram.0,
                    fragment: fragment.map(|part| Fragment {
                        index: part.index,
                        offset: part.offset,
                        more: part.more,
                    }),
                    bytes: bytes.clone(),
                    altered: *altered,
                };
                (*at, EventKind::Packet(packet))
            }
            net::LinkEvent::Fate {
                at,
                packet,
                datagram,
                rule,
                fate,
                draw,
            } => {
                let (fate, reason, delay) = fate_words(fate);
                let fate = FateOfPacket {
                    // a comment stands on its packet, which knows the direction
                    toward: toward_trace(net::Toward::Peer),
                    packet: packet.0,
                    datagram: datagram.0,
                    rule: rule.clone(),
                    fate,
                    reason,
                    delay,
                    draw: *draw,
                };
                (*at, EventKind::Fate(fate))
            }
            net::LinkEvent::Delivered { .. } | net::LinkEvent::Refused { .. } => return Ok(()),
        };
        self.no += 1;
        self.writer
            .on_event(&Event { no: self.no, at, kind })
            .map_err(io::Error::other)
    }

    /// Writes what waits.
    pub(super) fn finish(self) -> io::Result<u64> {
        self.writer.finish().map_err(io::Error::other)?.flush()?;
        Ok(self.packets)
    }
}
