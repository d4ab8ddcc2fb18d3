//! What a run leaves behind: complete, valid, readable by others.

use std::collections::BTreeSet;
use std::fs;
use std::io::BufReader;
use std::path::Path;

use fotaproof_trace::{CaptureReader, Event, EventKind, JournalReader};
use serde_json::Value;

use crate::{fotaproof_in, run_folder, scratch};

/// Reads a whole journal; its last line may be cut off only where the harness was killed.
pub(crate) fn journal(path: &Path, may_be_cut: bool) -> Vec<Event> {
    let file = fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut reader = JournalReader::new(BufReader::new(file));
    let events: Vec<Event> = reader
        .by_ref()
        .map(|event| event.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
        .collect();
    assert!(may_be_cut || !reader.was_cut(), "{} is cut", path.display());
    assert!(
        events
            .windows(2)
            .all(|pair| pair[0].no < pair[1].no && pair[0].at <= pair[1].at),
        "{}",
        path.display()
    );
    events
}

/// `results.json` of a run, valid by the published schema.
pub(crate) fn results(folder: &Path) -> Value {
    let schema = fs::read_to_string(fotaproof_tests::play::testcases().join("schema/results.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    let text = fs::read_to_string(folder.join("results.json")).expect("results.json");
    let results: Value = serde_json::from_str(&text).expect("JSON");
    let errors: Vec<String> = validator
        .iter_errors(&results)
        .map(|error| format!("{error} at {}", error.instance_path))
        .collect();
    assert_eq!(errors, [""; 0]);
    results
}

/// Reads XML to its end and counts the elements of a name.
pub(crate) fn elements(xml: &str, name: &str) -> usize {
    let mut reader = quick_xml::Reader::from_str(xml);
    reader.config_mut().check_end_names = true;
    let mut count = 0;
    loop {
        match reader.read_event().expect("well-formed XML") {
            quick_xml::events::Event::Eof => return count,
            quick_xml::events::Event::Start(start) | quick_xml::events::Event::Empty(start) => {
                for attribute in start.attributes() {
                    attribute
                        .expect("a well-formed attribute")
                        .unescape_value()
                        .expect("a known entity");
                }
                count += usize::from(start.name().as_ref() == name.as_bytes());
            }
            _ => {}
        }
    }
}

#[test]
fn a_run_of_the_library_leaves_everything() {
    let folder = scratch();
    let ended = fotaproof_in(folder.path(), "run --seed 3");
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    let run = run_folder(&folder.path().join("fotaproof-out"));
    let results = results(&run);
    assert_eq!(results["exit_code"], 0);
    assert_eq!(results["seed"], 3);
    let cases = results["cases"].as_array().expect("cases");
    assert!(cases.len() >= 20);
    let mut files = BTreeSet::new();
    for case in cases.iter().filter(|case| case["verdict"] != "not-applicable") {
        let id = case["id"].as_str().expect("an id");
        assert_eq!(case["verdict"], "pass", "{id}");
        let of = |name: &str| {
            run.join(
                case["evidence"][name]
                    .as_str()
                    .unwrap_or_else(|| panic!("{id} has no {name}")),
            )
        };
        let events = journal(&of("journal"), false);
        let EventKind::CaseStarted {
            case: started, seed, ..
        } = &events[0].kind
        else {
            panic!("{id}: no beginning")
        };
        assert_eq!((started.as_str(), Some(*seed)), (id, case["seed"].as_u64()));
        assert!(
            matches!(
                events.last().map(|event| &event.kind),
                Some(EventKind::CaseEnded { .. })
            ),
            "{id}: no end"
        );
        let capture = fs::File::open(of("capture")).expect("a capture");
        let packets: Vec<_> = CaptureReader::new(BufReader::new(capture))
            .expect("a capture")
            .collect();
        assert!(packets.iter().all(Result::is_ok), "{id}: the capture is broken");
        assert!(packets.len() >= 2, "{id}: {} packets", packets.len());
        assert!(
            files.insert(of("journal")) && files.insert(of("capture")),
            "{id} shares its files"
        );
    }
    let junit = fs::read_to_string(run.join("junit.xml")).expect("junit.xml");
    assert_eq!(elements(&junit, "testcase"), cases.len());
    let lines = fs::read_to_string(run.join("journal.jsonl")).expect("journal.jsonl");
    let (mut started, mut ended) = (0, 0);
    for line in lines.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        match line["event"].as_str() {
            Some("started") => started += 1,
            Some("ended") => ended += 1,
            _ => {}
        }
    }
    assert_eq!((started, ended), (cases.len(), cases.len()));
}

#[test]
fn a_failure_names_all_that_is_needed_to_look_at_it() {
    let folder = scratch();
    let ended = fotaproof_in(folder.path(), "run --defect success-without-install push.happy");
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
    let run = run_folder(&folder.path().join("fotaproof-out"));
    let results = results(&run);
    let case = &results["cases"][0];
    let finding = &case["findings"][0];
    assert_eq!(finding["blame"], "iut");
    assert!(finding["line"].as_u64().is_some_and(|line| line > 10), "{finding:#}");
    for text in ["expected", "seen", "title"] {
        assert!(
            finding[text].as_str().is_some_and(|text| !text.is_empty()),
            "{finding:#}"
        );
    }
    assert!(
        finding["clauses"].as_array().is_some_and(|clauses| !clauses.is_empty()),
        "{finding:#}"
    );
    for text in [
        "testcases/push/happy.yaml:",
        "expected",
        "seen",
        "clause",
        ".pcapng",
        "fotaproof run --defect success-without-install --seed 1 'push.happy'",
    ] {
        assert!(ended.out.contains(text), "`{text}` is missing:\n{}", ended.out);
    }
    // the command that repeats it does so
    let again = fotaproof_in(
        folder.path(),
        "run --defect success-without-install --seed 1 push.happy --out again",
    );
    assert_eq!(again.code, Some(1));
    let again = run_folder(&folder.path().join("again"));
    let name = "cases/push.happy.journal.jsonl";
    assert!(
        fs::read(run.join(name)).unwrap() == fs::read(again.join(name)).unwrap(),
        "the repetition differs"
    );
}

#[test]
fn the_same_seed_leaves_the_same_files() {
    let folder = scratch();
    for (jobs, out) in [(1, "one"), (4, "other")] {
        let line = format!("run --network lossy-10 --seed 9 --jobs {jobs} --out {out} push.happy pull.coap reg disc");
        let ended = fotaproof_in(folder.path(), &line);
        assert!(matches!(ended.code, Some(0 | 5)), "{}{}", ended.out, ended.err);
    }
    let (one, other) = (
        run_folder(&folder.path().join("one")),
        run_folder(&folder.path().join("other")),
    );
    let mut compared = 0;
    for entry in fs::read_dir(one.join("cases")).unwrap() {
        let name = entry.unwrap().file_name();
        let (a, b) = (
            fs::read(one.join("cases").join(&name)).unwrap(),
            fs::read(other.join("cases").join(&name)).unwrap(),
        );
        assert!(a == b, "{} differs", name.to_string_lossy());
        compared += 1;
    }
    assert!(compared >= 10, "only {compared} files were compared");
}

#[test]
fn runs_in_one_second_get_folders_of_their_own() {
    let folder = scratch();
    for _ in 0..3 {
        assert_eq!(fotaproof_in(folder.path(), "run sanity.alive").code, Some(0));
    }
    assert_eq!(fs::read_dir(folder.path().join("fotaproof-out")).unwrap().count(), 3);
}

#[test]
fn no_evidence_leaves_nothing() {
    let folder = scratch();
    assert_eq!(
        fotaproof_in(folder.path(), "run --no-evidence sanity.alive").code,
        Some(0)
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn formats_for_machines() {
    let folder = scratch();
    let run = |format: &str| {
        let ended = fotaproof_in(folder.path(), &format!("run --no-evidence --format {format} reg disc"));
        assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
        ended.out
    };
    let json: Value = serde_json::from_str(&run("json")).expect("JSON");
    let count = json["cases"].as_array().expect("cases").len();
    assert_eq!(elements(&run("junit"), "testcase"), count);
    let tap = run("tap");
    assert!(tap.contains(&format!("1..{count}")), "{tap}");
    assert_eq!(
        tap.lines().filter(|line| line.starts_with("ok ")).count(),
        count,
        "{tap}"
    );
}
