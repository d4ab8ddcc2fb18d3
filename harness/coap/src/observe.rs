//! Observe (RFC 7641): the order of notifications.

use core::time::Duration;

/// Sequence numbers are 24 bits long (RFC 7641, section 2).
pub const SEQUENCE_MODULUS: u32 = 1 << 24;

/// After this time any notification counts as newer (RFC 7641, section 3.4).
pub const FRESHNESS_WINDOW: Duration = Duration::from_secs(128);

/// Whether a notification with sequence number `new`, received at `new_at`, is newer than one with `old`, received at
/// `old_at` (RFC 7641, section 3.4).
#[must_use]
pub fn is_newer(old: u32, old_at: Duration, new: u32, new_at: Duration) -> bool {
    let half = SEQUENCE_MODULUS / 2;
    (old < new && new - old < half)
        || (old > new && old - new > half)
        || new_at > old_at.saturating_add(FRESHNESS_WINDOW)
}

/// Draws the Observe values of one observation: each the next 24-bit number (RFC 7641, section 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObserveSequence {
    next: u32,
}

impl ObserveSequence {
    /// Begins with this value, taken modulo 2^24.
    #[must_use]
    pub const fn new(first: u32) -> Self {
        Self {
            next: first % SEQUENCE_MODULUS,
        }
    }

    /// The value for the next notification.
    pub const fn advance(&mut self) -> u32 {
        let value = self.next;
        self.next = (self.next + 1) % SEQUENCE_MODULUS;
        value
    }
}

impl Default for ObserveSequence {
    /// Begins at 2, so that no value looks like a register (0) or deregister (1) request.
    fn default() -> Self {
        Self::new(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Duration = Duration::from_secs(1000);

    #[test]
    fn next_number_is_newer_and_the_same_is_not() {
        assert!(is_newer(5, T, 6, T));
        assert!(!is_newer(5, T, 5, T));
        assert!(!is_newer(6, T, 5, T));
    }

    #[test]
    fn half_the_circle_is_the_boundary() {
        assert!(is_newer(0, T, (1 << 23) - 1, T));
        assert!(!is_newer(0, T, 1 << 23, T));
        assert!(is_newer((1 << 23) + 1, T, 0, T));
        assert!(!is_newer(1 << 23, T, 0, T));
    }

    #[test]
    fn after_128_seconds_anything_is_newer() {
        assert!(!is_newer(6, T, 5, T + FRESHNESS_WINDOW));
        assert!(is_newer(6, T, 5, T + FRESHNESS_WINDOW + Duration::from_millis(1)));
    }

    #[test]
    fn sequence_wraps_after_24_bits() {
        let mut sequence = ObserveSequence::new(SEQUENCE_MODULUS - 1);
        let (last, first) = (sequence.advance(), sequence.advance());
        assert_eq!((last, first), (0xff_ffff, 0));
        assert!(is_newer(last, T, first, T));
    }
}
