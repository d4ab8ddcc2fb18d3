//! The clause catalogue: the requirements that cases and checks judge by, in our own words.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ast::At;
use crate::de::from_node_thorough;
use crate::library::Library;
use crate::node::parse;
use crate::problem::{Problem, Sources};
use crate::words::near;

/// How strongly a document asks for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// A requirement, or a criterion of the enabler test specification.
    Must,
    /// A recommendation, or a requirement whose source is secondary.
    Should,
    /// A permission.
    May,
    /// A definition, constant or explanation that requires nothing by itself.
    Info,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Must => "must",
            Self::Should => "should",
            Self::May => "may",
            Self::Info => "info",
        })
    }
}

/// One requirement of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Clause {
    /// Its id, such as `rfc7252/4.5`.
    pub id: String,
    /// The document.
    pub document: String,
    /// The section, resource or arrow in it.
    pub section: String,
    /// How strongly it is asked for.
    pub level: Level,
    /// What it asks for, in our own words.
    pub text: String,
}

/// One entry of a file of clauses, which is a list of them.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ClauseEntry {
    /// The id that cases name, such as `rfc7252/4.5`.
    pub id: At<String>,
    /// The document.
    pub document: String,
    /// The section, resource or arrow in it.
    pub section: String,
    /// How strongly it is asked for.
    pub level: Level,
    /// What it asks for, in our own words.
    pub text: String,
}

/// All clauses by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClauseCatalogue {
    clauses: BTreeMap<String, Clause>,
}

impl ClauseCatalogue {
    /// Reads the files under `clauses/` of a library.
    ///
    /// # Errors
    /// Every mistake in them, and ids that stand in two places.
    pub fn load(library: &Library) -> Result<Self, Vec<Problem>> {
        let mut catalogue = Self::default();
        let mut problems = Vec::new();
        for (path, text) in library.files_in("clauses") {
            if let Err(more) = catalogue.add(path, text) {
                problems.extend(more);
            }
        }
        if problems.is_empty() {
            Ok(catalogue)
        } else {
            Err(problems)
        }
    }

    /// Adds one file of clauses.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), Vec<Problem>> {
        let sources = Sources::one(name, text);
        let root = parse(0, text).map_err(|mistake| vec![sources.problem(mistake)])?;
        let entries: Vec<ClauseEntry> = from_node_thorough(&root).map_err(|all| {
            all.into_iter()
                .map(|mistake| sources.problem(mistake))
                .collect::<Vec<_>>()
        })?;
        let mut problems = Vec::new();
        for entry in entries {
            let id = entry.id.value.clone();
            let clause = Clause {
                id: id.clone(),
                document: entry.document,
                section: entry.section,
                level: entry.level,
                text: entry.text.split_whitespace().collect::<Vec<_>>().join(" "),
            };
            if self.clauses.insert(id.clone(), clause).is_some() {
                let mistake = crate::problem::Mistake::new(
                    "duplicate-clause",
                    entry.id.pos.into(),
                    format!("the clause `{id}` stands in the catalogue twice"),
                );
                problems.push(sources.problem(mistake));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// The clause of an id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Clause> {
        self.clauses.get(id)
    }

    /// Whether there is a clause of this id.
    #[must_use]
    pub fn contains(&self, id: &str) -> bool {
        self.clauses.contains_key(id)
    }

    /// The ids nearest to one that is not there.
    #[must_use]
    pub fn near(&self, id: &str) -> Vec<&str> {
        let mut found = near(id, self.clauses.keys().map(String::as_str), 3);
        if found.is_empty()
            && let Some((document, _)) = id.split_once('/')
        {
            found = self
                .clauses
                .keys()
                .map(String::as_str)
                .filter(|known| known.starts_with(document))
                .take(6)
                .collect();
        }
        found
    }

    /// All clauses, sorted by id.
    pub fn iter(&self) -> impl Iterator<Item = &Clause> {
        self.clauses.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clauses.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clauses.is_empty()
    }
}
