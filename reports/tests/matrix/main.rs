//! Every renderer of a matrix over one that has everything in it, and over hostile names.

use std::path::Path;

use fotaproof_reports::matrix::{
    Blame, Blamed, Cell, CellEvidence, Interop, MatrixResults, Measured, Party, Side, Station, Way, html, json,
    markdown, terminal, totals,
};
use fotaproof_reports::model::{ExpectedFailure, Finding, Verdict};
use fotaproof_reports::terminal::Options;
use proptest::prelude::*;
use serde_json::Value;

fn party(name: &str, claims: &[&str]) -> Party {
    Party {
        name: name.to_owned(),
        version: Some("1.4.2".to_owned()),
        description: Some(format!("what {name} is")),
        manifest: Some(format!("fixtures/iut/{name}.yaml")),
        claims: claims.iter().map(|&claim| claim.to_owned()).collect(),
    }
}

fn finding(grade: &str) -> Finding {
    Finding {
        source: "duplicate-answer".to_owned(),
        grade: grade.to_owned(),
        blame: "iut".to_owned(),
        clauses: vec!["rfc7252/4.5".to_owned()],
        title: "A copy of a request is answered in another way".to_owned(),
        expected: "2.04".to_owned(),
        seen: "4.08".to_owned(),
        packets: vec![12, 15],
        ..Finding::default()
    }
}

fn cell(way: Way, client: &str, server: &str, verdict: Verdict) -> Cell {
    let id = format!("lte-m/{}/{client}/{server}", way.word());
    let ran = !matches!(verdict, Verdict::NotApplicable | Verdict::NotRun);
    Cell {
        client: client.to_owned(),
        server: server.to_owned(),
        way,
        network: "lte-m".to_owned(),
        seed: 7,
        verdict,
        evidence: if ran {
            CellEvidence {
                capture: Some(format!("cells/{client}-{server}.pcapng")),
                journal: Some(format!("cells/{client}-{server}.journal.jsonl")),
                ..CellEvidence::default()
            }
        } else {
            CellEvidence::default()
        },
        repeat: if ran {
            format!("fotaproof matrix --clients {client} --servers {server}")
        } else {
            String::new()
        },
        wall_ms: if ran { 2345.6 } else { 0.0 },
        id,
        ..Cell::default()
    }
}

fn ended_well() -> Interop {
    Interop {
        ended_well: true,
        station: Station::Updated,
        status: "succeeded".to_owned(),
        led_by: "harness".to_owned(),
        hosted_by: Some("server".to_owned()),
        state: Some(0),
        result: Some(1),
        version: Some("2.0.0".to_owned()),
    }
}

fn measured() -> Measured {
    Measured {
        image: 20_480,
        update_s: 7.25,
        transfer_s: 4.5,
        goodput: 4551.1,
        datagrams: 112,
        packets: 118,
        fragments: 12,
        air_bytes: 27_900,
        air_per_byte: 1.362,
        retransmissions: 3,
        lost: 2,
        blocks: 40,
        block_sizes: vec![512, 256],
    }
}

/// Everything that a matrix can have.
fn rich() -> MatrixResults {
    let side = |verdict, findings: &[&str]| Side {
        verdict,
        findings: findings.iter().map(|grade| finding(grade)).collect(),
        expected: Vec::new(),
    };
    let well = Cell {
        interop: ended_well(),
        client_side: side(Verdict::Pass, &["should"]),
        server_side: side(Verdict::Pass, &[]),
        measured: Some(measured()),
        ..cell(Way::Push, "embedded", "embedded", Verdict::Pass)
    };
    let failed = Cell {
        reason: "the update came as far as: downloaded".to_owned(),
        interop: Interop {
            station: Station::Downloaded,
            status: "failed".to_owned(),
            led_by: "server".to_owned(),
            state: Some(2),
            ..Interop::default()
        },
        client_side: side(Verdict::Fail, &["advice", "must"]),
        server_side: side(Verdict::Pass, &[]),
        measured: Some(measured()),
        notes: vec!["the Execute was answered 5.00".to_owned()],
        blame: Some(Blame {
            side: Blamed::Client,
            why: "wakatiwai (client): A copy of a request is answered in another way".to_owned(),
            packets: vec![12, 15],
            next: "look at packet 12 of the capture".to_owned(),
        }),
        ..cell(Way::Push, "wakatiwai", "embedded", Verdict::Fail)
    };
    let expected = Cell {
        expected: true,
        reason: "nothing is deduplicated".to_owned(),
        interop: ended_well(),
        client_side: Side {
            verdict: Verdict::Pass,
            findings: Vec::new(),
            expected: vec![ExpectedFailure {
                clause: "token-echo".to_owned(),
                reason: "every request gets a second reply".to_owned(),
                link: None,
            }],
        },
        server_side: side(Verdict::Pass, &[]),
        measured: Some(measured()),
        ..cell(Way::Pull, "wakatiwai", "embedded", Verdict::Fail)
    };
    let none = Cell {
        reason: "lwm2mserver does not claim srv:push".to_owned(),
        ..cell(Way::Push, "embedded", "lwm2mserver", Verdict::NotApplicable)
    };
    let broken = Cell {
        reason: "the adapter of lwm2mserver ended: exit code 1".to_owned(),
        ..cell(Way::Pull, "embedded", "lwm2mserver", Verdict::Error)
    };
    let cells = vec![
        well,
        none,
        failed,
        cell(Way::Push, "wakatiwai", "lwm2mserver", Verdict::NotApplicable),
        cell(Way::Pull, "embedded", "embedded", Verdict::Pass),
        broken,
        expected,
        cell(Way::Pull, "wakatiwai", "lwm2mserver", Verdict::NotRun),
    ];
    let mut results = MatrixResults {
        format: 1,
        harness: "0.1.0".to_owned(),
        run: "20261123-080000".to_owned(),
        started: "2026-11-23T08:00:00Z".to_owned(),
        seconds: 63.25,
        seed: 7,
        size: 20_480,
        clients: vec![
            Party {
                manifest: None,
                ..party("embedded", &["push", "pull:coap"])
            },
            party("wakatiwai", &["push", "pull:coap"]),
        ],
        servers: vec![party("embedded", &["srv:push"]), party("lwm2mserver", &["srv:pull"])],
        networks: vec!["lte-m".to_owned()],
        network_notes: vec!["a cell of LTE-M: MTU 1358, 50 ms each way".to_owned()],
        ways: vec![Way::Push, Way::Pull],
        totals: totals(&cells),
        cells,
        speed: 5.0,
        stale_expectations: vec![
            "fixtures/iut/wakatiwai.expected.yaml:17: matrix.push (interop): not met by the 2 cells that it is for"
                .to_owned(),
        ],
        notes: vec!["the adapter of lwm2mserver did not end in order: exit code 1".to_owned()],
        aborted: Some("interrupted".to_owned()),
        exit_code: 0,
    };
    results.exit_code = results.verdict_code();
    results
}

fn options() -> Options {
    Options {
        folder: "fotaproof-out/20261123-080000".to_owned(),
        ..Options::default()
    }
}

#[test]
fn a_terminal_shows_grid_measurements_and_problems() {
    insta::assert_snapshot!("terminal", terminal::render(&rich(), &options()));
}

#[test]
fn colour_underlines_and_says_nothing_of_its_own() {
    let coloured = terminal::render(
        &rich(),
        &Options {
            colour: true,
            ..options()
        },
    );
    assert!(coloured.contains("\u{1b}[31mFAIL:\u{1b}[0m"));
    assert_eq!(
        fotaproof_reports::text::strip_ansi(&coloured),
        terminal::render(&rich(), &options())
    );
}

#[test]
fn markdown_has_the_same_in_tables() {
    insta::assert_snapshot!("markdown", markdown::render(&rich()));
}

#[test]
fn the_page_holds_all_it_needs() {
    let page = html::render(&rich());
    insta::assert_snapshot!("html", page.split_once("</style>").unwrap().1.replace("><", ">\n<"));
    for forbidden in ["<script", "http://", "https://", "<img", "@import", "url("] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert!(page.contains("href=\"./cells/wakatiwai-embedded.pcapng\""));
}

#[test]
fn the_committed_schema_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testcases/schema/matrix.schema.json");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fotaproof_reports::write_atomically(&path, json::schema().as_bytes()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == json::schema(),
        "testcases/schema/matrix.schema.json is stale: run `UPDATE_SCHEMA=1 cargo test -p fotaproof-reports`"
    );
}

#[test]
fn what_is_written_keeps_to_the_schema_and_reads_back() {
    let schema: Value = serde_json::from_str(&json::schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for results in [rich(), MatrixResults::default()] {
        let text = json::render(&results).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert_eq!(errors, [""; 0]);
    }
    assert_eq!(json::read(json::render(&rich()).unwrap().as_bytes()).unwrap(), rich());
    assert!(!validator.is_valid(&serde_json::json!({"format": 2})));
}

#[test]
fn a_figure_that_is_no_number_is_written_as_one() {
    let mut results = rich();
    results.cells[0].measured.as_mut().unwrap().goodput = f64::NAN;
    results.seconds = f64::INFINITY;
    let text = json::render(&results).unwrap();
    assert!(json::read(text.as_bytes()).is_ok());
}

/// A matrix in which every text of a stranger is this one.
fn hostile(text: &str) -> MatrixResults {
    let mut results = rich();
    for party in results.clients.iter_mut().chain(&mut results.servers) {
        party.name = text.to_owned();
        party.version = Some(text.to_owned());
        party.manifest = Some(text.to_owned());
        party.description = Some(text.to_owned());
        party.claims = vec![text.to_owned()];
    }
    results.networks = vec![text.to_owned()];
    results.network_notes = vec![text.to_owned()];
    results.notes = vec![text.to_owned()];
    results.aborted = Some(text.to_owned());
    results.harness = text.to_owned();
    results.run = text.to_owned();
    results.started = text.to_owned();
    for cell in &mut results.cells {
        for field in [
            &mut cell.id,
            &mut cell.client,
            &mut cell.server,
            &mut cell.network,
            &mut cell.reason,
            &mut cell.repeat,
            &mut cell.interop.status,
            &mut cell.interop.led_by,
        ] {
            *field = text.to_owned();
        }
        cell.notes = vec![text.to_owned()];
        cell.blame = Some(Blame {
            side: Blamed::Unknown,
            why: text.to_owned(),
            packets: Vec::new(),
            next: text.to_owned(),
        });
        cell.evidence.capture = Some(text.to_owned());
        cell.interop.version = Some(text.to_owned());
        for side in [&mut cell.client_side, &mut cell.server_side] {
            side.findings = vec![Finding {
                title: text.to_owned(),
                expected: text.to_owned(),
                seen: text.to_owned(),
                source: text.to_owned(),
                clauses: vec![text.to_owned()],
                hint: Some(text.to_owned()),
                ..finding("must")
            }];
            side.expected = vec![ExpectedFailure {
                clause: text.to_owned(),
                reason: text.to_owned(),
                link: Some(text.to_owned()),
            }];
        }
    }
    results
}

#[test]
fn a_hostile_name_stays_text() {
    let name = "\u{1b}]0;x\u{7}<script>alert(1)</script>|[a](javascript:x)\n# head \u{202e}\"'&`";
    let results = hostile(name);
    let page = html::render(&results);
    assert!(!page.contains("<script>alert") && page.contains("&lt;script&gt;"));
    let text = markdown::render(&results);
    let outside: String = text.split('`').step_by(2).collect();
    assert!(!outside.contains("<script>") && !text.contains("\n# head"));
    let shown = terminal::render(&results, &options());
    assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'));
}

proptest! {
    #[test]
    fn no_renderer_breaks_on_any_text(text in "\\PC*|[\\x00-\\x7f]{0,40}") {
        let results = hostile(&text);
        let shown = terminal::render(&results, &options());
        prop_assert!(shown.chars().all(|c| c == '\n' || !c.is_control()));
        let page = html::render(&results);
        prop_assert_eq!(page.matches("<script").count(), 0);
        let _ = markdown::render(&results);
        prop_assert_eq!(json::read(json::render(&results).unwrap().as_bytes()).unwrap(), results);
    }
}
