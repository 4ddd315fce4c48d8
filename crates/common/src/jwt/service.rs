//! Service tokens, which authenticate calls between services.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, encode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::jwt::keys::Algorithm;
use crate::jwt::{ISSUER, decoding_key, validation, verify};

/// A service token outlives the longest call between services, retries included.
const LIFETIME: Duration = Duration::from_secs(60);

/// The tolerated difference between the clocks of two services. It is wider than that of access tokens: a replica whose calls were
/// refused would know neither blocks nor names. A stolen token is valid for this time longer.
const SERVICE_CLOCK_SKEW: Duration = Duration::from_secs(330);

/// The services, as `sub` and `aud` name them.
const SERVICES: [&str; 3] = ["user-service", "friend-service", "chat-service"];

/// Signs calls to other services and verifies their calls.
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
    iss: Option<String>,
    aud: Option<String>,
}

impl ServiceTokens {
    /// Signs as `service`, and verifies tokens for `service` with the same secret.
    pub fn new(secret: &SecretString, service: &'static str) -> Self {
        let mut validation = validation(Algorithm::Hs256);
        validation.set_audience(&[service]);
        validation.leeway = SERVICE_CLOCK_SKEW.as_secs();
        Self {
            signing: EncodingKey::from_secret(secret.expose_secret().as_bytes()),
            verifying: [decoding_key(secret)].into(),
            validation: Arc::new(validation),
            service,
        }
    }

    /// Signs a token that is valid for a minute at the service `audience`, such as `user-service`.
    ///
    /// # Errors
    /// Returns an internal error if the claims cannot be signed.
    pub fn issue(&self, audience: &str) -> Result<String> {
        let claims = ServiceClaims {
            sub: self.service.to_owned(),
            exp: Utc::now().timestamp() + LIFETIME.as_secs() as i64,
            kind: "service".to_owned(),
            iss: Some(ISSUER.to_owned()),
            aud: Some(audience.to_owned()),
        };
        encode(&Header::new(Algorithm::Hs256.into()), &claims, &self.signing).map_err(Error::internal)
    }

    /// The name of the service that signed the token, if the token is valid now and for this service.
    ///
    /// A token of the previous version of this system has neither issuer nor audience. It is accepted, so that a
    /// replica of that version can call one of this version during an upgrade. This version issues no such token, and
    /// nobody without the secret can remove a claim.
    pub fn verify(&self, token: &str) -> Option<String> {
        let claims: ServiceClaims = verify(token, &self.verifying, &self.validation)?;
        let latest = Utc::now().timestamp() + (LIFETIME + SERVICE_CLOCK_SKEW).as_secs() as i64;
        let valid = claims.kind == "service"
            && claims.exp <= latest
            && claims.iss.is_some() == claims.aud.is_some()
            && SERVICES.contains(&claims.sub.as_str());
        valid.then_some(claims.sub)
    }
}
