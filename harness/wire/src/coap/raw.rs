//! Writing messages that may break every rule, for cases that send them on purpose.

use super::{
    Code, Type,
    encode::{nibble, put_extension},
};
use coap_lite::Packet;

/// One option of a [`RawMessage`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawOption {
    /// Option number; `None` writes delta 0. A number below the one before is written as a delta that runs past 65535.
    pub number: Option<u16>,
    /// The value.
    pub value: Vec<u8>,
    /// Written in place of the delta's four bits; no extension bytes follow.
    pub delta_nibble: Option<u8>,
    /// Written in place of the length's four bits; no extension bytes follow. The value is written all the same.
    pub length_nibble: Option<u8>,
    /// Written in place of the whole option.
    pub raw: Option<Vec<u8>>,
}

impl RawOption {
    /// A regular option.
    #[must_use]
    pub fn new(number: u16, value: impl Into<Vec<u8>>) -> Self {
        Self {
            number: Some(number),
            value: value.into(),
            ..Self::default()
        }
    }

    /// Bytes in place of an option.
    #[must_use]
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            raw: Some(bytes.into()),
            ..Self::default()
        }
    }
}

/// A message as its parts, each of which may be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawMessage {
    /// Version, two bits; 1 is the only valid one.
    pub version: u8,
    /// Type, two bits.
    pub kind: u8,
    /// Token length, four bits; that of `token` when `None`.
    pub token_length: Option<u8>,
    /// Code.
    pub code: u8,
    /// Message ID.
    pub message_id: u16,
    /// Token, of any length.
    pub token: Vec<u8>,
    /// Options, written in this order.
    pub options: Vec<RawOption>,
    /// Whether a payload marker is written; when `None`, only before a payload.
    pub marker: Option<bool>,
    /// Payload.
    pub payload: Vec<u8>,
    /// Bytes after the payload.
    pub tail: Vec<u8>,
    /// Cuts the message to this many bytes.
    pub truncate: Option<usize>,
}

impl Default for RawMessage {
    /// A well-formed Confirmable GET of the root with message ID 0.
    fn default() -> Self {
        Self {
            version: 1,
            kind: 0,
            token_length: None,
            code: Code::GET.0,
            message_id: 0,
            token: Vec::new(),
            options: Vec::new(),
            marker: None,
            payload: Vec::new(),
            tail: Vec::new(),
            truncate: None,
        }
    }
}

impl RawMessage {
    /// A well-formed message to change.
    #[must_use]
    pub fn new(kind: Type, code: Code, message_id: u16, token: &[u8]) -> Self {
        Self {
            kind: kind.bits(),
            code: code.0,
            message_id,
            token: token.to_vec(),
            ..Self::default()
        }
    }

    /// Adds an option.
    #[must_use]
    pub fn with_option(mut self, number: u16, value: impl Into<Vec<u8>>) -> Self {
        self.options.push(RawOption::new(number, value));
        self
    }

    /// Writes the message as it stands.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let token_length = self.token_length.unwrap_or_else(|| self.token.len().min(15) as u8);
        let mut out = vec![
            (self.version & 3) << 6 | (self.kind & 3) << 4 | token_length & 15,
            self.code,
        ];
        out.extend_from_slice(&self.message_id.to_be_bytes());
        out.extend_from_slice(&self.token);
        let mut previous = 0;
        for option in &self.options {
            put(&mut out, &mut previous, option);
        }
        if self.marker.unwrap_or(!self.payload.is_empty()) {
            out.push(0xff);
        }
        out.extend_from_slice(&self.payload);
        out.extend_from_slice(&self.tail);
        if let Some(length) = self.truncate {
            out.truncate(length);
        }
        out
    }
}

fn put(out: &mut Vec<u8>, previous: &mut u16, option: &RawOption) {
    if let Some(raw) = &option.raw {
        out.extend_from_slice(raw);
        return;
    }
    let number = option.number.unwrap_or(*previous);
    let delta = if number >= *previous {
        u32::from(number - *previous)
    } else {
        65536 + u32::from(number) - u32::from(*previous)
    };
    *previous = number;
    let length = option.value.len() as u32;
    out.push(
        option.delta_nibble.unwrap_or_else(|| nibble(delta)) << 4
            | option.length_nibble.unwrap_or_else(|| nibble(length)) & 15,
    );
    if option.delta_nibble.is_none() {
        put_extension(out, delta);
    }
    if option.length_nibble.is_none() {
        put_extension(out, length);
    }
    out.extend_from_slice(&option.value);
}

impl From<&Packet> for RawMessage {
    fn from(packet: &Packet) -> Self {
        let options = packet
            .options()
            .flat_map(|(number, values)| values.iter().map(|value| RawOption::new(*number, value.clone())));
        Self {
            version: packet.header.get_version(),
            kind: Type::from(packet.header.get_type()).bits(),
            code: Code::from(packet.header.code).0,
            message_id: packet.header.message_id,
            token: packet.get_token().to_vec(),
            options: options.collect(),
            payload: packet.payload.clone(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{RawMessage, RawOption};
    use crate::coap::{Code, FormatRule, MessageView, Type, encode, option};

    fn rule(message: &RawMessage) -> FormatRule {
        MessageView::parse(&message.encode()).unwrap_err().rule
    }

    #[test]
    fn left_alone_it_is_well_formed() {
        let message = RawMessage::new(Type::Con, Code::PUT, 7, &[1, 2])
            .with_option(option::URI_PATH, *b"5")
            .with_option(option::SIZE1, [1, 0]);
        let message = RawMessage {
            payload: b"x".to_vec(),
            ..message
        };
        let packet = MessageView::parse(&message.encode()).unwrap().to_packet();
        assert_eq!(encode(&packet).unwrap(), message.encode());
        assert_eq!(RawMessage::from(&packet), message);
    }

    #[test]
    fn every_malformation_the_library_sends() {
        let valid = RawMessage::new(Type::Con, Code::GET, 1, &[]);
        for length in [9, 12, 15] {
            assert_eq!(
                rule(&RawMessage {
                    token: vec![0; length],
                    ..valid.clone()
                }),
                FormatRule::TokenLength
            );
        }
        assert_eq!(
            rule(&RawMessage {
                version: 2,
                ..valid.clone()
            }),
            FormatRule::Version
        );
        assert_eq!(
            rule(&RawMessage {
                token_length: Some(4),
                ..valid.clone()
            }),
            FormatRule::TruncatedToken
        );
        assert_eq!(
            rule(&RawMessage {
                marker: Some(true),
                ..valid.clone()
            }),
            FormatRule::MarkerWithoutPayload
        );
        assert_eq!(
            rule(&RawMessage {
                truncate: Some(3),
                ..valid.clone()
            }),
            FormatRule::TooShort
        );
        assert_eq!(
            rule(&RawMessage {
                code: 0,
                tail: vec![1],
                ..valid.clone()
            }),
            FormatRule::EmptyNotEmpty
        );
        let with = |option| RawMessage {
            options: vec![option],
            ..valid.clone()
        };
        assert_eq!(
            rule(&with(RawOption {
                delta_nibble: Some(15),
                ..RawOption::default()
            })),
            FormatRule::OptionDelta15
        );
        assert_eq!(
            rule(&with(RawOption {
                length_nibble: Some(15),
                ..RawOption::default()
            })),
            FormatRule::OptionLength15
        );
        let long = RawOption {
            number: Some(11),
            value: b"5".to_vec(),
            length_nibble: Some(12),
            ..RawOption::default()
        };
        assert_eq!(rule(&with(long)), FormatRule::TruncatedOption);
        assert_eq!(
            rule(&valid.clone().with_option(11, []).with_option(3, [])),
            FormatRule::OptionNumberOverflow
        );
        assert_eq!(rule(&with(RawOption::raw([0xff]))), FormatRule::MarkerWithoutPayload);
    }
}
