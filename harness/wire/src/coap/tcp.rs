//! Messages over TCP and TLS (RFC 8323, 3): no type, no message ID, a length in front.

use super::{
    BlockError, BlockValue, Code, EncodeError, FormatError, FormatRule, OptionIter, OptionView,
    encode::put_body,
    option,
    view::{check_options, option_accessors, packet_of},
};
use coap_lite::Packet;

/// Option numbers of the signaling messages; each code has its own (RFC 8323, 5.2).
pub mod signal {
    /// In CSM 7.01: the largest message the sender can take (RFC 8323, 5.3.1).
    pub const MAX_MESSAGE_SIZE: u16 = 2;
    /// In CSM 7.01: the sender knows block-wise transfer (RFC 8323, 5.3.2).
    pub const BLOCK_WISE_TRANSFER: u16 = 4;
    /// In Ping 7.02 and Pong 7.03 (RFC 8323, 5.4.1).
    pub const CUSTODY: u16 = 2;
    /// In Release 7.04 (RFC 8323, 5.5).
    pub const ALTERNATIVE_ADDRESS: u16 = 2;
    /// In Release 7.04, seconds (RFC 8323, 5.5).
    pub const HOLD_OFF: u16 = 4;
    /// In Abort 7.05: the CSM option that was not understood (RFC 8323, 5.6).
    pub const BAD_CSM_OPTION: u16 = 2;
}

/// The Max-Message-Size before a CSM says otherwise (RFC 8323, 5.3.1).
pub const BASE_MESSAGE_SIZE: u32 = 1152;

/// A well-formed CoAP message over TCP, read in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameView<'a> {
    bytes: &'a [u8],
    code_offset: usize,
    options_end: usize,
    payload_offset: usize,
}

/// Length and place of the parts before the options.
struct Prefix {
    code_offset: usize,
    token_length: usize,
    total: usize,
}

/// Reads the length in front of a frame; `None` when more bytes are needed to tell.
fn prefix(bytes: &[u8]) -> Result<Option<Prefix>, FormatError> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let token_length = usize::from(first & 15);
    if token_length > 8 {
        return Err(FormatError::new(FormatRule::TokenLength, 0));
    }
    let (extension, base) = match first >> 4 {
        13 => (1, 13),
        14 => (2, 269),
        15 => (4, 65805),
        short => (0, u64::from(short)),
    };
    let Some(extended) = bytes.get(1..1 + extension) else {
        return Ok(None);
    };
    let length = base + extended.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let code_offset = 1 + extension;
    let total = usize::try_from(length)
        .unwrap_or(usize::MAX)
        .saturating_add(code_offset + 1 + token_length);
    Ok(Some(Prefix {
        code_offset,
        token_length,
        total,
    }))
}

/// How long the frame at the start of `bytes` is, as far as its first bytes tell; `None` when more are needed. For a
/// receiver that refuses
/// what is longer than its Max-Message-Size before it has all of it.
///
/// # Errors
/// When the token length is 9 to 15.
pub fn frame_length(bytes: &[u8]) -> Result<Option<usize>, FormatError> {
    Ok(prefix(bytes)?.map(|prefix| prefix.total))
}

impl<'a> FrameView<'a> {
    /// Reads the frame at the start of a stream; `None` when more bytes are needed. [`FrameView::bytes`] tells how many
    /// it takes.
    ///
    /// # Errors
    /// The first rule that is broken, and where. The stream cannot be read further.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Self>, FormatError> {
        let Some(Prefix {
            code_offset,
            token_length,
            total,
        }) = prefix(bytes)?
        else {
            return Ok(None);
        };
        let Some(bytes) = bytes.get(..total) else {
            return Ok(None);
        };
        let (options_end, payload_offset) = check_options(bytes, code_offset + 1 + token_length)?;
        Ok(Some(Self {
            bytes,
            code_offset,
            options_end,
            payload_offset,
        }))
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> Code {
        Code(self.bytes[self.code_offset])
    }

    /// The token, 0 to 8 bytes.
    #[must_use]
    pub fn token(&self) -> &'a [u8] {
        &self.bytes[self.code_offset + 1..self.options_offset()]
    }

    /// Where the options start.
    #[must_use]
    pub const fn options_offset(&self) -> usize {
        self.code_offset + 1 + (self.bytes[0] & 15) as usize
    }

    /// The options in order of their numbers. Those of a signaling message have meanings of their own: see [`signal`].
    #[must_use]
    pub const fn options(&self) -> OptionIter<'a> {
        OptionIter::new(self.bytes, self.options_offset(), self.options_end)
    }

    /// The payload; empty when there is none.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.payload_offset..]
    }

    /// Where the payload starts, after its marker; the length of the frame when there is none.
    #[must_use]
    pub const fn payload_offset(&self) -> usize {
        self.payload_offset
    }

    /// The whole frame.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Block1, where size exponent 7 means BERT (RFC 8323, 6).
    ///
    /// # Errors
    /// When the value is too long.
    pub fn block1(&self) -> Result<Option<BlockValue>, FormatError> {
        self.option(option::BLOCK1).map(bert).transpose()
    }

    /// Block2, where size exponent 7 means BERT (RFC 8323, 6).
    ///
    /// # Errors
    /// When the value is too long.
    pub fn block2(&self) -> Result<Option<BlockValue>, FormatError> {
        self.option(option::BLOCK2).map(bert).transpose()
    }

    /// The message in the model for well-formed messages; type and message ID mean nothing there.
    #[must_use]
    pub fn to_packet(&self) -> Packet {
        packet_of(self.code(), self.token(), self.options(), self.payload())
    }
}

option_accessors!(FrameView);

fn bert(option: OptionView<'_>) -> Result<BlockValue, FormatError> {
    BlockValue::decode_bert(option.value)
        .map_err(|_: BlockError| FormatError::new(FormatRule::BlockLength, option.offset))
}

/// Writes a packet for TCP; its type and message ID are left out.
///
/// # Errors
/// When the packet has no well-formed encoding.
pub fn encode(packet: &Packet) -> Result<Vec<u8>, EncodeError> {
    let code = Code::from(packet.header.code);
    let token_length = packet.get_token().len();
    let mut body = Vec::with_capacity(32 + packet.payload.len());
    put_body(&mut body, code, packet)?;
    let length = body.len() - token_length;
    let mut out = Vec::with_capacity(body.len() + 6);
    let token_bits = token_length as u8;
    match length {
        0..=12 => out.push((length as u8) << 4 | token_bits),
        13..=268 => out.extend_from_slice(&[13 << 4 | token_bits, (length - 13) as u8]),
        269..=65804 => {
            out.push(14 << 4 | token_bits);
            out.extend_from_slice(&((length - 269) as u16).to_be_bytes());
        }
        _ => {
            out.push(15 << 4 | token_bits);
            out.extend_from_slice(&((length - 65805) as u32).to_be_bytes());
        }
    }
    out.push(code.0);
    out.extend_from_slice(&body);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{FrameView, encode, frame_length, signal};
    use crate::coap::{Code, FormatRule, Szx, Type, build, option};
    use proptest::prelude::*;

    #[test]
    fn lengths_at_every_boundary() {
        // Marker and payload make the length.
        for (payload, head) in [
            (0usize, 1usize),
            (11, 1),
            (12, 2),
            (267, 2),
            (268, 3),
            (65803, 3),
            (65804, 5),
        ] {
            let mut packet = build::request(Type::Con, Code::PUT, 0, &[9]).unwrap();
            packet.payload = vec![3; payload];
            let bytes = encode(&packet).unwrap();
            let frame = FrameView::parse(&bytes).unwrap().unwrap();
            assert_eq!(frame.bytes().len(), bytes.len());
            assert_eq!(
                bytes.len(),
                head + 1 + 1 + if payload == 0 { 0 } else { payload + 1 },
                "{payload}"
            );
            assert_eq!(
                (frame.payload().len(), frame.token(), frame.code()),
                (payload, &[9][..], Code::PUT)
            );
            assert_eq!(FrameView::parse(&bytes[..bytes.len() - 1]), Ok(None));
        }
    }

    #[test]
    fn signaling_and_bert() {
        let mut csm = build::request(Type::Con, Code::CSM, 0, &[]).unwrap();
        build::set_uint(&mut csm, signal::MAX_MESSAGE_SIZE, 8192);
        build::set_option(&mut csm, signal::BLOCK_WISE_TRANSFER, []);
        assert_eq!(encode(&csm).unwrap(), [0x40, 0xe1, 0x22, 0x20, 0x00, 0x20]);

        let mut bert = build::request(Type::Con, Code::GET, 0, &[]).unwrap();
        build::set_option(&mut bert, option::BLOCK2, [0x27]);
        let bytes = encode(&bert).unwrap();
        let block = FrameView::parse(&bytes).unwrap().unwrap().block2().unwrap().unwrap();
        assert_eq!((block.num, block.szx, block.offset()), (2, Szx::BERT, 2048));
    }

    #[test]
    fn refused() {
        assert_eq!(FrameView::parse(&[0x09]).unwrap_err().rule, FormatRule::TokenLength);
        assert_eq!(
            FrameView::parse(&[0x10, 1, 0xff]).unwrap_err().rule,
            FormatRule::MarkerWithoutPayload
        );
        assert_eq!(FrameView::parse(&[]), Ok(None));
        assert_eq!(
            frame_length(&[0xf0, 0xff, 0xff, 0xff, 0xff]),
            Ok(Some(65805 + 0xffff_ffff + 6))
        );
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(Some(frame)) = FrameView::parse(&bytes) {
                let again = encode(&frame.to_packet());
                if frame.code().is_empty() {
                    return Ok(());
                }
                prop_assert_eq!(again.unwrap(), frame.bytes());
            }
        }
    }
}
