//! Access tokens that are signed with a private key, and its public key.

use serde_json::{Value, json};
use testkit::{SECRET_KEY, private_key};

use crate::app::{PASSWORD, TestApp};
use crate::login::original_token;

const PATH: &str = "/.well-known/jwks.json";

/// The part of a token with this number, decoded.
fn part(token: &Value, number: usize) -> Value {
    use base64::Engine;
    let part = token["access_token"].as_str().unwrap().split('.').nth(number).unwrap();
    serde_json::from_slice(&base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn tokens_are_signed_with_the_private_key_and_its_public_key_is_published() {
    let app = TestApp::start_with(&[("ALGORITHM", "EdDSA"), ("JWT_PRIVATE_KEY", &private_key(1))]).await;
    let ann = app.person("ann").await;

    let answer = app.anonymous().get(PATH).await;

    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    let keys = answer.expect(200)["keys"].take();
    assert_eq!(keys.as_array().unwrap().len(), 1);
    let key = keys[0].as_object().unwrap();
    assert_eq!(key.keys().collect::<Vec<_>>(), ["alg", "crv", "kid", "kty", "use", "x"], "nothing private");
    assert_eq!((&key["alg"], &key["crv"], &key["use"]), (&json!("EdDSA"), &json!("Ed25519"), &json!("sig")));
    assert_eq!(part(&ann.token, 0), json!({"alg": "EdDSA", "typ": "JWT", "kid": key["kid"]}));
    ann.client.get("/profile/me").await.expect(200);
}

#[tokio::test]
async fn tokens_of_the_secret_are_refused_unless_the_setting_allows_them() {
    let app = TestApp::start_with(&[]).await;
    let ann = app.person("ann").await;
    let key = private_key(1);
    let settings = [("ALGORITHM", "EdDSA"), ("JWT_PRIVATE_KEY", key.as_str()), ("ALLOW_SECRET_KEY_TOKENS", "true")];

    let (pinned, transition) = (app.replica_with(&settings[..2]).await, app.replica_with(&settings).await);

    let original = original_token(&app, ann.id);
    for token in [ann.client.token(), &original] {
        pinned.client(token).get("/profile/me").await.expect(401);
        transition.client(token).get("/profile/me").await.expect(200);
    }
}

#[tokio::test]
async fn replicas_are_switched_to_a_private_key_one_after_another() {
    let app = TestApp::start_with(&[("JWT_PRIVATE_KEY", &private_key(1))]).await;
    let before = app.person("ann").await;
    assert_eq!(part(&before.token, 0)["alg"], "HS256");
    assert_eq!(
        app.anonymous().get(PATH).await.expect(200)["keys"].as_array().unwrap().len(),
        1,
        "published before use"
    );

    let switched = app.replica_with(&[("ALGORITHM", "EdDSA"), ("ALLOW_SECRET_KEY_TOKENS", "true")]).await;

    let login = json!({"email": "ann@example.com", "password": PASSWORD});
    let after = switched.client("").post("/auth/login/json", login).await.expect(200);
    assert_eq!(part(&after, 0)["alg"], "EdDSA");
    for token in [before.client.token(), after["access_token"].as_str().unwrap()] {
        app.server.client(token).get("/profile/me").await.expect(200);
        switched.client(token).get("/profile/me").await.expect(200);
    }
}

#[tokio::test]
async fn a_private_key_is_rotated_through_the_file_of_public_keys() {
    let [old, new] = [1, 2].map(private_key);
    let app = TestApp::start_with(&[("ALGORITHM", "EdDSA"), ("JWT_PRIVATE_KEY", &new)]).await;
    let of_new = app.anonymous().get(PATH).await.expect(200);
    let before = app.replica_with(&[("JWT_PRIVATE_KEY", &old)]).await;
    let of_old = before.client("").get(PATH).await.expect(200);
    app.register("ann").await;
    let login = json!({"email": "ann@example.com", "password": PASSWORD});
    let token = before.client("").post("/auth/login/json", login).await.expect(200);

    let path = std::env::temp_dir().join(format!("jwks-{}.json", uuid::Uuid::new_v4()));
    std::fs::write(&path, of_old.to_string()).unwrap();
    let rotated = app.replica_with(&[("JWT_PUBLIC_KEYS_FILE", path.to_str().unwrap())]).await;
    std::fs::remove_file(&path).unwrap();

    let published = rotated.client("").get(PATH).await.expect(200);
    assert_eq!(published, json!({"keys": [of_new["keys"][0], of_old["keys"][0]]}));
    let token = token["access_token"].as_str().unwrap();
    rotated.client(token).get("/profile/me").await.expect(200);
    app.server.client(token).get("/profile/me").await.expect(401);
}

#[tokio::test]
async fn no_key_is_published_by_default() {
    let app = TestApp::start().await;
    assert_eq!(app.anonymous().get(PATH).await.expect(200), json!({"keys": []}));
    assert!(!app.anonymous().get(PATH).await.text.contains(SECRET_KEY));
}

#[tokio::test]
async fn tokens_have_the_email_address_unless_the_setting_is_off() {
    let app = TestApp::start().await;
    let ann = app.person("ann").await;
    assert_eq!(part(&ann.token, 1)["email"], "ann@example.com");

    let without = app.replica_with(&[("ACCESS_TOKEN_EMAIL", "false")]).await;
    let login = json!({"email": "ann@example.com", "password": PASSWORD});
    let token = without.client("").post("/auth/login/json", login).await.expect(200);

    let claims = part(&token, 1);
    assert_eq!((&claims["username"], claims.get("email")), (&json!("ann"), None));
    assert_eq!(
        app.server.client(token["access_token"].as_str().unwrap()).get("/profile/me").await.expect(200)["email"],
        "ann@example.com"
    );
}
