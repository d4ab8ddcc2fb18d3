//! The library against a real third-party client, by its manifest.
//!
//! Skipped, with the reason, where `fixtures/peers/install.sh` was not run; `FOTAPROOF_REQUIRE_PEERS=1` makes that a failure.

use std::path::{Path, PathBuf};

use fotaproof_tests::program;
use serde_json::Value;

const MANIFEST: &str = "fixtures/iut/wakatiwai.yaml";
/// EXCHANGE_LIFETIME is waited out in it.
const LIFETIME_CASE: &str = "robust.message-id-after-lifetime";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate is a folder of the workspace")
        .to_path_buf()
}

/// Whether the peers are there; says why nothing is tested.
fn installed() -> bool {
    let stamp = root().join("target/peers/.installed");
    if stamp.exists() {
        return true;
    }
    let required = std::env::var_os("FOTAPROOF_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(
        !required,
        "{} is missing and FOTAPROOF_REQUIRE_PEERS=1",
        stamp.display()
    );
    eprintln!("skipped: the peers are not installed; run fixtures/peers/install.sh");
    false
}

#[test]
fn the_c_client_passes_but_for_what_is_known_of_it() {
    if !installed() {
        return;
    }
    let out = tempfile::tempdir().expect("a temporary folder");
    let folder = out.path().to_str().expect("its path is text");
    let arguments = [
        "run", "--iut", MANIFEST, "--jobs", "4", "--speed", "20", "--out", folder,
    ];
    let ended = program::run(&root(), &arguments);
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);

    let run = std::fs::read_dir(out.path())
        .expect("the run left a folder")
        .next()
        .expect("a run")
        .expect("readable")
        .path();
    let results = std::fs::read(run.join("results.json")).expect("results.json");
    let results: Value = serde_json::from_slice(&results).expect("results.json is JSON");
    let cases = results["cases"].as_array().expect("it has cases");
    let verdicts = |word: &str| cases.iter().filter(|case| case["verdict"] == word).count();
    assert!(verdicts("pass") >= 30, "{}", ended.out);
    for case in cases.iter().filter(|case| case["verdict"] == "fail") {
        let known = &case["expected_failure"];
        assert!(
            known["clause"].is_string() && known["reason"].is_string(),
            "{} failed without clause and reason: {case}",
            case["id"]
        );
    }

    // what `--speed` is for
    let long = cases
        .iter()
        .find(|case| case["id"] == LIFETIME_CASE)
        .expect("the library has the case");
    assert_eq!(long["verdict"], "pass");
    let (iut, wall) = (
        long["iut_ms"].as_f64().unwrap_or_default(),
        long["wall_ms"].as_f64().unwrap_or(f64::MAX),
    );
    assert!(
        iut > 247_000.0 && wall < 20_000.0,
        "{iut} ms of the client's time took {wall} ms"
    );
}
