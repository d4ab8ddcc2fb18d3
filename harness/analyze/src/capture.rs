//! Captures as bytes that arrive in pieces: pcap and pcapng through `pcap-file`, bounded whatever their lengths say.
//!
//! Frames are slices of the pieces, nothing is copied. A length that lies is refused before anything waits for it.

use bytes::Bytes;
use core::time::Duration;
use pcap_file::Endianness;
use pcap_file::pcap::{PcapParseError, PcapParser};
use pcap_file::pcapng::blocks::Block;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::{PcapNgParseError, PcapNgParser};
use std::io::Read;

/// The longest block or packet record that is read; longer ones are taken for a lie.
const LONGEST: usize = 16 << 20;
/// What the interface descriptions of a file may take together.
const INTERFACE_BYTES: usize = 4 << 20;
/// Bytes read from a file at a time.
const CHUNK: usize = 256 << 10;
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const DECRYPTION_SECRETS: u32 = 10;
/// Bytes of key logs that are kept at most.
const KEY_LOG_BYTES: usize = 16 << 20;

/// Where and why a capture cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}, after {frames} frames")]
pub struct Broken {
    /// What is wrong.
    pub kind: BrokenKind,
    /// Byte of the file where the record starts that cannot be read.
    pub offset: u64,
    /// Frames read before.
    pub frames: u64,
}

/// What is wrong with a capture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenKind {
    /// There is nothing in it.
    #[error("the file is empty")]
    Empty,
    /// The first bytes are those of no capture.
    #[error("neither pcap nor pcapng: it starts with {0:02x?}")]
    NotACapture([u8; 4]),
    /// The file ends within a record.
    #[error("the file is cut short within a record")]
    Cut,
    /// A record is longer than anything that is captured.
    #[error("a record says that it has {0} bytes")]
    TooLong(u64),
    /// More interface descriptions than any capture needs.
    #[error("the interface descriptions take more than 4 MiB")]
    Interfaces,
    /// The format is broken.
    #[error("broken format: {0}")]
    Format(String),
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(String),
}

impl BrokenKind {
    /// The bytes break the format, as opposed to a file that ends early or cannot be read.
    #[must_use]
    pub const fn is_invalid(&self) -> bool {
        !matches!(self, Self::Cut | Self::Io(_))
    }
}

/// One frame of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Frame number, from 1, as Wireshark counts.
    pub number: u64,
    /// Time since 1970-01-01 00:00:00 UTC; zero when the capture does not say.
    pub at: Duration,
    /// Interface; 0 in pcap.
    pub interface: u32,
    /// Link type number.
    pub link: u32,
    /// What was captured, with its link header.
    pub data: Bytes,
    /// The length it had on the wire.
    pub length: u32,
    /// Comments.
    pub comments: Vec<String>,
}

enum Format {
    Unknown,
    Pcap {
        parser: PcapParser,
        link: u32,
        swapped: bool,
    },
    PcapNg(PcapNgParser),
}

/// The TLS key log in a Decryption Secrets Block, whichever its byte order; none when it holds other secrets.
fn key_log(block: &Bytes) -> Option<Bytes> {
    const TLS_KEY_LOG: u32 = 0x544c_534b;
    let word = |at: usize| block.get(at..at + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    let (kind, length) = (word(8)?, word(12)?);
    let length = if u32::from_le_bytes(kind) == TLS_KEY_LOG {
        u32::from_le_bytes(length)
    } else if u32::from_be_bytes(kind) == TLS_KEY_LOG {
        u32::from_be_bytes(length)
    } else {
        return None;
    };
    let end = 16_usize.checked_add(usize::try_from(length).ok()?)?;
    (end <= block.len()).then(|| block.slice(16..end))
}

/// Reads frames from pieces of a capture. It holds no more than one piece and one record.
pub struct CaptureParser {
    format: Format,
    buffer: Bytes,
    offset: u64,
    frames: u64,
    interface_bytes: usize,
    /// The file holds decryption secrets.
    secrets: bool,
    /// Key logs that nobody has taken yet.
    key_logs: Vec<Bytes>,
    key_log_bytes: usize,
    broken: Option<Broken>,
}

impl core::fmt::Debug for CaptureParser {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CaptureParser")
            .field("frames", &self.frames)
            .field("offset", &self.offset)
            .finish_non_exhaustive()
    }
}

impl Default for CaptureParser {
    fn default() -> Self {
        Self {
            format: Format::Unknown,
            buffer: Bytes::new(),
            offset: 0,
            frames: 0,
            interface_bytes: 0,
            secrets: false,
            key_logs: Vec::new(),
            key_log_bytes: 0,
            broken: None,
        }
    }
}

/// What one step of a parser gave.
enum Step {
    Frame(Frame),
    Skipped,
    More,
}

impl CaptureParser {
    /// Takes the next piece.
    pub fn feed(&mut self, piece: Bytes) {
        if self.buffer.is_empty() {
            self.buffer = piece;
        } else if !piece.is_empty() {
            let mut joined = Vec::with_capacity(self.buffer.len() + piece.len());
            joined.extend_from_slice(&self.buffer);
            joined.extend_from_slice(&piece);
            self.buffer = joined.into();
        }
    }

    /// Takes out what was not read yet, so that the next piece can be put behind it without a further copy; it comes
    /// back at the head of the next piece that is fed.
    #[must_use]
    pub fn take_rest(&mut self) -> Bytes {
        core::mem::take(&mut self.buffer)
    }

    /// The next frame; none when more bytes are needed.
    ///
    /// # Errors
    /// Where the capture breaks. Then there is nothing more to read.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Broken> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        loop {
            match self.step() {
                Ok(Step::Frame(frame)) => return Ok(Some(frame)),
                Ok(Step::Skipped) => {}
                Ok(Step::More) => return Ok(None),
                Err(kind) => {
                    let broken = self.at(kind);
                    self.broken = Some(broken.clone());
                    return Err(broken);
                }
            }
        }
    }

    /// No more bytes come.
    ///
    /// # Errors
    /// When the capture ends within a record.
    pub fn finish(&self) -> Result<(), Broken> {
        match &self.broken {
            Some(broken) => Err(broken.clone()),
            None if self.offset == 0 && self.buffer.is_empty() => Err(self.at(BrokenKind::Empty)),
            None if !self.buffer.is_empty() => Err(self.at(BrokenKind::Cut)),
            None => Ok(()),
        }
    }

    /// `pcap` or `pcapng`; empty before it is known.
    #[must_use]
    pub const fn format(&self) -> &'static str {
        match self.format {
            Format::Unknown => "",
            Format::Pcap { .. } => "pcap",
            Format::PcapNg(_) => "pcapng",
        }
    }

    /// Names of the interfaces of the current section, empty where one has none.
    #[must_use]
    pub fn interfaces(&self) -> Vec<String> {
        let Format::PcapNg(parser) = &self.format else {
            return vec![String::new()];
        };
        let name = |options: &[InterfaceDescriptionOption<'_>]| {
            options.iter().find_map(|option| match option {
                InterfaceDescriptionOption::IfName(name) => Some(name.to_string()),
                _ => None,
            })
        };
        parser
            .interfaces()
            .iter()
            .map(|interface| name(&interface.options).unwrap_or_default())
            .collect()
    }

    /// Interfaces known so far.
    #[must_use]
    pub fn interface_count(&self) -> usize {
        match &self.format {
            Format::PcapNg(parser) => parser.interfaces().len(),
            Format::Pcap { .. } => 1,
            Format::Unknown => 0,
        }
    }

    /// The file holds decryption secrets.
    #[must_use]
    pub const fn has_secrets(&self) -> bool {
        self.secrets
    }

    /// TLS key logs that the file held since the last call.
    pub fn take_secrets(&mut self) -> Vec<Bytes> {
        core::mem::take(&mut self.key_logs)
    }

    /// Frames read.
    #[must_use]
    pub const fn frames(&self) -> u64 {
        self.frames
    }

    /// Bytes read.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    const fn at(&self, kind: BrokenKind) -> Broken {
        Broken {
            kind,
            offset: self.offset,
            frames: self.frames,
        }
    }

    fn advance(&mut self, rest: usize) {
        let taken = self.buffer.len() - rest;
        self.offset += taken as u64;
        let _ = self.buffer.split_to(taken);
    }

    fn step(&mut self) -> Result<Step, BrokenKind> {
        match self.format {
            Format::Unknown => self.head(),
            Format::Pcap { .. } => self.record(),
            Format::PcapNg(_) => self.block(),
        }
    }

    /// Tells the format by the first bytes.
    fn head(&mut self) -> Result<Step, BrokenKind> {
        let Some(magic) = self.buffer.first_chunk::<4>().copied() else {
            return Ok(Step::More);
        };
        match magic {
            [0x0a, 0x0d, 0x0d, 0x0a] => {
                let Some(block) = PeekedBlock::of(&self.buffer, Endianness::Little)? else {
                    return Ok(Step::More);
                };
                if self.buffer.len() < block.length {
                    return Ok(Step::More);
                }
                match PcapNgParser::new(&self.buffer) {
                    Ok((rest, parser)) => {
                        let rest = rest.len();
                        self.format = Format::PcapNg(parser);
                        self.advance(rest);
                        Ok(Step::Skipped)
                    }
                    Err(PcapNgParseError::IncompleteBuffer(..)) => Ok(Step::More),
                    Err(error) => Err(BrokenKind::Format(describe(&error))),
                }
            }
            [0xa1, 0xb2, 0xc3 | 0x3c, 0xd4 | 0x4d] | [0xd4 | 0x4d, 0xc3 | 0x3c, 0xb2, 0xa1] => {
                match PcapParser::new(&self.buffer) {
                    Ok((rest, parser)) => {
                        let rest = rest.len();
                        // The upper bits tell of a frame check sequence, not of the link.
                        let link = u32::from(parser.header().datalink) & 0x0fff_ffff;
                        self.format = Format::Pcap {
                            parser,
                            link,
                            swapped: magic[0] != 0xa1,
                        };
                        self.advance(rest);
                        Ok(Step::Skipped)
                    }
                    Err(PcapParseError::IncompleteBuffer(..)) => Ok(Step::More),
                    Err(error) => Err(BrokenKind::Format(describe(&error))),
                }
            }
            other => Err(BrokenKind::NotACapture(other)),
        }
    }

    /// A packet of a pcap file.
    fn record(&mut self) -> Result<Step, BrokenKind> {
        let Format::Pcap { parser, link, swapped } = &self.format else {
            return Ok(Step::More);
        };
        if self.buffer.is_empty() {
            return Ok(Step::More);
        }
        if let Some(length) = self.buffer.get(8..).and_then(<[u8]>::first_chunk::<4>) {
            let length = if *swapped {
                u32::from_le_bytes(*length)
            } else {
                u32::from_be_bytes(*length)
            };
            if length as usize > LONGEST {
                return Err(BrokenKind::TooLong(u64::from(length)));
            }
        }
        match parser.next_raw_packet(&self.buffer) {
            Ok((rest, packet)) => {
                let rest = rest.len();
                let nanos = parser.header().ts_resolution == pcap_file::pcap::PcapTsResolution::NanoSecond;
                let fraction = u64::from(packet.ts_frac) * if nanos { 1 } else { 1000 };
                let frame = Frame {
                    number: self.frames + 1,
                    at: Duration::from_secs(u64::from(packet.ts_sec)) + Duration::from_nanos(fraction),
                    interface: 0,
                    link: *link,
                    data: self.buffer.slice_ref(&packet.data),
                    length: packet.orig_len,
                    comments: Vec::new(),
                };
                self.frames += 1;
                self.advance(rest);
                Ok(Step::Frame(frame))
            }
            Err(PcapParseError::IncompleteBuffer(..)) => Ok(Step::More),
            Err(error) => Err(BrokenKind::Format(describe(&error))),
        }
    }

    /// A block of a pcapng file.
    fn block(&mut self) -> Result<Step, BrokenKind> {
        let Format::PcapNg(parser) = &mut self.format else {
            return Ok(Step::More);
        };
        let Some(peeked) = PeekedBlock::of(&self.buffer, parser.section().endianness)? else {
            return Ok(Step::More);
        };
        if self.buffer.len() < peeked.length {
            return Ok(Step::More);
        }
        match peeked.kind {
            SECTION_HEADER => self.interface_bytes = 0,
            INTERFACE_DESCRIPTION => {
                self.interface_bytes += peeked.length + 64;
                if self.interface_bytes > INTERFACE_BYTES {
                    return Err(BrokenKind::Interfaces);
                }
            }
            DECRYPTION_SECRETS => {
                self.secrets = true;
                if let Some(log) = key_log(&self.buffer.slice(..peeked.length))
                    && self.key_log_bytes + log.len() <= KEY_LOG_BYTES
                {
                    self.key_log_bytes += log.len();
                    self.key_logs.push(log);
                }
            }
            _ => {}
        }
        if !matches!(
            peeked.kind,
            SECTION_HEADER | INTERFACE_DESCRIPTION | ENHANCED_PACKET | 2 | 3
        ) {
            // Of no use here; its length was looked at.
            let rest = self.buffer.len() - peeked.length;
            self.advance(rest);
            return Ok(Step::Skipped);
        }
        let (rest, block) = match parser.next_block(&self.buffer) {
            Ok(next) => next,
            Err(PcapNgParseError::IncompleteBuffer(..)) => return Ok(Step::More),
            Err(error) => return Err(BrokenKind::Format(describe(&error))),
        };
        let rest = rest.len();
        let slice = |data: &[u8]| self.buffer.slice_ref(data);
        let (at, interface, length, data, comments) = match block {
            Block::EnhancedPacket(packet) => {
                let comments = packet.options.iter().filter_map(|option| match option {
                    EnhancedPacketOption::Common(CommonOption::Comment(text)) => Some(text.to_string()),
                    _ => None,
                });
                (
                    packet.timestamp,
                    packet.interface_id,
                    packet.original_len,
                    slice(&packet.data),
                    comments.collect(),
                )
            }
            Block::Packet(packet) => (
                packet.timestamp,
                u32::from(packet.interface_id),
                packet.original_len,
                slice(&packet.data),
                Vec::new(),
            ),
            Block::SimplePacket(packet) => (Duration::ZERO, 0, packet.original_len, slice(&packet.data), Vec::new()),
            _ => {
                self.advance(rest);
                return Ok(Step::Skipped);
            }
        };
        let link = parser
            .interfaces()
            .get(interface as usize)
            .map_or(u32::MAX, |found| u32::from(found.linktype));
        self.frames += 1;
        self.advance(rest);
        Ok(Step::Frame(Frame {
            number: self.frames,
            at,
            interface,
            link,
            data,
            length,
            comments,
        }))
    }
}

/// Type and length of a block, before it is read.
struct PeekedBlock {
    kind: u32,
    length: usize,
}

impl PeekedBlock {
    fn of(bytes: &[u8], section: Endianness) -> Result<Option<Self>, BrokenKind> {
        let Some((head, rest)) = bytes.split_first_chunk::<8>() else {
            return Ok(None);
        };
        let (kind, length) = (
            [head[0], head[1], head[2], head[3]],
            [head[4], head[5], head[6], head[7]],
        );
        let little = if kind == [0x0a, 0x0d, 0x0d, 0x0a] {
            // The byte order of a section stands behind its length.
            let Some(magic) = rest.first_chunk::<4>() else {
                return Ok(None);
            };
            *magic == [0x4d, 0x3c, 0x2b, 0x1a]
        } else {
            section == Endianness::Little
        };
        let number = |bytes| {
            if little {
                u32::from_le_bytes(bytes)
            } else {
                u32::from_be_bytes(bytes)
            }
        };
        let length = number(length);
        if length as usize > LONGEST {
            return Err(BrokenKind::TooLong(u64::from(length)));
        }
        if length < 12 || !length.is_multiple_of(4) {
            return Err(BrokenKind::Format(format!("a block says that it has {length} bytes")));
        }
        Ok(Some(Self {
            kind: number(kind),
            length: length as usize,
        }))
    }
}

/// An error with its causes.
fn describe(error: &dyn core::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

/// Reads a capture from a file or another source.
#[derive(Debug)]
pub struct CaptureFile<R: Read> {
    input: R,
    parser: CaptureParser,
    ended: bool,
}

impl<R: Read> CaptureFile<R> {
    /// From the start of a source.
    pub fn new(input: R) -> Self {
        Self {
            input,
            parser: CaptureParser::default(),
            ended: false,
        }
    }

    /// The parser: format, interfaces, offset.
    #[must_use]
    pub const fn parser(&self) -> &CaptureParser {
        &self.parser
    }

    /// The parser, to take what it holds.
    pub const fn parser_mut(&mut self) -> &mut CaptureParser {
        &mut self.parser
    }

    /// The next frame; none at the end.
    ///
    /// # Errors
    /// Where the capture breaks or the source refuses.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Broken> {
        loop {
            if let Some(frame) = self.parser.next_frame()? {
                return Ok(Some(frame));
            }
            if self.ended {
                return self.parser.finish().map(|()| None);
            }
            let rest = self.parser.take_rest();
            // A record longer than a piece makes the next piece twice as long.
            let room = CHUNK.max(rest.len());
            let mut piece = Vec::with_capacity(rest.len() + room);
            piece.extend_from_slice(&rest);
            drop(rest);
            // Reads into what is not written yet, and again after an interruption.
            match self.input.by_ref().take(room as u64).read_to_end(&mut piece) {
                Ok(count) => self.ended = count < room,
                Err(error) => return Err(self.parser.at(BrokenKind::Io(error.to_string()))),
            }
            self.parser.feed(piece.into());
        }
    }
}
