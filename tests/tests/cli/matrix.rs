//! `fotaproof matrix`: the embedded peers against each other, and what is asked wrongly.

use serde_json::Value;

use crate::{fotaproof_in, run_folder, scratch};

const EMBEDDED: &str = "matrix --clients embedded --servers embedded";

#[test]
fn the_embedded_peers_are_a_matrix_of_their_own() {
    let folder = scratch();
    let line = format!("{EMBEDDED} --networks ethernet,lossy-10 --size 4k --format json --out out");
    let ended = fotaproof_in(folder.path(), &line);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let results: Value = serde_json::from_str(&ended.out).expect("JSON");
    let schema = fotaproof_tests::play::testcases().join("schema/matrix.schema.json");
    let schema = std::fs::read_to_string(schema).expect("the schema");
    let validator = jsonschema::validator_for(&serde_json::from_str(&schema).expect("JSON")).expect("a schema");
    assert!(validator.is_valid(&results));
    let cells = results["cells"].as_array().expect("cells");
    assert_eq!(cells.len(), 4);
    let run = run_folder(&folder.path().join("out"));
    for cell in cells {
        assert_eq!(cell["verdict"], "pass", "{cell}");
        let capture = cell["evidence"]["capture"].as_str().expect("a capture");
        assert!(run.join(capture).exists());
    }
    let read = |name: &str| std::fs::read_to_string(run.join(name)).expect("a file");
    assert_eq!(read("matrix.json"), ended.out);
    assert!(read("matrix.md").starts_with("# fotaproof matrix: passed\n"));
    assert!(read("matrix.html").contains("href=\"./cells/ethernet.push.embedded.embedded.pcapng\""));
}

#[test]
fn what_is_asked_wrongly_is_told_with_its_code() {
    let folder = scratch();
    for (line, code, told) in [
        (format!("{EMBEDDED} --ways carry"), 2, "carry"),
        (format!("{EMBEDDED} --size 20q"), 2, "20q"),
        (format!("{EMBEDDED} --networks ethernot"), 2, "ethernot"),
        (
            "matrix --clients nobody.yaml --servers embedded".to_owned(),
            3,
            "nobody.yaml",
        ),
        (
            "matrix --clients , --servers embedded".to_owned(),
            4,
            "--clients names nothing",
        ),
        (
            "matrix --clients embedded --servers ,".to_owned(),
            4,
            "--servers names nothing",
        ),
        (format!("{EMBEDDED} --networks ,"), 4, "--networks names nothing"),
        (format!("{EMBEDDED} --networks nbiot"), 2, "did you mean `nb-iot`?"),
        (
            "matrix --clients embeded --servers embedded".to_owned(),
            2,
            "no client `embeded`",
        ),
        (format!("{EMBEDDED} --jobs 0"), 2, "--jobs"),
        (format!("{EMBEDDED} --timeout 0"), 2, "--timeout"),
    ] {
        let ended = fotaproof_in(folder.path(), &line);
        assert_eq!(ended.code, Some(code), "{line}: {}", ended.err);
        assert!(ended.err.contains(told), "{line}: {}", ended.err);
    }
}

#[test]
fn what_an_embedded_client_does_not_claim_is_not_run() {
    let folder = scratch();
    let text = "name: push only\nembedded: {}\nclaims: [push]\n";
    std::fs::write(folder.path().join("push.yaml"), text).expect("a file");
    let line = "matrix --clients push.yaml --servers embedded --networks ethernet --size 4k --format json --out out";
    let ended = fotaproof_in(folder.path(), line);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let results: Value = serde_json::from_str(&ended.out).expect("JSON");
    let cells: Vec<[&str; 2]> = results["cells"]
        .as_array()
        .expect("cells")
        .iter()
        .map(|cell| ["verdict", "reason"].map(|key| cell[key].as_str().expect("text")))
        .collect();
    assert_eq!(
        cells,
        [["pass", ""], ["not-applicable", "push only does not claim pull:coap"]]
    );
    // what a manifest need not claim is there all the same
    let claims = results["clients"][0]["claims"].to_string();
    assert!(
        claims.contains("object=1.2") && claims.contains("pkg:corrupt"),
        "{claims}"
    );
}
