//! The extractors: name one in a handler's arguments, before the body, and nobody else gets in.

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;

use super::{AccessClaims, Auth, bearer};
use crate::error::{Error, Result};
use crate::id::UserId;

/// The user whose valid access token came with the request.
#[derive(Clone, Debug)]
pub struct CurrentUser {
    pub id: UserId,
    /// Absent in tokens of the original.
    pub username: Option<String>,
    /// What a logout ends: the session id, or for tokens of the original, which have none, the token's signature.
    pub session: Arc<str>,
    /// Seconds since 1970 at which the token ends.
    pub expires_at: i64,
    /// The session id where the token has one.
    pub sid: Option<uuid::Uuid>,
}

impl CurrentUser {
    pub(super) fn of(claims: AccessClaims, token: &str) -> Option<Self> {
        let id = claims.sub.parse().ok().filter(|id: &UserId| id.0 > 0)?;
        let session = match claims.sid {
            Some(sid) => sid.to_string(),
            None => token.rsplit('.').next()?.to_owned(),
        };
        Some(Self { id, username: claims.username, session: session.into(), expires_at: claims.exp, sid: claims.sid })
    }
}

impl<S> FromRequestParts<S> for CurrentUser
where
    S: Send + Sync,
    Auth: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        Auth::from_ref(state).user(&parts.headers).await
    }
}

/// Another service of ours, by its own token; no user passes for one.
#[derive(Clone, Debug)]
pub struct ServiceCaller(pub String);

impl<S> FromRequestParts<S> for ServiceCaller
where
    S: Send + Sync,
    Auth: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let auth = Auth::from_ref(state);
        let service = bearer(&parts.headers).and_then(|token| auth.service_tokens()?.verify(token));
        service.map(Self).ok_or_else(Error::not_authenticated)
    }
}

/// A service or a user; anyone at all where `ALLOW_ANONYMOUS_SERVICE_CALLS` says so.
#[derive(Clone, Copy, Debug)]
pub struct UserOrService;

impl<S> FromRequestParts<S> for UserOrService
where
    S: Send + Sync,
    Auth: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        if ServiceCaller::from_request_parts(parts, state).await.is_ok() {
            return Ok(Self);
        }
        let auth = Auth::from_ref(state);
        match auth.user(&parts.headers).await {
            Ok(_) => Ok(Self),
            Err(_) if auth.0.allow_anonymous_services => {
                auth.0.anonymous_calls.inc();
                Ok(Self)
            }
            Err(e) => Err(e),
        }
    }
}
