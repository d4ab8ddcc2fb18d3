//! `junit.xml`, for the test pages of CI systems.
//!
//! The format has no place for what a case of ours carries, so clause ids stand in `classname`,
//! and properties and attachments in `system-out` in the notation that CI systems look for
//! there: `[[PROPERTY|name=value]]`, `[[ATTACHMENT|path]]`. A verdict of inconclusive is an
//! `error`, never a pass; an expected failure is `skipped`, as it fails nothing.

use std::path::Path;

use junit_report::{Duration, OffsetDateTime, ReportBuilder, TestCase, TestResult, TestSuiteBuilder};

use crate::model::{CaseResult, RunResults, Verdict};
use crate::text::{cdata, one_line, xml};
use crate::view::{by_weight, case_file, details, evidence, evidence_path, headline, names, suites};
use crate::write::{WriteError, write_atomically};

/// Name of the file in the folder of a run.
pub const FILE: &str = "junit.xml";

/// The text of `junit.xml`. `folder` stands before the paths of evidence; empty leaves them
/// relative to the folder of the run.
///
/// # Errors
/// None that results could cause; the writer's are passed on.
pub fn render(results: &RunResults, folder: &str) -> Result<Vec<u8>, junit_report::Error> {
    let timestamp = timestamp(&results.started);
    let mut report = ReportBuilder::new();
    for (name, cases) in suites(results) {
        let mut suite = TestSuiteBuilder::new(&attribute(name));
        suite.set_timestamp(timestamp).set_system_out(&run_properties(results));
        suite.add_testcases(cases.into_iter().map(|case| test_case(results, case, folder)));
        report.add_testsuite(suite.build());
    }
    let mut run = vec![];
    for stale in &results.stale_expectations {
        let message = "no failure met this entry of the expected-failures file: remove it";
        run.push(TestCase::failure(
            &attribute(stale),
            Duration::ZERO,
            "stale expectation",
            message,
        ));
    }
    if let Some(reason) = &results.aborted {
        run.push(TestCase::error(
            "the run is complete",
            Duration::ZERO,
            "aborted",
            &attribute(reason),
        ));
    }
    if !run.is_empty() {
        let mut suite = TestSuiteBuilder::new("run");
        suite.set_timestamp(timestamp).add_testcases(run);
        report.add_testsuite(suite.build());
    }
    let mut bytes = vec![];
    report.build().write_xml(&mut bytes)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Writes `junit.xml`, whole or not at all.
///
/// # Errors
/// Those of [`write_atomically`].
pub fn write_file(path: &Path, results: &RunResults, folder: &str) -> Result<(), WriteError> {
    let bytes =
        render(results, folder).map_err(|error| WriteError::new(path, std::io::Error::other(error.to_string())))?;
    write_atomically(path, &bytes)
}

fn test_case(results: &RunResults, case: &CaseResult, folder: &str) -> TestCase {
    let time = seconds(case.wall_ms);
    let message = attribute(&headline(case));
    let cause = Some(cdata(&details(results, case, folder))).filter(|text| !text.is_empty());
    let skipped = |type_: &str, message: String| TestResult::SkippedWithCause {
        type_: type_.to_owned(),
        message,
        cause: None,
    };
    let result = match (&case.expected_failure, case.verdict) {
        (Some(expected), _) => {
            let link = expected
                .link
                .as_ref()
                .map_or_else(String::new, |link| format!(" ({link})"));
            let message = attribute(&format!("{}: {}{link}", expected.clause, expected.reason));
            TestResult::SkippedWithCause {
                type_: "expected failure".to_owned(),
                message,
                cause,
            }
        }
        (None, Verdict::Pass) => TestResult::Success,
        (None, Verdict::Fail) => {
            let source = by_weight(case).first().map(|finding| attribute(&finding.source));
            TestResult::Failure {
                type_: source.unwrap_or_else(|| "fail".to_owned()),
                message,
                cause,
            }
        }
        (None, Verdict::Inconclusive | Verdict::Error) => TestResult::Error {
            type_: case.verdict.word().to_owned(),
            message,
            cause,
        },
        (None, Verdict::NotApplicable | Verdict::NotRun) => skipped(case.verdict.word(), message),
    };
    let mut test = TestCase::success(&attribute(&case.id), time);
    test.result = result;
    test.set_classname(&attribute(&class_name(case)));
    let file = attribute(&case_file(results, case));
    if !file.is_empty() {
        test.set_filepath(&file);
    }
    test.set_system_out(&cdata(&case_properties(case, folder)));
    test
}

fn class_name(case: &CaseResult) -> String {
    if case.clauses.is_empty() {
        case.suite.clone()
    } else {
        format!("{} ({})", case.suite, names(&case.clauses))
    }
}

fn case_properties(case: &CaseResult, folder: &str) -> String {
    let mut out = property("title", &case.title);
    for (name, list) in [("clauses", &case.clauses), ("ets", &case.ets), ("tags", &case.tags)] {
        if !list.is_empty() {
            out += &property(name, &names(list));
        }
    }
    out += &property("verdict", case.verdict.word());
    out += &property("seed", &case.seed.to_string());
    for figure in &case.measurements {
        out += &property(&figure.name, format!("{} {}", figure.value, figure.unit).trim_end());
    }
    if !case.repeat.is_empty() {
        out += &property("repeat", &case.repeat);
    }
    for (_, path) in evidence(case) {
        out += &format!("[[ATTACHMENT|{}]]\n", unbracketed(&evidence_path(folder, path)));
    }
    out
}

fn run_properties(results: &RunResults) -> String {
    let iut = &results.iut;
    let mut out = property("iut", &iut.name);
    out += &property("role", &iut.role);
    if let Some(version) = &iut.version {
        out += &property("iut-version", version);
    }
    out += &property("harness", &results.harness);
    out += &property("network", &results.network);
    out += &property("seed", &results.seed.to_string());
    cdata(&out)
}

fn property(name: &str, value: &str) -> String {
    format!(
        "[[PROPERTY|{}={}]]\n",
        unbracketed(&one_line(name)).replace('=', "-"),
        unbracketed(&one_line(value))
    )
}

/// The notation ends at the first two closing brackets and knows no escape. A variant's own
/// bracket at the end of a value stays apart from the notation's for the same reason.
fn unbracketed(text: &str) -> String {
    let mut text = text.replace("]]", "] ]").replace("]]", "] ]");
    if text.ends_with(']') {
        text.push(' ');
    }
    text
}

/// A text fit for an attribute: one line.
fn attribute(text: &str) -> String {
    xml(&one_line(text))
}

/// Milliseconds as the crate counts them; it adds them up without a look at overflow.
fn seconds(ms: f64) -> Duration {
    let seconds = ms / 1000.0;
    Duration::saturating_seconds_f64(if seconds.is_finite() {
        seconds.clamp(0.0, 1e9)
    } else {
        0.0
    })
}

/// The time of RFC 3339, section 5.6; the epoch when it is none.
fn timestamp(text: &str) -> OffsetDateTime {
    parse_timestamp(text)
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        // The crate cannot write other years and would panic.
        .filter(|time| (0..=9999).contains(&time.year()))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn parse_timestamp(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let marks = [(4, "-"), (7, "-"), (13, ":"), (16, ":")];
    if marks.iter().any(|(at, mark)| text.get(*at..at + 1) != Some(mark)) {
        return None;
    }
    if !matches!(text.get(10..11)?, "T" | "t" | " ") {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let zone = text
        .get(19..)?
        .trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match zone.split_at_checked(1)? {
        ("Z" | "z", "") => 0,
        (sign @ ("+" | "-"), rest) => {
            let (hours, minutes) = rest.split_once(':')?;
            let offset = hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?;
            if sign == "-" { -offset } else { offset }
        }
        _ => return None,
    };
    if !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
        || offset.abs() > 1440
    {
        return None;
    }
    // Days since the epoch in the Gregorian calendar, years counted from March so that a leap
    // day is the last of its year.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second - offset * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_rfc_3339() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2026-11-23T04:11:09Z", Some(1_795_407_069)),
            ("2026-11-23T04:11:09.123456Z", Some(1_795_407_069)),
            ("2026-11-23T05:11:09+01:00", Some(1_795_407_069)),
            ("2024-02-29T23:59:59Z", Some(1_709_251_199)),
            ("2024-03-01T00:00:00-00:30", Some(1_709_253_000)),
            ("yesterday", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-11-23T04:11:09", None),
            ("2026-11-23T04:11:09+x:y", None),
            ("２026-11-23T04:11:09Z", None),
            ("", None),
        ] {
            assert_eq!(parse_timestamp(text), seconds, "{text}");
        }
        // One minute past the last year that can be written.
        assert_eq!(timestamp("9999-12-31T23:59:59-00:01"), OffsetDateTime::UNIX_EPOCH);
    }

    #[test]
    fn properties_end_where_they_should() {
        assert_eq!(property("a=b", "x]]]y\nz"), "[[PROPERTY|a-b=x] ] ]y z]]\n");
        assert_eq!(
            property("repeat", "run push.a[block=64]"),
            "[[PROPERTY|repeat=run push.a[block=64] ]]\n"
        );
    }

    #[test]
    fn no_figure_overflows() {
        for ms in [f64::NAN, f64::INFINITY, f64::MAX, -1.0] {
            let sum = (0..1000).fold(Duration::ZERO, |sum, _| sum + seconds(ms));
            assert!(sum >= Duration::ZERO, "{ms}");
        }
    }
}
