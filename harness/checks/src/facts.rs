//! What one message says, read in one pass over its options; the same for UDP and TCP.

use crate::hash;
use core::hash::{Hash, Hasher};
use fotaproof_wire::LwPath;
use fotaproof_wire::coap::{BlockValue, Code, Layout, MessageView, OptionIter, Type, lint, option};

/// A token, copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    bytes: [u8; 8],
    length: u8,
}

impl Token {
    /// Of its bytes; a token has eight at the most.
    #[must_use]
    pub fn new(token: &[u8]) -> Self {
        let mut bytes = [0; 8];
        let length = token.len().min(8);
        bytes[..length].copy_from_slice(&token[..length]);
        Self {
            bytes,
            length: length as u8,
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(u64::from_le_bytes(self.bytes) ^ u64::from(self.length) << 60);
    }
}

impl core::fmt::Display for Token {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        if self.length == 0 {
            return f.write_str("(empty)");
        }
        self.as_slice().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What the Uri-Path of a request points at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
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

impl Target {
    /// The path when it is one.
    #[must_use]
    pub const fn lw(&self) -> Option<LwPath> {
        match self {
            Self::Lw(path) => Some(*path),
            _ => None,
        }
    }

    /// The target is that resource, or a resource instance in it.
    #[must_use]
    pub fn is_resource(&self, object: u16, resource: u16) -> bool {
        self.lw()
            .is_some_and(|path| path.object == Some(object) && path.resource == Some(resource))
    }
}

/// The options that rules and reports look at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// What Uri-Path points at.
    pub target: Target,
    /// Hash of Uri-Path and Uri-Query.
    pub uri: u64,
    /// Block1.
    pub block1: Option<BlockValue>,
    /// Block2.
    pub block2: Option<BlockValue>,
    /// Observe.
    pub observe: Option<u32>,
    /// Size1 or Size2.
    pub size: Option<u32>,
    /// Content-Format.
    pub content_format: Option<u16>,
    /// There is an Accept.
    pub accept: bool,
    /// There is an option that no document defines: a sign of bytes that are no CoAP.
    pub strange: bool,
    /// Hash of the first ETag.
    pub etag: Option<u64>,
}

impl Facts {
    /// Of a message over UDP.
    #[must_use]
    pub fn of(view: &MessageView<'_>) -> Self {
        Self::read(view.options(), |value| BlockValue::decode(value).ok())
    }

    /// Of a message over TCP; options of signaling messages have other meanings (RFC 8323, 5.2), so none of them counts.
    #[must_use]
    pub fn of_tcp(code: Code, options: OptionIter<'_>) -> Self {
        if code.class() == 7 {
            return Self::default();
        }
        Self::read(options, |value| BlockValue::decode_bert(value).ok())
    }

    fn read(options: OptionIter<'_>, block: impl Fn(&[u8]) -> Option<BlockValue>) -> Self {
        let mut facts = Self::default();
        let mut uri = hash::Quick::default();
        let mut segments = Segments::default();
        for option in options {
            match option.number {
                option::URI_PATH => {
                    uri.write(option.value);
                    segments.add(option.value);
                }
                option::URI_QUERY => query(&mut uri, option.value),
                option::BLOCK1 => facts.block1 = facts.block1.or_else(|| block(option.value)),
                option::BLOCK2 => facts.block2 = facts.block2.or_else(|| block(option.value)),
                option::OBSERVE if option.value.len() <= 3 => facts.observe = option.uint().map(|value| value as u32),
                option::CONTENT_FORMAT if option.value.len() <= 2 => {
                    facts.content_format = option.uint().map(|value| value as u16);
                }
                option::ACCEPT => facts.accept = true,
                option::ETAG => facts.etag = facts.etag.or_else(|| Some(hash::of(option.value))),
                option::SIZE1 | option::SIZE2 => {
                    facts.size = option.uint().and_then(|size| u32::try_from(size).ok());
                }
                number => facts.strange |= option::name(number).is_none(),
            }
        }
        facts.uri = uri.finish();
        facts.target = segments.target();
        facts
    }
}

fn query(uri: &mut hash::Quick, value: &[u8]) {
    // `?` keeps a query apart from a segment with the same text.
    uri.write_u8(b'?');
    uri.write(value);
}

/// The hash that a request for a `coap` URI has in [`Facts::uri`]: its path and query (RFC 7252, 6.4). None when it is no
/// URI with a path.
#[must_use]
pub fn uri_hash(uri: &str) -> Option<u64> {
    let rest = uri.split_once("://")?.1;
    let path = rest.split_once('/')?.1;
    let (path, queries) = path.split_once('?').unwrap_or((path, ""));
    let mut hash = hash::Quick::default();
    for segment in path.split('/') {
        hash.write(segment.as_bytes());
    }
    for part in queries.split('&').filter(|part| !part.is_empty()) {
        query(&mut hash, part.as_bytes());
    }
    Some(hash.finish())
}

/// All that is read of a message over UDP. It can wait while its bytes are elsewhere: nothing is read twice.
#[derive(Clone, Copy, Debug)]
pub struct Dissection {
    /// Type.
    pub kind: Type,
    /// Code.
    pub code: Code,
    /// Message id.
    pub message_id: u16,
    /// Token.
    pub token: Token,
    /// Hash of all bytes.
    pub bytes: u64,
    /// Options.
    pub facts: Facts,
    /// For the view on the same bytes.
    pub layout: Layout,
    /// The rules on single messages were looked at already, and hold.
    pub flawless: bool,
}

impl Dissection {
    /// Of a message.
    #[must_use]
    pub fn of(view: &MessageView<'_>) -> Self {
        Self {
            kind: view.kind(),
            code: view.code(),
            message_id: view.message_id(),
            token: Token::new(view.token()),
            bytes: hash::of(view.bytes()),
            facts: Facts::of(view),
            layout: view.layout(),
            flawless: false,
        }
    }

    /// Looks at the rules on single messages too, while the bytes are at hand.
    #[must_use]
    pub fn with_lints(self, view: &MessageView<'_>) -> Self {
        Self {
            flawless: lint(view).is_empty(),
            ..self
        }
    }
}

/// The path segments seen so far.
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
