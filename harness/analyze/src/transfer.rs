//! One body moved in blocks (RFC 7959): what of it is there, what came twice, where it paused.

use core::time::Duration;
use fotaproof_wire::coap::{BlockValue, Code};

use crate::report::{Moment, ProgressPoint, TransferReport};

/// A pause after which a transfer counts as resumed.
const PAUSE: Duration = Duration::from_secs(30);
/// Parts of a body that are told apart.
const RANGES: usize = 256;
/// Points kept for the chart; beyond, every second is dropped.
const POINTS: usize = 512;
/// Repetitions kept for the chart.
const AGAIN: usize = 512;

/// Who moves what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    /// Block1 to the device.
    Push,
    /// Block2 to the device.
    Pull,
    /// Block1 from the device.
    Upload,
    /// Block2 from the device.
    Read,
}

impl Way {
    const fn word(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Pull => "pull",
            Self::Upload => "upload",
            Self::Read => "read",
        }
    }
}

/// What a block did to a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It goes on, or came again.
    Plain,
    /// It began anew from the first block.
    Restarted,
    /// It went on after a pause, or in a new registration.
    Resumed,
    /// Something before it is not in the capture.
    Gap,
}

/// Known parts of a body: sorted ranges apart from each other.
#[derive(Clone, Debug, Default)]
struct Coverage {
    ranges: Vec<(u64, u64)>,
    bytes: u64,
}

impl Coverage {
    /// Adds a part; tells how many of its bytes are new.
    fn add(&mut self, start: u64, end: u64) -> u64 {
        if start >= end {
            return 0;
        }
        let before = self.bytes;
        if let Some(last) = self.ranges.last_mut()
            && last.1 == start
        {
            last.1 = end;
            self.bytes += end - start;
            return end - start;
        }
        let from = self.ranges.partition_point(|range| range.1 < start);
        let to = self.ranges.partition_point(|range| range.0 <= end);
        if from == to && self.ranges.len() >= RANGES {
            return 0;
        }
        let joined = self.ranges[from..to]
            .iter()
            .fold((start, end), |all, range| (all.0.min(range.0), all.1.max(range.1)));
        let old: u64 = self.ranges[from..to].iter().map(|range| range.1 - range.0).sum();
        self.ranges.splice(from..to, [joined]);
        self.bytes += joined.1 - joined.0 - old;
        self.bytes - before
    }

    fn frontier(&self) -> u64 {
        self.ranges.last().map_or(0, |range| range.1)
    }

    fn gaps(&self, size: Option<u64>) -> Vec<[u64; 2]> {
        let mut at = 0;
        let mut gaps = Vec::new();
        for (start, end) in &self.ranges {
            if *start > at {
                gaps.push([at, *start]);
            }
            at = *end;
        }
        if let Some(size) = size
            && size > at
        {
            gaps.push([at, size]);
        }
        gaps.truncate(16);
        gaps
    }
}

/// A transfer under way.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub(crate) way: Way,
    pub(crate) path: String,
    began: (Duration, u64),
    ended: (Duration, u64),
    coverage: Coverage,
    size: Option<u64>,
    blocks: u64,
    sizes: Vec<u32>,
    retransmissions: u64,
    repeated: u64,
    restarts: u32,
    resumptions: u32,
    longest_pause: Duration,
    /// Set by the last block or by a refusal.
    outcome: Option<Code>,
    last_seen: bool,
    generation: u32,
    air_bytes: u64,
    progress: Vec<ProgressPoint>,
    again: Vec<ProgressPoint>,
    stride: u64,
}

impl Transfer {
    pub(crate) fn new(way: Way, path: String, at: Duration, packet: u64, generation: u32) -> Self {
        Self {
            way,
            path,
            began: (at, packet),
            ended: (at, packet),
            coverage: Coverage::default(),
            size: None,
            blocks: 0,
            sizes: Vec::new(),
            retransmissions: 0,
            repeated: 0,
            restarts: 0,
            resumptions: 0,
            longest_pause: Duration::ZERO,
            outcome: None,
            last_seen: false,
            generation,
            air_bytes: 0,
            progress: Vec::new(),
            again: Vec::new(),
            stride: 1,
        }
    }

    /// It ended: a further first block begins another one.
    pub(crate) const fn is_over(&self) -> bool {
        self.outcome.is_some()
    }

    /// Whether a report shows it: a body in blocks, or a package.
    pub(crate) fn is_shown(&self) -> bool {
        self.blocks > 1 || self.path.starts_with("/5/0/0") || self.path.starts_with("/9/0/2")
    }

    /// A message of it, once more.
    pub(crate) fn again(&mut self, at: Duration, block: Option<BlockValue>) {
        self.retransmissions += 1;
        if let Some(block) = block {
            self.repeat(at, block.offset(), block.num);
        }
    }

    fn repeat(&mut self, at: Duration, offset: u64, block: u32) {
        if self.again.len() < AGAIN {
            self.again.push(ProgressPoint {
                at: at.as_secs_f64(),
                offset,
                block,
                again: true,
            });
        }
    }

    /// Bytes on the air for it.
    pub(crate) fn on_air(&mut self, bytes: u64) {
        self.air_bytes += bytes;
    }

    pub(crate) fn announce(&mut self, size: Option<u64>) {
        if size.is_some_and(|size| size > 0) {
            self.size = size;
        }
    }

    /// A block's bytes.
    pub(crate) fn block(
        &mut self,
        block: Option<BlockValue>,
        length: usize,
        at: Duration,
        packet: u64,
        generation: u32,
    ) -> Step {
        let (start, num, more, size) = block.map_or((0, 0, false, length as u32), |block| {
            (block.offset(), block.num, block.more, block.szx.size() as u32)
        });
        let end = start + length as u64;
        let mut step = Step::Plain;
        if self.blocks > 0 {
            let pause = at.saturating_sub(self.ended.0);
            self.longest_pause = self.longest_pause.max(pause);
            if start == 0 && self.coverage.frontier() > end {
                self.restarts += 1;
                self.coverage = Coverage::default();
                self.last_seen = false;
                step = Step::Restarted;
            } else if pause > PAUSE || generation != self.generation {
                self.resumptions += 1;
                step = Step::Resumed;
            }
        }
        if start > self.coverage.frontier() && step == Step::Plain {
            step = Step::Gap;
        }
        self.generation = generation;
        self.ended = (at, packet);
        if !self.sizes.contains(&size) && self.sizes.len() < 8 {
            self.sizes.push(size);
        }
        if self.coverage.add(start, end) > 0 || self.blocks == 0 || step == Step::Restarted {
            self.blocks += 1;
            self.point(at, start, num);
        } else {
            self.repeated += 1;
            self.repeat(at, start, num);
        }
        if !more {
            self.last_seen = true;
            self.size = Some(end);
        }
        step
    }

    fn point(&mut self, at: Duration, offset: u64, block: u32) {
        if !self.blocks.is_multiple_of(self.stride) && self.blocks > 1 {
            return;
        }
        self.progress.push(ProgressPoint {
            at: at.as_secs_f64(),
            offset,
            block,
            again: false,
        });
        if self.progress.len() >= POINTS {
            self.stride *= 2;
            let mut keep = false;
            self.progress.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// The answer to a block, or the last piece of a body that came as one.
    pub(crate) fn answered(&mut self, code: Code, at: Duration, packet: u64) {
        self.ended = (at, packet);
        if code.is_error() || (code.is_success() && code != Code::CONTINUE && self.last_seen) {
            self.outcome = Some(code);
        }
    }

    pub(crate) const fn saw_last(&self) -> bool {
        self.last_seen
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.coverage.bytes
    }

    fn outcome(&self) -> String {
        match self.outcome {
            Some(code) if code.is_error() => format!("refused {code}"),
            Some(_) if self.coverage.gaps(self.size).is_empty() => "complete".to_owned(),
            Some(_) => "complete, parts not in the capture".to_owned(),
            None if self.last_seen => "unanswered".to_owned(),
            None => "unfinished".to_owned(),
        }
    }

    pub(crate) fn report(&self) -> TransferReport {
        let moment = |(at, packet): (Duration, u64)| Moment {
            at: at.as_secs_f64(),
            packet,
        };
        let seconds = self.ended.0.saturating_sub(self.began.0).as_secs_f64();
        let bytes = self.coverage.bytes;
        let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 0.0 };
        let mut progress = self.progress.clone();
        progress.extend(&self.again);
        progress.sort_by(|a, b| a.at.total_cmp(&b.at));
        TransferReport {
            way: self.way.word().to_owned(),
            path: self.path.clone(),
            began: moment(self.began),
            ended: moment(self.ended),
            bytes,
            size: self.size,
            blocks: self.blocks,
            block_sizes: self.sizes.clone(),
            retransmissions: self.retransmissions,
            repeated: self.repeated,
            restarts: self.restarts,
            resumptions: self.resumptions,
            longest_pause: self.longest_pause.as_secs_f64(),
            gaps: self.coverage.gaps(self.size),
            outcome: self.outcome(),
            goodput: ratio(bytes as f64, seconds),
            air_bytes: self.air_bytes,
            air_per_byte: ratio(self.air_bytes as f64, bytes as f64),
            progress,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Coverage, Step, Transfer, Way};
    use core::time::Duration;
    use fotaproof_wire::coap::{BlockValue, Code};

    fn block(text: &str) -> Option<BlockValue> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn parts_of_a_body_are_joined() {
        let mut coverage = Coverage::default();
        assert_eq!(coverage.add(0, 16), 16);
        assert_eq!(coverage.add(32, 48), 16);
        assert_eq!(coverage.gaps(Some(64)), [[16, 32], [48, 64]]);
        assert_eq!(coverage.add(8, 40), 16);
        assert_eq!((coverage.gaps(Some(48)).len(), coverage.bytes), (0, 48));
    }

    #[test]
    fn a_transfer_with_a_restart_and_a_pause() {
        let mut transfer = Transfer::new(Way::Push, "/5/0/0".to_owned(), Duration::ZERO, 1, 1);
        let mut step =
            |text: &str, at: u64, packet| transfer.block(block(text), 16, Duration::from_secs(at), packet, 1);
        assert_eq!(step("0/1/16", 0, 1), Step::Plain);
        assert_eq!(step("1/1/16", 1, 3), Step::Plain);
        assert_eq!(step("0/1/16", 2, 5), Step::Restarted);
        assert_eq!(step("1/1/16", 32, 7), Step::Plain, "30 s are no pause yet");
        assert_eq!(step("2/1/16", 63, 9), Step::Resumed);
        assert_eq!(step("4/0/16", 64, 11), Step::Gap);
        transfer.answered(Code::CHANGED, Duration::from_secs(64), 12);
        let report = transfer.report();
        assert_eq!(
            (report.restarts, report.resumptions, report.gaps),
            (1, 1, vec![[48, 64]])
        );
        assert_eq!(report.outcome, "complete, parts not in the capture");
    }

    #[test]
    fn many_blocks_leave_few_points() {
        let mut transfer = Transfer::new(Way::Push, "/5/0/0".to_owned(), Duration::ZERO, 1, 1);
        for num in 0..100_000 {
            let block = BlockValue::new(num, true, fotaproof_wire::coap::Szx::S16);
            transfer.block(block, 16, Duration::from_millis(u64::from(num)), u64::from(num), 1);
        }
        let report = transfer.report();
        assert!((256..512).contains(&report.progress.len()), "{}", report.progress.len());
        assert_eq!(report.bytes, 1_600_000);
    }
}
