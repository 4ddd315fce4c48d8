//! JSON Web Tokens of users and of services, signed with HS256.
//!
//! The original issues the same access tokens. Verification accepts those and is stricter than the original's: one
//! algorithm, no key id, `exp`, `sub` and `type` are required, and an issuer must be this system.

mod access;
mod service;

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use secrecy::{ExposeSecret, SecretString};

pub use access::{AccessClaims, AccessTokens};
pub use service::ServiceTokens;

/// The tolerated difference between the clocks of two machines.
pub const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// The claim `iss` of every token of this system. Tokens of the original have none.
const ISSUER: &str = "bigtech-chat";

fn decoding_key(secret: &SecretString) -> DecodingKey {
    DecodingKey::from_secret(secret.expose_secret().as_bytes())
}

fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.leeway = CLOCK_SKEW.as_secs();
    validation.set_required_spec_claims(&["exp", "sub"]);
    // Compared if the token has the claim.
    validation.set_issuer(&[ISSUER]);
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
mod tests;
