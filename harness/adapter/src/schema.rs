//! JSON Schema of both directions, generated from the types.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

use crate::{Message, Request};

/// The schemas: the name of the file under `testcases/schema/` and its text.
#[must_use]
pub fn schemas() -> Vec<(&'static str, String)> {
    let mut message = schema_of::<Message>("Adapter protocol: a line of the adapter");
    // what the types cannot say: a reply has one of the two, and an event is an event whatever else it has
    if let Some(reply) = message.pointer_mut("/definitions/Reply").and_then(Value::as_object_mut) {
        reply.insert(
            "oneOf".to_owned(),
            json!([{"required": ["ok"]}, {"required": ["error"]}]),
        );
        reply.insert("not".to_owned(), json!({"required": ["event"]}));
    }
    let request = schema_of::<Request>("Adapter protocol: a line of the harness");
    vec![
        ("adapter-message.schema.json", format!("{message:#}\n")),
        ("adapter-request.schema.json", format!("{request:#}\n")),
    ]
}

fn schema_of<T: JsonSchema>(title: &str) -> Value {
    let mut schema = SchemaSettings::draft07()
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    if let Value::Object(root) = &mut schema {
        root.insert("title".to_owned(), json!(title));
    }
    schema
}
