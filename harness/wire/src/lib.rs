//! Bytes and messages: CoAP over UDP and TCP, block options, and the content formats of LwM2M.
//!
//! Everything here is a pure function of its arguments: no clock, socket, thread or randomness. Every decoder takes
//! bytes from outside,
//! never panics on them, and names the rule that was broken and the byte where.
//!
//! | module | what it reads and writes |
//! |---|---|
//! | [`coap`] | messages (RFC 7252, 7959, 8323): a strict zero-copy view, an encoder, and one that can also write malformed messages |
//! | [`path`], [`value`] | LwM2M paths and resource values |
//! | [`content`] | any content format by its number: the entry point for the ones below |
//! | [`text`], [`opaque`], [`cbor`] | one resource as text, bytes, CBOR |
//! | [`tlv`], [`senml_json`], [`senml_cbor`], [`lwm2m_json`] | several resources at once |
//! | [`link_format`] | Register and Discover payloads (RFC 6690) |

pub mod cbor;
pub mod coap;
pub mod content;
pub mod hash;
pub mod hex;
pub mod link_format;
pub mod lwm2m_json;
pub mod opaque;
pub mod path;
pub mod replay;
pub mod senml;
pub mod senml_cbor;
pub mod senml_json;
pub mod text;
pub mod tlv;
pub mod value;

pub use coap_lite;
pub use path::LwPath;
pub use value::{Value, ValueType};
