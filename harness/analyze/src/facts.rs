//! What one message says, read in one pass over its options. The same for UDP and TCP.

use core::hash::Hasher;
use fotaproof_wire::LwPath;
use fotaproof_wire::coap::tcp::FrameView;
use fotaproof_wire::coap::{BlockValue, Code, MessageView, OptionIter, Type, option};

use crate::hash::Quick;

/// A token, copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Token {
    bytes: u64,
    length: u8,
}

impl Token {
    pub(crate) fn new(token: &[u8]) -> Self {
        let mut bytes = [0; 8];
        let length = token.len().min(8);
        bytes[..length].copy_from_slice(&token[..length]);
        Self {
            bytes: u64::from_le_bytes(bytes),
            length: length as u8,
        }
    }
}

/// What the Uri-Path of a request points at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Target {
    /// An object, an instance, a resource or a resource instance.
    Lw(LwPath),
    /// `/`: composite operations.
    #[default]
    Root,
    /// `/rd`.
    Register,
    /// `/rd/...`.
    Registration,
    /// `/dp`: Send.
    Send,
    /// `/bs`: Bootstrap-Request.
    Bootstrap,
    /// Anything else: a file.
    Other,
}

/// A message, whatever carried it.
#[derive(Clone, Debug)]
pub(crate) struct Message<'a> {
    /// None over TCP.
    pub(crate) kind: Option<Type>,
    pub(crate) message_id: u16,
    pub(crate) code: Code,
    pub(crate) token: Token,
    pub(crate) options: OptionIter<'a>,
    pub(crate) payload: &'a [u8],
    pub(crate) target: Target,
    /// Hash of Uri-Path and Uri-Query.
    pub(crate) uri: u64,
    pub(crate) block1: Option<BlockValue>,
    pub(crate) block2: Option<BlockValue>,
    pub(crate) observe: Option<u32>,
    pub(crate) content_format: Option<u16>,
    pub(crate) size: Option<u64>,
    /// An option that no document defines: a sign of bytes that are no CoAP.
    pub(crate) strange: bool,
}

impl<'a> Message<'a> {
    pub(crate) fn of_udp(view: &MessageView<'a>) -> Self {
        Self::read(
            Some(view.kind()),
            view.message_id(),
            view.code(),
            view.token(),
            view.options(),
            view.payload(),
        )
    }

    pub(crate) fn of_tcp(view: &FrameView<'a>) -> Self {
        Self::read(None, 0, view.code(), view.token(), view.options(), view.payload())
    }

    fn read(
        kind: Option<Type>,
        message_id: u16,
        code: Code,
        token: &[u8],
        options: OptionIter<'a>,
        payload: &'a [u8],
    ) -> Self {
        let mut message = Self {
            kind,
            message_id,
            code,
            token: Token::new(token),
            options: options.clone(),
            payload,
            target: Target::Root,
            uri: 0,
            block1: None,
            block2: None,
            observe: None,
            content_format: None,
            size: None,
            strange: false,
        };
        // Options of signaling messages have other meanings (RFC 8323, 5.2).
        if code.class() == 7 {
            return message;
        }
        let block = |value: &[u8]| {
            if kind.is_some() {
                BlockValue::decode(value).ok()
            } else {
                BlockValue::decode_bert(value).ok()
            }
        };
        let mut uri = Quick::default();
        let mut segments = Segments::default();
        for option in options {
            match option.number {
                option::URI_PATH => {
                    uri.write(option.value);
                    segments.add(option.value);
                }
                option::URI_QUERY => uri.write(option.value),
                option::BLOCK1 => message.block1 = block(option.value),
                option::BLOCK2 => message.block2 = block(option.value),
                option::SIZE1 | option::SIZE2 => message.size = option.uint(),
                option::OBSERVE => message.observe = option.uint().map(|value| value as u32 & 0x00ff_ffff),
                option::CONTENT_FORMAT => {
                    message.content_format = option.uint().and_then(|value| u16::try_from(value).ok());
                }
                number => message.strange |= option::name(number).is_none(),
            }
        }
        message.uri = uri.finish();
        message.target = segments.target();
        message
    }

    /// The Uri-Path as text, cut to what a report shows.
    pub(crate) fn path(&self) -> String {
        let mut path = String::new();
        for option in self.options.clone().filter(|option| option.number == option::URI_PATH) {
            path.push('/');
            path.push_str(&option.text());
            if path.len() > 200 {
                break;
            }
        }
        clean(&path, 200)
    }

    /// The Location-Path as text.
    pub(crate) fn location(&self) -> Option<String> {
        let mut path = String::new();
        for option in self
            .options
            .clone()
            .filter(|option| option.number == option::LOCATION_PATH)
        {
            path.push('/');
            path.push_str(&option.text());
        }
        (!path.is_empty()).then(|| clean(&path, 200))
    }
}

/// A text of the other side, fit for a report: printable and no longer than `limit`.
pub(crate) fn clean(text: &str, limit: usize) -> String {
    let printable = text
        .chars()
        .take(limit)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c });
    let mut cleaned: String = printable.collect();
    if text.chars().nth(limit).is_some() {
        cleaned.push('…');
    }
    cleaned
}

#[derive(Default)]
struct Segments {
    count: usize,
    numbers: [Option<u16>; 4],
    first: First,
}

#[derive(Clone, Copy, Default)]
enum First {
    #[default]
    Other,
    Rd,
    Dp,
    Bs,
}

impl Segments {
    fn add(&mut self, segment: &[u8]) {
        if self.count == 0 {
            self.first = match segment {
                b"rd" => First::Rd,
                b"dp" => First::Dp,
                b"bs" => First::Bs,
                _ => First::Other,
            };
        }
        if let Some(slot) = self.numbers.get_mut(self.count) {
            *slot = number(segment);
        }
        self.count += 1;
    }

    fn target(&self) -> Target {
        match (self.first, self.count) {
            (_, 0) => Target::Root,
            (First::Rd, 1) => Target::Register,
            (First::Rd, _) => Target::Registration,
            (First::Dp, 1) => Target::Send,
            (First::Bs, 1) => Target::Bootstrap,
            (_, 1..=4) if self.numbers[..self.count].iter().all(Option::is_some) => {
                let [object, instance, resource, resource_instance] = self.numbers;
                Target::Lw(LwPath {
                    object,
                    instance,
                    resource,
                    resource_instance,
                })
            }
            _ => Target::Other,
        }
    }
}

fn number(segment: &[u8]) -> Option<u16> {
    if segment.is_empty() || segment.len() > 5 {
        return None;
    }
    let mut value = 0u32;
    for digit in segment {
        value = value * 10 + u32::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
    }
    u16::try_from(value).ok()
}
