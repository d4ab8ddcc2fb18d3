//! Findings and verdicts: what did not hold, how bad it is, and whose fault it is.

use core::fmt;
use serde::{Deserialize, Serialize};

/// How strongly a clause asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// Quality advice; reported only.
    Advice,
    /// A SHOULD; reported, fails only in strict mode.
    Should,
    /// A MUST; fails the case.
    Must,
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Advice => "advice",
            Self::Should => "should",
            Self::Must => "must",
        })
    }
}

/// Whose fault a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Blame {
    /// The implementation under test misbehaved.
    Iut,
    /// The case asks for something that cannot be.
    Case,
    /// The adapter of the IUT broke its protocol.
    Adapter,
    /// The environment was lost: a port, a file, a process that never started.
    Environment,
    /// The harness itself: it was too late to tell.
    Harness,
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iut => "iut",
            Self::Case => "case",
            Self::Adapter => "adapter",
            Self::Environment => "environment",
            Self::Harness => "harness",
        })
    }
}

/// Who made a finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingSource {
    /// An always-on check, by its id.
    Check(String),
    /// An expectation of the case: step index and line of the case file.
    Expectation {
        /// Index of the step, from 0.
        step: usize,
        /// Line in the case file, from 1.
        line: u32,
    },
    /// The harness itself (session, driver).
    Harness,
}

impl fmt::Display for FindingSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Check(id) => write!(f, "check {id}"),
            Self::Expectation { step, line } => write!(f, "step {step}, line {line}"),
            Self::Harness => f.write_str("harness"),
        }
    }
}

/// A check or an expectation that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Who found it.
    pub source: FindingSource,
    /// How strongly the clause asks.
    pub grade: Grade,
    /// Whose fault it is.
    pub blame: Blame,
    /// Clause ids, such as `rfc7252/4.5`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clauses: Vec<String>,
    /// One line that says what is wrong.
    pub title: String,
    /// What was expected.
    pub expected: String,
    /// What was seen.
    pub seen: String,
    /// Ids of the datagrams it rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub datagrams: Vec<u64>,
    /// Numbers of the events it rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<u64>,
    /// What to look at next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The verdict of a case; worst wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing was judged yet.
    #[default]
    None,
    /// All that was asked held.
    Pass,
    /// The IUT could not be brought to where the question is asked, or the specification is ambiguous there.
    Inconclusive,
    /// The IUT broke a requirement.
    Fail,
    /// The harness or its environment failed.
    Error,
}

impl Verdict {
    /// The worse of two verdicts.
    #[must_use]
    pub fn fold(self, other: Self) -> Self {
        self.max(other)
    }

    /// What one finding makes of a case: blame on the IUT fails for a must, in strict mode for every grade; what the
    /// harness spoilt by itself is inconclusive; every other blame is an error.
    #[must_use]
    pub fn of_finding(finding: &Finding, strict: bool) -> Self {
        match (finding.blame, finding.grade) {
            (Blame::Iut, Grade::Must) => Self::Fail,
            (Blame::Iut, _) if strict => Self::Fail,
            (Blame::Iut, _) => Self::None,
            (Blame::Harness, _) => Self::Inconclusive,
            _ => Self::Error,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
            Self::Error => "error",
        })
    }
}

/// How a case ended: judged, or not applicable by the claims alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaseOutcome {
    /// It was run and judged.
    Judged(Verdict),
    /// The claims of the IUT do not cover it; it was not run.
    NotApplicable,
}
