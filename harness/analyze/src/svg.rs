//! Block number over time as a chart: stalls are shaded, repetitions are marked.

use core::fmt::Write as _;

use crate::report::{CaptureReport, DeviceReport, TransferReport};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 40.0;
const GAP: f64 = 70.0;
/// Charts in one picture.
const CHARTS: usize = 12;
/// A pause that counts as a stall, in seconds: longer than the first retransmission may take.
const STALL: f64 = 3.0;

/// The chart of all transfers of a capture.
#[must_use]
pub fn render(capture: &CaptureReport) -> String {
    let charts: Vec<(&DeviceReport, &TransferReport)> = capture
        .devices
        .iter()
        .flat_map(|device| device.transfers.iter().map(move |transfer| (device, transfer)))
        .take(CHARTS)
        .collect();
    let height = TOP + charts.len().max(1) as f64 * (HEIGHT + GAP);
    let width = LEFT + WIDTH + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    if charts.is_empty() {
        let _ = writeln!(
            svg,
            "<text x=\"{LEFT}\" y=\"{TOP}\">no transfer in {}</text>",
            escape(&capture.file)
        );
    }
    for (index, (device, transfer)) in charts.into_iter().enumerate() {
        chart(&mut svg, TOP + index as f64 * (HEIGHT + GAP), device, transfer);
    }
    svg.push_str("</svg>\n");
    svg
}

fn chart(svg: &mut String, top: f64, device: &DeviceReport, transfer: &TransferReport) {
    let from = transfer.began.at;
    let span = (transfer.ended.at - from).max(1e-3);
    let unit = transfer.block_sizes.first().copied().unwrap_or(1).max(1);
    let greatest = transfer.progress.iter().map(|point| point.offset).max().unwrap_or(0);
    let highest = (greatest.max(transfer.bytes) as f64 / f64::from(unit)).max(1.0);
    let x = |at: f64| LEFT + (at - from) / span * WIDTH;
    let y = |offset: u64| top + HEIGHT - offset as f64 / f64::from(unit) / highest * HEIGHT;
    let _ = writeln!(
        svg,
        "<text x=\"{LEFT}\" y=\"{:.1}\" font-weight=\"bold\">{} {} of {}: {}</text>",
        top - 8.0,
        escape(&transfer.way),
        escape(&transfer.path),
        escape(&device.endpoint),
        escape(&transfer.outcome)
    );
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{top:.1}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#888\"/>"
    );
    for step in 0..=4 {
        let part = f64::from(step) / 4.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.2} s</text><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.0}</text>",
            LEFT + part * WIDTH,
            top + HEIGHT + 16.0,
            from + part * span,
            LEFT - 6.0,
            top + HEIGHT - part * HEIGHT + 4.0,
            part * highest
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">block of {unit} bytes</text>",
        LEFT,
        top + HEIGHT + 34.0
    );
    let first: Vec<_> = transfer.progress.iter().filter(|point| !point.again).collect();
    for pair in transfer.progress.windows(2) {
        if pair[1].at - pair[0].at > STALL {
            let _ = writeln!(
                svg,
                "<rect class=\"stall\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{HEIGHT}\" fill=\"#f6c343\" fill-opacity=\"0.35\"><title>stall of {:.1} s</title></rect>",
                x(pair[0].at),
                x(pair[1].at) - x(pair[0].at),
                pair[1].at - pair[0].at
            );
        }
    }
    let line: Vec<String> = first
        .iter()
        .map(|point| format!("{:.1},{:.1}", x(point.at), y(point.offset)))
        .collect();
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"#1f6fb2\" stroke-width=\"1.5\"/>",
        line.join(" ")
    );
    for point in transfer.progress.iter().filter(|point| point.again) {
        let _ = writeln!(
            svg,
            "<circle class=\"again\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"#c0392b\"><title>block {} again at {:.3} s</title></circle>",
            x(point.at),
            y(point.offset),
            point.block,
            point.at
        );
    }
}

/// Text fit for XML: control characters and markup out.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
