//! Whether an OpenAPI document holds together.

use std::collections::HashSet;

use serde_json::Value;

/// The operations that a document describes, in order, as `get /path`. Panics at the first one that lacks a summary,
/// answers for good and bad, or a name of its own, and at the first reference that leads nowhere.
pub fn described(document: &Value) -> Vec<String> {
    let mut references = Vec::new();
    collect_references(document, &mut references);
    for reference in references {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference} leads nowhere");
    }
    let (mut operations, mut names) = (Vec::new(), HashSet::new());
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let this = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{this} has no summary");
            assert!(operation["responses"].as_object().unwrap().len() >= 2, "{this} has only one answer");
            assert!(names.insert(operation["operationId"].as_str().unwrap()), "{this} has the name of another");
            operations.push(this);
        }
    }
    operations.sort_unstable();
    operations
}

fn collect_references(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            into.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect_references(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| collect_references(value, into)),
        _ => {}
    }
}
