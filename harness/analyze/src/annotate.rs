//! A copy of a capture with the findings as comments on the packets they rest on.

use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::blocks::Block;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
};
use pcap_file::pcapng::blocks::opt_common::CommonOption;
use pcap_file::pcapng::{PcapNgReader, PcapNgWriter};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Read, Write};

use crate::report::CaptureReport;

/// Comments on one packet; more are left out.
const MANY: usize = 16;

/// Why the copy cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum AnnotateError {
    /// The capture cannot be read again.
    #[error("cannot read the capture again: {0}")]
    Read(String),
    /// The copy cannot be written.
    #[error("cannot write the copy: {0}")]
    Write(#[from] pcap_file::pcapng::PcapNgWriteError),
    /// The copy cannot be written.
    #[error("cannot write the copy: {0}")]
    Io(#[from] std::io::Error),
}

/// The comments of a report, by packet.
fn comments(report: &CaptureReport) -> BTreeMap<u64, Vec<String>> {
    let mut comments: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for device in &report.devices {
        for finding in &device.findings {
            let text = format!(
                "{} ({}, {}) of {}: {}. Expected: {}. Seen: {}",
                finding.check,
                finding.grade,
                finding.clauses.join(", "),
                device.endpoint,
                finding.title,
                finding.expected,
                finding.seen
            );
            for (index, packet) in finding.packets.iter().rev().enumerate() {
                let on = comments.entry(*packet).or_default();
                if on.len() < MANY {
                    // The last packet shows it; those before only lead to it.
                    let text = if index == 0 {
                        text.clone()
                    } else {
                        format!(
                            "see packet {}: {}",
                            finding.packets.last().unwrap_or(packet),
                            finding.check
                        )
                    };
                    on.push(text);
                }
            }
        }
    }
    comments
}

fn comment(text: &str) -> EnhancedPacketOption<'static> {
    let text: String = text.chars().filter(|c| *c != '\0').take(4000).collect();
    EnhancedPacketOption::Common(CommonOption::Comment(Cow::Owned(text)))
}

/// Writes the copy: as pcapng whatever the capture is, as far as the report could read it.
///
/// # Errors
/// When the capture cannot be read again or the copy cannot be written.
pub fn annotate<R: Read, W: Write>(report: &CaptureReport, input: R, output: W) -> Result<W, AnnotateError> {
    let comments = comments(report);
    let on = |number: u64| comments.get(&number).into_iter().flatten().map(|text| comment(text));
    let written = if report.format == "pcap" {
        from_pcap(report.frames, input, output, on)?
    } else {
        from_pcapng(report.frames, input, output, on)?
    };
    let mut output = written.into_inner();
    output.flush()?;
    Ok(output)
}

fn from_pcap<R: Read, W: Write, I: Iterator<Item = EnhancedPacketOption<'static>>>(
    frames: u64,
    input: R,
    output: W,
    on: impl Fn(u64) -> I,
) -> Result<PcapNgWriter<W>, AnnotateError> {
    let told = |error: &dyn core::error::Error| AnnotateError::Read(error.to_string());
    let mut reader = PcapReader::new(input).map_err(|error| told(&error))?;
    let mut writer = PcapNgWriter::new(output)?;
    let mut interface = InterfaceDescriptionBlock::new(reader.header().datalink, reader.header().snaplen);
    interface.options = vec![InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO)];
    writer.write_pcapng_block(interface)?;
    for number in 1..=frames {
        let Some(packet) = reader.next_raw_packet() else { break };
        let packet = packet.map_err(|error| told(&error))?;
        let (data, length) = (packet.data.to_vec(), packet.orig_len);
        let (seconds, fraction) = (packet.ts_sec, packet.ts_frac);
        let nanos = reader.header().ts_resolution == pcap_file::pcap::PcapTsResolution::NanoSecond;
        let fraction = u64::from(fraction) * if nanos { 1 } else { 1000 };
        writer.write_pcapng_block(EnhancedPacketBlock {
            interface_id: 0,
            timestamp: core::time::Duration::from_secs(u64::from(seconds)) + core::time::Duration::from_nanos(fraction),
            original_len: length.max(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            data: Cow::Owned(data),
            options: on(number).collect(),
        })?;
    }
    Ok(writer)
}

fn from_pcapng<R: Read, W: Write, I: Iterator<Item = EnhancedPacketOption<'static>>>(
    frames: u64,
    input: R,
    output: W,
    on: impl Fn(u64) -> I,
) -> Result<PcapNgWriter<W>, AnnotateError> {
    let told = |error: &dyn core::error::Error| AnnotateError::Read(error.to_string());
    let mut reader = PcapNgReader::new(input).map_err(|error| told(&error))?;
    let mut writer = PcapNgWriter::with_section_header(output, reader.section().clone())?;
    let mut number = 0;
    while number < frames
        && let Some(next) = reader.next_block()
    {
        let (mut block, _) = next.map_err(|error| told(&error))?;
        match &mut block {
            Block::EnhancedPacket(packet) => {
                number += 1;
                for option in on(number) {
                    packet.options.push(option);
                }
            }
            Block::Packet(_) | Block::SimplePacket(_) => number += 1,
            _ => {}
        }
        writer.write_block(&block)?;
    }
    Ok(writer)
}
