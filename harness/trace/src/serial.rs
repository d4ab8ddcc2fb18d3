//! How durations and bytes are written in the journal.

/// A duration as an integer number of nanoseconds.
pub mod nanos {
    use core::time::Duration;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the duration as nanoseconds; saturates after 584 years.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Reads nanoseconds.
    ///
    /// # Errors
    /// When the value is no unsigned integer.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_nanos)
    }
}

/// An optional duration as an integer number of nanoseconds.
pub mod optional_nanos {
    use core::time::Duration;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the duration as nanoseconds, or null.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::nanos::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    /// Reads nanoseconds or null.
    ///
    /// # Errors
    /// When the value is neither.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_nanos))
    }
}

/// Bytes as a string of lower-case hexadecimal digits.
pub mod hex {
    use bytes::Bytes;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::borrow::Cow;

    const DIGITS: &[u8; 16] = b"0123456789abcdef";

    /// The hexadecimal digits of some bytes.
    #[must_use]
    pub fn encode(bytes: &[u8]) -> String {
        bytes
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(|digit| char::from(DIGITS[usize::from(digit)]))
            .collect()
    }

    /// Appends the digits as text.
    pub(crate) fn append(bytes: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + bytes.len() * 2, 0);
        let (pairs, _) = out[start..].as_chunks_mut::<2>();
        for (pair, byte) in pairs.iter_mut().zip(bytes) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
    }

    /// The bytes of hexadecimal digits, or the offset of the first character that is none.
    ///
    /// # Errors
    /// The offset of the first character that does not belong there.
    pub fn decode(text: &str) -> Result<Vec<u8>, usize> {
        fn digit(character: u8) -> Option<u8> {
            match character {
                b'0'..=b'9' => Some(character - b'0'),
                b'a'..=b'f' => Some(character - b'a' + 10),
                b'A'..=b'F' => Some(character - b'A' + 10),
                _ => None,
            }
        }
        let text = text.as_bytes();
        let mut bytes = Vec::with_capacity(text.len() / 2);
        for (index, pair) in text.chunks(2).enumerate() {
            let high = digit(pair[0]).ok_or(index * 2)?;
            let low = pair.get(1).copied().and_then(digit).ok_or(index * 2 + 1)?;
            bytes.push(high << 4 | low);
        }
        Ok(bytes)
    }

    /// Writes the digits.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(value: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        let mut digits = Vec::new();
        append(value, &mut digits);
        // Digits are text; the check is cheap beside the rest.
        serializer.serialize_str(core::str::from_utf8(&digits).unwrap_or_default())
    }

    /// Reads the digits.
    ///
    /// # Errors
    /// When a character is no hexadecimal digit, or one is missing.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        decode(&text)
            .map(Bytes::from)
            .map_err(|offset| D::Error::custom(format!("no hexadecimal digit at character {offset}")))
    }
}
