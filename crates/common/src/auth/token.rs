//! JSON Web Tokens: HS256 and nothing else, as the original signs them and stricter in reading.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::{Base, Secret};
use crate::error::{Error, Result};
use crate::id::UserId;

/// How far the clocks of two machines may differ.
pub const CLOCK_SKEW: Duration = Duration::from_secs(30);

const ISSUER: &str = "bigtech-chat";

/// A call between services is signed for no longer than it may take, retries included.
const SERVICE_TOKEN_LIFETIME: Duration = Duration::from_secs(60);

/// What an access token says. Tokens of the original carry only the first four.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccessClaims {
    /// The user's id, as a string.
    pub sub: String,
    #[serde(default)]
    pub email: Option<String>,
    pub exp: i64,
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub username: Option<String>,
    #[serde(default)]
    pub iat: Option<i64>,
    #[serde(default)]
    pub iss: Option<String>,
    #[serde(default)]
    pub jti: Option<Uuid>,
    /// The session that ends with a logout.
    #[serde(default)]
    pub sid: Option<Uuid>,
}

/// Issues and verifies access tokens. Two secrets may be valid at once, so that one can be replaced without a logout.
#[derive(Clone)]
pub struct Tokens {
    signing: EncodingKey,
    verifying: Arc<[DecodingKey]>,
    validation: Arc<Validation>,
    lifetime: Duration,
}

impl Tokens {
    pub fn new(config: &Base) -> Self {
        let secrets = std::iter::once(&config.secret_key).chain(&config.secret_key_previous);
        Self {
            signing: EncodingKey::from_secret(config.secret_key.expose().as_bytes()),
            verifying: secrets.map(|s| DecodingKey::from_secret(s.expose().as_bytes())).collect(),
            validation: Arc::new(validation()),
            lifetime: config.access_token_lifetime,
        }
    }

    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

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

    /// The claims of a token that counts now.
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
    pub fn new(secret: &Secret, service: &'static str) -> Self {
        let secret = secret.expose().as_bytes();
        Self {
            signing: EncodingKey::from_secret(secret),
            verifying: [DecodingKey::from_secret(secret)].into(),
            validation: Arc::new(validation()),
            service,
        }
    }

    pub fn issue(&self) -> Result<String> {
        let exp = Utc::now().timestamp() + SERVICE_TOKEN_LIFETIME.as_secs() as i64;
        let claims = ServiceClaims { sub: self.service.to_owned(), exp, kind: "service".to_owned() };
        encode(&Header::new(Algorithm::HS256), &claims, &self.signing).map_err(Error::internal)
    }

    /// The name of the service that signed the token.
    pub fn verify(&self, token: &str) -> Option<String> {
        let claims: ServiceClaims = verify(token, &self.verifying, &self.validation)?;
        (claims.kind == "service").then_some(claims.sub)
    }
}

fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = CLOCK_SKEW.as_secs();
    validation.set_required_spec_claims(&["exp", "sub"]);
    validation
}

fn verify<C: serde::de::DeserializeOwned>(token: &str, keys: &[DecodingKey], rules: &Validation) -> Option<C> {
    // We name no keys, so a token that names one was not made for us.
    if decode_header(token).ok()?.kid.is_some() {
        return None;
    }
    keys.iter().find_map(|key| decode(token, key, rules).ok()).map(|token| token.claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Env;
    use serde_json::{Value, json};

    const SECRET: &str = "peer-secret-key-0123456789-0123456789-abcdef";

    fn tokens(secret: &str, previous: &str) -> Tokens {
        let env = [("SECRET_KEY", secret), ("SECRET_KEY_PREVIOUS", previous), ("MYSQL_HOST", "db")];
        let env = Env::of(env.map(|(name, value)| (name, value.to_owned())));
        Tokens::new(&Base::read(&env, "user-service", 8005).unwrap())
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
    fn what_is_issued_verifies_and_says_who() {
        let tokens = tokens(SECRET, "");
        let sid = Uuid::new_v4();
        let claims = tokens.verify(&tokens.issue(UserId(7), "a@b.c", "ann", sid).unwrap()).unwrap();
        assert_eq!((claims.sub.as_str(), claims.sid, claims.username.as_deref()), ("7", Some(sid), Some("ann")));
    }

    #[test]
    fn tokens_of_the_original_are_taken() {
        assert_eq!(tokens(SECRET, "").verify(&hs256(&original(60))).unwrap().sub, "3095");
    }

    #[test]
    fn thirty_seconds_of_skew_and_no_more() {
        assert!(tokens(SECRET, "").verify(&hs256(&original(-25))).is_some());
        assert!(tokens(SECRET, "").verify(&hs256(&original(-35))).is_none());
    }

    #[test]
    fn a_replaced_secret_still_verifies_until_it_is_dropped() {
        let token = hs256(&original(60));
        assert!(tokens("the-new-secret-key", SECRET).verify(&token).is_some());
        assert!(tokens("the-new-secret-key", "").verify(&token).is_none());
    }

    #[test]
    fn other_algorithms_keys_audiences_and_kinds_are_refused() {
        let tokens = tokens(SECRET, "");
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
        let refused = [
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
        for token in refused {
            assert!(tokens.verify(&token).is_none(), "{token}");
        }
    }

    #[test]
    fn a_service_token_is_no_access_token() {
        let services = ServiceTokens::new(&Secret::new(SECRET), "chat-service");
        let token = services.issue().unwrap();
        assert_eq!(services.verify(&token).unwrap(), "chat-service");
        assert!(tokens(SECRET, "").verify(&token).is_none());
        assert!(services.verify(&hs256(&original(60))).is_none());
    }
}
