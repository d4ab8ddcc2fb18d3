//! What a fuzz target runs, callable from tests too: every corpus file goes through the same functions.
//!
//! Each function reads bytes from anywhere and panics only when a property of the codec is broken.

use crate::{
    LwPath, Value, ValueType, cbor,
    coap::{self, BlockValue, MessageView, lint, summary, tcp::FrameView},
    content, link_format, senml_cbor, senml_json, text, tlv,
};

/// A fuzz target: its name and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// Every fuzz target.
pub const TARGETS: [Target; 9] = [
    ("coap_view", coap_view),
    ("coap_tcp", coap_tcp),
    ("block", block),
    ("tlv", tlv),
    ("senml_json", senml_json),
    ("senml_cbor", senml_cbor),
    ("link_format", link_format),
    ("text", text),
    ("content", content),
];

/// A datagram: what is accepted is written back byte by byte.
pub fn coap_view(bytes: &[u8]) {
    let _ = summary(bytes);
    match MessageView::parse(bytes) {
        Ok(view) => {
            let _ = (
                lint(&view),
                view.block1(),
                view.block2(),
                view.uri_path(),
                view.uri_query(),
                view.location_path(),
            );
            assert_eq!(coap::encode(&view.to_packet()).as_deref(), Ok(bytes));
        }
        Err(error) => assert!(error.offset <= bytes.len()),
    }
}

/// A stream: its first frame is written back byte by byte.
pub fn coap_tcp(bytes: &[u8]) {
    if let Ok(Some(frame)) = FrameView::parse(bytes) {
        let _ = (frame.block1(), frame.block2(), frame.uri_path());
        match coap::tcp::encode(&frame.to_packet()) {
            Ok(again) => assert_eq!(again, frame.bytes()),
            Err(_) => assert!(frame.code().is_empty()),
        }
    }
}

/// A block option value: number, more and size come back.
pub fn block(bytes: &[u8]) {
    if let Ok(value) = BlockValue::decode(bytes) {
        assert_eq!(BlockValue::decode(&value.encode()), Ok(value));
        assert_eq!(value.to_string().parse(), Ok(value));
    }
}

/// TLV entries lie within the payload, and values written again read the same.
pub fn tlv(bytes: &[u8]) {
    if let Ok(entries) = tlv::parse(bytes) {
        for entry in entries {
            assert_eq!(
                bytes.get(entry.value_offset..entry.value_offset + entry.value.len()),
                Some(entry.value)
            );
        }
    }
    for value_type in ALL_TYPES {
        if let Ok(value) = tlv::decode_value(bytes, value_type) {
            let again = tlv::decode_value(&tlv::encode_value(&value), value_type);
            assert!(again.is_ok_and(|again| same(&again, &value)));
        }
    }
}

/// SenML in JSON: what is accepted, written again, reads the same.
pub fn senml_json(bytes: &[u8]) {
    match senml_json::decode(bytes) {
        Ok(records) => {
            // Sums of base fields may leave the finite numbers, which JSON cannot say.
            if let Ok(again) = senml_json::encode(&LwPath::ROOT, &records) {
                let again = senml_json::decode(&again).unwrap_or_default();
                assert!(records.len() == again.len());
                assert!(records.iter().zip(&again).all(|(one, two)| one.path == two.path));
            }
        }
        Err(error) => assert!(error.offset() <= bytes.len()),
    }
}

/// SenML in CBOR: what is accepted, written again, reads the same.
pub fn senml_cbor(bytes: &[u8]) {
    let _ = cbor::decode(bytes);
    match senml_cbor::decode(bytes) {
        Ok(records) => {
            let again = senml_cbor::decode(&senml_cbor::encode(&LwPath::ROOT, &records)).unwrap_or_default();
            assert!(records.len() == again.len());
            assert!(records.iter().zip(&again).all(|(one, two)| one.path == two.path));
        }
        Err(error) => assert!(error.offset() <= bytes.len()),
    }
}

/// Links written again read the same.
pub fn link_format(bytes: &[u8]) {
    match link_format::parse(bytes) {
        Ok(links) => {
            let _ = link_format::ObjectLinks::from_links(&links);
            assert_eq!(link_format::parse(link_format::encode(&links).as_bytes()), Ok(links));
        }
        Err(error) => assert!(error.offset() <= bytes.len()),
    }
}

/// Text of every type: what is accepted, written again, reads the same.
pub fn text(bytes: &[u8]) {
    for value_type in ALL_TYPES {
        if let Ok(value) = text::decode(bytes, value_type) {
            let again = text::encode(&value).and_then(|again| text::decode(&again, value_type));
            assert!(again.is_ok_and(|again| same(&again, &value)));
        }
    }
}

/// The first byte chooses format, path and type; the rest is the payload.
pub fn content(bytes: &[u8]) {
    let Some((&choice, payload)) = bytes.split_first() else {
        return;
    };
    let format = content::SUPPORTED[usize::from(choice & 7) % content::SUPPORTED.len()];
    let base = LwPath::from([5, 0, 3, 0]).truncated(usize::from(choice >> 3) % 5);
    let value_type = ALL_TYPES.get(usize::from(choice >> 4)).copied();
    match content::decode(format, &base, payload, &|_| value_type) {
        Ok(values) => {
            let _ = content::encode(format, &base, &values);
        }
        Err(error) => assert!(error.offset() <= payload.len()),
    }
}

const ALL_TYPES: [ValueType; 9] = [
    ValueType::Integer,
    ValueType::Unsigned,
    ValueType::Float,
    ValueType::Boolean,
    ValueType::String,
    ValueType::Opaque,
    ValueType::Time,
    ValueType::ObjectLink,
    ValueType::CoreLink,
];

/// Equal, where two NaN are too.
fn same(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::Float(one), Value::Float(two)) => one == two || one.is_nan() && two.is_nan(),
        _ => one == two,
    }
}
