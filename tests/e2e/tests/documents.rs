//! The API document of the whole system, `infrastructure/docker/web/openapi.json`: the documents of the three services without the
//! operations that the gateway does not route. `INSTA_UPDATE=always` writes it anew.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use std::collections::BTreeSet;
use std::{env, fs};

use serde_json::{Map, Value, json};
use testkit::Client;

const MERGED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infrastructure/docker/web/openapi.json");
const GUIDE: &str = include_str!("../../../docs/streaming.md");

/// The tag of operations that only services call.
const INTERNAL: &str = "services";

/// The documents of the services, as the running system answers them.
async fn documents() -> Vec<Value> {
    let mut documents = Vec::new();
    for variable in ["USER_URL", "FRIEND_URL", "CHAT_URL"] {
        let url = env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run `cargo stack test`"));
        documents.push(Client::new(&url, "").get("/openapi.json").await.expect(200));
    }
    documents
}

/// Adds the entries of an object to another one.
///
/// # Panics
/// Panics if both have an entry of one name with different values.
fn merge(into: &mut Value, from: &Value) {
    for (name, value) in from.as_object().into_iter().flatten() {
        let present = into.as_object_mut().unwrap().entry(name.clone()).or_insert_with(|| value.clone());
        assert_eq!(present, value, "two services document {name} differently");
    }
}

fn merged(documents: &[Value]) -> Value {
    let info = json!({
        "title": "BigTech Chat",
        "version": env!("CARGO_PKG_VERSION"),
        "license": documents[0]["info"]["license"],
        "description": "The API of all services, as the gateway routes it. Any operation can also answer 404, 405, 408, 414, 429, 431, 500, 502, 503 or \
            504, some of them by the gateway with another body: docs/errors.md explains them.",
    });
    let mut paths = json!({});
    let (mut schemas, mut schemes) = (json!({}), json!({}));
    for document in documents {
        let mut routed = Map::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            let public = |(_, operation): &(&String, &Value)| operation["tags"][0] != INTERNAL;
            let public: Map<_, _> =
                operations.as_object().unwrap().iter().filter(public).map(|(m, o)| (m.clone(), o.clone())).collect();
            if !public.is_empty() {
                routed.insert(path.clone(), public.into());
            }
        }
        merge(&mut paths, &routed.into());
        merge(&mut schemas, &document["components"]["schemas"]);
        merge(&mut schemes, &document["components"]["securitySchemes"]);
    }
    // The limit of a message is a setting of each deployment. This is its greatest value; a service's own document has the set one.
    schemas["Text1To10000"]["maxLength"] = json!(10_000);
    if let Some(flow) = schemes.pointer_mut("/password/flows/password/tokenUrl") {
        *flow = json!("/api/auth/login");
    }
    // The schemas of operations that are left out.
    let mut used = BTreeSet::new();
    collect(&paths, &schemas, &mut used);
    schemas.as_object_mut().unwrap().retain(|name, _| used.contains(name));
    json!({
        "openapi": "3.1.0",
        "info": info,
        "servers": [{"url": "/api"}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": schemes},
    })
}

/// The names of the schemas that a value refers to, also through other schemas.
fn collect(value: &Value, schemas: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(name) = fields.get("$ref").and_then(|to| to.as_str()?.rsplit('/').next())
                && into.insert(name.to_owned())
            {
                collect(&schemas[name], schemas, into);
            }
            fields.values().for_each(|value| collect(value, schemas, into));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, schemas, into)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_of_the_system_is_that_of_its_services() {
    let merged = merged(&documents().await);
    if env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        fs::write(MERGED, format!("{}\n", serde_json::to_string_pretty(&merged).unwrap())).unwrap();
    }

    let stored: Value = serde_json::from_str(&fs::read_to_string(MERGED).unwrap()).unwrap();
    assert!(stored == merged, "run the test with INSTA_UPDATE=always");
    // Also fails for an operation id that two services have.
    assert!(testkit::operations(&merged).len() > 50);
}

#[tokio::test]
async fn the_guide_has_every_event_of_the_streams() {
    let documents = documents().await;
    let events = documents[2]["components"]["schemas"]["StreamEvent"]["oneOf"].as_array().unwrap();
    assert!(events.len() > 10);
    for event in events {
        let name = event["properties"]["event"]["enum"][0].as_str().unwrap();
        assert!(GUIDE.contains(&format!("\n| `{name}` |")), "docs/streaming.md has no row for {name}");
    }
}
