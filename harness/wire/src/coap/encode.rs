//! Writing well-formed messages.

use super::Code;
use coap_lite::Packet;

/// Why a packet cannot be written as a well-formed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The version is not 1.
    #[error("version {0} is not 1 (rfc7252/3)")]
    Version(u8),
    /// The token is longer than 8 bytes.
    #[error("a token has at most 8 bytes, not {0} (rfc7252/3)")]
    TokenTooLong(usize),
    /// Code 0.00 with token, options or payload.
    #[error("an Empty message has no token, options or payload (rfc7252/4.1)")]
    EmptyWithContent,
    /// An option's value is longer than the format can say.
    #[error("option {number} has {length} bytes, more than an option can have (rfc7252/3.1)")]
    OptionTooLong {
        /// Option number.
        number: u16,
        /// Length of its value.
        length: usize,
    },
}

/// The greatest length of an option value: two extension bytes on top of 269.
pub(crate) const MAX_OPTION_LENGTH: usize = 269 + 65535;

/// Writes a packet for UDP. Whether its options make sense is the caller's affair; see [`super::lint`].
///
/// # Errors
/// When the packet has no well-formed encoding.
pub fn encode(packet: &Packet) -> Result<Vec<u8>, EncodeError> {
    let version = packet.header.get_version();
    if version != 1 {
        return Err(EncodeError::Version(version));
    }
    let code = Code::from(packet.header.code);
    let token = packet.get_token();
    let mut out = Vec::with_capacity(64 + packet.payload.len());
    out.push(1 << 6 | super::Type::from(packet.header.get_type()).bits() << 4 | token.len().min(8) as u8);
    out.push(code.0);
    out.extend_from_slice(&packet.header.message_id.to_be_bytes());
    put_body(&mut out, code, packet)?;
    Ok(out)
}

/// Appends token, options and payload.
pub(crate) fn put_body(out: &mut Vec<u8>, code: Code, packet: &Packet) -> Result<(), EncodeError> {
    let token = packet.get_token();
    if token.len() > 8 {
        return Err(EncodeError::TokenTooLong(token.len()));
    }
    let has_options = packet.options().any(|(_, values)| !values.is_empty());
    if code.is_empty() && (!token.is_empty() || has_options || !packet.payload.is_empty()) {
        return Err(EncodeError::EmptyWithContent);
    }
    out.extend_from_slice(token);
    put_options(out, packet)?;
    if !packet.payload.is_empty() {
        out.push(0xff);
        out.extend_from_slice(&packet.payload);
    }
    Ok(())
}

pub(crate) fn put_options(out: &mut Vec<u8>, packet: &Packet) -> Result<(), EncodeError> {
    let mut previous = 0;
    for (&number, values) in packet.options() {
        for value in values {
            if value.len() > MAX_OPTION_LENGTH {
                return Err(EncodeError::OptionTooLong {
                    number,
                    length: value.len(),
                });
            }
            put_option(out, u32::from(number - previous), value);
            previous = number;
        }
    }
    Ok(())
}

/// Appends one option.
pub(crate) fn put_option(out: &mut Vec<u8>, delta: u32, value: &[u8]) {
    let length = value.len() as u32;
    out.push(nibble(delta) << 4 | nibble(length));
    put_extension(out, delta);
    put_extension(out, length);
    out.extend_from_slice(value);
}

/// The four bits for a delta or length (RFC 7252, 3.1).
pub(crate) const fn nibble(number: u32) -> u8 {
    match number {
        0..=12 => number as u8,
        13..=268 => 13,
        _ => 14,
    }
}

/// The extension bytes for a delta or length.
pub(crate) fn put_extension(out: &mut Vec<u8>, number: u32) {
    match number {
        0..=12 => {}
        13..=268 => out.push((number - 13) as u8),
        _ => out.extend_from_slice(&((number - 269) as u16).to_be_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::{EncodeError, encode};
    use crate::coap::{BlockValue, Code, FormatRule, MessageView, Type, build, option};
    use coap_lite::{CoapOption, Packet};
    use proptest::prelude::*;

    #[test]
    fn a_write_of_block_4096() {
        let mut packet = build::request(Type::Con, Code::PUT, 4711, &[0xa1, 0xb2]).unwrap();
        build::set_path(&mut packet, "/5/0/0");
        build::set_content_format(&mut packet, 42);
        let block: BlockValue = "4096/1/16".parse().unwrap();
        build::set_block1(&mut packet, block);
        packet.payload = vec![7; 16];
        let bytes = encode(&packet).unwrap();
        let view = MessageView::parse(&bytes).unwrap();
        assert_eq!(
            (view.kind(), view.code(), view.message_id(), view.token()),
            (Type::Con, Code::PUT, 4711, &[0xa1, 0xb2][..])
        );
        assert_eq!(view.uri_path(), "/5/0/0");
        assert_eq!(view.block1(), Ok(Some(block)));
        assert_eq!(view.payload_offset(), bytes.len() - 16);
        assert_eq!(build::block1(&packet), Some(block));
    }

    #[test]
    fn what_has_no_encoding() {
        let mut empty = Packet::new();
        empty.header.code = Code::EMPTY.into();
        assert_eq!(encode(&empty).unwrap(), [0x40, 0, 0, 0]);
        empty.set_token(vec![1]);
        assert_eq!(encode(&empty), Err(EncodeError::EmptyWithContent));

        let mut token = Packet::new();
        token.set_token(vec![0; 8]);
        assert!(encode(&token).is_ok());
        token.set_token(vec![0; 9]);
        assert_eq!(encode(&token), Err(EncodeError::TokenTooLong(9)));

        let mut long = Packet::new();
        long.add_option(CoapOption::Unknown(65000), vec![0; 65804]);
        assert_eq!(
            MessageView::parse(&encode(&long).unwrap())
                .unwrap()
                .options()
                .next()
                .unwrap()
                .value
                .len(),
            65804
        );
        long.add_option(CoapOption::Unknown(65000), vec![0; 65805]);
        assert_eq!(
            encode(&long),
            Err(EncodeError::OptionTooLong {
                number: 65000,
                length: 65805
            })
        );

        let mut version = Packet::new();
        version.header.set_version(2);
        assert_eq!(encode(&version), Err(EncodeError::Version(2)));
    }

    fn any_packet() -> impl Strategy<Value = Packet> {
        let options = proptest::collection::vec((any::<u16>(), proptest::collection::vec(any::<u8>(), 0..300)), 0..6);
        let bytes = |max| proptest::collection::vec(any::<u8>(), 0..max);
        (1u8.., 0u8..4, any::<u16>(), bytes(9), options, bytes(600)).prop_map(
            |(code, kind, id, token, options, payload)| {
                let mut packet = build::request(Type::from_bits(kind), Code(code), id, &token).unwrap();
                for (number, value) in options {
                    build::add_option(&mut packet, number, value);
                }
                packet.payload = payload;
                packet
            },
        )
    }

    proptest! {
        #[test]
        fn round_trip(packet in any_packet()) {
            let bytes = encode(&packet).unwrap();
            let view = MessageView::parse(&bytes).unwrap();
            // coap-lite reads the same from the same bytes.
            prop_assert_eq!(Packet::from_bytes(&bytes).unwrap(), view.to_packet());
            prop_assert_eq!(view.to_packet(), packet);
        }

        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..64), repair: bool) {
            if repair && !bytes.is_empty() {
                bytes[0] = 0x40 | bytes[0] & 0x37;
            }
            if let Ok(view) = MessageView::parse(&bytes) {
                // A strict reader leaves one encoding only: the same bytes come back.
                prop_assert_eq!(encode(&view.to_packet()).unwrap(), view.bytes());
                let _ = (view.block1(), view.block2(), view.uri_path(), view.uri_query());
            }
        }

        #[test]
        fn offsets_are_inside(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            match MessageView::parse(&bytes) {
                Ok(view) => for option in view.options() {
                    prop_assert_eq!(&bytes[option.value_offset..option.value_offset + option.value.len()], option.value);
                },
                Err(error) => prop_assert!(error.offset <= bytes.len()),
            }
        }
    }

    fn rule(bytes: &[u8]) -> (FormatRule, usize) {
        let error = MessageView::parse(bytes).unwrap_err();
        (error.rule, error.offset)
    }

    #[test]
    fn every_format_rule_and_its_neighbour() {
        let ok = |bytes: &[u8]| assert!(MessageView::parse(bytes).is_ok(), "{bytes:02x?}");
        assert_eq!(rule(&[]), (FormatRule::TooShort, 0));
        assert_eq!(rule(&[0x40, 1, 0]), (FormatRule::TooShort, 3));
        ok(&[0x40, 1, 0, 0]);
        assert_eq!(rule(&[0x80, 1, 0, 0]), (FormatRule::Version, 0));
        assert_eq!(rule(&[0x00, 1, 0, 0]), (FormatRule::Version, 0));
        ok(&[0x48, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(
            rule(&[0x49, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
            (FormatRule::TokenLength, 0)
        );
        assert_eq!(
            rule(&[0x48, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7]),
            (FormatRule::TruncatedToken, 4)
        );
        ok(&[0x40, 0, 0, 0]);
        assert_eq!(rule(&[0x40, 0, 0, 0, 0xb1]), (FormatRule::EmptyNotEmpty, 4));
        assert_eq!(rule(&[0x41, 0, 0, 0]), (FormatRule::EmptyNotEmpty, 0));
        assert_eq!(rule(&[0x40, 1, 0, 0, 0xf0]), (FormatRule::OptionDelta15, 4));
        assert_eq!(rule(&[0x40, 1, 0, 0, 0x0f]), (FormatRule::OptionLength15, 4));
        ok(&[0x40, 1, 0, 0, 0xb1, b'5']);
        assert_eq!(rule(&[0x40, 1, 0, 0, 0xb1]), (FormatRule::TruncatedOption, 4));
        assert_eq!(rule(&[0x40, 1, 0, 0, 0xd0]), (FormatRule::TruncatedOption, 4));
        assert_eq!(rule(&[0x40, 1, 0, 0, 0xe0, 1]), (FormatRule::TruncatedOption, 4));
        // 269 + 65266 is 65535, the last option number.
        ok(&[0x40, 1, 0, 0, 0xe0, 0xfe, 0xf2]);
        assert_eq!(
            rule(&[0x40, 1, 0, 0, 0xe0, 0xfe, 0xf3]),
            (FormatRule::OptionNumberOverflow, 4)
        );
        assert_eq!(
            rule(&[0x40, 1, 0, 0, 0xe0, 0xfe, 0xf2, 0x10]),
            (FormatRule::OptionNumberOverflow, 7)
        );
        ok(&[0x40, 1, 0, 0, 0xff, 0xff]);
        assert_eq!(rule(&[0x40, 1, 0, 0, 0xff]), (FormatRule::MarkerWithoutPayload, 4));
    }

    #[test]
    fn block_options_that_cannot_be_read() {
        let bytes = [0x40, 3, 0, 0, 0xd1, option::BLOCK1 as u8 - 13, 0x07];
        let view = MessageView::parse(&bytes).unwrap();
        let error = view.block1().unwrap_err();
        assert_eq!((error.rule, error.offset), (FormatRule::BlockSzx, 6));
        assert_eq!(
            error.to_string(),
            "block size exponent 7 is reserved (byte 6, rfc7959/2.2)"
        );
        let bytes = [0x40, 3, 0, 0, 0xd4, option::BLOCK1 as u8 - 13, 0, 0, 0, 0];
        assert_eq!(
            MessageView::parse(&bytes).unwrap().block1().unwrap_err().rule,
            FormatRule::BlockLength
        );
    }
}
