//! `fotaproof adapter check`, the adapters that say hello, and adapters that are wrong in one way each.
//!
//! Skipped, with the reason, where an interpreter is missing; `FOTAPROOF_REQUIRE_PEERS=1` makes that a failure.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fotaproof_tests::program;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate is a folder of the workspace")
        .to_path_buf()
}

/// Whether a program is there; says why nothing is tested.
fn installed(program: &str) -> bool {
    let there = Command::new(program)
        .arg(if program == "java" { "-version" } else { "--version" })
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let required = std::env::var_os("FOTAPROOF_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(there || !required, "{program} is missing and FOTAPROOF_REQUIRE_PEERS=1");
    if !there {
        eprintln!("skipped: there is no {program}");
    }
    there
}

/// Ports differ in every run.
fn without_ports(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("127.0.0.1:") {
        let (before, after) = rest.split_at(at + "127.0.0.1:".len());
        out.push_str(before);
        out.push_str("PORT");
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out.push_str(rest);
    out
}

fn check(arguments: &[&str]) -> (Option<i32>, String) {
    let mut all = vec!["adapter", "check"];
    all.extend(arguments);
    let ended = program::run(&root(), &all);
    (ended.code, without_ports(&format!("{}{}", ended.out, ended.err)))
}

fn says_hello(interpreter: &str, file: &str) {
    if !installed(interpreter) {
        return;
    }
    let (code, text) = check(&["--within", "20s", "--", interpreter, file]);
    insta::assert_snapshot!(file.rsplit('/').next().unwrap_or_default(), text);
    assert_eq!(code, Some(0));
    let source = std::fs::read_to_string(root().join(file)).expect("it is there");
    assert!(source.lines().count() < 100, "{file} is a hello world");
}

#[test]
fn hello_in_python() {
    says_hello("python3", "fixtures/adapters/hello.py");
}

#[test]
fn hello_in_javascript() {
    says_hello("node", "fixtures/adapters/hello.js");
}

#[test]
fn hello_in_java() {
    says_hello("java", "fixtures/adapters/Hello.java");
}

#[test]
fn hello_of_a_hand() {
    says_hello("python3", "fixtures/adapters/hand.py");
}

#[test]
fn what_a_hand_must_not_do() {
    let hand = ["python3", "fixtures/adapters/hand.py"];
    let faults = ["accepts-any", "ends-by-itself", "no-hex", "accepts-all"];
    compared("hands", &wrong_in(&faults, &hand, &[]));
    // the device that is named is another one than that of the hand
    if installed("python3") {
        let (code, text) = check(&["--device", "other", "--", hand[0], hand[1]]);
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("no device other"), "{text}");
    }
}

/// The exit code and what failed of an adapter with a fault, of the checks that are meant: name, what was seen.
fn of_double(fault: &str, wrapped: &[&str], meant: &[&str]) -> (Option<i32>, String) {
    let begin = [
        "--within",
        "2s",
        "--ready",
        "5s",
        "--format",
        "json",
        "--",
        "python3",
        "tests/tests/adapter/double.py",
        fault,
    ];
    let (code, text) = check(&[&begin[..], wrapped].concat());
    let report: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{fault}: {error}: {text}"));
    let failed: String = report["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter(|check| check["verdict"] == "failed")
        .filter(|check| meant.is_empty() || meant.iter().any(|name| check["name"] == *name))
        .map(|check| {
            let word = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
            format!("  {}: {}\n", word("name"), word("seen"))
        })
        .collect();
    (code, failed)
}

fn wrong(faults: &[&str]) -> String {
    wrong_in(faults, &[], &[])
}

/// What fails of these, each the adapter of a command with its lines altered.
fn wrong_in(faults: &[&str], wrapped: &[&str], meant: &[&str]) -> String {
    if !installed("python3") {
        return String::new();
    }
    // most of their time is waiting
    let seen: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = faults
            .iter()
            .map(|fault| scope.spawn(|| of_double(fault, wrapped, meant)))
            .collect();
        let ended = running.into_iter().map(|one| one.join().expect("it ended"));
        ended.collect()
    });
    let all = faults.iter().zip(seen);
    all.map(|(fault, (code, failed))| {
        assert_eq!(code, Some(1), "{fault}: {failed}");
        format!("{fault}\n{failed}")
    })
    .collect()
}

/// Whether there is a snapshot to compare.
fn compared(name: &str, text: &str) {
    if !text.is_empty() {
        insta::assert_snapshot!(name, text);
    }
}

#[test]
fn what_does_not_begin() {
    compared(
        "does-not-begin",
        &wrong(&["no-hello", "dies", "garbage", "gigabyte-first", "wrong-version"]),
    );
}

#[test]
fn what_does_not_go_on() {
    compared(
        "does-not-go-on",
        &wrong(&[
            "hangs",
            "late",
            "dies-at-once",
            "dies-in-start",
            "closes-its-output",
            "gigabyte",
        ]),
    );
}

#[test]
fn what_breaks_the_protocol() {
    // which request meets the fault is chance
    let faults = [
        "twice",
        "other-ids",
        "chatty",
        "floods",
        "hello-twice",
        "unknown-event",
        "long-line",
        "not-utf8",
        "nul",
    ];
    compared("breaks-the-protocol", &wrong_in(&faults, &[], &["lines"]));
}

#[test]
fn what_promises_too_much_or_too_little() {
    compared(
        "promises",
        &wrong(&[
            "no-role",
            "odd-words",
            "no-stop",
            "claims-too-much",
            "accepts-all",
            "wrong-address",
            "no-events",
        ]),
    );
}

#[test]
fn what_does_not_end() {
    let text = wrong(&["exits-with-3", "does-not-exit", "leaves-a-child"]);
    let pid = text.find("(pid ").map(|at| at + 5);
    let text = match pid {
        Some(at) => {
            let rest = text[at..].trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{}PID{rest}", &text[..at])
        }
        None => text,
    };
    compared("does-not-end", &text);
}

#[test]
fn what_is_not_there_is_the_environments_fault() {
    let (code, text) = check(&["there-is-no-such-program"]);
    assert_eq!(code, Some(5));
    insta::assert_snapshot!("not-there", text);
}

#[test]
fn an_adapter_of_a_manifest_is_found_beside_it() {
    if !installed("python3") {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hello = root().join("fixtures/adapters/hello.py");
    std::fs::copy(hello, folder.path().join("hello.py")).expect("copied");
    let manifest = folder.path().join("server.yaml");
    let text =
        "name: hello\nrole: server\nadapter: [python3, \"{manifest}/hello.py\"]\nadapter-ready: 20s\nclaims: [any]\n";
    std::fs::write(&manifest, text).expect("written");
    let (code, text) = check(&[manifest.to_str().expect("text")]);
    assert_eq!(code, Some(0), "{text}");

    let client = folder.path().join("client.yaml");
    std::fs::write(&client, "name: c\ncommand: [./client]\n").expect("written");
    let (code, text) = check(&[client.to_str().expect("text")]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("has no `adapter`"), "{text}");
}

/// A manifest of a server with this adapter, and the run of the sanity case against it: exit code, verdict, reason, all that was printed.
fn sanity_against(adapter: &str) -> (Option<i32>, String, String, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let manifest = folder.path().join("server.yaml");
    let text = format!("name: server\nrole: server\nadapter: {adapter}\nclaims: [\"srv:push\"]\n");
    std::fs::write(&manifest, text).expect("written");
    let path = |path: &Path| path.to_str().expect("text").to_owned();
    let (iut, out) = (path(&manifest), path(&folder.path().join("out")));
    let ended = program::run(&root(), &["run", "--iut", &iut, "--out", &out, "sanity.server-alive"]);
    let all = format!("{}{}", ended.out, ended.err);
    let run = std::fs::read_dir(&out).ok().and_then(|mut runs| runs.next()?.ok());
    let results = run.and_then(|run| std::fs::read(run.path().join("results.json")).ok());
    let results: Value = results
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let word = |key: &str| results["cases"][0][key].as_str().unwrap_or_default().to_owned();
    (ended.code, word("verdict"), word("reason"), all)
}

#[test]
fn the_reference_server_behind_the_protocol_is_a_server_under_test() {
    let program = program::path().display();
    let (code, verdict, _, all) = sanity_against(&format!("[\"{program}\", adapter, serve]"));
    assert_eq!((code, verdict.as_str()), (Some(0), "pass"), "{all}");
}

#[test]
fn the_reference_server_does_all_that_it_claims() {
    let program = program::path().display().to_string();
    let (code, text) = check(&["--", &program, "adapter", "serve"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("0 failed, 0 not claimed, 0 not tested"), "{text}");
}

/// Whatever the adapter does wrong, the server is not to blame.
#[test]
fn an_adapter_that_spoils_a_case_makes_it_an_error() {
    if !installed("python3") {
        return;
    }
    for (fault, why) in [
        ("dies-at-once", "out of memory"),
        ("chatty", "DEBUG replied"),
        ("other-ids", "which nobody made"),
    ] {
        let double = root().join("tests/tests/adapter/double.py");
        let (code, verdict, reason, all) = sanity_against(&format!("[python3, \"{}\", {fault}]", double.display()));
        assert_eq!((code, verdict.as_str()), (Some(5), "error"), "{fault}: {all}");
        assert!(reason.contains(why), "{fault}: {reason}: {all}");
    }
    // one that does not even say hello ends the run before its first case
    let (code, _, _, all) = sanity_against("[python3, -c, \"print('hi')\"]");
    assert_eq!(code, Some(5), "{all}");
    assert!(all.contains("the first line of the adapter is no hello"), "{all}");
}

fn schema(name: &str) -> Value {
    let path = root().join("testcases/schema").join(format!("{name}.schema.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

/// Every line in the documentation that looks like a message of the protocol is one, by the schema and by the program.
#[test]
fn the_examples_of_the_documentation_are_messages() {
    let text = std::fs::read_to_string(root().join("docs/ADAPTERS.md")).expect("docs/ADAPTERS.md");
    let validator = |name: &str| jsonschema::validator_for(&schema(name)).expect("a schema");
    let (of_requests, of_messages) = (validator("adapter-request"), validator("adapter-message"));
    let (mut requests, mut messages) = (0, 0);
    for line in text.lines().map(str::trim) {
        let line = line.trim_start_matches("→ ").trim_start_matches("← ");
        if !line.starts_with("{\"") {
            continue;
        }
        let json: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        if json.get("op").is_some() {
            assert!(of_requests.is_valid(&json), "{line}");
            let request: Result<fotaproof_adapter::Request, _> = serde_json::from_value(json);
            assert!(request.is_ok(), "{line}: {request:?}");
            requests += 1;
        } else {
            assert!(of_messages.is_valid(&json), "{line}");
            let message = fotaproof_adapter::parse(line.as_bytes());
            assert!(message.is_ok(), "{line}: {message:?}");
            messages += 1;
        }
    }
    assert!(
        requests >= 20 && messages >= 20,
        "{requests} requests, {messages} messages"
    );
}

/// The names and words of a schema: properties, and values that are one of a few.
fn words_of(schema: &Value, words: &mut std::collections::BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            for (key, value) in object {
                match (key.as_str(), value) {
                    ("properties", Value::Object(properties)) => words.extend(properties.keys().cloned()),
                    ("const", Value::String(word)) => drop(words.insert(word.clone())),
                    ("enum", Value::Array(all)) => {
                        words.extend(all.iter().filter_map(Value::as_str).map(str::to_owned));
                    }
                    _ => {}
                }
                words_of(value, words);
            }
        }
        Value::Array(all) => all.iter().for_each(|one| words_of(one, words)),
        _ => {}
    }
}

/// Whatever the schemas know is in the documentation.
#[test]
fn the_documentation_names_every_field_and_word() {
    let text = std::fs::read_to_string(root().join("docs/ADAPTERS.md")).expect("docs/ADAPTERS.md");
    let mut words = std::collections::BTreeSet::new();
    words_of(&schema("adapter-request"), &mut words);
    words_of(&schema("adapter-message"), &mut words);
    let told = |word: &str| text.contains(&format!("`{word}`")) || text.contains(&format!("\"{word}\""));
    let missing: Vec<&String> = words.iter().filter(|word| !told(word)).collect();
    assert!(words.len() > 80, "{words:?}");
    assert!(missing.is_empty(), "docs/ADAPTERS.md does not tell {missing:?}");
}
