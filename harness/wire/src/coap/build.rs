//! Filling a `coap_lite::Packet`, with block numbers of the full 20 bits and tokens that are checked.

use super::{BlockValue, Code, EncodeError, Type, option, uint};
use coap_lite::{CoapOption, MessageClass, Packet};
use std::collections::LinkedList;

/// A request or any other message without options.
///
/// # Errors
/// When the token is longer than 8 bytes.
pub fn request(kind: Type, code: Code, message_id: u16, token: &[u8]) -> Result<Packet, EncodeError> {
    let mut packet = Packet::new();
    packet.header.set_type(kind.into());
    packet.header.code = MessageClass::from(code);
    packet.header.message_id = message_id;
    set_token(&mut packet, token)?;
    Ok(packet)
}

/// An Empty message: an Acknowledgement, a Reset, or a ping (RFC 7252, 4.1).
#[must_use]
pub fn empty(kind: Type, message_id: u16) -> Packet {
    let mut packet = Packet::new();
    packet.header.set_type(kind.into());
    packet.header.code = MessageClass::Empty;
    packet.header.message_id = message_id;
    packet
}

/// Sets the token.
///
/// # Errors
/// When it is longer than 8 bytes (RFC 7252, 3).
pub fn set_token(packet: &mut Packet, token: &[u8]) -> Result<(), EncodeError> {
    if token.len() > 8 {
        return Err(EncodeError::TokenTooLong(token.len()));
    }
    packet.set_token(token.to_vec());
    Ok(())
}

/// Adds an option after those with the same number.
pub fn add_option(packet: &mut Packet, number: u16, value: impl Into<Vec<u8>>) {
    packet.add_option(CoapOption::from(number), value.into());
}

/// Sets an option to one value.
pub fn set_option(packet: &mut Packet, number: u16, value: impl Into<Vec<u8>>) {
    packet.set_option(CoapOption::from(number), LinkedList::from([value.into()]));
}

/// Sets an option in the `uint` format.
pub fn set_uint(packet: &mut Packet, number: u16, value: u64) {
    set_option(packet, number, uint::encode(value));
}

/// Removes every option with that number.
pub fn clear(packet: &mut Packet, number: u16) {
    packet.clear_option(CoapOption::from(number));
}

/// Sets Uri-Path from `/5/0/0`. An empty path and `/` leave none. `%2F` and `%25` stand for a slash and a percent sign
/// within a segment.
pub fn set_path(packet: &mut Packet, path: &str) {
    set_segments(packet, option::URI_PATH, path);
}

/// Sets Location-Path from `/rd/5a3f`.
pub fn set_location(packet: &mut Packet, path: &str) {
    set_segments(packet, option::LOCATION_PATH, path);
}

fn set_segments(packet: &mut Packet, number: u16, path: &str) {
    clear(packet, number);
    let path = path.strip_prefix('/').unwrap_or(path);
    if path.is_empty() {
        return;
    }
    for segment in path.split('/') {
        add_option(packet, number, segment.replace("%2F", "/").replace("%25", "%"));
    }
}

/// Sets Uri-Query, one option for each `name=value`.
pub fn set_query<T: AsRef<str>>(packet: &mut Packet, parts: impl IntoIterator<Item = T>) {
    clear(packet, option::URI_QUERY);
    for part in parts {
        add_option(packet, option::URI_QUERY, part.as_ref());
    }
}

/// Sets Block1.
pub fn set_block1(packet: &mut Packet, block: BlockValue) {
    set_option(packet, option::BLOCK1, block.encode());
}

/// Sets Block2.
pub fn set_block2(packet: &mut Packet, block: BlockValue) {
    set_option(packet, option::BLOCK2, block.encode());
}

/// Sets Content-Format.
pub fn set_content_format(packet: &mut Packet, format: u16) {
    set_uint(packet, option::CONTENT_FORMAT, u64::from(format));
}

/// Sets Accept.
pub fn set_accept(packet: &mut Packet, format: u16) {
    set_uint(packet, option::ACCEPT, u64::from(format));
}

/// Sets Observe: 0 registers, 1 deregisters; a notification carries a sequence number of 24 bits (RFC 7641, 2).
pub fn set_observe(packet: &mut Packet, value: u32) {
    set_uint(packet, option::OBSERVE, u64::from(value & 0x00ff_ffff));
}

/// Sets Size1.
pub fn set_size1(packet: &mut Packet, size: u32) {
    set_uint(packet, option::SIZE1, u64::from(size));
}

/// Sets Size2.
pub fn set_size2(packet: &mut Packet, size: u32) {
    set_uint(packet, option::SIZE2, u64::from(size));
}

/// Sets one ETag.
pub fn set_etag(packet: &mut Packet, etag: &[u8]) {
    set_option(packet, option::ETAG, etag);
}

/// The first value of an option.
#[must_use]
pub fn get_option(packet: &Packet, number: u16) -> Option<&[u8]> {
    packet.get_option(CoapOption::from(number))?.front().map(Vec::as_slice)
}

/// The number in an option of the `uint` format; `None` when absent or too long.
#[must_use]
pub fn get_uint(packet: &Packet, number: u16) -> Option<u64> {
    let (_, max) = option::length_bounds(number).unwrap_or((0, 8));
    uint::decode(get_option(packet, number)?, max)
}

/// Block1; `None` when absent or not readable.
#[must_use]
pub fn block1(packet: &Packet) -> Option<BlockValue> {
    BlockValue::decode(get_option(packet, option::BLOCK1)?).ok()
}

/// Block2; `None` when absent or not readable.
#[must_use]
pub fn block2(packet: &Packet) -> Option<BlockValue> {
    BlockValue::decode(get_option(packet, option::BLOCK2)?).ok()
}

/// Content-Format.
#[must_use]
pub fn content_format(packet: &Packet) -> Option<u16> {
    get_uint(packet, option::CONTENT_FORMAT).map(|number| number as u16)
}

/// Accept.
#[must_use]
pub fn accept(packet: &Packet) -> Option<u16> {
    get_uint(packet, option::ACCEPT).map(|number| number as u16)
}

/// Observe.
#[must_use]
pub fn observe(packet: &Packet) -> Option<u32> {
    get_uint(packet, option::OBSERVE).map(|number| number as u32)
}

/// The Uri-Path options as `/5/0/0`; `/` when there are none.
#[must_use]
pub fn path(packet: &Packet) -> String {
    joined(packet, option::URI_PATH).unwrap_or_else(|| "/".to_owned())
}

/// The Location-Path options as `/rd/5a3f`; `None` when there are none.
#[must_use]
pub fn location(packet: &Packet) -> Option<String> {
    joined(packet, option::LOCATION_PATH)
}

fn joined(packet: &Packet, number: u16) -> Option<String> {
    let segments = packet
        .get_option(CoapOption::from(number))
        .filter(|segments| !segments.is_empty())?;
    let encoded = |segment: &Vec<u8>| {
        format!(
            "/{}",
            String::from_utf8_lossy(segment).replace('%', "%25").replace('/', "%2F")
        )
    };
    Some(segments.iter().map(encoded).collect())
}

/// The Uri-Query options; what is not UTF-8 is replaced.
#[must_use]
pub fn query(packet: &Packet) -> Vec<String> {
    let values = packet.get_option(CoapOption::from(option::URI_QUERY));
    values
        .into_iter()
        .flatten()
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{empty, location, path, query, request, set_location, set_path, set_query, set_token};
    use crate::coap::{Code, EncodeError, MessageView, Type, encode};

    #[test]
    fn paths_and_queries() {
        let mut packet = request(Type::Con, Code::POST, 1, &[1]).unwrap();
        assert_eq!(path(&packet), "/");
        for text in ["/", "/rd", "/5/0/0", "/a//b", "/a%2Fb/c%25"] {
            set_path(&mut packet, text);
            assert_eq!(path(&packet), text);
            assert_eq!(MessageView::parse(&encode(&packet).unwrap()).unwrap().uri_path(), text);
        }
        set_query(&mut packet, ["ep=a", "lt=60"]);
        assert_eq!(query(&packet), ["ep=a", "lt=60"]);
        assert_eq!(location(&packet), None);
        set_location(&mut packet, "/rd/1");
        assert_eq!(location(&packet).as_deref(), Some("/rd/1"));
    }

    #[test]
    fn tokens_have_eight_bytes_at_most() {
        let mut packet = empty(Type::Ack, 1);
        assert_eq!(set_token(&mut packet, &[0; 8]), Ok(()));
        assert_eq!(set_token(&mut packet, &[0; 16]), Err(EncodeError::TokenTooLong(16)));
    }
}
