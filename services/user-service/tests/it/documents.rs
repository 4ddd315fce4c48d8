//! The OpenAPI document and the endpoints that every service has.

use serde_json::json;
use testkit::operations;

use crate::app::TestApp;

#[tokio::test]
async fn every_endpoint_is_documented_with_its_errors() {
    let app = TestApp::start().await;

    let document = app.anonymous().get("/openapi.json").await.expect(200);

    assert_eq!(
        operations(&document),
        [
            "delete /auth/sessions/{sid}",
            "get /.well-known/jwks.json",
            "get /auth/mfa",
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
            "post /auth/mfa",
            "post /auth/mfa/confirm",
            "post /auth/mfa/disable",
            "post /auth/mfa/recovery-codes",
            "post /auth/refresh",
            "post /auth/register",
            "post /users/batch",
            "put /auth/password",
            "put /profile/me",
        ]
    );
    let has_no_security = |operation: &&String| {
        let (method, path) = operation.split_once(' ').unwrap();
        document["paths"][path][method]["security"] == json!([])
    };
    // The gateway counts these by network, except the keys, which it does not route: add another one to kong.yml.
    assert_eq!(
        operations(&document).iter().filter(has_no_security).collect::<Vec<_>>(),
        [
            "get /.well-known/jwks.json",
            "post /auth/login",
            "post /auth/login/json",
            "post /auth/refresh",
            "post /auth/register",
        ]
    );
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!(schemes["bearer"]["scheme"], "bearer");
    assert_eq!(schemes["password"]["flows"]["password"]["tokenUrl"], "/auth/login");
    let security = &document["paths"]["/profile/me"]["get"]["security"];
    assert_eq!(
        security,
        &json!([{"bearer": []}, {"password": []}]),
        "Swagger's Authorize button works with either scheme"
    );
}

#[tokio::test]
async fn the_service_reports_its_name_and_status() {
    let app = TestApp::start().await;
    let anonymous = app.anonymous();

    assert_eq!(anonymous.get("/health").await.expect(200), json!({"status": "healthy", "service": "User Service"}));
    assert_eq!(anonymous.get("/").await.expect(200)["status"], "running");
    assert_eq!(anonymous.get("/nothing").await.expect(404)["detail"], "Not Found");
    anonymous.delete("/auth/login").await.expect(405);
}

#[test]
fn no_refusal_is_large_or_slow() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_app, client) = runtime.block_on(async {
        let app = TestApp::start().await;
        let client = app.person("ann").await.client;
        (app, client)
    });

    testkit::assert_refusals_are_bounded(&runtime, &client);
}
