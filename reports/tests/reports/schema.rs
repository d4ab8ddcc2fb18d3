//! The committed JSON Schema is that of the types, and what is written keeps to it.

use std::path::Path;

use fotaproof_reports::json::{read, read_file, render, schema, write_file};
use fotaproof_reports::model::RunResults;
use serde_json::Value;

use crate::fixture::rich;

#[test]
fn the_committed_schema_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testcases/schema/results.schema.json");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fotaproof_reports::write_atomically(&path, schema().as_bytes()).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == schema(),
        "testcases/schema/results.schema.json is stale: run `UPDATE_SCHEMA=1 cargo test -p fotaproof-reports`"
    );
}

#[test]
fn what_is_written_is_valid() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for results in [rich(), RunResults::default()] {
        let text: Value = serde_json::from_str(&render(&results).unwrap()).unwrap();
        let errors: Vec<_> = validator.iter_errors(&text).map(|error| error.to_string()).collect();
        assert_eq!(errors, [""; 0]);
    }
    let other: Value = serde_json::json!({"format": 2});
    assert!(!validator.is_valid(&other));
}

#[test]
fn a_file_reads_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.json");
    write_file(&path, &rich()).unwrap();
    assert_eq!(read_file(&path).unwrap(), rich());
}

#[test]
fn a_file_cut_short_is_an_error_with_its_place() {
    let text = render(&rich()).unwrap();
    for end in (0..text.len()).step_by(97).filter(|&end| text.is_char_boundary(end)) {
        assert!(read(&text.as_bytes()[..end]).is_err());
    }
}
