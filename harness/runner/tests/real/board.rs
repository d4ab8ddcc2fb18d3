//! A board: nobody starts it, or commands of its manifest do; and what is asked of an IUT before its first start.

use std::path::Path;
use std::time::Duration;

use crate::common::{REGISTER, real_case, run};
use fotaproof_cases::load_manifest;
use fotaproof_lwm2m::device::DeviceConfig;
use fotaproof_runner::real::{Interrupt, NotReady, Readiness, device, interrupt, prepare};
use fotaproof_trace::Verdict;

/// A free UDP port, as good as it can be known.
fn port() -> u16 {
    std::net::UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn board(port: u16, more: &str) -> String {
    format!(
        "
name: board
board:
  endpoint: desk
  listen: 127.0.0.1:{port}
{more}
claims: [object=1.2, lwm2m=1.1, push]
packages: {{valid: {{builtin: true}}}}
"
    )
}

/// A device that is there before the case, and registers on its own.
fn device_at(port: u16) -> (fotaproof_runner::real::InterruptHandle, tokio::task::JoinHandle<()>) {
    let config = DeviceConfig {
        boot_time: Duration::from_millis(1),
        retry: Duration::from_millis(100),
        coap: fotaproof_coap::Config {
            ack_timeout: Duration::from_millis(100),
            ..fotaproof_coap::Config::default()
        },
        ..DeviceConfig::new("desk", ([127, 0, 0, 1], port).into())
    };
    let (handle, stop) = interrupt();
    let task = tokio::spawn(async move {
        let ended = device::run(device::DeviceOptions::new(config), stop, &mut |_| {})
            .await
            .unwrap();
        assert_eq!(ended, device::DeviceEnd::Stopped);
    });
    (handle, task)
}

#[tokio::test]
async fn a_board_that_runs_already_is_waited_for() {
    let port = port();
    let (stop, device) = device_at(port);
    let folder = tempfile::tempdir().unwrap();
    let case = real_case(REGISTER, &board(port, ""), folder.path());
    assert!(!case.config.controls_iut);
    let ran = run(case, folder, Interrupt::never()).await;
    assert_eq!(
        (ran.outcome.verdict, ran.outcome.reason.as_str()),
        (Verdict::Pass, ""),
        "{:?}",
        ran.outcome
    );
    assert_eq!(ran.iut_events(), ["started"]);
    stop.interrupt();
    device.await.unwrap();
}

#[tokio::test]
async fn actions_of_a_board_are_commands() {
    let folder = tempfile::tempdir().unwrap();
    let actions = "  actions:\n    start: [sh, -c, 'echo start {endpoint} >> actions']\n    stop: [sh, -c, 'echo stop >> actions']\n    power-cut: [sh, -c, 'echo no relay >&2; exit 4']";
    let case = REGISTER
        .replace("given:\n  - await: registration\n    within: 3s\nsteps:", "steps:")
        .replace(
            "  - read: /3/0/3\n    expect: {code: 2.05}",
            "  - iut: stop\n  - iut: start\n  - iut: power-cut",
        );
    let manifest = board(port(), actions) + "parameters: {stop: 300ms}\n";
    let case = real_case(&case, &manifest, folder.path());
    let ran = run(case, folder, Interrupt::never()).await;
    assert_eq!(ran.outcome.verdict, Verdict::Inconclusive, "{:?}", ran.outcome);
    assert_eq!(ran.outcome.reason, "the IUT did not end");
    assert_eq!(
        ran.lines(),
        ["[harness] the action `power-cut` failed: exit code 4: no relay"]
    );
    let log = std::fs::read_to_string(ran.folder.path().join("actions")).unwrap();
    assert_eq!(log, "start desk\nstop\nstart desk\nstop\n");
}

#[tokio::test]
async fn a_start_action_that_fails_is_the_environments_fault() {
    let folder = tempfile::tempdir().unwrap();
    let actions = "  actions: {start: [sh, -c, 'echo no board >&2; exit 1']}";
    let case = real_case(REGISTER, &board(port(), actions), folder.path());
    let ran = run(case, folder, Interrupt::never()).await;
    assert_eq!(ran.outcome.verdict, Verdict::Error);
    assert_eq!(
        ran.outcome.reason,
        "the IUT cannot be started: the action `start` failed: exit code 1: no board"
    );
}

#[tokio::test]
async fn a_port_that_is_taken_is_the_environments_fault() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let case = real_case(REGISTER, &board(taken.local_addr().unwrap().port(), ""), folder.path());
    let ran = run(case, folder, Interrupt::never()).await;
    assert_eq!(ran.outcome.verdict, Verdict::Error);
    assert!(
        ran.outcome.reason.contains("for the server cannot be opened"),
        "{}",
        ran.outcome.reason
    );
}

async fn ready(manifest: &str, folder: &Path) -> Result<Readiness, NotReady> {
    let text = format!("name: m\ncommand: [true]\n{manifest}");
    let loaded = load_manifest("iut.yaml", &text).unwrap_or_else(|problems| panic!("{problems:?}"));
    prepare(&loaded.manifest, folder, folder, Interrupt::never()).await
}

#[tokio::test]
async fn an_iut_is_prepared_looked_for_and_asked_for_its_version() {
    let folder = tempfile::tempdir().unwrap();
    let told = async |manifest: &str| ready(manifest, folder.path()).await.map_err(|error| error.to_string());
    assert_eq!(told("").await.unwrap(), Readiness { version: None });
    let missing = told("requires: bin/client").await.unwrap_err();
    assert!(
        missing.starts_with("the IUT is not installed: ") && missing.contains("bin/client does not exist"),
        "{missing}"
    );
    let failed = told("prepare: [sh, -c, 'echo no compiler >&2; exit 2']")
        .await
        .unwrap_err();
    assert_eq!(
        failed,
        "the IUT cannot be prepared: exit code 2: no compiler (`prepare` of the manifest)"
    );
    let prepared = "prepare: [sh, -c, 'mkdir -p {manifest}/bin && echo 2.12.3 > bin/client']\nrequires: bin/client\n";
    let version = prepared.to_owned() + "version: {command: [cat, bin/client], range: \">=2.12, <3\"}";
    assert_eq!(told(&version).await.unwrap().version.as_deref(), Some("2.12.3"));
    let other = told(&version.replace("<3", "<2.12.3")).await.unwrap_err();
    assert_eq!(
        other,
        "the IUT has version 2.12.3, and the manifest is for >=2.12, <2.12.3"
    );
    let none = told("version: {command: [echo, none]}").await.unwrap_err();
    assert_eq!(
        none,
        "the version of the IUT is not known: the command printed no version (`version` of the manifest)"
    );
}
