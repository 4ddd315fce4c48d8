//! Access tokens, which user-service issues and every service verifies.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, encode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::id::UserId;
use crate::jwt::{ISSUER, decoding_key, validation, verify};

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
