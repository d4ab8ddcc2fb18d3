//! Round-trip times in little memory.

use core::time::Duration;

use crate::report::RoundTrip;

/// Buckets for each doubling.
const PER_OCTAVE: u32 = 16;
/// Buckets: from 1 µs over 26 doublings, a minute.
const BUCKETS: usize = 16 * 27;

/// A histogram with buckets 6 % wide at the most.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    buckets: Vec<u32>,
    count: u64,
    least: Duration,
    greatest: Duration,
}

impl Histogram {
    pub(crate) fn add(&mut self, time: Duration) {
        if self.buckets.is_empty() {
            self.buckets = vec![0; BUCKETS];
            self.least = time;
        }
        self.count += 1;
        self.least = self.least.min(time);
        self.greatest = self.greatest.max(time);
        self.buckets[bucket_of(time)] += 1;
    }

    fn quantile(&self, part: f64) -> f64 {
        let wanted = (self.count as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return middle_of(index).clamp(milliseconds(self.least), milliseconds(self.greatest));
            }
        }
        milliseconds(self.greatest)
    }

    pub(crate) fn report(&self) -> Option<RoundTrip> {
        let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
        (self.count > 0).then(|| RoundTrip {
            count: self.count,
            least: rounded(milliseconds(self.least)),
            median: rounded(self.quantile(0.5)),
            p95: rounded(self.quantile(0.95)),
            greatest: rounded(milliseconds(self.greatest)),
        })
    }
}

/// The doubling from the highest bit, the bucket within it from the four bits behind.
fn bucket_of(time: Duration) -> usize {
    let sixteenths = (time.as_nanos() / 62).clamp(16, 1 << 40) as u64;
    let octave = sixteenths.ilog2() - 4;
    let part = (sixteenths >> octave) as u32 & (PER_OCTAVE - 1);
    ((octave * PER_OCTAVE + part) as usize).min(BUCKETS - 1)
}

/// The middle of a bucket in milliseconds.
fn middle_of(bucket: usize) -> f64 {
    let (octave, part) = (bucket as u32 / PER_OCTAVE, bucket as u32 % PER_OCTAVE);
    let sixteenths = (f64::from(PER_OCTAVE + part) + 0.5) * f64::from(octave).exp2();
    sixteenths * 62e-6
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests {
    use super::Histogram;
    use core::time::Duration;

    #[test]
    fn quantiles_are_within_a_bucket() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.report(), None);
        for millis in 1..=100 {
            histogram.add(Duration::from_millis(millis));
        }
        let report = histogram.report().unwrap();
        assert!((report.median - 50.0).abs() < 2.5, "{}", report.median);
        assert!((report.p95 - 95.0).abs() < 4.5, "{}", report.p95);
        assert_eq!((report.least, report.greatest), (1.0, 100.0));
        histogram.add(Duration::from_secs(100_000));
        assert_eq!(histogram.report().unwrap().greatest, 1e8);
    }
}
