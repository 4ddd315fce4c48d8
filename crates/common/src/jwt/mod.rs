//! JSON Web Tokens of users and of services.
//!
//! By default access tokens are signed with HS256, as those of the original are. With EdDSA or ES256, only user-service
//! has the private key, and the other services verify with public keys. Service tokens are signed with HS256 and a
//! secret of their own.
//!
//! Verification accepts the original's tokens and is stricter than the original's: the algorithm is pinned, `exp`,
//! `sub` and `type` are required, and an issuer must be this system.

mod access;
mod keys;
mod service;

use std::time::Duration;

use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use secrecy::{ExposeSecret, SecretString};

pub use access::{AccessClaims, AccessTokens};
pub use keys::{Algorithm, KeyError, KeyRing, PrivateKey, PublicKeys};
pub use service::ServiceTokens;

/// The tolerated difference between the clocks of two machines.
pub const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// The claim `iss` of every token of this system. Tokens of the original have none.
const ISSUER: &str = "bigtech-chat";

fn decoding_key(secret: &SecretString) -> DecodingKey {
    DecodingKey::from_secret(secret.expose_secret().as_bytes())
}

fn validation(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm.into());
    validation.leeway = CLOCK_SKEW.as_secs();
    validation.set_required_spec_claims(&["exp", "sub"]);
    // Compared if the token has the claim.
    validation.set_issuer(&[ISSUER]);
    validation
}

/// The claims of a token that one of these secrets signed.
fn verify<C: serde::de::DeserializeOwned>(token: &str, keys: &[DecodingKey], rules: &Validation) -> Option<C> {
    // No such token of this system or of the original names a key.
    if decode_header(token).ok()?.kid.is_some() {
        return None;
    }
    keys.iter().find_map(|key| decode(token, key, rules).ok()).map(|token| token.claims)
}

#[cfg(test)]
mod key_tests;
#[cfg(test)]
mod tests;
