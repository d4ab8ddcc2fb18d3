//! JSON Schema of everything that people write, for editors: generated from the types.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::ast::{Case, Network};
use crate::clauses::ClauseEntry;
use crate::manifest::{ExpectedFailure, Manifest};
use crate::node::{Kind, Node};

/// All schemas: the name of the file under `testcases/schema/` and its text.
#[must_use]
pub fn schemas() -> Vec<(&'static str, String)> {
    [
        ("case.schema.json", case_schema()),
        ("clauses.schema.json", schema_of::<Vec<ClauseEntry>>("Clauses", false)),
        (
            "expected-failures.schema.json",
            schema_of::<Vec<ExpectedFailure>>("Expected failures", false),
        ),
        ("manifest.schema.json", schema_of::<Manifest>("IUT manifest", false)),
        ("network.schema.json", schema_of::<Network>("Network", true)),
    ]
    .into_iter()
    .map(|(name, schema)| (name, format!("{schema:#}\n")))
    .collect()
}

fn schema_of<T: JsonSchema>(title: &str, placeholders: bool) -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    if placeholders {
        admit_placeholders(&mut schema);
    }
    if let Value::Object(root) = &mut schema {
        root.insert("title".to_owned(), json!(title));
    }
    schema
}

fn case_schema() -> Value {
    let mut schema = schema_of::<Case>("Case", true);
    // What the loader works out before the types see it.
    let scalar = json!({"type": ["string", "number", "boolean"]});
    let value = json!({"anyOf": [scalar, {"type": "array", "items": scalar}]});
    if let Some(properties) = schema.pointer_mut("/properties").and_then(Value::as_object_mut) {
        properties.insert(
            "include".to_owned(),
            json!({
                "description": "Files with defaults for this one, relative to it.",
                "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
            }),
        );
        properties.insert(
            "for".to_owned(),
            json!({
                "description": "Names with lists of values: a variant for each combination.",
                "type": "object",
                "minProperties": 1,
                "additionalProperties": {"type": "array", "minItems": 1, "items": value}
            }),
        );
        for key in ["given", "steps"] {
            if let Some(list) = properties.get_mut(key).and_then(Value::as_object_mut) {
                list.insert(
                    "items".to_owned(),
                    json!({"anyOf": [{"$ref": "#/definitions/Step"}, {"$ref": "#/definitions/Each"}]}),
                );
            }
        }
    }
    if let Some(definitions) = schema.pointer_mut("/definitions").and_then(Value::as_object_mut) {
        definitions.insert(
            "Each".to_owned(),
            json!({
                "description": "Repeats steps for each combination of the values.",
                "type": "object",
                "required": ["each", "steps"],
                "additionalProperties": false,
                "properties": {
                    "each": {"type": "object", "minProperties": 1, "additionalProperties": {"type": "array", "minItems": 1}},
                    "steps": {"type": "array", "items": {"anyOf": [{"$ref": "#/definitions/Step"}, {"$ref": "#/definitions/Each"}]}}
                }
            }),
        );
    }
    schema
}

/// The text of a placeholder that stands for a whole value.
const PLACEHOLDER: &str = "^.*\\{[a-z][a-z0-9_.-]*\\}.*$";

/// Lets a text with a placeholder stand wherever a scalar may.
fn admit_placeholders(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(admit_placeholders),
        Value::Object(object) => {
            // The keys of `properties` and `definitions` are names, not keywords.
            for keyword in ["properties", "definitions", "patternProperties"] {
                if let Some(Value::Object(named)) = object.get_mut(keyword) {
                    named.values_mut().for_each(admit_placeholders);
                }
            }
            for keyword in ["items", "additionalProperties", "anyOf", "oneOf", "allOf", "not"] {
                if let Some(inner) = object.get_mut(keyword) {
                    admit_placeholders(inner);
                }
            }
            if needs_placeholder(object) {
                let mut plain = std::mem::take(object);
                let description = plain.remove("description");
                if let Some(description) = description {
                    object.insert("description".to_owned(), description);
                }
                if let Some(default) = plain.remove("default") {
                    object.insert("default".to_owned(), default);
                }
                object.insert(
                    "anyOf".to_owned(),
                    json!([plain, {"type": "string", "pattern": PLACEHOLDER}]),
                );
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whether the schema is of a scalar that refuses some texts.
fn needs_placeholder(object: &Map<String, Value>) -> bool {
    let scalar = |kind: &Value| {
        matches!(
            kind.as_str(),
            Some("integer" | "number" | "boolean" | "string" | "null")
        )
    };
    let types = match object.get("type") {
        Some(Value::Array(all)) => all.iter().all(scalar),
        Some(one) => scalar(one),
        None => false,
    };
    let string = match object.get("type") {
        Some(Value::Array(all)) => all.iter().any(|kind| kind == "string"),
        Some(one) => one == "string",
        None => false,
    };
    let limited = ["enum", "pattern", "const", "format", "maxLength"]
        .iter()
        .any(|keyword| object.contains_key(*keyword));
    (types && (!string || limited))
        || (object.contains_key("enum") && !object.contains_key("type"))
        || object.contains_key("const")
}

/// A node as JSON, as an editor sees it: plain numbers are numbers, quoted ones texts.
#[must_use]
pub fn to_json(node: &Node) -> Value {
    match &node.kind {
        Kind::Seq(items) => Value::Array(items.iter().map(to_json).collect()),
        Kind::Map(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, value)| (key.text.clone(), to_json(value)))
                .collect(),
        ),
        Kind::Scalar { text, quoted: true } => Value::String(text.clone()),
        Kind::Scalar { .. } if node.is_null() => Value::Null,
        Kind::Scalar { text, .. } => match text.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            other => other
                .parse::<i64>()
                .map(Value::from)
                .or_else(|_| {
                    other
                        .parse::<f64>()
                        .ok()
                        .filter(|n| n.is_finite())
                        .map(Value::from)
                        .ok_or(())
                })
                .unwrap_or_else(|()| Value::String(other.to_owned())),
        },
    }
}
