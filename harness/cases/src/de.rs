//! From nodes to typed data, by serde, with a place in every error.
//!
//! Two names of [`crate::ast`] are answered specially. A struct called [`At::NAME`] gets the
//! sequence line, column, offset, length, value; the number of the source file rides in the upper
//! 32 bits of the offset, so that a value from an included file is shown in that file. A newtype
//! called [`Many::NAME`] gets a list in any case: one value counts as a list of one.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{BorrowedStrDeserializer, U64Deserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, IntoDeserializer as _,
    MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};

use crate::ast::{At, Many};
use crate::node::{Key, Kind, Node, brief};
use crate::problem::{FILE_SHIFT, Mistake, Place};
use crate::words::{nearest, suggest};

/// Decodes a node.
///
/// # Errors
/// The first thing that does not fit the type.
pub fn from_node<T: DeserializeOwned>(node: &Node) -> Result<T, Mistake> {
    decode(PhantomData::<T>, node).map_err(|error| error.into_mistake(node.pos))
}

/// Decodes a node and goes on after an unknown key, so that a file with three misspelt keys is
/// mended in one round.
///
/// # Errors
/// All the unknown keys and the first other mistake.
pub fn from_node_thorough<T: DeserializeOwned>(node: &Node) -> Result<T, Vec<Mistake>> {
    const MOST: usize = 20;
    let mut mistakes = Vec::new();
    let first = match from_node::<T>(node) {
        Ok(value) => return Ok(value),
        Err(mistake) => mistake,
    };
    let mut rest = node.clone();
    let mut mistake = first;
    loop {
        let unknown = mistake.code == "unknown-key" && mistakes.len() < MOST && remove_key(&mut rest, mistake.pos);
        mistakes.push(mistake);
        if !unknown {
            return Err(mistakes);
        }
        match from_node::<T>(&rest) {
            Ok(_) => return Err(mistakes),
            // Most likely one of the unknown keys was meant to be the missing one.
            Err(next) if next.code == "missing-key" => return Err(mistakes),
            Err(next) => mistake = next,
        }
    }
}

fn remove_key(node: &mut Node, place: Place) -> bool {
    match &mut node.kind {
        Kind::Scalar { .. } => false,
        Kind::Seq(items) => items.iter_mut().any(|item| remove_key(item, place)),
        Kind::Map(entries) => {
            if let Some(index) = entries.iter().position(|(key, _)| key.pos == place) {
                entries.remove(index);
                return true;
            }
            entries.iter_mut().any(|(_, value)| remove_key(value, place))
        }
    }
}

/// The error of the decoder; the place is filled in by the innermost node that sees it.
#[derive(Debug)]
struct DeError {
    pos: Option<Place>,
    message: String,
    label: String,
    help: Option<String>,
    code: &'static str,
}

impl DeError {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            pos: None,
            message: message.into(),
            label: String::new(),
            help: None,
            code,
        }
    }

    fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    fn help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }

    fn into_mistake(self, fallback: Place) -> Mistake {
        Mistake {
            pos: self.pos.unwrap_or(fallback),
            message: self.message,
            label: self.label,
            help: self.help,
            code: self.code,
        }
    }
}

impl fmt::Display for DeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DeError {}

impl de::Error for DeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new("value", message.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(
            "type",
            format!("expected {}, found {}", expectation(expected), found(unexpected)),
        )
        .label("this does not fit here")
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(
            "value",
            format!("expected {}, found {}", expectation(expected), found(unexpected)),
        )
        .label("out of range")
    }

    fn invalid_length(len: usize, expected: &dyn Expected) -> Self {
        Self::new(
            "length",
            format!("expected {}, found {len} values", expectation(expected)),
        )
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new("unknown-key", format!("unknown key `{}`", brief(field)))
            .label("nothing of this name belongs here")
            .help(suggest(field, expected))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new("unknown-word", format!("unknown word `{}`", brief(variant)))
            .label("not one of the words for this place")
            .help(suggest(variant, expected))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new("missing-key", format!("the key `{field}` is missing")).label("belongs into this mapping")
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new("duplicate-key", format!("the key `{field}` stands here twice"))
    }
}

/// Serde's own words for what a type wants, said for people.
fn expectation(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "a string" | "string" | "str" => "text".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping".to_owned(),
        "unit" => "nothing".to_owned(),
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "u64" | "usize" => "a whole number, not negative".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        other if other.starts_with("struct ") => "a mapping".to_owned(),
        other if other.starts_with("enum ") => "one of the words for this place".to_owned(),
        other => other.to_owned(),
    }
}

fn found(unexpected: Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("`{value}`"),
        Unexpected::Signed(value) => format!("`{value}`"),
        Unexpected::Float(value) => format!("`{value}`"),
        Unexpected::Char(value) => format!("`{value}`"),
        Unexpected::Str(value) => format!("`{}`", brief(value)),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map | Unexpected::StructVariant => "a mapping".to_owned(),
        Unexpected::Unit => "nothing".to_owned(),
        Unexpected::UnitVariant => "a word without a value".to_owned(),
        Unexpected::NewtypeVariant | Unexpected::TupleVariant => "a word with a value".to_owned(),
        other => other.to_string(),
    }
}

/// Decodes a node. A type that reads a text and refuses it afterwards raises its error outside of
/// the node's deserialiser: the place is filled in here.
fn decode<'a, T: DeserializeSeed<'a>>(seed: T, node: &'a Node) -> Result<T::Value, DeError> {
    NodeDe(node).here(seed.deserialize(NodeDe(node)))
}

struct NodeDe<'a>(&'a Node);

impl<'a> NodeDe<'a> {
    /// Fills the place into an error that has none, and looks for the word that was meant.
    fn here<T>(&self, result: Result<T, DeError>) -> Result<T, DeError> {
        result.map_err(|mut error| {
            if error.pos.is_none() {
                error.pos = Some(self.0.pos);
                if error.code == "value"
                    && error.help.is_none()
                    && let Some(text) = self.0.text()
                {
                    error.help = meant(&error.message, text);
                }
            }
            error
        })
    }

    fn unfit<T>(&self, expected: &dyn Expected) -> Result<T, DeError> {
        self.unfit_words(&expectation(expected))
    }

    fn unfit_words<T>(&self, expected: &str) -> Result<T, DeError> {
        // `{name}` without quotes is a mapping to YAML: the most common slip of the language.
        let placeholder = match &self.0.kind {
            Kind::Map(entries) => match entries.as_slice() {
                [(key, value)] if value.is_null() => Some(format!(
                    "a placeholder must stand in quotes: \"{{{}}}\"",
                    brief(&key.text)
                )),
                _ => None,
            },
            Kind::Scalar { .. } | Kind::Seq(_) => None,
        };
        self.here(Err(DeError::new(
            "type",
            format!("expected {expected}, found {}", self.0.describe()),
        )
        .label("this does not fit here")
        .help(placeholder)))
    }

    fn plain(&self) -> Option<&'a str> {
        match &self.0.kind {
            Kind::Scalar { text, quoted: false } => Some(text),
            Kind::Scalar { .. } | Kind::Seq(_) | Kind::Map(_) => None,
        }
    }

    fn number<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        match self.plain().and_then(whole) {
            Some(Whole::Unsigned(number)) => {
                let result = visitor.visit_u64(number);
                self.here(result)
            }
            Some(Whole::Signed(number)) => {
                let result = visitor.visit_i64(number);
                self.here(result)
            }
            None => self.unfit(&visitor),
        }
    }

    fn float<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        match self
            .plain()
            .and_then(|text| text.parse::<f64>().ok())
            .filter(|number| number.is_finite())
        {
            Some(number) => {
                let result = visitor.visit_f64(number);
                self.here(result)
            }
            None => self.unfit(&visitor),
        }
    }
}

/// The word that was meant, when the message names the words that would fit.
fn meant(message: &str, text: &str) -> Option<String> {
    let wanted = message.split(", found ").next()?;
    let words = wanted
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|word| word.len() > 2);
    let text = text.trim_end_matches('?');
    let near = nearest(text, words)?;
    (near != text).then(|| format!("did you mean `{near}`?"))
}

enum Whole {
    Unsigned(u64),
    Signed(i64),
}

fn whole(text: &str) -> Option<Whole> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    if let Some(hex) = digits.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().map(Whole::Unsigned);
    }
    if let Ok(number) = digits.parse() {
        return Some(Whole::Unsigned(number));
    }
    text.parse().ok().map(Whole::Signed)
}

macro_rules! by {
    ($method:ident: $($name:ident)*) => {
        $(fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
            self.$method(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for NodeDe<'de> {
    type Error = DeError;

    by!(number: deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128);
    by!(float: deserialize_f32 deserialize_f64);
    by!(deserialize_str: deserialize_char deserialize_string deserialize_identifier deserialize_bytes deserialize_byte_buf);

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match &self.0.kind {
            Kind::Seq(_) => self.deserialize_seq(visitor),
            Kind::Map(_) => self.deserialize_map(visitor),
            Kind::Scalar { text, quoted } => {
                let result = if *quoted {
                    visitor.visit_borrowed_str(text)
                } else if self.0.is_null() {
                    visitor.visit_unit()
                } else if text == "true" || text == "false" {
                    visitor.visit_bool(text == "true")
                } else {
                    match whole(text) {
                        Some(Whole::Unsigned(number)) => visitor.visit_u64(number),
                        Some(Whole::Signed(number)) => visitor.visit_i64(number),
                        None => match text.parse::<f64>() {
                            Ok(number) if number.is_finite() => visitor.visit_f64(number),
                            _ => visitor.visit_borrowed_str(text),
                        },
                    }
                };
                self.here(result)
            }
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        let result = match self.plain() {
            Some("true") => visitor.visit_bool(true),
            Some("false") => visitor.visit_bool(false),
            _ => return self.unfit(&visitor),
        };
        self.here(result)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match &self.0.kind {
            // A key without a value: nobody means the empty text by it.
            Kind::Scalar { text, quoted: false } if text.is_empty() => self.unfit(&visitor),
            Kind::Scalar { text, .. } => {
                let result = visitor.visit_borrowed_str(text);
                self.here(result)
            }
            Kind::Seq(_) | Kind::Map(_) => self.unfit(&visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        if self.0.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        if self.0.is_null() {
            visitor.visit_unit()
        } else {
            self.unfit(&visitor)
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DeError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, DeError> {
        if name == Many::<()>::NAME {
            let items = match &self.0.kind {
                Kind::Seq(items) => items.as_slice(),
                Kind::Scalar { .. } | Kind::Map(_) => std::slice::from_ref(self.0),
            };
            let result = visitor.visit_seq(Items(items.iter()));
            return self.here(result);
        }
        let node = self.0;
        let result = visitor.visit_newtype_struct(self);
        NodeDe(node).here(result)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match &self.0.kind {
            Kind::Seq(items) => {
                let result = visitor.visit_seq(Items(items.iter()));
                self.here(result)
            }
            Kind::Scalar { .. } | Kind::Map(_) => self.unfit_words("a list"),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DeError> {
        match &self.0.kind {
            Kind::Seq(items) if items.len() != len => {
                let message = format!("expected a list of {len} values, found {}", items.len());
                self.here(Err(DeError::new("length", message)))
            }
            Kind::Seq(_) | Kind::Scalar { .. } | Kind::Map(_) => self.deserialize_seq(visitor),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, DeError> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        match &self.0.kind {
            Kind::Map(entries) => {
                let result = visitor.visit_map(Entries {
                    entries: entries.iter(),
                    value: None,
                });
                self.here(result)
            }
            Kind::Scalar { .. } | Kind::Seq(_) => self.unfit_words("a mapping"),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        if name == At::<()>::NAME {
            let result = visitor.visit_seq(AtAccess { node: self.0, step: 0 });
            return self.here(result);
        }
        if matches!(self.0.kind, Kind::Map(_)) {
            return self.deserialize_map(visitor);
        }
        let mut some: Vec<&str> = fields.iter().copied().take(4).collect();
        if fields.len() > some.len() {
            some.push("…");
        }
        self.unfit_words(&format!("a mapping with the keys {}", some.join(", ")))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        let result = match &self.0.kind {
            Kind::Scalar { text, .. } if !self.0.is_null() => visitor.visit_enum(Variant {
                word: text,
                pos: self.0.pos,
                value: None,
            }),
            Kind::Map(entries) => match entries.as_slice() {
                [(key, value)] => visitor.visit_enum(Variant {
                    word: &key.text,
                    pos: key.pos,
                    value: Some(value),
                }),
                _ => {
                    let message = format!("expected one key, found {}", entries.len());
                    let words: Vec<String> = variants.iter().map(|word| format!("`{word}`")).collect();
                    Err(DeError::new("length", message).help(Some(format!("one of {}", words.join(", ")))))
                }
            },
            Kind::Scalar { .. } | Kind::Seq(_) => {
                return self.unfit_words(&format!("one of {}", variants.join(", ")));
            }
        };
        self.here(result)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_unit()
    }
}

struct Items<'a>(std::slice::Iter<'a, Node>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = DeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DeError> {
        self.0.next().map(|node| decode(seed, node)).transpose()
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct AtAccess<'a> {
    node: &'a Node,
    step: u8,
}

impl<'de> SeqAccess<'de> for AtAccess<'de> {
    type Error = DeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DeError> {
        let pos = self.node.pos;
        let number = match self.step {
            0 => u64::from(pos.line),
            1 => u64::from(pos.column),
            2 => u64::from(pos.file) << FILE_SHIFT | u64::from(pos.offset),
            3 => u64::from(pos.len),
            4 => {
                self.step = 5;
                return decode(seed, self.node).map(Some);
            }
            _ => return Ok(None),
        };
        self.step += 1;
        let number: U64Deserializer<DeError> = number.into_deserializer();
        seed.deserialize(number).map(Some)
    }
}

struct Entries<'a> {
    entries: std::slice::Iter<'a, (Key, Node)>,
    value: Option<&'a Node>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = DeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DeError> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        let result = seed.deserialize(KeyDe(&key.text)).map(Some);
        result.map_err(|mut error| {
            error.pos.get_or_insert(key.pos);
            if let (Some(help), Some(wrapped)) = (&mut error.help, value.entry("each")) {
                help.push_str(&format!(" (`each` on line {} repeats `steps`)", wrapped.0.pos.line));
            }
            error
        })
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DeError> {
        match self.value.take() {
            Some(value) => decode(seed, value),
            None => Err(DeError::custom("a value was asked for before its key")),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// A key: a word, or a number where the map has numbers for keys.
struct KeyDe<'a>(&'a str);

impl<'a> KeyDe<'a> {
    fn number<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DeError> {
        match whole(self.0) {
            Some(Whole::Unsigned(number)) => visitor.visit_u64(number),
            Some(Whole::Signed(number)) => visitor.visit_i64(number),
            None => Err(DeError::invalid_type(Unexpected::Str(self.0), &visitor)),
        }
    }
}

impl<'de> Deserializer<'de> for KeyDe<'de> {
    type Error = DeError;

    by!(number: deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128);

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeError> {
        BorrowedStrDeserializer::new(self.0).deserialize_enum(name, variants, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DeError> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

struct Variant<'a> {
    word: &'a str,
    pos: Place,
    value: Option<&'a Node>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = DeError;
    type Variant = VariantValue<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, VariantValue<'de>), DeError> {
        let word = BorrowedStrDeserializer::<DeError>::new(self.word);
        let value = seed.deserialize(word).map_err(|mut error| {
            error.pos.get_or_insert(self.pos);
            error
        })?;
        Ok((
            value,
            VariantValue {
                word: self.word,
                pos: self.pos,
                value: self.value,
            },
        ))
    }
}

struct VariantValue<'a> {
    word: &'a str,
    pos: Place,
    value: Option<&'a Node>,
}

impl<'a> VariantValue<'a> {
    fn needed(&self) -> Result<NodeDe<'a>, DeError> {
        self.value.map(NodeDe).ok_or_else(|| {
            let mut error = DeError::new("missing-value", format!("`{}` needs a value", brief(self.word)))
                .help(Some(format!("write `{}: …`", brief(self.word))));
            error.pos = Some(self.pos);
            error
        })
    }
}

impl<'de> VariantAccess<'de> for VariantValue<'de> {
    type Error = DeError;

    fn unit_variant(self) -> Result<(), DeError> {
        match self.value {
            Some(value) if !value.is_null() => {
                let mut error = DeError::new("type", format!("`{}` takes no value", brief(self.word)));
                error.pos = Some(value.pos);
                Err(error)
            }
            _ => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, DeError> {
        decode(seed, self.needed()?.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DeError> {
        self.needed()?.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, DeError> {
        self.needed()?.deserialize_struct("", fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::ast::{CodeMatch, Span, StateName};
    use crate::node::parse;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    struct Sample {
        code: Option<At<Many<CodeMatch>>>,
        #[serde(default)]
        states: Vec<StateName>,
        within: Option<Span>,
        kind: Option<Shape>,
        count: Option<u8>,
        name: Option<String>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "kebab-case")]
    enum Shape {
        Plain,
        Sized(u16),
        Full { width: u16 },
    }

    fn read(text: &str) -> Result<Sample, Mistake> {
        from_node(&parse(3, text).unwrap())
    }

    #[test]
    fn one_value_counts_as_a_list_of_one_and_keeps_its_place() {
        let one = read("code: 5.00\n").unwrap().code.unwrap();
        assert_eq!((one.pos.line, one.pos.column, one.pos.len), (1, 7, 4));
        assert_eq!(*one.value, [CodeMatch::Exact(0xa0)]);
        assert_eq!(Place::from(one.pos).file, 3, "the file rides along");
        let two = read("code: [2.04, 4.xx]\n").unwrap().code.unwrap();
        assert_eq!(*two.value, [CodeMatch::Exact(0x44), CodeMatch::Class(4)]);
    }

    #[test]
    fn the_shapes_of_an_enum() {
        assert_eq!(read("kind: plain\n").unwrap().kind, Some(Shape::Plain));
        assert_eq!(read("kind: {sized: 0x10}\n").unwrap().kind, Some(Shape::Sized(16)));
        assert_eq!(
            read("kind: {full: {width: 1}}\n").unwrap().kind,
            Some(Shape::Full { width: 1 })
        );
        assert_eq!(read("kind: sized\n").unwrap_err().code, "missing-value");
        assert_eq!(read("kind: {plain: 1, sized: 2}\n").unwrap_err().code, "length");
        assert_eq!(
            read("kind: {plain: 1}\n").unwrap_err().message,
            "`plain` takes no value"
        );
        assert!(read("kind: plane\n").unwrap_err().help.unwrap().contains("`plain`"));
    }

    #[test]
    fn numbers_just_fit_or_just_do_not() {
        assert_eq!(read("count: 255\n").unwrap().count, Some(255));
        assert_eq!(
            read("count: 256\n").unwrap_err().message,
            "expected a whole number from 0 to 255, found `256`"
        );
        assert_eq!(read("count: -1\n").unwrap_err().code, "value");
        assert_eq!(
            read("count: \"7\"\n").unwrap_err().code,
            "type",
            "a quoted number is a text"
        );
    }

    #[test]
    fn a_plain_number_is_a_fine_text_but_nothing_is_not() {
        assert_eq!(read("name: 1.0\n").unwrap().name.as_deref(), Some("1.0"));
        assert_eq!(read("name: true\n").unwrap().name.as_deref(), Some("true"));
        assert_eq!(read("name:\n").unwrap().name, None);
        assert_eq!(read("name: \"\"\n").unwrap().name.as_deref(), Some(""));
    }

    #[test]
    fn the_place_is_that_of_the_item_and_the_word_that_was_meant_is_named() {
        let mistake = read("states: [idle, downloadin]\n").unwrap_err();
        assert_eq!((mistake.pos.column, mistake.pos.len), (16, 10));
        assert_eq!(mistake.help.as_deref(), Some("did you mean `downloading`?"));
    }
}
