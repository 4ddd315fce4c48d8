//! The HTTP client: reads every body, and names each failure by its status and its code.

use std::error::Error;
use std::fmt;
use std::iter::successors;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use reqwest::header::HeaderValue;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use webpki_roots::TLS_SERVER_ROOTS;

/// The time for a whole answer. Longer than the 30 s after which the services give up themselves.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(35);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection stays open without a request. It is shorter than the services' `HTTP_HEADER_TIMEOUT` of 10 s and the
/// 5 s of uvicorn: a request that is sent while the server closes the connection is lost.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// The longest code of an error that is shown. It comes from the measured system.
const MAX_CODE_CHARS: usize = 60;

/// A client without a limit of connections: each request in flight has one, and they are reused.
///
/// # Errors
/// Fails if TLS cannot be set up, which is a defect.
pub fn client() -> Result<Client> {
    let roots = RootCertStore { roots: TLS_SERVER_ROOTS.to_vec() };
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let tls = tls.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth();
    let client = Client::builder().no_proxy().tls_backend_preconfigured(tls).connect_timeout(CONNECT_TIMEOUT);
    let client = client.pool_idle_timeout(POOL_IDLE_TIMEOUT).tcp_nodelay(true).redirect(Policy::none());
    Ok(client.build()?)
}

/// The reason for which an act did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    Status {
        status: u16,
        code: String,
    },
    Timeout,
    /// No connection, or one that broke.
    Connection(String),
    /// An answer of success without the expected content.
    Content(&'static str),
    /// The run has registered as many accounts as it may.
    Accounts,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status { status, code } if code.is_empty() => write!(f, "{status}"),
            Self::Status { status, code } => write!(f, "{status} {code}"),
            Self::Timeout => write!(f, "no answer within {} s", REQUEST_TIMEOUT.as_secs()),
            Self::Connection(cause) => write!(f, "connection: {cause}"),
            Self::Content(missing) => write!(f, "the answer has no {missing}"),
            Self::Accounts => write!(f, "the limit of --accounts is reached"),
        }
    }
}

impl Error for Failure {}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        // The last cause is the most exact, and does not contain the URL.
        let causes = successors(Some(&error as &dyn Error), |error| (*error).source());
        Self::Connection(causes.last().map(ToString::to_string).unwrap_or_default())
    }
}

/// Sends a request and reads the whole answer.
///
/// # Errors
/// Fails for a status other than 2xx, a broken connection, and an answer that is too late.
pub async fn exchange(request: RequestBuilder) -> Result<Bytes, Failure> {
    let response = request.timeout(REQUEST_TIMEOUT).send().await?;
    match response.status().is_success() {
        true => Ok(response.bytes().await?),
        false => Err(refused(response).await),
    }
}

/// The failure of an answer whose status is not 2xx.
pub async fn refused(response: Response) -> Failure {
    let status = response.status().as_u16();
    match response.bytes().await {
        Ok(body) => Failure::Status { status, code: code(&body) },
        Err(error) => error.into(),
    }
}

/// The code in the body of an error; empty if it has none.
fn code(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct ErrorBody {
        error: String,
    }
    let code = serde_json::from_slice::<ErrorBody>(body).map(|body| body.error).unwrap_or_default();
    code.chars().filter(|char| !char.is_control()).take(MAX_CODE_CHARS).collect()
}

/// The header of a token.
///
/// # Errors
/// Fails for a token that no header can carry.
pub fn bearer(token: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| Failure::Content("valid token"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_an_error_is_that_of_its_body() {
        assert_eq!(code(br#"{"error": "BLOCKED", "message": "no"}"#), "BLOCKED");
        assert_eq!(code(br#"{"message": "API rate limit exceeded"}"#), "");
        assert_eq!(code(br#"{"error": {"nested": 1}}"#), "");
        assert_eq!(code(b"<html>"), "");
    }

    #[test]
    fn a_long_code_is_cut_and_has_no_control_characters() {
        let body = format!(r#"{{"error": "a\n{}"}}"#, "b".repeat(500));
        assert_eq!(code(body.as_bytes()), format!("a{}", "b".repeat(MAX_CODE_CHARS - 1)));
    }

    #[test]
    fn failures_are_named_by_status_and_code() {
        let refused = |code: &str| Failure::Status { status: 503, code: code.into() }.to_string();
        assert_eq!(refused("service_unavailable"), "503 service_unavailable");
        assert_eq!(refused(""), "503");
    }
}
