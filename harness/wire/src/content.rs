//! LwM2M payloads by their Content-Format: the one entry point for values on the wire.

use crate::{
    LwPath, Value, ValueType, cbor,
    coap::content_format as format,
    lwm2m_json, opaque,
    senml::{self, SenmlError},
    senml_cbor, senml_json, text, tlv,
};

/// Why a payload cannot be written or read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ContentError {
    /// The Content-Format is none that carries resource values here.
    #[error("content format {0} carries no resource values here")]
    UnsupportedFormat(u16),
    /// A format for one value was asked to carry none or several.
    #[error("content format {format} carries one resource, not {count}")]
    NotSingle {
        /// The Content-Format.
        format: u16,
        /// How many values there are.
        count: usize,
    },
    /// A format for one value was asked for a path that is no resource.
    #[error("content format {format} needs the path of a resource, not {base}")]
    NotResource {
        /// The Content-Format.
        format: u16,
        /// The path of the request.
        base: LwPath,
    },
    /// A path lies outside the path of the request.
    #[error("{path} is not below {base}")]
    OutsideBase {
        /// The path of the value.
        path: LwPath,
        /// The path of the request.
        base: LwPath,
    },
    /// A value has another type than its resource, or one that the format does not carry.
    #[error("{path} is not a {expected} (byte {offset})")]
    TypeMismatch {
        /// The path of the value.
        path: LwPath,
        /// The type of the resource.
        expected: ValueType,
        /// The byte of the payload.
        offset: usize,
    },
    /// Plain text.
    #[error("text: {0}")]
    Text(#[from] text::TextError),
    /// CBOR.
    #[error("CBOR: {0}")]
    Cbor(#[from] cbor::CborError),
    /// TLV.
    #[error("TLV: {0}")]
    Tlv(#[from] tlv::TlvError),
    /// SenML or LwM2M JSON.
    #[error("SenML: {0}")]
    Senml(#[from] SenmlError),
}

impl ContentError {
    /// The byte of the payload where the rule is broken; 0 when it is about the whole.
    #[must_use]
    pub const fn offset(&self) -> usize {
        match self {
            Self::TypeMismatch { offset, .. } => *offset,
            Self::Text(error) => error.offset(),
            Self::Cbor(error) => error.offset(),
            Self::Tlv(error) => error.offset(),
            Self::Senml(error) => error.offset(),
            Self::UnsupportedFormat(_)
            | Self::NotSingle { .. }
            | Self::NotResource { .. }
            | Self::OutsideBase { .. } => 0,
        }
    }
}

/// What a payload says: values by their paths, in its order.
pub type Values = Vec<(LwPath, Value)>;

/// The type of the resource at a path, where it is known.
pub type Types<'a> = &'a dyn Fn(&LwPath) -> Option<ValueType>;

/// The Content-Formats that [`encode`] writes.
pub const SUPPORTED: [u16; 7] = [
    format::TEXT,
    format::OPAQUE,
    format::CBOR,
    format::SENML_JSON,
    format::SENML_CBOR,
    format::TLV,
    format::LWM2M_JSON,
];

/// The registered number for one from before the registration; any other stays as it is.
#[must_use]
pub const fn canonical(number: u16) -> u16 {
    match number {
        format::LEGACY_TEXT => format::TEXT,
        format::LEGACY_TLV => format::TLV,
        format::LEGACY_JSON => format::LWM2M_JSON,
        other => other,
    }
}

/// Writes values. `base` is the path of the request (of the root for composite operations); every path is it or below
/// it.
///
/// # Errors
/// When the format cannot carry them.
pub fn encode(format: u16, base: &LwPath, values: &[(LwPath, Value)]) -> Result<Vec<u8>, ContentError> {
    if let Some((path, _)) = values.iter().find(|(path, _)| !path.starts_with(base)) {
        return Err(ContentError::OutsideBase {
            path: *path,
            base: *base,
        });
    }
    let records = || -> Vec<senml::Record> {
        values
            .iter()
            .map(|(path, value)| senml::Record::new(*path, Some(value.clone())))
            .collect()
    };
    match canonical(format) {
        format::TEXT => Ok(text::encode(single(format, values)?.1)?),
        format::OPAQUE => {
            let (path, value) = single(format, values)?;
            opaque::encode(value).ok_or(ContentError::TypeMismatch {
                path,
                expected: ValueType::Opaque,
                offset: 0,
            })
        }
        format::CBOR => Ok(cbor::encode(single(format, values)?.1)),
        format::TLV => Ok(tlv::encode(&tlv::nodes(base, values)?)?),
        format::SENML_JSON => Ok(senml_json::encode(base, &records())?),
        format::SENML_CBOR => Ok(senml_cbor::encode(base, &records())),
        format::LWM2M_JSON => Ok(lwm2m_json::encode(base, values)?),
        other => Err(ContentError::UnsupportedFormat(other)),
    }
}

fn single(format: u16, values: &[(LwPath, Value)]) -> Result<(LwPath, &Value), ContentError> {
    match values {
        [(path, value)] if path.depth() >= 3 => Ok((*path, value)),
        [(path, _)] => Err(ContentError::NotResource { format, base: *path }),
        _ => Err(ContentError::NotSingle {
            format,
            count: values.len(),
        }),
    }
}

/// Reads values. `base` is the path of the request. A resource of unknown type is taken as what its format says: a
/// string in text, bytes in TLV.
///
/// # Errors
/// When the payload breaks a rule of its format, has a path outside the base, or a value that is not of its resource's
/// type.
pub fn decode(format: u16, base: &LwPath, bytes: &[u8], types: Types<'_>) -> Result<Values, ContentError> {
    let resource = || {
        if base.depth() >= 3 {
            Ok(type_of(types, base))
        } else {
            Err(ContentError::NotResource { format, base: *base })
        }
    };
    match canonical(format) {
        format::TEXT => Ok(vec![(
            *base,
            text::decode(bytes, resource()?.unwrap_or(ValueType::String))?,
        )]),
        format::OPAQUE => match resource()? {
            None | Some(ValueType::Opaque) => Ok(vec![(*base, opaque::decode(bytes))]),
            Some(expected) => Err(ContentError::TypeMismatch {
                path: *base,
                expected,
                offset: 0,
            }),
        },
        format::CBOR => {
            let expected = resource()?;
            let value = cbor::decode(bytes)?;
            Ok(vec![(*base, typed(base, value, expected, 0)?)])
        }
        format::TLV => Ok(tlv::decode(base, bytes, types)?),
        format::SENML_JSON => resolve(base, senml_json::decode(bytes)?, types),
        format::SENML_CBOR => resolve(base, senml_cbor::decode(bytes)?, types),
        format::LWM2M_JSON => {
            let records = lwm2m_json::decode(base, bytes)?.into_iter();
            let records: Result<_, SenmlError> = records
                .map(|record| {
                    let value_type = type_of(types, &record.path);
                    lwm2m_json::opaque(record, value_type)
                })
                .collect();
            resolve(base, records?, types)
        }
        other => Err(ContentError::UnsupportedFormat(other)),
    }
}

/// Writes the paths of a Read-Composite or Observe-Composite (LwM2M Core 1.1, 6.3): SenML records without values.
///
/// # Errors
/// When the format is not SenML.
pub fn encode_paths(format: u16, paths: &[LwPath]) -> Result<Vec<u8>, ContentError> {
    let records: Vec<_> = paths.iter().map(|path| senml::Record::new(*path, None)).collect();
    match format {
        format::SENML_JSON => Ok(senml_json::encode(&LwPath::ROOT, &records)?),
        format::SENML_CBOR => Ok(senml_cbor::encode(&LwPath::ROOT, &records)),
        other => Err(ContentError::UnsupportedFormat(other)),
    }
}

/// Reads the paths of a Read-Composite or Observe-Composite.
///
/// # Errors
/// When the payload is not SenML.
pub fn decode_paths(format: u16, bytes: &[u8]) -> Result<Vec<LwPath>, ContentError> {
    let records = match format {
        format::SENML_JSON => senml_json::decode(bytes)?,
        format::SENML_CBOR => senml_cbor::decode(bytes)?,
        other => return Err(ContentError::UnsupportedFormat(other)),
    };
    Ok(records.into_iter().map(|record| record.path).collect())
}

fn resolve(base: &LwPath, records: Vec<senml::Record>, types: Types<'_>) -> Result<Values, ContentError> {
    let mut values = Vec::with_capacity(records.len());
    for record in records {
        let path = record.path;
        if !path.starts_with(base) {
            return Err(ContentError::OutsideBase { path, base: *base });
        }
        let value = record.value.ok_or(SenmlError::NoValue { offset: record.offset })?;
        values.push((path, typed(&path, value, type_of(types, &path), record.offset)?));
    }
    Ok(values)
}

/// The type of a resource; that of a resource instance is the type of its resource.
pub(crate) fn type_of(types: Types<'_>, path: &LwPath) -> Option<ValueType> {
    types(path).or_else(|| {
        if path.depth() == 4 {
            types(&path.truncated(3))
        } else {
            None
        }
    })
}

fn typed(path: &LwPath, value: Value, expected: Option<ValueType>, offset: usize) -> Result<Value, ContentError> {
    let Some(expected) = expected else { return Ok(value) };
    let converted = match (expected, value) {
        // CBOR has no form of its own for a link to an object.
        (ValueType::ObjectLink, Value::String(text)) => {
            text::object_link(&text).map(|(object, instance)| Value::ObjectLink(object, instance))
        }
        (_, value) => value.converted(expected),
    };
    converted.ok_or(ContentError::TypeMismatch {
        path: *path,
        expected,
        offset,
    })
}

#[cfg(test)]
pub(crate) mod strategy {
    //! Values for properties.
    use crate::Value;
    use proptest::prelude::*;

    pub(crate) fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<i64>().prop_map(Value::Integer),
            any::<u64>().prop_map(Value::Unsigned),
            any::<f64>()
                .prop_filter("finite", |number| number.is_finite())
                .prop_map(Value::Float),
            any::<bool>().prop_map(Value::Boolean),
            ".{0,20}".prop_map(Value::String),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::Opaque),
            any::<i64>().prop_map(Value::Time),
            any::<(u16, u16)>().prop_map(|(object, instance)| Value::ObjectLink(object, instance)),
            ".{0,20}".prop_map(Value::CoreLink),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::{ContentError, SUPPORTED, Values, decode, decode_paths, encode, encode_paths, strategy::value};
    use crate::{LwPath, Value, ValueType};
    use proptest::prelude::*;

    fn package() -> Values {
        vec![(LwPath::resource(5, 0, 0), Value::Opaque(vec![1, 2, 3]))]
    }

    #[test]
    fn a_package_in_every_format_that_carries_one() {
        let base = LwPath::resource(5, 0, 0);
        for format in SUPPORTED {
            let bytes = encode(format, &base, &package()).unwrap();
            let types = |_: &LwPath| Some(ValueType::Opaque);
            assert_eq!(decode(format, &base, &bytes, &types), Ok(package()), "{format}");
        }
        let legacy = encode(1542, &base, &package()).unwrap();
        assert_eq!(legacy, encode(11542, &base, &package()).unwrap());
    }

    #[test]
    fn what_a_format_cannot_carry() {
        let base = LwPath::instance(5, 0);
        let two = vec![
            (LwPath::resource(5, 0, 3), Value::Integer(0)),
            (LwPath::resource(5, 0, 5), Value::Integer(1)),
        ];
        assert_eq!(
            encode(0, &base, &two),
            Err(ContentError::NotSingle { format: 0, count: 2 })
        );
        assert_eq!(encode(40, &base, &two), Err(ContentError::UnsupportedFormat(40)));
        let outside = ContentError::OutsideBase {
            path: LwPath::resource(5, 0, 3),
            base: LwPath::instance(3, 0),
        };
        assert_eq!(encode(110, &LwPath::instance(3, 0), &two), Err(outside));
        assert!(matches!(
            encode(42, &base, &two[..1]),
            Err(ContentError::TypeMismatch { .. })
        ));
        assert_eq!(
            decode(0, &base, b"1", &|_| None),
            Err(ContentError::NotResource { format: 0, base })
        );
    }

    #[test]
    fn types_are_kept_to() {
        let state = LwPath::resource(5, 0, 3);
        let types = |_: &LwPath| Some(ValueType::Integer);
        assert_eq!(
            decode(110, &state, br#"[{"bn":"/5/0/3","v":2.0}]"#, &types),
            Ok(vec![(state, Value::Integer(2))])
        );
        let error = decode(110, &state, br#"[{"bn":"/5/0/3","v":2.5}]"#, &types).unwrap_err();
        assert_eq!(
            error,
            ContentError::TypeMismatch {
                path: state,
                expected: ValueType::Integer,
                offset: 1
            }
        );
        assert_eq!(error.to_string(), "/5/0/3 is not a Integer (byte 1)");
    }

    #[test]
    fn composite_paths() {
        let paths = [LwPath::from([5, 0, 3]), LwPath::from([3, 0]), LwPath::from([1])];
        for format in [110, 112] {
            assert_eq!(
                decode_paths(format, &encode_paths(format, &paths).unwrap()),
                Ok(paths.to_vec())
            );
        }
        assert!(encode_paths(11542, &paths).is_err());
    }

    /// Values of up to three instances of /5, in order of their paths. A resource is single or multiple, never both.
    fn values() -> impl Strategy<Value = Values> {
        let key = (0u16..3, any::<u16>(), proptest::option::of(any::<u16>()));
        proptest::collection::btree_map(key, value(), 1..8).prop_map(|entries| {
            let first = |resource| entries.keys().find(|(_, known, _)| *known == resource);
            let is_multiple = |resource| first(resource).is_some_and(|(.., deeper)| deeper.is_some());
            let kept = entries
                .iter()
                .filter(|((_, resource, deeper), _)| deeper.is_some() == is_multiple(*resource));
            kept.map(|((instance, resource, deeper), value)| {
                let path = LwPath::resource(5, *instance, *resource);
                (deeper.and_then(|id| path.child(id)).unwrap_or(path), value.clone())
            })
            .collect()
        })
    }

    proptest! {
        #[test]
        fn one_value(value in value(), index in 0..SUPPORTED.len()) {
            let format = SUPPORTED[index];
            let path = LwPath::resource(5, 0, 1);
            let value_type = value.value_type();
            prop_assume!(format != 42 || value_type == ValueType::Opaque);
            let values = vec![(path, value)];
            let bytes = encode(format, &path, &values).unwrap();
            prop_assert_eq!(decode(format, &path, &bytes, &|_| Some(value_type)), Ok(values));
        }

        #[test]
        fn many_values(values in values(), index in 3usize..7) {
            let same = |path: &LwPath| values.iter().find(|(known, _)| known == path);
            let types = |path: &LwPath| same(path).map(|(_, value)| value.value_type());
            let (format, base) = (SUPPORTED[index], LwPath::object(5));
            let bytes = encode(format, &base, &values).unwrap();
            prop_assert_eq!(decode(format, &base, &bytes, &types), Ok(values.clone()));
        }

        #[test]
        fn any_bytes(
            bytes in proptest::collection::vec(any::<u8>(), 0..48),
            index in 0..SUPPORTED.len(),
            depth in 0usize..5,
        ) {
            let base = LwPath::from([5, 0, 3, 0]).truncated(depth);
            if let Err(error) = decode(SUPPORTED[index], &base, &bytes, &|_| Some(ValueType::Integer)) {
                prop_assert!(error.offset() <= bytes.len(), "{}", error);
            }
        }
    }
}
