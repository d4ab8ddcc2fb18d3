//! `results.json`: written whole, read with a look at its version first.

use std::path::Path;

use schemars::generate::SchemaSettings;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::model::{FORMAT, RunResults};
use crate::text::one_line;
use crate::write::{WriteError, write_atomically};

/// Name of the file in the folder of a run.
pub const FILE: &str = "results.json";

/// A file of results could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not JSON, or cut short.
    #[error("the results are not readable at line {line}, column {column}: {message}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// JSON, but without a version of the format.
    #[error("these are no results of fotaproof: the field `format` is missing or no whole number")]
    NoFormat,
    /// Of a version that this program does not read.
    #[error(
        "the results are of format {found}, and this version of fotaproof reads format {FORMAT}; read them with the version that wrote them"
    )]
    Version {
        /// The version in the file.
        found: u64,
    },
    /// The file could not be read at all.
    #[error("could not read the results: {0}")]
    Io(#[from] std::io::Error),
}

impl From<serde_json::Error> for ReadError {
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        // The place is told apart from the message.
        let message = text
            .rsplit_once(" at line ")
            .map_or(text.as_str(), |(message, _)| message);
        Self::Syntax {
            line: error.line(),
            column: error.column(),
            message: one_line(message),
        }
    }
}

#[derive(Deserialize)]
struct Head {
    format: Option<Value>,
}

/// The text of `results.json`. The version is this program's; a figure that is no finite number,
/// which JSON cannot say, is left out and told in the notes of its case.
///
/// # Errors
/// None that an IUT could cause; the serializer's are passed on.
pub fn render(results: &RunResults) -> Result<String, serde_json::Error> {
    let mut results = results.clone();
    results.format = FORMAT;
    for figure in [&mut results.seconds, &mut results.speed] {
        settle(figure);
    }
    for case in &mut results.cases {
        settle(&mut case.wall_ms);
        settle(&mut case.iut_ms);
        let notes = &mut case.notes;
        case.measurements.retain(|figure| {
            let sound = figure.value.is_finite();
            if !sound {
                notes.push(format!("the measurement `{}` gave no finite number", figure.name));
            }
            sound
        });
    }
    let mut text = serde_json::to_string_pretty(&results)?;
    text.push('\n');
    Ok(text)
}

fn settle(figure: &mut f64) {
    if !figure.is_finite() {
        *figure = 0.0;
    }
}

/// Reads the text of `results.json`. Fields that this version does not know are passed over:
/// within a version of the format, fields are only added.
///
/// # Errors
/// Text that is not JSON, another version of the format, a field of the wrong type.
pub fn read(text: &[u8]) -> Result<RunResults, ReadError> {
    let head: Head = match serde_json::from_slice(text) {
        Ok(head) => head,
        // JSON of another shape, an array for one.
        Err(error) if error.is_data() => return Err(ReadError::NoFormat),
        Err(error) => return Err(error.into()),
    };
    let found = head
        .format
        .as_ref()
        .and_then(Value::as_u64)
        .ok_or(ReadError::NoFormat)?;
    if found != u64::from(FORMAT) {
        return Err(ReadError::Version { found });
    }
    Ok(serde_json::from_slice(text)?)
}

/// Reads `results.json` from a file.
///
/// # Errors
/// Those of [`read`], and a file that cannot be read.
pub fn read_file(path: &Path) -> Result<RunResults, ReadError> {
    read(&std::fs::read(path)?)
}

/// Writes `results.json`, whole or not at all.
///
/// # Errors
/// Those of [`write_atomically`].
pub fn write_file(path: &Path, results: &RunResults) -> Result<(), WriteError> {
    let text = render(results).map_err(|error| WriteError::new(path, error.into()))?;
    write_atomically(path, text.as_bytes())
}

/// The JSON Schema of `results.json`, as committed under `testcases/schema/results.schema.json`.
/// It tells what is written, so a field that is always there is required.
#[must_use]
pub fn schema() -> String {
    let generator = SchemaSettings::draft07().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<RunResults>().to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), json!("Results of a run"));
    }
    if let Some(format) = schema.pointer_mut("/properties/format").and_then(Value::as_object_mut) {
        format.insert("const".to_owned(), json!(FORMAT));
    }
    format!("{schema:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CaseResult, Measurement};

    #[test]
    fn other_versions_and_other_files_are_told_apart() {
        let message = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
        assert!(message(r#"{"format": 2, "whatever": []}"#).contains("are of format 2"));
        assert!(message(r#"{"format": 0}"#).contains("are of format 0"));
        for text in ["{}", "[]", "7", r#"{"format": "1"}"#, r#"{"format": -1}"#] {
            assert!(matches!(read(text.as_bytes()), Err(ReadError::NoFormat)), "{text}");
        }
        assert!(matches!(
            read(b"{\"format\": 1,"),
            Err(ReadError::Syntax { line: 1, .. })
        ));
        assert!(matches!(read(b""), Err(ReadError::Syntax { .. })));
        assert!(matches!(read(b"\xff\xfe"), Err(ReadError::Syntax { .. })));
        assert!(message(r#"{"format": 1}"#).contains("missing field"));
    }

    #[test]
    fn fields_of_a_later_program_are_passed_over() {
        let mut value: Value = serde_json::from_str(&render(&RunResults::default()).unwrap()).unwrap();
        value["added"] = json!({"later": true});
        assert!(read(value.to_string().as_bytes()).is_ok());
    }

    #[test]
    fn a_figure_that_json_cannot_say_becomes_a_note() {
        let figure = |value| Measurement {
            name: "goodput".into(),
            value,
            unit: "B/s".into(),
        };
        let case = CaseResult {
            measurements: vec![figure(1.5), figure(f64::NAN)],
            wall_ms: f64::INFINITY,
            ..Default::default()
        };
        let results = RunResults {
            cases: vec![case],
            seconds: f64::NAN,
            ..Default::default()
        };
        let read = read(render(&results).unwrap().as_bytes()).unwrap();
        assert_eq!(read.cases[0].measurements, [figure(1.5)]);
        assert_eq!(read.cases[0].notes, ["the measurement `goodput` gave no finite number"]);
    }

    #[test]
    fn seeds_keep_all_their_bits() {
        let results = RunResults {
            format: FORMAT,
            seed: u64::MAX - 1,
            ..Default::default()
        };
        assert_eq!(read(render(&results).unwrap().as_bytes()).unwrap(), results);
    }
}
