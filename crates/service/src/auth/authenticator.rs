//! The verification of credentials.

use std::sync::Arc;

use common::error::{BoxError, Error, Result};
use common::jwt::{AccessTokens, KeyRing, PublicKeys, ServiceTokens};
use engines::presence::Presence;
use engines::redis::Redis;
use platform::Platform;
use prometheus::IntCounter;

use crate::auth::public_keys::PublicKeyLoader;
use crate::auth::revocations::Revocations;
use crate::auth::role::TokenRole;
use crate::auth::user::CurrentUser;

/// The state that the extractors need. Clones share it.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    tokens: AccessTokens,
    /// The keys that this service verifies with; none if only secrets do.
    ring: Option<KeyRing>,
    /// None if the keys are known from the start.
    loader: Option<PublicKeyLoader>,
    services: Option<ServiceTokens>,
    revocations: Revocations,
    presence: Presence,
    allow_anonymous_services: bool,
    anonymous_calls: IntCounter,
}

impl Auth {
    /// Verifies tokens with the secrets and keys of the configuration, and revocations in Redis.
    ///
    /// # Errors
    /// Returns an error if a metric cannot be registered or the HTTP client cannot be built.
    pub fn new(platform: &Platform, redis: &Redis, presence: Presence, role: TokenRole) -> Result<Self, BoxError> {
        let config = &platform.config;
        let ring = role.ring(config);
        let loader = match (&role, &ring) {
            (TokenRole::Verifier { user_service_url }, Some(ring)) if ring.current().is_none() => {
                Some(PublicKeyLoader::start(user_service_url, ring.clone(), platform)?)
            }
            _ => None,
        };
        let anonymous_calls =
            platform.metrics.counter("anonymous_service_calls_total", "Calls between services without credentials")?;
        Ok(Self(Arc::new(Inner {
            tokens: role.tokens(config, ring.clone()),
            ring,
            loader,
            services: config.service_secret_key.as_ref().map(|key| ServiceTokens::new(key, platform.service.name)),
            revocations: Revocations::new(redis.clone(), role.revocations(), &platform.metrics)?,
            presence,
            allow_anonymous_services: config.allow_anonymous_service_calls,
            anonymous_calls,
        })))
    }

    /// Issues and verifies access tokens.
    pub fn tokens(&self) -> &AccessTokens {
        &self.0.tokens
    }

    /// The public keys that verify access tokens; empty if only secrets do.
    pub fn public_keys(&self) -> Arc<PublicKeys> {
        self.0.ring.as_ref().and_then(KeyRing::current).unwrap_or_default()
    }

    /// Signs and verifies calls between services; none without `SERVICE_SECRET_KEY`.
    pub fn service_tokens(&self) -> Option<&ServiceTokens> {
        self.0.services.as_ref()
    }

    /// Revoked sessions.
    pub fn revocations(&self) -> &Revocations {
        &self.0.revocations
    }

    /// The user of an access token. The call is a sign of life. It usually needs no I/O.
    ///
    /// # Errors
    /// Returns a 401 error if the token is invalid or its session was revoked, and an unavailable error if no public
    /// key could be loaded yet.
    pub async fn user_of_token(&self, token: &str) -> Result<CurrentUser> {
        if let Some(loader) = &self.0.loader
            && let Some(key) = self.0.tokens.unknown_key(token)
        {
            loader.look_for(&key).await?;
        }
        let claims = self.0.tokens.verify(token).ok_or_else(Error::not_authenticated)?;
        self.admit(CurrentUser::of(claims, token).ok_or_else(Error::not_authenticated)?).await
    }

    /// Checks that the session of a user with valid credentials is not revoked. The call is a sign of life.
    ///
    /// # Errors
    /// Returns a 401 error if the session or the account was revoked.
    pub async fn admit(&self, user: CurrentUser) -> Result<CurrentUser> {
        if self.0.revocations.revoked(&user.session, user.id).await {
            return Err(Error::not_authenticated());
        }
        // As a number, and as the text by which operators search the log.
        tracing::Span::current()
            .record("user_id", user.id.0)
            .record("user", tracing::field::display(format_args!("user_id={}", user.id)));
        self.0.presence.touch(user.id, &user.session).await;
        Ok(user)
    }

    /// Whether a call without credentials passes for one of a service, as the original makes it. Counts the call if so.
    pub(super) fn admits_anonymous_service(&self) -> bool {
        if self.0.allow_anonymous_services {
            self.0.anonymous_calls.inc();
        }
        self.0.allow_anonymous_services
    }
}
