//! The JSON of LwM2M 1.0 (LwM2M 1.0): Content-Format 11543. A client of 1.1 and later does not send it; a server
//! still reads it.

use crate::{
    LwPath, Value, ValueType,
    senml::{self, RawRecord, Record, SenmlError},
    senml_json::{Fields, float, json_error, number, offset_in, quoted, read, utf8},
    text::object_link,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::value::RawValue;

/// Writes values; opaque ones become Base64 in `sv`.
///
/// # Errors
/// When a number is not finite.
pub fn encode(base: &LwPath, values: &[(LwPath, Value)]) -> Result<Vec<u8>, SenmlError> {
    let records: Vec<_> = values.iter().map(|(path, _)| Record::new(*path, None)).collect();
    let (base_name, names) = senml::names(base, &records);
    let mut entries = Vec::with_capacity(values.len());
    for ((_, value), name) in values.iter().zip(names) {
        let value = match value {
            Value::Integer(number) | Value::Time(number) => format!("\"v\":{number}"),
            Value::Unsigned(number) => format!("\"v\":{number}"),
            Value::Float(number) => format!("\"v\":{}", float(*number)?),
            Value::Boolean(truth) => format!("\"bv\":{truth}"),
            Value::String(text) | Value::CoreLink(text) => format!("\"sv\":{}", quoted(text)),
            Value::Opaque(bytes) => format!("\"sv\":\"{}\"", STANDARD.encode(bytes)),
            Value::ObjectLink(object, instance) => format!("\"ov\":\"{object}:{instance}\""),
        };
        entries.push(if name.is_empty() {
            format!("{{{value}}}")
        } else {
            format!("{{\"n\":{},{value}}}", quoted(&name))
        });
    }
    // Where there is no common base, an empty one keeps the names absolute.
    Ok(format!("{{\"bn\":{},\"e\":[{}]}}", quoted(&base_name), entries.join(",")).into_bytes())
}

/// Reads a payload. Names are below `bn`, or below the path of the request when it is not there.
///
/// # Errors
/// The first rule that is broken, and where.
pub fn decode(base: &LwPath, bytes: &[u8]) -> Result<Vec<Record>, SenmlError> {
    let text = utf8(bytes)?;
    let Fields(fields) = serde_json::from_str(text).map_err(|error| json_error(&error, text, 0))?;
    let mut base_name = None;
    let mut base_time = None;
    let mut entries = Vec::new();
    for (key, value) in fields {
        match key.as_str() {
            "bn" => base_name = Some(read::<String>(value, text, 0)?),
            "bt" => base_time = Some(read::<f64>(value, text, 0)?),
            "e" => {
                let start = offset_in(text, value);
                for part in
                    serde_json::from_str::<Vec<&RawValue>>(value).map_err(|error| json_error(&error, value, start))?
                {
                    entries.push(entry(part.get(), offset_in(text, part.get()))?);
                }
            }
            _ => {}
        }
    }
    let implied = base_name.is_none();
    let base_name = base_name.unwrap_or_else(|| base.to_string());
    for entry in &mut entries {
        let name = entry.name.take().unwrap_or_default();
        let separator = if implied && !name.is_empty() && !base_name.ends_with('/') {
            "/"
        } else {
            ""
        };
        entry.name = Some(format!("{base_name}{separator}{name}"));
        entry.base_time = base_time;
    }
    senml::resolve(entries)
}

/// The bytes of an opaque value, which is a string here.
///
/// # Errors
/// When it is not Base64.
pub fn opaque(record: Record, value_type: Option<ValueType>) -> Result<Record, SenmlError> {
    let Some(Value::String(text)) = record.value.as_ref().filter(|_| value_type == Some(ValueType::Opaque)) else {
        return Ok(record);
    };
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| SenmlError::BadBase64 { offset: record.offset })?;
    Ok(Record {
        value: Some(Value::Opaque(bytes)),
        ..record
    })
}

fn entry(text: &str, offset: usize) -> Result<RawRecord, SenmlError> {
    let Fields(fields) = serde_json::from_str(text).map_err(|error| json_error(&error, text, offset))?;
    let mut record = RawRecord {
        offset,
        ..RawRecord::default()
    };
    for (key, value) in fields {
        match key.as_str() {
            "n" => record.name = Some(read(value, text, offset)?),
            "t" => record.time = Some(read(value, text, offset)?),
            "v" => record.set_value(number(value, text, offset)?)?,
            "sv" => record.set_value(Value::String(read(value, text, offset)?))?,
            "bv" => record.set_value(Value::Boolean(read(value, text, offset)?))?,
            "ov" => {
                let link: String = read(value, text, offset)?;
                let (object, instance) = object_link(&link).ok_or(SenmlError::BadObjectLink { offset })?;
                record.set_value(Value::ObjectLink(object, instance))?;
            }
            _ => {}
        }
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};
    use crate::{LwPath, Value, senml::SenmlError};

    #[test]
    fn an_instance() {
        let base = LwPath::from([3, 0]);
        let values = [
            (LwPath::from([3, 0, 0]), Value::String("a".into())),
            (LwPath::from([3, 0, 6, 1]), Value::Integer(5)),
        ];
        let bytes = encode(&base, &values).unwrap();
        assert_eq!(
            std::str::from_utf8(&bytes).unwrap(),
            r#"{"bn":"/3/0/","e":[{"n":"0","sv":"a"},{"n":"6/1","v":5}]}"#
        );
        let back: Vec<_> = decode(&base, &bytes)
            .unwrap()
            .into_iter()
            .map(|record| (record.path, record.value.unwrap()))
            .collect();
        assert_eq!(back, values);
    }

    #[test]
    fn names_without_a_base_name_are_below_the_request() {
        let records = decode(&LwPath::from([3, 0]), br#"{"e":[{"n":"9","v":1}]}"#).unwrap();
        assert_eq!(records[0].path, LwPath::from([3, 0, 9]));
        assert_eq!(records[0].offset, 6);
        let single = decode(&LwPath::from([3, 0, 9]), br#"{"e":[{"v":1}]}"#).unwrap();
        assert_eq!(single[0].path, LwPath::from([3, 0, 9]));
    }

    #[test]
    fn mistakes_say_where() {
        let error = |text: &str| decode(&LwPath::from([3, 0]), text.as_bytes()).unwrap_err();
        assert_eq!(
            error(r#"{"e":[{"n":"x","v":1}]}"#),
            SenmlError::BadName {
                offset: 6,
                name: "/3/0/x".into()
            }
        );
        assert_eq!(
            error(r#"{"e":[{"n":"9","v":1,"sv":""}]}"#),
            SenmlError::TwoValues { offset: 6 }
        );
        assert!(matches!(error("[]"), SenmlError::Json { .. }));
    }
}
