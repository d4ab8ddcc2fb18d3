//! TLV (LwM2M Core 1.1, 7.4): Content-Format 11542.
//!
//! The type byte: bits 7-6 the kind, bit 5 a 16-bit identifier, bits 4-3 the size of the length field (0: the length is
//! in bits 2-0).

use crate::{
    LwPath, Value, ValueType,
    content::{Types, type_of},
};

/// The kind of an entry: bits 7 and 6 of its type byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlvKind {
    /// 00: an object instance with resources in it.
    ObjectInstance,
    /// 01: one value of a multiple resource.
    ResourceInstance,
    /// 10: a multiple resource with resource instances in it.
    MultipleResource,
    /// 11: a resource with its value.
    Resource,
}

impl TlvKind {
    const fn from_bits(byte: u8) -> Self {
        match byte >> 6 {
            0 => Self::ObjectInstance,
            1 => Self::ResourceInstance,
            2 => Self::MultipleResource,
            _ => Self::Resource,
        }
    }

    /// Whether an entry of this kind has entries in it.
    #[must_use]
    pub const fn is_container(self) -> bool {
        matches!(self, Self::ObjectInstance | Self::MultipleResource)
    }

    /// Whether an entry of the kind `inner` may stand in one of this kind.
    const fn may_hold(self, inner: Self) -> bool {
        match self {
            Self::ObjectInstance => matches!(inner, Self::Resource | Self::MultipleResource),
            Self::MultipleResource => matches!(inner, Self::ResourceInstance),
            Self::Resource | Self::ResourceInstance => false,
        }
    }
}

/// One entry as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlvEntry<'a> {
    /// The kind.
    pub kind: TlvKind,
    /// The identifier.
    pub id: u16,
    /// Where the entry starts in the payload.
    pub offset: usize,
    /// Where its value starts in the payload.
    pub value_offset: usize,
    /// The value; for a container, the bytes of its children.
    pub value: &'a [u8],
    /// What a container holds; empty for the other kinds.
    pub children: Vec<Self>,
}

/// One entry to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlvNode {
    /// An object instance.
    ObjectInstance(u16, Vec<Self>),
    /// A multiple resource.
    MultipleResource(u16, Vec<Self>),
    /// A resource.
    Resource(u16, Vec<u8>),
    /// A resource instance.
    ResourceInstance(u16, Vec<u8>),
}

/// Why bytes are no TLV, or values have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TlvError {
    /// The payload ends within type, identifier or length.
    #[error("the payload ends within the header of the entry at byte {offset}")]
    TruncatedHeader {
        /// Where the entry starts.
        offset: usize,
    },
    /// The value is said to be longer than what is there.
    #[error("the entry at byte {offset} says {length} bytes, {available} are there")]
    TruncatedValue {
        /// Where the entry starts.
        offset: usize,
        /// The length it says.
        length: usize,
        /// What is there.
        available: usize,
    },
    /// A kind stands where it may not.
    #[error("the entry at byte {offset} may not stand there")]
    Nesting {
        /// Where the entry starts.
        offset: usize,
    },
    /// The entry does not fit the path of the request.
    #[error("the entry at byte {offset} does not belong to {base}")]
    OutsideBase {
        /// Where the entry starts.
        offset: usize,
        /// The path of the request.
        base: LwPath,
    },
    /// The value is not one of its resource's type.
    #[error("the value at byte {offset} with {length} bytes is not a {expected}")]
    BadValue {
        /// Where the value starts.
        offset: usize,
        /// Its length.
        length: usize,
        /// The type of the resource.
        expected: ValueType,
    },
    /// A value is longer than 16777215 bytes.
    #[error("a value of {0} bytes is longer than TLV can say")]
    TooLong(usize),
    /// The root or an object cannot be the path of a value, and TLV has no entry for the root.
    #[error("TLV cannot carry {0}")]
    BadPath(LwPath),
}

impl TlvError {
    /// The byte of the payload where the rule is broken.
    #[must_use]
    pub const fn offset(&self) -> usize {
        match *self {
            Self::TruncatedHeader { offset }
            | Self::TruncatedValue { offset, .. }
            | Self::Nesting { offset }
            | Self::OutsideBase { offset, .. }
            | Self::BadValue { offset, .. } => offset,
            Self::TooLong(_) | Self::BadPath(_) => 0,
        }
    }
}

/// Reads a payload into entries.
///
/// # Errors
/// The first rule that is broken, and where.
pub fn parse(bytes: &[u8]) -> Result<Vec<TlvEntry<'_>>, TlvError> {
    entries(bytes, 0, None)
}

fn entries<'a>(bytes: &'a [u8], start: usize, parent: Option<TlvKind>) -> Result<Vec<TlvEntry<'a>>, TlvError> {
    let mut found = Vec::new();
    let mut position = 0;
    while position < bytes.len() {
        let (entry, next) = entry(bytes, position, start, parent)?;
        found.push(entry);
        position = next;
    }
    Ok(found)
}

fn entry<'a>(
    bytes: &'a [u8],
    position: usize,
    start: usize,
    parent: Option<TlvKind>,
) -> Result<(TlvEntry<'a>, usize), TlvError> {
    let offset = start + position;
    let truncated = TlvError::TruncatedHeader { offset };
    let head = bytes[position];
    let kind = TlvKind::from_bits(head);
    if parent.is_some_and(|parent| !parent.may_hold(kind)) {
        return Err(TlvError::Nesting { offset });
    }
    let id_length = if head & 0x20 == 0 { 1 } else { 2 };
    let length_length = usize::from(head >> 3 & 3);
    let id_at = position + 1;
    let length_at = id_at + id_length;
    let value_at = length_at + length_length;
    let number = |range| {
        bytes
            .get(range)
            .map(|field: &[u8]| field.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    };
    let id = number(id_at..length_at).ok_or(truncated)? as u16;
    let length = if length_length == 0 {
        usize::from(head & 7)
    } else {
        number(length_at..value_at).ok_or(truncated)?
    };
    let Some(value) = bytes.get(value_at..value_at + length) else {
        return Err(TlvError::TruncatedValue {
            offset,
            length,
            available: bytes.len() - value_at,
        });
    };
    let value_offset = start + value_at;
    let children = if kind.is_container() {
        entries(value, value_offset, Some(kind))?
    } else {
        Vec::new()
    };
    Ok((
        TlvEntry {
            kind,
            id,
            offset,
            value_offset,
            value,
            children,
        },
        value_at + length,
    ))
}

/// Writes entries.
///
/// # Errors
/// When a value is longer than 16777215 bytes.
pub fn encode(nodes: &[TlvNode]) -> Result<Vec<u8>, TlvError> {
    let mut out = Vec::new();
    for node in nodes {
        match node {
            TlvNode::ObjectInstance(id, children) => put(&mut out, TlvKind::ObjectInstance, *id, &encode(children)?)?,
            TlvNode::MultipleResource(id, children) => {
                put(&mut out, TlvKind::MultipleResource, *id, &encode(children)?)?;
            }
            TlvNode::Resource(id, value) => put(&mut out, TlvKind::Resource, *id, value)?,
            TlvNode::ResourceInstance(id, value) => put(&mut out, TlvKind::ResourceInstance, *id, value)?,
        }
    }
    Ok(out)
}

fn put(out: &mut Vec<u8>, kind: TlvKind, id: u16, value: &[u8]) -> Result<(), TlvError> {
    let length = value.len();
    let length_length = match length {
        0..=7 => 0,
        8..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xff_ffff => 3,
        _ => return Err(TlvError::TooLong(length)),
    };
    let wide = u8::from(id > 0xff);
    let inline = if length_length == 0 { length as u8 } else { 0 };
    out.push((kind as u8) << 6 | wide << 5 | (length_length as u8) << 3 | inline);
    out.extend_from_slice(&id.to_be_bytes()[usize::from(1 - wide)..]);
    out.extend_from_slice(&(length as u32).to_be_bytes()[4 - length_length..]);
    out.extend_from_slice(value);
    Ok(())
}

/// The bytes of a value (LwM2M Core 1.1, Appendix C): integers in 1, 2, 4 or 8 bytes, a float in 4 when it loses
/// nothing.
#[must_use]
pub fn encode_value(value: &Value) -> Vec<u8> {
    match value {
        Value::Integer(number) | Value::Time(number) => encode_integer(*number),
        Value::Unsigned(number) => encode_unsigned(*number),
        Value::Float(number) => {
            let short = *number as f32;
            if f64::from(short).to_bits() == number.to_bits() {
                short.to_be_bytes().to_vec()
            } else {
                number.to_be_bytes().to_vec()
            }
        }
        Value::Boolean(truth) => vec![u8::from(*truth)],
        Value::String(text) | Value::CoreLink(text) => text.as_bytes().to_vec(),
        Value::Opaque(bytes) => bytes.clone(),
        Value::ObjectLink(object, instance) => [object.to_be_bytes(), instance.to_be_bytes()].concat(),
    }
}

fn encode_integer(number: i64) -> Vec<u8> {
    if let Ok(short) = i8::try_from(number) {
        short.to_be_bytes().to_vec()
    } else if let Ok(short) = i16::try_from(number) {
        short.to_be_bytes().to_vec()
    } else if let Ok(short) = i32::try_from(number) {
        short.to_be_bytes().to_vec()
    } else {
        number.to_be_bytes().to_vec()
    }
}

fn encode_unsigned(number: u64) -> Vec<u8> {
    if let Ok(short) = u8::try_from(number) {
        short.to_be_bytes().to_vec()
    } else if let Ok(short) = u16::try_from(number) {
        short.to_be_bytes().to_vec()
    } else if let Ok(short) = u32::try_from(number) {
        short.to_be_bytes().to_vec()
    } else {
        number.to_be_bytes().to_vec()
    }
}

/// The value of a type in the bytes of an entry.
///
/// # Errors
/// When the bytes are none; the offset is 0.
pub fn decode_value(bytes: &[u8], value_type: ValueType) -> Result<Value, TlvError> {
    decode_value_at(bytes, value_type, 0)
}

fn decode_value_at(bytes: &[u8], value_type: ValueType, offset: usize) -> Result<Value, TlvError> {
    let bad = TlvError::BadValue {
        offset,
        length: bytes.len(),
        expected: value_type,
    };
    let text = || std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| bad);
    Ok(match value_type {
        ValueType::Integer => Value::Integer(decode_integer(bytes).ok_or(bad)?),
        ValueType::Time => Value::Time(decode_integer(bytes).ok_or(bad)?),
        ValueType::Unsigned => Value::Unsigned(decode_unsigned(bytes).ok_or(bad)?),
        ValueType::Float => Value::Float(match *bytes {
            [a, b, c, d] => f64::from(f32::from_be_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => f64::from_be_bytes([a, b, c, d, e, f, g, h]),
            _ => return Err(bad),
        }),
        ValueType::Boolean => match bytes {
            [0] => Value::Boolean(false),
            [1] => Value::Boolean(true),
            _ => return Err(bad),
        },
        ValueType::String => Value::String(text()?),
        ValueType::CoreLink => Value::CoreLink(text()?),
        ValueType::Opaque => Value::Opaque(bytes.to_vec()),
        ValueType::ObjectLink => match *bytes {
            [a, b, c, d] => Value::ObjectLink(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])),
            _ => return Err(bad),
        },
    })
}

fn decode_integer(bytes: &[u8]) -> Option<i64> {
    Some(match *bytes {
        [a] => i64::from(a as i8),
        [a, b] => i64::from(i16::from_be_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_be_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => i64::from_be_bytes([a, b, c, d, e, f, g, h]),
        _ => return None,
    })
}

fn decode_unsigned(bytes: &[u8]) -> Option<u64> {
    matches!(bytes.len(), 1 | 2 | 4 | 8).then(|| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Reads a payload into values by their paths; bytes where the type of a resource is not known.
///
/// # Errors
/// When the payload breaks a rule, does not fit the base, or has a value of another type.
pub fn decode(base: &LwPath, bytes: &[u8], types: Types<'_>) -> Result<Vec<(LwPath, Value)>, TlvError> {
    let mut values = Vec::new();
    for entry in parse(bytes)? {
        flatten(base, None, &entry, types, &mut values)?;
    }
    Ok(values)
}

/// `parent` is the path of the entry around this one; at the top the base tells where an entry of each kind belongs.
fn flatten(
    base: &LwPath,
    parent: Option<LwPath>,
    entry: &TlvEntry<'_>,
    types: Types<'_>,
    values: &mut Vec<(LwPath, Value)>,
) -> Result<(), TlvError> {
    let outside = TlvError::OutsideBase {
        offset: entry.offset,
        base: *base,
    };
    let depth = match entry.kind {
        TlvKind::ObjectInstance => 1,
        TlvKind::Resource | TlvKind::MultipleResource => 2,
        TlvKind::ResourceInstance => 3,
    };
    let around = parent.unwrap_or_else(|| base.truncated(depth));
    let path = around
        .child(entry.id)
        .filter(|_| around.depth() == depth)
        .ok_or(outside)?;
    if !path.starts_with(base) && !base.starts_with(&path) {
        return Err(outside);
    }
    if entry.kind.is_container() {
        return entry
            .children
            .iter()
            .try_for_each(|child| flatten(base, Some(path), child, types, values));
    }
    if !path.starts_with(base) {
        return Err(outside);
    }
    let value_type = type_of(types, &path).unwrap_or(ValueType::Opaque);
    values.push((path, decode_value_at(entry.value, value_type, entry.value_offset)?));
    Ok(())
}

/// The entries for values by their paths, as a payload of a request to `base` carries them.
///
/// # Errors
/// When the base is the root, or a path is no resource or resource instance below the base.
pub fn nodes(base: &LwPath, values: &[(LwPath, Value)]) -> Result<Vec<TlvNode>, TlvError> {
    if base.is_root() {
        return Err(TlvError::BadPath(*base));
    }
    let mut top = Vec::new();
    for (path, value) in values {
        let &LwPath {
            instance: Some(instance),
            resource: Some(resource),
            ..
        } = path
        else {
            return Err(TlvError::BadPath(*path));
        };
        if !path.starts_with(base) {
            return Err(TlvError::BadPath(*path));
        }
        let bytes = encode_value(value);
        let level = if base.depth() == 1 {
            object_instance(&mut top, instance)
        } else {
            &mut top
        };
        match path.resource_instance {
            None => level.push(TlvNode::Resource(resource, bytes)),
            Some(id) if base.depth() == 4 => level.push(TlvNode::ResourceInstance(id, bytes)),
            Some(id) => multiple_resource(level, resource).push(TlvNode::ResourceInstance(id, bytes)),
        }
    }
    Ok(top)
}

fn object_instance(nodes: &mut Vec<TlvNode>, id: u16) -> &mut Vec<TlvNode> {
    let known = nodes
        .iter()
        .position(|node| matches!(node, TlvNode::ObjectInstance(known, _) if *known == id));
    children(nodes, known, || TlvNode::ObjectInstance(id, Vec::new()))
}

fn multiple_resource(nodes: &mut Vec<TlvNode>, id: u16) -> &mut Vec<TlvNode> {
    let known = nodes
        .iter()
        .position(|node| matches!(node, TlvNode::MultipleResource(known, _) if *known == id));
    children(nodes, known, || TlvNode::MultipleResource(id, Vec::new()))
}

/// The children of the container at `known`, or of a new one at the end.
fn children(nodes: &mut Vec<TlvNode>, known: Option<usize>, new: impl FnOnce() -> TlvNode) -> &mut Vec<TlvNode> {
    let index = known.unwrap_or(nodes.len());
    if index == nodes.len() {
        nodes.push(new());
    }
    match &mut nodes[index] {
        TlvNode::ObjectInstance(_, children) | TlvNode::MultipleResource(_, children) => children,
        TlvNode::Resource(..) | TlvNode::ResourceInstance(..) => unreachable!("only containers are looked up"),
    }
}

#[cfg(test)]
mod tests {
    use super::{TlvError, TlvKind, TlvNode, decode, decode_value, encode, encode_value, nodes, parse};
    use crate::{LwPath, Value, ValueType, content::strategy::value};
    use proptest::prelude::*;

    #[test]
    fn the_type_byte() {
        // A resource 0 with 16 bytes: 11 0 01 000, identifier, length.
        let bytes = encode(&[TlvNode::Resource(0, vec![b'x'; 16])]).unwrap();
        assert_eq!(bytes[..3], [0xc8, 0x00, 0x10]);
        assert_eq!(
            encode(&[TlvNode::Resource(300, vec![1])]).unwrap(),
            [0xe1, 0x01, 0x2c, 1]
        );
        let multiple = TlvNode::MultipleResource(
            6,
            vec![
                TlvNode::ResourceInstance(0, vec![1]),
                TlvNode::ResourceInstance(1, vec![5]),
            ],
        );
        assert_eq!(
            encode(&[multiple]).unwrap(),
            [0x86, 0x06, 0x41, 0x00, 0x01, 0x41, 0x01, 0x05]
        );
    }

    #[test]
    fn lengths_at_every_boundary() {
        for (length, header) in [(7usize, 2usize), (8, 3), (255, 3), (256, 4), (65535, 4), (65536, 5)] {
            let bytes = encode(&[TlvNode::Resource(1, vec![9; length])]).unwrap();
            assert_eq!(bytes.len(), header + length);
            let entries = parse(&bytes).unwrap();
            assert_eq!(
                (entries[0].kind, entries[0].id, entries[0].value.len()),
                (TlvKind::Resource, 1, length)
            );
        }
        assert_eq!(
            encode(&[TlvNode::Resource(1, vec![0; 1 << 24])]),
            Err(TlvError::TooLong(1 << 24))
        );
    }

    #[test]
    fn mistakes_say_where() {
        assert_eq!(parse(&[0xc1]), Err(TlvError::TruncatedHeader { offset: 0 }));
        assert_eq!(
            parse(&[0xc1, 3, 0, 0xc8, 3]),
            Err(TlvError::TruncatedHeader { offset: 3 })
        );
        assert_eq!(
            parse(&[0xc2, 3, 0]),
            Err(TlvError::TruncatedValue {
                offset: 0,
                length: 2,
                available: 1
            })
        );
        // A resource instance straight in an object instance.
        assert_eq!(parse(&[0x03, 0, 0x41, 0, 1]), Err(TlvError::Nesting { offset: 2 }));
        let integer = |_: &LwPath| Some(ValueType::Integer);
        let base = LwPath::instance(5, 0);
        let bad = TlvError::BadValue {
            offset: 2,
            length: 3,
            expected: ValueType::Integer,
        };
        assert_eq!(decode(&base, &[0xc3, 3, 0, 0, 1], &integer), Err(bad));
        assert_eq!(
            decode(&base, &[0xc1, 3, 0], &integer),
            Ok(vec![(LwPath::resource(5, 0, 3), Value::Integer(0))])
        );
        let outside = |base| Err(TlvError::OutsideBase { offset: 0, base });
        let state = LwPath::resource(5, 0, 3);
        assert_eq!(decode(&state, &[0xc1, 5, 0], &integer), outside(state));
        assert_eq!(decode(&LwPath::ROOT, &[0xc1, 5, 0], &integer), outside(LwPath::ROOT));
        assert_eq!(
            decode(&LwPath::object(5), &[0xc1, 5, 0], &integer),
            outside(LwPath::object(5))
        );
    }

    #[test]
    fn object_instances_may_wrap_the_answer_to_an_instance() {
        let integer = |_: &LwPath| Some(ValueType::Integer);
        let wrapped = [0x03, 0, 0xc1, 3, 2];
        let expected = Ok(vec![(LwPath::resource(5, 0, 3), Value::Integer(2))]);
        assert_eq!(decode(&LwPath::object(5), &wrapped, &integer), expected);
        assert_eq!(decode(&LwPath::instance(5, 0), &wrapped, &integer), expected);
        assert!(decode(&LwPath::instance(5, 1), &wrapped, &integer).is_err());
    }

    #[test]
    fn integers_take_1_2_4_or_8_bytes() {
        for (number, length) in [
            (127i64, 1),
            (128, 2),
            (-129, 2),
            (32768, 4),
            (i64::from(i32::MAX), 4),
            (i64::from(i32::MAX) + 1, 8),
        ] {
            assert_eq!(encode_value(&Value::Integer(number)).len(), length, "{number}");
        }
        assert_eq!(encode_value(&Value::Unsigned(255)), [255]);
        assert_eq!(decode_value(&[0xff], ValueType::Integer), Ok(Value::Integer(-1)));
        assert_eq!(decode_value(&[0xff], ValueType::Unsigned), Ok(Value::Unsigned(255)));
        assert!(decode_value(&[], ValueType::Integer).is_err());
        assert!(decode_value(&[2], ValueType::Boolean).is_err());
        assert_eq!(encode_value(&Value::Float(0.5)).len(), 4);
        assert_eq!(encode_value(&Value::Float(0.1)).len(), 8);
    }

    #[test]
    fn bases_of_every_depth() {
        let values = vec![(LwPath::resource_instance(5, 0, 8, 1), Value::Integer(1))];
        for depth in 1..=4 {
            let base = LwPath::resource_instance(5, 0, 8, 1).truncated(depth);
            let bytes = encode(&nodes(&base, &values).unwrap()).unwrap();
            assert_eq!(
                decode(&base, &bytes, &|_| Some(ValueType::Integer)),
                Ok(values.clone()),
                "{base}"
            );
        }
        assert_eq!(nodes(&LwPath::ROOT, &values), Err(TlvError::BadPath(LwPath::ROOT)));
    }

    proptest! {
        #[test]
        fn value_round_trip(value in value()) {
            prop_assert_eq!(decode_value(&encode_value(&value), value.value_type()), Ok(value));
        }

        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            match parse(&bytes) {
                Ok(entries) => for entry in entries {
                    prop_assert_eq!(&bytes[entry.value_offset..entry.value_offset + entry.value.len()], entry.value);
                },
                Err(error) => prop_assert!(error.offset() <= bytes.len()),
            }
        }
    }
}
