//! Access tokens, which user-service issues and every service verifies.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::id::UserId;
use crate::jwt::keys::{Algorithm, KeyRing, PrivateKey};
use crate::jwt::{ISSUER, decoding_key, validation, verify};

/// The claims of an access token. Tokens of the original have only the first four.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccessClaims {
    /// The user's id, as a decimal string.
    pub sub: String,
    /// The user's e-mail address, unless `ACCESS_TOKEN_EMAIL` is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

/// Issues and verifies access tokens.
///
/// A token is accepted by its algorithm: HS256 with one of the accepted secrets, or the algorithm of the accepted keys
/// with the key that the header `kid` names. A key never verifies another algorithm than its own.
#[derive(Clone)]
pub struct AccessTokens {
    /// None in a service that only verifies.
    signing: Option<Signing>,
    /// Of HS256; empty where it is not accepted.
    secrets: Arc<[DecodingKey]>,
    /// Of EdDSA or ES256; none where they are not accepted.
    keys: Option<Keys>,
    validation: Arc<Validation>,
    lifetime: Duration,
    with_email: bool,
}

#[derive(Clone)]
struct Signing {
    header: Header,
    key: EncodingKey,
}

#[derive(Clone)]
struct Keys {
    ring: KeyRing,
    validation: Arc<Validation>,
}

impl AccessTokens {
    /// Signs with `secret` for `lifetime`, and accepts tokens of `secret` and `previous`. The second secret lets an
    /// operator replace the first without logging everyone out.
    pub fn new(secret: &SecretString, previous: Option<&SecretString>, lifetime: Duration) -> Self {
        Self::accepting_none(lifetime).accept_secrets(secret, previous).sign_with_secret(secret)
    }

    /// Signs nothing and accepts nothing. Tokens that it is made to sign are valid for `lifetime`.
    pub fn accepting_none(lifetime: Duration) -> Self {
        let validation = Arc::new(validation(Algorithm::Hs256));
        Self { signing: None, secrets: [].into(), keys: None, validation, lifetime, with_email: true }
    }

    /// Accepts tokens of these secrets.
    pub fn accept_secrets(self, secret: &SecretString, previous: Option<&SecretString>) -> Self {
        Self { secrets: std::iter::once(secret).chain(previous).map(decoding_key).collect(), ..self }
    }

    /// Accepts tokens of the keys in `ring`. Only this system issues them, so that they need all of its claims.
    pub fn accept_keys(self, ring: KeyRing) -> Self {
        let mut validation = validation(ring.algorithm);
        validation.set_required_spec_claims(&["exp", "sub", "iss"]);
        Self { keys: Some(Keys { ring, validation: Arc::new(validation) }), ..self }
    }

    /// Signs with a secret.
    pub fn sign_with_secret(self, secret: &SecretString) -> Self {
        let key = EncodingKey::from_secret(secret.expose_secret().as_bytes());
        Self { signing: Some(Signing { header: Header::new(Algorithm::Hs256.into()), key }), ..self }
    }

    /// Signs with a private key.
    pub fn sign_with(self, private: &PrivateKey) -> Self {
        let mut header = Header::new(private.algorithm().into());
        header.kid = Some(private.id().to_owned());
        Self { signing: Some(Signing { header, key: private.signing.clone() }), ..self }
    }

    /// Issues tokens without the claim `email`.
    pub fn without_email(self) -> Self {
        Self { with_email: false, ..self }
    }

    /// How long an issued token is valid.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Signs a token for a session of a user.
    ///
    /// # Errors
    /// Returns an internal error if this service has no key to sign with.
    pub fn issue(&self, user: UserId, email: &str, username: &str, sid: Uuid) -> Result<String> {
        let signing = self.signing.as_ref().ok_or_else(|| Error::internal("no key to sign access tokens with"))?;
        let now = Utc::now().timestamp();
        let claims = AccessClaims {
            sub: user.to_string(),
            email: self.with_email.then(|| email.to_owned()),
            exp: now + self.lifetime.as_secs() as i64,
            kind: "access".to_owned(),
            username: Some(username.to_owned()),
            iat: Some(now),
            iss: Some(ISSUER.to_owned()),
            jti: Some(Uuid::new_v4()),
            sid: Some(sid),
        };
        encode(&signing.header, &claims, &signing.key).map_err(Error::internal)
    }

    /// The claims of a token, if it is valid now.
    pub fn verify(&self, token: &str) -> Option<AccessClaims> {
        let Header { alg, kid, .. } = decode_header(token).ok()?;
        let claims: AccessClaims = if alg == Algorithm::Hs256.into() {
            verify(token, &self.secrets, &self.validation)?
        } else {
            let Keys { ring, validation } = self.keys.as_ref()?;
            let claims: AccessClaims = decode(token, &ring.key(&kid?)?, validation).ok()?.claims;
            // A session without an id is revoked by the signature of its token, and ECDSA has two for each.
            claims.sid.is_some().then_some(claims)?
        };
        (claims.kind == "access").then_some(claims)
    }

    /// The id of the key of a token, if its algorithm is accepted and no accepted key has this id.
    pub fn unknown_key(&self, token: &str) -> Option<String> {
        let Keys { ring, .. } = self.keys.as_ref()?;
        let Header { alg, kid, .. } = decode_header(token).ok()?;
        kid.filter(|kid| alg == ring.algorithm.into() && !ring.contains(kid))
    }
}
