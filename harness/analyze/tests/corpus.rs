//! Every capture of `fixtures/captures`: the verdict that its name promises, and its report as a snapshot.

use fotaproof_analyze::diff::{self, DiffReport, Thresholds};
use fotaproof_analyze::report::{self, Verdict};
use fotaproof_analyze::{Analysis, CaptureReport, Options, analyze, annotate, human, junit, svg};
use pcap_file::pcapng::PcapNgReader;
use pcap_file::pcapng::blocks::Block;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn captures() -> Vec<(String, Vec<u8>)> {
    let folder = root().join("fixtures/captures");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "pcap" || extension == "pcapng")
    });
    files.sort();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    files
        .iter()
        .map(|path| (name(path), std::fs::read(path).unwrap()))
        .collect()
}

fn judged(name: &str, bytes: &[u8]) -> CaptureReport {
    analyze(name, bytes, Options::default())
}

#[test]
fn each_has_the_verdict_of_its_name() {
    let all = captures();
    assert!(all.len() >= 30, "only {} captures", all.len());
    for (name, bytes) in all {
        let report = judged(&name, &bytes);
        let (verdict, broken) = (report.verdict, report.broken.clone());
        let analysis = Analysis::new(vec![report]);
        match name.split('-').next().unwrap() {
            "pass" => assert_eq!(
                (verdict, broken, analysis.exit_code),
                (Verdict::Pass, None, 0),
                "{name}"
            ),
            "fail" => assert_eq!(
                (verdict, broken, analysis.exit_code),
                (Verdict::Fail, None, 1),
                "{name}"
            ),
            "inconclusive" => assert_eq!(
                (verdict, broken, analysis.exit_code),
                (Verdict::Inconclusive, None, 5),
                "{name}"
            ),
            "broken" => {
                let code = if broken.unwrap().invalid { 3 } else { 5 };
                assert_eq!(analysis.exit_code, code, "{name}");
            }
            other => panic!("{name}: {other} is no verdict"),
        }
        insta::with_settings!({ omit_expression => true }, {
            insta::assert_snapshot!(name, human::render(&analysis));
        });
    }
}

#[test]
fn each_report_keeps_to_the_schema() {
    let schema: serde_json::Value = serde_json::from_str(&report::schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (name, bytes) in captures() {
        let text = report::json(&Analysis::new(vec![judged(&name, &bytes)])).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
        let again: Analysis = serde_json::from_str(&text).unwrap();
        assert_eq!(
            report::json(&again).unwrap(),
            text,
            "{name} is read back as it was written"
        );
    }
}

#[test]
fn the_schema_in_the_repository_is_up_to_date() {
    let path = root().join("testcases/schema/analysis.schema.json");
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        std::fs::write(&path, report::schema()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        committed,
        report::schema(),
        "stale: fotaproof schema analysis > {}",
        path.display()
    );
}

#[test]
fn the_schema_of_differences_is_up_to_date_and_fits_them() {
    let path = root().join("testcases/schema/diff.schema.json");
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        std::fs::write(&path, diff::schema()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        committed,
        diff::schema(),
        "stale: fotaproof schema diff > {}",
        path.display()
    );
    let schema: serde_json::Value = serde_json::from_str(&committed).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let all = captures();
    for pair in all.windows(2) {
        let [(one, first), (two, second)] = pair else { continue };
        let (changes, devices) = diff::captures(&judged(one, first), &judged(two, second), &Thresholds::default());
        let report = DiffReport {
            changes,
            devices,
            ..DiffReport::default()
        }
        .counted();
        let json = serde_json::from_str(&diff::json(&report).unwrap()).unwrap();
        let problems: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{one} and {two}: {problems:?}");
    }
}

/// The annotated copy says on the last packet of each finding what was found, and is otherwise the capture.
#[test]
fn an_annotated_copy_carries_the_findings() {
    for (name, bytes) in captures() {
        let report = judged(&name, &bytes);
        if report.format.is_empty() {
            continue;
        }
        let copy = annotate::annotate(&report, &bytes[..], Vec::new()).unwrap();
        let again = judged(&name, &copy);
        assert_eq!(again.broken, None, "{name}");
        assert_eq!((again.frames, &again.counts), (report.frames, &report.counts), "{name}");
        assert_eq!(again.devices, report.devices, "{name}: comments change no verdict");
        let mut commented = BTreeSet::new();
        let mut reader = PcapNgReader::new(&copy[..]).unwrap();
        let mut number = 0;
        while let Some(block) = reader.next_block() {
            if let (Block::EnhancedPacket(packet), _) = block.unwrap() {
                number += 1;
                if format!("{:?}", packet.options).contains("Expected: ") {
                    commented.insert(number);
                }
            }
        }
        for finding in report.devices.iter().flat_map(|device| &device.findings) {
            assert!(
                commented.contains(finding.packets.last().unwrap()),
                "{name}: {finding:?}"
            );
        }
    }
}

#[test]
fn chart_and_junit() {
    let read = |name: &str| {
        let bytes = std::fs::read(root().join("fixtures/captures").join(name)).unwrap();
        judged(name, &bytes)
    };
    insta::assert_snapshot!("chart.svg", svg::render(&read("pass-own-lost-acks.pcapng")));
    let some = ["fail-npm-push.pcapng", "inconclusive-dtls.pcapng", "broken-cut.pcapng"]
        .map(read)
        .to_vec();
    let xml = String::from_utf8(junit::render(&Analysis::new(some)).unwrap()).unwrap();
    insta::assert_snapshot!("junit.xml", xml);
}

/// A capture is read the same whatever pieces it comes in and whichever format holds it.
#[test]
fn the_format_changes_nothing() {
    let of = |name: &str| {
        let bytes = std::fs::read(root().join("fixtures/captures").join(name)).unwrap();
        let mut report = judged(name, &bytes);
        for device in &mut report.devices {
            // Classic pcap has microseconds only: times differ in the last digits.
            device.timeline.clear();
            device.transfers.clear();
            device.firmware = Default::default();
            device.traffic.round_trip = None;
        }
        report.devices
    };
    assert_eq!(of("pass-field-push-256.pcapng"), of("pass-field-classic.pcap"));
    assert_eq!(of("pass-field-lwm2m-1.0.pcapng"), of("pass-field-nanoseconds.pcap"));
}
