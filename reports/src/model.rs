//! The results of a run: what every renderer reads and `results.json` holds.
//!
//! The format is versioned: a reader of version 1 must find every field of version 1. Fields
//! are only added within a version.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of the format of `results.json`.
pub const FORMAT: u32 = 1;

/// A whole run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunResults {
    /// Version of this format.
    pub format: u32,
    /// Version of the harness.
    pub harness: String,
    /// Name of the run: its folder.
    pub run: String,
    /// When it began, RFC 3339, UTC.
    pub started: String,
    /// How long it took by the clock on the wall, in seconds.
    pub seconds: f64,
    /// The IUT.
    pub iut: IutInfo,
    /// Network over which cases without one of their own ran.
    pub network: String,
    /// Seed of the run.
    pub seed: u64,
    /// Factor of the IUT's clock; 1 unless scaled.
    pub speed: f64,
    /// Whether findings of grade should and advice fail.
    pub strict: bool,
    /// Selectors as given; empty for all.
    #[serde(default)]
    pub selectors: Vec<String>,
    /// Where the library came from: `embedded` or a folder.
    pub library: String,
    /// Counts over all cases.
    pub totals: Totals,
    /// The cases, in order.
    pub cases: Vec<CaseResult>,
    /// Entries of the expected-failures file that no failure met; they fail the run.
    #[serde(default)]
    pub stale_expectations: Vec<String>,
    /// Why the run ended before all cases were run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aborted: Option<String>,
    /// The exit code of the program.
    pub exit_code: i32,
}

/// The IUT of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IutInfo {
    /// Its name.
    pub name: String,
    /// `client` or `server`.
    pub role: String,
    /// Its version, when the manifest can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its manifest; none for the embedded default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// What it claims.
    #[serde(default)]
    pub claims: Vec<String>,
    /// Defects planted into the embedded device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub defects: Vec<String>,
}

/// How a case ended, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The claims of the IUT do not cover the case; it was not run.
    NotApplicable,
    /// Not run: the run ended before.
    #[default]
    NotRun,
    /// All that must hold held.
    Pass,
    /// It could not be judged.
    Inconclusive,
    /// What must hold did not.
    Fail,
    /// The harness or its environment failed.
    Error,
}

impl Verdict {
    /// The verdict in the words of the reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NotApplicable => "not applicable",
            Self::NotRun => "not run",
            Self::Pass => "pass",
            Self::Inconclusive => "inconclusive",
            Self::Fail => "fail",
            Self::Error => "error",
        }
    }
}

/// One case, or one variant of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CaseResult {
    /// Id with the variant.
    pub id: String,
    /// What must hold.
    pub title: String,
    /// Suite: the first part of the id.
    pub suite: String,
    /// File of the case.
    pub file: String,
    /// The verdict.
    pub verdict: Verdict,
    /// The failure is one of those expected of this IUT; it does not fail the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_failure: Option<ExpectedFailure>,
    /// Why, in one line; empty for a plain pass.
    #[serde(default)]
    pub reason: String,
    /// Clauses that the case judges.
    #[serde(default)]
    pub clauses: Vec<String>,
    /// Ids of the OMA enabler test specification.
    #[serde(default)]
    pub ets: Vec<String>,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Seed of the case.
    pub seed: u64,
    /// How long it took by the clock on the wall, in milliseconds.
    pub wall_ms: f64,
    /// How long it took in the IUT's time, in milliseconds.
    pub iut_ms: f64,
    /// The most that the harness itself was late, in milliseconds of the IUT's time; only against a real IUT, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_ms: Option<f64>,
    /// Expectations that were judged and held.
    pub held: u32,
    /// What did not hold.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What was noted.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What was measured.
    #[serde(default)]
    pub measurements: Vec<Measurement>,
    /// Files of evidence, relative to the run's folder.
    #[serde(default)]
    pub evidence: Evidence,
    /// The command that repeats the case alone.
    #[serde(default)]
    pub repeat: String,
}

/// An expected failure that was met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExpectedFailure {
    /// Clause or check for which alone it is expected.
    pub clause: String,
    /// What the IUT does.
    pub reason: String,
    /// Where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// A check or an expectation that did not hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The check's id, or `expectation`.
    pub source: String,
    /// `must`, `should` or `advice`.
    pub grade: String,
    /// `iut`, `case`, `adapter`, `environment` or `harness`.
    pub blame: String,
    /// Clause ids.
    #[serde(default)]
    pub clauses: Vec<String>,
    /// What is wrong, in one line.
    pub title: String,
    /// What was expected.
    pub expected: String,
    /// What was seen.
    pub seen: String,
    /// Line in the case's file; 0 when it rests on none.
    #[serde(default)]
    pub line: u32,
    /// Numbers of the packets in the capture that it rests on, from 1.
    #[serde(default)]
    pub packets: Vec<u64>,
    /// What to look at next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// One measured figure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measurement {
    /// What was measured.
    pub name: String,
    /// The figure.
    pub value: f64,
    /// Its unit; empty for a count.
    pub unit: String,
}

/// Files of evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// Events, JSON Lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<String>,
    /// Packets, pcapng.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<String>,
    /// What the IUT printed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// Counts by verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Totals {
    /// Cases, or cells of a matrix, that passed.
    pub passed: u32,
    /// Those that failed, without those expected to.
    pub failed: u32,
    /// Those that failed as expected.
    pub expected_failures: u32,
    /// Those that could not be judged.
    pub inconclusive: u32,
    /// Those in which the harness, an adapter or the environment failed.
    pub errors: u32,
    /// Those that the claims do not cover.
    pub not_applicable: u32,
    /// Those that were not run.
    pub not_run: u32,
}

impl Totals {
    /// The counts over some cases.
    #[must_use]
    pub fn of<'a>(cases: impl IntoIterator<Item = &'a CaseResult>) -> Self {
        let mut totals = Self::default();
        for case in cases {
            totals.add(case);
        }
        totals
    }

    /// Counts one more case.
    pub fn add(&mut self, case: &CaseResult) {
        self.count(case.verdict, case.expected_failure.is_some());
    }

    /// Counts one more verdict.
    pub const fn count(&mut self, verdict: Verdict, expected: bool) {
        let count = match verdict {
            _ if expected => &mut self.expected_failures,
            Verdict::Pass => &mut self.passed,
            Verdict::Fail => &mut self.failed,
            Verdict::Inconclusive => &mut self.inconclusive,
            Verdict::Error => &mut self.errors,
            Verdict::NotApplicable => &mut self.not_applicable,
            Verdict::NotRun => &mut self.not_run,
        };
        *count += 1;
    }

    /// The exit code that they ask for, with stale expectations and with a run that ended early.
    #[must_use]
    pub const fn exit_code(&self, is_stale: bool, is_aborted: bool) -> i32 {
        if self.failed > 0 || is_stale {
            exit_code::FAILED
        } else if self.inconclusive + self.errors > 0 || is_aborted {
            exit_code::INCONCLUSIVE
        } else if self.passed + self.expected_failures == 0 {
            exit_code::NOTHING_SELECTED
        } else {
            exit_code::PASSED
        }
    }

    /// Cases that were run.
    #[must_use]
    pub const fn run(&self) -> u32 {
        self.passed + self.failed + self.expected_failures + self.inconclusive + self.errors
    }
}

/// The public exit codes of the program.
pub mod exit_code {
    /// All that was run passed.
    pub const PASSED: i32 = 0;
    /// A case failed.
    pub const FAILED: i32 = 1;
    /// Wrong usage of the command line.
    pub const USAGE: i32 = 2;
    /// A case, manifest or network file is invalid.
    pub const INVALID: i32 = 3;
    /// Nothing was selected.
    pub const NOTHING_SELECTED: i32 = 4;
    /// Inconclusive or error, and none failed.
    pub const INCONCLUSIVE: i32 = 5;
    /// Interrupted.
    pub const INTERRUPTED: i32 = 130;
}

impl RunResults {
    /// The exit code that the results ask for.
    #[must_use]
    pub fn verdict_code(&self) -> i32 {
        Totals::of(&self.cases).exit_code(!self.stale_expectations.is_empty(), self.aborted.is_some())
    }
}
