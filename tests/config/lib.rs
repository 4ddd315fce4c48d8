//! The deployment files as data, for the tests that hold them against the code and against each other.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say where")]

mod compose;
mod kubernetes;
mod services;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_yaml_ng::Value;

pub use compose::Compose;
pub use kubernetes::Kubernetes;
pub use services::Program;

/// An environment as a deployment file sets it.
pub type Variables = BTreeMap<String, String>;

/// A path of the repository.
pub fn place(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

pub fn text(path: &str) -> String {
    std::fs::read_to_string(place(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

pub fn yaml(path: &str) -> Value {
    let mut value: Value = serde_yaml_ng::from_str(&text(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    // A block that is merged may merge another itself.
    for _ in 0..2 {
        value.apply_merge().unwrap();
    }
    value
}

/// The strings of a list, none where there is no list.
pub fn strings(list: &Value) -> Vec<&str> {
    list.as_sequence().into_iter().flatten().map(|item| item.as_str().unwrap()).collect()
}

/// The names in a mapping, none where there is no mapping.
pub fn names(mapping: &Value) -> Vec<&str> {
    mapping.as_mapping().into_iter().flatten().map(|(name, _)| name.as_str().unwrap()).collect()
}

/// What a file means by a plain value, be it quoted or not.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => serde_yaml_ng::to_string(other).unwrap().trim().to_owned(),
    }
}

/// All images that a file names, and where.
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
