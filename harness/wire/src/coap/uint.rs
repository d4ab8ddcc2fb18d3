//! Option values in the `uint` format (RFC 7252, 3.2): big-endian, no leading zero bytes, zero is the empty value.

/// Writes a number in as few bytes as possible; zero takes none.
#[must_use]
pub fn encode(number: u64) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let zeros = (number.leading_zeros() / 8) as usize;
    bytes[zeros..].to_vec()
}

/// Reads a number of at most `max_length` bytes (never more than 8). Leading zeros are accepted, as RFC 7252, 3.2 asks
/// of a receiver.
#[must_use]
pub fn decode(value: &[u8], max_length: usize) -> Option<u64> {
    if value.len() > max_length.min(8) {
        return None;
    }
    Some(value.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Whether a value has leading zeros, which a sender SHOULD leave out.
#[must_use]
pub fn is_minimal(value: &[u8]) -> bool {
    value.first() != Some(&0)
}

#[cfg(test)]
mod tests {
    use super::{decode, encode, is_minimal};
    use proptest::prelude::*;

    #[test]
    fn zero_is_empty() {
        assert_eq!(encode(0), Vec::<u8>::new());
        assert_eq!(decode(&[], 4), Some(0));
    }

    #[test]
    fn bound_of_length() {
        assert_eq!(decode(&[0, 0, 1], 3), Some(1));
        assert_eq!(decode(&[0, 0, 0, 1], 3), None);
        assert_eq!(decode(&[0; 9], usize::MAX), None);
        assert!(!is_minimal(&[0, 1]));
        assert!(is_minimal(&[1, 0]));
    }

    proptest! {
        #[test]
        fn round_trip(number: u64) {
            let bytes = encode(number);
            prop_assert!(is_minimal(&bytes));
            prop_assert_eq!(decode(&bytes, 8), Some(number));
        }
    }
}
