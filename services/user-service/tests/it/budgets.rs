//! The budget of a user's changes of profile, password and second factor.

use serde_json::json;
use testkit::{Client, accepted, early_in_a_minute, eventually, redis_link};

use crate::app::{PASSWORD, TestApp};

async fn renames(client: &Client, name: &str, times: usize) -> usize {
    accepted(times, async || client.put("/profile/me", json!({"display_name": name})).await).await
}

#[tokio::test]
async fn changes_beyond_the_budget_are_refused_and_change_nothing() {
    let app = TestApp::start_with(&[("WRITE_LIMIT_PROFILE", "3")]).await;
    let (ann, bob) = (app.person("ann").await, app.person("bob").await);
    early_in_a_minute().await;
    assert_eq!(renames(&ann.client, "first", 3).await, 3);

    let (client, second) = (&ann.client, json!({"display_name": "second"}));
    let password = json!({"current_password": PASSWORD, "new_password": "An0ther-one!"});
    let (enrollment, both) =
        (json!({"current_password": PASSWORD}), json!({"current_password": PASSWORD, "code": "123456"}));
    assert_eq!(accepted(1, async || client.put("/profile/me", second.clone()).await).await, 0);
    assert_eq!(accepted(1, async || client.patch("/profile/me", second.clone()).await).await, 0);
    assert_eq!(accepted(1, async || client.put("/profile", second.clone()).await).await, 0);
    assert_eq!(accepted(1, async || client.put("/auth/password", password.clone()).await).await, 0);
    assert_eq!(accepted(1, async || client.post("/auth/mfa", enrollment.clone()).await).await, 0);
    assert_eq!(accepted(1, async || client.post("/auth/mfa/recovery-codes", both.clone()).await).await, 0);
    assert_eq!(accepted(1, async || client.post("/auth/mfa/disable", both.clone()).await).await, 0);

    assert_eq!(ann.client.get("/profile/me").await.expect(200)["display_name"], "first");
    assert_eq!(renames(&bob.client, "a budget of their own", 1).await, 1);
    // The password is the old one, and logins have other budgets.
    app.log_in("ann").await;
    let metrics = app.anonymous().get("/metrics").await.text;
    assert!(metrics.contains(r#"write_budget_refused_total{budget="profile",service="user-service"} 7"#));
}

#[tokio::test]
async fn replicas_share_the_budget() {
    let app = TestApp::start_with(&[("WRITE_LIMIT_PROFILE", "10")]).await;
    let replica = app.replica().await;
    let next = std::sync::atomic::AtomicU64::new(1);

    // An attempt may fall into two minutes, and a loaded machine may miss the deadline for Redis.
    eventually("the replicas accept the budget together", || async {
        let ann = app.person(&format!("ann_{}", next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))).await;
        let at_replica = replica.client(ann.client.token());
        let (here, there) = (renames(&ann.client, "here", 6).await, renames(&at_replica, "there", 6).await);
        assert!(here == 6 && there >= 4, "{here} and {there}");
        (there == 4).then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_redis_changes_are_accepted_and_bounded() {
    let (link, through_link) = redis_link().await;
    let [(name, url)] = &through_link;
    let app = TestApp::start_with(&[("WRITE_LIMIT_PROFILE", "10"), (name, url)]).await;
    let ann = app.person("ann").await;
    link.set_faulty(true);
    early_in_a_minute().await;

    assert_eq!(renames(&ann.client, "alone", 15).await, 10);
    assert!(link.cuts() > 0);
}
