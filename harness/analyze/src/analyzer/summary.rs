//! The report of a capture.

use super::Analyzer;
use crate::capture::{Broken, CaptureParser};
use crate::flow::{Flow, Kind};
use crate::report::{BrokenAt, CaptureReport, Encrypted, Verdict};

/// Encrypted conversations that a report lists.
const LISTED: usize = 32;

impl Analyzer {
    /// The report. `broken` is where the capture could not be read on.
    #[must_use]
    pub fn finish(mut self, file: &str, parser: &CaptureParser, broken: Option<&Broken>) -> CaptureReport {
        let mut devices = Vec::with_capacity(self.devices.len());
        self.flush();
        // Each device goes as its report comes.
        for mut device in core::mem::take(&mut self.devices) {
            device.finish(self.now);
            devices.push(device.report(self.options.strict, self.complete, self.options.mtu.is_some()));
        }
        self.counts.incomplete = self.reassembler.discarded() + self.reassembler.pending() as u64;
        // A handshake alone was not opened either.
        let closed = |flow: &&Flow| flow.kind == Kind::Dtls && (flow.locked > 0 || flow.opened == 0);
        let encrypted: Vec<&Flow> = self.flow_list.iter().filter(closed).collect();
        let mut notes = self.notes(parser);
        if encrypted.len() > LISTED {
            notes.push(format!("{} further encrypted conversations", encrypted.len() - LISTED));
        }
        let encrypted: Vec<Encrypted> = encrypted
            .into_iter()
            .take(LISTED)
            .map(|flow| Encrypted {
                between: [flow.ends.0.to_string(), flow.ends.1.to_string()],
                datagrams: flow.datagrams,
                packet: flow.packet,
            })
            .collect();
        let all = |verdict| devices.iter().any(|device| device.verdict == verdict);
        let verdict = if all(Verdict::Fail) {
            Verdict::Fail
        } else if all(Verdict::Inconclusive) || !encrypted.is_empty() || devices.is_empty() {
            Verdict::Inconclusive
        } else {
            Verdict::Pass
        };
        CaptureReport {
            file: file.to_owned(),
            format: parser.format().to_owned(),
            frames: parser.frames(),
            bytes: parser.offset(),
            start: self.start.unwrap_or_default().as_secs_f64(),
            seconds: self.now.as_secs_f64(),
            judged_at: self.judged_at.map(|(_, name)| name),
            counts: self.counts,
            broken: broken.map(|broken| BrokenAt {
                offset: broken.offset,
                frames: broken.frames,
                reason: broken.kind.to_string(),
                invalid: broken.kind.is_invalid(),
            }),
            encrypted,
            devices,
            notes,
            verdict,
        }
    }

    fn notes(&self, parser: &CaptureParser) -> Vec<String> {
        let counts = &self.counts;
        let mut notes = Vec::new();
        let mut note = |count: u64, text: &str| {
            if count > 0 {
                notes.push(text.replace("{}", &count.to_string()));
            }
        };
        note(
            counts.incomplete,
            "{} fragmented datagrams are not whole: fragments are missing or overlap",
        );
        note(
            counts.unreadable,
            "{} frames cannot be read: cut when they were captured, or with lengths that lie",
        );
        note(
            counts.undecided,
            "{} messages before anything told which end is the device",
        );
        note(
            counts.beyond_limit,
            "{} datagrams of endpoints beyond those that are followed are not judged",
        );
        note(
            self.streams.holes,
            "{} times bytes of a TCP stream are not in the capture",
        );
        note(self.streams.broken, "{} TCP streams cannot be read on as CoAP");
        note(
            self.streams.beyond,
            "{} TCP segments of streams beyond those that are followed",
        );
        if counts.dtls > 0 {
            let opened = if counts.decrypted > 0 {
                format!("{} messages of them were opened", counts.decrypted)
            } else if self.decryptor.has_secrets() {
                "none of the secrets opens them".to_owned()
            } else if parser.has_secrets() {
                "the secrets that the capture holds are no TLS key log".to_owned()
            } else {
                "the capture holds no secrets".to_owned()
            };
            notes.push(format!("{} datagrams are encrypted; {opened}", counts.dtls));
        }
        if counts.broken_records > 0 {
            notes.push(format!(
                "{} encrypted records do not fit the keys of their conversation: they were changed on the way",
                counts.broken_records
            ));
        }
        if let Some((u32::MAX, name)) = &self.judged_at {
            notes.push(format!("the capture has no interface {name}"));
        }
        notes
    }
}
