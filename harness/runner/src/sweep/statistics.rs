//! Estimates with 95 % confidence intervals.

use serde::Serialize;

/// An estimate and its 95 % confidence interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// The 97.5 % quantile of the normal distribution.
pub const NORMAL: f64 = 1.959_964;

/// The 97.5 % quantile of Student's t distribution: exact for few degrees of freedom, where it matters, else by the
/// expansion of Cornish and Fisher (Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5).
fn student(freedom: usize) -> f64 {
    const FEW: [f64; 10] = [
        12.706_205, 4.302_653, 3.182_446, 2.776_445, 2.570_582, 2.446_912, 2.364_624, 2.306_004, 2.262_157, 2.228_139,
    ];
    if let Some(exact) = freedom.checked_sub(1).and_then(|index| FEW.get(index)) {
        return *exact;
    }
    let (z, v) = (NORMAL, freedom as f64);
    let (z3, z5, z7) = (z.powi(3), z.powi(5), z.powi(7));
    z + (z3 + z) / (4.0 * v)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * z) / (96.0 * v * v)
        + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * z) / (384.0 * v * v * v)
}

/// The mean of values, by Student's t. None without values; the interval is the value itself when there is only one.
#[must_use]
pub fn mean(values: &[f64]) -> Option<Estimate> {
    let count = values.len();
    if count == 0 {
        return None;
    }
    let value = values.iter().sum::<f64>() / count as f64;
    if count == 1 {
        return Some(Estimate {
            value,
            low: value,
            high: value,
        });
    }
    let variance = values.iter().map(|x| (x - value).powi(2)).sum::<f64>() / (count - 1) as f64;
    let half = student(count - 1) * (variance / count as f64).sqrt();
    Some(Estimate {
        value,
        low: value - half,
        high: value + half,
    })
}

/// A share, with the interval of Wilson (Journal of the American Statistical Association 22, 1927), which is right at 0
/// and 1 too. None without trials.
#[must_use]
pub fn share(hits: u64, of: u64) -> Option<Estimate> {
    share_at(hits, of, NORMAL)
}

/// The same with another quantile of the normal distribution.
#[must_use]
pub fn share_at(hits: u64, of: u64, z: f64) -> Option<Estimate> {
    if of == 0 {
        return None;
    }
    let (n, p) = (of as f64, hits as f64 / of as f64);
    let scale = 1.0 + z * z / n;
    let middle = (p + z * z / (2.0 * n)) / scale;
    let half = z / scale * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    Some(Estimate {
        value: p,
        // exact where rounding would not be
        low: if hits == 0 { 0.0 } else { (middle - half).max(0.0) },
        high: if hits == of { 1.0 } else { (middle + half).min(1.0) },
    })
}

/// The loss of a datagram in `fragments` fragments, each lost with probability `p`: 1-(1-p)^n.
#[must_use]
pub fn datagram_loss(p: f64, fragments: u32) -> f64 {
    1.0 - (1.0 - p).powi(i32::try_from(fragments).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64, by: f64) -> bool {
        (a - b).abs() < by
    }

    #[test]
    fn student_is_as_in_the_tables() {
        for (freedom, exact) in [
            (1, 12.706),
            (5, 2.571),
            (6, 2.447),
            (10, 2.228),
            (29, 2.045),
            (59, 2.001),
            (1000, 1.962),
        ] {
            assert!(close(student(freedom), exact, 0.001), "{freedom}: {}", student(freedom));
        }
    }

    #[test]
    fn a_mean_and_its_interval() {
        assert_eq!(mean(&[]), None);
        assert_eq!(
            mean(&[3.0]),
            Some(Estimate {
                value: 3.0,
                low: 3.0,
                high: 3.0
            })
        );
        // standard deviation 1, t(4) = 2.776
        let five = mean(&[1.0, 1.5, 2.0, 2.5, 3.0]).unwrap();
        assert!(close(five.value, 2.0, 1e-9) && close(five.high - 2.0, 2.776_445 * 0.790_569 / 5_f64.sqrt(), 1e-4));
    }

    #[test]
    fn a_share_and_its_interval() {
        assert_eq!(share(0, 0), None);
        // an example of the literature: 81 of 263
        let wilson = share(81, 263).unwrap();
        assert!(
            close(wilson.low, 0.2553, 1e-3) && close(wilson.high, 0.3662, 1e-3),
            "{wilson:?}"
        );
        let none = share(0, 60).unwrap();
        assert!(none.low.abs() < 1e-12 && close(none.high, 0.0602, 1e-3), "{none:?}");
        assert!(share(60, 60).unwrap().high > 0.999);
    }

    #[test]
    fn the_closed_form() {
        assert!(close(datagram_loss(0.1, 1), 0.1, 1e-12));
        assert!(close(datagram_loss(0.1, 4), 0.3439, 1e-12));
        assert!(datagram_loss(0.0, 7).abs() < 1e-12);
    }
}
