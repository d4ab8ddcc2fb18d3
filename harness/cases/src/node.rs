//! YAML as a tree in which every key and value knows its place.
//!
//! The tree is built from the event stream of the parser beneath `serde-saphyr`, so that a plain
//! scalar keeps the very letters of the file (`2.04`, `5.00`, `1.0`) and a mistake can be shown
//! where it stands. The language is smaller than YAML: no anchors, aliases, tags or second
//! document; a duplicate key is an error.

use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle};

use crate::problem::{FILE_LIMIT, Mistake, Place, narrow};

/// The deepest nesting that is read.
pub const DEPTH_LIMIT: usize = 48;

/// A key of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The text of the key.
    pub text: String,
    /// Where it stands.
    pub pos: Place,
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it stands.
    pub pos: Place,
    /// What it is.
    pub kind: Kind,
}

/// The three shapes of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A word, number or text.
    Scalar {
        /// The letters; of a plain scalar exactly those in the file.
        text: String,
        /// Whether it stood in quotes or was a block text, and so is never a number.
        quoted: bool,
    },
    /// A list.
    Seq(Vec<Node>),
    /// A mapping, in file order.
    Map(Vec<(Key, Node)>),
}

impl Node {
    /// A plain scalar.
    #[must_use]
    pub fn plain(pos: Place, text: impl Into<String>) -> Self {
        Self {
            pos,
            kind: Kind::Scalar {
                text: text.into(),
                quoted: false,
            },
        }
    }

    /// The text of a scalar.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            Kind::Seq(_) | Kind::Map(_) => None,
        }
    }

    /// The entry of a mapping under a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|(_, value)| value)
    }

    /// The entry of a mapping under a key, with the key.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<(&Key, &Self)> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(k, _)| k.text == key).map(|(k, v)| (k, v)),
            Kind::Scalar { .. } | Kind::Seq(_) => None,
        }
    }

    /// Takes the entry of a mapping out.
    pub fn take(&mut self, key: &str) -> Option<(Key, Self)> {
        match &mut self.kind {
            Kind::Map(entries) => {
                let index = entries.iter().position(|(k, _)| k.text == key)?;
                Some(entries.remove(index))
            }
            Kind::Scalar { .. } | Kind::Seq(_) => None,
        }
    }

    /// The items of a list.
    #[must_use]
    pub fn items(&self) -> Option<&[Self]> {
        match &self.kind {
            Kind::Seq(items) => Some(items),
            Kind::Scalar { .. } | Kind::Map(_) => None,
        }
    }

    /// Whether it is an empty plain scalar, `~` or `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, quoted: false } if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// In words, for "found ...".
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Seq(_) => "a list".to_owned(),
            Kind::Map(entries) => match entries.first() {
                Some((key, _)) => format!("a mapping (`{}: …`)", brief(&key.text)),
                None => "an empty mapping".to_owned(),
            },
            Kind::Scalar { .. } if self.is_null() => "nothing".to_owned(),
            Kind::Scalar { text, .. } => format!("`{}`", brief(text)),
        }
    }
}

/// A text cut to what fits into a message.
#[must_use]
pub(crate) fn brief(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() > 40 || line.len() < text.trim_end().len() {
        let cut: String = line.chars().take(39).collect();
        format!("{cut}…")
    } else {
        line.to_owned()
    }
}

/// Reads one YAML document.
///
/// # Errors
/// When the text is no YAML, is empty, or uses what the language leaves out.
pub fn parse(file: u32, text: &str) -> Result<Node, Mistake> {
    if text.len() as u64 > FILE_LIMIT {
        let message = format!("the file has {} bytes; the limit is {FILE_LIMIT}", text.len());
        return Err(Mistake::new("too-large", Place { file, ..Place::START }, message));
    }
    if let Some((offset, bad)) = text
        .char_indices()
        .find(|(_, c)| (c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{85}')) || *c == '\u{fffd}')
    {
        return Err(Mistake::new(
            "not-text",
            Place::at(file, text, offset, bad.len_utf8()),
            format!("not a text file: it contains the character U+{:04X}", u32::from(bad)),
        )
        .label("here"));
    }
    Builder {
        file,
        text,
        depth: 0,
        parser: Parser::new_from_str(text),
    }
    .document()
}

struct Builder<'a> {
    file: u32,
    text: &'a str,
    depth: usize,
    parser: Parser<'a, granit_parser::StrInput<'a>>,
}

impl<'a> Builder<'a> {
    fn pos(&self, span: &granit_parser::Span) -> Place {
        let start = span.start.byte_offset().unwrap_or(0).min(self.text.len());
        let end = span.end.byte_offset().unwrap_or(start).clamp(start, self.text.len());
        let len = self.text.get(start..end).map_or(0, |slice| slice.trim_end().len());
        Place {
            file: self.file,
            line: narrow(span.start.line()),
            column: narrow(span.start.col() + 1),
            offset: narrow(start),
            len: narrow(len),
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Place), Mistake> {
        loop {
            match self.parser.next() {
                Some(Ok((Event::Comment(..) | Event::StreamStart, _))) => {}
                Some(Ok((event, span))) => {
                    let pos = self.pos(&span);
                    return Ok((event, pos));
                }
                Some(Err(error)) => return Err(self.syntax(&error)),
                None => return Ok((Event::StreamEnd, Place::at(self.file, self.text, self.text.len(), 0))),
            }
        }
    }

    fn syntax(&self, error: &granit_parser::ScanError) -> Mistake {
        let marker = error.marker();
        let offset = marker.byte_offset().unwrap_or_else(|| {
            self.text
                .char_indices()
                .nth(marker.index())
                .map_or(self.text.len(), |(offset, _)| offset)
        });
        let pos = Place::at(self.file, self.text, offset, 1);
        let line = self
            .text
            .lines()
            .nth(pos.line.saturating_sub(1) as usize)
            .unwrap_or_default();
        let indent = &line[..line.len() - line.trim_start().len()];
        let mistake = Mistake::new(
            "syntax",
            pos,
            format!("not valid YAML: {}", error.info().to_lowercase()),
        );
        if indent.contains('\t') {
            mistake
                .label("this line is indented with a tab")
                .help("indent with spaces")
        } else if line.contains('\t') {
            mistake.label("there is a tab in this line").help("use spaces")
        } else {
            mistake.label("here")
        }
    }

    fn document(mut self) -> Result<Node, Mistake> {
        let (event, pos) = self.next()?;
        if matches!(event, Event::StreamEnd) {
            return Err(Mistake::new("empty", Place { len: 0, ..pos }, "the file is empty").label("nothing here"));
        }
        let (event, pos) = self.next()?;
        let root = self.node(event, pos)?;
        self.next()?;
        match self.next()? {
            (Event::StreamEnd, _) => {}
            (_, pos) => {
                return Err(
                    Mistake::new("second-document", pos, "a file holds one document, this is a second")
                        .label("starts here")
                        .help("put each case into a file of its own"),
                );
            }
        }
        if root.is_null() {
            return Err(Mistake::new(
                "empty",
                Place {
                    file: self.file,
                    ..Place::START
                },
                "the file is empty",
            )
            .label("nothing here"));
        }
        Ok(root)
    }

    fn node(&mut self, event: Event<'a>, pos: Place) -> Result<Node, Mistake> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_extras(pos, anchor, tag.is_some())?;
                let quoted = style != ScalarStyle::Plain;
                Ok(Node {
                    pos,
                    kind: Kind::Scalar {
                        text: text.into_owned(),
                        quoted,
                    },
                })
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_extras(pos, anchor, tag.is_some())?;
                self.enter(pos)?;
                let mut items = Vec::new();
                loop {
                    let (event, at) = self.next()?;
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    items.push(self.node(event, at)?);
                }
                self.depth -= 1;
                Ok(Node {
                    pos: Place { len: 1, ..pos },
                    kind: Kind::Seq(items),
                })
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_extras(pos, anchor, tag.is_some())?;
                self.enter(pos)?;
                let entries = self.entries()?;
                self.depth -= 1;
                // The place of a mapping is its first key: a caret under a whole block says nothing.
                let first = entries
                    .first()
                    .map(|(key, _)| key.pos)
                    .filter(|key| key.line == pos.line && key.column == pos.column);
                Ok(Node {
                    pos: first.unwrap_or(Place { len: 1, ..pos }),
                    kind: Kind::Map(entries),
                })
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                Err(Mistake::new("alias", pos, "aliases are not part of the case language")
                    .label("this refers to an anchor")
                    .help("use `for:`, `each:` or `include:` to avoid writing a thing twice"))
            }
            other => Err(Mistake::new("syntax", pos, format!("unexpected {other:?}"))),
        }
    }

    fn entries(&mut self) -> Result<Vec<(Key, Node)>, Mistake> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        loop {
            let (event, pos) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(entries);
            }
            let key = match self.node(event, pos)? {
                Node {
                    pos,
                    kind: Kind::Scalar { text, .. },
                } => Key { text, pos },
                Node { pos, .. } => {
                    return Err(Mistake::new("key", pos, "a key must be a word")
                        .label("this is a key made of a list or mapping")
                        .help("a placeholder must stand in quotes: \"{name}\""));
                }
            };
            if let Some((first, _)) = entries.iter().find(|(k, _)| k.text == key.text) {
                return Err(Mistake::new(
                    "duplicate-key",
                    key.pos,
                    format!("the key `{}` stands here twice", brief(&key.text)),
                )
                .label(format!("the first is on line {}", first.pos.line))
                .help("take one away"));
            }
            let (event, pos) = self.next()?;
            let value = self.node(event, pos)?;
            entries.push((key, value));
        }
    }

    fn enter(&mut self, pos: Place) -> Result<(), Mistake> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err(Mistake::new(
                "too-deep",
                Place { len: 1, ..pos },
                format!("nested deeper than {DEPTH_LIMIT} levels"),
            )
            .label("this level is one too many"));
        }
        Ok(())
    }

    fn refuse_extras(&self, pos: Place, anchor: usize, tag: bool) -> Result<(), Mistake> {
        if anchor != 0 {
            return Err(Mistake::new("anchor", pos, "anchors are not part of the case language")
                .label("this value has an anchor")
                .help("use `for:`, `each:` or `include:` to avoid writing a thing twice; a text that starts with & needs quotes"));
        }
        if tag {
            return Err(Mistake::new("tag", pos, "tags are not part of the case language")
                .label("this value has a tag")
                .help("a text that starts with ! needs quotes"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_keep_their_letters_and_their_place() {
        let node = parse(0, "code: 5.00\nlist: [1.0, 0x1F, \"2.04\"]\n").unwrap();
        let code = node.get("code").unwrap();
        assert_eq!(code.text(), Some("5.00"));
        assert_eq!(
            (code.pos.line, code.pos.column, code.pos.offset, code.pos.len),
            (1, 7, 6, 4)
        );
        let list = node.get("list").unwrap().items().unwrap();
        assert_eq!(
            list.iter().map(|n| n.text().unwrap()).collect::<Vec<_>>(),
            ["1.0", "0x1F", "2.04"]
        );
        assert!(matches!(&list[2].kind, Kind::Scalar { quoted: true, .. }));
        assert!(matches!(&list[0].kind, Kind::Scalar { quoted: false, .. }));
    }

    #[test]
    fn a_comment_after_a_value_is_not_part_of_its_place() {
        let node = parse(0, "# head\nneeds: push    # why\nü: ä\n").unwrap();
        let (key, value) = node.entry("needs").unwrap();
        assert_eq!((key.pos.line, value.pos.column, value.pos.len), (2, 8, 4));
        assert_eq!(node.get("ü").unwrap().pos.column, 4);
    }

    #[test]
    fn nesting_stops_at_the_limit_and_not_before() {
        let deep = |levels: usize| format!("a: {}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(0, &deep(DEPTH_LIMIT - 1)).is_ok());
        assert_eq!(parse(0, &deep(DEPTH_LIMIT)).unwrap_err().code, "too-deep");
    }

    #[test]
    fn arbitrary_text_never_panics() {
        use proptest::prelude::*;
        proptest!(|(text in "\\PC{0,80}")| { let _ = parse(0, &text); });
        proptest!(|(text in "[-:{}\\[\\]&*!|>'\" \n\ta-c#,]{0,60}")| { let _ = parse(0, &text); });
    }
}
