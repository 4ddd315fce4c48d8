//! JSON Web Tokens of users and of services, signed with HS256.
//!
//! The original issues the same access tokens. Verification accepts those and is stricter than the original's: one
//! algorithm, no key id, and `exp`, `sub` and `type` are required.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::id::UserId;

/// The tolerated difference between the clocks of two machines.
pub const CLOCK_SKEW: Duration = Duration::from_secs(30);

const ISSUER: &str = "bigtech-chat";

/// A service token outlives the longest call between services, retries included.
const SERVICE_TOKEN_LIFETIME: Duration = Duration::from_secs(60);

/// The claims of an access token. Tokens of the original have only the first four.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccessClaims {
    /// The user's id, as a decimal string.
    pub sub: String,
    /// The user's e-mail address.
    #[serde(default)]
    pub email: Option<String>,
    /// When the token expires, in seconds since 1970.
    pub exp: i64,
    /// Always `access`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The user's name.
    #[serde(default)]
    pub username: Option<String>,
    /// When the token was issued, in seconds since 1970.
    #[serde(default)]
    pub iat: Option<i64>,
    /// The issuer, `bigtech-chat`.
    #[serde(default)]
    pub iss: Option<String>,
    /// The id of this token.
    #[serde(default)]
    pub jti: Option<Uuid>,
    /// The id of the session, which a logout ends.
    #[serde(default)]
    pub sid: Option<Uuid>,
}

/// Issues and verifies access tokens. A second secret may be valid for verification, so that an operator can replace
/// the first without logging everyone out.
#[derive(Clone)]
pub struct AccessTokens {
    signing: EncodingKey,
    verifying: Arc<[DecodingKey]>,
    validation: Arc<Validation>,
    lifetime: Duration,
}

impl AccessTokens {
    /// Signs with `secret` for `lifetime` and verifies with `secret` and `previous`.
    pub fn new(secret: &SecretString, previous: Option<&SecretString>, lifetime: Duration) -> Self {
        Self {
            signing: EncodingKey::from_secret(secret.expose_secret().as_bytes()),
            verifying: std::iter::once(secret).chain(previous).map(decoding_key).collect(),
            validation: Arc::new(validation()),
            lifetime,
        }
    }

    /// How long an issued token is valid.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Signs a token for a session of a user.
    ///
    /// # Errors
    /// Returns an internal error if the claims cannot be signed.
    pub fn issue(&self, user: UserId, email: &str, username: &str, sid: Uuid) -> Result<String> {
        let now = Utc::now().timestamp();
        let claims = AccessClaims {
            sub: user.to_string(),
            email: Some(email.to_owned()),
            exp: now + self.lifetime.as_secs() as i64,
            kind: "access".to_owned(),
            username: Some(username.to_owned()),
            iat: Some(now),
            iss: Some(ISSUER.to_owned()),
            jti: Some(Uuid::new_v4()),
            sid: Some(sid),
        };
        encode(&Header::new(Algorithm::HS256), &claims, &self.signing).map_err(Error::internal)
    }

    /// The claims of a token, if it is valid now.
    pub fn verify(&self, token: &str) -> Option<AccessClaims> {
        let claims: AccessClaims = verify(token, &self.verifying, &self.validation)?;
        (claims.kind == "access").then_some(claims)
    }
}

/// Signs and verifies calls between services.
#[derive(Clone)]
pub struct ServiceTokens {
    signing: EncodingKey,
    verifying: Arc<[DecodingKey]>,
    validation: Arc<Validation>,
    service: &'static str,
}

#[derive(Serialize, Deserialize)]
struct ServiceClaims {
    sub: String,
    exp: i64,
    #[serde(rename = "type")]
    kind: String,
}

impl ServiceTokens {
    /// Signs as `service` and verifies with the same secret.
    pub fn new(secret: &SecretString, service: &'static str) -> Self {
        Self {
            signing: EncodingKey::from_secret(secret.expose_secret().as_bytes()),
            verifying: [decoding_key(secret)].into(),
            validation: Arc::new(validation()),
            service,
        }
    }

    /// Signs a token that is valid for a minute.
    ///
    /// # Errors
    /// Returns an internal error if the claims cannot be signed.
    pub fn issue(&self) -> Result<String> {
        let exp = Utc::now().timestamp() + SERVICE_TOKEN_LIFETIME.as_secs() as i64;
        let claims = ServiceClaims { sub: self.service.to_owned(), exp, kind: "service".to_owned() };
        encode(&Header::new(Algorithm::HS256), &claims, &self.signing).map_err(Error::internal)
    }

    /// The name of the service that signed the token, if the token is valid now.
    pub fn verify(&self, token: &str) -> Option<String> {
        let claims: ServiceClaims = verify(token, &self.verifying, &self.validation)?;
        (claims.kind == "service").then_some(claims.sub)
    }
}

fn decoding_key(secret: &SecretString) -> DecodingKey {
    DecodingKey::from_secret(secret.expose_secret().as_bytes())
}

fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = CLOCK_SKEW.as_secs();
    validation.set_required_spec_claims(&["exp", "sub"]);
    validation
}

fn verify<C: serde::de::DeserializeOwned>(token: &str, keys: &[DecodingKey], rules: &Validation) -> Option<C> {
    // No token of this system or of the original names a key.
    if decode_header(token).ok()?.kid.is_some() {
        return None;
    }
    keys.iter().find_map(|key| decode(token, key, rules).ok()).map(|token| token.claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

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
        let token = services.issue().unwrap();
        assert_eq!(services.verify(&token).unwrap(), "chat-service");
        assert!(tokens(SECRET, None).verify(&token).is_none());
        assert!(services.verify(&hs256(&original(60))).is_none());
    }
}
