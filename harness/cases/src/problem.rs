//! What is wrong with a file, and where: the one error type that a user of the language sees.
//!
//! Code that looks at nodes makes a [`Mistake`], which knows a place but no file name. [`Sources`]
//! turns it into a [`Problem`], which can be drawn with the line it is about and a caret under it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};

/// The place of a value or key in its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which of the [`Sources`] the place is in: 0 is the file itself, others are included files.
    pub file: u32,
    /// Line, from 1. Zero means that the place is not known.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Offset in bytes.
    pub offset: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Place {
    /// The first character of the first source.
    pub const START: Self = Self {
        file: 0,
        line: 1,
        column: 1,
        offset: 0,
        len: 0,
    };

    /// The place of a byte offset in a text.
    #[must_use]
    pub fn at(file: u32, text: &str, offset: usize, len: usize) -> Self {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            file,
            line: narrow(before.bytes().filter(|byte| *byte == b'\n').count() + 1),
            column: narrow(before[line_start..].chars().count() + 1),
            offset: narrow(offset),
            len: narrow(len),
        }
    }
}

pub(crate) fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Something wrong at a place; not yet tied to a file name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub pos: Place,
    /// What is wrong, one line, lower case.
    pub message: String,
    /// What stands beside the caret.
    pub label: String,
    /// What to do about it.
    pub help: Option<String>,
    /// A stable word for the kind of mistake, such as `unknown-key`.
    pub code: &'static str,
}

impl Mistake {
    /// A mistake of a kind at a place; the label is empty and there is no help yet.
    #[must_use]
    pub fn new(code: &'static str, pos: Place, message: impl Into<String>) -> Self {
        Self {
            pos,
            message: message.into(),
            label: String::new(),
            help: None,
            code,
        }
    }

    /// With a label beside the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// With a help text.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With a help text if there is one.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

/// The texts that a case was read from: the file itself first, then what it includes.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<(String, Arc<str>)>,
}

impl Sources {
    /// With one file.
    #[must_use]
    pub fn one(name: impl Into<String>, text: impl Into<Arc<str>>) -> Self {
        Self {
            files: vec![(name.into(), text.into())],
        }
    }

    /// Adds a file and says its number.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> u32 {
        self.files.push((name.into(), text.into()));
        narrow(self.files.len() - 1)
    }

    /// The name of the file a place is in.
    #[must_use]
    pub fn name(&self, pos: Place) -> &str {
        self.files.get(pos.file as usize).map_or("", |(name, _)| name)
    }

    /// The text of the file a place is in.
    #[must_use]
    pub fn text(&self, pos: Place) -> &str {
        self.files.get(pos.file as usize).map_or("", |(_, text)| text)
    }

    /// The mistake with the name and text of its file.
    #[must_use]
    pub fn problem(&self, mistake: Mistake) -> Problem {
        let (file, text) = self
            .files
            .get(mistake.pos.file as usize)
            .cloned()
            .unwrap_or_else(|| (String::new(), Arc::from("")));
        Problem {
            file,
            text,
            pos: mistake.pos,
            message: mistake.message,
            label: mistake.label,
            help: mistake.help,
            code: mistake.code,
        }
    }
}

/// Something wrong in a file, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named to us.
    pub file: String,
    /// Where in the file.
    pub pos: Place,
    /// What is wrong, one line, lower case.
    pub message: String,
    /// What stands beside the caret.
    pub label: String,
    /// What to do about it.
    pub help: Option<String>,
    /// A stable word for the kind of problem, such as `unknown-key`.
    pub code: &'static str,
    text: Arc<str>,
}

impl Problem {
    /// A problem with a file as a whole, of which no line can be shown.
    #[must_use]
    pub fn whole_file(file: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            pos: Place::default(),
            message: message.into(),
            label: String::new(),
            help: None,
            code,
            text: Arc::from(""),
        }
    }

    /// With a help text.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// One line: `file:line:column: message (help)`, for logs and editors.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = clean(&self.file);
        if self.pos.line > 0 {
            line.push_str(&format!(":{}:{}", self.pos.line, self.pos.column));
        }
        line.push_str(&format!(": {}", clean(&self.message)));
        if let Some(help) = &self.help {
            line.push_str(&format!(" ({})", clean(help)));
        }
        line
    }

    /// The problem drawn with the line it is about, a caret and the help.
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        let theme = match style {
            Style::Plain => GraphicalTheme::unicode_nocolor(),
            Style::Ascii => GraphicalTheme::none(),
            Style::Colour => GraphicalTheme::unicode(),
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(100)
            .with_links(false)
            .with_context_lines(1);
        let mut out = String::new();
        match handler.render_report(&mut out, &Drawn::new(self)) {
            Ok(()) => out,
            Err(_) => self.line(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line())
    }
}

impl std::error::Error for Problem {}

/// How a problem is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Box characters, no colours.
    #[default]
    Plain,
    /// ASCII only, no colours.
    Ascii,
    /// Box characters and ANSI colours.
    Colour,
}

/// All problems drawn one after the other, the files in the order given.
#[must_use]
pub fn render_all(problems: &[Problem], style: Style) -> String {
    problems
        .iter()
        .map(|problem| problem.render(style))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Control characters would let a file repaint the terminal of who checks it.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// The view of a problem that miette draws.
#[derive(Debug)]
struct Drawn {
    message: String,
    code: String,
    help: Option<String>,
    source: Option<NamedSource<String>>,
    labels: Vec<LabeledSpan>,
}

impl Drawn {
    fn new(problem: &Problem) -> Self {
        let shown = problem.pos.line > 0;
        let (text, offset, len) = window(&problem.text, problem.pos);
        let label = (!problem.label.is_empty()).then(|| clean(&problem.label));
        Self {
            message: if shown {
                clean(&problem.message)
            } else {
                format!("{}: {}", clean(&problem.file), clean(&problem.message))
            },
            code: format!("fotaproof::{}", problem.code),
            help: problem.help.as_deref().map(clean),
            source: shown.then(|| NamedSource::new(clean(&problem.file), text)),
            labels: if shown {
                vec![LabeledSpan::new(label, offset, len)]
            } else {
                Vec::new()
            },
        }
    }
}

/// The text to draw from, with what would spoil the drawing taken out: the caret stays on one
/// line, over-long lines are cut, control characters are replaced by one that is seen. The number
/// of lines before the place is kept, so that the line number drawn is the real one.
fn window(text: &str, pos: Place) -> (String, usize, usize) {
    const LONGEST: usize = 160;
    let offset = (pos.offset as usize).min(text.len());
    let mut out = String::new();
    let mut drawn = (0, 0);
    let mut start = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let end = start + line.len();
        let number = narrow(number + 1);
        let near = number + 2 >= pos.line && number <= pos.line + 2;
        let body = line.trim_end_matches(['\n', '\r']);
        if number == pos.line {
            let inside = floor(body, offset.saturating_sub(start).min(body.len()));
            let from = if inside > LONGEST / 2 && body.len() > LONGEST {
                floor(body, inside - LONGEST / 2)
            } else {
                0
            };
            let to = floor(body, (from + LONGEST).min(body.len()));
            let until = floor(body, (inside + pos.len as usize).min(to)).max(inside);
            let lead = clean(&body[from..inside]);
            let marked = clean(&body[inside..until]);
            drawn = (out.len() + lead.len(), marked.len());
            out.push_str(&lead);
            out.push_str(&marked);
            out.push_str(&clean(&body[until..to]));
        } else if near {
            out.push_str(&clean(&body[..floor(body, body.len().min(LONGEST))]));
        }
        if number > pos.line + 2 {
            break;
        }
        if line.ends_with('\n') {
            out.push('\n');
        }
        start = end;
    }
    if pos.line > narrow(text.split_inclusive('\n').count()) {
        drawn = (out.len(), 0);
    }
    (out, drawn.0, drawn.1)
}

fn floor(text: &str, mut index: usize) -> usize {
    while !text.is_char_boundary(index) {
        index -= 1;
    }
    index
}

impl fmt::Display for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Drawn {}

impl Diagnostic for Drawn {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        (!self.labels.is_empty())
            .then(|| Box::new(self.labels.iter().cloned()) as Box<dyn Iterator<Item = LabeledSpan>>)
    }
}

/// The largest case, manifest or network file that is read, in bytes.
pub const FILE_LIMIT: u64 = 1024 * 1024;

/// Why a file could not even be looked at.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than [`FILE_LIMIT`].
    #[error("{}: the file has {size} bytes; the limit is {FILE_LIMIT}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// The file is not text.
    #[error("{}: not UTF-8 text: byte 0x{byte:02x} at offset {offset}", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first byte that is not UTF-8.
        byte: u8,
        /// Where it stands.
        offset: usize,
    },
}

impl LoadError {
    /// The same as a problem of that file.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Io { path, source } => Problem::whole_file(path.display().to_string(), "io", source.to_string()),
            Self::TooLarge { path, size } => Problem::whole_file(
                path.display().to_string(),
                "too-large",
                format!("the file has {size} bytes; the limit is {FILE_LIMIT}"),
            )
            .with_help("a case is a page of YAML; firmware is named by kind and size, never put into the file"),
            Self::NotText { path, byte, offset } => Problem::whole_file(
                path.display().to_string(),
                "not-text",
                format!("not UTF-8 text: byte 0x{byte:02x} at offset {offset}"),
            ),
        }
    }
}

/// Reads a file of the language: its size is looked at before its contents.
///
/// # Errors
/// When the file cannot be read, is larger than [`FILE_LIMIT`] or is not UTF-8.
pub fn read_text(path: &Path) -> Result<String, LoadError> {
    use std::io::Read as _;
    let io = |source| LoadError::Io {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if meta.is_dir() {
        return Err(io(std::io::Error::new(
            std::io::ErrorKind::IsADirectory,
            "is a folder, not a file",
        )));
    }
    if meta.len() > FILE_LIMIT {
        return Err(LoadError::TooLarge {
            path: path.to_owned(),
            size: meta.len(),
        });
    }
    // A pipe or a growing file says 0 bytes and gives more: the limit holds while reading too.
    let mut bytes = Vec::new();
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > FILE_LIMIT {
        return Err(LoadError::TooLarge {
            path: path.to_owned(),
            size: bytes.len() as u64,
        });
    }
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        let byte = error.as_bytes().get(offset).copied().unwrap_or(0);
        LoadError::NotText {
            path: path.to_owned(),
            byte,
            offset,
        }
    })
}

/// The bits of an [`crate::ast::Pos`] offset that name the file, see [`crate::de`].
pub(crate) const FILE_SHIFT: u32 = 32;

impl From<crate::ast::Pos> for Place {
    fn from(pos: crate::ast::Pos) -> Self {
        let offset = pos.offset as u64;
        Self {
            file: u32::try_from(offset >> FILE_SHIFT).unwrap_or(0),
            line: pos.line,
            column: pos.column,
            offset: (offset & u64::from(u32::MAX)) as u32,
            len: narrow(pos.len),
        }
    }
}
