//! The API document, and what every service answers.

use serde_json::json;
use testkit::described;

use crate::stage::Stage;

#[tokio::test]
async fn every_endpoint_is_described_with_its_errors() {
    let stage = Stage::start().await;

    let document = stage.stranger().get("/openapi.json").await.expect(200);

    assert_eq!(
        described(&document),
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
    let security = &document["paths"]["/profile/me"]["get"]["security"];
    assert_eq!(security, &json!([{"bearer": []}, {"password": []}]), "Authorize counts for it either way");
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
