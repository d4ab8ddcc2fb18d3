//! The report as text for a person.

use core::fmt::Write as _;

use fotaproof_reports::text::one_line;

use crate::report::{Analysis, CaptureReport, DeviceReport, FindingReport, TransferReport, Verdict};

/// Devices shown in full when there are many; failing ones come first.
const SHOWN: usize = 8;
/// Entries of a timeline that are shown.
const TIMELINE: usize = 60;

/// The text of an analysis.
#[must_use]
pub fn render(analysis: &Analysis) -> String {
    let mut text = String::new();
    for (index, capture) in analysis.captures.iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        one(&mut text, capture);
    }
    text
}

// Writing to a string cannot fail.
macro_rules! line {
    ($text:expr, $($argument:tt)*) => {{
        let _ = writeln!($text, $($argument)*);
    }};
}

fn one(text: &mut String, capture: &CaptureReport) {
    let format = if capture.format.is_empty() {
        "no capture"
    } else {
        &capture.format
    };
    let at = capture
        .judged_at
        .as_ref()
        .map_or_else(String::new, |name| format!(", judged at interface {}", one_line(name)));
    line!(
        text,
        "{}: {format}, {}, {}{at}",
        one_line(&capture.file),
        count(capture.frames, "frame"),
        seconds(capture.seconds)
    );
    if let Some(broken) = &capture.broken {
        line!(
            text,
            "  BROKEN at byte {}, after {}: {}",
            broken.offset,
            count(broken.frames, "frame"),
            one_line(&broken.reason)
        );
    }
    for note in &capture.notes {
        line!(text, "  note: {note}");
    }
    for encrypted in &capture.encrypted {
        line!(
            text,
            "  encrypted: {} - {}, {} from packet {}: inconclusive",
            encrypted.between[0],
            encrypted.between[1],
            count(encrypted.datagrams, "datagram"),
            encrypted.packet
        );
    }
    if capture.devices.is_empty() {
        line!(text, "  no device: the capture holds no CoAP that can be judged");
    }
    let mut order: Vec<&DeviceReport> = capture.devices.iter().collect();
    if order.len() > SHOWN {
        order.sort_by_key(|device| core::cmp::Reverse(device.verdict));
    }
    for shown in order.iter().take(SHOWN) {
        text.push('\n');
        device(text, shown);
    }
    if order.len() > SHOWN {
        let of = |verdict| {
            order
                .iter()
                .skip(SHOWN)
                .filter(|device| device.verdict == verdict)
                .count()
        };
        line!(
            text,
            "\n  and {} further devices: {} fail, {} inconclusive, {} pass; --format json has them all",
            order.len() - SHOWN,
            of(Verdict::Fail),
            of(Verdict::Inconclusive),
            of(Verdict::Pass)
        );
    }
    line!(
        text,
        "\n  {}: {}",
        one_line(&capture.file),
        capture.verdict.word().to_uppercase()
    );
}

fn device(text: &mut String, device: &DeviceReport) {
    let addresses: Vec<&str> = device
        .addresses
        .iter()
        .map(|seen| seen.address.as_str())
        .take(4)
        .collect();
    let more = device.addresses.len().saturating_sub(4);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let version = device
        .lwm2m
        .as_ref()
        .map_or_else(String::new, |version| format!(", LwM2M {version}"));
    let object = device
        .firmware_object
        .as_ref()
        .map_or_else(String::new, |version| format!(", Firmware Update object {version}"));
    let known = if device.registered {
        ""
    } else {
        " (does not register in the capture)"
    };
    line!(
        text,
        "  device {}: {}\n    at {}{more}{known}{version}{object}",
        one_line(&device.endpoint),
        device.verdict.word().to_uppercase(),
        addresses.join(", ")
    );
    for finding in &device.findings {
        findings(text, finding);
    }
    timeline(text, device);
    for transfer in &device.transfers {
        transfers(text, transfer);
    }
    traffic(text, device);
    checks(text, device);
}

fn findings(text: &mut String, finding: &FindingReport) {
    let packets: Vec<String> = finding.packets.iter().map(u64::to_string).collect();
    line!(
        text,
        "    {} {} ({}), packet {}: {}",
        finding.grade.to_uppercase(),
        finding.check,
        finding.clauses.join(", "),
        packets.join(", "),
        one_line(&finding.title)
    );
    line!(text, "      expected: {}", one_line(&finding.expected));
    line!(text, "      seen:     {}", one_line(&finding.seen));
    if let Some(hint) = &finding.hint {
        line!(text, "      hint:     {}", one_line(hint));
    }
}

fn timeline(text: &mut String, device: &DeviceReport) {
    if device.timeline.is_empty() {
        return;
    }
    line!(text, "    timeline");
    for entry in device.timeline.iter().take(TIMELINE) {
        line!(
            text,
            "    {:>10.3}  #{:<6} {}",
            entry.at,
            entry.packet,
            one_line(&entry.text)
        );
    }
    let more = device.timeline.len().saturating_sub(TIMELINE) as u64 + device.timeline_dropped;
    if more > 0 {
        line!(text, "                and {more} more");
    }
    let firmware = &device.firmware;
    if firmware.version_before.is_some() || firmware.version_after.is_some() {
        let word = |version: &Option<String>| version.as_deref().map_or_else(|| "not told".to_owned(), one_line);
        line!(
            text,
            "    firmware version before: {}, after: {}",
            word(&firmware.version_before),
            word(&firmware.version_after)
        );
    }
}

fn transfers(text: &mut String, transfer: &TransferReport) {
    let size = transfer.size.map_or_else(|| "?".to_owned(), |size| size.to_string());
    let sizes: Vec<String> = transfer.block_sizes.iter().map(u32::to_string).collect();
    let mut line = format!(
        "    {} {}: {}; {} of {size} bytes in {} of {} bytes, {}, {:.0} bytes/s, {:.2} bytes on the air per byte",
        transfer.way,
        one_line(&transfer.path),
        transfer.outcome,
        transfer.bytes,
        count(transfer.blocks, "block"),
        sizes.join(", "),
        seconds(transfer.ended.at - transfer.began.at),
        transfer.goodput,
        transfer.air_per_byte
    );
    for (number, what) in [
        (transfer.retransmissions, "retransmissions"),
        (transfer.repeated, "blocks moved again"),
        (u64::from(transfer.restarts), "restarts"),
        (u64::from(transfer.resumptions), "resumptions"),
    ] {
        if number > 0 {
            let _ = write!(line, "; {what}: {number}");
        }
    }
    if transfer.longest_pause >= 5.0 {
        let _ = write!(line, "; longest pause {}", seconds(transfer.longest_pause));
    }
    for [from, to] in transfer.gaps.iter().take(4) {
        let _ = write!(line, "; bytes {from} to {} are not in the capture", to - 1);
    }
    line!(text, "{line}");
}

fn traffic(text: &mut String, device: &DeviceReport) {
    let traffic = &device.traffic;
    line!(
        text,
        "    traffic: sent {} ({} bytes on the air, {} copies), received {} ({} bytes, {} copies), {} unanswered, {} fragmented, largest packet {}",
        traffic.sent,
        traffic.sent_bytes,
        traffic.sent_again,
        traffic.received,
        traffic.received_bytes,
        traffic.received_again,
        traffic.unanswered,
        traffic.fragmented,
        traffic.largest
    );
    if let Some(round_trip) = &traffic.round_trip {
        line!(
            text,
            "    round trip: {} samples, {:.1} ms to {:.1} ms, median {:.1} ms, 95 % within {:.1} ms",
            round_trip.count,
            round_trip.least,
            round_trip.greatest,
            round_trip.median,
            round_trip.p95
        );
    }
}

fn checks(text: &mut String, device: &DeviceReport) {
    let of = |verdict| {
        let ids = device.checks.iter().filter(move |check| check.verdict == verdict);
        ids.map(|check| check.id.as_str()).collect::<Vec<_>>()
    };
    for (verdict, word) in [(Verdict::Fail, "fail"), (Verdict::Pass, "pass")] {
        let ids = of(verdict);
        if !ids.is_empty() {
            line!(text, "    checks that {word}: {}", ids.join(", "));
        }
    }
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for check in device
        .checks
        .iter()
        .filter(|check| check.verdict == Verdict::Inconclusive)
    {
        let reason = check.reason.as_deref().unwrap_or_default();
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, ids)) => ids.push(&check.id),
            None => reasons.push((reason, vec![&check.id])),
        }
    }
    for (reason, ids) in reasons {
        line!(text, "    inconclusive: {}: {reason}", ids.join(", "));
    }
}

fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

fn seconds(value: f64) -> String {
    format!("{value:.3} s")
}
