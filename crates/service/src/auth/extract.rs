//! The extractors. A handler names one among its arguments, before the body.

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;
use axum_extra::TypedHeader;
use axum_extra::headers::Authorization;
use axum_extra::headers::authorization::Bearer;
use common::error::{Error, Result};
use common::id::UserId;

use crate::auth::authenticator::Auth;
use crate::auth::user::CurrentUser;

/// The token of the header `Authorization: Bearer`.
async fn bearer(parts: &mut Parts) -> Result<Authorization<Bearer>> {
    let header = TypedHeader::from_request_parts(parts, &()).await;
    header.map(|TypedHeader(bearer)| bearer).map_err(|_| Error::not_authenticated())
}

impl<S> FromRequestParts<S> for CurrentUser
where
    S: Send + Sync,
    Auth: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        Auth::from_ref(state).user_of_token(bearer(parts).await?.token()).await
    }
}

/// The name of the service that signed the request. Every other request is rejected with 401, a user's too.
#[derive(Clone, Debug)]
pub struct ServiceCaller(pub String);

impl<S> FromRequestParts<S> for ServiceCaller
where
    S: Send + Sync,
    Auth: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let (auth, bearer) = (Auth::from_ref(state), bearer(parts).await?);
        let service = auth.service_tokens().and_then(|tokens| tokens.verify(bearer.token()));
        service.map(Self).ok_or_else(Error::not_authenticated)
    }
}

/// A service, or a user, who is inside, or any caller with `ALLOW_ANONYMOUS_SERVICE_CALLS`. Other requests are rejected with
/// 401.
#[derive(Clone, Copy, Debug)]
pub struct UserOrService(pub Option<UserId>);

impl<S> FromRequestParts<S> for UserOrService
where
    S: Send + Sync,
    Auth: FromRef<S>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        if ServiceCaller::from_request_parts(parts, state).await.is_ok() {
            return Ok(Self(None));
        }
        match CurrentUser::from_request_parts(parts, state).await {
            Ok(user) => Ok(Self(Some(user.id))),
            Err(_) if Auth::from_ref(state).admits_anonymous_service() => Ok(Self(None)),
            Err(e) => Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;
    use axum::http::header::AUTHORIZATION;

    async fn token(header: &[u8]) -> Option<String> {
        let request = Request::builder().header(AUTHORIZATION, header).body(()).unwrap();
        bearer(&mut request.into_parts().0).await.ok().map(|bearer| bearer.token().to_owned())
    }

    #[tokio::test]
    async fn the_scheme_of_a_bearer_token_is_case_insensitive() {
        for header in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c"] {
            assert_eq!(token(header.as_bytes()).await.as_deref(), Some("a.b.c"), "{header}");
        }
    }

    #[tokio::test]
    async fn other_headers_have_no_bearer_token() {
        for header in [&b"Basic a.b.c"[..], b"Bearer", b"Bearera.b.c", b"a.b.c", b"", b"Bearer \xff"] {
            assert_eq!(token(header).await, None, "{header:?}");
        }
        assert!(bearer(&mut Request::new(()).into_parts().0).await.is_err());
    }
}
