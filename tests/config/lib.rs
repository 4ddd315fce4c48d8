//! The deployment files as data, for the tests that compare them with the code and with each other.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

mod compose;
mod kubernetes;
mod services;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_yaml_ng::Value;

pub use compose::Compose;
pub use kubernetes::{Kubernetes, documents};
pub use services::Program;

/// The environment variables that a deployment file sets.
pub type Variables = BTreeMap<String, String>;

/// The absolute path of a file in the repository.
pub fn repository_path(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The content of a file in the repository.
pub fn text(path: &str) -> String {
    std::fs::read_to_string(repository_path(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The YAML document in a file, with its merge keys applied.
pub fn yaml(path: &str) -> Value {
    let mut value: Value = serde_yaml_ng::from_str(&text(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    // A merged block may contain a merge key itself.
    for _ in 0..2 {
        value.apply_merge().unwrap();
    }
    value
}

/// The strings of a list. Anything but a list has none.
pub fn strings(list: &Value) -> Vec<&str> {
    list.as_sequence().into_iter().flatten().map(|item| item.as_str().unwrap()).collect()
}

/// The keys of a mapping. Anything but a mapping has none.
pub fn names(mapping: &Value) -> Vec<&str> {
    mapping.as_mapping().into_iter().flatten().map(|(name, _)| name.as_str().unwrap()).collect()
}

/// A scalar as text, regardless of its quotes.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => serde_yaml_ng::to_string(other).unwrap().trim().to_owned(),
    }
}

/// All images that a document names.
pub fn images(value: &Value) -> Vec<String> {
    match value {
        Value::Mapping(fields) => {
            let own = fields.get("image").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(fields.values().flat_map(images)).collect()
        }
        Value::Sequence(items) => items.iter().flat_map(images).collect(),
        _ => Vec::new(),
    }
}
