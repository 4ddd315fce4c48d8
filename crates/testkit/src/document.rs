//! Checks of an OpenAPI document.

use std::collections::HashSet;

use serde_json::Value;

/// The operations of a document, sorted, in the form `get /path`.
///
/// # Panics
/// Panics if an operation lacks a summary, a success and an error response, a description of a response, a statement on
/// security, or a unique id in camel case; if a parameter or a field with a default is required; or if a reference is broken.
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
            assert!(operation["security"].is_array(), "{this} does not say whether it needs a token");
            for (status, response) in operation["responses"].as_object().unwrap() {
                let described = response["description"].as_str().is_some_and(|text| !text.is_empty());
                assert!(described, "{this} does not describe its {status}");
            }
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let optional = parameter["required"] == false || parameter["schema"]["default"].is_null();
                let plain = parameter["schema"]["type"].is_string() || parameter["schema"]["$ref"].is_string();
                assert!(optional && plain, "{this} has the parameter {parameter}");
            }
            let name = operation["operationId"].as_str().unwrap();
            assert!(name.starts_with(char::is_lowercase) && !name.contains('_'), "{name} is not in camel case");
            assert!(names.insert(name), "{this} has the id of another operation");
            operations.push(this);
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for field in schema["required"].as_array().into_iter().flatten() {
            assert!(schema["properties"][field.as_str().unwrap()]["default"].is_null(), "{name} requires {field}");
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
