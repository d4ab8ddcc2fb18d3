//! Manifests, network files and lists of expected failures; and telling what a file is.

use std::path::Path;

use crate::ast::{At, Network, Role};
use crate::claims::{Claims, PACKAGE_KINDS};
use crate::clauses::ClauseCatalogue;
use crate::de::from_node_thorough;
use crate::expand::{PARAMETERS, Parameters, expand};
use crate::library::{CaseSource, load_case, load_case_file};
use crate::manifest::{ExpectedFailure, Manifest};
use crate::node::{Kind, Node, parse};
use crate::problem::{Mistake, Place, Problem, Sources, read_text};
use crate::validate::{Known, validate_all};
use crate::words::{nearest, suggest};

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A case.
    Case,
    /// The manifest of an IUT.
    Manifest,
    /// A network.
    Network,
    /// A list of clauses.
    Clauses,
    /// A list of expected failures.
    ExpectedFailures,
}

impl FileKind {
    /// The name in messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Case => "case",
            Self::Manifest => "manifest",
            Self::Network => "network",
            Self::Clauses => "clauses",
            Self::ExpectedFailures => "expected failures",
        }
    }

    /// By the keys that only one kind of file has; a case when nothing tells.
    fn of(root: &Node) -> Self {
        let keys: Vec<&str> = match &root.kind {
            Kind::Map(entries) => entries.iter().map(|(key, _)| key.text.as_str()).collect(),
            Kind::Seq(items) => {
                let has = |key| items.iter().any(|item| item.entry(key).is_some());
                return if has("document") || has("section") {
                    Self::Clauses
                } else {
                    Self::ExpectedFailures
                };
            }
            Kind::Scalar { .. } => Vec::new(),
        };
        let any = |words: &[&str]| keys.iter().any(|key| words.contains(key));
        if any(&["steps", "title", "clauses", "purpose"]) {
            Self::Case
        } else if any(&["command", "embedded", "board", "claims", "packages", "power-cut"]) {
            Self::Manifest
        } else if any(&[
            "mtu",
            "both",
            "toward-iut",
            "toward-server",
            "rules",
            "summary",
            "oversize",
            "blackouts",
            "nat",
        ]) {
            Self::Network
        } else {
            Self::Case
        }
    }
}

/// Checks a file of any kind that people write.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check_file(path: &Path, parameters: &Parameters, known: &Known<'_>) -> Result<FileKind, Vec<Problem>> {
    let text = read_text(path).map_err(|error| vec![error.problem()])?;
    let name = path.display().to_string();
    let root = parse(0, &text).map_err(|mistake| vec![Sources::one(name.clone(), text.as_str()).problem(mistake)])?;
    let kind = FileKind::of(&root);
    match kind {
        FileKind::Case => {
            let cases = load_case_file(path, parameters)?;
            let problems = validate_all(&cases, known);
            if problems.is_empty() { Ok(kind) } else { Err(problems) }
        }
        FileKind::Manifest => load_manifest(&name, &text).map(|_| kind),
        FileKind::Network => load_network(&name, &text, parameters, known.profiles).map(|_| kind),
        FileKind::Clauses => ClauseCatalogue::default().add(&name, &text).map(|()| kind),
        FileKind::ExpectedFailures => load_expected_failures(&name, &text).map(|_| kind),
    }
}

/// Checks the text of a case as if it were a file of the library, for editors and tests.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check_case_text(path: &str, text: &str, known: &Known<'_>) -> Result<(), Vec<Problem>> {
    let none = |_: &str, path: &str| Err(format!("there is no file `{path}`"));
    let cases = load_case(&CaseSource::new(path, text), &Parameters::default(), &none)?;
    let problems = validate_all(&cases, known);
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn decode<T: serde::de::DeserializeOwned>(sources: &Sources, root: &Node) -> Result<T, Vec<Problem>> {
    from_node_thorough(root).map_err(|all| all.into_iter().map(|mistake| sources.problem(mistake)).collect())
}

/// A manifest with the text that it was read from.
#[derive(Clone, Debug)]
pub struct LoadedManifest {
    /// What it says.
    pub manifest: Manifest,
    /// Its claims.
    pub claims: Claims,
    /// The defaults with its parameters over them.
    pub parameters: Parameters,
    /// Its text.
    pub sources: Sources,
}

/// Reads the manifest of an IUT.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_manifest(name: &str, text: &str) -> Result<LoadedManifest, Vec<Problem>> {
    let sources = Sources::one(name, text);
    let root = parse(0, text).map_err(|mistake| vec![sources.problem(mistake)])?;
    let manifest: Manifest = decode(&sources, &root)?;
    let mut mistakes = Vec::new();
    let of_server = manifest.role.value == Role::Server;
    let ways = [
        ("command", manifest.command.as_ref().map(|way| way.pos)),
        ("embedded", manifest.embedded.as_ref().map(|way| way.pos)),
        ("board", manifest.board.as_ref().map(|way| way.pos)),
        // of a device it is a hand beside the others
        (
            "adapter",
            manifest.adapter.as_ref().map(|way| way.pos).filter(|_| of_server),
        ),
    ];
    let given: Vec<_> = ways
        .iter()
        .filter_map(|(name, pos)| pos.map(|pos| (*name, pos)))
        .collect();
    match given.as_slice() {
        [] => mistakes.push(
            Mistake::new(
                "manifest",
                Place::START,
                "the manifest does not say how to reach the IUT",
            )
            .help(if of_server {
                "give one of `adapter` (a program that speaks the adapter protocol) or `embedded`"
            } else {
                "give one of `command` (a program to start), `board` (a device that runs already) or `embedded`"
            }),
        ),
        [(way, pos)] if of_server && matches!(*way, "command" | "board") => mistakes.push(
            Mistake::new("manifest", (*pos).into(), format!("a server is not run by `{way}`"))
                .help("give `adapter`, a program that speaks the adapter protocol"),
        ),
        [_] => {}
        [(first, _), (second, pos), ..] => mistakes.push(Mistake::new(
            "manifest",
            (*pos).into(),
            format!("`{first}` and `{second}` exclude each other"),
        )),
    }
    for (name, words) in [("command", &manifest.command), ("adapter", &manifest.adapter)] {
        if words.as_ref().is_some_and(|words| words.value.is_empty()) {
            mistakes.push(
                Mistake::new("manifest", root.pos, format!("`{name}` is empty"))
                    .help("the program comes first, then its arguments"),
            );
        }
    }
    let mut claims = Claims::new([]).unwrap_or_default();
    for word in &manifest.claims {
        if let Err(error) = claims.add(word) {
            let mistake = Mistake::new("claim", word.pos.into(), error.to_string()).label("not a claim");
            mistakes.push(mistake.maybe_help(error.help()));
        }
    }
    let entry = |map: &str, key: &str| {
        root.get(map)
            .and_then(|map| map.entry(key))
            .map_or(root.pos, |(key, _)| key.pos)
    };
    for (kind, source) in &manifest.packages {
        let word = kind.split(':').next().unwrap_or_default();
        if !PACKAGE_KINDS.contains(&word) {
            let mistake = Mistake::new(
                "package",
                entry("packages", kind),
                format!("there is no kind of package `{kind}`"),
            );
            mistakes.push(mistake.label("unknown").maybe_help(suggest(word, PACKAGE_KINDS)));
        }
        let ways = [
            source.file.is_some(),
            source.command.is_some(),
            source.builtin == Some(true),
        ];
        if ways.iter().filter(|way| **way).count() != 1 {
            mistakes.push(
                Mistake::new(
                    "package",
                    entry("packages", kind),
                    format!("the package `{kind}` has to come from one source"),
                )
                .help("give `file`, `command` or `builtin: true`"),
            );
        }
    }
    // A parameter of the vendor's own is legal; one that looks like a known one is a slip.
    let names: Vec<&str> = PARAMETERS.iter().map(|parameter| parameter.name).collect();
    for name in manifest.parameters.keys() {
        if !names.contains(&name.as_str())
            && let Some(near) = nearest(name, names.iter().copied())
            && crate::words::distance(name, near) <= 2
        {
            mistakes.push(
                Mistake::new(
                    "parameter",
                    entry("parameters", name),
                    format!("no case uses the parameter `{name}`"),
                )
                .help(format!("did you mean `{near}`?")),
            );
        }
    }
    if mistakes.is_empty() {
        let parameters = Parameters::with(&manifest.parameters);
        Ok(LoadedManifest {
            manifest,
            claims,
            parameters,
            sources,
        })
    } else {
        Err(mistakes.into_iter().map(|mistake| sources.problem(mistake)).collect())
    }
}

/// Reads a network file.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_network(
    name: &str,
    text: &str,
    parameters: &Parameters,
    profiles: &[&str],
) -> Result<Network, Vec<Problem>> {
    let sources = Sources::one(name, text);
    let root = parse(0, text).map_err(|mistake| vec![sources.problem(mistake)])?;
    let problems = |mistakes: Vec<Mistake>| {
        mistakes
            .into_iter()
            .map(|mistake| sources.problem(mistake))
            .collect::<Vec<_>>()
    };
    if let Some((key, _)) = root.entry("for") {
        return Err(problems(vec![Mistake::new(
            "for",
            key.pos,
            "a network has no variants",
        )]));
    }
    let variant = expand(&root, parameters).map_err(problems)?.remove(0);
    let network: Network = decode(&sources, &variant.root)?;
    let mut mistakes = Vec::new();
    if let Some(profile) = &network.profile
        && !profiles.is_empty()
        && !profiles.contains(&profile.as_str())
    {
        let pos = root.get("profile").map_or(root.pos, |value| value.pos);
        mistakes.push(
            Mistake::new("profile", pos, format!("there is no network profile `{profile}`"))
                .label("unknown")
                .maybe_help(suggest(profile, profiles)),
        );
    }
    if network.mtu.is_some_and(|mtu| mtu < 68) {
        let pos = root.get("mtu").map_or(root.pos, |value| value.pos);
        mistakes.push(Mistake::new("mtu", pos, "no IPv4 link has an MTU below 68").label("too small"));
    }
    if mistakes.is_empty() {
        Ok(network)
    } else {
        Err(problems(mistakes))
    }
}

/// Reads a list of expected failures.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_expected_failures(name: &str, text: &str) -> Result<Vec<ExpectedFailure>, Vec<Problem>> {
    let sources = Sources::one(name, text);
    let root = parse(0, text).map_err(|mistake| vec![sources.problem(mistake)])?;
    let entries: Vec<ExpectedFailure> = decode(&sources, &root)?;
    let mut mistakes = Vec::new();
    for entry in &entries {
        if entry.reason.trim().is_empty() {
            mistakes.push(Mistake::new(
                "reason",
                entry.case.pos.into(),
                "an expected failure needs a `reason`",
            ));
        }
        if let Some(day) = entry.expires.as_ref().filter(|day| !is_day(day)) {
            let message = format!("expected a day such as 2027-01-31, found `{}`", day.value);
            mistakes.push(Mistake::new("expires", day.pos.into(), message).label("not a day"));
        }
        if let Err(error) = crate::select::Selector::parse(&entry.case) {
            mistakes.push(Mistake::new("case", entry.case.pos.into(), error.to_string()));
        }
    }
    if mistakes.is_empty() {
        Ok(entries)
    } else {
        Err(mistakes.into_iter().map(|mistake| sources.problem(mistake)).collect())
    }
}

/// Whether an entry's day is over, given today as `YYYY-MM-DD`.
#[must_use]
pub fn is_expired(expires: Option<&At<String>>, today: &str) -> bool {
    expires.is_some_and(|day| day.value.as_str() < today)
}

fn is_day(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else {
        return false;
    };
    let digits = |text: &str, len: usize| text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit());
    let lengths = |year: u32, month: u32| match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    };
    digits(year, 4)
        && digits(month, 2)
        && digits(day, 2)
        && matches!((year.parse::<u32>(), month.parse::<u32>(), day.parse::<u32>()),
            (Ok(y), Ok(m @ 1..=12), Ok(d)) if d >= 1 && d <= lengths(y, m))
}
