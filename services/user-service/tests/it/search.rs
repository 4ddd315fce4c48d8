//! The search for users.

use serde_json::{Value, json};
use testkit::Client;

use crate::app::{TestApp, registration};

async fn found(client: &Client, query: &[(&str, &str)]) -> (Vec<String>, i64) {
    let request = client.request(reqwest::Method::GET, "/users/search").query(query);
    let body = client.send(request).await.expect(200);
    let mut names: Vec<String> =
        body["users"].as_array().unwrap().iter().map(|u| u["username"].as_str().unwrap().to_owned()).collect();
    names.sort_unstable();
    (names, body["total_count"].as_i64().unwrap())
}

async fn register_named(app: &TestApp, username: &str, display_name: &str) {
    let mut new = registration(username);
    new["display_name"] = json!(display_name);
    app.anonymous().post("/auth/register", new).await.expect(201);
}

#[tokio::test]
async fn every_part_of_either_name_matches_in_any_case() {
    let app = TestApp::start().await;
    let me = app.person("searcher").await;
    register_named(&app, "kim_minjun", "김민준").await;
    register_named(&app, "bob_1", "100%_bob").await;
    register_named(&app, "oh_yuna", "오유나 🎧").await;

    for (query, expected) in [
        ("kim", vec!["kim_minjun"]),
        ("MINJ", vec!["kim_minjun"]),
        ("민준", vec!["kim_minjun"]),
        ("준", vec!["kim_minjun"]),
        ("%", vec!["bob_1"]),
        ("%_b", vec!["bob_1"]),
        ("_", vec!["bob_1", "kim_minjun", "oh_yuna"]),
        ("🎧", vec!["oh_yuna"]),
        ("🎉", vec![]),
        ("kim%", vec![]),
        ("\\", vec![]),
        ("' OR 1=1 --", vec![]),
        ("searcher", vec![]),
    ] {
        let (names, total) = found(&me.client, &[("query", query)]).await;
        assert_eq!(names, expected, "{query}");
        assert_eq!(total, expected.len() as i64, "{query}");
    }
    assert_eq!(found(&me.client, &[("q", "kim")]).await.1, 1);
}

#[tokio::test]
async fn the_limit_bounds_the_page_and_not_the_count() {
    let app = TestApp::start().await;
    let me = app.person("me_1").await;
    for n in 0..12 {
        app.register(&format!("user{n:02}")).await;
    }

    let page = async |limit: &str| found(&me.client, &[("query", "user"), ("limit", limit)]).await;

    assert_eq!((page("5").await.0.len(), page("5").await.1), (5, 12));
    assert_eq!(page("50").await.0.len(), 12);
    assert_eq!(found(&me.client, &[("query", "user")]).await.0.len(), 10);
}

#[tokio::test]
async fn pages_by_offset_contain_each_match_once() {
    let app = TestApp::start().await;
    let me = app.person("me_1").await;
    for n in 0..12 {
        app.register(&format!("user{n:02}")).await;
    }

    let mut names = Vec::new();
    for offset in ["0", "5", "10", "15"] {
        let (page, total) = found(&me.client, &[("query", "user"), ("limit", "5"), ("offset", offset)]).await;
        assert_eq!(total, 12);
        names.extend(page);
    }
    assert_eq!(names.len(), 12);
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 12);
}

#[tokio::test]
async fn the_count_is_capped_at_a_thousand() {
    let app = TestApp::start().await;
    let me = app.person("searcher").await;
    app.execute(
        "INSERT INTO users (email, password_hash, username, is_online, is_active)
             WITH RECURSIVE n AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM n WHERE n < 1000)
             SELECT CONCAT('crowd', n, '@example.com'), 'x', CONCAT('crowd', n), FALSE, TRUE FROM n",
    )
    .await;

    let replica = app.replica().await;
    let client = replica.client(me.client.token());
    testkit::eventually("all accounts are indexed", || async {
        (found(&client, &[("query", "CROWD")]).await.1 == 1_000).then_some(())
    })
    .await;
    app.register("crowd-1001").await;

    assert_eq!(found(&client, &[("query", "crowd")]).await.1, 1_000);
    assert_eq!(found(&client, &[("query", "crowd99")]).await.1, 11);
}

#[tokio::test]
async fn a_new_name_is_found_and_the_old_one_is_not() {
    let app = TestApp::start().await;
    let (me, ann) = (app.person("searcher").await, app.person("ann").await);
    ann.client.put("/profile/me", json!({"display_name": "First"})).await.expect(200);
    ann.client.put("/profile/me", json!({"display_name": "Second"})).await.expect(200);

    assert_eq!(found(&me.client, &[("query", "first")]).await.1, 0);
    assert_eq!(found(&me.client, &[("query", "second")]).await.1, 1);
    ann.client.put("/profile/me", json!({"display_name": ""})).await.expect(200);
    assert_eq!(found(&me.client, &[("query", "second")]).await.1, 0);
    assert_eq!(found(&me.client, &[("query", "ann")]).await.1, 1);
}

#[tokio::test]
async fn invalid_parameters_are_reported() {
    let app = TestApp::start().await;
    let me = app.person("searcher").await;
    let long = "x".repeat(51);

    for (query, field) in [
        ("", "query"),
        ("?query=", "query"),
        (&*format!("?query={long}"), "query"),
        ("?query=a&limit=0", "limit"),
        ("?query=a&limit=51", "limit"),
        ("?query=a&limit=x", "limit"),
        ("?query=a&offset=-1", "offset"),
        ("?query=a&offset=1001", "offset"),
    ] {
        let body = me.client.get(&format!("/users/search{query}")).await.expect(422);
        assert_eq!(body["detail"][0]["loc"], json!(["query", field]), "{query}");
    }
    me.client.get("/users/search?query=a&limit=50&unknown=1").await.expect(200);
}

#[tokio::test]
async fn names_that_the_original_changed_are_indexed_at_the_next_start() {
    let app = TestApp::start().await;
    let me = app.person("searcher").await;
    app.register("ann").await;
    app.execute("UPDATE users SET display_name = '새이름' WHERE username = 'ann'").await;
    assert_eq!(found(&me.client, &[("query", "새이름")]).await.1, 0);

    let restarted = app.replica().await;

    let client = restarted.client(me.client.token());
    testkit::eventually("the new name is found", || async {
        (found(&client, &[("query", "새이름")]).await.1 == 1).then_some(())
    })
    .await;
    assert_eq!(client.get("/users/search?query=ann").await.expect(200)["users"][0]["email"], Value::Null);
}
