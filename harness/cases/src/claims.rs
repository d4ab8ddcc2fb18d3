//! Claims: what the vendor says an IUT supports (PICS), and expressions over them.
//!
//! A claim is a word such as `push`, `pull:coap` or `object=1.1`. An expression is a word, a
//! version comparison such as `object>=1.1`, or these joined by `|`, `&`, `!` and parentheses.

use std::collections::{BTreeMap, BTreeSet};

use crate::words::suggest;

/// A claim word and what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimInfo {
    /// The word.
    pub word: &'static str,
    /// What who claims it says.
    pub meaning: &'static str,
}

const fn claim(word: &'static str, meaning: &'static str) -> ClaimInfo {
    ClaimInfo { word, meaning }
}

/// All claim words but versions and kinds of package.
pub const CLAIMS: &[ClaimInfo] = &[
    claim("push", "takes a package written to resource 0"),
    claim("pull:coap", "fetches a package by coap"),
    claim("pull:coaps", "fetches a package by coaps"),
    claim("pull:http", "fetches a package by http"),
    claim("pull:https", "fetches a package by https"),
    claim("pull:coap+tcp", "fetches a package by coap+tcp"),
    claim("pull:coaps+tcp", "fetches a package by coaps+tcp"),
    claim("dtls:psk", "registers over DTLS with a pre-shared key"),
    claim("dtls:x509", "registers over DTLS with certificates"),
    claim("dtls:rpk", "registers over DTLS with raw public keys"),
    claim("cid", "offers DTLS connection ids"),
    claim("oscore", "registers with OSCORE"),
    claim("queue", "has queue mode"),
    claim("binding:U", "registers over UDP"),
    claim("binding:T", "registers over TCP"),
    claim("binding:N", "registers over non-IP delivery"),
    claim("send", "uses the Send operation"),
    claim("composite", "answers composite operations"),
    claim("defer", "defers an update"),
    claim("obj:4", "has object 4, Connectivity Monitoring"),
    claim("obj:9", "has object 9, Software Management"),
    claim("obj:14", "has object 14, Software Component"),
    claim("two-servers", "keeps registrations with two servers"),
    claim("signed", "verifies signatures of packages"),
    claim("anti-rollback", "refuses older packages"),
    claim("resume", "continues a pull after a restart"),
    claim("persist", "keeps State and Update Result over a restart"),
    claim("restart", "can be started again by the harness"),
    claim("kill", "its power can be cut"),
    claim("stop", "can be stopped gracefully"),
    claim("lifetime", "its registration lifetime can be set"),
    claim("deregister", "de-registers when stopped gracefully"),
    claim("version", "shows its firmware version in /3/0/3"),
    claim("hook:digest", "the adapter can tell the digest of the stored package"),
    claim("hook:measure", "the adapter can tell of measurements"),
    claim("srv:campaign", "the server has an update engine of its own"),
    claim("srv:library", "the server does single operations when told"),
    claim("srv:push", "the server pushes packages"),
    claim("srv:pull", "the server writes package URIs"),
    claim("srv:repo", "the server hosts packages"),
    claim("srv:report", "the adapter can read the server's verdict and counts"),
    claim("srv:window", "the server keeps maintenance windows"),
    claim("srv:radio", "the server looks at the radio before it starts"),
    claim("srv:stages", "the server rolls out in stages"),
    claim("srv:retry", "the server tries failed devices again"),
    claim("srv:dtls", "the server speaks DTLS with pre-shared keys"),
    claim("srv:dtls-cid", "the server gives DTLS connection ids"),
    claim("srv:queue", "the server honours queue mode"),
    claim("srv:send", "the server takes Send (LwM2M 1.1)"),
];

/// The kinds of package, each also a claim `pkg:KIND`.
pub const PACKAGE_KINDS: &[&str] = &[
    "valid",
    "corrupt",
    "wrong-type",
    "too-big",
    "no-ram",
    "fail-install",
    "bad-at-install",
    "slow-install",
    "slow-flash",
    "defer",
    "older",
    "unsigned",
    "tampered",
    "other-model",
    "object-dropped",
];

/// What has a version.
const VERSIONED: [&str; 2] = ["object", "lwm2m"];

/// All claim words as a manifest writes them, for suggestions.
#[must_use]
pub fn words() -> Vec<String> {
    let mut all: Vec<String> = CLAIMS.iter().map(|claim| claim.word.to_owned()).collect();
    all.extend(PACKAGE_KINDS.iter().map(|kind| format!("pkg:{kind}")));
    for name in VERSIONED {
        all.extend(["1.0", "1.1", "1.2"].map(|version| format!("{name}={version}")));
    }
    all
}

/// What is wrong with a claim or an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// A word that no claim is.
    #[error("unknown claim `{word}`")]
    Unknown {
        /// The word.
        word: String,
        /// Offset in the expression.
        offset: usize,
        /// The nearest words.
        help: Option<String>,
    },
    /// A version that cannot be read.
    #[error("expected a version such as 1.1, found `{word}`")]
    Version {
        /// The text.
        word: String,
        /// Offset in the expression.
        offset: usize,
    },
    /// The expression breaks off or has something left over.
    #[error("expected {expected}")]
    Syntax {
        /// What was expected.
        expected: &'static str,
        /// Offset in the expression.
        offset: usize,
    },
}

impl ClaimError {
    /// Where in the expression.
    #[must_use]
    pub const fn offset(&self) -> usize {
        match self {
            Self::Unknown { offset, .. } | Self::Version { offset, .. } | Self::Syntax { offset, .. } => *offset,
        }
    }

    /// What was probably meant.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Unknown { help, .. } => help.clone(),
            Self::Version { .. } => None,
            Self::Syntax { .. } => Some("write words joined by |, & and !, such as `push | pull:coap`".to_owned()),
        }
    }
}

/// A version, major and minor.
pub type Version = (u8, u8);

fn version(text: &str) -> Option<Version> {
    let (major, minor) = text.trim().split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The claims of an IUT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    words: BTreeSet<String>,
    versions: BTreeMap<&'static str, BTreeSet<Version>>,
}

impl Claims {
    /// From the words of a manifest: `push`, `object=1.1`, `lwm2m=1.0..1.2`. `pkg:valid` is
    /// always claimed.
    ///
    /// # Errors
    /// The first word that is no claim.
    pub fn new<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, ClaimError> {
        let mut claims = Self::default();
        claims.words.insert("pkg:valid".to_owned());
        for word in words {
            claims.add(word.trim())?;
        }
        Ok(claims)
    }

    /// Adds one word.
    ///
    /// # Errors
    /// When it is no claim.
    pub fn add(&mut self, word: &str) -> Result<(), ClaimError> {
        if let Some((name, range)) = word.split_once('=')
            && let Some(name) = VERSIONED.iter().copied().find(|known| *known == name.trim())
        {
            let (from, to) = range.split_once("..").unwrap_or((range, range));
            let (Some(from), Some(to)) = (version(from), version(to)) else {
                return Err(ClaimError::Version {
                    word: range.to_owned(),
                    offset: word.len() - range.len(),
                });
            };
            let all = self.versions.entry(name).or_default();
            for minor in from.1..=to.1 {
                all.insert((from.0, minor));
            }
            all.insert(to);
            return Ok(());
        }
        known(word, 0)?;
        self.words.insert(word.to_owned());
        Ok(())
    }

    /// Whether a word is claimed. `pull` stands for any `pull:…`.
    #[must_use]
    pub fn has(&self, word: &str) -> bool {
        word == "any"
            || self.words.contains(word)
            || !word.contains(':')
                && self
                    .words
                    .iter()
                    .any(|own| own.strip_prefix(word).is_some_and(|rest| rest.starts_with(':')))
    }

    /// The highest claimed version of `object` or `lwm2m`.
    #[must_use]
    pub fn highest(&self, name: &str) -> Option<Version> {
        self.versions.get(name).and_then(|all| all.last().copied())
    }

    /// All claims as words, sorted.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        let mut all: Vec<String> = self.words.iter().cloned().collect();
        for (name, versions) in &self.versions {
            all.extend(versions.iter().map(|(major, minor)| format!("{name}={major}.{minor}")));
        }
        all.sort();
        all
    }
}

fn known(word: &str, offset: usize) -> Result<(), ClaimError> {
    let group = CLAIMS
        .iter()
        .any(|claim| claim.word.split_once(':').is_some_and(|(prefix, _)| prefix == word));
    let kind = word
        .strip_prefix("pkg:")
        .is_some_and(|kind| PACKAGE_KINDS.contains(&kind));
    if word == "any" || word == "pkg" || group || kind || CLAIMS.iter().any(|claim| claim.word == word) {
        return Ok(());
    }
    let all = words();
    let near: Vec<&str> = all.iter().map(String::as_str).collect();
    let help = suggest(word, &near);
    Err(ClaimError::Unknown {
        word: word.to_owned(),
        offset,
        help,
    })
}

/// An expression over claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimExpr {
    /// A word.
    Word(String),
    /// A comparison of a version.
    Version {
        /// `object` or `lwm2m`.
        name: &'static str,
        /// How.
        comparison: Comparison,
        /// With what.
        version: Version,
    },
    /// Not.
    Not(Box<Self>),
    /// All of these.
    All(Vec<Self>),
    /// One of these.
    Any(Vec<Self>),
}

/// How versions compare. An IUT that supports several versions satisfies a comparison when one
/// of them does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `>=`
    AtLeast,
    /// `<=`
    AtMost,
    /// `<`
    Below,
    /// `>`
    Above,
}

impl ClaimExpr {
    /// Reads an expression.
    ///
    /// # Errors
    /// Unknown words and broken syntax, with the offset.
    pub fn parse(text: &str) -> Result<Self, ClaimError> {
        let mut parser = Parser { text, at: 0, depth: 0 };
        let expr = parser.any()?;
        parser.space();
        if parser.at < text.len() {
            return Err(ClaimError::Syntax {
                expected: "`|`, `&` or the end",
                offset: parser.at,
            });
        }
        Ok(expr)
    }

    /// Whether the claims satisfy it.
    #[must_use]
    pub fn holds(&self, claims: &Claims) -> bool {
        match self {
            Self::Word(word) => claims.has(word),
            Self::Version {
                name,
                comparison,
                version,
            } => claims.versions.get(name).is_some_and(|all| {
                all.iter().any(|own| match comparison {
                    Comparison::Equal => own == version,
                    Comparison::AtLeast => own >= version,
                    Comparison::AtMost => own <= version,
                    Comparison::Below => own < version,
                    Comparison::Above => own > version,
                })
            }),
            Self::Not(inner) => !inner.holds(claims),
            Self::All(all) => all.iter().all(|inner| inner.holds(claims)),
            Self::Any(any) => any.iter().any(|inner| inner.holds(claims)),
        }
    }
}

/// Whether claims satisfy an expression.
///
/// # Errors
/// When the expression cannot be read.
pub fn evaluate(expression: &str, claims: &Claims) -> Result<bool, ClaimError> {
    Ok(ClaimExpr::parse(expression)?.holds(claims))
}

/// The expressions of a `needs` list that claims do not satisfy; empty when the case applies.
///
/// # Errors
/// When an expression cannot be read.
pub fn unmet<'a>(needs: impl IntoIterator<Item = &'a str>, claims: &Claims) -> Result<Vec<&'a str>, ClaimError> {
    let mut missing = Vec::new();
    for need in needs {
        if !evaluate(need, claims)? {
            missing.push(need);
        }
    }
    Ok(missing)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: u8,
}

impl Parser<'_> {
    fn space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn eat(&mut self, mark: char) -> bool {
        self.space();
        let here = self.text[self.at..].starts_with(mark);
        if here {
            self.at += mark.len_utf8();
        }
        here
    }

    fn any(&mut self) -> Result<ClaimExpr, ClaimError> {
        let first = self.all()?;
        let mut all = vec![first];
        while self.eat('|') {
            all.push(self.all()?);
        }
        Ok(if all.len() > 1 {
            ClaimExpr::Any(all)
        } else {
            all.remove(0)
        })
    }

    fn all(&mut self) -> Result<ClaimExpr, ClaimError> {
        let first = self.one()?;
        let mut all = vec![first];
        while self.eat('&') {
            all.push(self.one()?);
        }
        Ok(if all.len() > 1 {
            ClaimExpr::All(all)
        } else {
            all.remove(0)
        })
    }

    fn one(&mut self) -> Result<ClaimExpr, ClaimError> {
        self.depth += 1;
        if self.depth > 32 {
            return Err(ClaimError::Syntax {
                expected: "fewer levels of parentheses",
                offset: self.at,
            });
        }
        let expr = if self.eat('!') {
            ClaimExpr::Not(Box::new(self.one()?))
        } else if self.eat('(') {
            let inner = self.any()?;
            if !self.eat(')') {
                return Err(ClaimError::Syntax {
                    expected: "`)`",
                    offset: self.at,
                });
            }
            inner
        } else {
            self.word()?
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn word(&mut self) -> Result<ClaimExpr, ClaimError> {
        self.space();
        let offset = self.at;
        let rest = &self.text[offset..];
        let len = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || "-:+._".contains(c)))
            .unwrap_or(rest.len());
        let word = &rest[..len];
        if word.is_empty() {
            return Err(ClaimError::Syntax {
                expected: "a claim such as push or object>=1.1",
                offset,
            });
        }
        self.at += len;
        self.space();
        let operators = [
            (">=", Comparison::AtLeast),
            ("<=", Comparison::AtMost),
            ("=", Comparison::Equal),
            ("<", Comparison::Below),
            (">", Comparison::Above),
        ];
        let after = &self.text[self.at..];
        let Some((sign, comparison)) = operators.into_iter().find(|(sign, _)| after.starts_with(sign)) else {
            if VERSIONED.contains(&word) {
                return Err(ClaimError::Syntax {
                    expected: "a comparison such as >=1.1 after object or lwm2m",
                    offset: self.at,
                });
            }
            known(word, offset)?;
            return Ok(ClaimExpr::Word(word.to_owned()));
        };
        let Some(name) = VERSIONED.iter().copied().find(|name| *name == word) else {
            let help = suggest(word, &VERSIONED);
            return Err(ClaimError::Unknown {
                word: word.to_owned(),
                offset,
                help,
            });
        };
        self.at += sign.len();
        self.space();
        let offset = self.at;
        let rest = &self.text[offset..];
        let len = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .unwrap_or(rest.len());
        let text = &rest[..len];
        let Some(version) = version(text) else {
            return Err(ClaimError::Version {
                word: text.to_owned(),
                offset,
            });
        };
        self.at += len;
        Ok(ClaimExpr::Version {
            name,
            comparison,
            version,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims::new([
            "push",
            "pull:coap",
            "object=1.1",
            "lwm2m=1.0..1.1",
            "pkg:corrupt",
            "hook:digest",
        ])
        .unwrap()
    }

    #[test]
    fn words_versions_and_operators() {
        for yes in [
            "any",
            "push",
            "pull",
            "pull:coap",
            "object=1.1",
            "object>=1.1",
            "object<1.2",
            "lwm2m=1.0",
            "lwm2m>=1.1",
            "pkg:valid",
            "pkg:corrupt",
            "hook:digest | send",
            "push & !send",
            "!(send | queue)",
        ] {
            assert_eq!(evaluate(yes, &claims()), Ok(true), "{yes}");
        }
        for no in [
            "send",
            "pull:http",
            "object>=1.2",
            "object=1.0",
            "lwm2m>1.1",
            "!push",
            "push & send",
            "pkg:older",
        ] {
            assert_eq!(evaluate(no, &claims()), Ok(false), "{no}");
        }
    }

    #[test]
    fn a_version_that_is_not_claimed_satisfies_no_comparison() {
        let none = Claims::new(["push"]).unwrap();
        assert_eq!(evaluate("object>=1.0", &none), Ok(false));
        assert_eq!(evaluate("object<9.9", &none), Ok(false));
    }

    #[test]
    fn unknown_words_name_their_place_and_the_nearest() {
        let error = ClaimExpr::parse("push | pul:coap").unwrap_err();
        assert_eq!(error.offset(), 7);
        assert!(error.help().unwrap().contains("did you mean `pull:coap`?"));
        assert!(matches!(
            ClaimExpr::parse("object>=one"),
            Err(ClaimError::Version { .. })
        ));
        assert!(matches!(ClaimExpr::parse("object"), Err(ClaimError::Syntax { .. })));
        assert!(matches!(
            ClaimExpr::parse("push |"),
            Err(ClaimError::Syntax { offset: 6, .. })
        ));
        assert!(matches!(
            ClaimExpr::parse("push send"),
            Err(ClaimError::Syntax { offset: 5, .. })
        ));
        assert!(matches!(ClaimExpr::parse(""), Err(ClaimError::Syntax { .. })));
        assert!(ClaimExpr::parse(&"!".repeat(500)).is_err());
        assert!(Claims::new(["pussh"]).is_err());
    }

    #[test]
    fn a_case_applies_when_nothing_is_unmet() {
        assert_eq!(unmet(["push", "object>=1.0"], &claims()), Ok(vec![]));
        assert_eq!(unmet(["push", "send", "queue"], &claims()), Ok(vec!["send", "queue"]));
    }
}
