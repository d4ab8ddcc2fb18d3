//! image-sum: a body is accepted only when all of it was received, and an image that the IUT sends is the one it has.

use super::firmware::Sampled;
use crate::catalogue::IMAGE_SUM;
use crate::context::{Message, Request};
use crate::hash::{Address, Map};
use crate::report::{Broken, Ref, Report};
use core::time::Duration;
use fotaproof_trace::{Grade, TransferFacts, TransferPhase, TransferWay};
use fotaproof_wire::coap::{Code, summary_of};
use sha2::{Digest, Sha256};

/// Bodies followed at a time; further ones are not judged.
const BOUND: usize = 256;
/// ETags of one file told apart.
const VERSIONS: usize = 16;

/// Which bytes of a body are known, as sorted ranges apart from each other.
#[derive(Clone, Debug, Default)]
struct Coverage(Vec<(u64, u64)>);

impl Coverage {
    fn add(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        // The usual block continues the last range.
        if let Some(last) = self.0.last_mut()
            && last.0 <= start
            && start <= last.1
        {
            last.1 = last.1.max(end);
            return;
        }
        let from = self.0.partition_point(|range| range.1 < start);
        let to = self.0.partition_point(|range| range.0 <= end);
        let joined = self.0[from..to]
            .iter()
            .fold((start, end), |all, range| (all.0.min(range.0), all.1.max(range.1)));
        self.0.splice(from..to, [joined]);
    }

    /// The first byte that is missing below `end`.
    fn gap(&self, end: u64) -> Option<u64> {
        let known = self.0.first().filter(|range| range.0 == 0).map_or(0, |range| range.1);
        (known < end).then_some(known)
    }

    fn starts(&self) -> bool {
        self.0.first().is_some_and(|range| range.0 == 0)
    }
}

/// An image that is pushed to the IUT.
#[derive(Debug, Default)]
struct Pushed {
    coverage: Coverage,
    /// A body begun anew by a first block with that message id; it counts once that block is accepted.
    anew: Option<(u16, Coverage)>,
}

/// One representation of a file, by its ETag.
#[derive(Clone, Debug, Default)]
struct Version {
    etag: Option<u64>,
    coverage: Coverage,
    total: Option<u64>,
}

impl Version {
    /// The first byte that is missing.
    fn gap(&self) -> Option<u64> {
        match self.total {
            Some(total) => self.coverage.gap(total),
            None => Some(self.coverage.0.first().map_or(0, |range| range.1)),
        }
    }
}

/// An image that the IUT fetches.
#[derive(Debug)]
struct Fetch {
    versions: Vec<Version>,
    since: Duration,
    last: Ref,
    unsure: bool,
}

impl Fetch {
    /// A block without ETag may belong to any version; a version seen first takes over what had none.
    fn add(&mut self, etag: Option<u64>, start: u64, end: u64, more: bool) {
        if !self.versions.iter().any(|version| version.etag == etag) && (etag.is_some() || self.versions.is_empty()) {
            let known = self
                .versions
                .iter()
                .find(|version| version.etag.is_none())
                .cloned()
                .unwrap_or_default();
            if self.versions.len() < VERSIONS {
                self.versions.push(Version { etag, ..known });
            } else {
                self.unsure = true;
            }
        }
        for version in self
            .versions
            .iter_mut()
            .filter(|version| etag.is_none() || version.etag == etag)
        {
            version.coverage.add(start, end);
            if !more {
                version.total = Some(end);
            }
        }
    }
}

/// An image that the IUT sends, hashed as far as it came in order.
#[derive(Debug)]
struct Outgoing {
    hasher: Sha256,
    next: u64,
    broken: bool,
    sum: Option<String>,
    last: Ref,
}

impl Outgoing {
    fn new() -> Self {
        Self {
            hasher: Sha256::new(),
            next: 0,
            broken: false,
            sum: None,
            last: Ref::default(),
        }
    }

    fn add(&mut self, start: u64, payload: &[u8], more: bool, here: Ref) {
        if start == 0 {
            *self = Self::new();
        }
        if start > self.next {
            self.broken = true;
        }
        if start == self.next && !self.broken && self.sum.is_none() {
            self.hasher.update(payload);
            self.next += payload.len() as u64;
            self.last = here;
            if !more {
                self.sum = Some(fotaproof_trace::serial::hex::encode(&self.hasher.clone().finalize()));
            }
        }
    }
}

/// The images under way.
#[derive(Debug, Default)]
pub(crate) struct Images {
    pushed: Map<(Address, u64), Pushed>,
    fetched: Map<u64, Fetch>,
    /// The download that the device last began.
    current: Option<u64>,
    /// The image last came by a push: what was fetched says nothing about a Downloaded state.
    by_push: bool,
    sent: Map<(TransferWay, u64), Outgoing>,
    last_sent: [Option<u64>; 2],
}

impl Images {
    pub(crate) fn on_message(&mut self, message: &Message<'_>, samples: Sampled, report: &mut Report) {
        if message.outgoing {
            if message.code.is_request() {
                self.on_request_sent(message);
            } else if message.is_response() {
                self.on_answer_sent(message, report);
                self.on_response_sent(message);
            }
            if samples.state == Some(2) {
                self.on_downloaded(message, report);
            }
        } else if message.code.is_request() {
            self.on_request_received(message);
        } else if message.is_response() {
            self.on_response_received(message);
        }
    }

    /// A block of a push reaches the IUT.
    fn on_request_received(&mut self, message: &Message<'_>) {
        if !is_package(message.facts.target) || !matches!(message.code, Code::PUT | Code::POST) || !message.is_first() {
            return;
        }
        self.by_push = true;
        let Some(block) = message.facts.block1 else { return };
        let key = (Address(message.peer), message.facts.uri);
        if self.pushed.len() >= BOUND && !self.pushed.contains_key(&key) {
            return;
        }
        let (start, end) = message.range_of(block);
        let pushed = self.pushed.entry(key).or_default();
        if block.num == 0 {
            pushed.anew = Some((message.message_id, Coverage::default()));
        }
        pushed.coverage.add(start, end);
        if let Some((_, coverage)) = &mut pushed.anew {
            coverage.add(start, end);
        }
    }

    /// The IUT answers a block of a push.
    fn on_answer_sent(&mut self, message: &Message<'_>, report: &mut Report) {
        let Some(request) = message.plain_answer() else { return };
        let Some(block) = request.facts.block1 else { return };
        if !is_package(request.facts.target) || !message.code.is_success() {
            return;
        }
        let Some(pushed) = self.pushed.get_mut(&(Address(message.peer), request.facts.uri)) else {
            return;
        };
        if block.num == 0
            && let Some((_, coverage)) = pushed.anew.take_if(|(id, _)| *id == request.message_id)
        {
            pushed.coverage = coverage;
        }
        let end = block.offset() + request.payload_length as u64;
        if !block.more
            && report.is_live()
            && let Some(gap) = pushed.coverage.gap(end)
        {
            accepted_with_gap(message, request, gap, end, report);
        }
    }

    /// A piece of the image that the IUT fetches reaches it.
    fn on_response_received(&mut self, message: &Message<'_>) {
        let Some(request) = &message.request else { return };
        if !message.code.is_success() || request.code != Code::GET {
            return;
        }
        let Some(fetch) = self.fetched.get_mut(&request.facts.uri) else {
            return;
        };
        fetch.unsure |= message.odd;
        let length = message.view.payload().len() as u64;
        let (start, end, more) = message.facts.block2.map_or((0, length, false), |block| {
            (block.offset(), block.offset() + length, block.more)
        });
        fetch.add(message.facts.etag, start, end, more);
        fetch.last = message.here;
    }

    fn on_request_sent(&mut self, message: &Message<'_>) {
        if !message.is_first() {
            return;
        }
        if message.code == Code::GET && message.facts.observe.is_none() {
            let uri = message.facts.uri;
            if self.fetched.len() < BOUND || self.fetched.contains_key(&uri) {
                self.fetched.entry(uri).or_insert_with(|| Fetch {
                    versions: Vec::new(),
                    since: message.at,
                    last: message.here,
                    unsure: false,
                });
                self.current = Some(uri);
                self.by_push = false;
            }
        }
        if matches!(message.code, Code::PUT | Code::POST) && is_package(message.facts.target) {
            let (start, more) = message
                .facts
                .block1
                .map_or((0, false), |block| (block.offset(), block.more));
            self.send(TransferWay::Push, message, start, more, message.facts.uri);
        }
    }

    /// A piece of a file that the IUT serves.
    fn on_response_sent(&mut self, message: &Message<'_>) {
        if message.code != Code::CONTENT {
            return;
        }
        let Some(request) = message.plain_answer() else { return };
        if request.code != Code::GET || request.facts.target != crate::facts::Target::Other {
            return;
        }
        let (start, more) = message
            .facts
            .block2
            .map_or((0, false), |block| (block.offset(), block.more));
        self.send(TransferWay::Pull, message, start, more, request.facts.uri);
    }

    fn send(&mut self, way: TransferWay, message: &Message<'_>, start: u64, more: bool, uri: u64) {
        let key = (way, uri);
        if self.sent.len() >= BOUND && !self.sent.contains_key(&key) {
            return;
        }
        self.sent
            .entry(key)
            .or_insert_with(Outgoing::new)
            .add(start, message.view.payload(), more, message.here);
        self.last_sent[way as usize] = Some(uri);
    }

    /// The device says that it holds the image.
    fn on_downloaded(&self, message: &Message<'_>, report: &mut Report) {
        if self.by_push || !report.is_live() {
            return;
        }
        let Some(fetch) = self.current.and_then(|uri| self.fetched.get(&uri)) else {
            return;
        };
        // What was asked before the download began may still say Downloaded about the image before.
        let asked_since = message
            .request
            .is_some_and(|request| request.facts.observe.is_none() && request.at > fetch.since);
        let starts = fetch.versions.iter().any(|version| version.coverage.starts());
        if fetch.unsure || !starts || !asked_since {
            return;
        }
        // Blocks of an older version may arrive late: one whole version is enough.
        let gaps: Option<Vec<u64>> = fetch.versions.iter().map(Version::gap).collect();
        let Some(gap) = gaps.and_then(|gaps| gaps.into_iter().max()) else {
            return;
        };
        report.add(
            IMAGE_SUM,
            Broken {
                grade: Grade::Must,
                title: "Downloaded before all of the image was received".to_owned(),
                expected: "State 2 once every byte of the image was received, all of one ETag".to_owned(),
                seen: format!("bytes from {gap} on are missing: {}", summary_of(&message.view)),
                clause: "rfc7959/2.4",
                rests_on: &[fetch.last, message.here],
                hint: None,
            },
        );
    }

    /// An image that the IUT sent has the sum of the one it was given.
    pub(crate) fn on_transfer(&self, event: u64, transfer: &TransferFacts, report: &mut Report) {
        let (TransferPhase::Ended, Some(expected)) = (transfer.phase, &transfer.expected_sha256) else {
            return;
        };
        let way = transfer.way;
        let Some(sent) = self.last_sent[way as usize].and_then(|uri| self.sent.get(&(way, uri))) else {
            return;
        };
        let Some(sum) = &sent.sum else { return };
        if sum.eq_ignore_ascii_case(expected) {
            return;
        }
        report.add(
            IMAGE_SUM,
            Broken {
                grade: Grade::Must,
                title: "the image sent is not the image given".to_owned(),
                expected: format!("SHA-256 {expected}"),
                seen: format!("SHA-256 {sum}, {} bytes", sent.next),
                clause: "rfc7959/2.3",
                rests_on: &[
                    sent.last,
                    Ref {
                        event,
                        datagram: sent.last.datagram,
                    },
                ],
                hint: None,
            },
        );
    }
}

fn is_package(target: crate::facts::Target) -> bool {
    target.is_resource(5, 0) || target.is_resource(9, 2)
}

fn accepted_with_gap(message: &Message<'_>, request: &Request, gap: u64, end: u64, report: &mut Report) {
    report.add(
        IMAGE_SUM,
        Broken {
            grade: Grade::Must,
            title: "a body is accepted although a part of it never arrived".to_owned(),
            expected: "4.08 until every block was received".to_owned(),
            seen: format!(
                "{} for the last block, which ends at byte {end}; bytes from {gap} on are missing",
                message.code
            ),
            clause: "rfc7959/2.5",
            rests_on: &[request.here, message.here],
            hint: Some("an image with a hole must never be installed"),
        },
    );
}
