//! Scalars of the case language: each is written as one word or number and says in its error
//! what it wants.

use core::fmt;
use core::marker::PhantomData;
use core::str::FromStr;
use core::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

/// Where a value stands in its file. Lines and columns count from 1; a column counts characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pos {
    /// Line, from 1; 0 when the value has no place in a file.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Byte offset in the file.
    pub offset: usize,
    /// Length in bytes.
    pub len: usize,
}

/// A value with its place in the file.
///
/// Deserialises through the struct name [`At::NAME`], which this crate's own deserialiser
/// answers with the sequence line, column, offset, length, value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub pos: Pos,
}

impl<T> At<T> {
    /// The struct name that asks the deserialiser for the position.
    pub const NAME: &'static str = "$fotaproof::At";
    /// The fields that the deserialiser answers with, in this order.
    pub const FIELDS: &'static [&'static str] = &["line", "column", "offset", "len", "value"];
}

impl<T> core::ops::Deref for At<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AtVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for AtVisitor<T> {
            type Value = At<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value with its position")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<At<T>, A::Error> {
                let mut number = || -> Result<u64, A::Error> {
                    seq.next_element()?
                        .ok_or_else(|| de::Error::custom("a position has four numbers"))
                };
                let line = u32::try_from(number()?).unwrap_or(u32::MAX);
                let column = u32::try_from(number()?).unwrap_or(u32::MAX);
                let offset = usize::try_from(number()?).unwrap_or(usize::MAX);
                let len = usize::try_from(number()?).unwrap_or(usize::MAX);
                let value = seq
                    .next_element()?
                    .ok_or_else(|| de::Error::custom("a value follows its position"))?;
                Ok(At {
                    value,
                    pos: Pos {
                        line,
                        column,
                        offset,
                        len,
                    },
                })
            }
        }
        deserializer.deserialize_struct(Self::NAME, Self::FIELDS, AtVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

/// One value or a list of values.
///
/// Deserialises through the newtype name [`Many::NAME`]: this crate's deserialiser shows a
/// single value as a list of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Many<T>(pub Vec<T>);

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Many<T> {
    /// The newtype name that asks the deserialiser for a list in any case.
    pub const NAME: &'static str = "$fotaproof::Many";
}

impl<T> core::ops::Deref for Many<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ManyVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for ManyVisitor<T> {
            type Value = Many<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value or a list of values")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Many<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = seq.next_element()? {
                    all.push(one);
                }
                Ok(Many(all))
            }
        }
        deserializer.deserialize_newtype_struct(Self::NAME, ManyVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Many<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Many_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({"anyOf": [one, {"type": "array", "items": one}]})
    }
}

/// Why a word of the case language could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found `{found}`")]
pub struct ParseProblem {
    /// What the place wants, with an example.
    pub expected: &'static str,
    /// What stands there.
    pub found: String,
}

fn problem<T>(expected: &'static str, found: &str) -> Result<T, ParseProblem> {
    Err(ParseProblem {
        expected,
        found: found.to_owned(),
    })
}

/// Reads a scalar by its `FromStr` and describes it in the schema as a string or a number.
macro_rules! scalar {
    ($name:ident, $schema:tt) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Words;
                impl Visitor<'_> for Words {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        // No scalar of the language is the NUL character: its refusal says what is wanted.
                        match "\0".parse::<$name>() {
                            Err(problem) => f.write_str(problem.expected),
                            Ok(_) => f.write_str("a word or number"),
                        }
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(de::Error::custom)
                    }
                }
                deserializer.deserialize_str(Words)
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

/// A length of time of the IUT: `250ms`, `10s`, `2m`, `1h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = ParseProblem;
    fn from_str(text: &str) -> Result<Self, ParseProblem> {
        const WANT: &str = "a duration such as 250ms, 10s, 2m or 1h";
        let text = text.trim();
        let split = text
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let Ok(number) = number.parse::<f64>() else {
            return problem(WANT, text);
        };
        let scale = match unit.trim() {
            "us" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            "" if number == 0.0 => 0.0,
            _ => return problem(WANT, text),
        };
        Duration::try_from_secs_f64(number * scale)
            .map(|exact| Self(Duration::from_micros((exact.as_secs_f64() * 1e6).round() as u64)))
            .or_else(|_| problem(WANT, text))
    }
}
scalar!(Span, {"type": ["string", "number"], "pattern": "^([0-9.]+ ?(us|ms|s|m|min|h|d)|0)$", "description": "a duration such as 250ms, 10s, 2m or 1h"});

/// A number of bytes: `512`, `8 KiB`, `1 MiB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = ParseProblem;
    fn from_str(text: &str) -> Result<Self, ParseProblem> {
        const WANT: &str = "a size such as 512, 8 KiB or 1 MiB";
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let scale = match unit.trim() {
            "" | "B" => 1,
            "kB" => 1000,
            "KiB" => 1 << 10,
            "MB" => 1_000_000,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return problem(WANT, text),
        };
        match number.parse::<u64>().ok().and_then(|n| n.checked_mul(scale)) {
            Some(bytes) => Ok(Self(bytes)),
            None => problem(WANT, text),
        }
    }
}
scalar!(Size, {"type": ["string", "integer"], "description": "a number of bytes: 512, 8 KiB, 1 MiB"});

/// A probability: `0.1` or `10 %`.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Probability(pub f64);

impl FromStr for Probability {
    type Err = ParseProblem;
    fn from_str(text: &str) -> Result<Self, ParseProblem> {
        const WANT: &str = "a probability such as 0.1 or 10 %";
        let text = text.trim();
        let (number, scale) = match text.strip_suffix('%') {
            Some(percent) => (percent.trim(), 100.0),
            None => (text, 1.0),
        };
        match number.parse::<f64>() {
            Ok(p) if (0.0..=scale).contains(&p) => Ok(Self(p / scale)),
            _ => problem(WANT, text),
        }
    }
}
scalar!(Probability, {"type": ["string", "number"], "description": "a probability such as 0.1 or 10 %"});

/// A response code or a class of them: `2.04`, `4.xx`; or what came instead: `rst`, `none`, `lost`, `any`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeMatch {
    /// This code, as class and detail in one byte (RFC 7252 section 3).
    Exact(u8),
    /// Any code of the class.
    Class(u8),
    /// A Reset message.
    Rst,
    /// No answer at all.
    None,
    /// No answer, and the link lost every send of the request or every answer: nobody is to blame.
    Lost,
    /// Any answer.
    Any,
}

impl CodeMatch {
    /// Whether a response code matches; Reset and silence are the caller's to tell apart.
    #[must_use]
    pub const fn matches(self, code: u8) -> bool {
        match self {
            Self::Exact(want) => want == code,
            Self::Class(class) => code >> 5 == class,
            Self::Any => true,
            Self::Rst | Self::None | Self::Lost => false,
        }
    }
}

impl fmt::Display for CodeMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(code) => write!(f, "{}.{:02}", code >> 5, code & 31),
            Self::Class(class) => write!(f, "{class}.xx"),
            Self::Rst => f.write_str("RST"),
            Self::None => f.write_str("no answer"),
            Self::Lost => f.write_str("no answer through the link's loss"),
            Self::Any => f.write_str("any answer"),
        }
    }
}

impl FromStr for CodeMatch {
    type Err = ParseProblem;
    fn from_str(text: &str) -> Result<Self, ParseProblem> {
        const WANT: &str = "a response code such as 2.04, a class such as 4.xx, or rst, none, lost, any";
        match text {
            "rst" => return Ok(Self::Rst),
            "none" => return Ok(Self::None),
            "lost" => return Ok(Self::Lost),
            "any" => return Ok(Self::Any),
            _ => {}
        }
        let Some((class, detail)) = text.split_once('.') else {
            return problem(WANT, text);
        };
        let (Ok(class @ 0..=7), 2) = (class.parse::<u8>(), detail.len()) else {
            return problem(WANT, text);
        };
        if detail == "xx" {
            return Ok(Self::Class(class));
        }
        match detail.parse::<u8>() {
            Ok(detail @ 0..=31) => Ok(Self::Exact(class << 5 | detail)),
            _ => problem(WANT, text),
        }
    }
}
scalar!(CodeMatch, {"type": ["string", "number"], "description": "a response code such as 2.04, a class such as 4.xx, or rst, none, lost, any"});

/// A state of the firmware object (object 5 resource 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateName(pub u8);

impl StateName {
    /// The registry's names, by value.
    pub const NAMES: [&'static str; 4] = ["idle", "downloading", "downloaded", "updating"];
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAMES.get(usize::from(self.0)).unwrap_or(&"unknown"))
    }
}

impl FromStr for StateName {
    type Err = ParseProblem;
    fn from_str(text: &str) -> Result<Self, ParseProblem> {
        match Self::NAMES.iter().position(|name| *name == text) {
            Some(value) => Ok(Self(value as u8)),
            None => problem("a state: idle, downloading, downloaded or updating", text),
        }
    }
}
scalar!(StateName, {"enum": ["idle", "downloading", "downloaded", "updating"]});

/// An update result of the firmware object (object 5 resource 5), by name or number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResultName(pub u8);

impl ResultName {
    /// Our names of the registry's values 0 to 11, by value.
    pub const NAMES: [&'static str; 12] = [
        "initial",
        "success",
        "no-flash",
        "no-ram",
        "connection-lost",
        "integrity-failed",
        "unsupported-type",
        "invalid-uri",
        "update-failed",
        "unsupported-protocol",
        "cancelled",
        "deferred",
    ];
}

impl fmt::Display for ResultName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.get(usize::from(self.0)) {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for ResultName {
    type Err = ParseProblem;
    fn from_str(text: &str) -> Result<Self, ParseProblem> {
        if let Some(value) = Self::NAMES.iter().position(|name| *name == text) {
            return Ok(Self(value as u8));
        }
        match text.parse::<u8>() {
            Ok(value) => Ok(Self(value)),
            Err(_) => problem(
                "a result such as initial, success, integrity-failed, or its number",
                text,
            ),
        }
    }
}
scalar!(ResultName, {"type": ["string", "integer"], "description": "initial, success, no-flash, no-ram, connection-lost, integrity-failed, unsupported-type, invalid-uri, update-failed, unsupported-protocol, cancelled, deferred, or the number"});

/// State and result together: `2/0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// The state, or the update state of object 9.
    pub state: u8,
    /// The result; absent in `0/*`.
    pub result: Option<u8>,
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.result {
            Some(result) => write!(f, "{}/{result}", self.state),
            None => write!(f, "{}/*", self.state),
        }
    }
}

impl FromStr for Pair {
    type Err = ParseProblem;
    fn from_str(text: &str) -> Result<Self, ParseProblem> {
        const WANT: &str = "a pair of state and result such as 2/0 or 0/*";
        let Some((state, result)) = text.split_once('/') else {
            return problem(WANT, text);
        };
        let Ok(state) = state.trim().parse() else {
            return problem(WANT, text);
        };
        let result = match result.trim() {
            "*" => None,
            number => match number.parse() {
                Ok(number) => Some(number),
                Err(_) => return problem(WANT, text),
            },
        };
        Ok(Self { state, result })
    }
}
scalar!(Pair, {"type": "string", "pattern": "^[0-9]+/([0-9]+|\\*)$"});

/// A block as the notation writes it: `7/1/512` is NUM 7, M 1, 512 bytes (RFC 7959 section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockText {
    /// Block number.
    pub num: u32,
    /// More blocks follow.
    pub more: bool,
    /// Block size in bytes; 2048 stands for the reserved SZX 7.
    pub size: u16,
}

impl fmt::Display for BlockText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.num, u8::from(self.more), self.size)
    }
}

impl FromStr for BlockText {
    type Err = ParseProblem;
    fn from_str(text: &str) -> Result<Self, ParseProblem> {
        const WANT: &str = "a block as NUM/M/SIZE such as 7/1/512";
        let parts: Vec<&str> = text.split('/').collect();
        let [num, more, size] = parts[..] else {
            return problem(WANT, text);
        };
        match (num.parse::<u32>(), more, size.parse::<u16>()) {
            (Ok(num @ 0..=0xF_FFFF), "0" | "1", Ok(size @ (16 | 32 | 64 | 128 | 256 | 512 | 1024 | 2048))) => {
                Ok(Self {
                    num,
                    more: more == "1",
                    size,
                })
            }
            _ => problem(WANT, text),
        }
    }
}
scalar!(BlockText, {"type": "string", "pattern": "^[0-9]+/[01]/[0-9]+$"});

/// An LwM2M or CoAP path: `/5/0/3`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub String);

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Path {
    type Err = ParseProblem;
    fn from_str(text: &str) -> Result<Self, ParseProblem> {
        if text.starts_with('/') && !text.contains("//") {
            Ok(Self(text.to_owned()))
        } else {
            problem("a path such as /5/0/3", text)
        }
    }
}
scalar!(Path, {"type": "string", "pattern": "^/"});

/// Bytes in hexadecimal; spaces between them are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hex(pub Vec<u8>);

impl FromStr for Hex {
    type Err = ParseProblem;
    fn from_str(text: &str) -> Result<Self, ParseProblem> {
        const WANT: &str = "bytes in hexadecimal such as \"00 ff\"";
        let digits: Option<Vec<u8>> = text
            .chars()
            .filter(|c| !c.is_whitespace())
            .map(|c| c.to_digit(16).map(|d| d as u8))
            .collect();
        match digits {
            Some(digits) if digits.len() % 2 == 0 => Ok(Self(digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect())),
            _ => problem(WANT, text),
        }
    }
}
scalar!(Hex, {"type": ["string", "integer"], "pattern": "^([0-9a-fA-F]{2} ?)*$"});

/// A content format by name or number (RFC 7252 section 12.3 and the LwM2M registrations).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataFormat(pub u16);

impl DataFormat {
    const NAMES: [(&'static str, u16); 9] = [
        ("text", 0),
        ("link-format", 40),
        ("opaque", 42),
        ("cbor", 60),
        ("senml-json", 110),
        ("senml-cbor", 112),
        ("tlv", 11542),
        ("lwm2m-json", 11543),
        ("lwm2m-cbor", 11544),
    ];
}

impl fmt::Display for DataFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for DataFormat {
    type Err = ParseProblem;
    fn from_str(text: &str) -> Result<Self, ParseProblem> {
        if let Some((_, number)) = Self::NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(Self(*number));
        }
        match text.parse() {
            Ok(number) => Ok(Self(number)),
            Err(_) => problem(
                "a format: text, link-format, opaque, cbor, senml-json, senml-cbor, tlv, or its number",
                text,
            ),
        }
    }
}
scalar!(DataFormat, {"type": ["string", "integer"], "description": "text, link-format, opaque, cbor, senml-json, senml-cbor, tlv, lwm2m-json, lwm2m-cbor, or the number"});

/// A CoAP method, by name or as a code such as `0.09`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method(pub u8);

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ["", "GET", "POST", "PUT", "DELETE", "FETCH", "PATCH", "iPATCH"].get(usize::from(self.0)) {
            Some(name) if !name.is_empty() => f.write_str(name),
            _ => write!(f, "{}.{:02}", self.0 >> 5, self.0 & 31),
        }
    }
}

impl FromStr for Method {
    type Err = ParseProblem;
    fn from_str(text: &str) -> Result<Self, ParseProblem> {
        match text.to_ascii_lowercase().as_str() {
            "get" => Ok(Self(1)),
            "post" => Ok(Self(2)),
            "put" => Ok(Self(3)),
            "delete" => Ok(Self(4)),
            "fetch" => Ok(Self(5)),
            "patch" => Ok(Self(6)),
            "ipatch" => Ok(Self(7)),
            code => match CodeMatch::from_str(code) {
                Ok(CodeMatch::Exact(code)) => Ok(Self(code)),
                _ => problem(
                    "a method: get, post, put, delete, fetch, patch, ipatch, or a code such as 0.09",
                    text,
                ),
            },
        }
    }
}
scalar!(Method, {"type": ["string", "number"], "description": "get, post, put, delete, fetch, patch, ipatch, or a code such as 0.09"});

/// A CoAP message type (RFC 7252 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageType(pub u8);

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(["CON", "NON", "ACK", "RST"][usize::from(self.0 & 3)])
    }
}

impl FromStr for MessageType {
    type Err = ParseProblem;
    fn from_str(text: &str) -> Result<Self, ParseProblem> {
        match ["con", "non", "ack", "rst"].iter().position(|name| *name == text) {
            Some(value) => Ok(Self(value as u8)),
            None => problem("a message type: con, non, ack or rst", text),
        }
    }
}
scalar!(MessageType, {"enum": ["con", "non", "ack", "rst"]});

/// What a value must be: `0`, `"text"`, `>=3`, `0..2`, `any`, `!x`, `one of a|b`, `present`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueMatch {
    /// Any value, but there is one.
    Any,
    /// The same text; numbers compare as numbers.
    Equal(String),
    /// Not this text.
    Not(String),
    /// At least this number.
    AtLeast(i64),
    /// At most this number.
    AtMost(i64),
    /// Within these bounds, both included.
    Within(i64, i64),
    /// One of these texts.
    OneOf(Vec<String>),
}

impl ValueMatch {
    /// Whether a value, given as text, matches.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        let number = || value.trim().parse::<f64>().ok();
        let same = |want: &str| want == value || matches!((want.parse::<f64>(), number()), (Ok(a), Some(b)) if a == b);
        match self {
            Self::Any => true,
            Self::Equal(want) => same(want),
            Self::Not(want) => !same(want),
            Self::AtLeast(least) => number().is_some_and(|n| n >= *least as f64),
            Self::AtMost(most) => number().is_some_and(|n| n <= *most as f64),
            Self::Within(least, most) => number().is_some_and(|n| n >= *least as f64 && n <= *most as f64),
            Self::OneOf(all) => all.iter().any(|want| same(want)),
        }
    }
}

impl fmt::Display for ValueMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any value"),
            Self::Equal(want) => write!(f, "{want}"),
            Self::Not(want) => write!(f, "not {want}"),
            Self::AtLeast(n) => write!(f, "at least {n}"),
            Self::AtMost(n) => write!(f, "at most {n}"),
            Self::Within(a, b) => write!(f, "{a} to {b}"),
            Self::OneOf(all) => write!(f, "one of {}", all.join(", ")),
        }
    }
}

impl FromStr for ValueMatch {
    type Err = ParseProblem;
    fn from_str(text: &str) -> Result<Self, ParseProblem> {
        let whole = |number: &str| number.trim().parse::<i64>().ok();
        if text == "any" || text == "present" {
            return Ok(Self::Any);
        }
        if let Some(n) = text.strip_prefix(">=").and_then(whole) {
            return Ok(Self::AtLeast(n));
        }
        if let Some(n) = text.strip_prefix("<=").and_then(whole) {
            return Ok(Self::AtMost(n));
        }
        if let Some(rest) = text.strip_prefix('!') {
            return Ok(Self::Not(rest.to_owned()));
        }
        if let Some((a, b)) = text.split_once("..")
            && let (Some(a), Some(b)) = (whole(a), whole(b))
        {
            return Ok(Self::Within(a, b));
        }
        if text.contains('|') {
            return Ok(Self::OneOf(text.split('|').map(|one| one.trim().to_owned()).collect()));
        }
        Ok(Self::Equal(text.to_owned()))
    }
}
scalar!(ValueMatch, {"type": ["string", "number", "boolean"], "description": "the value, or any, >=3, <=3, 0..2, !x, a|b"});
