//! Shrinking failing runs of the embedded device: what is left is needed, is told in words, and fails again as a file.

use core::sync::atomic::AtomicBool;

use fotaproof_cases::{Library, LoadedCase, Parameters};
use fotaproof_lwm2m::defects::Defect;
use fotaproof_reports::model::{CaseResult, Verdict};
use fotaproof_runner::iut::Iut;
use fotaproof_runner::prepare::CaseOptions;
use fotaproof_runner::run::{RunOptions, run};
use fotaproof_runner::shrink::{ShrinkError, Shrunk, Symptom, Task, case_file, shrink};
use fotaproof_tests::play;

fn case_of(path: &str, text: &str) -> LoadedCase {
    let (mut cases, problems) = Library::from_files([(path, text)]).load(&Parameters::default());
    assert!(
        problems.is_empty(),
        "{}\n{text}",
        fotaproof_cases::render_all(&problems, fotaproof_cases::Style::Plain)
    );
    assert_eq!(cases.len(), 1);
    cases.remove(0)
}

fn library_case(id: &str) -> LoadedCase {
    play::cases()
        .into_iter()
        .find(|case| case.full_id() == id)
        .expect("a case of the library")
}

fn over(network: &str, seed: u64) -> RunOptions {
    RunOptions {
        case: CaseOptions {
            seed,
            network: play::network(network),
            ..CaseOptions::default()
        },
        jobs: 1,
        ..RunOptions::default()
    }
}

fn result(iut: &Iut, case: &LoadedCase, options: &RunOptions) -> CaseResult {
    let finished = run(
        iut,
        core::slice::from_ref(case),
        options,
        &AtomicBool::new(false),
        &|_| {},
        "",
    );
    finished.cases.into_iter().next().expect("a result")
}

/// Runs, shrinks, and runs the file that comes of it.
fn shrunk(iut: &Iut, case: &LoadedCase, options: &RunOptions) -> (Shrunk, String) {
    let failed = result(iut, case, options);
    let symptom = Symptom::of(&failed).unwrap_or_else(|| panic!("{:?}: {}", failed.verdict, failed.reason));
    let task = Task {
        iut,
        case,
        options,
        symptom,
        journal: Vec::new(),
        tries: 0,
    };
    let found = shrink(&task, &AtomicBool::new(false)).expect("the failure comes back");
    let text = case_file(case, &found.link, &found.sentence()).expect("a case file");
    let path = format!("{}.yaml", case.id.replace('.', "/"));
    let written = case_of(&path, &text);
    assert_eq!(written.full_id(), case.full_id());
    let alone = RunOptions {
        case: CaseOptions {
            seed: options.case.seed,
            ..CaseOptions::default()
        },
        ..options.clone()
    };
    let again = result(iut, &written, &alone);
    assert!(
        task.symptom.is_in(&again),
        "{:?}: {}\n{text}",
        again.verdict,
        again.reason
    );
    (found, text)
}

/// A push of 1000 blocks with 400 harmless events and two losses that together make it too slow.
fn slow_push() -> LoadedCase {
    case_of(
        "shrink/two-of-many.yaml",
        r#"title: A push is not held up
purpose: One lost packet costs three seconds at most, two of the same block six and more.
needs: [push]
clauses: [rfc7959/2.5]
defects: [ack-wrong-num]
limit: 10m
firmware: {package: valid, size: 64000}
network:
  both: {delay: 1ms}
  rules:
    - drop: {toward: server, coap: {type: ack, block1: {num: 950}}, times: 1}
    - drop: {toward: iut, coap: {type: con, block1: {num: 950}}, nth: 2}
    - delay: {toward: server, coap: {type: ack, path: /5/0/0}, every: 5}
      by: 3ms
    - duplicate: {toward: iut, coap: {type: con, path: /5/0/0}, every: 5}
given:
  - await: registration
steps:
  - push: {block: 64}
    background: true
  - expect: {path: [idle, downloading?, downloaded], within: 8s}
"#,
    )
}

#[test]
fn two_losses_out_of_four_hundred_events_on_two_thousand_packets() {
    let (found, text) = shrunk(&Iut::embedded(), &slow_push(), &over("default", 1));
    assert!(found.packets >= 2000, "{} packets", found.packets);
    assert!(found.events >= 400, "{} events", found.events);
    assert!(found.runs < 80, "{} runs", found.runs);
    assert_eq!(
        found.sentence(),
        "fails if and only if the ACK of block 950 and the retransmission of block 950 are lost"
    );
    insta::assert_snapshot!("two-of-many", text);
}

#[test]
fn random_losses_are_shrunk_to_the_one_that_shows_a_defect() {
    let iut = Iut::embedded().with_defect(Defect::NoDedup);
    let (found, text) = shrunk(&iut, &library_case("push.happy"), &over("lossy-10", 1));
    assert!(found.events > 1);
    assert_eq!((found.needed.len(), found.minimal), (1, true));
    assert!(
        found.sentence().starts_with("fails if and only if the ACK of block "),
        "{}",
        found.sentence()
    );
    assert!(
        text.contains("    - drop: {toward: server, coap: {type: ack, code: 2.31, path: /5/0/0, block1: {num: "),
        "{text}"
    );
    assert!(!text.contains("loss:"));
}

#[test]
fn a_lost_fragment_is_told_as_one() {
    let iut = Iut::embedded();
    let case = case_of(
        "shrink/fragments.yaml",
        "title: A push in fragments\npurpose: Blocks above the MTU.\nneeds: [push]\nclauses: [rfc7959/2.5]\n\
         defects: [no-dedup]\nfirmware: {package: valid, size: 8192}\nfor: {block: [1024]}\n\
         network:\n  mtu: 576\n  rules:\n    - duplicate: {toward: server, coap: {type: ack, block1: {num: 2}}, times: 1}\n\
         \x20   - drop: {toward: iut, coap: {block1: {num: 5}}, fragment: 1, times: 1}\n\
         given:\n  - await: registration\nsteps:\n  - push: {block: \"{block}\"}\n    background: true\n  - expect: {path: [idle, downloading?, downloaded], within: 2s}\n",
    );
    let (found, text) = shrunk(&iut, &case, &over("default", 3));
    assert_eq!(found.needed.len(), 1);
    assert_eq!(found.sentence(), "fails if and only if fragment 2 of block 5 is lost");
    assert!(text.contains("for: {block: [1024]}\n"), "{text}");
    let lost: Vec<&str> = text.lines().filter(|line| line.contains("- drop:")).collect();
    assert_eq!(
        lost,
        [
            "    - drop: {toward: iut, coap: {type: con, method: put, path: /5/0/0, block1: {num: 5}}, fragment: 1, times: 1}"
        ]
    );
}

#[test]
fn a_failure_that_needs_no_network_event_says_so() {
    let iut = Iut::embedded().with_defect(Defect::AckWrongNum);
    let (found, text) = shrunk(&iut, &library_case("push.happy"), &over("lossy-10", 1));
    assert_eq!(found.needed, []);
    assert_eq!(
        found.sentence(),
        "fails whatever the network does: none of its events is needed"
    );
    assert!(!text.contains("rules:"));
}

#[test]
fn lateness_counts_when_nothing_else_explains_the_failure() {
    // eight blocks, and a limit that is a little above what the push takes when every packet takes as long
    let case = |jitter: u32, limit: u32| {
        case_of(
            "shrink/late.yaml",
            &format!(
                "title: A small push is quick\npurpose: Only jitter breaks the limit.\nneeds: [push]\nclauses: [rfc7959/2.5]\n\
                 defects: [ack-wrong-num]\nfirmware: {{package: valid, size: 4096}}\n\
                 network:\n  both: {{delay: 200ms, jitter: {jitter}ms}}\ngiven:\n  - await: registration\n\
                 steps:\n  - push: {{block: 512}}\n    background: true\n\
                 \x20 - expect: {{path: [idle, downloading?, downloaded], within: {limit}ms}}\n"
            ),
        )
    };
    let iut = Iut::embedded();
    let passes = |case: &LoadedCase, seed| result(&iut, case, &over("default", seed)).verdict == Verdict::Pass;
    let limit = (30..100)
        .map(|tenths| tenths * 100)
        .find(|limit| passes(&case(0, *limit), 1))
        .expect("a limit that is met");
    let case = case(200, limit + 100);
    let seed = (1..60).find(|seed| !passes(&case, *seed)).expect("a slow one");
    let (found, _) = shrunk(&iut, &case, &over("default", seed));
    assert!(found.jitter && found.minimal, "{}", found.sentence());
    assert!(found.sentence().contains(" s late"), "{}", found.sentence());
}

#[test]
fn what_does_not_fail_any_more_is_not_shrunk() {
    let case = library_case("push.happy");
    let failing = Iut::embedded().with_defect(Defect::AckWrongNum);
    let options = over("default", 1);
    let symptom = Symptom::of(&result(&failing, &case, &options)).expect("it fails");
    let clean = Iut::embedded();
    assert_eq!(Symptom::of(&result(&clean, &case, &options)), None);
    let task = Task {
        iut: &clean,
        case: &case,
        options: &options,
        symptom,
        journal: Vec::new(),
        tries: 0,
    };
    let error = shrink(&task, &AtomicBool::new(false)).unwrap_err();
    assert!(matches!(error, ShrinkError::NotAgain { .. }), "{error}");
    let stopped = shrink(&task, &AtomicBool::new(true)).unwrap_err();
    assert!(matches!(stopped, ShrinkError::Interrupted), "{stopped}");
}

/// A run against a process: its journal is read, and the case is run again over the links that are tried.
#[test]
fn a_real_device_is_shrunk_by_running_it_again() {
    use std::process::Command;

    use fotaproof_tests::program;

    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    let device = format!(
        "name: a device with a defect\nrole: client\ncommand: [\"{}\", device, --server, \"{{server.host}}:{{server.port}}\",\n\
         \x20 --endpoint, \"{{endpoint}}\", --state, \"{{state}}\", --boot, 1ms, --no-sync, --defect, no-dedup]\n\
         stop: {{signal: SIGTERM, within: 3s}}\nrestart: by-itself\npackages:\n  valid: {{builtin: true}}\n\
         claims: [push, object=1.2, lwm2m=1.2]\n",
        program::path().display()
    );
    write("device.yaml", &device);
    write(
        "lib/shrink/real.yaml",
        "title: A push with two network events\npurpose: One loss shows the defect, one delay does nothing.\nneeds: [push]\n\
         clauses: [rfc7252/4.5]\ndefects: [no-dedup]\nfirmware: {package: valid, size: 2048}\nnetwork:\n  both: {delay: 2ms}\n\
         \x20 rules:\n    - delay: {toward: server, coap: {type: ack, block1: {num: 0}}, times: 1}\n      by: 50ms\n\
         \x20   - drop: {toward: server, coap: {type: ack, block1: {num: 2}}, times: 1}\ngiven:\n  - await: registration\n\
         steps:\n  - push: {block: 512}\n    expect: {code: 2.04}\n",
    );
    let told = |arguments: &[&str]| {
        let output = Command::new(program::path())
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .expect("it starts");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let (code, out) = told(&["run", "--iut", "device.yaml", "--library", "lib", "--out", "runs"]);
    assert_eq!(code, Some(1), "{out}");
    let run = std::fs::read_dir(folder.path().join("runs"))
        .expect("runs")
        .next()
        .expect("a run")
        .expect("a run")
        .path();
    let (code, out) = told(&["shrink", &run.display().to_string(), "shrink.real", "--tries", "20"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(
        out.starts_with("shrink.real fails if and only if the ACK of block 2 is lost\n"),
        "{out}"
    );
    assert!(out.contains("  1 of 2 network events on "), "{out}");
    assert!(out.contains("the smallest set failed in 3 of 3 further runs"), "{out}");
    assert!(
        out.ends_with("checked: the file fails with the same finding in 3 of 3 runs\n"),
        "{out}"
    );
}
