//! One value as plain text (LwM2M Core 1.1, 7.4 and Appendix C): Content-Format 0.

use crate::{Value, ValueType, path::parse_id};
use base64::{DecodeError, Engine as _, engine::general_purpose::STANDARD};

/// Why bytes are no text of the type asked for, or a value has no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The payload is not UTF-8.
    #[error("not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// The first byte that is not.
        offset: usize,
    },
    /// The text does not say a value of the type.
    #[error("not a {expected} in text")]
    BadValue {
        /// The type asked for.
        expected: ValueType,
    },
    /// Opaque values are Base64 in text.
    #[error("not Base64 at byte {offset}")]
    BadBase64 {
        /// The first byte that is not.
        offset: usize,
    },
    /// NaN and the infinities cannot be written.
    #[error("a float in text is finite")]
    NotFinite,
}

impl TextError {
    /// The byte of the payload where the rule is broken.
    #[must_use]
    pub const fn offset(&self) -> usize {
        match *self {
            Self::NotUtf8 { offset } | Self::BadBase64 { offset } => offset,
            Self::BadValue { .. } | Self::NotFinite => 0,
        }
    }
}

/// Writes a value. Opaque values become Base64.
///
/// # Errors
/// When a float is not finite.
pub fn encode(value: &Value) -> Result<Vec<u8>, TextError> {
    Ok(match value {
        Value::Integer(number) | Value::Time(number) => number.to_string(),
        Value::Unsigned(number) => number.to_string(),
        Value::Float(number) if number.is_finite() => number.to_string(),
        Value::Float(_) => return Err(TextError::NotFinite),
        Value::Boolean(truth) => u8::from(*truth).to_string(),
        Value::String(text) | Value::CoreLink(text) => text.clone(),
        Value::Opaque(bytes) => STANDARD.encode(bytes),
        Value::ObjectLink(object, instance) => format!("{object}:{instance}"),
    }
    .into_bytes())
}

/// Reads a value of a type.
///
/// # Errors
/// When the text does not say one.
pub fn decode(bytes: &[u8], value_type: ValueType) -> Result<Value, TextError> {
    let text = std::str::from_utf8(bytes).map_err(|error| TextError::NotUtf8 {
        offset: error.valid_up_to(),
    })?;
    let bad = TextError::BadValue { expected: value_type };
    Ok(match value_type {
        ValueType::Integer => Value::Integer(integer(text).ok_or(bad)?),
        ValueType::Time => Value::Time(integer(text).ok_or(bad)?),
        ValueType::Unsigned => Value::Unsigned(integer(text).ok_or(bad)?),
        ValueType::Float => Value::Float(float(text).ok_or(bad)?),
        ValueType::Boolean => match text {
            "0" => Value::Boolean(false),
            "1" => Value::Boolean(true),
            _ => return Err(bad),
        },
        ValueType::String => Value::String(text.to_owned()),
        ValueType::CoreLink => Value::CoreLink(text.to_owned()),
        ValueType::Opaque => Value::Opaque(STANDARD.decode(bytes).map_err(|error| TextError::BadBase64 {
            offset: base64_offset(&error, bytes),
        })?),
        ValueType::ObjectLink => {
            let (object, instance) = object_link(text).ok_or(bad)?;
            Value::ObjectLink(object, instance)
        }
    })
}

/// Where Base64 is broken.
pub(crate) const fn base64_offset(error: &DecodeError, bytes: &[u8]) -> usize {
    match *error {
        DecodeError::InvalidByte(offset, _) | DecodeError::InvalidLastSymbol(offset, _) => offset,
        DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => bytes.len(),
    }
}

/// `10:0` as object and instance.
pub(crate) fn object_link(text: &str) -> Option<(u16, u16)> {
    let (object, instance) = text.split_once(':')?;
    Some((parse_id(object)?, parse_id(instance)?))
}

fn integer<T: std::str::FromStr>(text: &str) -> Option<T> {
    // `parse` would take a plus sign.
    if text.starts_with('+') { None } else { text.parse().ok() }
}

fn float(text: &str) -> Option<f64> {
    // `parse` would take `inf`, `nan` and a plus sign.
    let plain = text
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
        && !text.starts_with('+');
    plain
        .then(|| text.parse().ok())
        .flatten()
        .filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::{TextError, decode, encode};
    use crate::{Value, ValueType};
    use proptest::prelude::*;

    #[test]
    fn boundary_pairs() {
        let bad = |expected| Err(TextError::BadValue { expected });
        assert_eq!(
            decode(b"-9223372036854775808", ValueType::Integer),
            Ok(Value::Integer(i64::MIN))
        );
        assert_eq!(
            decode(b"9223372036854775808", ValueType::Integer),
            bad(ValueType::Integer)
        );
        assert_eq!(
            decode(b"18446744073709551615", ValueType::Unsigned),
            Ok(Value::Unsigned(u64::MAX))
        );
        assert_eq!(decode(b"-1", ValueType::Unsigned), bad(ValueType::Unsigned));
        assert_eq!(decode(b"+1", ValueType::Integer), bad(ValueType::Integer));
        assert_eq!(decode(b"", ValueType::Integer), bad(ValueType::Integer));
        assert_eq!(decode(b"1", ValueType::Boolean), Ok(Value::Boolean(true)));
        assert_eq!(decode(b"true", ValueType::Boolean), bad(ValueType::Boolean));
        assert_eq!(decode(b"1.5e3", ValueType::Float), Ok(Value::Float(1500.0)));
        assert_eq!(decode(b"nan", ValueType::Float), bad(ValueType::Float));
        assert_eq!(
            decode(b"65535:65535", ValueType::ObjectLink),
            Ok(Value::ObjectLink(65535, 65535))
        );
        assert_eq!(decode(b"65536:0", ValueType::ObjectLink), bad(ValueType::ObjectLink));
        assert_eq!(decode(b"AQI=", ValueType::Opaque), Ok(Value::Opaque(vec![1, 2])));
        assert_eq!(
            decode(b"AQ*=", ValueType::Opaque),
            Err(TextError::BadBase64 { offset: 2 })
        );
        assert_eq!(
            decode(b"a\xff", ValueType::String),
            Err(TextError::NotUtf8 { offset: 1 })
        );
        assert_eq!(encode(&Value::Float(f64::NAN)), Err(TextError::NotFinite));
    }

    proptest! {
        #[test]
        fn round_trip(value in crate::content::strategy::value()) {
            prop_assume!(!matches!(value, Value::Float(number) if !number.is_finite()));
            let value_type = value.value_type();
            prop_assert_eq!(decode(&encode(&value).unwrap(), value_type), Ok(value));
        }
    }
}
