//! Resource values and their types (LwM2M Core 1.1, Appendix C).

use crate::hex;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The data type of a resource (LwM2M Core 1.1, Appendix C).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueType {
    /// Signed, 8 to 64 bits.
    Integer,
    /// Unsigned, 8 to 64 bits (since 1.1).
    Unsigned,
    /// 32 or 64 bits, IEEE 754.
    Float,
    /// `true` or `false`.
    Boolean,
    /// UTF-8 text.
    String,
    /// Bytes.
    Opaque,
    /// Seconds since 1970-01-01 UTC.
    Time,
    /// Object ID and Object Instance ID.
    ObjectLink,
    /// Links of RFC 6690 (since 1.1).
    CoreLink,
}

impl ValueType {
    /// The type as object definition files name it (`Objlnk`, `Unsigned Integer`).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Integer => "Integer",
            Self::Unsigned => "Unsigned Integer",
            Self::Float => "Float",
            Self::Boolean => "Boolean",
            Self::String => "String",
            Self::Opaque => "Opaque",
            Self::Time => "Time",
            Self::ObjectLink => "Objlnk",
            Self::CoreLink => "Corelnk",
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A type name that no object definition uses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no LwM2M data type")]
pub struct UnknownValueType(pub String);

impl FromStr for ValueType {
    type Err = UnknownValueType;

    /// Reads the names of object definition files, in any case.
    fn from_str(text: &str) -> Result<Self, UnknownValueType> {
        Ok(match text.trim().to_ascii_lowercase().as_str() {
            "integer" => Self::Integer,
            "unsigned integer" | "unsigned" => Self::Unsigned,
            "float" => Self::Float,
            "boolean" => Self::Boolean,
            "string" => Self::String,
            "opaque" => Self::Opaque,
            "time" => Self::Time,
            "objlnk" => Self::ObjectLink,
            "corelnk" => Self::CoreLink,
            _ => return Err(UnknownValueType(text.to_owned())),
        })
    }
}

/// The value of one resource or resource instance. Integers are exact to 64 bits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// A signed integer.
    Integer(i64),
    /// An unsigned integer.
    Unsigned(u64),
    /// A floating-point number.
    Float(f64),
    /// A truth value.
    Boolean(bool),
    /// Text.
    String(String),
    /// Bytes; hexadecimal in JSON.
    Opaque(#[serde(with = "hex::serde_bytes")] Vec<u8>),
    /// Seconds since 1970-01-01 UTC.
    Time(i64),
    /// Object ID and Object Instance ID; `65535:65535` is the null link.
    ObjectLink(u16, u16),
    /// Links of RFC 6690.
    CoreLink(String),
}

impl Value {
    /// The data type of the value.
    #[must_use]
    pub const fn value_type(&self) -> ValueType {
        match self {
            Self::Integer(_) => ValueType::Integer,
            Self::Unsigned(_) => ValueType::Unsigned,
            Self::Float(_) => ValueType::Float,
            Self::Boolean(_) => ValueType::Boolean,
            Self::String(_) => ValueType::String,
            Self::Opaque(_) => ValueType::Opaque,
            Self::Time(_) => ValueType::Time,
            Self::ObjectLink(..) => ValueType::ObjectLink,
            Self::CoreLink(_) => ValueType::CoreLink,
        }
    }

    /// The number, when it is one without a fraction that fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Self::Integer(number) | Self::Time(number) => Some(number),
            Self::Unsigned(number) => i64::try_from(number).ok(),
            _ => None,
        }
    }

    /// The number, when it is one without a fraction and not below zero.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Self::Unsigned(number) => Some(number),
            Self::Integer(number) | Self::Time(number) => u64::try_from(number).ok(),
            _ => None,
        }
    }

    /// The number, rounded to the nearest 64-bit float when it is an integer.
    #[must_use]
    pub const fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Float(number) => Some(number),
            Self::Integer(number) | Self::Time(number) => Some(number as f64),
            Self::Unsigned(number) => Some(number as f64),
            _ => None,
        }
    }

    /// The truth value.
    #[must_use]
    pub const fn as_bool(&self) -> Option<bool> {
        match *self {
            Self::Boolean(truth) => Some(truth),
            _ => None,
        }
    }

    /// The text of a string or Corelnk.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::CoreLink(text) => Some(text),
            _ => None,
        }
    }

    /// The bytes of an opaque value.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Opaque(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The same value as another type where nothing is lost: integers among each other and to float when exact, text to
    /// Corelnk.
    #[must_use]
    pub fn converted(self, to: ValueType) -> Option<Self> {
        if self.value_type() == to {
            return Some(self);
        }
        Some(match (to, self) {
            (ValueType::Integer, Self::Float(number)) => Self::Integer(exact_i64(number)?),
            (ValueType::Time, Self::Float(number)) => Self::Time(exact_i64(number)?),
            (ValueType::Unsigned, Self::Float(number)) => Self::Unsigned(exact_u64(number)?),
            (ValueType::Integer, value) => Self::Integer(value.as_i64()?),
            (ValueType::Time, value) => Self::Time(value.as_i64()?),
            (ValueType::Unsigned, value) => Self::Unsigned(value.as_u64()?),
            (ValueType::Float, value) => Self::Float(exact_f64(&value)?),
            (ValueType::String, Self::CoreLink(text)) => Self::String(text),
            (ValueType::CoreLink, Self::String(text)) => Self::CoreLink(text),
            _ => return None,
        })
    }
}

/// The first float too large for an `i64`: 2^63.
const TWO_63: f64 = 9_223_372_036_854_775_808.0;

fn exact_i64(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && (-TWO_63..TWO_63).contains(&number)).then_some(number as i64)
}

fn exact_u64(number: f64) -> Option<u64> {
    (number.fract() == 0.0 && (0.0..TWO_63 * 2.0).contains(&number)).then_some(number as u64)
}

fn exact_f64(value: &Value) -> Option<f64> {
    match *value {
        Value::Integer(number) | Value::Time(number) => {
            Some(number as f64).filter(|float| exact_i64(*float) == Some(number))
        }
        Value::Unsigned(number) => Some(number as f64).filter(|float| exact_u64(*float) == Some(number)),
        _ => None,
    }
}

impl fmt::Display for Value {
    /// For people: text is quoted, long bytes are cut.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) | Self::Time(number) => write!(formatter, "{number}"),
            Self::Unsigned(number) => write!(formatter, "{number}"),
            Self::Float(number) => write!(formatter, "{number:?}"),
            Self::Boolean(truth) => write!(formatter, "{truth}"),
            Self::String(text) | Self::CoreLink(text) => write!(formatter, "{text:?}"),
            Self::Opaque(bytes) if bytes.len() > 16 => {
                write!(formatter, "0x{}... ({} B)", hex::encode(&bytes[..16]), bytes.len())
            }
            Self::Opaque(bytes) => write!(formatter, "0x{}", hex::encode(bytes)),
            Self::ObjectLink(object, instance) => write!(formatter, "{object}:{instance}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Value, ValueType};

    #[test]
    fn conversions_lose_nothing() {
        assert_eq!(
            Value::Integer(5).converted(ValueType::Unsigned),
            Some(Value::Unsigned(5))
        );
        assert_eq!(Value::Integer(-1).converted(ValueType::Unsigned), None);
        assert_eq!(Value::Unsigned(u64::MAX).converted(ValueType::Integer), None);
        assert_eq!(
            Value::Integer(1 << 53).converted(ValueType::Float),
            Some(Value::Float(9_007_199_254_740_992.0))
        );
        assert_eq!(Value::Integer((1 << 53) + 1).converted(ValueType::Float), None);
        assert_eq!(Value::Float(2.0).converted(ValueType::Integer), Some(Value::Integer(2)));
        assert_eq!(Value::Float(2.5).converted(ValueType::Integer), None);
        assert_eq!(Value::Float(9.3e18).converted(ValueType::Integer), None);
        assert_eq!(Value::Float(f64::NAN).converted(ValueType::Unsigned), None);
        assert_eq!(Value::String("1".into()).converted(ValueType::Integer), None);
    }

    #[test]
    fn json_shows_bytes_as_hexadecimal() {
        let value = Value::Opaque(vec![0xde, 0xad]);
        let json = serde_json::to_string(&value).unwrap();
        assert_eq!(json, r#"{"opaque":"dead"}"#);
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value);
    }

    #[test]
    fn names_of_object_definitions() {
        for value_type in [
            ValueType::Integer,
            ValueType::Unsigned,
            ValueType::ObjectLink,
            ValueType::CoreLink,
        ] {
            assert_eq!(value_type.name().parse(), Ok(value_type));
        }
        assert!("".parse::<ValueType>().is_err());
    }
}
