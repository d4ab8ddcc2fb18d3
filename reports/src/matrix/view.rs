//! What several renderers of a matrix say in the same way.

use super::{Blamed, Cell, MatrixResults, Measured, Station, Way, totals};
use crate::model::{Finding, Verdict};
use crate::text::{count, duration, one_line};
use crate::view::{counts, join};

/// The verdict of a cell in the words of the reports.
pub(super) const fn outcome(cell: &Cell) -> &'static str {
    if cell.expected {
        "expected failure"
    } else {
        cell.verdict.word()
    }
}

/// What stands in the grid: the verdict, and what is worth knowing first.
pub(super) fn short(cell: &Cell) -> String {
    let timed = |word: &str| match &cell.measured {
        Some(measured) => format!("{word} {}", duration(measured.update_s * 1000.0)),
        None => word.to_owned(),
    };
    match cell.verdict {
        Verdict::Pass => timed("pass"),
        Verdict::Fail if cell.expected && cell.interop.ended_well => timed("expected"),
        Verdict::Fail if cell.expected => format!("expected: {}", cell.interop.station.word()),
        Verdict::Fail if !cell.interop.ended_well => {
            format!("FAIL: {} ({})", cell.interop.station.word(), blamed(cell))
        }
        Verdict::Fail => format!("FAIL: {}", blamed(cell)),
        Verdict::NotApplicable => "n/a".to_owned(),
        Verdict::NotRun => "-".to_owned(),
        Verdict::Inconclusive => "inconclusive".to_owned(),
        Verdict::Error => "error".to_owned(),
    }
}

/// Who is to blame, in the few letters of a grid.
fn blamed(cell: &Cell) -> &'static str {
    match cell.blame.as_ref().map(|blame| blame.side) {
        Some(Blamed::Unknown) | None => "which side?",
        Some(side) => side.word(),
    }
}

/// Who is to blame for a cell that fails, why, and where the capture shows it.
pub(super) fn blame(cell: &Cell) -> Option<String> {
    let blame = cell.blame.as_ref()?;
    let why = one_line(&blame.why);
    let mut text = match blame.side {
        // it is told already
        side if headline(cell).contains(&why) => side.word().to_owned(),
        // it names the side
        Blamed::Client | Blamed::Server => why,
        Blamed::Both | Blamed::Unknown => format!("{}: {why}", blame.side.word()),
    };
    if !blame.packets.is_empty() {
        let many = if blame.packets.len() == 1 { "packet" } else { "packets" };
        text += &format!(" ({many} {} of the capture)", join(&blame.packets));
    }
    Some(text)
}

/// What to do next about a cell that fails.
pub(super) fn next(cell: &Cell) -> Option<String> {
    let next = one_line(&cell.blame.as_ref()?.next);
    (!next.is_empty()).then_some(next)
}

/// What the entries of a grid mean: the word, its meaning, and the verdict whose colour it has.
pub(super) const LEGEND: [(&str, &str, Verdict); 7] = [
    (
        "pass 8.2 s",
        "the device runs the new version, the server knows it, neither side broke a must; from registration to the end of the update",
        Verdict::Pass,
    ),
    (
        "FAIL: downloaded (server)",
        "how far the update came, and the side at fault; `which side?` where the link does not show it",
        Verdict::Fail,
    ),
    (
        "FAIL: client",
        "the update ended well, and this side broke a must on the way",
        Verdict::Fail,
    ),
    (
        "expected: downloaded",
        "it fails as an expected-failures file says; the run passes all the same",
        Verdict::NotRun,
    ),
    (
        "n/a",
        "a side does not claim this way, and the cell was not run; if it can, add the claim to its manifest",
        Verdict::NotApplicable,
    ),
    (
        "inconclusive, error",
        "nobody's verdict: a side was never heard, chance lost too much, or harness, adapter or environment failed",
        Verdict::Error,
    ),
    ("-", "not run: the run was interrupted or ended early", Verdict::NotRun),
];

/// What a network is like, said at the first of its grids.
pub(super) fn network_note(results: &MatrixResults, network: &str, way: Way) -> Option<String> {
    if results.ways.first() != Some(&way) {
        return None;
    }
    let at = results.networks.iter().position(|known| known == network)?;
    results
        .network_notes
        .get(at)
        .map(|note| one_line(note))
        .filter(|note| !note.is_empty())
}

/// Whether somebody must look at the cell.
pub(super) fn is_problem(cell: &Cell) -> bool {
    !cell.expected && matches!(cell.verdict, Verdict::Fail | Verdict::Inconclusive | Verdict::Error)
}

/// Why a cell is what it is.
pub(super) fn headline(cell: &Cell) -> String {
    one_line(&cell.reason)
}

/// The update in words.
pub(super) fn interop(cell: &Cell) -> String {
    let interop = &cell.interop;
    let mut text = if interop.ended_well {
        "ended well".to_owned()
    } else {
        match interop.station {
            Station::Nothing => "nothing came of it".to_owned(),
            station => format!("came as far as: {}", station.word()),
        }
    };
    if !interop.status.is_empty() {
        text += &format!("; reported as {}", one_line(&interop.status));
    }
    if !interop.led_by.is_empty() {
        text += &format!(", led by the {}", one_line(&interop.led_by));
    }
    if let Some(host) = &interop.hosted_by {
        text += &format!(", package hosted by the {}", one_line(host));
    }
    let known = [
        interop.state.map(|state| format!("State {state}")),
        interop.result.map(|result| format!("Result {result}")),
        interop
            .version
            .as_ref()
            .map(|version| format!("version {}", one_line(version))),
    ];
    let known: Vec<String> = known.into_iter().flatten().collect();
    if !known.is_empty() {
        text += &format!("; the server knew {}", known.join(", "));
    }
    text
}

/// The columns of the table of measurements and the figures of a cell in them.
pub(super) const COLUMNS: [&str; 10] = [
    "update",
    "transfer",
    "goodput",
    "datagrams",
    "fragments",
    "on the air",
    "air B/B",
    "again",
    "lost",
    "blocks",
];

pub(super) fn figures(measured: &Measured) -> [String; 10] {
    let sizes: Vec<String> = measured.block_sizes.iter().map(u32::to_string).collect();
    [
        duration(measured.update_s * 1000.0),
        duration(measured.transfer_s * 1000.0),
        rate(measured.goodput),
        measured.datagrams.to_string(),
        measured.fragments.to_string(),
        bytes(measured.air_bytes),
        format!("{:.2}", finite(measured.air_per_byte)),
        measured.retransmissions.to_string(),
        measured.lost.to_string(),
        match sizes.is_empty() {
            true => measured.blocks.to_string(),
            false => format!("{} of {} B", measured.blocks, sizes.join(", ")),
        },
    ]
}

const fn finite(figure: f64) -> f64 {
    if figure.is_finite() { figure } else { 0.0 }
}

/// What the columns mean.
pub(super) const MEASURED: &str = "update: from the registration to the end; transfer: from the first message of the package to the last; \
    goodput: bytes of the package a second meanwhile; on the air: bytes of all IP packets of the whole update, both ways, lost ones \
    included; air B/B: these for each byte of the package; again: messages sent again; lost: packets that the link lost. All times are \
    those of the peers' clocks.";

/// What a fast clock does to the figures.
pub(super) fn speed_note(results: &MatrixResults) -> Option<String> {
    (results.speed > 1.0).then(|| {
        let speed = results.speed;
        format!(
            "The clocks ran {speed} times as fast, and so the work of real peers looks {speed} times as long: for figures of time and \
             rate run with speed 1."
        )
    })
}

/// Bytes in the unit that suits them.
fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Bytes a second in the unit that suits them.
fn rate(bytes: f64) -> String {
    let bytes = finite(bytes);
    if bytes < 1000.0 {
        format!("{bytes:.0} B/s")
    } else if bytes < 1_000_000.0 {
        format!("{:.1} kB/s", bytes / 1000.0)
    } else {
        format!("{:.1} MB/s", bytes / 1_000_000.0)
    }
}

/// The findings of both sides with the side they are of, the heaviest first.
pub(super) fn findings(cell: &Cell) -> Vec<(&'static str, &Finding)> {
    let mut all: Vec<(&'static str, &Finding)> = [("client", &cell.client_side), ("server", &cell.server_side)]
        .into_iter()
        .flat_map(|(name, side)| side.findings.iter().map(move |finding| (name, finding)))
        .collect();
    all.sort_by_key(|(_, finding)| match finding.grade.as_str() {
        "must" => 0,
        "should" => 1,
        _ => 2,
    });
    all
}

/// The files of evidence that there are.
pub(super) fn evidence(cell: &Cell) -> Vec<(&'static str, &str)> {
    let files = &cell.evidence;
    [
        ("capture", &files.capture),
        ("journal", &files.journal),
        ("client's output", &files.client_output),
        ("adapter", &files.adapter),
    ]
    .into_iter()
    .filter_map(|(label, path)| path.as_deref().map(|path| (label, path)))
    .collect()
}

/// The networks and ways, each with a grid of its own.
pub(super) fn grids(results: &MatrixResults) -> Vec<(&str, Way)> {
    results
        .networks
        .iter()
        .flat_map(|network| results.ways.iter().map(move |way| (network.as_str(), *way)))
        .collect()
}

/// The counts in words, and the time.
pub(super) fn summary(results: &MatrixResults) -> String {
    let mut parts = vec![counts(&totals(&results.cells))];
    let stale = results.stale_expectations.len();
    if stale > 0 {
        parts.push(count(u32::try_from(stale).unwrap_or(u32::MAX), "stale expectation"));
    }
    let mut text = format!(
        "{}; {}; seed {}",
        parts.join(", "),
        duration(results.seconds * 1000.0),
        results.seed
    );
    if results.speed > 1.0 {
        text += &format!("; speed {}", results.speed);
    }
    text
}

/// What is said of expected failures that did not happen.
pub(super) const STALE: &str = "Stale expectations: no cell met them, and they fail the run until removed";

/// Why cells do not apply, once for each reason.
pub(super) fn not_applicable(results: &MatrixResults) -> Vec<String> {
    let mut reasons: Vec<String> = Vec::new();
    for cell in &results.cells {
        let text = headline(cell);
        if cell.verdict == Verdict::NotApplicable && !text.is_empty() && !reasons.contains(&text) {
            reasons.push(text);
        }
    }
    reasons
}

/// A party with its version.
pub(super) fn named(party: &super::Party) -> String {
    match &party.version {
        Some(version) => format!("{} {}", one_line(&party.name), one_line(version)),
        None => one_line(&party.name),
    }
}

/// A relative link that is safe to follow; none for what is no plain path below the run's folder.
pub(super) fn href(path: &str) -> Option<String> {
    if path.starts_with(['/', '\\']) || path.split('/').any(|part| part == "..") {
        return None;
    }
    let mut href = String::from("./");
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/' => href.push(char::from(byte)),
            _ => href += &format!("%{byte:02X}"),
        }
    }
    Some(href)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_below_the_folder_of_the_run_only() {
        assert_eq!(href("cells/a b.pcapng").as_deref(), Some("./cells/a%20b.pcapng"));
        assert_eq!(href("/etc/passwd"), None);
        assert_eq!(href("cells/../../x"), None);
        assert_eq!(
            href("javascript:alert(1)").as_deref(),
            Some("./javascript%3Aalert%281%29")
        );
    }

    #[test]
    fn rates_have_the_unit_that_suits_them() {
        assert_eq!(rate(999.4), "999 B/s");
        assert_eq!(rate(1000.0), "1.0 kB/s");
        assert_eq!(rate(2_500_000.0), "2.5 MB/s");
        assert_eq!(rate(f64::NAN), "0 B/s");
    }
}
