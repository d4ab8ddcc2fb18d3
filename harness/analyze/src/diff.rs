//! What is different between two captures of the same thing, and what of it is worse; and the JSON format that says so.
//!
//! The format is versioned as that of the analysis: fields are only added within a version.

use std::collections::BTreeSet;

use fotaproof_trace::{result_name, state_name};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ladder::Line;
use crate::report::{CaptureReport, DeviceReport, TransferReport, Verdict};

/// How much worse counts as a regression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    /// Loss of goodput, in percent.
    pub goodput: f64,
    /// More retransmissions, in percent of the messages sent.
    pub retransmissions: f64,
    /// New findings of grade should and advice count too.
    pub strict: bool,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            goodput: 10.0,
            retransmissions: 1.0,
            strict: false,
        }
    }
}

/// Version of the JSON format.
pub const FORMAT: u32 = 1;

/// All differences of two captures, or of two runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DiffReport {
    /// Version of this format.
    pub format: u32,
    /// Version of the harness.
    pub harness: String,
    /// The first: a capture, or the folder of a run.
    pub a: String,
    /// The second.
    pub b: String,
    /// Differences of the whole: devices or cases that only one has, a capture that breaks.
    pub changes: Vec<Change>,
    /// Of captures: what differs, device by device; one without differences stands here too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceDiff>,
    /// Of runs: the cases that differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cases: Vec<CaseDiff>,
    /// Why nothing was compared: one of the two cannot be read at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// How many of the differences are regressions.
    pub regressions: usize,
    /// The exit code of the program.
    pub exit_code: i32,
}

/// The differences of one case in two runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CaseDiff {
    /// Id of the case, with its variant.
    pub id: String,
    /// What differs.
    pub changes: Vec<Change>,
    /// Where the messages of its captures part, device by device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partings: Vec<Parting>,
}

impl DiffReport {
    /// Every difference.
    fn all(&self) -> impl Iterator<Item = &Change> {
        let devices = self.devices.iter().flat_map(|device| &device.changes);
        let cases = self.cases.iter().flat_map(|case| &case.changes);
        self.changes.iter().chain(devices).chain(cases)
    }

    /// Counts the regressions; with any, the exit code is that of a failure.
    #[must_use]
    pub fn counted(mut self) -> Self {
        use fotaproof_reports::model::exit_code as code;
        self.format = FORMAT;
        env!("CARGO_PKG_VERSION").clone_into(&mut self.harness);
        self.regressions = self.all().filter(|change| change.regression).count();
        self.exit_code = if self.regressions > 0 {
            code::FAILED
        } else {
            code::PASSED
        };
        self
    }
}

/// The JSON Schema of the format.
#[must_use]
pub fn schema() -> String {
    let schema = schemars::schema_for!(DiffReport);
    // A schema is a tree of strings and numbers: it can be written.
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// The differences as JSON.
///
/// # Errors
/// None that differences could cause; the writer's are passed on.
pub fn json(report: &DiffReport) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    Ok(text)
}

/// One difference.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// What differs.
    pub what: String,
    /// In the first.
    pub a: String,
    /// In the second.
    pub b: String,
    /// The second is worse.
    pub regression: bool,
}

/// The differences of one device.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct DeviceDiff {
    /// Endpoint name, or both names.
    pub endpoint: String,
    /// Index of the device in both reports.
    #[serde(skip)]
    pub devices: (usize, usize),
    /// What differs.
    pub changes: Vec<Change>,
    /// Where the messages part: the index of the first message that differs, and the messages around it in both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parting: Option<Parting>,
}

/// Where the messages of two captures part.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Parting {
    /// Messages that are the same before.
    pub same: usize,
    /// Around it in the first.
    pub a: Vec<Line>,
    /// Around it in the second.
    pub b: Vec<Line>,
}

/// The devices that belong together: by name, or the only one of each.
#[must_use]
pub fn pairs(a: &CaptureReport, b: &CaptureReport) -> Vec<(usize, usize)> {
    if let ([_], [_]) = (&a.devices[..], &b.devices[..]) {
        return vec![(0, 0)];
    }
    let same = |device: &DeviceReport| b.devices.iter().position(|other| other.endpoint == device.endpoint);
    a.devices
        .iter()
        .enumerate()
        .filter_map(|(index, device)| Some((index, same(device)?)))
        .collect()
}

/// Compares two reports. Messages are compared by whoever has the captures: see [`crate::ladder`].
#[must_use]
pub fn captures(a: &CaptureReport, b: &CaptureReport, thresholds: &Thresholds) -> (Vec<Change>, Vec<DeviceDiff>) {
    let paired = pairs(a, b);
    let mut changes = Vec::new();
    let broken = |capture: &CaptureReport| {
        let broken = capture.broken.as_ref();
        broken.map_or_else(
            || "read to its end".to_owned(),
            |broken| format!("broken at byte {}: {}", broken.offset, broken.reason),
        )
    };
    if a.broken.is_some() != b.broken.is_some() {
        changes.push(change("the capture", broken(a), broken(b), b.broken.is_some()));
    }
    for (index, device) in a.devices.iter().enumerate() {
        if !paired.iter().any(|(at, _)| *at == index) {
            changes.push(change(
                &format!("device {}", device.endpoint),
                "there".into(),
                "not there".into(),
                true,
            ));
        }
    }
    for (index, device) in b.devices.iter().enumerate() {
        if !paired.iter().any(|(_, at)| *at == index) {
            changes.push(change(
                &format!("device {}", device.endpoint),
                "not there".into(),
                "there".into(),
                false,
            ));
        }
    }
    let devices = paired
        .into_iter()
        .map(|(at_a, at_b)| {
            let (one, other) = (&a.devices[at_a], &b.devices[at_b]);
            let endpoint = if one.endpoint == other.endpoint {
                one.endpoint.clone()
            } else {
                format!("{} / {}", one.endpoint, other.endpoint)
            };
            DeviceDiff {
                endpoint,
                devices: (at_a, at_b),
                changes: device(one, other, thresholds),
                parting: None,
            }
        })
        .collect();
    (changes, devices)
}

fn change(what: &str, a: String, b: String, regression: bool) -> Change {
    Change {
        what: what.to_owned(),
        a,
        b,
        regression,
    }
}

fn device(a: &DeviceReport, b: &DeviceReport, thresholds: &Thresholds) -> Vec<Change> {
    let mut changes = Vec::new();
    if a.verdict != b.verdict {
        let worse = a.verdict == Verdict::Pass || b.verdict == Verdict::Fail;
        changes.push(change(
            "verdict",
            a.verdict.word().into(),
            b.verdict.word().into(),
            worse,
        ));
    }
    samples(a, b, &mut changes);
    findings(a, b, thresholds, &mut changes);
    if a.firmware.version_after != b.firmware.version_after {
        let text = |device: &DeviceReport| {
            device
                .firmware
                .version_after
                .clone()
                .unwrap_or_else(|| "not told".into())
        };
        changes.push(change("firmware version after", text(a), text(b), false));
    }
    if a.registrations != b.registrations {
        let text = |device: &DeviceReport| {
            let counts = &device.registrations;
            format!(
                "{} Registers, {} Updates, {} De-registers",
                counts.registers, counts.updates, counts.deregisters
            )
        };
        changes.push(change("registrations", text(a), text(b), false));
    }
    let share = |device: &DeviceReport| {
        let traffic = &device.traffic;
        let copies = traffic.sent_again + traffic.received_again;
        (
            copies,
            copies as f64 * 100.0 / (traffic.sent + traffic.received).max(1) as f64,
        )
    };
    let ((copies_a, share_a), (copies_b, share_b)) = (share(a), share(b));
    if copies_a != copies_b {
        changes.push(change(
            "retransmissions",
            format!("{copies_a} ({share_a:.1} %)"),
            format!("{copies_b} ({share_b:.1} %)"),
            share_b - share_a > thresholds.retransmissions,
        ));
    }
    transfers(a, b, thresholds, &mut changes);
    changes
}

/// States and results reached, and where it ended.
fn samples(a: &DeviceReport, b: &DeviceReport, changes: &mut Vec<Change>) {
    let states = |device: &DeviceReport| {
        let of = device.firmware.samples.iter().filter(|sample| sample.object == 5);
        let mut states: Vec<u8> = of.filter_map(|sample| sample.state).collect();
        states.dedup();
        states
    };
    let result = |device: &DeviceReport| {
        let mut samples = device.firmware.samples.iter().rev().filter(|sample| sample.object == 5);
        samples.find_map(|sample| sample.result)
    };
    let (result_a, result_b) = (result(a), result(b));
    let named = |result: Option<u8>| {
        result.map_or_else(
            || "not told".to_owned(),
            |result| format!("{result} ({})", result_name(result)),
        )
    };
    if result_a != result_b {
        changes.push(change(
            "last Update Result",
            named(result_a),
            named(result_b),
            result_a == Some(1),
        ));
    }
    let (states_a, states_b) = (states(a), states(b));
    if states_a != states_b {
        let text = |states: &[u8]| {
            states
                .iter()
                .map(|state| state_name(*state))
                .collect::<Vec<_>>()
                .join(" → ")
        };
        let missing = states_a.iter().any(|state| !states_b.contains(state));
        let worse = missing && result_a == Some(1) && result_b != Some(1);
        changes.push(change("states", text(&states_a), text(&states_b), worse));
    }
}

fn findings(a: &DeviceReport, b: &DeviceReport, thresholds: &Thresholds, changes: &mut Vec<Change>) {
    let set = |device: &DeviceReport| -> BTreeSet<(String, String, String)> {
        let findings = device.findings.iter();
        findings
            .map(|finding| (finding.check.clone(), finding.grade.clone(), finding.title.clone()))
            .collect()
    };
    let (in_a, in_b) = (set(a), set(b));
    for (check, grade, title) in in_b.difference(&in_a) {
        let worse = grade == "must" || thresholds.strict;
        changes.push(change(
            &format!("finding {check} ({grade})"),
            "none".into(),
            title.clone(),
            worse,
        ));
    }
    for (check, grade, title) in in_a.difference(&in_b) {
        changes.push(change(
            &format!("finding {check} ({grade})"),
            title.clone(),
            "gone".into(),
            false,
        ));
    }
}

fn transfers(a: &DeviceReport, b: &DeviceReport, thresholds: &Thresholds, changes: &mut Vec<Change>) {
    let mut left: Vec<&TransferReport> = b.transfers.iter().collect();
    for one in &a.transfers {
        let name = format!("{} of {}", one.way, one.path);
        let Some(at) = left
            .iter()
            .position(|other| other.way == one.way && other.path == one.path)
        else {
            changes.push(change(
                &name,
                one.outcome.clone(),
                "not there".into(),
                one.outcome == "complete",
            ));
            continue;
        };
        let other = left.remove(at);
        if one.outcome != other.outcome {
            let worse = one.outcome.starts_with("complete") && !other.outcome.starts_with("complete");
            changes.push(change(&name, one.outcome.clone(), other.outcome.clone(), worse));
        }
        if one.block_sizes != other.block_sizes {
            let text = |sizes: &[u32]| sizes.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            changes.push(change(
                &format!("block sizes, {name}"),
                text(&one.block_sizes),
                text(&other.block_sizes),
                false,
            ));
        }
        let lost = if one.goodput > 0.0 {
            (one.goodput - other.goodput) * 100.0 / one.goodput
        } else {
            0.0
        };
        if one.blocks > 1 && lost.abs() > thresholds.goodput {
            let text = |goodput: f64| format!("{goodput:.0} bytes/s");
            let what = format!("goodput, {name}");
            changes.push(change(
                &what,
                text(one.goodput),
                text(other.goodput),
                lost > thresholds.goodput,
            ));
        }
    }
    for other in left {
        changes.push(change(
            &format!("{} of {}", other.way, other.path),
            "not there".into(),
            other.outcome.clone(),
            false,
        ));
    }
}
