//! From findings to the verdict of every check: fail, pass, or inconclusive with the reason.

use fotaproof_checks::CheckInfo;
use fotaproof_trace::{Finding, FindingSource, Grade};

use crate::report::{CheckVerdict, FindingReport, Verdict};

/// How often the capture asked the question of a check.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judged {
    /// Messages of the device.
    pub(crate) sent: u64,
    /// Messages of the device with a message id of its own.
    pub(crate) own_ids: u64,
    pub(crate) answers_sent: u64,
    pub(crate) requests_received: u64,
    pub(crate) copies_received: u64,
    pub(crate) posts_received_again: u64,
    pub(crate) sent_again: u64,
    pub(crate) blocks: u64,
    pub(crate) blocks_received: u64,
    pub(crate) asks_blocks: u64,
    pub(crate) states: u64,
    pub(crate) results: u64,
    pub(crate) notifications: u64,
    pub(crate) observations_over: u64,
    pub(crate) registers: u64,
    pub(crate) pings: u64,
    pub(crate) separate_received: u64,
    pub(crate) gaps: u64,
    /// The messages came over TCP, which has no message layer.
    pub(crate) tcp: u64,
    pub(crate) deregistered: bool,
}

/// Checks that only a server can break: a capture judges devices.
const OF_SERVERS: [&str; 3] = ["push-continues", "execute-when-downloaded", "registered-address"];

const HOLES: &str = "whether a message is missing on the link or in the capture cannot be told";

/// Why a check cannot be judged; none when it can.
fn unjudged(id: &str, judged: &Judged, complete: bool, mtu: bool) -> Option<&'static str> {
    let unless = |holds: bool, reason: &'static str| (!holds).then_some(reason);
    if judged.sent == 0 {
        return Some("the capture holds no message of the device");
    }
    if judged.tcp >= judged.sent {
        return Some("the device speaks CoAP over TCP, which has no message layer");
    }
    match id {
        "message-format" => None,
        "message-id-reuse" => unless(
            judged.own_ids > 1,
            "fewer than two messages with a message id of the device",
        ),
        "token-echo" | "response-code" => unless(judged.answers_sent > 0, "the device answers nothing in the capture"),
        "duplicate-answer" => unless(judged.copies_received > 0, "no request came to the device twice"),
        "duplicate-once" => unless(judged.posts_received_again > 0, "no POST came to the device twice"),
        "retransmission-timing" | "retransmission-identity" => {
            unless(judged.sent_again > 0, "the device repeats nothing in the capture")
        }
        "block1-answer" => unless(judged.blocks_received > 0, "no block was written to the device"),
        "block-sequence" => unless(
            judged.asks_blocks > 0,
            "the device asks for no further block in the capture",
        ),
        "szx-never-grows" | "block-size" => unless(judged.blocks > 0, "the device uses no blocks in the capture"),
        "image-sum" => unless(complete && judged.blocks > 0, HOLES),
        "state-machine" => unless(judged.states > 0, "the device reports no State in the capture"),
        "result-belongs" => unless(judged.results > 0, "the device reports no Update Result in the capture"),
        "observe-order" => unless(judged.notifications > 1, "fewer than two notifications"),
        "observe-token" => unless(judged.observations_over > 0, "no observation ends in the capture"),
        "mtu" => unless(mtu, "the MTU of the link is not known: name it with --mtu"),
        "no-message-after-deregister" => unless(judged.deregistered, "the device does not deregister in the capture"),
        "register-sanity" => unless(judged.registers > 0, "the device does not register in the capture"),
        "ping-reset" => unless(
            complete && judged.pings > 0,
            if judged.pings > 0 {
                HOLES
            } else {
                "nobody pings the device"
            },
        ),
        "separate-response-acked" => unless(
            complete && judged.separate_received > 0,
            if judged.separate_received > 0 {
                HOLES
            } else {
                "the device receives no separate response"
            },
        ),
        _ => None,
    }
}

fn is_of(finding: &Finding, check: &CheckInfo) -> bool {
    matches!(&finding.source, FindingSource::Check(id) if id == check.id)
}

/// The verdict of every check.
pub(crate) fn checks(
    judged: &Judged,
    findings: &[Finding],
    strict: bool,
    complete: bool,
    mtu: bool,
) -> Vec<CheckVerdict> {
    let one = |check: &CheckInfo| {
        let of = || findings.iter().filter(|finding| is_of(finding, check));
        let fails = of().any(|finding| finding.grade == Grade::Must || strict);
        let remarks = of().filter(|finding| finding.grade != Grade::Must).count() as u32;
        let reason = if of().next().is_some() {
            None
        } else {
            unjudged(check.id, judged, complete, mtu)
        };
        let verdict = match (fails, reason) {
            (true, _) => Verdict::Fail,
            (false, Some(_)) => Verdict::Inconclusive,
            (false, None) => Verdict::Pass,
        };
        CheckVerdict {
            id: check.id.to_owned(),
            verdict,
            clauses: check.clauses.iter().map(|clause| (*clause).to_owned()).collect(),
            reason: reason.map(str::to_owned),
            remarks,
        }
    };
    let of_devices = |check: &&CheckInfo| !OF_SERVERS.contains(&check.id);
    fotaproof_checks::all().iter().filter(of_devices).map(one).collect()
}

/// Fail when a check fails, pass when one could be judged.
pub(crate) fn of_device(checks: &[CheckVerdict]) -> Verdict {
    let any = |verdict| checks.iter().any(|check| check.verdict == verdict);
    if any(Verdict::Fail) {
        Verdict::Fail
    } else if any(Verdict::Pass) {
        Verdict::Pass
    } else {
        Verdict::Inconclusive
    }
}

/// A finding as reports show it.
pub(crate) fn finding(finding: &Finding) -> FindingReport {
    let mut packets = finding.datagrams.clone();
    packets.sort_unstable();
    packets.dedup();
    FindingReport {
        check: match &finding.source {
            FindingSource::Check(id) => id.clone(),
            other => other.to_string(),
        },
        grade: finding.grade.to_string(),
        clauses: finding.clauses.clone(),
        title: finding.title.clone(),
        expected: finding.expected.clone(),
        seen: finding.seen.clone(),
        packets,
        hint: finding.hint.clone(),
    }
}
