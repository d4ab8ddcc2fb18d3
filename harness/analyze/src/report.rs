//! The report of an analysis: what every output is made of, and the JSON format itself.
//!
//! The format is versioned: fields are only added within a version. Times are seconds since the first frame.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of the format.
pub const FORMAT: u32 = 1;

/// The reports of one call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Analysis {
    /// Version of this format.
    pub format: u32,
    /// Version of the harness.
    pub harness: String,
    /// One for each file, in the order given.
    pub captures: Vec<CaptureReport>,
    /// The exit code of the program.
    pub exit_code: i32,
}

/// How a judgement ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Judged, and it held.
    Pass,
    /// The capture does not hold what is needed to judge.
    #[default]
    Inconclusive,
    /// Judged, and it did not hold.
    Fail,
}

impl Verdict {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
        }
    }
}

/// What one capture says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CaptureReport {
    /// The file as it was named.
    pub file: String,
    /// `pcap` or `pcapng`; empty for neither.
    pub format: String,
    /// Frames read.
    pub frames: u64,
    /// Bytes read.
    pub bytes: u64,
    /// When the first frame was captured, in seconds since 1970-01-01 00:00:00 UTC.
    pub start: f64,
    /// From the first frame to the last, in seconds.
    pub seconds: f64,
    /// The interface at which is judged; none when all count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged_at: Option<String>,
    /// Frames and datagrams by what they are.
    pub counts: Counts,
    /// Where the capture breaks; none when it was read to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<BrokenAt>,
    /// Conversations that cannot be read because they are encrypted.
    #[serde(default)]
    pub encrypted: Vec<Encrypted>,
    /// The devices.
    pub devices: Vec<DeviceReport>,
    /// What else there is to say.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The worst of the devices; inconclusive without any.
    pub verdict: Verdict,
}

/// Where a capture breaks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BrokenAt {
    /// Byte of the file.
    pub offset: u64,
    /// Frames read before.
    pub frames: u64,
    /// Why.
    pub reason: String,
    /// The bytes break the format; otherwise the file only ends early.
    pub invalid: bool,
}

/// Frames and datagrams by what they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// CoAP messages over UDP.
    pub coap: u64,
    /// CoAP messages over TCP.
    pub coap_tcp: u64,
    /// Datagrams of DTLS.
    pub dtls: u64,
    /// Messages in them that could be opened.
    #[serde(default)]
    pub decrypted: u64,
    /// Encrypted records that do not fit the keys of their conversation.
    #[serde(default)]
    pub broken_records: u64,
    /// Datagrams that are something else.
    pub other_udp: u64,
    /// Frames of something else than UDP and CoAP over TCP.
    pub other: u64,
    /// Frames of interfaces at which is not judged.
    pub other_interfaces: u64,
    /// Frames cut when they were captured, or with lengths that lie.
    pub unreadable: u64,
    /// IP fragments.
    pub fragments: u64,
    /// Datagrams put together from fragments.
    pub reassembled: u64,
    /// Datagrams given up because fragments are missing, overlap or are too many.
    pub incomplete: u64,
    /// Messages in conversations of which nobody can tell which end is the device.
    pub undecided: u64,
    /// Datagrams of endpoints beyond those that can be followed.
    pub beyond_limit: u64,
}

/// An encrypted conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Encrypted {
    /// The ends.
    pub between: [String; 2],
    /// Datagrams.
    pub datagrams: u64,
    /// Number of its first packet.
    pub packet: u64,
}

/// What a capture says about one device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceReport {
    /// Endpoint name, or the address of one that does not register in the capture.
    pub endpoint: String,
    /// It registered in the capture.
    pub registered: bool,
    /// Addresses it was seen at, in order.
    pub addresses: Vec<AddressSeen>,
    /// Version of LwM2M that it announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lwm2m: Option<String>,
    /// Version of the Firmware Update object that it announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware_object: Option<String>,
    /// Registers, Updates and De-registers that were accepted.
    pub registrations: Registrations,
    /// The worst of the checks: fail when a must did not hold.
    pub verdict: Verdict,
    /// Every passive check.
    pub checks: Vec<CheckVerdict>,
    /// What did not hold.
    pub findings: Vec<FindingReport>,
    /// The firmware as it was reported.
    pub firmware: FirmwareReport,
    /// Bodies moved in blocks, and packages.
    pub transfers: Vec<TransferReport>,
    /// What went over the air.
    pub traffic: Traffic,
    /// What happened, in order.
    pub timeline: Vec<TimelineEntry>,
    /// Entries of the timeline beyond what is kept.
    #[serde(default)]
    pub timeline_dropped: u64,
}

/// An address of a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddressSeen {
    /// Address and port.
    pub address: String,
    /// Number of the first packet.
    pub packet: u64,
}

/// How often a device registered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Registrations {
    /// Registers.
    pub registers: u32,
    /// Updates.
    pub updates: u32,
    /// De-registers.
    pub deregisters: u32,
}

/// The verdict of a passive check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckVerdict {
    /// Id of the check.
    pub id: String,
    /// Its verdict; only a must fails.
    pub verdict: Verdict,
    /// Clauses it rests on.
    pub clauses: Vec<String>,
    /// Why it is inconclusive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Findings of grade should or advice.
    #[serde(default)]
    pub remarks: u32,
}

/// What did not hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FindingReport {
    /// Id of the check.
    pub check: String,
    /// `must`, `should` or `advice`.
    pub grade: String,
    /// Clause ids.
    pub clauses: Vec<String>,
    /// What is wrong, in one line.
    pub title: String,
    /// What was expected.
    pub expected: String,
    /// What was seen.
    pub seen: String,
    /// Numbers of the packets it rests on.
    pub packets: Vec<u64>,
    /// What to look at next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The firmware as a device reported it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FirmwareReport {
    /// States and results in the order in which the device sent them; a value told again counts no twice.
    pub samples: Vec<SampleReport>,
    /// Samples beyond those kept, or told again.
    #[serde(default)]
    pub samples_more: u64,
    /// Executes of Update.
    pub executes: Vec<ExecuteReport>,
    /// Registers after the first: what looks like a reboot.
    pub reboots: Vec<Moment>,
    /// Firmware version before the update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_before: Option<String>,
    /// Firmware version after the update.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_after: Option<String>,
}

/// A moment of a capture.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Moment {
    /// Time.
    pub at: f64,
    /// Number of the packet.
    pub packet: u64,
}

/// A State or a Result as the device reported it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SampleReport {
    /// Time.
    pub at: f64,
    /// Number of the packet.
    pub packet: u64,
    /// Object: 5 or 9.
    pub object: u16,
    /// State.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<u8>,
    /// Update Result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<u8>,
    /// `read`, `notification`, `send` or `composite`.
    pub by: String,
    /// Content-Format number.
    pub content_format: u16,
}

/// An Execute of Update.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExecuteReport {
    /// Time.
    pub at: f64,
    /// Number of the packet.
    pub packet: u64,
    /// Path.
    pub path: String,
    /// Code of the answer; none when there is none in the capture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// A body moved in blocks, or a package in one message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TransferReport {
    /// `push`: Block1 to the device; `pull`: Block2 to the device; `upload`: Block1 from the device; `read`: Block2 from the device.
    pub way: String,
    /// Path.
    pub path: String,
    /// First packet and its time.
    pub began: Moment,
    /// Last packet and its time.
    pub ended: Moment,
    /// Different bytes of the body that were seen.
    pub bytes: u64,
    /// Size of the body, announced or known from the last block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Blocks, without repetitions.
    pub blocks: u64,
    /// Block sizes in the order in which they came up.
    pub block_sizes: Vec<u32>,
    /// Retransmissions of its messages, both ways.
    pub retransmissions: u64,
    /// Blocks moved again by another message.
    pub repeated: u64,
    /// Times it began again from the first block.
    pub restarts: u32,
    /// Times it went on after a pause of more than 30 s or another registration.
    pub resumptions: u32,
    /// Longest pause between two blocks, in seconds.
    pub longest_pause: f64,
    /// Parts of the body that are not in the capture.
    pub gaps: Vec<[u64; 2]>,
    /// `complete`, `refused 4.08`, `unfinished`, `complete, parts not in the capture`.
    pub outcome: String,
    /// Bytes of the body per second.
    pub goodput: f64,
    /// Bytes of IP packets, both ways, repetitions counted.
    pub air_bytes: u64,
    /// Bytes of IP packets per byte of the body.
    pub air_per_byte: f64,
    /// Times and block offsets, thinned: what the chart shows.
    pub progress: Vec<ProgressPoint>,
}

/// A point of a transfer's progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProgressPoint {
    /// Time.
    pub at: f64,
    /// Offset of the block in the body.
    pub offset: u64,
    /// Block number.
    pub block: u32,
    /// Seen before.
    pub again: bool,
}

/// What went over the air.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Traffic {
    /// Messages of the device.
    pub sent: u64,
    /// Messages to the device.
    pub received: u64,
    /// Bytes of IP packets from the device.
    pub sent_bytes: u64,
    /// Bytes of IP packets to the device.
    pub received_bytes: u64,
    /// Copies of messages of the device.
    pub sent_again: u64,
    /// Copies of messages to the device.
    pub received_again: u64,
    /// Datagrams in more than one IP packet.
    pub fragmented: u64,
    /// Bytes of the largest IP packet.
    pub largest: u16,
    /// Messages of the device that are malformed.
    pub malformed: u64,
    /// Confirmable messages that nothing in the capture answers.
    pub unanswered: u64,
    /// Times from a message to its answer; those sent more than once do not count (RFC 6298, section 3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip: Option<RoundTrip>,
}

/// Round-trip times in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RoundTrip {
    /// How many.
    pub count: u64,
    /// Shortest.
    pub least: f64,
    /// Half are shorter.
    pub median: f64,
    /// Of 20, 19 are shorter.
    pub p95: f64,
    /// Longest.
    pub greatest: f64,
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineEntry {
    /// Time.
    pub at: f64,
    /// Number of the packet.
    pub packet: u64,
    /// What.
    pub text: String,
}

/// The JSON Schema of the format.
#[must_use]
pub fn schema() -> String {
    let schema = schemars::schema_for!(Analysis);
    // A schema is a tree of strings and numbers: it can be written.
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// The report as JSON.
///
/// # Errors
/// None that a report could cause; the writer's are passed on.
pub fn json(analysis: &Analysis) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(analysis)?;
    text.push('\n');
    Ok(text)
}

impl Analysis {
    /// The report of some captures, with the exit code they ask for.
    #[must_use]
    pub fn new(captures: Vec<CaptureReport>) -> Self {
        let mut analysis = Self {
            format: FORMAT,
            harness: env!("CARGO_PKG_VERSION").to_owned(),
            captures,
            exit_code: 0,
        };
        analysis.exit_code = analysis.verdict_code();
        analysis
    }

    /// What breaks the format first, then failures, then captures that end early, then what cannot be told. A capture that
    /// breaks is judged as far as it could be read: both stand in the report, and the code is that of the worse.
    fn verdict_code(&self) -> i32 {
        use fotaproof_reports::model::exit_code as code;
        let broken = |invalid: bool| {
            let mut all = self.captures.iter().filter_map(|capture| capture.broken.as_ref());
            all.any(|broken| broken.invalid == invalid)
        };
        let any = |verdict: Verdict| self.captures.iter().any(|capture| capture.verdict == verdict);
        let nothing = self
            .captures
            .iter()
            .all(|capture| capture.devices.is_empty() && capture.encrypted.is_empty());
        if broken(true) {
            code::INVALID
        } else if any(Verdict::Fail) {
            code::FAILED
        } else if broken(false) {
            code::INCONCLUSIVE
        } else if nothing {
            code::NOTHING_SELECTED
        } else if any(Verdict::Inconclusive) {
            code::INCONCLUSIVE
        } else {
            code::PASSED
        }
    }
}
