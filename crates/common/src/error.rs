//! What a handler answers instead of its result, and the one envelope in which clients get it.

use std::borrow::Cow;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::http::context;
use crate::input::{Broken, Invalid, Step};
use crate::mysql;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How long a client should wait when a dependency is away: it is usually back, or replaced, by then.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Either the client is told why not, or we failed and only the log is told why.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rule said no: the client can act on it.
    #[error("{message}")]
    Refused { status: StatusCode, code: &'static str, message: Cow<'static, str> },

    /// The input cannot be read.
    #[error("invalid input")]
    Invalid(Rejected),

    /// Too much of a good thing.
    #[error("rate limit exceeded")]
    TooMany { retry_after: Duration },

    /// A dependency is away: 503 with `Retry-After`, nothing was changed.
    #[error("{dependency} is unavailable: {source}")]
    Unavailable { dependency: &'static str, source: Cause },

    /// A fault of ours: 500, with nothing internal in the answer.
    #[error("internal error: {0}")]
    Internal(#[source] Cause),
}

pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An input that breaks rules, with the place it came from and what was sent.
#[derive(Debug)]
pub struct Rejected {
    /// `body`, `query` or `path`.
    pub source: &'static str,
    pub invalid: Invalid,
    /// What was sent, to show the client its own values.
    pub sent: Value,
}

impl Error {
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::refused(StatusCode::NOT_FOUND, "resource_not_found", message)
    }

    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::refused(StatusCode::CONFLICT, "resource_conflict", message)
    }

    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::refused(StatusCode::FORBIDDEN, "authorization_error", message)
    }

    pub fn business(message: impl Into<Cow<'static, str>>) -> Self {
        Self::refused(StatusCode::BAD_REQUEST, "business_logic_error", message)
    }

    pub fn unauthenticated(message: impl Into<Cow<'static, str>>) -> Self {
        Self::refused(StatusCode::UNAUTHORIZED, "authentication_error", message)
    }

    /// No token, or none that counts.
    pub fn not_authenticated() -> Self {
        Self::unauthenticated(NOT_AUTHENTICATED)
    }

    pub fn refused(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused { status, code, message: message.into() }
    }

    pub fn unavailable(dependency: &'static str, source: impl Into<Cause>) -> Self {
        Self::Unavailable { dependency, source: source.into() }
    }

    pub fn internal(source: impl Into<Cause>) -> Self {
        Self::Internal(source.into())
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Refused { status, .. } => *status,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Refused { code, .. } => code,
            Self::Invalid(_) => "validation_error",
            Self::TooMany { .. } => "rate_limit_exceeded",
            Self::Unavailable { .. } => "service_unavailable",
            Self::Internal(_) => "internal_server_error",
        }
    }

    /// The text for the client: nothing internal.
    fn message(&self) -> Cow<'static, str> {
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

const NOT_AUTHENTICATED: &str = "Not authenticated";
pub(crate) const NO_SUCH_PATH: &str = "Not Found";
pub(crate) const NO_SUCH_METHOD: &str = "Method Not Allowed";

/// What the original's framework says itself, and therefore as a bare text.
const PLAIN: [&str; 3] = [NOT_AUTHENTICATED, NO_SUCH_PATH, NO_SUCH_METHOD];

/// The envelope of every error, whatever went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    #[schema(example = "resource_not_found")]
    pub error: &'static str,
    pub message: Cow<'static, str>,
    /// More about it, where there is more.
    pub details: Option<Value>,
    pub status_code: u16,
    /// What FastAPI's clients read: a text, an object, or a list with one entry per broken field.
    pub detail: Value,
    pub request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_errors: Option<Vec<FieldError>>,
}

/// One broken field, in our own shape.
#[derive(Debug, Serialize, ToSchema)]
pub struct FieldError {
    pub field: String,
    pub message: String,
    /// What was sent; never a password.
    pub value: Value,
}

impl From<&Error> for ErrorBody {
    fn from(error: &Error) -> Self {
        let (code, message, status_code) = (error.code(), error.message(), error.status().as_u16());
        let (detail, validation_errors) = match error {
            Error::Invalid(rejected) => rejected.entries(),
            _ if context::plain_refusals() || PLAIN.contains(&message.as_ref()) => (json!(message), None),
            _ => (json!({"error": code, "message": message, "details": null, "status_code": status_code}), None),
        };
        let request_id = context::request_id();
        Self { error: code, message, details: None, status_code, detail, request_id, validation_errors }
    }
}

impl Rejected {
    fn entries(&self) -> (Value, Option<Vec<FieldError>>) {
        let broken = &self.invalid.0;
        let detail = broken.iter().map(|b| self.detail(b)).collect();
        let ours = broken.iter().map(|b| self.field_error(b)).collect();
        (Value::Array(detail), Some(ours))
    }

    fn detail(&self, broken: &Broken) -> Value {
        let mut loc = vec![json!(self.source)];
        loc.extend(broken.path.iter().map(|step| match step {
            Step::Key(key) => json!(key),
            Step::Index(index) => json!(index),
        }));
        json!({"type": broken.kind, "loc": loc, "msg": broken.message, "input": self.sent_at(broken)})
    }

    fn field_error(&self, broken: &Broken) -> FieldError {
        let steps = broken.path.iter().map(|step| match step {
            Step::Key(key) => key.clone(),
            Step::Index(index) => index.to_string(),
        });
        let field = steps.collect::<Vec<_>>().join(".");
        let field = if field.is_empty() { self.source.to_owned() } else { field };
        FieldError { field, message: broken.message.clone(), value: self.sent_at(broken) }
    }

    fn sent_at(&self, broken: &Broken) -> Value {
        // What is addressed whole (not an object, not JSON) may hold anything, a password among it.
        let secret = |key: &String| key.contains("password") || key.contains("token");
        let mut value = &self.sent;
        if broken.path.is_empty() {
            return Value::Null;
        }
        for step in &broken.path {
            let next = match step {
                Step::Key(key) if secret(key) => None,
                Step::Key(key) => value.get(key),
                Step::Index(index) => value.get(index),
            };
            match next {
                Some(next) => value = next,
                None => return Value::Null,
            }
        }
        value.clone()
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        match &self {
            Self::Unavailable { dependency, source } => {
                tracing::warn!(dependency, error = %source, "dependency unavailable");
            }
            Self::Internal(source) => tracing::error!(error = %source, "internal error"),
            _ => {}
        }
        let mut response = (self.status(), Json(ErrorBody::from(&self))).into_response();
        let headers = response.headers_mut();
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        response
    }
}

impl From<sqlx::Error> for Error {
    fn from(e: sqlx::Error) -> Self {
        if mysql_is_away(&e) { Self::unavailable("mysql", e) } else { Self::internal(e) }
    }
}

/// Not to be reached, shutting down, too many connections, a lock or a deadlock that cost us the transaction, a table not
/// yet migrated: all pass, and nothing was changed.
fn mysql_is_away(e: &sqlx::Error) -> bool {
    use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Protocol};
    const PASSING: [u16; 8] = [1040, 1053, 1079, 1146, mysql::LOCK_WAIT_TIMEOUT, mysql::DEADLOCK, 1317, 1927];
    matches!(e, Io(_) | PoolTimedOut | PoolClosed | Protocol(_))
        || mysql::number(e).is_some_and(|number| PASSING.contains(&number))
}

impl From<mongodb::error::Error> for Error {
    fn from(e: mongodb::error::Error) -> Self {
        if mongodb_is_away(&e) { Self::unavailable("mongodb", e) } else { Self::internal(e) }
    }
}

/// Not to be reached, going or coming back, or another writer was first: what was asked can be asked again.
fn mongodb_is_away(e: &mongodb::error::Error) -> bool {
    use mongodb::error::{
        ErrorKind, RETRYABLE_WRITE_ERROR, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT,
    };
    /// What the drivers' specification calls retryable for reads, and a cursor that a restart has closed.
    const PASSING: [i32; 14] = [6, 7, 43, 89, 91, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436];
    let passing = match &*e.kind {
        ErrorKind::Io(_)
        | ErrorKind::ServerSelection { .. }
        | ErrorKind::ConnectionPoolCleared { .. }
        // So the driver says while it knows no server at all.
        | ErrorKind::SessionsNotSupported => true,
        ErrorKind::Command(refused) => PASSING.contains(&refused.code),
        _ => false,
    };
    let labels = [RETRYABLE_WRITE_ERROR, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT];
    passing || labels.into_iter().any(|label| e.contains_label(label))
}

impl From<redis::RedisError> for Error {
    fn from(e: redis::RedisError) -> Self {
        Self::unavailable("redis", e)
    }
}

/// Turns a violated unique key into the refusal that it stands for.
pub trait OnDuplicate<T> {
    fn on_duplicate(self, key: &str, refusal: impl FnOnce() -> Error) -> Result<T>;
}

impl<T> OnDuplicate<T> for Result<T, sqlx::Error> {
    fn on_duplicate(self, key: &str, refusal: impl FnOnce() -> Error) -> Result<T> {
        self.map_err(|e| match e.as_database_error() {
            Some(d) if d.is_unique_violation() && d.message().contains(key) => refusal(),
            _ => e.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use mongodb::error::ErrorKind;
    use serde_json::{from_value, json};

    use super::*;

    fn refused_by_mongodb(code: i32) -> Error {
        let refused = from_value(json!({"code": code, "topologyVersion": null})).unwrap();
        mongodb::error::Error::from(ErrorKind::Command(refused)).into()
    }

    #[test]
    fn a_mongod_that_goes_or_comes_is_away_and_a_wrong_command_is_a_fault_of_ours() {
        for shutting_down in [91, 11600] {
            assert!(matches!(refused_by_mongodb(shutting_down), Error::Unavailable { dependency: "mongodb", .. }));
        }
        assert!(matches!(refused_by_mongodb(43), Error::Unavailable { .. }), "a cursor of before the restart");
        assert!(matches!(refused_by_mongodb(134), Error::Unavailable { .. }), "majority reads after the restart");
        assert!(matches!(refused_by_mongodb(9), Error::Internal(_)), "FailedToParse");
    }
}
