//! The role of a service for access tokens.

use common::jwt::{AccessTokens, Algorithm, KeyRing, PrivateKey};
use platform::config::Base;

use super::revocations::RevocationSource;

/// The role of a service for access tokens: user-service issues them, the others verify them.
#[expect(clippy::large_enum_variant, reason = "a process has one")]
pub enum TokenRole {
    /// user-service issues and verifies them.
    Issuer {
        /// Signs them. While `ALGORITHM` is HS256, only its public key is published.
        private_key: Option<PrivateKey>,
        /// Whether they have the claim `email`.
        with_email: bool,
        /// Tells which sessions are revoked, while Redis cannot.
        revocations: RevocationSource,
    },
    /// Every other service verifies them.
    Verifier {
        /// The base URL of user-service, which publishes the public keys.
        user_service_url: String,
    },
}

impl TokenRole {
    /// The keys that verify; none if only secrets do.
    ///
    /// user-service accepts tokens of its private key also while `ALGORITHM` is HS256, so that its replicas can be
    /// switched to the key one after another.
    pub(super) fn ring(&self, config: &Base) -> Option<KeyRing> {
        let own = match self {
            Self::Issuer { private_key, .. } => private_key.as_ref(),
            Self::Verifier { .. } => None,
        };
        let ring = match config.algorithm {
            Algorithm::Hs256 => KeyRing::new(own?.algorithm()),
            algorithm => KeyRing::new(algorithm),
        };
        match (config.public_keys.clone(), own) {
            (listed, Some(own)) => ring.replace(listed.unwrap_or_default().with(own)),
            (Some(listed), None) => ring.replace(listed),
            (None, None) => {}
        }
        Some(ring)
    }

    /// The source of revocations behind Redis.
    pub(super) fn revocations(&self) -> Option<RevocationSource> {
        match self {
            Self::Issuer { revocations, .. } => Some(revocations.clone()),
            Self::Verifier { .. } => None,
        }
    }

    pub(super) fn tokens(&self, config: &Base, ring: Option<KeyRing>) -> AccessTokens {
        let mut tokens = AccessTokens::accepting_none(config.access_token_lifetime);
        if let Some(secret) = &config.secret_key {
            tokens = tokens.accept_secrets(secret, config.secret_key_previous.as_ref());
        }
        if let Some(ring) = ring {
            tokens = tokens.accept_keys(ring);
        }
        if let Self::Issuer { private_key, with_email, .. } = self {
            tokens = match (config.algorithm, &config.secret_key, private_key) {
                (Algorithm::Hs256, Some(secret), _) => tokens.sign_with_secret(secret),
                (_, _, Some(key)) => tokens.sign_with(key),
                (_, _, None) => tokens,
            };
            tokens = if *with_email { tokens } else { tokens.without_email() };
        }
        tokens
    }
}
