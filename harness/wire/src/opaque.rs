//! One value as its bytes (LwM2M Core 1.1, 7.4): Content-Format 42. Only an Opaque resource has this form.

use crate::Value;

/// The bytes of an Opaque value; `None` for any other.
#[must_use]
pub fn encode(value: &Value) -> Option<Vec<u8>> {
    value.as_bytes().map(<[u8]>::to_vec)
}

/// Bytes as an Opaque value; there are none that are not.
#[must_use]
pub fn decode(bytes: &[u8]) -> Value {
    Value::Opaque(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};
    use crate::Value;

    #[test]
    fn only_opaque() {
        assert_eq!(encode(&decode(&[1, 2])), Some(vec![1, 2]));
        assert_eq!(encode(&Value::String("a".into())), None);
    }
}
