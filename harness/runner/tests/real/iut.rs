//! The real driver against devices that work and against programs that do everything wrong.

use std::time::Duration;

use crate::common::{PUSH, REGISTER, Ran, real_case, run, run_text};
use fotaproof_runner::real::{Interrupt, interrupt, scaling};
use fotaproof_trace::{Blame, Verdict};

const DEVICE: &str = r#"
name: reference device
command: ["{device}", "{endpoint}", "{server.host}:{server.port}", "{state}", "{lifetime}"]
claims: [object=1.2, lwm2m=1.1, push, restart, kill, stop]
packages: {valid: {builtin: true}}
parameters: {stable: 20ms, poll: 5ms}
"#;

/// A shell script as IUT; `{folder}` in its environment marks its processes for the test.
fn script(script: &str, more: &str) -> String {
    format!(
        r#"
name: script
command: [sh, -c, '{}']
environment: {{TEST_FOLDER: "{{root}}"}}
claims: [object=1.0, lwm2m=1.0, push, restart, kill, stop]
packages: {{valid: {{builtin: true}}}}
{more}
"#,
        script.replace('\'', "''")
    )
}

fn told(ran: &Ran) -> (Verdict, &str) {
    (ran.outcome.verdict, ran.outcome.reason.as_str())
}

#[tokio::test]
async fn a_device_is_updated_by_push() {
    let ran = run_text(PUSH, DEVICE).await;
    assert_eq!(told(&ran), (Verdict::Pass, ""), "{:?}", ran.outcome);
    assert!(
        ran.lines().iter().any(|line| line.contains("booted version 2.0.0")),
        "{:?}",
        ran.lines()
    );
    let log = std::fs::read_to_string(ran.folder.path().join("output.log")).unwrap();
    assert!(log.contains("stdout: booted version 1.0.0"), "{log}");
}

#[tokio::test]
async fn a_device_that_exits_at_its_reboot_is_started_again_on_its_state() {
    for word in ["exit-on-reboot", "die-on-reboot"] {
        let manifest =
            DEVICE.replace("\"{lifetime}\"]", &format!("\"{{lifetime}}\", {word}]")) + "restart: start-again\n";
        let ran = run_text(PUSH, &manifest).await;
        assert_eq!(told(&ran), (Verdict::Pass, ""), "{word}: {:?}", ran.outcome);
        assert_eq!(ran.iut_events(), ["started", "restarted"], "{word}");
    }
}

#[tokio::test]
async fn a_device_that_exits_at_its_reboot_fails_where_nobody_said_so() {
    let manifest = DEVICE.replace("\"{lifetime}\"]", "\"{lifetime}\", exit-on-reboot]");
    let ran = run_text(PUSH, &manifest).await;
    assert_eq!(ran.outcome.verdict, Verdict::Fail);
    assert_eq!(
        ran.outcome.reason,
        "the IUT ended (exit code 0) in the middle of the case"
    );
}

#[tokio::test]
async fn stop_power_cut_start_and_fresh_do_what_they_say() {
    let case = REGISTER.to_owned()
        + "
  - iut: stop
  - await: deregistration
    within: 1s
  - iut: start
  - await: registration
    new: true
    within: 5s
  - iut: power-cut
  - iut: start
  - await: registration
    new: true
    within: 5s
  - iut: fresh
  - await: registration
    new: true
    within: 5s
";
    let ran = run_text(&case, DEVICE).await;
    assert_eq!(told(&ran), (Verdict::Pass, ""), "{:?}", ran.outcome);
    assert_eq!(
        ran.iut_events(),
        ["started", "stopped", "started", "powercut", "started", "started"]
    );
    let flash = std::fs::read_to_string(ran.folder.path().join("state/flash.json")).unwrap();
    assert!(
        flash.contains("\"boots\": 1"),
        "the last start was on an empty folder: {flash}"
    );
}

#[tokio::test]
async fn a_command_that_is_not_there_is_the_environments_fault() {
    let ran = run_text(
        REGISTER,
        &script("", "").replace("[sh, -c, '']", "[no-such-client, '{endpoint}']"),
    )
    .await;
    assert_eq!(
        told(&ran),
        (
            Verdict::Error,
            "the IUT cannot be started: the command `no-such-client` is not found in PATH"
        )
    );
    assert!(
        ran.outcome
            .findings
            .iter()
            .all(|finding| finding.blame == Blame::Environment)
    );
}

#[tokio::test]
async fn a_file_that_is_no_program_is_the_environments_fault() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("client"), "no program").unwrap();
    let manifest = script("", "").replace("[sh, -c, '']", "[./client]");
    let case = real_case(REGISTER, &manifest, folder.path());
    let ran = run(case, folder, Interrupt::never()).await;
    assert_eq!(ran.outcome.verdict, Verdict::Error);
    assert!(
        ran.outcome.reason.ends_with("client` is not executable"),
        "{}",
        ran.outcome.reason
    );
}

#[tokio::test]
async fn an_iut_that_exits_at_once_is_inconclusive_and_its_last_words_are_kept() {
    let ran = run_text(REGISTER, &script("echo cannot open display >&2; exit 3", "")).await;
    assert_eq!(
        told(&ran),
        (Verdict::Inconclusive, "the IUT ended before it registered: exit code 3")
    );
    assert_eq!(ran.lines(), ["cannot open display"]);
    assert!(ran.outcome.never_registered);
}

#[tokio::test]
async fn an_iut_that_exits_whenever_it_is_started_is_not_started_for_ever() {
    let ran = run_text(REGISTER, &script("exit 0", "restart: start-again")).await;
    assert_eq!(ran.outcome.verdict, Verdict::Inconclusive);
    assert!(
        ran.outcome
            .reason
            .contains("it ends again whenever it is started again (5 times)"),
        "{}",
        ran.outcome.reason
    );
}

#[tokio::test]
async fn an_iut_that_never_registers_is_inconclusive() {
    let case = REGISTER.replace("within: 3s", "within: 200ms");
    let ran = run_text(&case, &script("sleep 600", "")).await;
    assert_eq!(ran.outcome.verdict, Verdict::Inconclusive);
    assert!(ran.outcome.reason.contains("registration"), "{}", ran.outcome.reason);
    assert!(ran.outcome.never_registered);
}

#[tokio::test]
async fn an_iut_that_hangs_on_stop_is_killed_with_a_note() {
    let case = REGISTER.replace("within: 3s", "within: 300ms");
    let hang = script(
        "trap '' TERM INT HUP; echo up; while :; do sleep 600; done",
        "stop: {within: 200ms}",
    );
    let ran = run_text(&case, &hang).await;
    assert_eq!(
        ran.outcome.notes.last().unwrap(),
        "it did not end within 200ms of SIGTERM and was killed"
    );
}

#[tokio::test]
async fn every_way_to_stop_is_known() {
    let case = REGISTER.replace("within: 3s", "within: 300ms");
    let ways = [
        (
            "read line; test \"$line\" = quit && exit 0; exec sleep 600",
            "stop: {line: quit, within: 60s}",
        ),
        ("cat; exit 0", "stop: {close-stdin: true, within: 60s}"),
        (
            "trap 'exit 0' INT; while :; do sleep 0.02; done",
            "stop: {signal: SIGINT, within: 60s}",
        ),
        // the shell waits for its child: the signal goes to the whole group in the end
        ("sleep 600; exit 0", "stop: {within: 200ms}"),
    ];
    for (text, stop) in ways {
        let ran = run_text(&case, &script(text, stop)).await;
        let notes = ran.outcome.notes.join("\n");
        assert!(!notes.contains("was killed"), "{text}: {notes}");
    }
}

#[tokio::test]
async fn a_flood_of_output_is_bounded() {
    let case = REGISTER.replace("within: 3s", "within: 1s");
    let ran = run_text(&case, &script("exec yes a line that is printed again and again", "")).await;
    assert_eq!(ran.outcome.verdict, Verdict::Inconclusive);
    let lines = ran.lines();
    assert!(
        lines.len() <= 5_001 && lines.last().unwrap().starts_with("[harness]"),
        "{}",
        lines.len()
    );
    let log = std::fs::metadata(ran.folder.path().join("output.log")).unwrap().len();
    assert!(log < 5 * 1024 * 1024, "{log}");
}

#[tokio::test]
async fn children_that_stay_are_ended() {
    let case = REGISTER.replace("within: 3s", "within: 300ms");
    let stays = "sleep 600 & sleep 600 & trap 'exit 0' TERM; while :; do sleep 0.02; done";
    let ran = run_text(&case, &script(stays, "")).await;
    let note = ran.outcome.notes.last().unwrap();
    assert!(
        note.starts_with("it left behind and the harness ended: sleep (pid "),
        "{note}"
    );
    let gone = "setsid sleep 600 & trap 'exit 0' TERM; while :; do sleep 0.02; done";
    let ran = run_text(&case, &script(gone, "")).await;
    let note = ran.outcome.notes.last().unwrap();
    assert!(
        note.starts_with("it left behind and the harness ended: sleep (pid "),
        "{note}"
    );
}

#[tokio::test]
async fn children_of_an_iut_that_dies_are_ended_too() {
    let ran = run_text(REGISTER, &script("setsid sleep 600 & sleep 600 & exit 7", "")).await;
    assert_eq!(
        told(&ran),
        (Verdict::Inconclusive, "the IUT ended before it registered: exit code 7")
    );
    assert!(
        ran.lines()
            .iter()
            .any(|line| line.starts_with("[harness] it left behind")),
        "{:?}",
        ran.lines()
    );
}

#[tokio::test]
async fn an_iut_that_goes_into_the_background_goes_on() {
    let manifest = DEVICE.replace(
        "command: [\"{device}\",",
        "command: [sh, -c, '\"$0\" \"$@\" & exit 0', \"{device}\",",
    );
    let ran = run_text(PUSH, &manifest).await;
    assert_eq!(told(&ran), (Verdict::Pass, ""), "{:?}", ran.outcome);
    assert!(
        !ran.outcome.notes.join(" ").contains("left behind"),
        "it was stopped in order: {:?}",
        ran.outcome.notes
    );
}

#[tokio::test]
async fn an_iut_that_dies_in_the_middle_fails_with_its_signal() {
    let ran = run_text(REGISTER, &script("exec {odd} die {server.host}:{server.port}", "")).await;
    assert_eq!(ran.outcome.verdict, Verdict::Fail);
    assert_eq!(
        ran.outcome.reason,
        "the IUT ended (signal 6 (SIGABRT)) in the middle of the case"
    );
    assert!(ran.lines().iter().any(|line| line == "about to die"));
}

#[tokio::test]
async fn an_iut_that_answers_from_another_port_has_not_answered() {
    let case = REGISTER.replace(
        "  - read: /3/0/3\n    expect: {code: 2.05}",
        "  - read: /3/0/3\n    expect: {code: 2.05, within: 300ms}",
    ) + "liveness: false\nlimit: 4s\n";
    let ran = run_text(&case, &script("exec {odd} other-port {server.host}:{server.port}", "")).await;
    assert!(ran.outcome.verdict > Verdict::Pass, "{:?}", ran.outcome);
    assert!(!ran.outcome.never_registered);
}

#[tokio::test]
async fn an_iut_that_registers_twice_under_one_name_is_still_one_device() {
    let case = REGISTER.replace(
        "  - read: /3/0/3\n    expect: {code: 2.05}",
        "  - await: registration\n    within: 1s\n  - wait: 50ms",
    ) + "liveness: false\n";
    let ran = run_text(&case, &script("exec {odd} twice {server.host}:{server.port}", "")).await;
    assert!(ran.outcome.verdict <= Verdict::Fail, "{:?}", ran.outcome);
    assert!(!ran.outcome.never_registered);
}

#[tokio::test]
async fn a_flood_of_garbage_does_not_stop_the_case() {
    let case = REGISTER.replace("within: 3s", "within: 500ms");
    let ran = run_text(&case, &script("exec {odd} garbage {server.host}:{server.port}", "")).await;
    assert!(
        matches!(ran.outcome.verdict, Verdict::Inconclusive | Verdict::Fail),
        "{:?}",
        ran.outcome.verdict
    );
    assert!(ran.events.len() < 100_000, "{}", ran.events.len());
}

#[tokio::test]
async fn an_interrupt_ends_the_case_with_complete_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let case = real_case(
        &REGISTER.replace("within: 3s", "within: 600s"),
        &script("sleep 600", ""),
        folder.path(),
    );
    let (handle, sign) = interrupt();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        handle.interrupt();
    });
    let ran = run(case, folder, sign).await;
    assert_eq!(told(&ran), (Verdict::Error, "the run was interrupted"));
}

#[tokio::test]
async fn a_case_that_is_dropped_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let case = real_case(REGISTER, &script("setsid sleep 600 & sleep 600", ""), folder.path());
    let mut started = false;
    let mut sink = |_: &_| started = true;
    let run = fotaproof_runner::real::run_case(case, &mut sink, Interrupt::never());
    assert!(tokio::time::timeout(Duration::from_millis(300), run).await.is_err());
    assert!(started);
    let path = folder.path().display().to_string();
    for _ in 0..200 {
        if crate::common::processes_with(&path).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("left behind: {:?}", crate::common::processes_with(&path));
}

#[tokio::test]
async fn files_of_the_manifest_are_in_the_folder_and_placeholders_are_filled_in() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("client.conf"), "configured").unwrap();
    let text = "cat client.conf; echo; echo {endpoint} {lifetime} {instance} {psk.identity} {port} $KEY; pwd; exit 3";
    let more = "files: [client.conf]\ncredentials: {psk: {identity: me, key: 00ff}}";
    let manifest = script(text, more).replace("environment: {", "environment: {KEY: \"{psk.key}\", ");
    let case = real_case(REGISTER, &manifest, folder.path());
    let ran = run(case, folder, Interrupt::never()).await;
    let lines = ran.lines();
    assert_eq!(lines[0], "configured");
    let words: Vec<&str> = lines[1].split(' ').collect();
    assert_eq!((&words[..4], words[5]), (&["test-1", "300", "1", "me"][..], "00ff"));
    assert!(words[4].parse::<u16>().unwrap() >= 10_000);
    assert!(lines[2].ends_with("/state"), "{lines:?}");
}

#[tokio::test]
async fn a_speed_that_is_not_allowed_is_the_environments_fault() {
    let folder = tempfile::tempdir().unwrap();
    let mut case = real_case(REGISTER, DEVICE, folder.path());
    case.speed = 20.0;
    let ran = run(case, folder, Interrupt::never()).await;
    assert_eq!(ran.outcome.verdict, Verdict::Error);
    assert!(
        ran.outcome
            .reason
            .contains("the manifest does not allow a scaled clock"),
        "{}",
        ran.outcome.reason
    );
}

/// The device waits 10 s of its time before it registers again; a second of ours is enough.
#[tokio::test]
async fn a_scaled_clock_is_the_devices_and_the_sessions() {
    let folder = tempfile::tempdir().unwrap();
    let text = "
title: The device registers again after its pause
purpose: The clock of both sides.
clauses: [oma-fw/T2]
defects: [success-without-install]
server: {register: {code: 5.03, times: 1}}
steps:
  - await: registration
    within: 30s
";
    let manifest = DEVICE.to_owned() + "speed: {faketime: true, at-most: 20}\n";
    let mut case = real_case(text, &manifest, folder.path());
    case.speed = 20.0;
    if let Err(error) = scaling(&case.manifest, case.speed) {
        println!("not tried: {error}");
        return;
    }
    let began = std::time::Instant::now();
    let ran = run(case, folder, Interrupt::never()).await;
    assert_eq!(told(&ran), (Verdict::Pass, ""), "{:?}", ran.outcome);
    assert!(
        ran.outcome.duration >= Duration::from_secs(10),
        "{:?}",
        ran.outcome.duration
    );
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test]
async fn many_cases_at_once_do_not_disturb_each_other() {
    let cases = (0..8).map(|i| {
        let manifest = if i % 4 == 3 {
            script("exit 1", "")
        } else {
            DEVICE.to_owned()
        };
        tokio::spawn(async move { run_text(PUSH, &manifest).await.outcome.verdict })
    });
    let mut verdicts = Vec::new();
    for case in cases.collect::<Vec<_>>() {
        verdicts.push(case.await.unwrap());
    }
    let expected: Vec<Verdict> = (0..8)
        .map(|i| {
            if i % 4 == 3 {
                Verdict::Inconclusive
            } else {
                Verdict::Pass
            }
        })
        .collect();
    assert_eq!(verdicts, expected);
}
