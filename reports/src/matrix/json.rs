//! `matrix.json`.

use std::path::Path;

use schemars::generate::SchemaSettings;
use serde_json::json;

use super::{FORMAT, MatrixResults};
use crate::write::{WriteError, write_atomically};

/// Name of the file in the folder of a run.
pub const FILE: &str = "matrix.json";

/// The text of `matrix.json`. A figure that is no finite number, which JSON cannot say, becomes 0.
///
/// # Errors
/// None that a peer could cause; the serializer's are passed on.
pub fn render(results: &MatrixResults) -> Result<String, serde_json::Error> {
    let mut results = results.clone();
    results.format = FORMAT;
    settle(&mut results.seconds);
    if !(results.speed.is_finite() && results.speed >= 1.0) {
        results.speed = 1.0;
    }
    for cell in &mut results.cells {
        settle(&mut cell.wall_ms);
        if let Some(measured) = &mut cell.measured {
            for figure in [
                &mut measured.update_s,
                &mut measured.transfer_s,
                &mut measured.goodput,
                &mut measured.air_per_byte,
            ] {
                settle(figure);
            }
        }
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

/// Reads the text of `matrix.json`; fields that this version does not know are passed over.
///
/// # Errors
/// Text that is not JSON of this format.
pub fn read(text: &[u8]) -> Result<MatrixResults, serde_json::Error> {
    serde_json::from_slice(text)
}

/// Writes `matrix.json`, whole or not at all.
///
/// # Errors
/// Those of [`write_atomically`].
pub fn write_file(path: &Path, results: &MatrixResults) -> Result<(), WriteError> {
    let text = render(results).map_err(|error| WriteError::new(path, error.into()))?;
    write_atomically(path, text.as_bytes())
}

/// The JSON Schema of `matrix.json`, as committed under `testcases/schema/matrix.schema.json`.
#[must_use]
pub fn schema() -> String {
    let generator = SchemaSettings::draft07().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<MatrixResults>().to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), json!("Results of a matrix"));
    }
    if let Some(format) = schema
        .pointer_mut("/properties/format")
        .and_then(serde_json::Value::as_object_mut)
    {
        format.insert("const".to_owned(), json!(FORMAT));
    }
    format!("{schema:#}\n")
}
