//! Link format (RFC 6690) and what LwM2M says with it: Register, Update and Discover payloads (LwM2M Core 1.1, 6.2 and
//! 7.5).

use crate::{LwPath, path::parse_id};
use std::fmt::Write as _;

/// One link: `</5>;ver=1.1`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// The target between the angle brackets.
    pub target: String,
    /// The attributes in order; `None` for one without a value.
    pub attributes: Vec<(String, Option<String>)>,
}

/// Why bytes are no list of links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkFormatError {
    /// The payload is not UTF-8.
    #[error("not UTF-8 at byte {offset}")]
    NotUtf8 {
        /// The first byte that is not.
        offset: usize,
    },
    /// A link starts with `<`.
    #[error("expected `<` at byte {offset}")]
    NoTarget {
        /// Where it was expected.
        offset: usize,
    },
    /// The `>` of a target is missing.
    #[error("the target that starts at byte {offset} has no `>`")]
    OpenTarget {
        /// Where the target starts.
        offset: usize,
    },
    /// After a link there is neither `,` nor `;`.
    #[error("expected `,` or `;` at byte {offset}")]
    NoSeparator {
        /// Where it was expected.
        offset: usize,
    },
    /// An attribute has no name.
    #[error("expected the name of an attribute at byte {offset}")]
    NoName {
        /// Where it was expected.
        offset: usize,
    },
    /// An attribute has `=` and no value.
    #[error("expected the value of an attribute at byte {offset}")]
    NoValue {
        /// Where it was expected.
        offset: usize,
    },
    /// A quoted value has no end.
    #[error("the quoted value that starts at byte {offset} has no end")]
    OpenQuote {
        /// Where the value starts.
        offset: usize,
    },
}

impl LinkFormatError {
    /// The byte of the payload where the rule is broken.
    #[must_use]
    pub const fn offset(&self) -> usize {
        match *self {
            Self::NotUtf8 { offset }
            | Self::NoTarget { offset }
            | Self::OpenTarget { offset }
            | Self::NoSeparator { offset }
            | Self::NoName { offset }
            | Self::NoValue { offset }
            | Self::OpenQuote { offset } => offset,
        }
    }
}

impl Link {
    /// A link without attributes.
    #[must_use]
    pub fn new(target: impl Into<String>) -> Self {
        Self {
            target: target.into(),
            attributes: Vec::new(),
        }
    }

    /// Adds an attribute with a value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.attributes.push((name.to_owned(), Some(value.into())));
        self
    }

    /// The value of an attribute; `None` when it is absent or has none.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name)?.1.as_deref()
    }

    /// Whether an attribute is there, with or without a value.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.attributes.iter().any(|(key, _)| key == name)
    }
}

/// The characters of an unquoted value (RFC 6690, 2: `ptokenchar`).
const fn is_ptoken(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'+' | b'-'..=b':' | b'<'..=b'[' | b']'..=b'~')
}

/// The characters of an attribute's name (RFC 5987 `attr-char`, and `*` at its end).
const fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'&' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~' | b'*'
        )
}

/// Reads a list of links. Spaces after a comma are let pass: the grammar has none, but payloads in the field do.
///
/// # Errors
/// The first rule that is broken, and where.
pub fn parse(bytes: &[u8]) -> Result<Vec<Link>, LinkFormatError> {
    let text = std::str::from_utf8(bytes).map_err(|error| LinkFormatError::NotUtf8 {
        offset: error.valid_up_to(),
    })?;
    let mut links = Vec::new();
    if text.is_empty() {
        return Ok(links);
    }
    let mut position = 0;
    loop {
        links.push(parse_link(text, &mut position)?);
        if position == text.len() {
            return Ok(links);
        }
        // `parse_link` stops at the end or at a comma.
        position += 1;
        position += count(&text.as_bytes()[position..], |byte| {
            matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
        });
    }
}

fn count(bytes: &[u8], matches: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| matches(**byte)).count()
}

fn parse_link(text: &str, position: &mut usize) -> Result<Link, LinkFormatError> {
    let start = *position;
    if text.as_bytes().get(start) != Some(&b'<') {
        return Err(LinkFormatError::NoTarget { offset: start });
    }
    let Some(length) = text[start + 1..].find('>') else {
        return Err(LinkFormatError::OpenTarget { offset: start });
    };
    let mut link = Link::new(&text[start + 1..start + 1 + length]);
    *position = start + length + 2;
    loop {
        match text.as_bytes().get(*position) {
            None | Some(b',') => return Ok(link),
            Some(b';') => {
                *position += 1;
                link.attributes.push(parse_attribute(text, position)?);
            }
            Some(_) => return Err(LinkFormatError::NoSeparator { offset: *position }),
        }
    }
}

fn parse_attribute(text: &str, position: &mut usize) -> Result<(String, Option<String>), LinkFormatError> {
    let bytes = text.as_bytes();
    let start = *position;
    let length = count(&bytes[start..], is_name);
    if length == 0 {
        return Err(LinkFormatError::NoName { offset: start });
    }
    *position += length;
    let name = text[start..*position].to_owned();
    if bytes.get(*position) != Some(&b'=') {
        return Ok((name, None));
    }
    *position += 1;
    if bytes.get(*position) == Some(&b'"') {
        return Ok((name, Some(parse_quoted(text, position)?)));
    }
    let start = *position;
    *position += count(&bytes[start..], is_ptoken);
    if *position == start {
        return Err(LinkFormatError::NoValue { offset: start });
    }
    Ok((name, Some(text[start..*position].to_owned())))
}

fn parse_quoted(text: &str, position: &mut usize) -> Result<String, LinkFormatError> {
    let start = *position;
    let mut value = String::new();
    let mut escaped = false;
    for (index, character) in text[start + 1..].char_indices() {
        match character {
            _ if escaped => {
                value.push(character);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => {
                *position = start + index + 2;
                return Ok(value);
            }
            other => value.push(other),
        }
    }
    Err(LinkFormatError::OpenQuote { offset: start })
}

/// Writes a list of links. A value is quoted where the grammar asks for it: `rt`, `if`, `title` always, others when a
/// character needs it.
#[must_use]
pub fn encode(links: &[Link]) -> String {
    let mut out = String::new();
    for (index, link) in links.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        let _ = write!(out, "<{}>", link.target);
        for (name, value) in &link.attributes {
            let _ = write!(out, ";{name}");
            if let Some(value) = value {
                put_value(&mut out, name, value);
            }
        }
    }
    out
}

fn put_value(out: &mut String, name: &str, value: &str) {
    let plain = !value.is_empty() && value.bytes().all(is_ptoken) && !matches!(name, "rt" | "if" | "title");
    if plain {
        let _ = write!(out, "={value}");
        return;
    }
    out.push_str("=\"");
    for character in value.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

/// One object, object instance or deeper path in a Register or Discover payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectLink {
    /// The path, without the alternate path in front.
    pub path: LwPath,
    /// The attributes, such as `ver`, `ssid`, `pmin`.
    pub attributes: Vec<(String, Option<String>)>,
}

/// What a Register payload says (LwM2M Core 1.1, 6.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectLinks {
    /// The alternate path all paths start with, without a slash at its end; empty for the usual root.
    pub root: String,
    /// Content-Formats that the client takes beyond the mandatory ones: `ct` of the root link.
    pub content_formats: Vec<u16>,
    /// Objects, instances and, in Discover, resources, in the order of the payload.
    pub objects: Vec<ObjectLink>,
    /// Links that are none of these, the root link left out.
    pub others: Vec<Link>,
}

impl ObjectLinks {
    /// Sorts links of a Register or Discover payload.
    #[must_use]
    pub fn from_links(links: &[Link]) -> Self {
        let is_root = |link: &&Link| {
            link.attribute("rt")
                .is_some_and(|types| types.split(' ').any(|name| name == "oma.lwm2m"))
        };
        let root_link = links.iter().find(is_root);
        let root = root_link
            .map_or("", |link| link.target.trim_end_matches('/'))
            .to_owned();
        let formats = root_link.and_then(|link| link.attribute("ct")).unwrap_or_default();
        let content_formats = formats.split_ascii_whitespace().filter_map(parse_id).collect();
        let mut sorted = Self {
            root,
            content_formats,
            objects: Vec::new(),
            others: Vec::new(),
        };
        for link in links.iter().filter(|link| !is_root(link)) {
            let path = link
                .target
                .strip_prefix(&sorted.root)
                .and_then(|rest| rest.parse::<LwPath>().ok());
            match path.filter(|path| !path.is_root()) {
                Some(path) => sorted.objects.push(ObjectLink {
                    path,
                    attributes: link.attributes.clone(),
                }),
                None => sorted.others.push(link.clone()),
            }
        }
        sorted
    }

    /// Reads a Register or Discover payload.
    ///
    /// # Errors
    /// When it is not in link format.
    pub fn parse(bytes: &[u8]) -> Result<Self, LinkFormatError> {
        Ok(Self::from_links(&parse(bytes)?))
    }

    /// The links again: the root link first when there is anything to say with it, then objects, then others.
    #[must_use]
    pub fn to_links(&self) -> Vec<Link> {
        let mut links = Vec::new();
        if !self.root.is_empty() || !self.content_formats.is_empty() {
            let mut link = Link::new(if self.root.is_empty() { "/" } else { &self.root }).with("rt", "oma.lwm2m");
            if !self.content_formats.is_empty() {
                let formats: Vec<String> = self.content_formats.iter().map(u16::to_string).collect();
                link = link.with("ct", formats.join(" "));
            }
            links.push(link);
        }
        let object = |object: &ObjectLink| Link {
            target: format!("{}{}", self.root, object.path),
            attributes: object.attributes.clone(),
        };
        links.extend(self.objects.iter().map(object));
        links.extend(self.others.iter().cloned());
        links
    }

    /// Whether a path is listed.
    #[must_use]
    pub fn contains(&self, path: &LwPath) -> bool {
        self.objects.iter().any(|object| object.path == *path)
    }

    /// The instances listed of an object.
    #[must_use]
    pub fn instances(&self, object: u16) -> Vec<u16> {
        let listed = self.objects.iter().filter(|link| link.path.object == Some(object));
        let mut instances: Vec<u16> = listed.filter_map(|link| link.path.instance).collect();
        instances.sort_unstable();
        instances.dedup();
        instances
    }

    /// The `ver` of an object, from `</5>;ver=1.1` or, as some clients do, from a link to one of its instances.
    #[must_use]
    pub fn version(&self, object: u16) -> Option<&str> {
        let listed = self.objects.iter().filter(|link| link.path.object == Some(object));
        let mut versions = listed
            .flat_map(|link| &link.attributes)
            .filter(|(name, _)| name == "ver");
        versions.find_map(|(_, value)| value.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::{Link, LinkFormatError, ObjectLinks, encode, parse};
    use crate::LwPath;
    use proptest::prelude::*;

    #[test]
    fn a_register_payload() {
        let payload = r#"</>;rt="oma.lwm2m";ct="60 110 112",</1/0>,</3/0>,</5>;ver=1.1,</5/0>"#;
        let objects = ObjectLinks::parse(payload.as_bytes()).unwrap();
        assert_eq!(objects.root, "");
        assert_eq!(objects.content_formats, [60, 110, 112]);
        assert_eq!(objects.version(5), Some("1.1"));
        assert_eq!(objects.version(3), None);
        assert_eq!(objects.instances(5), [0]);
        assert!(objects.contains(&LwPath::object(5)) && !objects.contains(&LwPath::object(3)));
        assert_eq!(encode(&objects.to_links()), payload);
    }

    #[test]
    fn an_alternate_path() {
        let payload = r#"</lwm2m>;rt="oma.lwm2m";ct=110,</lwm2m/1/0>,</lwm2m/5/0>,</sensors>"#;
        let objects = ObjectLinks::parse(payload.as_bytes()).unwrap();
        assert_eq!(objects.root, "/lwm2m");
        assert_eq!(objects.content_formats, [110]);
        assert!(objects.contains(&LwPath::instance(5, 0)));
        assert_eq!(objects.others, [Link::new("/sensors")]);
        assert_eq!(encode(&objects.to_links()), payload);
    }

    #[test]
    fn values_and_flags() {
        let links = parse(b"</a>;obs;title=\"a \\\"b\\\", c\";sz=12, </b>").unwrap();
        assert_eq!(links.len(), 2);
        assert!(links[0].has("obs") && links[0].attribute("obs").is_none());
        assert_eq!(links[0].attribute("title"), Some("a \"b\", c"));
        assert_eq!(links[0].attribute("sz"), Some("12"));
        assert_eq!(parse(b""), Ok(vec![]));
    }

    #[test]
    fn mistakes_say_where() {
        assert_eq!(parse(b"/5"), Err(LinkFormatError::NoTarget { offset: 0 }));
        assert_eq!(parse(b"</5>,"), Err(LinkFormatError::NoTarget { offset: 5 }));
        assert_eq!(parse(b"</5>,</6"), Err(LinkFormatError::OpenTarget { offset: 5 }));
        assert_eq!(parse(b"</5> </6>"), Err(LinkFormatError::NoSeparator { offset: 4 }));
        assert_eq!(parse(b"</5>;"), Err(LinkFormatError::NoName { offset: 5 }));
        assert_eq!(parse(b"</5>;ver="), Err(LinkFormatError::NoValue { offset: 9 }));
        assert_eq!(parse(b"</5>;ver=\"1"), Err(LinkFormatError::OpenQuote { offset: 9 }));
        assert_eq!(parse(b"</5>\xff"), Err(LinkFormatError::NotUtf8 { offset: 4 }));
    }

    fn link() -> impl Strategy<Value = Link> {
        let attributes = proptest::collection::vec(("[a-z]{1,5}", proptest::option::of(".{0,8}")), 0..4);
        ("[^<>]{0,8}", attributes).prop_map(|(target, attributes)| Link { target, attributes })
    }

    proptest! {
        #[test]
        fn round_trip(links in proptest::collection::vec(link(), 0..4)) {
            prop_assert_eq!(parse(encode(&links).as_bytes()), Ok(links));
        }

        #[test]
        fn any_text(text in "[</>;=\",a5 \\\\]{0,24}") {
            match parse(text.as_bytes()) {
                Ok(links) => { let _ = ObjectLinks::from_links(&links); }
                Err(error) => prop_assert!(error.offset() <= text.len()),
            }
        }
    }
}
