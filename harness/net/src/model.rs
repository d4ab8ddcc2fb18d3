//! The random models and the queue of one direction. Each model has a generator of its own, so that switching one on leaves the draws of the others
//! as they were.

use core::time::Duration;
use std::collections::VecDeque;

use fastrand::Rng;

use crate::spec::{DirectionSpec, Loss};

/// A seed for one purpose (splitmix64 over seed and tag).
pub(crate) const fn mix(seed: u64, tag: u64) -> u64 {
    let mut z = seed.wrapping_add(tag.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The state of one direction.
#[derive(Debug)]
pub(crate) struct Direction {
    loss: Rng,
    bad: bool,
    jitter: Rng,
    reorder: Rng,
    duplicate: Rng,
    bits: Rng,
    queue: Queue,
    last_exit: Duration,
    /// IP identification of the next datagram.
    pub(crate) ident: u32,
    /// Packets that entered.
    pub(crate) entered: u64,
}

/// A loss draw: whether the packet is lost, and the number drawn.
pub(crate) type Drawn = (bool, Option<f64>);

/// A number from 0 up to 1, in steps of 10^-9: short in a journal, and exact when read back.
pub(crate) fn unit(rng: &mut Rng) -> f64 {
    f64::from(rng.u32(..1_000_000_000)) / 1e9
}

fn draw(rng: &mut Rng, probability: f64) -> Drawn {
    if probability > 0.0 {
        let drawn = unit(rng);
        (drawn < probability, Some(drawn))
    } else {
        (false, None)
    }
}

impl Direction {
    pub(crate) fn new(seed: u64, index: usize) -> Self {
        let rng = |model: u64| Rng::with_seed(mix(seed, (index as u64) << 8 | model));
        Self {
            loss: rng(0),
            bad: false,
            jitter: rng(1),
            reorder: rng(2),
            duplicate: rng(3),
            bits: rng(4),
            queue: Queue::default(),
            last_exit: Duration::ZERO,
            ident: 1,
            entered: 0,
        }
    }

    pub(crate) fn draw_loss(&mut self, spec: &DirectionSpec) -> Drawn {
        match spec.loss {
            Loss::None => (false, None),
            Loss::Bernoulli(p) => draw(&mut self.loss, p),
            Loss::GilbertElliott {
                to_bad,
                to_good,
                loss_bad,
                loss_good,
            } => {
                let moves = if self.bad { to_good } else { to_bad };
                self.bad ^= unit(&mut self.loss) < moves;
                let p = if self.bad { loss_bad } else { loss_good };
                let drawn = unit(&mut self.loss);
                (drawn < p, Some(drawn))
            }
        }
    }

    pub(crate) fn draw_reorder(&mut self, spec: &DirectionSpec) -> Drawn {
        spec.reorder
            .map_or((false, None), |reorder| draw(&mut self.reorder, reorder.probability))
    }

    pub(crate) fn draw_duplicate(&mut self, spec: &DirectionSpec) -> Drawn {
        draw(&mut self.duplicate, spec.duplicate)
    }

    /// Bits in error of so many, and the first draw. Jumps from error to error instead of drawing for each bit.
    pub(crate) fn draw_bit_errors(&mut self, spec: &DirectionSpec, bits: u32) -> (Vec<u32>, Option<f64>) {
        let p = spec.bit_error;
        if p <= 0.0 {
            return (Vec::new(), None);
        }
        if p >= 1.0 {
            return ((0..bits).collect(), None);
        }
        let (mut errors, mut first, mut next) = (Vec::new(), None, 0_u64);
        loop {
            // Error rates go below 10^-9, so this one is drawn finer and told rounded.
            let drawn = self.bits.f64();
            first.get_or_insert_with(|| (drawn * 1e9).floor() / 1e9);
            // A draw in (0, 1]: its logarithm is finite. The cast saturates.
            next = next.saturating_add(((1.0 - drawn).ln() / (-p).ln_1p()) as u64);
            if next >= u64::from(bits) {
                return (errors, first);
            }
            errors.push(next as u32);
            next += 1;
        }
    }

    /// When a packet of this size has left the transmitter, unless the queue is full.
    pub(crate) fn transmit(&mut self, now: Duration, size: u16, spec: &DirectionSpec) -> Option<Duration> {
        match spec.rate_bps {
            None => Some(now),
            Some(rate) => self.queue.transmit(now, size, rate.max(1), spec),
        }
    }

    /// When a packet that left the transmitter then is at the other end.
    pub(crate) fn exit(
        &mut self,
        departure: Duration,
        spec: &DirectionSpec,
        extra: Duration,
        unordered: bool,
    ) -> Duration {
        let mut exit = departure.saturating_add(spec.delay).saturating_add(extra);
        if !spec.jitter.is_zero() {
            let width = u64::try_from(spec.jitter.as_nanos())
                .unwrap_or(u64::MAX / 4)
                .min(u64::MAX / 4);
            let drawn = Duration::from_nanos(self.jitter.u64(0..=2 * width));
            exit = exit
                .saturating_add(drawn)
                .saturating_sub(Duration::from_nanos(width))
                .max(departure);
        }
        if spec.keep_order && !unordered {
            exit = exit.max(self.last_exit);
            self.last_exit = exit;
        }
        exit
    }
}

/// Packets that wait for the transmitter.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(Duration, u16)>,
    bytes: u64,
    busy_until: Duration,
}

impl Queue {
    fn transmit(&mut self, now: Duration, size: u16, rate: u64, spec: &DirectionSpec) -> Option<Duration> {
        while let Some(&(start, size)) = self.waiting.front()
            && start <= now
        {
            self.waiting.pop_front();
            self.bytes -= u64::from(size);
        }
        let start = self.busy_until.max(now);
        if start > now {
            let packets = self.waiting.len() as u64 + 1;
            let bytes = self.bytes + u64::from(size);
            if spec.queue_packets.is_some_and(|limit| packets > u64::from(limit))
                || spec.queue_bytes.is_some_and(|limit| bytes > limit)
            {
                return None;
            }
            self.waiting.push_back((start, size));
            self.bytes = bytes;
        }
        let nanos = (u64::from(size) * 8 * 1_000_000_000).div_ceil(rate);
        self.busy_until = start.saturating_add(Duration::from_nanos(nanos));
        Some(self.busy_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(spec: &DirectionSpec, seed: u64, packets: u32) -> f64 {
        let mut direction = Direction::new(seed, 0);
        let lost = (0..packets).filter(|_| direction.draw_loss(spec).0).count();
        lost as f64 / f64::from(packets)
    }

    /// 200,000 draws: five standard errors of a 10 % loss are 0.34 %.
    #[test]
    fn bernoulli_loss_has_its_mean() {
        let spec = DirectionSpec {
            loss: Loss::Bernoulli(0.1),
            ..DirectionSpec::default()
        };
        for seed in 0..5 {
            let share = lost(&spec, seed, 200_000);
            assert!((share - 0.1).abs() < 0.0034, "{share}");
        }
    }

    /// Losses come in bursts, so their count varies more: by (1 + r) / (1 - r) with r = 1 - to_bad - to_good at most. Five standard errors again.
    #[test]
    fn gilbert_elliott_loss_has_its_mean_and_its_bursts() {
        let loss = Loss::GilbertElliott {
            to_bad: 0.02,
            to_good: 0.25,
            loss_bad: 0.8,
            loss_good: 0.0,
        };
        let spec = DirectionSpec {
            loss,
            ..DirectionSpec::default()
        };
        let mean = loss.mean();
        assert!((mean - 0.8 * 0.02 / 0.27).abs() < 1e-12);
        let (packets, r) = (400_000, 1.0 - 0.27);
        let error = (mean * (1.0 - mean) / f64::from(packets) * (1.0 + r) / (1.0 - r)).sqrt();
        for seed in 0..5 {
            let share = lost(&spec, seed, packets);
            assert!((share - mean).abs() < 5.0 * error, "{share} against {mean}");
        }
        // After a loss the next packet is lost with (1 - to_good) * loss_bad = 0.6.
        let mut direction = Direction::new(9, 0);
        let draws: Vec<bool> = (0..400_000).map(|_| direction.draw_loss(&spec).0).collect();
        let after: Vec<bool> = draws.windows(2).filter(|pair| pair[0]).map(|pair| pair[1]).collect();
        let share = after.iter().filter(|lost| **lost).count() as f64 / after.len() as f64;
        assert!((share - 0.6).abs() < 0.02, "{share}");
    }

    #[test]
    fn certain_and_impossible_losses_are_exact() {
        for (p, expected) in [(0.0, 0.0), (1.0, 1.0)] {
            let spec = DirectionSpec {
                loss: Loss::Bernoulli(p),
                ..DirectionSpec::default()
            };
            assert_eq!(lost(&spec, 3, 10_000), expected);
        }
    }

    #[test]
    fn bit_errors_have_their_mean_and_stay_within_the_packet() {
        let spec = DirectionSpec {
            bit_error: 1e-3,
            ..DirectionSpec::default()
        };
        let mut direction = Direction::new(1, 1);
        let errors: usize = (0..10_000)
            .map(|_| {
                let (bits, _) = direction.draw_bit_errors(&spec, 8000);
                assert!(bits.is_sorted_by(|a, b| a < b) && bits.iter().all(|bit| *bit < 8000));
                bits.len()
            })
            .sum();
        assert!((79_000..81_000).contains(&errors), "{errors}");
        let all = DirectionSpec {
            bit_error: 1.0,
            ..DirectionSpec::default()
        };
        assert_eq!(direction.draw_bit_errors(&all, 16).0.len(), 16);
    }

    #[test]
    fn a_model_switched_on_leaves_the_draws_of_another_alone() {
        let plain = DirectionSpec {
            loss: Loss::Bernoulli(0.3),
            ..DirectionSpec::default()
        };
        let more = DirectionSpec {
            loss: plain.loss,
            duplicate: 0.5,
            ..DirectionSpec::default()
        };
        let (mut a, mut b) = (Direction::new(7, 0), Direction::new(7, 0));
        for _ in 0..100 {
            b.draw_duplicate(&more);
            assert_eq!(a.draw_loss(&plain), b.draw_loss(&more));
        }
    }
}
