//! One's own profile.

use serde_json::{Value, json};

use crate::stage::Stage;

#[tokio::test]
async fn a_profile_shows_its_owner_the_e_mail_too() {
    let stage = Stage::start().await;
    let ann = stage.person("ann").await;

    for path in ["/profile/me", "/api/profile/me", "/profile/me/", "/profile"] {
        let profile = ann.client.get(path).await.expect(200);
        assert_eq!(profile["id"], ann.id, "{path}");
        assert_eq!(profile["email"], "ann@example.com");
        assert_eq!(profile["nickname"], "ann");
        assert_eq!(profile["is_online"], true);
        for field in ["display_name", "status_message", "profile_image_url", "last_seen_at"] {
            assert_eq!(profile[field], Value::Null, "{field}");
            assert!(profile.as_object().unwrap().contains_key(field));
        }
    }
}

#[tokio::test]
async fn what_is_absent_or_null_stays_and_an_empty_text_clears() {
    let stage = Stage::start().await;
    let ann = stage.person("ann").await;
    let all =
        json!({"display_name": " 앤 ", "status_message": "회의 중", "profile_image_url": "https://a.example/b.png"});

    let profile = ann.client.put("/profile/me", all).await.expect(200);
    assert_eq!(profile["display_name"], "앤");
    assert_eq!(profile["status_message"], "회의 중");
    assert_eq!(profile["profile_image_url"], "https://a.example/b.png");

    let profile = ann.client.patch("/profile/me", json!({"display_name": null})).await.expect(200);
    assert_eq!(profile["display_name"], "앤");

    let cleared = json!({"display_name": "", "status_message": "", "profile_image_url": ""});
    let profile = ann.client.put("/api/profile/me", cleared).await.expect(200);
    for field in ["display_name", "status_message", "profile_image_url"] {
        assert_eq!(profile[field], Value::Null);
    }
    assert_eq!(ann.client.put("/profile/me", json!({})).await.expect(200), profile);
}

#[tokio::test]
async fn every_broken_field_is_named() {
    let stage = Stage::start().await;
    let ann = stage.person("ann").await;
    let broken = json!({
        "display_name": "x".repeat(101), "status_message": "x".repeat(501), "profile_image_url": "http://a.example",
    });

    let body = ann.client.put("/profile/me", broken).await.expect(422);

    let mut kinds: Vec<_> = body["detail"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["string_too_long", "string_too_long", "value_error"]);
}

#[tokio::test]
async fn a_change_is_seen_at_once_on_every_replica() {
    let stage = Stage::start().await;
    let other = stage.replica().await;
    let ann = stage.person("ann").await;
    let elsewhere = other.client(ann.client.token());

    for n in 0..20 {
        let name = format!("Ann {n}");
        // A read that may be on its way into the cache when the change comes.
        let before = elsewhere.get("/profile/me");
        let change = ann.client.put("/profile/me", json!({"display_name": name}));
        let (_, changed) = tokio::join!(before, change);
        assert_eq!(changed.expect(200)["display_name"], name);
        assert_eq!(elsewhere.get("/profile/me").await.expect(200)["display_name"], name);
        assert_eq!(elsewhere.get(&format!("/users/{}", ann.id)).await.expect(200)["display_name"], name);
    }
}

#[tokio::test]
async fn a_change_is_told_and_no_change_is_not() {
    let stage = Stage::with_events(&[]).await;
    let ann = stage.person("ann").await;

    ann.client.put("/profile/me", json!({"status_message": "hi"})).await.expect(200);
    ann.client.put("/profile/me", json!({"status_message": "hi"})).await.expect(200);
    ann.client.put("/profile/me", json!({"display_name": "Annie"})).await.expect(200);

    let told = stage.user_events().expect("UserProfileUpdated", 2).await;
    assert_eq!(told.len(), 2);
    assert_eq!(told[0]["user_id"], ann.id);
    assert_eq!(told[0]["status_message"], "hi");
    assert_eq!(told[0]["display_name"], Value::Null);
    assert_eq!(told[1]["display_name"], "Annie");
    assert!(told[0]["version"].as_u64() < told[1]["version"].as_u64());
}

#[tokio::test]
async fn the_oldest_clients_change_a_nickname() {
    let stage = Stage::start().await;
    let ann = stage.person("ann").await;

    for (path, name) in [("/profile", "One"), ("/profile/me", "Two")] {
        let profile = ann.client.put(path, json!({"nickname": name})).await.expect(200);
        assert_eq!(profile["nickname"], name);
        assert_eq!(profile["display_name"], name);
    }
    assert_eq!(ann.client.patch("/profile", json!({"nickname": "Three"})).await.expect(200)["nickname"], "Three");
}
