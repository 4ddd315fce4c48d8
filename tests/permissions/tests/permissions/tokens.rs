//! Tokens that no service issued.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::{Value, json};

/// An hour, in seconds: longer than the allowed difference of clocks.
const HOUR: i64 = 3_600;

/// The claims of a token.
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// A token with the claims of `token` that expired an hour ago.
pub fn expired(token: &str) -> String {
    let mut claims = claims(token);
    claims["exp"] = json!(chrono::Utc::now().timestamp() - HOUR);
    encode(&Header::default(), &claims, &EncodingKey::from_secret(testkit::SECRET_KEY.as_bytes())).unwrap()
}

/// The token with the id of another user, under the old signature.
pub fn tampered(token: &str, other: i64) -> String {
    let mut claims = claims(token);
    claims["sub"] = json!(other.to_string());
    let parts: Vec<&str> = token.split('.').collect();
    format!("{}.{}.{}", parts[0], part(&claims), parts[2])
}

/// The claims of a token with the algorithm `none`.
pub fn unsigned(token: &str) -> String {
    format!("{}.{}.", part(&json!({"alg": "none", "typ": "JWT"})), part(&claims(token)))
}

fn part(json: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(json.to_string())
}
