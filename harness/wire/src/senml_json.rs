//! SenML in JSON (RFC 8428, 5): Content-Format 110.

use crate::{
    LwPath, Value,
    senml::{self, RawRecord, Record, SenmlError},
    text::object_link,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize,
    de::{DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor},
};
use serde_json::{Number, value::RawValue};
use std::fmt;

/// Writes records. The base becomes the base name where it can.
///
/// # Errors
/// When a number is not finite.
pub fn encode(base: &LwPath, records: &[Record]) -> Result<Vec<u8>, SenmlError> {
    let (base_name, names) = senml::names(base, records);
    let mut out = String::from("[");
    for (index, (record, name)) in records.iter().zip(names).enumerate() {
        out.push_str(if index == 0 { "{" } else { ",{" });
        let mut fields = Vec::new();
        if index == 0 && !base_name.is_empty() {
            fields.push(format!("\"bn\":{}", quoted(&base_name)));
        }
        if !name.is_empty() {
            fields.push(format!("\"n\":{}", quoted(&name)));
        }
        if let Some(time) = record.time {
            fields.push(format!("\"t\":{}", float(time)?));
        }
        if let Some(value) = &record.value {
            fields.push(field(value)?);
        }
        out.push_str(&fields.join(","));
        out.push('}');
    }
    out.push(']');
    Ok(out.into_bytes())
}

fn field(value: &Value) -> Result<String, SenmlError> {
    Ok(match value {
        Value::Integer(number) | Value::Time(number) => format!("\"v\":{number}"),
        Value::Unsigned(number) => format!("\"v\":{number}"),
        Value::Float(number) => format!("\"v\":{}", float(*number)?),
        Value::Boolean(truth) => format!("\"vb\":{truth}"),
        Value::String(text) | Value::CoreLink(text) => format!("\"vs\":{}", quoted(text)),
        Value::Opaque(bytes) => format!("\"vd\":\"{}\"", URL_SAFE_NO_PAD.encode(bytes)),
        Value::ObjectLink(object, instance) => format!("\"vlo\":\"{object}:{instance}\""),
    })
}

/// A JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A JSON number.
pub(crate) fn float(number: f64) -> Result<String, SenmlError> {
    Number::from_f64(number)
        .map(|number| number.to_string())
        .ok_or(SenmlError::NotFinite)
}

/// Reads a pack.
///
/// # Errors
/// The first rule that is broken, and where.
pub fn decode(bytes: &[u8]) -> Result<Vec<Record>, SenmlError> {
    let text = utf8(bytes)?;
    let mut records = Vec::new();
    for part in serde_json::from_str::<Vec<&RawValue>>(text).map_err(|error| json_error(&error, text, 0))? {
        records.push(record(part.get(), offset_in(text, part.get()))?);
    }
    senml::resolve(records)
}

/// The payload as text.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, SenmlError> {
    std::str::from_utf8(bytes).map_err(|error| SenmlError::NotUtf8 {
        offset: error.valid_up_to(),
    })
}

/// Where `part`, a slice of `text`, starts in it.
pub(crate) fn offset_in(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize)
        .saturating_sub(text.as_ptr() as usize)
        .min(text.len())
}

/// The reader counts lines and columns of `text`, which starts at `start` of the payload.
pub(crate) fn json_error(error: &serde_json::Error, text: &str, start: usize) -> SenmlError {
    let line_start: usize = text
        .split_inclusive('\n')
        .take(error.line().saturating_sub(1))
        .map(str::len)
        .sum();
    let offset = start + (line_start + error.column().saturating_sub(1)).min(text.len());
    let reason = error.to_string();
    let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
    SenmlError::Json { offset, reason }
}

/// The fields of one object in order, each as its text.
pub(crate) struct Fields<'a>(pub(crate) Vec<(String, &'a str)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Vec<(String, &'de str)>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields: Self::Value = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
                    if fields.iter().any(|(known, _)| *known == key) {
                        return Err(A::Error::custom(format_args!("field `{key}` stands twice")));
                    }
                    fields.push((key, value.get()));
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(FieldsVisitor).map(Fields)
    }
}

/// One field's value; `text` is a slice of the payload's `whole`, which starts at `start` of the payload.
pub(crate) fn read<T: DeserializeOwned>(text: &str, whole: &str, start: usize) -> Result<T, SenmlError> {
    serde_json::from_str(text).map_err(|error| json_error(&error, text, start + offset_in(whole, text)))
}

/// A JSON number, exact where it is an integer of 64 bits.
pub(crate) fn number(text: &str, whole: &str, start: usize) -> Result<Value, SenmlError> {
    let number: Number = read(text, whole, start)?;
    let signed = number.as_i64().map(Value::Integer);
    let exact = signed.or_else(|| number.as_u64().map(Value::Unsigned));
    Ok(exact.unwrap_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN))))
}

fn record(text: &str, offset: usize) -> Result<RawRecord, SenmlError> {
    let Fields(fields) = serde_json::from_str(text).map_err(|error| json_error(&error, text, offset))?;
    let mut record = RawRecord {
        offset,
        ..RawRecord::default()
    };
    for (key, value) in fields {
        match key.as_str() {
            "bn" => record.base_name = Some(read(value, text, offset)?),
            "bt" => record.base_time = Some(read(value, text, offset)?),
            "bv" => record.base_value = Some(number(value, text, offset)?),
            "bver" => record.version = Some(read(value, text, offset)?),
            "n" => record.name = Some(read(value, text, offset)?),
            "t" => record.time = Some(read(value, text, offset)?),
            "v" => record.set_value(number(value, text, offset)?)?,
            "vs" => record.set_value(Value::String(read(value, text, offset)?))?,
            "vb" => record.set_value(Value::Boolean(read(value, text, offset)?))?,
            "vd" => {
                let data: String = read(value, text, offset)?;
                let bytes = URL_SAFE_NO_PAD
                    .decode(&data)
                    .map_err(|_| SenmlError::BadBase64 { offset })?;
                record.set_value(Value::Opaque(bytes))?;
            }
            "vlo" => {
                let link: String = read(value, text, offset)?;
                let (object, instance) = object_link(&link).ok_or(SenmlError::BadObjectLink { offset })?;
                record.set_value(Value::ObjectLink(object, instance))?;
            }
            _ if key.ends_with('_') => return Err(SenmlError::MustUnderstand { offset, field: key }),
            // Units, sums and what is not known say nothing about a resource (RFC 8428, 4.4).
            _ => {}
        }
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};
    use crate::{
        LwPath, Value,
        senml::{Record, SenmlError},
    };
    use proptest::prelude::*;

    fn values(text: &str) -> Vec<(String, Option<Value>)> {
        decode(text.as_bytes())
            .unwrap()
            .into_iter()
            .map(|record| (record.path.to_string(), record.value))
            .collect()
    }

    #[test]
    fn a_notification_of_state_and_result() {
        let base = LwPath::from([5, 0]);
        let records = [
            Record::new(LwPath::from([5, 0, 3]), Some(Value::Integer(2))),
            Record::new(LwPath::from([5, 0, 5]), Some(Value::Integer(0))),
        ];
        let bytes = encode(&base, &records).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            r#"[{"bn":"/5/0/","n":"3","v":2},{"n":"5","v":0}]"#
        );
    }

    #[test]
    fn base_fields_hold_until_the_next() {
        let pack = r#"[{"bn":"/3/0/","bt":100,"n":"0","vs":"a"},{"n":"9","v":1,"t":5},{"bn":"/4/0/","n":"1","v":2}]"#;
        let records = decode(pack.as_bytes()).unwrap();
        let seen: Vec<_> = records
            .iter()
            .map(|record| (record.path.to_string(), record.time))
            .collect();
        assert_eq!(
            seen,
            [
                ("/3/0/0".into(), Some(100.0)),
                ("/3/0/9".into(), Some(105.0)),
                ("/4/0/1".into(), Some(100.0))
            ]
        );
        assert_eq!(Some(records[1].offset), pack.find(r#"{"n":"9""#));
        assert_eq!(
            values(r#"[{"bn":"/1/0/1","bv":9007199254740993,"v":1}]"#)[0].1,
            Some(Value::Integer(9_007_199_254_740_994))
        );
    }

    #[test]
    fn numbers_are_exact_to_64_bits() {
        let number = |text: &str| {
            values(&format!(r#"[{{"n":"/1/0/1","v":{text}}}]"#))[0]
                .1
                .clone()
                .unwrap()
        };
        assert_eq!(number("18446744073709551615"), Value::Unsigned(u64::MAX));
        assert_eq!(number("-9223372036854775808"), Value::Integer(i64::MIN));
        assert_eq!(number("9007199254740993"), Value::Integer(9_007_199_254_740_993));
        assert_eq!(number("0.1"), Value::Float(0.1));
    }

    #[test]
    fn mistakes_say_where() {
        let error = |text: &str| decode(text.as_bytes()).unwrap_err();
        assert_eq!(
            error(r#"[{"n":"/1/0/1","v":1,"vs":"a"}]"#),
            SenmlError::TwoValues { offset: 1 }
        );
        assert_eq!(
            error(r#"[{"n":"/1","v":1}, {"n":"x"}]"#),
            SenmlError::BadName {
                offset: 19,
                name: "x".into()
            }
        );
        assert_eq!(
            error(r#"[{"n":"/1","vd":"AQI="}]"#),
            SenmlError::BadBase64 { offset: 1 }
        );
        assert_eq!(
            error(r#"[{"n":"/1","vlo":"1"}]"#),
            SenmlError::BadObjectLink { offset: 1 }
        );
        assert_eq!(
            error(r#"[{"bver":11,"n":"/1","v":1}]"#),
            SenmlError::Version { offset: 1, version: 11 }
        );
        assert_eq!(
            error(r#"[{"n":"/1","x_":1}]"#),
            SenmlError::MustUnderstand {
                offset: 1,
                field: "x_".into()
            }
        );
        assert!(matches!(
            error("[{\"n\":\"/1\",\n\"n\":\"/2\"}]"),
            SenmlError::Json { .. }
        ));
        assert!(matches!(
            error(r#"[{"n":"/1","v":"1"}]"#),
            SenmlError::Json { offset: 15.., .. }
        ));
        assert!(matches!(error("{}"), SenmlError::Json { offset: 0, .. }));
        assert_eq!(decode(b"[]"), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn any_text(text in "[\\[\\]{}\":,bnvst0-9/ \n]{0,40}") {
            if let Err(error) = decode(text.as_bytes()) {
                prop_assert!(error.offset() <= text.len());
            }
        }
    }
}
