//! Block option values (RFC 7959, 2.2): block number, more flag, size exponent.

use super::uint;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// The size exponent: a block has `2^(SZX + 4)` bytes. 7 is reserved over UDP and means BERT over TCP (RFC 7959, 2.2;
/// RFC 8323, 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Szx(u8);

impl Szx {
    /// 16 bytes.
    pub const S16: Self = Self(0);
    /// 32 bytes.
    pub const S32: Self = Self(1);
    /// 64 bytes.
    pub const S64: Self = Self(2);
    /// 128 bytes.
    pub const S128: Self = Self(3);
    /// 256 bytes.
    pub const S256: Self = Self(4);
    /// 512 bytes.
    pub const S512: Self = Self(5);
    /// 1024 bytes.
    pub const S1024: Self = Self(6);
    /// Blocks numbered in units of 1024 bytes, several in one message; only over TCP.
    pub const BERT: Self = Self(7);

    /// From the exponent 0-6.
    #[must_use]
    pub const fn new(exponent: u8) -> Option<Self> {
        if exponent <= 6 { Some(Self(exponent)) } else { None }
    }

    /// From a block size that is a power of two from 16 to 1024.
    #[must_use]
    pub fn from_size(size: usize) -> Option<Self> {
        (0..=6).map(Self).find(|szx| szx.size() == size)
    }

    /// The largest exponent whose blocks have at most `size` bytes; `None` below 16.
    #[must_use]
    pub fn fitting(size: usize) -> Option<Self> {
        (0..=6).rev().map(Self).find(|szx| szx.size() <= size)
    }

    /// The exponent as it stands in the option.
    #[must_use]
    pub const fn exponent(self) -> u8 {
        self.0
    }

    /// The size of a block in bytes; 1024 for BERT.
    #[must_use]
    pub const fn size(self) -> usize {
        if self.0 == 7 { 1024 } else { 1 << (self.0 + 4) }
    }
}

impl fmt::Display for Szx {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::BERT {
            formatter.write_str("BERT")
        } else {
            write!(formatter, "{}", self.size())
        }
    }
}

/// Why a value is no block option value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// The value is longer than three bytes.
    #[error("a block option value has at most 3 bytes, not {0}")]
    TooLong(usize),
    /// SZX is 7.
    #[error("size exponent 7 is reserved")]
    ReservedSzx,
    /// The text is not number, more flag, size.
    #[error("expected number/more/size such as 7/1/512")]
    BadText,
}

/// The value of a Block1 or Block2 option (RFC 7959, 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockValue {
    /// Block number, at most [`BlockValue::MAX_NUM`].
    pub num: u32,
    /// Whether more blocks follow.
    pub more: bool,
    /// Size exponent.
    pub szx: Szx,
}

impl BlockValue {
    /// The greatest block number: 20 bits.
    pub const MAX_NUM: u32 = (1 << 20) - 1;

    /// A value; `None` when the number has more than 20 bits.
    #[must_use]
    pub const fn new(num: u32, more: bool, szx: Szx) -> Option<Self> {
        if num <= Self::MAX_NUM {
            Some(Self { num, more, szx })
        } else {
            None
        }
    }

    /// Reads an option value over UDP.
    ///
    /// # Errors
    /// When it is longer than three bytes or its size exponent is 7.
    pub fn decode(value: &[u8]) -> Result<Self, BlockError> {
        let block = Self::decode_bert(value)?;
        if block.szx == Szx::BERT {
            Err(BlockError::ReservedSzx)
        } else {
            Ok(block)
        }
    }

    /// Reads an option value over TCP, where size exponent 7 means BERT (RFC 8323, 6).
    ///
    /// # Errors
    /// When it is longer than three bytes.
    pub fn decode_bert(value: &[u8]) -> Result<Self, BlockError> {
        let bits = uint::decode(value, 3).ok_or(BlockError::TooLong(value.len()))? as u32;
        Ok(Self {
            num: bits >> 4,
            more: bits & 8 != 0,
            szx: Szx((bits & 7) as u8),
        })
    }

    /// The option value, 0 to 3 bytes. A number of more than 20 bits loses its upper ones.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        uint::encode(u64::from(self.bits()))
    }

    /// The 24 bits of the option value.
    #[must_use]
    pub const fn bits(&self) -> u32 {
        (self.num & Self::MAX_NUM) << 4 | (self.more as u32) << 3 | self.szx.0 as u32
    }

    /// The size of a block in bytes.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.szx.size()
    }

    /// The first byte of the body that this block carries.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.num as u64 * self.szx.size() as u64
    }

    /// The same offset counted in blocks of another size (RFC 7959, 2.4). `None` when the offset is no multiple of that
    /// size, which only
    /// happens with a larger one, or when the number would need more than 20 bits.
    #[must_use]
    pub fn rescaled(&self, szx: Szx) -> Option<Self> {
        let size = szx.size() as u64;
        if !self.offset().is_multiple_of(size) {
            return None;
        }
        Self::new(u32::try_from(self.offset() / size).ok()?, self.more, szx)
    }

    /// The block after this one; `None` past the last number.
    #[must_use]
    pub const fn next(&self, more: bool) -> Option<Self> {
        Self::new(self.num + 1, more, self.szx)
    }
}

impl fmt::Display for BlockValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}", self.num, u8::from(self.more), self.szx)
    }
}

impl FromStr for BlockValue {
    type Err = BlockError;

    fn from_str(text: &str) -> Result<Self, BlockError> {
        let mut parts = text.split('/');
        let (Some(num), Some(more), Some(size), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(BlockError::BadText);
        };
        let digits = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| text.parse::<u32>().ok())
                .flatten()
        };
        let more = match more {
            "0" => false,
            "1" => true,
            _ => return Err(BlockError::BadText),
        };
        let szx = if size == "BERT" {
            Some(Szx::BERT)
        } else {
            digits(size).and_then(|size| Szx::from_size(size as usize))
        };
        digits(num)
            .zip(szx)
            .and_then(|(num, szx)| Self::new(num, more, szx))
            .ok_or(BlockError::BadText)
    }
}

impl Serialize for Szx {
    /// As the size in bytes; 7 for BERT.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(if *self == Self::BERT { 7 } else { self.size() as u16 })
    }
}

impl<'de> Deserialize<'de> for Szx {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let size = u16::deserialize(deserializer)?;
        if size == 7 {
            return Ok(Self::BERT);
        }
        Self::from_size(usize::from(size))
            .ok_or_else(|| serde::de::Error::custom("expected a block size: 16, 32, 64, 128, 256, 512 or 1024"))
    }
}

impl Serialize for BlockValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BlockValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockError, BlockValue, Szx};
    use proptest::prelude::*;

    fn block(text: &str) -> BlockValue {
        text.parse().unwrap()
    }

    #[test]
    fn values_of_every_length() {
        for (text, bytes) in [
            ("0/0/16", &[][..]),
            ("0/1/1024", &[0x0e]),
            ("15/0/16", &[0xf0]),
            ("16/0/16", &[0x01, 0x00]),
            ("4095/1/512", &[0xff, 0xfd]),
            ("4096/1/512", &[0x01, 0x00, 0x0d]),
            ("1048575/0/1024", &[0xff, 0xff, 0xf6]),
        ] {
            assert_eq!(block(text).encode(), bytes, "{text}");
            assert_eq!(BlockValue::decode(bytes), Ok(block(text)), "{text}");
        }
    }

    #[test]
    fn boundaries() {
        assert_eq!(BlockValue::decode(&[0, 0, 0, 0]), Err(BlockError::TooLong(4)));
        assert_eq!(BlockValue::decode(&[0x07]), Err(BlockError::ReservedSzx));
        assert_eq!(BlockValue::decode_bert(&[0x07]).unwrap().szx, Szx::BERT);
        assert!(BlockValue::new(BlockValue::MAX_NUM, false, Szx::S16).is_some());
        assert!(BlockValue::new(BlockValue::MAX_NUM + 1, false, Szx::S16).is_none());
        assert_eq!(Szx::from_size(1024), Some(Szx::S1024));
        assert_eq!(Szx::from_size(2048), None);
        assert_eq!(Szx::from_size(0), None);
        assert_eq!(Szx::fitting(15), None);
        assert_eq!(Szx::fitting(1023), Some(Szx::S512));
        for text in ["", "1/1", "1/2/16", "1/1/17", "1/1/16/1", "1048576/0/16", "+1/0/16"] {
            assert_eq!(text.parse::<BlockValue>(), Err(BlockError::BadText), "{text}");
        }
    }

    #[test]
    fn late_negotiation_renumbers_the_same_offset() {
        // RFC 7959, 2.4 and Figure 9: after 1024 bytes, four blocks of 256 are done.
        assert_eq!(block("1/1/1024").rescaled(Szx::S256), Some(block("4/1/256")));
        assert_eq!(block("4/1/256").rescaled(Szx::S1024), Some(block("1/1/1024")));
        assert_eq!(block("3/1/256").rescaled(Szx::S1024), None);
        assert_eq!(block("1048575/0/1024").rescaled(Szx::S16), None);
    }

    proptest! {
        #[test]
        fn round_trips(num in 0..=BlockValue::MAX_NUM, more: bool, exponent in 0u8..=6) {
            let value = BlockValue::new(num, more, Szx::new(exponent).unwrap()).unwrap();
            prop_assert_eq!(BlockValue::decode(&value.encode()), Ok(value));
            prop_assert_eq!(value.to_string().parse(), Ok(value));
            let json = serde_json::to_string(&value).unwrap();
            prop_assert_eq!(serde_json::from_str::<BlockValue>(&json).unwrap(), value);
        }

        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..6)) {
            let _ = BlockValue::decode(&bytes);
        }
    }
}
