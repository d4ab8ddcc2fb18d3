//! The capture of a relay.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use fotaproof_net as net;
use fotaproof_trace::{CaptureInfo, CaptureWriter, Event, EventKind, Toward};

use crate::session::link_events::{fate_event, packet_event};

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
                let packet = packet_event(*point, *toward, *packet, *datagram, *fragment, bytes.clone(), *altered);
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
                // a comment stands on its packet, which knows the direction
                let fate = fate_event(Toward::Peer, *packet, *datagram, rule.clone(), fate, *draw);
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
