//! What one message says, read in one pass over its options.

use crate::hash;
use core::hash::Hasher;
use fotaproof_wire::LwPath;
use fotaproof_wire::coap::{BlockValue, MessageView, option};

/// A token, copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Token {
    bytes: [u8; 8],
    length: u8,
}

impl Token {
    pub(crate) fn new(token: &[u8]) -> Self {
        let mut bytes = [0; 8];
        let length = token.len().min(8);
        bytes[..length].copy_from_slice(&token[..length]);
        Self {
            bytes,
            length: length as u8,
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
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
    /// Anything else: a file, `/bs`, ...
    Other,
}

impl Target {
    /// The path when it is one.
    pub(crate) fn lw(&self) -> Option<LwPath> {
        match self {
            Self::Lw(path) => Some(*path),
            _ => None,
        }
    }

    /// The target is that resource, or a resource instance in it.
    pub(crate) fn is_resource(&self, object: u16, resource: u16) -> bool {
        self.lw()
            .is_some_and(|path| path.object == Some(object) && path.resource == Some(resource))
    }
}

/// The options that rules look at.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) target: Target,
    /// Hash of Uri-Path and Uri-Query.
    pub(crate) uri: u64,
    pub(crate) block1: Option<BlockValue>,
    pub(crate) block2: Option<BlockValue>,
    pub(crate) observe: Option<u32>,
    pub(crate) content_format: Option<u16>,
    pub(crate) accept: bool,
    /// Hash of the first ETag.
    pub(crate) etag: Option<u64>,
}

impl Facts {
    pub(crate) fn of(view: &MessageView<'_>) -> Self {
        let mut facts = Self::default();
        let mut uri = hash::Quick::default();
        let mut segments = Segments::default();
        for option in view.options() {
            match option.number {
                option::URI_PATH | option::URI_QUERY => {
                    uri.write_u16(option.number);
                    uri.write(option.value);
                    if option.number == option::URI_PATH {
                        segments.add(option.value);
                    }
                }
                option::BLOCK1 => facts.block1 = facts.block1.or_else(|| option.block().ok()),
                option::BLOCK2 => facts.block2 = facts.block2.or_else(|| option.block().ok()),
                option::OBSERVE if option.value.len() <= 3 => facts.observe = option.uint().map(|value| value as u32),
                option::CONTENT_FORMAT if option.value.len() <= 2 => {
                    facts.content_format = option.uint().map(|value| value as u16);
                }
                option::ACCEPT => facts.accept = true,
                option::ETAG => facts.etag = facts.etag.or_else(|| Some(hash::of(option.value))),
                _ => {}
            }
        }
        facts.uri = uri.finish();
        facts.target = segments.target();
        facts
    }
}

/// The path segments seen so far.
#[derive(Default)]
struct Segments {
    count: usize,
    numbers: [Option<u16>; 4],
    first: First,
}

#[derive(Default, PartialEq)]
enum First {
    #[default]
    Other,
    Rd,
    Dp,
}

impl Segments {
    fn add(&mut self, segment: &[u8]) {
        if self.count == 0 {
            self.first = match segment {
                b"rd" => First::Rd,
                b"dp" => First::Dp,
                _ => First::Other,
            };
        }
        if let Some(slot) = self.numbers.get_mut(self.count) {
            *slot = number(segment);
        }
        self.count += 1;
    }

    fn target(&self) -> Target {
        match (&self.first, self.count) {
            (_, 0) => Target::Root,
            (First::Rd, 1) => Target::Register,
            (First::Rd, _) => Target::Registration,
            (First::Dp, 1) => Target::Send,
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
