//! The messages of one device as lines without what is random in them, to find where two captures part.

use core::hash::Hasher as _;
use core::time::Duration;
use fotaproof_checks::hash::Quick;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io::Read;

use crate::analyzer::{Analyzer, Options};
use crate::capture::CaptureFile;
use crate::facts::Message;

/// Messages compared; what two captures do after so many is not looked at.
const MESSAGES: usize = 1 << 20;

/// A message of a ladder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// Time since the first frame.
    pub at: f64,
    /// Number of the packet.
    pub packet: u64,
    /// Direction, type, code, path, blocks and length; neither message id nor token.
    pub text: String,
}

/// Takes the messages of one device.
#[derive(Debug)]
pub(crate) struct Tap {
    device: u32,
    hashes: Vec<u64>,
    seen: usize,
    window: core::ops::Range<usize>,
    lines: Vec<Line>,
}

impl Tap {
    pub(crate) fn take(&mut self, device: u32, from_device: bool, message: &Message<'_>, at: Duration, packet: u64) {
        if device != self.device {
            return;
        }
        let index = self.seen;
        self.seen += 1;
        if self.window.is_empty() {
            if index < MESSAGES {
                let mut hash = Quick::default();
                hash.write(text(from_device, message).as_bytes());
                self.hashes.push(hash.finish());
            }
        } else if self.window.contains(&index) {
            self.lines.push(Line {
                at: at.as_secs_f64(),
                packet,
                text: text(from_device, message),
            });
        }
    }
}

fn text(from_device: bool, message: &Message<'_>) -> String {
    let way = if from_device {
        "device → peer"
    } else {
        "peer → device"
    };
    let kind = message.kind.map_or_else(|| "TCP".to_owned(), |kind| kind.to_string());
    let mut text = format!("{way}  {kind} {} {}", message.code, message.code.name());
    if message.code.is_request() {
        text.push(' ');
        text.push_str(&message.path());
    }
    for (name, block) in [("B1", message.facts.block1), ("B2", message.facts.block2)] {
        if let Some(block) = block {
            text.push_str(&format!(" {name} {block}"));
        }
    }
    if message.facts.observe.is_some() {
        text.push_str(" observe");
    }
    if let Some(format) = message.facts.content_format {
        text.push_str(&format!(" ct={format}"));
    }
    if !message.payload.is_empty() {
        text.push_str(&format!(" {} B", message.payload.len()));
    }
    text
}

fn tapped<R: Read>(input: R, options: &Options, device: usize, window: core::ops::Range<usize>) -> Tap {
    let mut file = CaptureFile::new(input);
    let mut analyzer = Analyzer::new(options.clone());
    analyzer.tap = Some(Tap {
        device: device as u32,
        hashes: Vec::new(),
        seen: 0,
        window: window.clone(),
        lines: Vec::new(),
    });
    let mut interfaces = 0;
    while let Ok(Some(frame)) = file.next_frame() {
        if file.parser().interface_count() != interfaces {
            interfaces = file.parser().interface_count();
            analyzer.on_interfaces(&file.parser().interfaces());
        }
        analyzer.on_secrets(&file.parser_mut().take_secrets());
        analyzer.on_frame(&frame);
        if !window.is_empty() && analyzer.tap.as_ref().is_some_and(|tap| tap.seen >= window.end) {
            break;
        }
    }
    analyzer.tap.take().unwrap_or(Tap {
        device: 0,
        hashes: Vec::new(),
        seen: 0,
        window: 0..0,
        lines: Vec::new(),
    })
}

/// A hash of every message of a device, by its index in the report.
#[must_use]
pub fn hashes<R: Read>(input: R, options: &Options, device: usize) -> Vec<u64> {
    tapped(input, options, device, 0..0).hashes
}

/// Some messages of a device, by its index in the report.
#[must_use]
pub fn lines<R: Read>(input: R, options: &Options, device: usize, window: core::ops::Range<usize>) -> Vec<Line> {
    tapped(input, options, device, window).lines
}
