//! The verification of credentials.

use std::sync::Arc;

use common::error::{Error, Result};
use common::jwt::{AccessTokens, ServiceTokens};
use engines::presence::Presence;
use engines::redis::Redis;
use platform::Platform;
use prometheus::IntCounter;

use crate::auth::revocations::Revocations;
use crate::auth::user::CurrentUser;

/// The state that the extractors need. Clones share it.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    tokens: AccessTokens,
    services: Option<ServiceTokens>,
    revocations: Revocations,
    presence: Presence,
    allow_anonymous_services: bool,
    anonymous_calls: IntCounter,
}

impl Auth {
    /// Verifies tokens with the secrets of the configuration, and revocations in Redis.
    ///
    /// # Errors
    /// Returns an error if a metric cannot be registered.
    pub fn new(platform: &Platform, redis: &Redis, presence: Presence) -> Result<Self, prometheus::Error> {
        let config = &platform.config;
        let (secret, previous) = (&config.secret_key, config.secret_key_previous.as_ref());
        let anonymous_calls =
            platform.metrics.counter("anonymous_service_calls_total", "Calls between services without credentials")?;
        Ok(Self(Arc::new(Inner {
            tokens: AccessTokens::new(secret, previous, config.access_token_lifetime),
            services: config.service_secret_key.as_ref().map(|key| ServiceTokens::new(key, platform.service.name)),
            revocations: Revocations::new(redis.clone(), &platform.metrics)?,
            presence,
            allow_anonymous_services: config.allow_anonymous_service_calls,
            anonymous_calls,
        })))
    }

    /// Issues and verifies access tokens.
    pub fn tokens(&self) -> &AccessTokens {
        &self.0.tokens
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
    /// Returns a 401 error if the token is invalid or its session was revoked.
    pub async fn user_of_token(&self, token: &str) -> Result<CurrentUser> {
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
        self.0.presence.touch(user.id).await;
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
