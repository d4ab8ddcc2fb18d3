//! `matrix`: the embedded peers against each other, and what is asked wrongly.

use std::fs;

use serde_json::Value;

use crate::{fotaproof_in, scratch};

#[test]
fn the_embedded_peers_are_a_matrix_of_their_own() {
    let folder = scratch();
    let done = fotaproof_in(
        folder.path(),
        &[
            "matrix", "--clients", "embedded", "--servers", "embedded", "--networks", "ethernet,lossy-10", "--size", "4k",
            "--format", "json",
        ],
    );
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let results: Value = serde_json::from_str(&done.stdout).unwrap();
    let schema = fs::read_to_string(fotaproof_tests::play::testcases().join("schema/matrix.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    assert!(validator.is_valid(&results));
    let cells = results["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 4);
    let run = folder.path().join("fotaproof-out").join(results["run"].as_str().unwrap());
    for cell in cells {
        assert_eq!(cell["verdict"], "pass", "{cell}");
        let capture = cell["evidence"]["capture"].as_str().unwrap();
        assert!(run.join(capture).exists());
    }
    for file in ["matrix.json", "matrix.md", "matrix.html"] {
        assert!(run.join(file).exists(), "{file}");
    }
    let page = fs::read_to_string(run.join("matrix.html")).unwrap();
    assert!(page.contains("href=\"./cells/ethernet.push.embedded.embedded.pcapng\""));
}

#[test]
fn what_is_asked_wrongly_is_told_with_its_code() {
    let folder = scratch();
    let embedded = ["matrix", "--clients", "embedded", "--servers", "embedded"];
    for (more, code, told) in [
        (&["--ways", "carry"][..], 2, "carry"),
        (&["--size", "20q"], 2, "20q"),
        (&["--networks", "ethernot"], 2, "ethernot"),
    ] {
        let done = fotaproof_in(folder.path(), &[&embedded[..], more].concat());
        assert_eq!(done.code, Some(code), "{more:?}: {}", done.stderr);
        assert!(done.stderr.contains(told), "{more:?}: {}", done.stderr);
    }
    let done = fotaproof_in(
        folder.path(),
        &["matrix", "--clients", "nobody.yaml", "--servers", "embedded"],
    );
    assert_eq!(done.code, Some(3), "{}", done.stderr);
    let done = fotaproof_in(folder.path(), &["matrix", "--clients", ",", "--servers", "embedded"]);
    assert_eq!(done.code, Some(4), "{}", done.stderr);
}
