//! A sweep as a table, CSV, JSON and a chart.

use core::fmt::Write as _;

use super::{Estimate, Row, Sweep};

fn percent(value: f64) -> String {
    format!("{:.1}", value * 100.0)
}

fn loss(row: &Row) -> String {
    row.loss
        .map_or_else(|| "bursts".to_owned(), |loss| format!("{} %", percent(loss)))
}

/// For people: one line a combination.
#[must_use]
pub fn table(sweep: &Sweep) -> String {
    let mut text = format!(
        "{}\n{} of {} bytes, {} runs of each; 95 % confidence intervals in brackets\n\n",
        sweep.title, sweep.way, sweep.size, sweep.seeds
    );
    let head = [
        "network",
        "block",
        "mtu",
        "oversize",
        "loss",
        "packets",
        "failed %",
        "goodput kbit/s",
        "sent again kB",
        "lost blocks %",
        "1-(1-p)^n %",
    ];
    let mut lines: Vec<Vec<String>> = vec![head.iter().map(|word| (*word).to_owned()).collect()];
    for row in &sweep.rows {
        let with = |estimate: &Estimate, scale: f64, digits: usize| {
            format!(
                "{:.digits$} [{:.digits$} {:.digits$}]",
                estimate.value * scale,
                estimate.low * scale,
                estimate.high * scale
            )
        };
        lines.push(vec![
            row.network.clone(),
            row.block.to_string(),
            row.mtu.to_string(),
            row.oversize.to_owned(),
            loss(row),
            row.fragments.to_string(),
            with(&row.failure, 100.0, 0),
            row.goodput_bps
                .as_ref()
                .map_or_else(|| "-".to_owned(), |goodput| with(goodput, 1e-3, 2)),
            with(&row.retransmitted, 1e-3, 1),
            row.datagram_loss
                .as_ref()
                .map_or_else(|| "-".to_owned(), |loss| with(loss, 100.0, 1)),
            row.datagram_loss_expected.map_or_else(|| "-".to_owned(), percent),
        ]);
    }
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            lines
                .iter()
                .filter_map(|line| line.get(column))
                .map(|word| word.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    for line in &lines {
        let words: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(word, width)| format!("{word:>width$}"))
            .collect();
        let _ = writeln!(text, "{}", words.join("  ").trim_end());
    }
    text
}

/// For spreadsheets: plain numbers, one line a combination. What does not apply is empty.
#[must_use]
pub fn csv(sweep: &Sweep) -> String {
    let mut text = String::from(
        "network,block,mtu,oversize,loss,packets_per_block,runs,failure,failure_low,failure_high,goodput_bps,goodput_bps_low,\
         goodput_bps_high,retransmitted_bytes,retransmitted_bytes_low,retransmitted_bytes_high,cost,cost_low,cost_high,\
         datagrams,datagram_loss,datagram_loss_low,datagram_loss_high,datagram_loss_expected\n",
    );
    let three = |estimate: Option<Estimate>| {
        estimate.map_or_else(|| ",,".to_owned(), |e| format!("{},{},{}", e.value, e.low, e.high))
    };
    for row in &sweep.rows {
        let name = if row.network.contains([',', '"', '\n']) {
            format!("\"{}\"", row.network.replace('"', "\"\""))
        } else {
            row.network.clone()
        };
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        let _ = writeln!(
            text,
            "{name},{},{},{},{},{},{},{},{},{},{},{},{},{}",
            row.block,
            row.mtu,
            row.oversize,
            number(row.loss),
            row.fragments,
            row.runs,
            three(Some(row.failure)),
            three(row.goodput_bps),
            three(Some(row.retransmitted)),
            three(row.cost),
            row.datagrams,
            three(row.datagram_loss),
            number(row.datagram_loss_expected),
        );
    }
    text
}

/// For programs.
///
/// # Errors
/// Never in practice: all of it can be written as JSON.
pub fn json(sweep: &Sweep) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(sweep).map(|text| text + "\n")
}

/// Colours that people who see colours differently can tell apart (Okabe and Ito, 2008).
const COLOURS: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#8c8c00",
];
const DASHES: [&str; 4] = ["", "6 3", "2 3", "8 3 2 3"];

/// Size of one of the charts.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 84.0;
const GAP: f64 = 62.0;

/// Something that is drawn over the loss.
struct Panel {
    title: &'static str,
    of: fn(&Row) -> Option<Estimate>,
    scale: f64,
}

const PANELS: [Panel; 3] = [
    Panel {
        title: "goodput of updates that did not fail, kbit/s",
        of: |row| row.goodput_bps,
        scale: 1e-3,
    },
    Panel {
        title: "bytes sent again, kB",
        of: |row| Some(row.retransmitted),
        scale: 1e-3,
    },
    Panel {
        title: "updates that failed, %",
        of: |row| Some(row.failure),
        scale: 100.0,
    },
];

/// The lines of a chart: those of a network, block size, MTU and mode belong together.
fn series(sweep: &Sweep) -> Vec<(String, Vec<&Row>)> {
    let one_network = sweep.rows.iter().all(|row| row.network == sweep.rows[0].network);
    let one_mode = sweep.rows.iter().all(|row| row.oversize == sweep.rows[0].oversize);
    let mut all: Vec<(String, Vec<&Row>)> = Vec::new();
    for row in &sweep.rows {
        let packets = if row.fragments == 1 {
            "1 packet".to_owned()
        } else {
            format!("{} fragments", row.fragments)
        };
        let mut name = format!("block {}, MTU {}: {packets}", row.block, row.mtu);
        if !one_network {
            name = format!("{}, {name}", row.network);
        }
        if !one_mode {
            name = format!("{name}, {}", row.oversize);
        }
        match all.last_mut() {
            Some((_, rows))
                if rows[0].block == row.block
                    && rows[0].mtu == row.mtu
                    && rows[0].network == row.network
                    && rows[0].oversize == row.oversize =>
            {
                rows.push(row);
            }
            _ => all.push((name, vec![row])),
        }
    }
    all
}

/// A round number that is not smaller, so that five steps of an axis are round too.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|round| *round >= value * 0.999_999)
        .unwrap_or(value)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A chart over the loss: goodput, bytes sent again and failures, each with its confidence intervals.
#[must_use]
pub fn svg(sweep: &Sweep) -> String {
    if sweep.rows.is_empty() {
        return String::from("<svg xmlns=\"http://www.w3.org/2000/svg\"/>\n");
    }
    let series = series(sweep);
    let most_loss = sweep.rows.iter().filter_map(|row| row.loss).fold(0.0_f64, f64::max) * 100.0;
    let x_top = if most_loss > 0.0 { most_loss } else { 1.0 };
    let total_width = LEFT + WIDTH + 260.0;
    let total_height = TOP + PANELS.len() as f64 * (HEIGHT + GAP) + 10.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{total_width}\" height=\"{total_height}\" \
         viewBox=\"0 0 {total_width} {total_height}\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n\
         <title>{title}</title>\n<desc>{} of {} bytes, {} runs of each combination; bars are 95 % confidence intervals</desc>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"26\" font-size=\"16\">{title}</text>\n\
         <text x=\"{LEFT}\" y=\"46\" fill=\"#444444\">{} of {} bytes, {} runs of each; bars are 95 % confidence intervals</text>\n",
        sweep.way,
        sweep.size,
        sweep.seeds,
        sweep.way,
        sweep.size,
        sweep.seeds,
        title = escaped(&sweep.title),
    );
    for (index, panel) in PANELS.iter().enumerate() {
        let top = TOP + index as f64 * (HEIGHT + GAP);
        draw(&mut out, panel, &series, top, x_top);
    }
    for (index, (name, _)) in series.iter().enumerate() {
        let y = TOP + 20.0 + index as f64 * 20.0;
        let x = LEFT + WIDTH + 16.0;
        let (colour, dash) = style(index);
        let _ = writeln!(
            out,
            "<line x1=\"{x}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>\
             <text x=\"{}\" y=\"{}\">{}</text>",
            x + 28.0,
            x + 34.0,
            y + 4.0,
            escaped(name)
        );
    }
    out.push_str("</svg>\n");
    out
}

const fn style(index: usize) -> (&'static str, &'static str) {
    (
        COLOURS[index % COLOURS.len()],
        DASHES[(index / COLOURS.len()) % DASHES.len()],
    )
}

fn draw(out: &mut String, panel: &Panel, series: &[(String, Vec<&Row>)], top: f64, x_top: f64) {
    let highest = series
        .iter()
        .flat_map(|(_, rows)| rows)
        .filter_map(|row| (panel.of)(row))
        .map(|estimate| estimate.high * panel.scale)
        .fold(0.0_f64, f64::max);
    let y_top = round_up(highest);
    let x_of = |loss: f64| LEFT + loss / x_top * WIDTH;
    let y_of = |value: f64| top + HEIGHT - (value / y_top).clamp(0.0, 1.0) * HEIGHT;
    let _ = writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{}</text>",
        top - 8.0,
        panel.title
    );
    for step in 0..=5 {
        let value = y_top * f64::from(step) / 5.0;
        let y = y_of(value);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT + WIDTH,
            LEFT - 6.0,
            y + 4.0,
            number(value)
        );
        let loss = x_top * f64::from(step) / 5.0;
        let x = x_of(loss);
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            top + HEIGHT + 16.0,
            number(loss)
        );
    }
    let _ = writeln!(
        out,
        "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#888888\"/>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">loss of each packet or fragment, %</text>",
        LEFT + WIDTH / 2.0,
        top + HEIGHT + 34.0
    );
    for (index, (_, rows)) in series.iter().enumerate() {
        let (colour, dash) = style(index);
        let mut points = Vec::new();
        for row in rows {
            let (Some(estimate), Some(loss)) = ((panel.of)(row), row.loss) else {
                continue;
            };
            let x = x_of(loss * 100.0);
            let (low, high) = (y_of(estimate.low * panel.scale), y_of(estimate.high * panel.scale));
            let y = y_of(estimate.value * panel.scale);
            points.push(format!("{x:.1},{y:.1}"));
            let _ = writeln!(
                out,
                "<path d=\"M{x:.1} {low:.1}V{high:.1}M{:.1} {low:.1}h6M{:.1} {high:.1}h6\" stroke=\"{colour}\" fill=\"none\"/>\
                 <circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"{colour}\"/>",
                x - 3.0,
                x - 3.0
            );
        }
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" stroke-dasharray=\"{dash}\"/>",
            points.join(" ")
        );
    }
}

/// A number of an axis without needless digits.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
