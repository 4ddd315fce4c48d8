//! Who is asking: tokens, sessions that were ended, and the extractors that handlers name in their arguments.

mod caller;
mod revocation;
mod token;

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use prometheus::IntCounter;

pub use caller::{CurrentUser, ServiceCaller, UserOrService};
pub use revocation::Revocations;
pub use token::{AccessClaims, CLOCK_SKEW, ServiceTokens, Tokens};

use crate::error::{Error, Result};
use crate::id::UserId;
use crate::platform::Platform;
use crate::presence::Presence;
use crate::redis::Redis;

/// What the extractors need of a service's state.
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    tokens: Tokens,
    services: Option<ServiceTokens>,
    revocations: Revocations,
    presence: Presence,
    /// Open `batch` and `exists` to anyone, while an original service still calls them without credentials.
    allow_anonymous_services: bool,
    anonymous_calls: IntCounter,
}

impl Auth {
    pub fn new(platform: &Platform, redis: &Redis, presence: Presence) -> Result<Self, prometheus::Error> {
        let config = &platform.config;
        let anonymous_calls =
            platform.metrics.counter("anonymous_service_calls_total", "Calls between services without credentials")?;
        Ok(Self(Arc::new(Inner {
            tokens: Tokens::new(config),
            services: config.service_secret_key.as_ref().map(|key| ServiceTokens::new(key, platform.service.name)),
            revocations: Revocations::new(redis.clone(), &platform.metrics)?,
            presence,
            allow_anonymous_services: config.allow_anonymous_service_calls,
            anonymous_calls,
        })))
    }

    pub fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    /// Signs calls to other services; none without `SERVICE_SECRET_KEY`.
    pub fn service_tokens(&self) -> Option<&ServiceTokens> {
        self.0.services.as_ref()
    }

    pub fn revocations(&self) -> &Revocations {
        &self.0.revocations
    }

    /// The user whose access token the headers carry. Without I/O in the usual case.
    async fn user(&self, headers: &HeaderMap) -> Result<CurrentUser> {
        let token = bearer(headers).ok_or_else(Error::not_authenticated)?;
        self.user_of_token(token).await
    }

    /// The user of an access token, if neither it nor its session has ended; counts as a sign of life.
    pub async fn user_of_token(&self, token: &str) -> Result<CurrentUser> {
        let claims = self.0.tokens.verify(token).ok_or_else(Error::not_authenticated)?;
        self.admit(CurrentUser::of(claims, token).ok_or_else(Error::not_authenticated)?).await
    }

    /// Lets someone in whose credentials are good, if their session has not ended; counts as a sign of life.
    pub async fn admit(&self, user: CurrentUser) -> Result<CurrentUser> {
        if self.0.revocations.revoked(&user.session, user.id).await {
            return Err(Error::not_authenticated());
        }
        // Once as a number, and once as the text by which logs are searched.
        tracing::Span::current()
            .record("user_id", user.id.0)
            .record("user", tracing::field::display(format_args!("user_id={}", user.id)));
        self.0.presence.touch(user.id).await;
        Ok(user)
    }
}

/// The token of an `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// The Redis key that says a session has ended.
fn revoked_session(redis: &Redis, session: &str) -> String {
    redis.key(format_args!("session:revoked:{session}"))
}

/// The Redis key that says an account was deactivated.
fn revoked_user(redis: &Redis, user: UserId) -> String {
    redis.key(format_args!("session:revoked:user:{user}"))
}
