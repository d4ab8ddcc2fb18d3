//! SenML in CBOR (RFC 8428, 6): Content-Format 112.

use crate::{
    LwPath, Value,
    cbor::{
        CborError, major, put_float, put_head, put_integer, put_text, put_value, read_number, read_text, read_value,
    },
    senml::{self, RawRecord, Record, SenmlError, set},
    text::object_link,
};
use minicbor::{Decoder, data::Type, decode::Error as ReadError};

/// The integer labels (RFC 8428, 6, Table 4).
mod label {
    pub(super) const BASE_VERSION: i64 = -1;
    pub(super) const BASE_NAME: i64 = -2;
    pub(super) const BASE_TIME: i64 = -3;
    pub(super) const BASE_VALUE: i64 = -5;
    pub(super) const NAME: i64 = 0;
    pub(super) const VALUE: i64 = 2;
    pub(super) const STRING_VALUE: i64 = 3;
    pub(super) const BOOLEAN_VALUE: i64 = 4;
    pub(super) const TIME: i64 = 6;
    pub(super) const DATA_VALUE: i64 = 8;
}

/// The text label of a link to an object (LwM2M Core 1.1, 7.4).
const OBJECT_LINK: &str = "vlo";

/// Writes records. The base becomes the base name where it can.
#[must_use]
pub fn encode(base: &LwPath, records: &[Record]) -> Vec<u8> {
    let (base_name, names) = senml::names(base, records);
    let mut out = Vec::new();
    put_head(&mut out, major::ARRAY, records.len() as u64);
    for (index, (record, name)) in records.iter().zip(names).enumerate() {
        let with_base = index == 0 && !base_name.is_empty();
        let fields = [
            with_base,
            !name.is_empty(),
            record.time.is_some(),
            record.value.is_some(),
        ];
        put_head(
            &mut out,
            major::MAP,
            fields.into_iter().filter(|field| *field).count() as u64,
        );
        if with_base {
            put_integer(&mut out, label::BASE_NAME);
            put_text(&mut out, &base_name);
        }
        if !name.is_empty() {
            put_integer(&mut out, label::NAME);
            put_text(&mut out, &name);
        }
        if let Some(time) = record.time {
            put_integer(&mut out, label::TIME);
            put_float(&mut out, time);
        }
        if let Some(value) = &record.value {
            put_label(&mut out, value);
            put_value(&mut out, value);
        }
    }
    out
}

fn put_label(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Integer(_) | Value::Unsigned(_) | Value::Float(_) | Value::Time(_) => put_integer(out, label::VALUE),
        Value::Boolean(_) => put_integer(out, label::BOOLEAN_VALUE),
        Value::String(_) | Value::CoreLink(_) => put_integer(out, label::STRING_VALUE),
        Value::Opaque(_) => put_integer(out, label::DATA_VALUE),
        Value::ObjectLink(..) => put_text(out, OBJECT_LINK),
    }
}

/// Reads a pack.
///
/// # Errors
/// The first rule that is broken, and where.
pub fn decode(bytes: &[u8]) -> Result<Vec<Record>, SenmlError> {
    let mut decoder = Decoder::new(bytes);
    let mut records = Vec::new();
    let length = decoder.array().map_err(|error| CborError::malformed(&error, 0))?;
    while more(&mut decoder, length, records.len())? {
        records.push(record(&mut decoder)?);
    }
    let offset = decoder.position();
    if offset < bytes.len() {
        return Err(CborError::Trailing { offset }.into());
    }
    senml::resolve(records)
}

/// Whether another item follows in an array or map; takes the break of one of unknown length.
fn more(decoder: &mut Decoder<'_>, length: Option<u64>, done: usize) -> Result<bool, SenmlError> {
    if let Some(length) = length {
        return Ok((done as u64) < length);
    }
    let offset = decoder.position();
    let malformed = |error: ReadError| CborError::malformed(&error, offset);
    if decoder.datatype().map_err(malformed)? != Type::Break {
        return Ok(true);
    }
    decoder.set_position(offset + 1);
    Ok(false)
}

fn record(decoder: &mut Decoder<'_>) -> Result<RawRecord, SenmlError> {
    let offset = decoder.position();
    let length = decoder.map().map_err(|error| CborError::malformed(&error, offset))?;
    let mut record = RawRecord {
        offset,
        ..RawRecord::default()
    };
    let mut done = 0;
    while more(decoder, length, done)? {
        done += 1;
        let at = decoder.position();
        let malformed = |error: ReadError| CborError::malformed(&error, at);
        match decoder.datatype().map_err(malformed)? {
            Type::String | Type::StringIndef => named_field(decoder, &mut record)?,
            _ => field(decoder, &mut record)?,
        }
    }
    Ok(record)
}

fn field(decoder: &mut Decoder<'_>, record: &mut RawRecord) -> Result<(), SenmlError> {
    let offset = record.offset;
    let at = decoder.position();
    let malformed = |error: ReadError| CborError::malformed(&error, at);
    let key = decoder.i64().map_err(malformed)?;
    match key {
        label::BASE_VERSION => set(&mut record.version, decoder.u64().map_err(malformed)?, "bver", offset),
        label::BASE_NAME => set(&mut record.base_name, read_text(decoder)?, "bn", offset),
        label::BASE_TIME => set(&mut record.base_time, time(decoder)?, "bt", offset),
        label::BASE_VALUE => set(&mut record.base_value, read_number(decoder)?, "bv", offset),
        label::NAME => set(&mut record.name, read_text(decoder)?, "n", offset),
        label::TIME => set(&mut record.time, time(decoder)?, "t", offset),
        label::VALUE => {
            let value = read_number(decoder)?;
            record.set_value(value)
        }
        label::STRING_VALUE => {
            let text = read_text(decoder)?;
            record.set_value(Value::String(text))
        }
        label::BOOLEAN_VALUE => {
            let truth = decoder.bool().map_err(malformed)?;
            record.set_value(Value::Boolean(truth))
        }
        label::DATA_VALUE => match read_value(decoder)? {
            data @ Value::Opaque(_) => record.set_value(data),
            other => Err(CborError::NoValue {
                offset: at,
                found: format!("{} in place of bytes", other.value_type()),
            }
            .into()),
        },
        // Units, sums and what is not known say nothing about a resource (RFC 8428, 4.4).
        _ => Ok(decoder.skip().map_err(malformed)?),
    }
}

fn named_field(decoder: &mut Decoder<'_>, record: &mut RawRecord) -> Result<(), SenmlError> {
    let offset = record.offset;
    let key = read_text(decoder)?;
    if key == OBJECT_LINK {
        let (object, instance) = object_link(&read_text(decoder)?).ok_or(SenmlError::BadObjectLink { offset })?;
        return record.set_value(Value::ObjectLink(object, instance));
    }
    if key.ends_with('_') {
        return Err(SenmlError::MustUnderstand { offset, field: key });
    }
    let at = decoder.position();
    decoder.skip().map_err(|error| CborError::malformed(&error, at))?;
    Ok(())
}

fn time(decoder: &mut Decoder<'_>) -> Result<f64, SenmlError> {
    let at = decoder.position();
    read_number(decoder)?.as_f64().ok_or_else(|| {
        CborError::NoValue {
            offset: at,
            found: "time".to_owned(),
        }
        .into()
    })
}

impl From<ReadError> for SenmlError {
    fn from(error: ReadError) -> Self {
        CborError::malformed(&error, 0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};
    use crate::{
        LwPath, Value,
        cbor::CborError,
        hex,
        senml::{Record, SenmlError},
    };
    use proptest::prelude::*;

    #[test]
    fn a_notification_of_state_and_result() {
        let records = [
            Record::new(LwPath::from([5, 0, 3]), Some(Value::Integer(2))),
            Record::new(LwPath::from([5, 0, 5]), Some(Value::Integer(0))),
        ];
        let bytes = encode(&LwPath::from([5, 0]), &records);
        // 82 a3 bn "/5/0/" n "3" v 2, a2 n "5" v 0.
        assert_eq!(
            hex::encode(&bytes),
            "82a321652f352f302f006133020 2a2006135 0200".replace(' ', "")
        );
        let back: Vec<_> = decode(&bytes)
            .unwrap()
            .into_iter()
            .map(|record| (record.path, record.value))
            .collect();
        assert_eq!(back, records.map(|record| (record.path, record.value)));
    }

    #[test]
    fn unknown_length_and_unknown_fields() {
        // [_ {_ n: "/1", u: "m", v: 7 } ]
        let bytes = [
            0x9f, 0xbf, 0x00, 0x62, b'/', b'1', 0x01, 0x61, b'm', 0x02, 0x07, 0xff, 0xff,
        ];
        assert_eq!(decode(&bytes).unwrap()[0].value, Some(Value::Integer(7)));
    }

    #[test]
    fn mistakes_say_where() {
        assert!(matches!(
            decode(&[]),
            Err(SenmlError::Cbor(CborError::Malformed { offset: 0, .. }))
        ));
        assert_eq!(decode(&[0x80, 0x00]), Err(CborError::Trailing { offset: 1 }.into()));
        assert_eq!(
            decode(&[0x81, 0xa2, 0x02, 0x01, 0x03, 0x60]),
            Err(SenmlError::TwoValues { offset: 1 })
        );
        assert_eq!(
            decode(&[0x81, 0xa2, 0x00, 0x60, 0x00, 0x60]),
            Err(SenmlError::Duplicate {
                offset: 1,
                field: "n".into()
            })
        );
        assert_eq!(
            decode(&[0x81, 0xa1, 0x61, b'_', 0x00]),
            Err(SenmlError::MustUnderstand {
                offset: 1,
                field: "_".into()
            })
        );
        assert_eq!(
            decode(&[0x81, 0xa1, 0x00, 0x61, b'x']),
            Err(SenmlError::BadName {
                offset: 1,
                name: "x".into()
            })
        );
        // An array that says it has 2^32 records takes no memory for them.
        assert!(decode(&[0x9a, 0xff, 0xff, 0xff, 0xff]).is_err());
    }

    #[test]
    fn times_survive() {
        let record = Record {
            time: Some(1_700_000_000.25),
            ..Record::new(LwPath::from([5, 0, 3]), Some(Value::Integer(1)))
        };
        let back = decode(&encode(&record.path, std::slice::from_ref(&record))).unwrap();
        assert_eq!(back, [Record { offset: 1, ..record }]);
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..48)) {
            if let Err(error) = decode(&bytes) {
                prop_assert!(error.offset() <= bytes.len());
            }
        }
    }
}
