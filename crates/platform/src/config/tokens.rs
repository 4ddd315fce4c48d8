//! The keys of tokens and ciphers.

use common::config::{ConfigError, Env, error};
use common::jwt::{Algorithm, PublicKeys};
use secrecy::{ExposeSecret, SecretString};

/// Secrets that public files contain. They are accepted with `DEBUG` only.
pub const DEVELOPMENT_SECRETS: [&str; 3] = [
    "dev-only-secret-key-do-not-use-in-production",
    "dev-only-service-secret-do-not-use-in-production",
    "dev-only-mfa-secret-key-do-not-use-in-production",
];

/// HS256 needs a key as long as its hash.
pub(super) const MIN_SECRET_BYTES: usize = 32;

pub(super) fn secret(name: &str, value: &str, debug: bool) -> Result<SecretString, ConfigError> {
    if !debug && DEVELOPMENT_SECRETS.contains(&value) {
        return Err(error(name, "is the well-known development value; set a secret of your own, or DEBUG=true"));
    }
    Ok(value.into())
}

/// `ALGORITHM`: the algorithm that signs access tokens, by default HS256.
///
/// # Errors
/// Returns an error for another value than HS256, ES256 and EdDSA.
pub fn algorithm(env: &Env) -> Result<Algorithm, ConfigError> {
    env.parse("ALGORITHM", Algorithm::Hs256)
}

pub(super) fn public_keys(env: &Env, algorithm: Algorithm) -> Result<Option<PublicKeys>, ConfigError> {
    const NAME: &str = "JWT_PUBLIC_KEYS_FILE";
    let Some(path) = env.get(NAME) else { return Ok(None) };
    let text = std::fs::read_to_string(path).map_err(|e| error(NAME, format!("{path:?} cannot be read: {e}")))?;
    let keys = PublicKeys::from_text(&text).map_err(|e| error(NAME, format!("{path:?} {e}")))?;
    if algorithm != Algorithm::Hs256 && !keys.support(algorithm) {
        return Err(error(NAME, format!("{path:?} contains no key for ALGORITHM={algorithm}")));
    }
    Ok(Some(keys))
}

pub(super) fn optional_secret(env: &Env, name: &str, debug: bool) -> Result<Option<SecretString>, ConfigError> {
    env.get(name).map(|v| secret(name, v, debug)).transpose()
}

/// The key of a cipher; none where the variable is not set.
///
/// # Errors
/// Returns an error for a key with under 32 bytes, and for a public one without `DEBUG`.
pub fn cipher_key(env: &Env, name: &str) -> Result<Option<SecretString>, ConfigError> {
    let key = optional_secret(env, name, env.flag("DEBUG", false)?)?;
    if key.as_ref().is_some_and(|key| key.expose_secret().len() < MIN_SECRET_BYTES) {
        return Err(error(name, format!("has under {MIN_SECRET_BYTES} bytes")));
    }
    Ok(key)
}

/// A key of its own: with the key of the access tokens, a user's token could pass for that of a service.
pub(super) fn service_secret(env: &Env, debug: bool) -> Result<Option<SecretString>, ConfigError> {
    const NAME: &str = "SERVICE_SECRET_KEY";
    let Some(value) = env.get(NAME) else { return Ok(None) };
    if value.len() < MIN_SECRET_BYTES {
        return Err(error(NAME, format!("has under {MIN_SECRET_BYTES} bytes")));
    }
    if [env.get("SECRET_KEY"), env.get("SECRET_KEY_PREVIOUS")].contains(&Some(value)) {
        return Err(error(NAME, "equals SECRET_KEY or SECRET_KEY_PREVIOUS; set another"));
    }
    secret(NAME, value, debug).map(Some)
}
