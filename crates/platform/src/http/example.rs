//! Examples in the API document: each body gets a whole one, put together from those of its fields. A service gives those of its streams.

use serde_json::{Map, Value, json};

/// Limit on the depth of an example; a schema that contains itself ends there.
const MAX_DEPTH: usize = 16;

/// The time in examples of times.
const TIME: &str = "2026-11-24T13:09:10.500Z";

/// Adds examples to the bodies of requests and of successful answers that have none.
pub(super) fn add_examples(document: &mut Value) {
    let schemas = document["components"]["schemas"].take();
    let operations = document["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    let operations = operations.filter_map(Value::as_object_mut).flat_map(Map::values_mut);
    for operation in operations {
        complete(operation.pointer_mut("/requestBody/content"), &schemas);
        for (status, response) in
            operation.pointer_mut("/responses").and_then(Value::as_object_mut).into_iter().flatten()
        {
            if status.starts_with('2') {
                complete(response.get_mut("content"), &schemas);
            }
        }
    }
    document["components"]["schemas"] = schemas;
}

fn complete(content: Option<&mut Value>, schemas: &Value) {
    for body in content.and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        if body.get("example").or_else(|| body.get("examples")).is_none() {
            body["example"] = example(&body["schema"], schemas, 0);
        }
    }
}

/// An example that satisfies a schema.
fn example(schema: &Value, schemas: &Value, depth: usize) -> Value {
    if depth > MAX_DEPTH {
        return Value::Null;
    }
    let given = schema.get("example").or_else(|| schema["examples"].get(0)).or_else(|| schema.get("default"));
    if let Some(example) = given.or_else(|| schema["enum"].get(0)) {
        return example.clone();
    }
    let of = |schema: &Value| example(schema, schemas, depth + 1);
    if let Some(reference) = schema["$ref"].as_str() {
        return of(&schemas[reference.rsplit('/').next().unwrap_or_default()]);
    }
    if let Some(parts) = schema["allOf"].as_array() {
        let parts = parts.iter().filter_map(|part| of(part).as_object().cloned());
        return parts.flatten().collect::<Map<_, _>>().into();
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        return choices.iter().find(|choice| choice["type"] != "null").map_or(Value::Null, of);
    }
    match schema["type"].as_str() {
        Some("object") => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            fields.map(|(name, field)| (name.clone(), of(field))).collect::<Map<_, _>>().into()
        }
        Some("array") => json!([of(&schema["items"])]),
        Some("integer") => schema.get("minimum").cloned().unwrap_or(json!(1)),
        Some("boolean") => json!(false),
        Some("string") => match schema["format"].as_str() {
            Some("date-time") => json!(TIME),
            Some("uuid") => json!("01936f6e-5c5a-7c3e-9a0b-3f1d2e4c5b6a"),
            _ => json!("text"),
        },
        // A value that may be null has two types. Without an example it is absent.
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_gets_the_examples_of_its_fields() {
        let mut document = json!({
            "paths": {"/rooms": {"get": {"responses": {
                "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Room"}}}},
                "404": {"content": {"application/json": {"schema": {"type": "string"}}}}
            }}}},
            "components": {"schemas": {
                "Room": {"type": "object", "properties": {
                    "id": {"type": "integer", "minimum": 1},
                    "name": {"type": ["string", "null"]},
                    "size": {"type": ["integer", "null"]},
                    "deleted_at": {"type": ["string", "null"], "format": "date-time"},
                    "kind": {"type": "string", "enum": ["direct", "group"]},
                    "last": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Time"}]},
                    "members": {"type": "array", "items": {"type": "string", "example": "minjun"}},
                    "parent": {"$ref": "#/components/schemas/Loop"}
                }},
                "Time": {"type": "string", "format": "date-time"},
                "Loop": {"$ref": "#/components/schemas/Loop"}
            }}
        });

        add_examples(&mut document);

        let responses = &document["paths"]["/rooms"]["get"]["responses"];
        assert_eq!(
            responses["200"]["content"]["application/json"]["example"],
            json!({"id": 1, "deleted_at": null, "kind": "direct", "last": TIME, "members": ["minjun"], "name": null, "parent": null, "size": null})
        );
        assert!(responses["404"]["content"]["application/json"]["example"].is_null());
        assert!(document["components"]["schemas"]["Room"].is_object());
    }
}
