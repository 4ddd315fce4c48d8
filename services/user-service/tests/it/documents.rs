//! The API document, and what every service answers.

use serde_json::{Value, json};

use crate::stage::Stage;

#[tokio::test]
async fn every_endpoint_is_described_with_its_errors() {
    let stage = Stage::start().await;

    let document = stage.stranger().get("/openapi.json").await.expect(200);

    let mut described = Vec::new();
    let mut ids = std::collections::HashSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path}");
            assert!(operation["responses"].as_object().unwrap().len() >= 2, "{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{method} {path}");
            described.push(format!("{method} {path}"));
        }
    }
    described.sort_unstable();
    assert_eq!(
        described,
        [
            "delete /auth/sessions/{sid}",
            "get /auth/sessions",
            "get /profile/me",
            "get /profile/{user_id}",
            "get /users",
            "get /users/search",
            "get /users/{user_id}",
            "get /users/{user_id}/exists",
            "patch /profile/me",
            "post /auth/heartbeat",
            "post /auth/login",
            "post /auth/login/json",
            "post /auth/logout",
            "post /auth/refresh",
            "post /auth/register",
            "post /users/batch",
            "put /auth/password",
            "put /profile/me",
        ]
    );
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!(schemes["bearer"]["scheme"], "bearer");
    assert_eq!(schemes["password"]["flows"]["password"]["tokenUrl"], "/auth/login");
}

#[tokio::test]
async fn every_reference_of_the_document_leads_somewhere() {
    let stage = Stage::start().await;
    let document = stage.stranger().get("/openapi.json").await.expect(200);

    fn references(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                into.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|v| references(v, into));
            }
            Value::Array(items) => items.iter().for_each(|v| references(v, into)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    references(&document, &mut all);
    assert!(!all.is_empty());
    for reference in all {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn the_service_says_who_it_is() {
    let stage = Stage::start().await;
    let anyone = stage.stranger();

    assert_eq!(anyone.get("/health").await.expect(200), json!({"status": "healthy", "service": "User Service"}));
    assert_eq!(anyone.get("/").await.expect(200)["status"], "running");
    assert_eq!(anyone.get("/nothing").await.expect(404)["detail"], "Not Found");
    anyone.delete("/auth/login").await.expect(405);
}
