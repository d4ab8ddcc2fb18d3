//! SenML packs (RFC 8428) as LwM2M uses them (LwM2M Core 1.1, 7.4): what JSON and CBOR have in common.

use crate::{LwPath, Value, cbor::CborError};

/// One record with its base fields worked in (RFC 8428, 4.6).
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Base name and name, as a path.
    pub path: LwPath,
    /// The value; `None` in the payload of a Read-Composite.
    pub value: Option<Value>,
    /// Base time and time, seconds; `None` when neither is there.
    pub time: Option<f64>,
    /// Where the record starts in the payload.
    pub offset: usize,
}

impl Record {
    /// A record without time.
    #[must_use]
    pub const fn new(path: LwPath, value: Option<Value>) -> Self {
        Self {
            path,
            value,
            time: None,
            offset: 0,
        }
    }
}

/// Why bytes are no SenML pack of LwM2M, or records have none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SenmlError {
    /// The payload is not UTF-8.
    #[error("not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// The first byte that is not.
        offset: usize,
    },
    /// The payload is no JSON, or JSON of another shape.
    #[error("not a pack in JSON at byte {offset}: {reason}")]
    Json {
        /// Where.
        offset: usize,
        /// What the reader says.
        reason: String,
    },
    /// The payload is no CBOR, or CBOR of another shape.
    #[error("not a pack in CBOR: {0}")]
    Cbor(#[from] CborError),
    /// A field stands twice in a record.
    #[error("field `{field}` stands twice in the record at byte {offset}")]
    Duplicate {
        /// Where the record starts.
        offset: usize,
        /// The field.
        field: String,
    },
    /// A record has more than one value.
    #[error("the record at byte {offset} has more than one value")]
    TwoValues {
        /// Where the record starts.
        offset: usize,
    },
    /// A record has no value where one is needed.
    #[error("the record at byte {offset} has no value")]
    NoValue {
        /// Where the record starts.
        offset: usize,
    },
    /// Base name and name make no path.
    #[error("`{name}` in the record at byte {offset} is no LwM2M path")]
    BadName {
        /// Where the record starts.
        offset: usize,
        /// Base name and name.
        name: String,
    },
    /// `vd` is not Base64 (with the URL alphabet and without padding in SenML).
    #[error("the data value of the record at byte {offset} is not Base64")]
    BadBase64 {
        /// Where the record starts.
        offset: usize,
    },
    /// `vlo` is not object and instance.
    #[error("the object link of the record at byte {offset} is not two numbers with a colon")]
    BadObjectLink {
        /// Where the record starts.
        offset: usize,
    },
    /// `bver` is above 10 (RFC 8428, 4.4).
    #[error("the record at byte {offset} has version {version}, above 10")]
    Version {
        /// Where the record starts.
        offset: usize,
        /// The version.
        version: u64,
    },
    /// A field that has to be understood is not (RFC 8428, 4.4: labels that end in `_`).
    #[error("the record at byte {offset} has the field `{field}`, which has to be understood")]
    MustUnderstand {
        /// Where the record starts.
        offset: usize,
        /// The field.
        field: String,
    },
    /// Base value and value do not fit 64 bits.
    #[error("base value and value of the record at byte {offset} do not fit 64 bits")]
    Overflow {
        /// Where the record starts.
        offset: usize,
    },
    /// NaN and the infinities cannot be written in JSON.
    #[error("a float in JSON is finite")]
    NotFinite,
}

impl SenmlError {
    /// The byte of the payload where the rule is broken.
    #[must_use]
    pub const fn offset(&self) -> usize {
        match self {
            Self::NotUtf8 { offset }
            | Self::Json { offset, .. }
            | Self::Duplicate { offset, .. }
            | Self::TwoValues { offset }
            | Self::NoValue { offset }
            | Self::BadName { offset, .. }
            | Self::BadBase64 { offset }
            | Self::BadObjectLink { offset }
            | Self::Version { offset, .. }
            | Self::MustUnderstand { offset, .. }
            | Self::Overflow { offset } => *offset,
            Self::Cbor(error) => error.offset(),
            Self::NotFinite => 0,
        }
    }
}

/// One record as it stands in the pack.
#[derive(Debug, Default)]
pub(crate) struct RawRecord {
    pub(crate) offset: usize,
    pub(crate) base_name: Option<String>,
    pub(crate) base_time: Option<f64>,
    pub(crate) base_value: Option<Value>,
    pub(crate) version: Option<u64>,
    pub(crate) name: Option<String>,
    pub(crate) time: Option<f64>,
    pub(crate) value: Option<Value>,
}

impl RawRecord {
    pub(crate) fn set_value(&mut self, value: Value) -> Result<(), SenmlError> {
        if self.value.replace(value).is_some() {
            return Err(SenmlError::TwoValues { offset: self.offset });
        }
        Ok(())
    }
}

/// Sets a field that may stand once.
pub(crate) fn set<T>(slot: &mut Option<T>, value: T, field: &str, offset: usize) -> Result<(), SenmlError> {
    if slot.replace(value).is_some() {
        return Err(SenmlError::Duplicate {
            offset,
            field: field.to_owned(),
        });
    }
    Ok(())
}

/// Works the base fields into the records after them (RFC 8428, 4.6).
pub(crate) fn resolve(raw: Vec<RawRecord>) -> Result<Vec<Record>, SenmlError> {
    let mut base_name = String::new();
    let mut base_time = None;
    let mut base_value = None;
    let mut records = Vec::with_capacity(raw.len());
    for record in raw {
        let offset = record.offset;
        if let Some(version) = record.version.filter(|version| *version > 10) {
            return Err(SenmlError::Version { offset, version });
        }
        base_name = record.base_name.unwrap_or(base_name);
        base_time = record.base_time.or(base_time);
        base_value = record.base_value.or(base_value);
        let name = format!("{base_name}{}", record.name.as_deref().unwrap_or_default());
        let Ok(path) = name.parse() else {
            return Err(SenmlError::BadName { offset, name });
        };
        let value = match (record.value, &base_value) {
            (Some(value), Some(base)) => Some(add(value, base).ok_or(SenmlError::Overflow { offset })?),
            (value, _) => value,
        };
        let time = match (base_time, record.time) {
            (None, None) => None,
            (base, time) => Some(base.unwrap_or(0.0) + time.unwrap_or(0.0)),
        };
        records.push(Record {
            path,
            value,
            time,
            offset,
        });
    }
    Ok(records)
}

/// The sum of two numbers, exact for integers; a value that is no number stays as it is.
fn add(value: Value, base: &Value) -> Option<Value> {
    Some(match value {
        Value::Integer(_) | Value::Unsigned(_) => {
            let whole = |value: &Value| match *value {
                Value::Integer(number) => Some(i128::from(number)),
                Value::Unsigned(number) => Some(i128::from(number)),
                _ => None,
            };
            match (whole(&value), whole(base)) {
                (Some(value), Some(base)) => {
                    let sum = value + base;
                    i64::try_from(sum)
                        .map(Value::Integer)
                        .or_else(|_| u64::try_from(sum).map(Value::Unsigned))
                        .ok()?
                }
                _ => Value::Float(value.as_f64()? + base.as_f64()?),
            }
        }
        Value::Float(number) => Value::Float(number + base.as_f64()?),
        other => other,
    })
}

/// The base name and the name of each record, so that joined they are the path.
pub(crate) fn names(base: &LwPath, records: &[Record]) -> (String, Vec<String>) {
    if !base.is_root() && records.iter().all(|record| record.path == *base) {
        return (base.to_string(), vec![String::new(); records.len()]);
    }
    let below = |record: &Record| record.path.starts_with(base) && record.path != *base;
    if base.is_root() || !records.iter().all(below) {
        return (
            String::new(),
            records.iter().map(|record| record.path.to_string()).collect(),
        );
    }
    let prefix = format!("{base}/");
    let name = |record: &Record| record.path.to_string().split_off(prefix.len());
    let names = records.iter().map(name).collect();
    (prefix, names)
}

#[cfg(test)]
mod tests {
    use super::{Record, names};
    use crate::LwPath;

    #[test]
    fn base_names() {
        let records = |paths: &[LwPath]| -> Vec<Record> { paths.iter().map(|path| Record::new(*path, None)).collect() };
        let state = LwPath::from([5, 0, 3]);
        let result = LwPath::from([5, 0, 5]);
        let joined = |base: LwPath, paths: &[LwPath]| names(&base, &records(paths));
        assert_eq!(joined(state, &[state]), ("/5/0/3".into(), vec![String::new()]));
        assert_eq!(
            joined(LwPath::from([5, 0]), &[state, result]),
            ("/5/0/".into(), vec!["3".into(), "5".into()])
        );
        assert_eq!(joined(LwPath::from([5]), &[state]), ("/5/".into(), vec!["0/3".into()]));
        assert_eq!(joined(LwPath::ROOT, &[state]), (String::new(), vec!["/5/0/3".into()]));
        assert_eq!(
            joined(LwPath::from([3, 0]), &[state]),
            (String::new(), vec!["/5/0/3".into()])
        );
    }
}
