//! One run with every verdict, variants, expected failures, a stale expectation, hostile
//! strings and an early end.

use fotaproof_reports::model::{
    CaseResult, Evidence, ExpectedFailure, FORMAT, Finding, IutInfo, Measurement, RunResults, Totals, Verdict,
    exit_code,
};

fn strings(items: &[&str]) -> Vec<String> {
    items.iter().map(|&item| item.to_owned()).collect()
}

fn case(id: &str, title: &str, verdict: Verdict) -> CaseResult {
    let (suite, rest) = id.split_once('.').unwrap();
    let name = rest.split('[').next().unwrap();
    let ran = !matches!(verdict, Verdict::NotApplicable | Verdict::NotRun);
    CaseResult {
        id: id.into(),
        title: title.into(),
        suite: suite.into(),
        file: format!("{suite}/{name}.yaml"),
        verdict,
        seed: 42,
        wall_ms: if ran { 8.25 } else { 0.0 },
        iut_ms: if ran { 92_000.0 } else { 0.0 },
        held: if ran { 7 } else { 0 },
        clauses: strings(&["rfc7959/2.5", "oma-fw/T5"]),
        evidence: if ran {
            Evidence {
                journal: Some(format!("{id}/journal.jsonl")),
                capture: Some(format!("{id}/{id}.pcapng")),
                output: Some(format!("{id}/iut.log")),
            }
        } else {
            Evidence::default()
        },
        repeat: format!("fotaproof run '{id}' --iut acme.yaml --seed 42"),
        ..CaseResult::default()
    }
}

fn finding(title: &str, grade: &str, expected: &str, seen: &str) -> Finding {
    Finding {
        source: "expectation".into(),
        grade: grade.into(),
        blame: "iut".into(),
        clauses: strings(&["rfc7252/4.5"]),
        title: title.into(),
        expected: expected.into(),
        seen: seen.into(),
        line: 17,
        packets: vec![12, 14],
        hint: None,
    }
}

pub(crate) fn rich() -> RunResults {
    let block = |size: u32, verdict| {
        let title = "A retransmitted last block is answered again and not applied twice";
        case(&format!("push.lost-last-ack[block={size}]"), title, verdict)
    };
    let should = |mut passed: CaseResult| {
        passed.findings = vec![Finding {
            source: "szx-never-grows".into(),
            clauses: strings(&["rfc7959/2.3"]),
            line: 0,
            ..finding(
                "the block size grows during a transfer",
                "should",
                "SZX of at most 4",
                "SZX 6",
            )
        }];
        passed
    };
    let failed = CaseResult {
        findings: vec![
            finding("a hint was not given", "advice", "Size1 in the 4.13 response", "no Size1"),
            Finding {
                hint: Some("compare the message ids of packets 12 and 14; a duplicate carries the same one and must be answered from the cache".into()),
                ..finding(
                    "the state left the machine's order",
                    "must",
                    "downloaded (2), after downloading (1), within 10 s of the last block",
                    "updating (3) straight after downloading (1), 0.4 s after the second copy of the last block came in",
                )
            },
        ],
        reason: "the state left the machine's order".into(),
        measurements: vec![Measurement { name: "goodput".into(), value: 1533.25, unit: "B/s".into() }],
        ets: strings(&["LightweightM2M-1.0-int-770"]),
        tags: strings(&["loss"]),
        ..block(512, Verdict::Fail)
    };
    let hostile = CaseResult {
        findings: vec![Finding {
            source: "message-format".into(),
            line: 0,
            packets: vec![3],
            ..finding(
                "the diagnostic payload is no text: \u{1b}[31mred\u{1b}[0m]]>\u{0}\u{202e}txt.exe",
                "must",
                "UTF-8 text (RFC 7252, section 5.5.2)",
                "line one\r\nline two <script>alert('1')</script> & ]]> ::error::x %0A | `md` @all #3 [[PROPERTY|a=b]]\u{fffe}\n\u{1b}]0;owned\u{7}三行目",
            )
        }],
        reason: "\u{1b}[2Jthe diagnostic payload is no text\n...\nok 1 - injected".into(),
        notes: strings(&["the IUT printed 1,073,741,824 bytes; the first 1 MiB is kept"]),
        ..case(
            "message.hostile[payload=]]>]",
            "Hostile <b>strings</b> & \"quotes\" # stay text",
            Verdict::Fail,
        )
    };
    let known = CaseResult {
        expected_failure: Some(ExpectedFailure {
            clause: "rfc7959/2.9.3".into(),
            reason: "answers 4.08 to an orphan block, with no Size1".into(),
            link: Some("https://example.org/acme/issues/7".into()),
        }),
        findings: vec![finding("4.08 instead of 4.13", "must", "4.13", "4.08")],
        reason: "4.08 instead of 4.13".into(),
        ..case(
            "push.orphan-block",
            "A block without a beginning is refused",
            Verdict::Fail,
        )
    };
    let inconclusive = CaseResult {
        reason: "the device never came to downloaded, where the question is asked".into(),
        ..case(
            "pull.cancel-in-defer",
            "A deferred update can be cancelled",
            Verdict::Inconclusive,
        )
    };
    let error = CaseResult {
        reason: "the package builder exited with code 2: no such key".into(),
        findings: vec![Finding {
            source: "environment".into(),
            blame: "adapter".into(),
            clauses: vec![],
            line: 0,
            packets: vec![],
            ..finding(
                "the package builder failed",
                "must",
                "exit code 0",
                "exit code 2, and on its error output:\nno such key: sign.pem",
            )
        }],
        ..case(
            "pull.signature",
            "A package with a wrong signature is refused",
            Verdict::Error,
        )
    };
    let not_applicable = CaseResult {
        reason: "needs coap-pull and not automatic-upgrade".into(),
        ..case(
            "pull.separate-server",
            "The package comes from another server",
            Verdict::NotApplicable,
        )
    };
    let not_run = CaseResult {
        reason: "the run was interrupted".into(),
        ..case("state.reset-by-nul", "One NUL byte resets", Verdict::NotRun)
    };
    let cases = vec![
        should(block(64, Verdict::Pass)),
        failed,
        should(block(1024, Verdict::Pass)),
        known,
        hostile,
        inconclusive,
        error,
        not_applicable,
        not_run,
        case("state.path", "The states follow the machine", Verdict::Pass),
    ];
    RunResults {
        format: FORMAT,
        harness: "0.1.0".into(),
        run: "2026-11-23T04-11-09-acme".into(),
        started: "2026-11-23T04:11:09.25Z".into(),
        seconds: 4.75,
        iut: IutInfo {
            name: "acme-modem".into(),
            defects: Vec::new(),
            role: "client".into(),
            version: Some("2.12.3".into()),
            manifest: Some("acme.yaml".into()),
            claims: strings(&["push", "pull"]),
        },
        network: "nb-iot".into(),
        seed: 42,
        speed: 20.0,
        strict: false,
        selectors: strings(&["push.*", "pull.*"]),
        library: "testcases".into(),
        totals: Totals::of(&cases),
        cases,
        stale_expectations: strings(&[
            "acme.expected.yaml:9: push.block-zero-again (rfc7959/2.5): the IUT restarts its download",
        ]),
        aborted: Some("interrupted by the user (SIGINT)".into()),
        exit_code: exit_code::INTERRUPTED,
    }
}

/// A run in which all passed.
pub(crate) fn passed() -> RunResults {
    let mut results = rich();
    results
        .cases
        .retain(|case| case.verdict == Verdict::Pass && case.findings.is_empty());
    results.totals = Totals::of(&results.cases);
    results.stale_expectations.clear();
    results.aborted = None;
    results.exit_code = results.verdict_code();
    results
}
