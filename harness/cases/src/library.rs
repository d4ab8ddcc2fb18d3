//! The library of cases: files in folders by suite, compiled in or from a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use include_dir::{Dir, include_dir};

use crate::ast::{Case, Pos, Step};
use crate::de::{from_node, from_node_thorough};
use crate::expand::{Parameters, expand};
use crate::node::{Kind, Node, parse};
use crate::problem::{Mistake, Place, Problem, Sources, read_text};
use crate::select::Subject;

static EMBEDDED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../testcases");

/// Folders of a library that hold no cases.
pub const OTHER_FOLDERS: [&str; 5] = ["clauses", "common", "networks", "schema", "sweeps"];

/// How deep `include` may go.
const INCLUDE_LIMIT: usize = 8;
/// How deep folders are followed, and how many files are read.
const FOLDER_LIMIT: usize = 8;
const FILE_COUNT_LIMIT: usize = 20_000;

/// The text of a case and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseSource {
    /// The file, as it is shown.
    pub path: String,
    /// The id: the path in the library with dots.
    pub id: String,
    /// The YAML.
    pub text: Arc<str>,
}

impl CaseSource {
    /// A case by its path in the library: `push/happy.yaml` has the id `push.happy`.
    #[must_use]
    pub fn new(path: &str, text: impl Into<Arc<str>>) -> Self {
        Self {
            path: path.to_owned(),
            id: id_of(path),
            text: text.into(),
        }
    }
}

/// The id of a path in the library.
#[must_use]
pub fn id_of(path: &str) -> String {
    let stem = path
        .strip_suffix(".yaml")
        .or_else(|| path.strip_suffix(".yml"))
        .unwrap_or(path);
    stem.replace(['/', '\\'], ".")
}

/// One variant of a case, ready to run.
#[derive(Clone, Debug)]
pub struct LoadedCase {
    /// The id, without the variant: `push.lost-last-ack`.
    pub id: String,
    /// The variant: `block=64`.
    pub variant: Option<String>,
    /// The values that make the variant.
    pub values: Vec<(String, String)>,
    /// The suite: the first part of the id.
    pub suite: String,
    /// The file, as it is shown.
    pub path: String,
    /// What the file says, with everything filled in.
    pub case: Case,
    /// The parameters that it uses.
    pub parameters: BTreeSet<String>,
    /// The texts of the file and of what it includes.
    pub sources: Arc<Sources>,
}

impl LoadedCase {
    /// The id with the variant: `push.lost-last-ack[block=64]`.
    #[must_use]
    pub fn full_id(&self) -> String {
        match &self.variant {
            Some(variant) => format!("{}[{variant}]", self.id),
            None => self.id.clone(),
        }
    }

    /// What selectors look at.
    #[must_use]
    pub fn subject(&self) -> Subject<'_> {
        fn words(all: &[crate::ast::At<String>]) -> Vec<&str> {
            all.iter().map(|word| word.value.as_str()).collect()
        }
        Subject {
            id: &self.id,
            variant: self.variant.as_deref(),
            suite: &self.suite,
            role: self.case.role.value.word(),
            clauses: words(&self.case.clauses),
            tags: words(&self.case.tags),
            defects: words(&self.case.defects),
            needs: words(&self.case.needs),
            ets: words(&self.case.ets),
        }
    }

    /// The file and line of a place, for reports.
    #[must_use]
    pub fn place(&self, pos: Pos) -> (&str, u32) {
        (self.sources.name(pos.into()), pos.line)
    }

    /// The line of the file that a place is on, without its indentation.
    #[must_use]
    pub fn line_text(&self, pos: Pos) -> &str {
        self.sources.line(pos.into()).trim().trim_start_matches("- ").trim()
    }
}

/// Finds an included file: given the including file and the text of `include`, its name and text.
pub type Includes<'a> = dyn Fn(&str, &str) -> Result<(String, Arc<str>), String> + 'a;

/// Reads a case: all its variants, typed.
///
/// # Errors
/// Everything that is wrong with the file, as far as it can be told at once.
pub fn load_case(
    source: &CaseSource,
    parameters: &Parameters,
    includes: &Includes<'_>,
) -> Result<Vec<LoadedCase>, Vec<Problem>> {
    let mut sources = Sources::one(source.path.clone(), source.text.clone());
    let root = match parse(0, &source.text).and_then(|root| {
        let mut stack = vec![source.path.clone()];
        include(root, &mut sources, &mut stack, includes)
    }) {
        Ok(root) => root,
        Err(mistake) => return Err(vec![sources.problem(mistake)]),
    };
    let sources = Arc::new(sources);
    let problems = |mistakes: Vec<Mistake>| -> Vec<Problem> {
        let mut all: Vec<Problem> = mistakes.into_iter().map(|mistake| sources.problem(mistake)).collect();
        tidy(&mut all);
        all
    };
    if !matches!(root.kind, Kind::Map(_)) {
        let mistake = Mistake::new(
            "type",
            root.pos,
            format!("a case is a mapping, found {}", root.describe()),
        )
        .label("this does not fit here")
        .help("a case begins with `title:`, `purpose:` and `clauses:`, and has `steps:`");
        return Err(problems(vec![mistake]));
    }
    let variants = expand(&root, parameters).map_err(problems)?;
    let mut cases = Vec::with_capacity(variants.len());
    let mut mistakes = Vec::new();
    for variant in variants {
        match from_node_thorough::<Case>(&variant.root) {
            Ok(case) => cases.push(LoadedCase {
                id: source.id.clone(),
                variant: variant.name(),
                values: variant.values,
                suite: source.id.split('.').next().unwrap_or_default().to_owned(),
                path: source.path.clone(),
                case,
                parameters: variant.parameters,
                sources: sources.clone(),
            }),
            Err(found) => {
                mistakes.extend(found);
                mistakes.extend(step_mistakes(&variant.root));
            }
        }
        if mistakes.len() > 50 {
            break;
        }
    }
    if mistakes.is_empty() {
        Ok(cases)
    } else {
        Err(problems(mistakes))
    }
}

/// Each step is looked at by itself, so that one wrong step does not hide the next.
fn step_mistakes(root: &Node) -> Vec<Mistake> {
    ["given", "steps"]
        .into_iter()
        .filter_map(|key| root.get(key)?.items())
        .flatten()
        .filter_map(|step| from_node::<Step>(step).err())
        .take(20)
        .collect()
}

/// In file order, nothing twice: variants find the same mistake again and again.
fn tidy(problems: &mut Vec<Problem>) {
    problems.sort_by(|a, b| (a.pos, &a.message).cmp(&(b.pos, &b.message)));
    problems.dedup_by(|a, b| a.pos == b.pos && a.message == b.message);
}

fn include(
    mut root: Node,
    sources: &mut Sources,
    stack: &mut Vec<String>,
    includes: &Includes<'_>,
) -> Result<Node, Mistake> {
    let Some((key, list)) = root.take("include") else {
        return Ok(root);
    };
    let items: Vec<Node> = match list.kind {
        Kind::Seq(items) => items,
        Kind::Scalar { .. } => vec![list],
        Kind::Map(_) => {
            return Err(Mistake::new(
                "include",
                list.pos,
                format!("`include` expects a list of files, found {}", list.describe()),
            ));
        }
    };
    for item in items {
        let Some(path) = item.text().filter(|path| !path.is_empty()) else {
            return Err(Mistake::new(
                "include",
                item.pos,
                format!("expected a file, found {}", item.describe()),
            ));
        };
        let from = stack.last().cloned().unwrap_or_default();
        let (name, text) =
            includes(&from, path).map_err(|reason| Mistake::new("include", item.pos, reason).label("included here"))?;
        if let Some(index) = stack.iter().position(|open| *open == name) {
            let mut round = stack[index..].to_vec();
            round.push(name);
            return Err(Mistake::new(
                "cyclic-include",
                item.pos,
                format!("the include goes round: {}", round.join(" → ")),
            )
            .label("this file is already being read"));
        }
        if stack.len() > INCLUDE_LIMIT {
            return Err(Mistake::new(
                "include",
                key.pos,
                format!("includes are nested deeper than {INCLUDE_LIMIT}"),
            ));
        }
        let file = sources.add(name.clone(), text.clone());
        stack.push(name);
        let other = parse(file, &text).and_then(|other| include(other, sources, stack, includes))?;
        stack.pop();
        if !matches!(other.kind, Kind::Map(_)) {
            return Err(Mistake::new(
                "include",
                other.pos,
                "an included file is a mapping of defaults",
            ));
        }
        merge(&mut root, other);
    }
    Ok(root)
}

/// Puts in what is not there yet; mappings are merged, anything else is the case's own.
fn merge(own: &mut Node, defaults: Node) {
    let (Kind::Map(own), Kind::Map(defaults)) = (&mut own.kind, defaults.kind) else {
        return;
    };
    for (key, value) in defaults {
        match own.iter_mut().find(|(known, _)| known.text == key.text) {
            Some((_, known)) => merge(known, value),
            None => own.push((key, value)),
        }
    }
}

/// A library of cases with its clauses and networks.
#[derive(Clone, Debug, Default)]
pub struct Library {
    files: BTreeMap<String, Arc<str>>,
    /// What stands before the path of a file when it is shown.
    prefix: String,
}

impl Library {
    /// The library compiled into the program.
    #[must_use]
    pub fn embedded() -> Self {
        fn add(dir: &Dir<'_>, files: &mut BTreeMap<String, Arc<str>>) {
            for file in dir.files() {
                if let (Some(path), Some(text)) = (file.path().to_str(), file.contents_utf8())
                    && is_yaml(path)
                {
                    files.insert(path.replace('\\', "/"), Arc::from(text));
                }
            }
            for dir in dir.dirs() {
                add(dir, files);
            }
        }
        let mut files = BTreeMap::new();
        add(&EMBEDDED, &mut files);
        Self {
            files,
            prefix: "testcases/".to_owned(),
        }
    }

    /// From texts by path, for tests and tools.
    #[must_use]
    pub fn from_files<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let files = files
            .into_iter()
            .map(|(path, text)| (path.to_owned(), Arc::from(text)))
            .collect();
        Self {
            files,
            prefix: String::new(),
        }
    }

    /// From a folder.
    ///
    /// # Errors
    /// Files that cannot be read, are too large or are no text.
    pub fn from_dir(root: &Path) -> Result<Self, Vec<Problem>> {
        let mut files = BTreeMap::new();
        let mut problems = Vec::new();
        walk(root, root, 0, &mut files, &mut problems);
        let mut prefix = root.display().to_string();
        if !prefix.ends_with('/') {
            prefix.push('/');
        }
        if problems.is_empty() {
            Ok(Self { files, prefix })
        } else {
            Err(problems)
        }
    }

    /// The YAML files of a folder of the library, with their shown names.
    pub fn files_in<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files
            .iter()
            .filter(move |(path, _)| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
            .map(|(path, text)| (path.as_str(), text.as_ref()))
    }

    /// The text of a file by its path in the library.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(AsRef::as_ref)
    }

    /// The cases, not yet read, in the order of their ids.
    #[must_use]
    pub fn sources(&self) -> Vec<CaseSource> {
        let mut all: Vec<CaseSource> = self
            .files
            .iter()
            .filter(|(path, _)| {
                !path
                    .split_once('/')
                    .is_some_and(|(folder, _)| OTHER_FOLDERS.contains(&folder))
            })
            .map(|(path, text)| CaseSource {
                path: format!("{}{path}", self.prefix),
                id: id_of(path),
                text: text.clone(),
            })
            .collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// Reads every case. What is wrong with some does not keep the others from being read.
    #[must_use]
    pub fn load(&self, parameters: &Parameters) -> (Vec<LoadedCase>, Vec<Problem>) {
        let mut cases = Vec::new();
        let mut problems = Vec::new();
        let mut first: BTreeMap<String, String> = BTreeMap::new();
        for source in self.sources() {
            if let Some(other) = first.get(&source.id) {
                let message = format!("the id `{}` is taken by {other}", source.id);
                problems.push(
                    Problem::whole_file(source.path, "duplicate-id", message)
                        .with_help("the id of a case is its path with dots; rename one of the files"),
                );
                continue;
            }
            first.insert(source.id.clone(), source.path.clone());
            if let Some(problem) = bad_id(&source) {
                problems.push(problem);
                continue;
            }
            match self.load_one(&source, parameters) {
                Ok(variants) => cases.extend(variants),
                Err(more) => problems.extend(more),
            }
        }
        (cases, problems)
    }

    /// Reads one case of the library.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load_one(&self, source: &CaseSource, parameters: &Parameters) -> Result<Vec<LoadedCase>, Vec<Problem>> {
        load_case(source, parameters, &|from, path| {
            let from = from.strip_prefix(&self.prefix).unwrap_or(from);
            let full = beside(from, path).ok_or_else(|| format!("`{path}` leads out of the library"))?;
            match self.files.get(&full) {
                Some(text) => Ok((format!("{}{full}", self.prefix), text.clone())),
                None => Err(format!("there is no file `{full}` in the library")),
            }
        })
    }
}

/// Reads one case from a file of its own; includes are looked for beside it.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_case_file(path: &Path, parameters: &Parameters) -> Result<Vec<LoadedCase>, Vec<Problem>> {
    let text = read_text(path).map_err(|error| vec![error.problem()])?;
    let shown = path.display().to_string();
    let source = CaseSource {
        id: id_of_file(path),
        path: shown,
        text: text.into(),
    };
    if let Some(problem) = bad_id(&source) {
        return Err(vec![problem]);
    }
    load_case(&source, parameters, &|from, include| {
        let file = Path::new(from)
            .parent()
            .map_or_else(|| PathBuf::from(include), |folder| folder.join(include));
        let text = read_text(&file).map_err(|error| error.to_string())?;
        // A cycle must be seen whatever the way to the file is called.
        let name = file.canonicalize().unwrap_or(file);
        let open = Path::new(from);
        let name = if open.canonicalize().is_ok_and(|open| open == name) {
            open.to_owned()
        } else {
            name
        };
        Ok((name.display().to_string(), text.into()))
    })
}

/// The id of a file outside of a library: its folder as the suite, and its name.
fn id_of_file(path: &Path) -> String {
    let stem = path
        .file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let suite = path
        .parent()
        .and_then(Path::file_name)
        .map(|name| name.to_string_lossy().into_owned());
    match suite {
        Some(suite) if is_id(&suite) => format!("{suite}.{stem}"),
        _ => stem,
    }
}

fn is_id(id: &str) -> bool {
    id.split('.').all(|part| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    })
}

fn bad_id(source: &CaseSource) -> Option<Problem> {
    (!is_id(&source.id)).then(|| {
        Problem::whole_file(source.path.clone(), "id", format!("`{}` is no id of a case", source.id))
            .with_help("name folders and files with lower-case letters, digits and dashes")
    })
}

fn is_yaml(path: &str) -> bool {
    path.ends_with(".yaml") || path.ends_with(".yml")
}

/// `../common/x.yaml` seen from `push/happy.yaml` is `common/x.yaml`.
fn beside(from: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    if path.starts_with('/') {
        return None;
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

fn walk(root: &Path, dir: &Path, depth: usize, files: &mut BTreeMap<String, Arc<str>>, problems: &mut Vec<Problem>) {
    let fail = |path: &Path, message: String| Problem::whole_file(path.display().to_string(), "io", message);
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => {
            problems.push(fail(dir, error.to_string()));
            return;
        }
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    paths.sort();
    for path in paths {
        if files.len() >= FILE_COUNT_LIMIT {
            problems.push(fail(dir, format!("more than {FILE_COUNT_LIMIT} files")));
            return;
        }
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            if depth < FOLDER_LIMIT {
                walk(root, &path, depth + 1, files, problems);
            }
            continue;
        }
        let relative = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .to_string_lossy()
            .replace('\\', "/");
        if is_yaml(&relative) {
            match read_text(&path) {
                Ok(text) => {
                    files.insert(relative, text.into());
                }
                Err(error) => problems.push(error.problem()),
            }
        }
    }
}

impl Sources {
    /// The line of a place.
    #[must_use]
    pub fn line(&self, place: Place) -> &str {
        self.text(place)
            .lines()
            .nth(place.line.saturating_sub(1) as usize)
            .unwrap_or_default()
    }
}
