//! Tokens (RFC 7252, section 5.3.1).

use core::{
    fmt,
    hash::{Hash, Hasher},
};

/// A token of 0 to 8 bytes. Copied freely and usable as a key.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    length: u8,
    bytes: [u8; 8],
}

impl Token {
    /// The empty token.
    pub const EMPTY: Self = Self {
        length: 0,
        bytes: [0; 8],
    };

    /// A token of these bytes, or nothing when there are more than 8.
    #[must_use]
    pub fn new(token: &[u8]) -> Option<Self> {
        let mut bytes = [0; 8];
        bytes.get_mut(..token.len())?.copy_from_slice(token);
        Some(Self {
            length: u8::try_from(token.len()).ok()?,
            bytes,
        })
    }

    /// A token of `length` bytes (at most 8) drawn from `rng`.
    #[must_use]
    pub fn random(length: usize, rng: &mut fastrand::Rng) -> Self {
        let length = length.min(8);
        let mut bytes = rng.u64(..).to_be_bytes();
        for byte in &mut bytes[length..] {
            *byte = 0;
        }
        Self {
            length: length as u8,
            bytes,
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length as usize
    }

    /// Whether the token has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from_le_bytes(self.bytes) ^ u64::from(self.length) << 60);
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.as_slice() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bytes_fit_and_nine_do_not() {
        assert_eq!(Token::new(&[1; 8]).unwrap().len(), 8);
        assert_eq!(Token::new(&[1; 9]), None);
    }

    #[test]
    fn length_tells_tokens_apart() {
        assert_ne!(Token::new(&[0]), Token::new(&[0, 0]));
        assert_eq!(Token::new(&[0xa1, 0x02]).unwrap().to_string(), "a102");
    }

    #[test]
    fn random_tokens_follow_the_seed() {
        let draw = |seed| Token::random(4, &mut fastrand::Rng::with_seed(seed));
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_eq!(Token::random(20, &mut fastrand::Rng::with_seed(1)).len(), 8);
    }
}
