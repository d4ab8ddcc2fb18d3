//! The matrix in real time: a client process against the embedded server, and servers whose adapters do not do what they should.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fotaproof_cases::load_manifest;
use fotaproof_reports::matrix::{Cell, Station, Way};
use fotaproof_reports::model::Verdict;
use fotaproof_runner::iut::Iut;
use fotaproof_runner::matrix::{Finished, Options, Party, Plan, Progress, Role, run};
use fotaproof_runner::prepare::RunNetwork;
use fotaproof_trace::{Event, EventKind, JournalReader};

const DEVICE: &str = "
name: reference
role: client
command: ['{device}', '{endpoint}', '{server.host}:{server.port}', '{state}', '{lifetime}']
claims: [push, 'pull:coap', object=1.2, lwm2m=1.1]
packages:
  valid: {builtin: true}
";

/// A device that never says anything.
const MUTE: &str = "
name: mute
role: client
command: [sleep, '600']
claims: [push, object=1.0]
packages:
  valid: {builtin: true}
";

fn party(manifest: &str, folder: &Path, role: Role) -> Party {
    let text = manifest.replace("{device}", env!("CARGO_BIN_EXE_test-reference-device"));
    let loaded = load_manifest("peer.yaml", &text).unwrap_or_else(|problems| panic!("{problems:?}"));
    let file = folder.join("peer.yaml").display().to_string();
    let iut = Iut::of_manifest(&file, loaded.manifest, loaded.claims, loaded.parameters, Vec::new()).unwrap();
    Party::of_iut(iut, role).unwrap()
}

/// A server whose adapter is this script of the shell.
fn scripted(script: &str, folder: &Path) -> Party {
    let script = script.replace('\'', "''");
    let manifest = format!(
        "name: scripted\nrole: server\nadapter: [sh, -c, '{script}']\nadapter-ready: 5s\nclaims: ['srv:push', 'srv:library']\n"
    );
    party(&manifest, folder, Role::Server)
}

fn plan(client: Party, server: Party, ways: &[Way]) -> Plan {
    Plan {
        clients: vec![client],
        servers: vec![server],
        networks: vec![RunNetwork {
            name: "ethernet".to_owned(),
            spec: fotaproof_net::profile("ethernet").unwrap().spec,
        }],
        ways: ways.to_vec(),
        seed: 3,
        size: 4096,
    }
}

fn run_in(folder: &Path, plan: &Plan, interrupt: &AtomicBool, started: &(dyn Fn() + Sync)) -> Finished {
    let options = Options {
        jobs: 2,
        folder: folder.to_path_buf(),
        speed: 1.0,
        today: "2026-06-01".to_owned(),
        limit: Some(Duration::from_secs(20)),
        earlier: Vec::new(),
    };
    run(plan, &options, interrupt, &|event| {
        if matches!(event, Progress::Started { .. }) {
            started();
        }
    })
}

/// The one cell of a plan in which nobody interrupts.
fn cell(folder: &Path, plan: &Plan) -> Cell {
    let mut finished = run_in(folder, plan, &AtomicBool::new(false), &|| {});
    finished.cells.remove(0)
}

/// A journal from its first event to its last, in order.
fn whole(path: &Path) {
    let reader = JournalReader::new(std::io::BufReader::new(fs::File::open(path).unwrap()));
    let events: Vec<Event> = reader.map(Result::unwrap).collect();
    assert!(matches!(events.first().unwrap().kind, EventKind::CaseStarted { .. }));
    assert!(matches!(events.last().unwrap().kind, EventKind::CaseEnded { .. }));
    assert!(
        events
            .windows(2)
            .all(|pair| pair[0].no < pair[1].no && pair[0].at <= pair[1].at)
    );
}

const HELLO: &str = r#"{"event":"hello","protocol":"1.0","name":"x","version":"1","role":"server","capabilities":["start","stop","quit","read","write","execute","observe","write-blocks"]}"#;

#[test]
fn a_client_process_and_the_embedded_server_update_each_way_over_the_link() {
    let folder = tempfile::tempdir().unwrap();
    let client = party(DEVICE, folder.path(), Role::Client);
    let plan = plan(client, Party::embedded_server(), &[Way::Push, Way::Pull]);
    let finished = run_in(folder.path(), &plan, &AtomicBool::new(false), &|| {});
    assert_eq!(finished.aborted, None);
    for cell in &finished.cells {
        assert_eq!(cell.verdict, Verdict::Pass, "{}: {}", cell.id, cell.reason);
        assert_eq!(cell.interop.station, Station::Updated);
        assert!(cell.measured.as_ref().unwrap().blocks >= 4);
        let files = &cell.evidence;
        for file in [&files.capture, &files.journal, &files.client_output, &files.adapter] {
            assert!(folder.path().join(file.as_ref().unwrap()).exists());
        }
        whole(&folder.path().join(files.journal.as_ref().unwrap()));
    }
    assert_eq!(finished.cells[1].interop.hosted_by.as_deref(), Some("server"));
}

/// Switches a board on: a process that is nobody's child, as a board is. It is there when the script ends.
const ON: &str = r#"#!/bin/sh
cd "$(dirname "$0")" && rm -rf state device.pid
setsid sh -c 'echo $$ > device.pid; exec "$@"' sh "$1" "$2" "$3" "$PWD/state" 300 > device.log 2>&1 < /dev/null &
until [ -s device.pid ]; do sleep 0.01; done
"#;

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a board's port is fixed, so a free one is looked for"
)]
fn a_board_takes_part_in_one_cell_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("on.sh"), ON).unwrap();
    fs::write(
        folder.path().join("off.sh"),
        "kill -9 \"$(cat \"$(dirname \"$0\")/device.pid\")\"\n",
    )
    .unwrap();
    // free now, and below the range from which the system takes ports
    let port = (20_000..30_000)
        .find(|port| std::net::UdpSocket::bind(("127.0.0.1", *port)).is_ok())
        .unwrap();
    let manifest = format!(
        "
name: board
role: client
board:
  endpoint: on-the-desk
  listen: 127.0.0.1:{port}
  actions:
    fresh: [sh, '{{manifest}}/on.sh', '{{device}}', '{{endpoint}}', '{{server.host}}:{{server.port}}']
    stop: [sh, '{{manifest}}/off.sh']
claims: [push, 'pull:coap', object=1.2, lwm2m=1.1]
packages:
  valid: {{builtin: true}}
"
    );
    let board = party(&manifest, folder.path(), Role::Client);
    let plan = plan(board, Party::embedded_server(), &[Way::Push, Way::Pull]);
    let finished = run_in(folder.path(), &plan, &AtomicBool::new(false), &|| {});
    for cell in &finished.cells {
        assert_eq!(
            cell.verdict,
            Verdict::Pass,
            "{}: {} {:?}",
            cell.id,
            cell.reason,
            cell.notes
        );
        assert_eq!(cell.interop.station, Station::Updated);
    }
    let pid = fs::read_to_string(folder.path().join("device.pid")).unwrap();
    // one that ended and that nobody asked for has no command line any more
    let line = fs::read(format!("/proc/{}/cmdline", pid.trim())).unwrap_or_default();
    assert!(line.is_empty(), "its action `stop` was not carried out");
}

#[test]
fn a_client_that_says_nothing_is_inconclusive() {
    let folder = tempfile::tempdir().unwrap();
    let client = party(MUTE, folder.path(), Role::Client);
    let mut plan = plan(client, Party::embedded_server(), &[Way::Push]);
    plan.networks[0].name = "quiet".to_owned();
    let options = Options {
        jobs: 1,
        folder: folder.path().to_path_buf(),
        speed: 1.0,
        today: "2026-06-01".to_owned(),
        limit: Some(Duration::from_secs(1)),
        earlier: Vec::new(),
    };
    let finished = run(&plan, &options, &AtomicBool::new(false), &|_| {});
    let cell = &finished.cells[0];
    assert_eq!(
        (cell.verdict, cell.reason.as_str()),
        (Verdict::Inconclusive, "mute was not heard, and no further within 1 s")
    );
    assert_eq!(cell.client_side.verdict, Verdict::NotRun);
}

#[test]
fn what_an_adapter_does_wrong_is_an_error_and_nobodys_verdict() {
    let scripts = [
        ("exit 3", "exit code 3"),
        ("echo garbage; sleep 1", "garbage"),
        (&format!("echo '{HELLO}'; read line; exit 4"), "exit code 4"),
        (
            &format!("echo '{HELLO}'; read line; echo nonsense; sleep 1"),
            "nonsense",
        ),
        (
            &format!(
                "echo '{HELLO}'; read line; echo '{{\"id\":1,\"error\":{{\"kind\":\"failed\",\"message\":\"no port\"}}}}'; read line; exit 0"
            ),
            "no port",
        ),
    ];
    for (script, why) in scripts {
        let folder = tempfile::tempdir().unwrap();
        let server = scripted(script, folder.path());
        let cell = cell(folder.path(), &plan(Party::embedded_client(), server, &[Way::Push]));
        assert_eq!(cell.verdict, Verdict::Error, "{script}: {}", cell.reason);
        assert!(cell.reason.contains(why), "{script}: {}", cell.reason);
        assert!(cell.client_side.findings.is_empty() && cell.server_side.findings.is_empty());
    }
}

#[test]
fn a_client_that_cannot_be_started_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = DEVICE.replace("'{device}'", "/no/such/program");
    let client = party(&manifest, folder.path(), Role::Client);
    let cell = cell(folder.path(), &plan(client, Party::embedded_server(), &[Way::Push]));
    assert_eq!(cell.verdict, Verdict::Error);
    assert!(cell.reason.contains("does not exist"), "{}", cell.reason);
}

#[test]
fn an_interrupt_leaves_whole_evidence_and_nothing_running() {
    let folder = tempfile::tempdir().unwrap();
    let client = party(MUTE, folder.path(), Role::Client);
    let interrupt = Arc::new(AtomicBool::new(false));
    let finished = run_in(
        folder.path(),
        &plan(client, Party::embedded_server(), &[Way::Push]),
        &interrupt,
        &|| interrupt.store(true, Ordering::Relaxed),
    );
    assert_eq!(finished.aborted.as_deref(), Some("interrupted"));
    let cell = &finished.cells[0];
    assert_eq!((cell.verdict, cell.reason.as_str()), (Verdict::NotRun, "interrupted"));
    // it may have come before the cell began
    if let Some(journal) = &cell.evidence.journal
        && fs::metadata(folder.path().join(journal)).unwrap().len() > 0
    {
        whole(&folder.path().join(journal));
    }
}
