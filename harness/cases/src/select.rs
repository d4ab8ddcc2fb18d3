//! Selectors: which cases a command is about.
//!
//! | selector | selects |
//! |---|---|
//! | `push.happy` | the case, with all its variants |
//! | `push.happy[block=64]` | one variant |
//! | `push.*` | by glob over ids; `push` alone and `push.ack` select what begins so |
//! | `suite:push` | a suite |
//! | `role:server` | cases with a server under test; `role:client` the others |
//! | `clause:rfc7252/4.5` | cases that judge the clause; globs and whole documents too |
//! | `tag:slow`, `defect:NAME`, `claim:push`, `ets:770` | by tag, planted defect, needed claim, ETS number |
//! | `!SELECTOR` | takes these out again |

use globset::{GlobBuilder, GlobMatcher};

use crate::words::near;

/// What a selector looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject<'a> {
    /// The id without the variant.
    pub id: &'a str,
    /// The variant, `block=64`.
    pub variant: Option<&'a str>,
    /// The suite.
    pub suite: &'a str,
    /// The side of the IUT: `client` or `server`.
    pub role: &'a str,
    /// Clauses.
    pub clauses: Vec<&'a str>,
    /// Tags.
    pub tags: Vec<&'a str>,
    /// Planted defects.
    pub defects: Vec<&'a str>,
    /// Claims needed.
    pub needs: Vec<&'a str>,
    /// ETS ids.
    pub ets: Vec<&'a str>,
}

impl Subject<'_> {
    fn full(&self) -> String {
        match self.variant {
            Some(variant) => format!("{}[{variant}]", self.id),
            None => self.id.to_owned(),
        }
    }
}

/// Why a selection came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// The selector cannot be read.
    #[error("selector `{selector}`: {reason}")]
    Invalid {
        /// The selector.
        selector: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A selector matches no case.
    #[error("nothing is selected by `{selector}`{}", hint(near))]
    Nothing {
        /// The selector.
        selector: String,
        /// Ids that are near.
        near: Vec<String>,
    },
    /// The selectors together leave no case.
    #[error("nothing is selected: what is selected is taken out again by the other selectors")]
    AllExcluded,
    /// The library has no case at all.
    #[error("nothing is selected: the library holds no case")]
    EmptyLibrary,
}

fn hint(near: &[String]) -> String {
    match near {
        [] => String::new(),
        [one] => format!("; did you mean `{one}`?"),
        many => format!("; near: {}", many.join(", ")),
    }
}

/// The words before the colon of a selector.
const FIELDS: [&str; 8] = ["id", "suite", "role", "clause", "tag", "defect", "claim", "ets"];

/// A selector.
#[derive(Clone, Debug)]
pub struct Selector {
    text: String,
    negative: bool,
    field: Field,
    glob: GlobMatcher,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Id,
    Suite,
    Role,
    Clause,
    Tag,
    Defect,
    Claim,
    Ets,
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// An unknown field or a broken glob.
    pub fn parse(text: &str) -> Result<Self, SelectError> {
        let invalid = |reason: String| SelectError::Invalid {
            selector: text.to_owned(),
            reason,
        };
        let (negative, rest) = match text.strip_prefix('!') {
            Some(rest) => (true, rest.trim_start()),
            None => (false, text.trim()),
        };
        let (field, pattern) = match rest.split_once(':') {
            Some((word, pattern)) if !word.contains(['[', '.', '*']) => {
                let field = match word {
                    "id" => Field::Id,
                    "suite" => Field::Suite,
                    "role" => Field::Role,
                    "clause" => Field::Clause,
                    "tag" => Field::Tag,
                    "defect" => Field::Defect,
                    "claim" => Field::Claim,
                    "ets" => Field::Ets,
                    other => {
                        let near = near(other, FIELDS, 1);
                        let hint = near.first().map_or_else(
                            || format!("one of {}", FIELDS.join(", ")),
                            |word| format!("did you mean `{word}:`?"),
                        );
                        return Err(invalid(format!("unknown field `{other}`; {hint}")));
                    }
                };
                (field, pattern)
            }
            _ => (Field::Id, rest),
        };
        if pattern.is_empty() {
            return Err(invalid("there is nothing to look for".to_owned()));
        }
        // Brackets belong to the names of variants; they are not classes of letters here.
        let escaped = pattern.replace('[', "\\[").replace(']', "\\]");
        let glob = GlobBuilder::new(&escaped)
            .backslash_escape(true)
            .build()
            .map_err(|error| invalid(error.kind().to_string()))?
            .compile_matcher();
        Ok(Self {
            text: text.to_owned(),
            negative,
            field,
            glob,
        })
    }

    /// Whether it takes cases out.
    #[must_use]
    pub const fn is_negative(&self) -> bool {
        self.negative
    }

    /// Whether it is about this case (for a negative one: whether it takes it out).
    #[must_use]
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        let pattern = self.pattern();
        let begins = |word: &str, separator: &str| {
            word.strip_prefix(pattern)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(separator))
        };
        let any = |words: &[&str]| words.iter().any(|word| self.glob.is_match(word));
        match self.field {
            Field::Id => {
                self.glob.is_match(subject.id) || self.glob.is_match(subject.full()) || begins(subject.id, ".")
            }
            Field::Suite => self.glob.is_match(subject.suite),
            Field::Role => self.glob.is_match(subject.role),
            Field::Clause => {
                any(&subject.clauses)
                    || subject
                        .clauses
                        .iter()
                        .any(|word| begins(word, "/") || begins(word, "."))
            }
            Field::Tag => any(&subject.tags),
            Field::Defect => any(&subject.defects),
            Field::Claim => any(&subject.needs) || subject.needs.iter().any(|word| begins(word, ":")),
            Field::Ets => {
                any(&subject.ets)
                    || subject
                        .ets
                        .iter()
                        .any(|word| word.rsplit('-').next().is_some_and(|number| self.glob.is_match(number)))
            }
        }
    }

    fn pattern(&self) -> &str {
        let rest = self.text.trim().trim_start_matches('!').trim_start();
        match rest.split_once(':') {
            Some((word, pattern)) if FIELDS.contains(&word) => pattern,
            _ => rest,
        }
    }
}

/// The numbers of the subjects that are selected, in their own order.
///
/// Without a positive selector everything is selected. Each positive selector must select
/// something by itself: a misspelt one is an error even beside others that match.
///
/// # Errors
/// When a selector cannot be read or selects nothing, or when nothing is left.
pub fn select(selectors: &[String], subjects: &[Subject<'_>]) -> Result<Vec<usize>, SelectError> {
    if subjects.is_empty() {
        return Err(SelectError::EmptyLibrary);
    }
    let selectors: Vec<Selector> = selectors
        .iter()
        .map(|text| Selector::parse(text))
        .collect::<Result<_, _>>()?;
    for selector in selectors.iter().filter(|selector| !selector.negative) {
        if !subjects.iter().any(|subject| selector.matches(subject)) {
            return Err(SelectError::Nothing {
                selector: selector.text.clone(),
                near: nearby(selector, subjects),
            });
        }
    }
    let positive = selectors.iter().any(|selector| !selector.negative);
    let chosen: Vec<usize> = subjects
        .iter()
        .enumerate()
        .filter(|(_, subject)| {
            let wanted = !positive || selectors.iter().any(|s| !s.negative && s.matches(subject));
            wanted && !selectors.iter().any(|s| s.negative && s.matches(subject))
        })
        .map(|(index, _)| index)
        .collect();
    if chosen.is_empty() {
        Err(SelectError::AllExcluded)
    } else {
        Ok(chosen)
    }
}

fn nearby(selector: &Selector, subjects: &[Subject<'_>]) -> Vec<String> {
    let full: Vec<String>;
    let words: Vec<&str> = match selector.field {
        Field::Id if selector.pattern().contains('[') => {
            full = subjects.iter().map(Subject::full).collect();
            full.iter().map(String::as_str).collect()
        }
        Field::Id => subjects.iter().map(|s| s.id).collect(),
        Field::Suite => subjects.iter().map(|s| s.suite).collect(),
        Field::Role => subjects.iter().map(|s| s.role).collect(),
        Field::Clause => subjects.iter().flat_map(|s| s.clauses.iter().copied()).collect(),
        Field::Tag => subjects.iter().flat_map(|s| s.tags.iter().copied()).collect(),
        Field::Defect => subjects.iter().flat_map(|s| s.defects.iter().copied()).collect(),
        Field::Claim => subjects.iter().flat_map(|s| s.needs.iter().copied()).collect(),
        Field::Ets => subjects.iter().flat_map(|s| s.ets.iter().copied()).collect(),
    };
    near(selector.pattern(), words, 5)
        .into_iter()
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library() -> Vec<Subject<'static>> {
        let case = |id, variant| Subject {
            id,
            variant,
            suite: "push",
            role: "client",
            ..Subject::default()
        };
        vec![
            Subject {
                clauses: vec!["rfc7252/4.2"],
                ets: vec!["LightweightM2M-1.0-int-101"],
                ..Subject {
                    suite: "reg",
                    ..case("reg.initial", None)
                }
            },
            Subject {
                clauses: vec!["rfc7252/4.5", "oma-fw/T5"],
                defects: vec!["nul-is-package"],
                ..case("push.dup.last", Some("block=64"))
            },
            Subject {
                clauses: vec!["rfc7252/4.5"],
                ..case("push.dup.last", Some("block=512"))
            },
            Subject {
                tags: vec!["slow"],
                needs: vec!["pull:coap"],
                ets: vec!["LightweightM2M-1.0-int-770"],
                ..case("push.happy", None)
            },
        ]
    }

    fn chosen(selectors: &[&str]) -> Result<Vec<usize>, String> {
        let selectors: Vec<String> = selectors.iter().map(|text| (*text).to_owned()).collect();
        select(&selectors, &library()).map_err(|error| error.to_string())
    }

    #[test]
    fn each_kind_of_selector() {
        assert_eq!(chosen(&[]), Ok(vec![0, 1, 2, 3]));
        assert_eq!(chosen(&["push.dup.last"]), Ok(vec![1, 2]));
        assert_eq!(chosen(&["push.dup.last[block=512]"]), Ok(vec![2]));
        assert_eq!(chosen(&["push.dup.*[block=5*]"]), Ok(vec![2]));
        assert_eq!(chosen(&["push.*"]), Ok(vec![1, 2, 3]));
        assert_eq!(chosen(&["push"]), Ok(vec![1, 2, 3]));
        assert_eq!(chosen(&["suite:reg"]), Ok(vec![0]));
        assert_eq!(chosen(&["role:client"]), Ok(vec![0, 1, 2, 3]));
        assert_eq!(chosen(&["clause:rfc7252/4.5"]), Ok(vec![1, 2]));
        assert_eq!(chosen(&["clause:rfc7252"]), Ok(vec![0, 1, 2]));
        assert_eq!(chosen(&["clause:rfc7252/*"]), Ok(vec![0, 1, 2]));
        assert_eq!(chosen(&["tag:slow"]), Ok(vec![3]));
        assert_eq!(chosen(&["defect:nul-*"]), Ok(vec![1]));
        assert_eq!(chosen(&["claim:pull"]), Ok(vec![3]));
        assert_eq!(chosen(&["ets:770"]), Ok(vec![3]));
    }

    #[test]
    fn negative_selectors_take_out_of_what_is_selected_or_of_everything() {
        assert_eq!(chosen(&["!push.dup"]), Ok(vec![0, 3]));
        assert_eq!(chosen(&["push", "!push.happy"]), Ok(vec![1, 2]));
        assert_eq!(chosen(&["reg", "push.happy"]), Ok(vec![0, 3]));
    }

    #[test]
    fn nothing_selected_is_an_error_that_says_what_is_near() {
        assert_eq!(
            chosen(&["push.hapy"]).unwrap_err(),
            "nothing is selected by `push.hapy`; did you mean `push.happy`?"
        );
        assert_eq!(
            chosen(&["push.happy", "zzz"]).unwrap_err(),
            "nothing is selected by `zzz`"
        );
        assert!(chosen(&["reg", "!reg"]).unwrap_err().contains("taken out again"));
        assert!(chosen(&["clase:x"]).unwrap_err().contains("did you mean `clause:`?"));
        assert!(chosen(&["tag:"]).unwrap_err().contains("nothing to look for"));
        assert!(chosen(&["{a"]).unwrap_err().contains("selector `{a`"));
        assert_eq!(select(&[], &[]), Err(SelectError::EmptyLibrary));
    }
}
