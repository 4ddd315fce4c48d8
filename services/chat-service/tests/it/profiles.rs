//! The profiles of users, as events and user-service tell them.

use std::time::Duration;

use common::events::user::{UserProfileUpdated, UserRegistered};
use common::id::UserId;
use testkit::eventually;
use uuid::Uuid;

use crate::app::TestApp;

#[tokio::test]
async fn a_registration_that_is_delivered_twice_does_not_replace_a_newer_profile() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let bob = app.person(2);
    let group = bob.group_with(&[3, 21]).await;
    let name = async || {
        let group = bob.client.get(&format!("/chat-rooms/{group}")).await.expect(200);
        group["participants"][2]["username"].as_str().unwrap().to_owned()
    };
    let (user_id, id) = (UserId(21), Uuid::now_v7());
    let registered = UserRegistered {
        user_id,
        email: "old@example.com".to_owned(),
        username: "old".to_owned(),
        display_name: "old".to_owned(),
    };
    // The replica misses the events of the time before it follows the topic.
    eventually("the registration is known", async || {
        app.publish_as(id, &registered, 1).await;
        (name().await == "old").then_some(())
    })
    .await;
    app.publish(&UserProfileUpdated { user_id, display_name: None, status_message: None }, 2).await;
    eventually("the profile is loaded anew", async || (name().await == "person_21").then_some(())).await;

    app.publish_as(id, &registered, 1).await;

    for _ in 0..40 {
        assert_eq!(name().await, "person_21");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
