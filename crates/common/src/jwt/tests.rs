use std::time::Duration;

use chrono::Utc;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{AccessTokens, ServiceTokens};
use crate::id::UserId;

const SECRET: &str = "peer-secret-key-0123456789-0123456789-abcdef";

fn tokens(secret: &str, previous: Option<&str>) -> AccessTokens {
    let previous = previous.map(SecretString::from);
    AccessTokens::new(&secret.into(), previous.as_ref(), Duration::from_secs(7200))
}

fn signed(header: Header, claims: &Value, secret: &str) -> String {
    encode(&header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn hs256(claims: &Value) -> String {
    signed(Header::new(Algorithm::HS256), claims, SECRET)
}

fn original(exp_in: i64) -> Value {
    json!({"sub": "3095", "email": "a@b.c", "exp": Utc::now().timestamp() + exp_in, "type": "access"})
}

#[test]
fn an_issued_token_verifies_to_its_claims() {
    let tokens = tokens(SECRET, None);
    let sid = Uuid::new_v4();
    let claims = tokens.verify(&tokens.issue(UserId(7), "a@b.c", "ann", sid).unwrap()).unwrap();
    assert_eq!((claims.sub.as_str(), claims.sid, claims.username.as_deref()), ("7", Some(sid), Some("ann")));
}

#[test]
fn tokens_of_the_original_verify() {
    assert_eq!(tokens(SECRET, None).verify(&hs256(&original(60))).unwrap().sub, "3095");
}

#[test]
fn a_token_verifies_until_thirty_seconds_after_its_expiry() {
    assert!(tokens(SECRET, None).verify(&hs256(&original(-25))).is_some());
    assert!(tokens(SECRET, None).verify(&hs256(&original(-35))).is_none());
}

#[test]
fn the_previous_secret_verifies_until_it_is_removed() {
    let token = hs256(&original(60));
    assert!(tokens("the-new-secret-key", Some(SECRET)).verify(&token).is_some());
    assert!(tokens("the-new-secret-key", None).verify(&token).is_none());
}

#[test]
fn other_algorithms_keys_audiences_and_kinds_are_rejected() {
    let tokens = tokens(SECRET, None);
    let mut with_kid = Header::new(Algorithm::HS256);
    with_kid.kid = Some("1".to_owned());
    // {"alg":"none","typ":"JWT"} and {"sub":"1","exp":9999999999,"type":"access"}, unsigned.
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiIxIiwiZXhwIjo5OTk5OTk5OTk5LCJ0eXBlIjoiYWNjZXNzIn0.";
    let without = |claim: &str| {
        let mut claims = original(60);
        claims.as_object_mut().unwrap().remove(claim);
        hs256(&claims)
    };
    let with = |claim: &str, value: Value| {
        let mut claims = original(60);
        claims[claim] = value;
        hs256(&claims)
    };
    let rejected = [
        none.to_owned(),
        signed(with_kid, &original(60), SECRET),
        signed(Header::new(Algorithm::HS384), &original(60), SECRET),
        signed(Header::new(Algorithm::HS256), &original(60), "another"),
        without("exp"),
        without("sub"),
        without("type"),
        with("aud", json!("x")),
        with("iss", json!("another-issuer")),
        with("iss", json!(["bigtech-chat"])),
        with("type", json!("service")),
        "not.a.token".to_owned(),
        String::new(),
    ];
    for token in rejected {
        assert!(tokens.verify(&token).is_none(), "{token}");
    }
}

#[test]
fn service_tokens_and_access_tokens_are_not_interchangeable() {
    let services = ServiceTokens::new(&SECRET.into(), "chat-service");
    let token = services.issue("chat-service").unwrap();
    assert_eq!(services.verify(&token).unwrap(), "chat-service");
    assert!(tokens(SECRET, None).verify(&token).is_none());
    assert!(services.verify(&hs256(&original(60))).is_none());
}

/// The claims of a service token from friend-service to user-service.
fn service_claims() -> Value {
    let exp = Utc::now().timestamp() + 60;
    json!({"sub": "friend-service", "exp": exp, "type": "service", "iss": "bigtech-chat", "aud": "user-service"})
}

#[test]
fn service_tokens_of_unknown_services_issuers_and_audiences_are_rejected() {
    let user_service = ServiceTokens::new(&SECRET.into(), "user-service");
    let with = |claim: &str, value: Value| {
        let mut claims = service_claims();
        claims[claim] = value;
        hs256(&claims)
    };
    let without = |claim: &str| {
        let mut claims = service_claims();
        claims.as_object_mut().unwrap().remove(claim);
        hs256(&claims)
    };
    assert_eq!(user_service.verify(&hs256(&service_claims())).unwrap(), "friend-service");
    let rejected = [
        with("sub", json!("mail-service")),
        with("sub", json!("3095")),
        with("iss", json!("another-issuer")),
        with("aud", json!("friend-service")),
        with("aud", json!(["user-service"])),
        with("type", json!("access")),
        with("exp", json!(Utc::now().timestamp() + 3600)),
        without("sub"),
        without("exp"),
        without("type"),
        without("iss"),
        without("aud"),
    ];
    for token in rejected {
        assert!(user_service.verify(&token).is_none(), "{token}");
    }
}

#[test]
fn a_service_token_is_accepted_while_the_clocks_differ_by_five_minutes() {
    let user_service = ServiceTokens::new(&SECRET.into(), "user-service");
    for (difference, accepted) in [(-300, true), (300, true), (-420, false), (420, false)] {
        let mut claims = service_claims();
        claims["exp"] = json!(Utc::now().timestamp() + 60 + difference);
        assert_eq!(user_service.verify(&hs256(&claims)).is_some(), accepted, "{difference} s");
    }
}

#[test]
fn service_tokens_of_the_previous_version_have_neither_issuer_nor_audience_and_verify() {
    let exp = Utc::now().timestamp() + 60;
    let token = hs256(&json!({"sub": "chat-service", "exp": exp, "type": "service"}));
    assert_eq!(ServiceTokens::new(&SECRET.into(), "user-service").verify(&token).unwrap(), "chat-service");
}
