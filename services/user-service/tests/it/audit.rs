//! The audit log: one line for each act, with ids only.

use serde_json::json;
use testkit::AuditLog;

use crate::app::{PASSWORD, TestApp};
use crate::second_factor::{code, enable};
use crate::sessions::refresh;

#[tokio::test]
async fn every_act_on_an_account_is_in_the_audit_log_with_its_outcome() {
    let app = TestApp::start().await;
    let log = AuditLog::record();
    let ann = app.person("ann").await;
    let sid = ann.client.get("/auth/sessions").await.expect(200)[0]["sid"].as_str().unwrap().to_owned();
    let wrong = json!({"email": ann.email, "password": "Wr0ng-password!"});
    app.anonymous().post("/auth/login/json", wrong).await.expect(401);
    let change = json!({"current_password": "Wr0ng-password!", "new_password": "An0ther-passw0rd!"});
    ann.client.put("/auth/password", change).await.expect(400);
    let change = json!({"current_password": PASSWORD, "new_password": "An0ther-passw0rd!"});
    ann.client.put("/auth/password", change).await.expect(200);
    let change = json!({"current_password": "An0ther-passw0rd!", "new_password": PASSWORD});
    ann.client.put("/auth/password", change).await.expect(200);
    let (secret, first) = enable(&ann).await;
    let both = json!({"current_password": PASSWORD, "code": code(&secret, 30)});
    let renewed = ann.client.post("/auth/mfa/recovery-codes", both.clone()).await.expect(200);
    ann.client.post("/auth/mfa/recovery-codes", both).await.expect(400);
    let recovery: Vec<String> = serde_json::from_value(renewed["recovery_codes"].clone()).unwrap();
    let both = json!({"current_password": PASSWORD, "code": recovery[0]});
    ann.client.post("/auth/mfa/disable", both.clone()).await.expect(200);
    ann.client.post("/auth/mfa/disable", both).await.expect(400);
    let second = refresh(&app, &ann.token).await.expect(200);
    refresh(&app, &second).await.expect(200);
    refresh(&app, &ann.token).await.expect(401);
    let (desk, ann) = (app.log_in("ann").await, app.log_in("ann").await);
    let sessions = desk.client.get("/auth/sessions").await.expect(200);
    let ended = sessions.as_array().unwrap().iter().find(|session| session["current"] == true).unwrap();
    let ended = ended["sid"].as_str().unwrap();
    ann.client.delete(&format!("/auth/sessions/{ended}")).await.expect(200);
    ann.client.delete(&format!("/auth/sessions/{ended}")).await.expect(404);
    ann.client.post("/auth/logout", json!({})).await.expect(200);

    let lines = log.take();
    let text = serde_json::to_string(&lines).unwrap();
    for private in [&*ann.email, PASSWORD, "Wr0ng", "An0ther", &first[0], &recovery[0], ann.client.token()] {
        assert!(!text.contains(private), "{private}: {text}");
    }
    assert!(lines.iter().all(|line| line["address"] == "127.0.0.1"), "{text}");
    let id = ann.id;
    let last = lines.last().unwrap()["object"].as_str().unwrap();
    let acts: Vec<_> = lines.iter().map(AuditLog::act).collect();
    assert_eq!(
        acts,
        [
            format!("register success - {id} "),
            format!("login success - {id} {sid}"),
            format!("login refused authentication_error {id} "),
            format!("password_change refused business_logic_error {id} "),
            format!("password_change success - {id} "),
            format!("password_change success - {id} "),
            format!("second_factor_enroll success - {id} "),
            format!("second_factor_enable success - {id} "),
            format!("recovery_codes_renew success - {id} "),
            format!("recovery_codes_renew refused MFA_INVALID {id} "),
            format!("second_factor_disable success - {id} "),
            format!("second_factor_disable refused MFA_INVALID {id} "),
            format!("refresh_token_reuse refused authentication_error {id} {sid}"),
            format!("login success - {id} {ended}"),
            format!("login success - {id} {last}"),
            format!("session_end success - {id} {ended}"),
            format!("session_end refused resource_not_found {id} {ended}"),
            format!("logout success - {id} {last}"),
        ]
    );
}
