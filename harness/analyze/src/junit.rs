//! The report as JUnit XML: a suite for each device, a test case for each check.

use fotaproof_reports::text::{cdata, one_line, xml};
use junit_report::{Duration, OffsetDateTime, ReportBuilder, TestCase, TestSuiteBuilder};

use crate::report::{Analysis, CaptureReport, CheckVerdict, DeviceReport, Verdict};

/// The text of `junit.xml`.
///
/// # Errors
/// None that a report could cause; the writer's are passed on.
pub fn render(analysis: &Analysis) -> Result<Vec<u8>, junit_report::Error> {
    let mut report = ReportBuilder::new();
    for capture in &analysis.captures {
        if let Some(suite) = capture_suite(capture) {
            report.add_testsuite(suite);
        }
        for device in &capture.devices {
            let name = attribute(&format!("{} {}", capture.file, device.endpoint));
            let mut suite = TestSuiteBuilder::new(&name);
            suite.set_timestamp(OffsetDateTime::UNIX_EPOCH);
            suite.add_testcases(device.checks.iter().map(|check| case(capture, device, check)));
            report.add_testsuite(suite.build());
        }
    }
    let mut bytes = Vec::new();
    report.build().write_xml(&mut bytes)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// What is wrong with the capture itself.
fn capture_suite(capture: &CaptureReport) -> Option<junit_report::TestSuite> {
    let reason = match (
        &capture.broken,
        capture.devices.is_empty(),
        capture.encrypted.is_empty(),
    ) {
        (Some(broken), ..) => format!(
            "broken at byte {}, after {} frames: {}",
            broken.offset, broken.frames, broken.reason
        ),
        (None, _, false) => "conversations are encrypted".to_owned(),
        (None, true, true) => "no device in the capture".to_owned(),
        (None, false, true) => return None,
    };
    let mut case = TestCase::error("the capture is read", Duration::ZERO, "capture", &attribute(&reason));
    case.set_classname(&attribute(&capture.file));
    let mut suite = TestSuiteBuilder::new(&attribute(&capture.file));
    suite.set_timestamp(OffsetDateTime::UNIX_EPOCH).add_testcase(case);
    Some(suite.build())
}

fn case(capture: &CaptureReport, device: &DeviceReport, check: &CheckVerdict) -> TestCase {
    let name = attribute(&check.id);
    let findings: Vec<String> = device
        .findings
        .iter()
        .filter(|finding| finding.check == check.id)
        .map(|finding| {
            let packets: Vec<String> = finding.packets.iter().map(u64::to_string).collect();
            format!(
                "{} {}, packet {}: {}\nexpected: {}\nseen: {}",
                finding.grade,
                finding.clauses.join(", "),
                packets.join(", "),
                finding.title,
                finding.expected,
                finding.seen
            )
        })
        .collect();
    let mut case = match check.verdict {
        Verdict::Pass => TestCase::success(&name, Duration::ZERO),
        Verdict::Fail => {
            let message = attribute(
                findings
                    .first()
                    .map_or("fails", |text| text.lines().next().unwrap_or_default()),
            );
            TestCase::failure(&name, Duration::ZERO, &name, &message)
        }
        // What a capture does not ask is neither a failure nor an error.
        Verdict::Inconclusive => TestCase::skipped(&name),
    };
    case.set_classname(&attribute(&format!(
        "{} ({})",
        device.endpoint,
        check.clauses.join(", ")
    )));
    case.set_filepath(&attribute(&capture.file));
    let mut out = findings.join("\n\n");
    if let Some(reason) = &check.reason {
        out.push_str(&format!("inconclusive: {reason}"));
    }
    if !out.is_empty() {
        case.set_system_out(&cdata(&out));
    }
    case
}

fn attribute(text: &str) -> String {
    xml(&one_line(text))
}
