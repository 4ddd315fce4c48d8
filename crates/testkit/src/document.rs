//! Checks of an OpenAPI document.

use std::collections::HashSet;

use serde_json::Value;

/// The operations of a document, sorted, in the form `get /path`.
///
/// # Panics
/// Panics if an operation lacks a summary, a success and an error response, or a unique id, or if a reference is
/// broken.
pub fn operations(document: &Value) -> Vec<String> {
    let mut references = Vec::new();
    collect_references(document, &mut references);
    for reference in references {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference} is a broken reference");
    }
    let (mut operations, mut names) = (Vec::new(), HashSet::new());
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let this = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{this} has no summary");
            assert!(operation["responses"].as_object().unwrap().len() >= 2, "{this} has only one response");
            assert!(names.insert(operation["operationId"].as_str().unwrap()), "{this} has the id of another operation");
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
