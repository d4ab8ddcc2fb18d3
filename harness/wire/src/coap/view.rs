//! A strict view on the bytes of a message (RFC 7252, 3): nothing is copied and everything has an offset.

use super::{BlockError, BlockValue, Code, Type, option, uint};
use coap_lite::{CoapOption, MessageClass, Packet};
use std::borrow::Cow;

/// The rule of the message format that bytes break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FormatRule {
    /// Fewer than the four bytes of the header.
    TooShort,
    /// The version is not 1; such a message is ignored in silence.
    Version,
    /// The token length is 9 to 15.
    TokenLength,
    /// An Empty message has bytes after the header or a token length.
    EmptyNotEmpty,
    /// The message ends within the token.
    TruncatedToken,
    /// Option delta 15 outside a payload marker.
    OptionDelta15,
    /// Option length 15.
    OptionLength15,
    /// The message ends within an option.
    TruncatedOption,
    /// The deltas add up to more than 65535.
    OptionNumberOverflow,
    /// Nothing follows the payload marker.
    MarkerWithoutPayload,
    /// A block option has more than three bytes.
    BlockLength,
    /// The size exponent of a block option is 7.
    BlockSzx,
}

impl FormatRule {
    /// The clause that states the rule.
    #[must_use]
    pub const fn clause(self) -> &'static str {
        match self {
            Self::TooShort | Self::Version | Self::TokenLength | Self::TruncatedToken | Self::MarkerWithoutPayload => {
                "rfc7252/3"
            }
            Self::EmptyNotEmpty => "rfc7252/4.1",
            Self::OptionDelta15 | Self::OptionLength15 | Self::TruncatedOption | Self::OptionNumberOverflow => {
                "rfc7252/3.1"
            }
            Self::BlockLength => "rfc7959/2.1",
            Self::BlockSzx => "rfc7959/2.2",
        }
    }
}

impl std::fmt::Display for FormatRule {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::TooShort => "a message has at least 4 bytes",
            Self::Version => "the version is not 1",
            Self::TokenLength => "token lengths 9 to 15 are reserved",
            Self::EmptyNotEmpty => "an Empty message has nothing after its 4 bytes",
            Self::TruncatedToken => "the message ends within the token",
            Self::OptionDelta15 => "option delta 15 is reserved for the payload marker",
            Self::OptionLength15 => "option length 15 is reserved",
            Self::TruncatedOption => "the message ends within an option",
            Self::OptionNumberOverflow => "option numbers end at 65535",
            Self::MarkerWithoutPayload => "no payload follows the payload marker",
            Self::BlockLength => "a block option has at most 3 bytes",
            Self::BlockSzx => "block size exponent 7 is reserved",
        })
    }
}

/// A message format error and where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{rule} (byte {offset}, {})", .rule.clause())]
pub struct FormatError {
    /// The rule that is broken.
    pub rule: FormatRule,
    /// The byte of the message where it is broken.
    pub offset: usize,
}

impl FormatError {
    pub(crate) const fn new(rule: FormatRule, offset: usize) -> Self {
        Self { rule, offset }
    }
}

/// One option of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionView<'a> {
    /// Option number.
    pub number: u16,
    /// Where the option, with its delta and length, starts in the message.
    pub offset: usize,
    /// Where its value starts in the message.
    pub value_offset: usize,
    /// The value.
    pub value: &'a [u8],
}

impl<'a> OptionView<'a> {
    /// The value as a number of up to eight bytes.
    #[must_use]
    pub fn uint(&self) -> Option<u64> {
        uint::decode(self.value, 8)
    }

    /// The value as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.value)
    }

    /// The value as a block.
    ///
    /// # Errors
    /// When it is longer than three bytes or its size exponent is 7.
    pub fn block(&self) -> Result<BlockValue, FormatError> {
        BlockValue::decode(self.value).map_err(|error| match error {
            BlockError::ReservedSzx => FormatError::new(FormatRule::BlockSzx, self.value_offset + self.value.len() - 1),
            BlockError::TooLong(_) | BlockError::BadText => FormatError::new(FormatRule::BlockLength, self.offset),
        })
    }
}

/// Goes through the options of a message that has been checked.
#[derive(Debug, Clone)]
pub struct OptionIter<'a> {
    bytes: &'a [u8],
    position: usize,
    end: usize,
    number: u16,
}

impl<'a> OptionIter<'a> {
    pub(crate) const fn new(bytes: &'a [u8], start: usize, end: usize) -> Self {
        Self {
            bytes,
            position: start,
            end,
            number: 0,
        }
    }
}

impl<'a> Iterator for OptionIter<'a> {
    type Item = OptionView<'a>;

    #[inline]
    fn next(&mut self) -> Option<OptionView<'a>> {
        if self.position >= self.end {
            return None;
        }
        let step = step(self.bytes, self.position, self.number).ok()??;
        let offset = self.position;
        self.position = step.value_offset + step.length;
        self.number = step.number;
        let value = self.bytes.get(step.value_offset..self.position)?;
        Some(OptionView {
            number: step.number,
            offset,
            value_offset: step.value_offset,
            value,
        })
    }
}

struct Step {
    number: u16,
    value_offset: usize,
    length: usize,
}

/// Reads the option at `position`; `None` at the payload marker.
#[inline]
fn step(bytes: &[u8], position: usize, previous: u16) -> Result<Option<Step>, FormatError> {
    let Some(&head) = bytes.get(position) else {
        return Err(FormatError::new(FormatRule::TruncatedOption, position));
    };
    if head == 0xff {
        return Ok(None);
    }
    let mut value_offset = position + 1;
    let delta = extended(bytes, &mut value_offset, head >> 4, FormatRule::OptionDelta15, position)?;
    let length = extended(
        bytes,
        &mut value_offset,
        head & 15,
        FormatRule::OptionLength15,
        position,
    )? as usize;
    let Ok(number) = u16::try_from(u32::from(previous) + delta) else {
        return Err(FormatError::new(FormatRule::OptionNumberOverflow, position));
    };
    if bytes.len() - value_offset < length {
        return Err(FormatError::new(FormatRule::TruncatedOption, position));
    }
    Ok(Some(Step {
        number,
        value_offset,
        length,
    }))
}

#[inline]
fn extended(
    bytes: &[u8],
    position: &mut usize,
    nibble: u8,
    reserved: FormatRule,
    start: usize,
) -> Result<u32, FormatError> {
    let truncated = FormatError::new(FormatRule::TruncatedOption, start);
    match nibble {
        0..=12 => Ok(u32::from(nibble)),
        13 => {
            let byte = *bytes.get(*position).ok_or(truncated)?;
            *position += 1;
            Ok(u32::from(byte) + 13)
        }
        14 => {
            let Some(&[high, low]) = bytes.get(*position..*position + 2) else {
                return Err(truncated);
            };
            *position += 2;
            Ok(u32::from(u16::from_be_bytes([high, low])) + 269)
        }
        _ => Err(FormatError::new(reserved, start)),
    }
}

/// Checks options and payload marker from `start`. Gives the end of the options and the start of the payload.
#[inline]
pub(crate) fn check_options(bytes: &[u8], start: usize) -> Result<(usize, usize), FormatError> {
    let mut position = start;
    let mut number = 0;
    while position < bytes.len() {
        let Some(step) = step(bytes, position, number)? else {
            if position + 1 == bytes.len() {
                return Err(FormatError::new(FormatRule::MarkerWithoutPayload, position));
            }
            return Ok((position, position + 1));
        };
        number = step.number;
        position = step.value_offset + step.length;
    }
    Ok((position, position))
}

/// Version, type, token length, code and message ID of anything with four bytes: enough to answer a malformed message
/// with a Reset.
#[must_use]
pub fn peek_header(bytes: &[u8]) -> Option<(u8, Type, u8, Code, u16)> {
    let &[first, code, high, low, ..] = bytes else {
        return None;
    };
    Some((
        first >> 6,
        Type::from_bits(first >> 4),
        first & 15,
        Code(code),
        u16::from_be_bytes([high, low]),
    ))
}

/// Where the options of a message end and where its payload starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    length: u32,
    options_end: u32,
    payload_offset: u32,
}

/// A well-formed CoAP message over UDP, read in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageView<'a> {
    bytes: &'a [u8],
    options_end: usize,
    payload_offset: usize,
}

impl<'a> MessageView<'a> {
    /// Checks the format of a datagram (RFC 7252, 3 and 4.1). What an option means is the affair of [`super::lint`].
    ///
    /// # Errors
    /// The first rule that is broken, and where.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let &[first, code, _, _, ..] = bytes else {
            return Err(FormatError::new(FormatRule::TooShort, bytes.len()));
        };
        if first >> 6 != 1 {
            return Err(FormatError::new(FormatRule::Version, 0));
        }
        let token_length = usize::from(first & 15);
        if token_length > 8 {
            return Err(FormatError::new(FormatRule::TokenLength, 0));
        }
        if code == 0 && (token_length != 0 || bytes.len() != 4) {
            return Err(FormatError::new(
                FormatRule::EmptyNotEmpty,
                if token_length == 0 { 4 } else { 0 },
            ));
        }
        if bytes.len() < 4 + token_length {
            return Err(FormatError::new(FormatRule::TruncatedToken, 4));
        }
        let (options_end, payload_offset) = check_options(bytes, 4 + token_length)?;
        Ok(Self {
            bytes,
            options_end,
            payload_offset,
        })
    }

    /// Where options and payload stand, to be kept in place of a view while its bytes wait.
    #[inline]
    #[must_use]
    pub const fn layout(&self) -> Layout {
        // A datagram has no more bytes than 16 bits count.
        Layout {
            length: self.bytes.len() as u32,
            options_end: self.options_end as u32,
            payload_offset: self.payload_offset as u32,
        }
    }

    /// The view that had this layout, on the same bytes, without a look at them; none when their length is another. On
    /// other bytes of that length it tells nonsense.
    #[inline]
    #[must_use]
    pub const fn with_layout(bytes: &'a [u8], layout: Layout) -> Option<Self> {
        if bytes.len() != layout.length as usize {
            return None;
        }
        Some(Self {
            bytes,
            options_end: layout.options_end as usize,
            payload_offset: layout.payload_offset as usize,
        })
    }

    /// The type.
    #[inline]
    #[must_use]
    pub const fn kind(&self) -> Type {
        Type::from_bits(self.bytes[0] >> 4)
    }

    /// The code.
    #[inline]
    #[must_use]
    pub const fn code(&self) -> Code {
        Code(self.bytes[1])
    }

    /// The message ID.
    #[inline]
    #[must_use]
    pub const fn message_id(&self) -> u16 {
        u16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    /// The token, 0 to 8 bytes.
    #[inline]
    #[must_use]
    pub fn token(&self) -> &'a [u8] {
        self.bytes.get(4..self.options_offset()).unwrap_or_default()
    }

    /// Where the options start.
    #[inline]
    #[must_use]
    pub const fn options_offset(&self) -> usize {
        4 + (self.bytes[0] & 15) as usize
    }

    /// The options in order of their numbers.
    #[inline]
    #[must_use]
    pub const fn options(&self) -> OptionIter<'a> {
        OptionIter::new(self.bytes, self.options_offset(), self.options_end)
    }

    /// The payload; empty when there is none.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.payload_offset..]
    }

    /// Where the payload starts, after its marker; the length of the message when there is none.
    #[inline]
    #[must_use]
    pub const fn payload_offset(&self) -> usize {
        self.payload_offset
    }

    /// The whole message.
    #[inline]
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The message in the model for well-formed messages.
    #[must_use]
    pub fn to_packet(&self) -> Packet {
        let mut packet = packet_of(self.code(), self.token(), self.options(), self.payload());
        packet.header.set_type(self.kind().into());
        packet.header.message_id = self.message_id();
        packet
    }
}

pub(crate) fn packet_of(code: Code, token: &[u8], options: OptionIter<'_>, payload: &[u8]) -> Packet {
    let mut packet = Packet::new();
    packet.header.code = MessageClass::from(code);
    packet.set_token(token.to_vec());
    for option in options {
        packet.add_option(CoapOption::from(option.number), option.value.to_vec());
    }
    packet.payload = payload.to_vec();
    packet
}

/// Text segments joined as a path; a slash or percent sign within a segment is percent-encoded so that the path stays
/// readable back.
pub(crate) fn join_path<'a>(segments: impl Iterator<Item = OptionView<'a>>) -> String {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        for character in segment.text().chars() {
            match character {
                '/' => path.push_str("%2F"),
                '%' => path.push_str("%25"),
                other => path.push(other),
            }
        }
    }
    if path.is_empty() {
        path.push('/');
    }
    path
}

pub(crate) fn first<'a>(mut options: OptionIter<'a>, number: u16) -> Option<OptionView<'a>> {
    options
        .find(|option| option.number >= number)
        .filter(|option| option.number == number)
}

/// The number in a `uint` option; `None` when absent or longer than the option may be.
pub(crate) fn uint_of(options: OptionIter<'_>, number: u16) -> Option<u64> {
    let (_, max) = option::length_bounds(number).unwrap_or((0, 8));
    uint::decode(first(options, number)?.value, max)
}

macro_rules! option_accessors {
    ($view:ident) => {
        impl<'a> $view<'a> {
            /// The first option with that number.
            #[inline]
            #[must_use]
            pub fn option(&self, number: u16) -> Option<$crate::coap::OptionView<'a>> {
                $crate::coap::view::first(self.options(), number)
            }

            /// Every option with that number.
            pub fn options_of(&self, number: u16) -> impl Iterator<Item = $crate::coap::OptionView<'a>> + use<'a> {
                self.options().filter(move |option| option.number == number)
            }

            /// Observe (RFC 7641, 2).
            #[must_use]
            pub fn observe(&self) -> Option<u32> {
                $crate::coap::view::uint_of(self.options(), $crate::coap::option::OBSERVE).map(|number| number as u32)
            }

            /// Content-Format.
            #[must_use]
            pub fn content_format(&self) -> Option<u16> {
                $crate::coap::view::uint_of(self.options(), $crate::coap::option::CONTENT_FORMAT)
                    .map(|number| number as u16)
            }

            /// Accept.
            #[must_use]
            pub fn accept(&self) -> Option<u16> {
                $crate::coap::view::uint_of(self.options(), $crate::coap::option::ACCEPT).map(|number| number as u16)
            }

            /// Size1 (RFC 7959, 4).
            #[must_use]
            pub fn size1(&self) -> Option<u32> {
                $crate::coap::view::uint_of(self.options(), $crate::coap::option::SIZE1).map(|number| number as u32)
            }

            /// Size2 (RFC 7959, 4).
            #[must_use]
            pub fn size2(&self) -> Option<u32> {
                $crate::coap::view::uint_of(self.options(), $crate::coap::option::SIZE2).map(|number| number as u32)
            }

            /// Max-Age; `None` when absent, which means 60 seconds.
            #[must_use]
            pub fn max_age(&self) -> Option<u32> {
                $crate::coap::view::uint_of(self.options(), $crate::coap::option::MAX_AGE).map(|number| number as u32)
            }

            /// The first ETag.
            #[must_use]
            pub fn etag(&self) -> Option<&'a [u8]> {
                self.option($crate::coap::option::ETAG).map(|option| option.value)
            }

            /// The Uri-Path options as `/5/0/3`; `/` when there are none.
            #[must_use]
            pub fn uri_path(&self) -> String {
                $crate::coap::view::join_path(self.options_of($crate::coap::option::URI_PATH))
            }

            /// The Location-Path options as `/rd/5a3f`; `None` when there are none.
            #[must_use]
            pub fn location_path(&self) -> Option<String> {
                self.option($crate::coap::option::LOCATION_PATH)?;
                Some($crate::coap::view::join_path(
                    self.options_of($crate::coap::option::LOCATION_PATH),
                ))
            }

            /// The Uri-Query options, each as `name=value`; what is not UTF-8 is replaced.
            #[must_use]
            pub fn uri_query(&self) -> Vec<std::borrow::Cow<'a, str>> {
                self.options_of($crate::coap::option::URI_QUERY)
                    .map(|option| option.text())
                    .collect()
            }
        }
    };
}
pub(crate) use option_accessors;

option_accessors!(MessageView);

impl MessageView<'_> {
    /// Block1 (RFC 7959, 2.1).
    ///
    /// # Errors
    /// When the value is too long or its size exponent is 7.
    pub fn block1(&self) -> Result<Option<BlockValue>, FormatError> {
        self.option(option::BLOCK1).map(|option| option.block()).transpose()
    }

    /// Block2 (RFC 7959, 2.1).
    ///
    /// # Errors
    /// When the value is too long or its size exponent is 7.
    pub fn block2(&self) -> Result<Option<BlockValue>, FormatError> {
        self.option(option::BLOCK2).map(|option| option.block()).transpose()
    }
}
