//! The error that a handler returns in place of its result.
//!
//! [`Error`] decides status, code and headers of an answer. Its [`IntoResponse`] implementation writes no body: it
//! leaves the error in the response's extensions as an [`ErrorExtension`], and the HTTP layer of `platform` writes the
//! [`ErrorBody`], because only that layer knows the request's id and the form of `detail` that the service's clients
//! read.

mod codes;
mod envelope;
mod values;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum_core::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::Value;

use crate::input::Invalid;

pub use envelope::{Detail, ErrorBody, FieldError};
pub use values::{json_problem, without_values};

/// The result of a handler or a domain rule.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error that is only logged.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long a client waits before it repeats a request that an unavailable dependency failed.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The message of a request without valid credentials.
pub const NOT_AUTHENTICATED: &str = "Not authenticated";
/// The message of a request for a path that does not exist.
pub const PATH_NOT_FOUND: &str = "Not Found";
/// The message of a request whose path exists, but not for its method.
pub const METHOD_NOT_ALLOWED: &str = "Method Not Allowed";

/// A failed request. The client reads the cause of the first three variants; the cause of the others is only logged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rule rejected the request. The client can act on the message.
    #[error("{message}")]
    Refused {
        /// A 4xx status, or 501 for a part that the deployment does not have.
        status: StatusCode,
        /// The machine-readable code of the contract, such as `resource_not_found`.
        code: &'static str,
        /// The text for the client.
        message: Cow<'static, str>,
    },

    /// The input is malformed or breaks the rules of its fields: 422.
    #[error("invalid input")]
    Invalid(Rejected),

    /// The caller exceeded a rate limit: 429.
    #[error("rate limit exceeded")]
    TooMany {
        /// When the caller may try again, sent in whole seconds, at least 1.
        retry_after: Duration,
    },

    /// A dependency is unavailable: 503 with `Retry-After`.
    #[error("{dependency} is unavailable: {source}")]
    Unavailable {
        /// The name of the dependency, as metrics and logs show it.
        dependency: &'static str,
        /// The cause, for the log.
        source: BoxError,
    },

    /// A defect of this system: 500, with nothing internal in the answer.
    #[error("internal error: {0}")]
    Internal(#[source] BoxError),
}

/// A rejected input: its broken rules, its source and its value.
#[derive(Debug)]
pub struct Rejected {
    /// `body`, `query` or `path`.
    pub source: &'static str,
    /// The broken rules.
    pub invalid: Invalid,
    /// The input as it was sent, so that the answer can quote it.
    pub sent: Value,
}

/// The error of a response whose body is not yet written.
#[derive(Clone, Debug)]
pub struct ErrorExtension(pub Arc<Error>);

impl Error {
    /// The requested resource does not exist: 404 `resource_not_found`.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::refused(StatusCode::NOT_FOUND, "resource_not_found", message)
    }

    /// The request contradicts the resource's state: 409 `resource_conflict`.
    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::refused(StatusCode::CONFLICT, "resource_conflict", message)
    }

    /// The caller lacks the permission: 403 `authorization_error`.
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::refused(StatusCode::FORBIDDEN, "authorization_error", message)
    }

    /// A business rule rejected the request: 400 `business_logic_error`.
    pub fn business(message: impl Into<Cow<'static, str>>) -> Self {
        Self::refused(StatusCode::BAD_REQUEST, "business_logic_error", message)
    }

    /// The credentials are wrong: 401 `authentication_error`.
    pub fn unauthenticated(message: impl Into<Cow<'static, str>>) -> Self {
        Self::refused(StatusCode::UNAUTHORIZED, "authentication_error", message)
    }

    /// The request carries no valid token: 401 with the message of the original.
    pub fn not_authenticated() -> Self {
        Self::unauthenticated(NOT_AUTHENTICATED)
    }

    /// A rejection with a status and a code of its own, which docs/errors.md has.
    pub fn refused(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        debug_assert!(codes::is_documented(code, status.as_u16()), "{code} with {status} is not in docs/errors.md");
        Self::Refused { status, code, message: message.into() }
    }

    /// `dependency` is unavailable because of `source`.
    pub fn unavailable(dependency: &'static str, source: impl Into<BoxError>) -> Self {
        Self::Unavailable { dependency, source: source.into() }
    }

    /// A defect of this system.
    pub fn internal(source: impl Into<BoxError>) -> Self {
        Self::Internal(source.into())
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Refused { status, .. } => *status,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The machine-readable code of the answer.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused { code, .. } => code,
            Self::Invalid(_) => "validation_error",
            Self::TooMany { .. } => "rate_limit_exceeded",
            Self::Unavailable { .. } => "service_unavailable",
            Self::Internal(_) => "internal_server_error",
        }
    }

    /// The text for the client, without internal details.
    pub fn message(&self) -> Cow<'static, str> {
        match self {
            Self::Refused { message, .. } => message.clone(),
            Self::Invalid(_) => "Request validation failed".into(),
            Self::TooMany { .. } => "Too many requests, try again later".into(),
            Self::Unavailable { .. } => "Service temporarily unavailable, try again shortly".into(),
            Self::Internal(_) => "An unexpected error occurred".into(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooMany { retry_after } => Some(*retry_after),
            Self::Unavailable { .. } => Some(RETRY_AFTER),
            _ => None,
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response.extensions_mut().insert(ErrorExtension(Arc::new(self)));
        response
    }
}
