//! One value as CBOR (LwM2M Core 1.1, 7.4; RFC 8949): Content-Format 60.

use crate::Value;
use minicbor::{Decoder, data::Type, decode::Error as ReadError};

/// Why bytes are no single CBOR value of LwM2M.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// The bytes are not well-formed CBOR.
    #[error("not well-formed at byte {offset}: {reason}")]
    Malformed {
        /// Where.
        offset: usize,
        /// What the reader says.
        reason: String,
    },
    /// Well-formed, and of a type that no LwM2M value has.
    #[error("a {found} at byte {offset} is no LwM2M value")]
    NoValue {
        /// Where the item starts.
        offset: usize,
        /// The type found.
        found: String,
    },
    /// An integer has more than 64 bits.
    #[error("the integer at byte {offset} has more than 64 bits")]
    TooLarge {
        /// Where the item starts.
        offset: usize,
    },
    /// Something follows the value.
    #[error("bytes follow the value at byte {offset}")]
    Trailing {
        /// Where it starts.
        offset: usize,
    },
}

impl CborError {
    /// The byte of the payload where the rule is broken.
    #[must_use]
    pub const fn offset(&self) -> usize {
        match *self {
            Self::Malformed { offset, .. }
            | Self::NoValue { offset, .. }
            | Self::TooLarge { offset }
            | Self::Trailing { offset } => offset,
        }
    }

    pub(crate) fn malformed(error: &ReadError, at: usize) -> Self {
        let reason = if error.is_end_of_input() {
            "end of input".to_owned()
        } else {
            error.to_string()
        };
        Self::Malformed {
            offset: error.position().unwrap_or(at),
            reason,
        }
    }
}

/// Writes a value. Time carries tag 1; a link to an object is the text `10:0`.
#[must_use]
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    if let Value::Time(_) = value {
        put_head(&mut out, major::TAG, 1);
    }
    put_value(&mut out, value);
    out
}

/// The major types (RFC 8949, 3.1), in place.
pub(crate) mod major {
    pub(crate) const UNSIGNED: u8 = 0 << 5;
    pub(crate) const NEGATIVE: u8 = 1 << 5;
    pub(crate) const BYTES: u8 = 2 << 5;
    pub(crate) const TEXT: u8 = 3 << 5;
    pub(crate) const ARRAY: u8 = 4 << 5;
    pub(crate) const MAP: u8 = 5 << 5;
    pub(crate) const TAG: u8 = 6 << 5;
    pub(crate) const SIMPLE: u8 = 7 << 5;
}

/// Appends the first bytes of an item in the shortest form (RFC 8949, 3).
pub(crate) fn put_head(out: &mut Vec<u8>, major: u8, number: u64) {
    match number {
        0..=23 => out.push(major | number as u8),
        24..=0xff => out.extend_from_slice(&[major | 24, number as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend_from_slice(&(number as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// Appends an integer.
pub(crate) fn put_integer(out: &mut Vec<u8>, number: i64) {
    match u64::try_from(number) {
        Ok(number) => put_head(out, major::UNSIGNED, number),
        Err(_) => put_head(out, major::NEGATIVE, !number as u64),
    }
}

/// Appends a float in 4 bytes when it loses nothing, in 8 otherwise.
pub(crate) fn put_float(out: &mut Vec<u8>, number: f64) {
    let short = number as f32;
    if f64::from(short).to_bits() == number.to_bits() {
        out.push(major::SIMPLE | 26);
        out.extend_from_slice(&short.to_be_bytes());
    } else {
        out.push(major::SIMPLE | 27);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

/// Appends a text.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_head(out, major::TEXT, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Appends a value without a tag.
pub(crate) fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Integer(number) | Value::Time(number) => put_integer(out, *number),
        Value::Unsigned(number) => put_head(out, major::UNSIGNED, *number),
        Value::Float(number) => put_float(out, *number),
        Value::Boolean(truth) => out.push(major::SIMPLE | if *truth { 21 } else { 20 }),
        Value::String(text) | Value::CoreLink(text) => put_text(out, text),
        Value::Opaque(bytes) => {
            put_head(out, major::BYTES, bytes.len() as u64);
            out.extend_from_slice(bytes);
        }
        Value::ObjectLink(object, instance) => put_text(out, &format!("{object}:{instance}")),
    }
}

/// Reads a payload that is one value. Integers come back as `Integer` when they fit, else as `Unsigned`; tag 1 makes a
/// `Time`.
///
/// # Errors
/// When it is not well-formed, no LwM2M value, or more than one.
pub fn decode(bytes: &[u8]) -> Result<Value, CborError> {
    let mut decoder = Decoder::new(bytes);
    let value = read_value(&mut decoder)?;
    let offset = decoder.position();
    if offset < bytes.len() {
        Err(CborError::Trailing { offset })
    } else {
        Ok(value)
    }
}

/// Reads one value.
pub(crate) fn read_value(decoder: &mut Decoder<'_>) -> Result<Value, CborError> {
    let offset = decoder.position();
    let malformed = |error: ReadError| CborError::malformed(&error, offset);
    let kind = decoder.datatype().map_err(malformed)?;
    Ok(match kind {
        Type::Bool => Value::Boolean(decoder.bool().map_err(malformed)?),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => {
            read_integer(decoder)?
        }
        Type::F16 => Value::Float(f64::from(decoder.f16().map_err(malformed)?)),
        Type::F32 => Value::Float(f64::from(decoder.f32().map_err(malformed)?)),
        Type::F64 => Value::Float(decoder.f64().map_err(malformed)?),
        Type::String | Type::StringIndef => Value::String(read_text(decoder)?),
        Type::Bytes | Type::BytesIndef => {
            let mut bytes = Vec::new();
            for part in decoder.bytes_iter().map_err(malformed)? {
                bytes.extend_from_slice(part.map_err(malformed)?);
            }
            Value::Opaque(bytes)
        }
        Type::Tag => match decoder.tag().map_err(malformed)?.as_u64() {
            1 => match read_number(decoder)?.converted(crate::ValueType::Time) {
                Some(time) => time,
                None => {
                    return Err(CborError::NoValue {
                        offset,
                        found: "time with a fraction".to_owned(),
                    });
                }
            },
            4 => read_decimal_fraction(decoder)?,
            other => {
                return Err(CborError::NoValue {
                    offset,
                    found: format!("tag {other}"),
                });
            }
        },
        other => {
            return Err(CborError::NoValue {
                offset,
                found: other.to_string(),
            });
        }
    })
}

/// Reads a number: an integer, a float or a decimal fraction (RFC 8428, 6).
pub(crate) fn read_number(decoder: &mut Decoder<'_>) -> Result<Value, CborError> {
    let offset = decoder.position();
    let kind = decoder
        .datatype()
        .map_err(|error| CborError::malformed(&error, offset))?;
    let value = if kind == Type::Tag {
        // Not through `read_value`: tags upon tags would be read by recursion.
        let tag = decoder.tag().map_err(|error| CborError::malformed(&error, offset))?;
        if tag.as_u64() != 4 {
            return Err(CborError::NoValue {
                offset,
                found: format!("tag {}", tag.as_u64()),
            });
        }
        read_decimal_fraction(decoder)?
    } else {
        read_value(decoder)?
    };
    match value {
        Value::Integer(_) | Value::Unsigned(_) | Value::Float(_) => Ok(value),
        other => Err(CborError::NoValue {
            offset,
            found: format!("{} in place of a number", other.value_type()),
        }),
    }
}

fn read_integer(decoder: &mut Decoder<'_>) -> Result<Value, CborError> {
    let offset = decoder.position();
    let number = i128::from(decoder.int().map_err(|error| CborError::malformed(&error, offset))?);
    let signed = i64::try_from(number).map(Value::Integer);
    signed
        .or_else(|_| u64::try_from(number).map(Value::Unsigned))
        .map_err(|_| CborError::TooLarge { offset })
}

/// Reads a text, also one in parts.
pub(crate) fn read_text(decoder: &mut Decoder<'_>) -> Result<String, CborError> {
    let offset = decoder.position();
    let malformed = |error: ReadError| CborError::malformed(&error, offset);
    let mut text = String::new();
    for part in decoder.str_iter().map_err(malformed)? {
        text.push_str(part.map_err(malformed)?);
    }
    Ok(text)
}

/// Tag 4: an array of exponent and mantissa (RFC 8949, 3.4.4).
fn read_decimal_fraction(decoder: &mut Decoder<'_>) -> Result<Value, CborError> {
    let offset = decoder.position();
    let length = decoder.array().map_err(|error| CborError::malformed(&error, offset))?;
    if length != Some(2) {
        return Err(CborError::NoValue {
            offset,
            found: "decimal fraction without its two numbers".to_owned(),
        });
    }
    let (exponent, mantissa) = (read_integer(decoder)?, read_integer(decoder)?);
    let too_large = CborError::TooLarge { offset };
    let (Value::Integer(exponent), Value::Integer(mantissa)) = (exponent, mantissa) else {
        return Err(too_large);
    };
    let power = u32::try_from(exponent)
        .ok()
        .and_then(|exponent| 10i64.checked_pow(exponent));
    if let Some(number) = power.and_then(|power| mantissa.checked_mul(power)) {
        return Ok(Value::Integer(number));
    }
    // The decimal text gives the nearest float; a product of floats would round twice.
    let number = format!("{mantissa}e{exponent}")
        .parse::<f64>()
        .ok()
        .filter(|number| number.is_finite());
    number.map(Value::Float).ok_or(too_large)
}

#[cfg(test)]
mod tests {
    use super::{CborError, decode, encode};
    use crate::{Value, content::strategy::value};
    use proptest::prelude::*;

    #[test]
    fn shortest_forms() {
        for (number, bytes) in [
            (0i64, &[0x00][..]),
            (23, &[0x17]),
            (24, &[0x18, 24]),
            (-1, &[0x20]),
            (-25, &[0x38, 24]),
            (256, &[0x19, 1, 0]),
        ] {
            assert_eq!(encode(&Value::Integer(number)), bytes);
        }
        assert_eq!(encode(&Value::Time(0)), [0xc1, 0x00]);
        assert_eq!(encode(&Value::Boolean(true)), [0xf5]);
    }

    #[test]
    fn numbers_are_exact() {
        assert_eq!(
            decode(&encode(&Value::Unsigned(u64::MAX))),
            Ok(Value::Unsigned(u64::MAX))
        );
        assert_eq!(decode(&encode(&Value::Integer(i64::MIN))), Ok(Value::Integer(i64::MIN)));
        assert_eq!(
            decode(&[0x3b, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            Err(CborError::TooLarge { offset: 0 })
        );
        // Half precision, and 273.15 as a decimal fraction.
        assert_eq!(decode(&[0xf9, 0x3c, 0x00]), Ok(Value::Float(1.0)));
        assert_eq!(decode(&[0xc4, 0x82, 0x21, 0x19, 0x6a, 0xb3]), Ok(Value::Float(273.15)));
        assert_eq!(decode(&[0xc4, 0x82, 0x02, 0x05]), Ok(Value::Integer(500)));
    }

    #[test]
    fn strings_in_parts() {
        assert_eq!(decode(&[0x5f, 0x41, 1, 0x41, 2, 0xff]), Ok(Value::Opaque(vec![1, 2])));
        assert_eq!(
            decode(&[0x7f, 0x61, b'a', 0x61, b'b', 0xff]),
            Ok(Value::String("ab".into()))
        );
    }

    #[test]
    fn mistakes_say_where() {
        assert_eq!(
            decode(&[]),
            Err(CborError::Malformed {
                offset: 0,
                reason: "end of input".into()
            })
        );
        assert_eq!(decode(&[0x00, 0x00]), Err(CborError::Trailing { offset: 1 }));
        assert_eq!(
            decode(&[0x80]),
            Err(CborError::NoValue {
                offset: 0,
                found: "array".into()
            })
        );
        assert!(matches!(decode(&[0xc1; 4000]), Err(CborError::NoValue { .. })));
    }

    proptest! {
        #[test]
        fn round_trip(value in value()) {
            let value_type = value.value_type();
            let back = decode(&encode(&value)).unwrap();
            prop_assume!(!matches!(value, Value::ObjectLink(..)));
            prop_assert_eq!(back.converted(value_type), Some(value));
        }

        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..32)) {
            if let Err(error) = decode(&bytes) {
                prop_assert!(error.offset() <= bytes.len());
            }
        }
    }
}
