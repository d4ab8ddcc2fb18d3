//! Writing a capture: pcapng with both ends of the link as two interfaces, and comments that say why.
//!
//! Packets wait in memory up to a bound before they are written, because what is worth saying about a packet (the rule
//! that dropped it, the finding that rests on it) is known only after it passed.

use crate::dtls::DtlsEvent;
use crate::event::{Datagram, Event, EventKind, Fate, FateOfPacket, HookPhase, IutEvent, Packet, Point};
use crate::finding::Finding;
use bytes::Bytes;
use core::time::Duration;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::name_resolution::{Ipv4Record, Ipv6Record, NameResolutionBlock, Record};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::blocks::unknown::UnknownBlock;
use pcap_file::{DataLink, Endianness};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;

/// Type of a Decryption Secrets Block.
const SECRETS_BLOCK: u32 = 10;
/// Secrets in the key log format of TLS.
const TLS_KEY_LOG: u32 = 0x544c_534b;
/// Packets wait in memory until they are so many bytes.
const WAITING_BYTES: usize = 8 << 20;
/// Bytes that a waiting packet costs besides its own.
const OVERHEAD: usize = 128;
/// Frames whose number is remembered.
const NUMBERED: usize = 1 << 18;

/// Comment on a packet whose datagram the harness sent in a misbehaving way on purpose.
pub const PLANNED_COMMENT: &str = "sent so by the harness on purpose";
/// Comment on a packet whose bytes the network changed.
pub const ALTERED_COMMENT: &str = "altered by the network";
/// Before what happened to the IUT, in a comment on the packet that follows.
const IUT_COMMENT: &str = "before this packet the IUT ";

/// The comment that tells of something that happened to the IUT, when a reader of the capture must know of it.
fn iut_comment(event: &IutEvent) -> Option<String> {
    let what = match event {
        IutEvent::Started => "was started",
        IutEvent::Exited { .. } => "ended",
        IutEvent::Stopped => "was stopped",
        IutEvent::PowerCut => "lost its power",
        IutEvent::Restarted => "was started again",
        IutEvent::Hook { .. } => "was influenced by a hook",
        IutEvent::Ready | IutEvent::Output { .. } => return None,
    };
    Some(format!("{IUT_COMMENT}{what}"))
}

/// What happened to the IUT, from a comment that a [`CaptureWriter`] wrote.
#[must_use]
pub fn iut_event_of(comment: &str) -> Option<IutEvent> {
    Some(match comment.strip_prefix(IUT_COMMENT)? {
        "was started" => IutEvent::Started,
        "ended" => IutEvent::Exited { status: String::new() },
        "was stopped" => IutEvent::Stopped,
        "lost its power" => IutEvent::PowerCut,
        "was started again" => IutEvent::Restarted,
        "was influenced by a hook" => IutEvent::Hook {
            name: String::new(),
            phase: HookPhase::Done,
            text: String::new(),
        },
        _ => return None,
    })
}

/// Why a capture cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The file or the format refused.
    #[error("cannot write the capture: {0}")]
    Write(#[from] pcap_file::pcapng::PcapNgWriteError),
    /// The file refused.
    #[error("cannot write the capture: {0}")]
    Io(#[from] io::Error),
}

/// What stands at the head of a capture.
#[derive(Clone, Debug, Default)]
pub struct CaptureInfo {
    /// Comment of the section: the case, its seed, the command that repeats it.
    pub comment: String,
    /// Name and version of the program.
    pub application: String,
    /// Start of the session, since 1970-01-01 00:00:00 UTC; zero for a virtual run, so that it is repeatable.
    pub epoch: Duration,
    /// Names of addresses.
    pub hosts: Vec<(IpAddr, String)>,
}

#[derive(Debug)]
struct Waiting {
    at: Duration,
    point: Point,
    packet: u64,
    datagram: u64,
    bytes: Bytes,
    comments: Vec<String>,
}

/// Writes the packets of a case as they happen.
pub struct CaptureWriter<W: io::Write> {
    writer: PcapNgWriter<W>,
    epoch: Duration,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    bound: usize,
    frames: u64,
    /// Datagram and frame of its first packet, both ascending.
    numbers: Vec<(u64, u64)>,
    step: Option<String>,
    iut: Vec<String>,
    planned: Option<u64>,
    /// The third interface is described.
    aside: bool,
    /// Where a block is put together.
    block: Vec<u8>,
}

impl<W: io::Write> core::fmt::Debug for CaptureWriter<W> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CaptureWriter")
            .field("frames", &self.frames)
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

impl<W: io::Write> CaptureWriter<W> {
    /// Writes the head: section, the interfaces `iut` (0) and `server` (1), raw IP with nanoseconds, and the names.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(output: W, info: &CaptureInfo) -> Result<Self, CaptureError> {
        let mut options = Vec::new();
        if !info.application.is_empty() {
            options.push(SectionHeaderOption::UserApplication(Cow::Owned(cut(&info.application))));
        }
        if !info.comment.is_empty() {
            options.push(SectionHeaderOption::Common(CommonOption::Comment(Cow::Owned(cut(
                &info.comment,
            )))));
        }
        // One byte order everywhere: the same run gives the same bytes on every machine.
        let section = SectionHeaderBlock {
            endianness: Endianness::Little,
            options,
            ..Default::default()
        };
        let mut writer = PcapNgWriter::with_section_header(output, section)?;
        for (name, description) in [
            ("iut", "the end of the implementation under test"),
            ("peer", "the end of its peer"),
        ] {
            writer.write_pcapng_block(interface(name, description))?;
        }
        if !info.hosts.is_empty() {
            let records = info
                .hosts
                .iter()
                .map(|(address, name)| record(*address, name))
                .collect();
            writer.write_pcapng_block(NameResolutionBlock {
                records,
                options: Vec::new(),
            })?;
        }
        Ok(Self {
            writer,
            epoch: info.epoch,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            bound: WAITING_BYTES,
            frames: 0,
            numbers: Vec::new(),
            step: None,
            iut: Vec::new(),
            planned: None,
            aside: false,
            block: Vec::new(),
        })
    }

    /// Another bound for the packets that wait for comments, in bytes.
    #[must_use]
    pub fn with_bound(mut self, bytes: usize) -> Self {
        self.bound = bytes;
        self
    }

    /// Takes one event.
    ///
    /// # Errors
    /// When a packet cannot be written.
    pub fn on_event(&mut self, event: &Event) -> Result<(), CaptureError> {
        match &event.kind {
            EventKind::StepStarted { index, line, text } => {
                self.step = Some(format!("step {} (line {line}): {text}", index + 1));
            }
            EventKind::Packet(packet) => self.on_packet(event.at, packet)?,
            EventKind::Fate(fate) => self.on_fate(fate),
            EventKind::Finding(finding) => self.on_finding(finding),
            EventKind::Datagram(datagram) if datagram.planned => self.on_planned(datagram),
            EventKind::Dtls(DtlsEvent::Secrets { line }) => self.secrets(&format!("{line}\n"))?,
            EventKind::Iut(what) if self.iut.len() < 8 => self.iut.extend(iut_comment(what)),
            _ => {}
        }
        Ok(())
    }

    /// Secrets that decrypt what follows, in the key log format. They stand before every packet that still waits.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn secrets(&mut self, key_log: &str) -> Result<(), CaptureError> {
        let text = key_log.as_bytes();
        let mut value = Vec::with_capacity(text.len() + 12);
        value.extend(TLS_KEY_LOG.to_le_bytes());
        value.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        value.extend(text);
        value.resize(value.len().next_multiple_of(4), 0);
        let length = u32::try_from(value.len() + 12).unwrap_or(u32::MAX);
        self.writer
            .write_pcapng_block(UnknownBlock::new(SECRETS_BLOCK, length, &value))?;
        Ok(())
    }

    /// The frame number, as Wireshark counts from 1, of the first packet of a datagram.
    #[must_use]
    pub fn frame_of(&self, datagram: u64) -> Option<u64> {
        let index = self.numbers.binary_search_by_key(&datagram, |(id, _)| *id).ok()?;
        self.numbers.get(index).map(|(_, frame)| *frame)
    }

    /// Where the capture goes.
    pub fn output_mut(&mut self) -> &mut W {
        self.writer.get_mut()
    }

    /// Writes what still waits.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> Result<(), CaptureError> {
        while let Some(packet) = self.waiting.pop_front() {
            self.write(packet)?;
        }
        self.waiting_bytes = 0;
        Ok(())
    }

    /// Writes what still waits and gives the output back.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> Result<W, CaptureError> {
        self.flush()?;
        let mut output = self.writer.into_inner();
        output.flush()?;
        Ok(output)
    }

    fn on_packet(&mut self, at: Duration, packet: &Packet) -> Result<(), CaptureError> {
        if packet.bytes.is_empty() {
            return Ok(());
        }
        self.frames += 1;
        if self.numbers.len() < NUMBERED
            && self
                .numbers
                .last()
                .is_none_or(|(datagram, _)| *datagram < packet.datagram)
        {
            self.numbers.push((packet.datagram, self.frames));
        }
        let mut comments: Vec<String> = self.step.take().into_iter().chain(self.iut.drain(..)).collect();
        if packet.altered {
            comments.push(ALTERED_COMMENT.to_owned());
        }
        if self.planned == Some(packet.datagram) {
            comments.push(PLANNED_COMMENT.to_owned());
        }
        self.waiting_bytes += packet.bytes.len() + OVERHEAD;
        self.waiting.push_back(Waiting {
            at,
            point: packet.point,
            packet: packet.packet,
            datagram: packet.datagram,
            bytes: packet.bytes.clone(),
            comments,
        });
        while self.waiting_bytes > self.bound
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.waiting_bytes -= oldest.bytes.len() + OVERHEAD;
            self.write(oldest)?;
        }
        Ok(())
    }

    /// A datagram stands before or after its packets.
    fn on_planned(&mut self, datagram: &Datagram) {
        self.planned = Some(datagram.datagram);
        for waiting in self.waiting.iter_mut().rev().take(256) {
            if waiting.datagram == datagram.datagram && !waiting.comments.iter().any(|text| text == PLANNED_COMMENT) {
                waiting.comments.push(PLANNED_COMMENT.to_owned());
            }
        }
    }

    /// A fate follows its packet, so the search from the end is short.
    fn on_fate(&mut self, fate: &FateOfPacket) {
        let Some(text) = fate_text(fate) else { return };
        if let Some(waiting) = self
            .waiting
            .iter_mut()
            .rev()
            .take(256)
            .find(|waiting| waiting.packet == fate.packet)
        {
            waiting.comments.push(text);
        }
    }

    fn on_finding(&mut self, finding: &Finding) {
        let text = format!(
            "{} ({}, {}): {}. Expected: {}. Seen: {}",
            finding.source,
            finding.grade,
            finding.clauses.join(", "),
            finding.title,
            finding.expected,
            finding.seen
        );
        let Some(last) = finding.datagrams.last() else { return };
        // The datagram at the IUT's end; if it does not show there, at the other.
        let at_iut = self
            .waiting
            .iter()
            .position(|waiting| waiting.datagram == *last && waiting.point == Point::Iut);
        let place = at_iut.or_else(|| self.waiting.iter().position(|waiting| waiting.datagram == *last));
        if let Some(waiting) = place.and_then(|index| self.waiting.get_mut(index)) {
            waiting.comments.push(text);
        } else if let Some(waiting) = self.waiting.back_mut() {
            let frame = self
                .numbers
                .binary_search_by_key(last, |(id, _)| *id)
                .ok()
                .and_then(|index| self.numbers.get(index));
            let about = frame.map_or_else(|| "an earlier packet".to_owned(), |(_, frame)| format!("frame {frame}"));
            waiting.comments.push(format!("about {about}: {text}"));
        }
    }

    fn write(&mut self, packet: Waiting) -> Result<(), CaptureError> {
        if packet.point == Point::Aside && !self.aside {
            self.aside = true;
            let description = "between devices and repositories of the harness";
            self.writer.write_pcapng_block(interface("aside", description))?;
        }
        if packet.comments.is_empty()
            && let Some(block) = plain_block(self.epoch + packet.at, packet.point, &packet.bytes, &mut self.block)
        {
            self.writer.get_mut().write_all(block)?;
            return Ok(());
        }
        let comment = |text: &String| EnhancedPacketOption::Common(CommonOption::Comment(Cow::Owned(cut(text))));
        let block = EnhancedPacketBlock {
            interface_id: match packet.point {
                Point::Iut => 0,
                Point::Peer => 1,
                Point::Aside => 2,
            },
            timestamp: self.epoch + packet.at,
            original_len: u32::try_from(packet.bytes.len()).unwrap_or(u32::MAX),
            data: Cow::Borrowed(&packet.bytes),
            options: packet.comments.iter().map(comment).collect(),
        };
        self.writer.write_pcapng_block(block)?;
        Ok(())
    }
}

/// The description of an interface.
fn interface<'a>(name: &'a str, description: &'a str) -> InterfaceDescriptionBlock<'a> {
    let mut interface = InterfaceDescriptionBlock::new(DataLink::RAW, 0);
    interface.options = vec![
        InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
        InterfaceDescriptionOption::IfDescription(Cow::Borrowed(description)),
        InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO),
    ];
    interface
}

/// An Enhanced Packet Block without options (pcapng, section 4.3), as nearly all are; none for what a time or a length cannot
/// say.
fn plain_block<'a>(at: Duration, point: Point, bytes: &[u8], block: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    const TYPE: u32 = 6;
    const AROUND: usize = 32;
    let at = u64::try_from(at.as_nanos()).ok()?;
    let captured = u32::try_from(bytes.len()).ok()?;
    let padded = bytes.len().next_multiple_of(4);
    let length = u32::try_from(padded + AROUND).ok()?;
    let interface: u32 = match point {
        Point::Iut => 0,
        Point::Peer => 1,
        Point::Aside => 2,
    };
    block.clear();
    for word in [
        TYPE,
        length,
        interface,
        (at >> 32) as u32,
        at as u32,
        captured,
        captured,
    ] {
        block.extend_from_slice(&word.to_le_bytes());
    }
    block.extend_from_slice(bytes);
    block.resize(block.len() + padded - bytes.len(), 0);
    block.extend_from_slice(&length.to_le_bytes());
    Some(block)
}

/// What is worth saying about a packet's fate.
pub(crate) fn fate_text(fate: &FateOfPacket) -> Option<String> {
    let mut text = match fate.fate {
        Fate::Pass => return None,
        Fate::Dropped => "dropped".to_owned(),
        Fate::Delayed => match fate.delay {
            Some(delay) => format!("delayed by {:.3} s", delay.as_secs_f64()),
            None => "delayed".to_owned(),
        },
        Fate::Duplicated => "duplicated".to_owned(),
        Fate::Corrupted => "corrupted".to_owned(),
        Fate::Truncated => "truncated".to_owned(),
        Fate::Swapped => "overtaken by the next".to_owned(),
        Fate::Refused => "refused: larger than the MTU".to_owned(),
    };
    if let Some(rule) = &fate.rule {
        text.push_str(&format!(" by rule {rule}"));
    } else if let Some(reason) = &fate.reason {
        text.push_str(&format!(" ({reason})"));
    }
    Some(text)
}

fn record<'a>(address: IpAddr, name: &str) -> Record<'a> {
    let names = vec![Cow::Owned(cut(name))];
    match address {
        IpAddr::V4(ip_addr) => Record::Ipv4(Ipv4Record { ip_addr, names }),
        IpAddr::V6(ip_addr) => Record::Ipv6(Ipv6Record { ip_addr, names }),
    }
}

/// Options hold 65535 bytes at most; a comment needs far fewer. Zero bytes end a name.
fn cut(text: &str) -> String {
    let mut text = text.replace('\0', "\u{fffd}");
    if text.len() > 8000 {
        let end = (0..=8000)
            .rev()
            .find(|index| text.is_char_boundary(*index))
            .unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests;
