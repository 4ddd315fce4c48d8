//! The HTTP calls: bounded in time, retried, and rejected by a circuit breaker while user-service is unavailable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use common::error::{BoxError, Error, json_problem};
use common::id::UserId;
use common::jwt::ServiceTokens;
use platform::config::CallConfig;
use platform::http::cause;
use platform::telemetry::{Metrics, Trace, trace};
use prometheus::{HistogramVec, IntCounterVec, IntGauge};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::Span;

use crate::answer;
use crate::clients::user::breaker::{CircuitBreaker, FAILURES_TO_OPEN, Transition};
use crate::clients::user::profile::UserProfile;

const DEPENDENCY: &str = "user-service";

/// The longest time for a call with its retries. `HTTP_TIMEOUT`, by default 10 s as in the original, can only shorten
/// it.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest time for a connection with its handshake, which both ends share a network for.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Shorter than user-service's `HTTP_HEADER_TIMEOUT`, so that no call is sent on a closing connection.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// The retries after the first attempt. All calls are reads and can be retried.
const RETRIES: usize = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// The greatest number of users in a page of a search, which user-service and the original accept.
pub(super) const SEARCH_PAGE: usize = 50;

/// A longer answer is rejected. A batch of 100 profiles has under 250 KB.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// The reason for which a call failed.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("not called: it failed {FAILURES_TO_OPEN} times in a row")]
    CircuitOpen,
    #[error("no answer in time")]
    Timeout,
    #[error("no connection: {0}")]
    Connection(Arc<str>),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it answered with an invalid body: {0}")]
    InvalidBody(Arc<str>),
}

impl CallError {
    /// The value of the metric's label `outcome`.
    fn outcome(&self) -> &'static str {
        match self {
            Self::CircuitOpen => "rejected",
            Self::Timeout => "timeout",
            Self::Connection(_) => "connection",
            Self::Status(_) => "status",
            Self::InvalidBody(_) => "garbage",
        }
    }

    /// Whether the service failed and not the request. Then the call is retried and the breaker counts a failure.
    fn is_transient(&self) -> bool {
        match self {
            Self::CircuitOpen => false,
            Self::Status(status) => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            Self::Timeout | Self::Connection(_) | Self::InvalidBody(_) => true,
        }
    }
}

impl From<CallError> for Error {
    fn from(failed: CallError) -> Self {
        Self::unavailable(DEPENDENCY, failed)
    }
}

impl From<reqwest::Error> for CallError {
    fn from(e: reqwest::Error) -> Self {
        if e.is_timeout() { Self::Timeout } else { Self::Connection(cause(&e.without_url()).into()) }
    }
}

#[derive(Deserialize)]
struct Exists {
    exists: bool,
}

/// A page of a search.
#[derive(Deserialize)]
pub(super) struct Found {
    pub(super) users: Vec<UserProfile>,
    /// The number of all matches.
    pub(super) total_count: usize,
}

pub(super) struct Calls {
    http: Client,
    base_url: String,
    /// None without `SERVICE_SECRET_KEY`. Then only the original answers, which requires no credentials.
    tokens: Option<ServiceTokens>,
    timeout: Duration,
    breaker: CircuitBreaker,
    circuit_open: IntGauge,
    outcomes: IntCounterVec,
    durations: HistogramVec,
}

impl Calls {
    pub(super) fn new(
        base_url: String,
        calls: &CallConfig,
        tokens: Option<ServiceTokens>,
        metrics: &Metrics,
    ) -> Result<Self, BoxError> {
        let timeout = CALL_TIMEOUT.min(calls.timeout);
        // Half of the time, so that an attempt without an answer leaves time for another.
        let http = calls.tls.client().redirect(Policy::none());
        let http = http.connect_timeout(CONNECT_TIMEOUT).timeout(timeout / 2);
        let http = http.pool_idle_timeout(POOL_IDLE_TIMEOUT).build()?;
        let labels = ["call", "outcome"];
        Ok(Self {
            http,
            base_url,
            tokens,
            timeout,
            breaker: CircuitBreaker::new(),
            circuit_open: metrics.gauge("user_service_circuit_open", "1 while the circuit breaker rejects calls")?,
            outcomes: metrics.counters("user_service_calls_total", "Attempts to call user-service", &labels)?,
            durations: metrics.durations("user_service_call_duration_seconds", "Duration of an attempt", &["call"])?,
        })
    }

    /// The longest time for a call with its retries.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The profiles of those of at most 100 users that exist. `trace` is the request that the call is made for.
    pub(super) async fn batch(&self, ids: &[UserId], trace: &Trace) -> Result<Vec<UserProfile>, CallError> {
        let url = format!("{}/api/users/batch", self.base_url);
        let body = json!({"user_ids": ids});
        self.call("batch", || self.as_service(self.http.post(&url)).json(&body), trace).await
    }

    pub(super) async fn exists(&self, id: UserId) -> Result<bool, CallError> {
        let url = format!("{}/api/users/{id}/exists", self.base_url);
        let request = || self.as_service(self.http.get(&url));
        self.call("exists", request, &Trace::current()).await.map(|Exists { exists }| exists)
    }

    /// A page of at most [`SEARCH_PAGE`] matches after the first `offset` ones. The original ignores the offset.
    pub(super) async fn search(&self, token: &str, query: &str, offset: usize) -> Result<Found, Error> {
        let url = format!("{}/api/users/search", self.base_url);
        let (limit, offset) = (SEARCH_PAGE.to_string(), offset.to_string());
        let parameters = [("query", query), ("limit", &limit), ("offset", &offset)];
        let request = || self.http.get(&url).query(&parameters).bearer_auth(token);
        let found = self.call("search", request, &Trace::current()).await;
        // User-service may know of a revocation before this service does.
        found.map_err(|failed| match failed {
            CallError::Status(StatusCode::UNAUTHORIZED) => Error::not_authenticated(),
            failed => failed.into(),
        })
    }

    fn as_service(&self, request: RequestBuilder) -> RequestBuilder {
        match self.tokens.as_ref().map(|tokens| tokens.issue(DEPENDENCY)) {
            Some(Ok(token)) => request.bearer_auth(token),
            _ => request,
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        name: &'static str,
        request: impl Fn() -> RequestBuilder,
        trace: &Trace,
    ) -> Result<T, CallError> {
        let attempts = (|| self.attempt(name, request(), trace)).retry(pauses()).when(CallError::is_transient);
        tokio::time::timeout(self.timeout, attempts).await.unwrap_or(Err(CallError::Timeout))
    }

    /// One attempt, which the breaker and the metrics count.
    async fn attempt<T: DeserializeOwned>(
        &self,
        name: &'static str,
        request: RequestBuilder,
        trace: &Trace,
    ) -> Result<T, CallError> {
        if !self.breaker.permits(Instant::now()) {
            self.outcomes.with_label_values(&[name, CallError::CircuitOpen.outcome()]).inc();
            return Err(CallError::CircuitOpen);
        }
        let started = Instant::now();
        let span = trace::follow(span(name), trace.traceparent.as_deref());
        let answered = ask(traced(request, trace, &span)).await;
        drop(span);
        self.durations.with_label_values(&[name]).observe(started.elapsed().as_secs_f64());
        self.outcomes.with_label_values(&[name, answered.as_ref().map_or_else(CallError::outcome, |_| "ok")]).inc();
        if let Err(failed) = &answered {
            tracing::debug!(call = name, %failed, "user-service");
        }
        self.record(!answered.as_ref().is_err_and(CallError::is_transient));
        answered
    }

    fn record(&self, success: bool) {
        match self.breaker.record(success, Instant::now()) {
            Some(Transition::Opened) => {
                self.circuit_open.set(1);
                tracing::warn!("user-service fails, the circuit is open");
            }
            Some(Transition::Closed) => {
                self.circuit_open.set(0);
                tracing::info!("user-service answers, the circuit is closed");
            }
            None => {}
        }
    }
}

fn span(call: &str) -> Span {
    tracing::info_span!(
        target: trace::TARGET,
        parent: None,
        "call",
        otel.name = format!("{DEPENDENCY} {call}"),
        otel.kind = "client",
        peer.service = DEPENDENCY,
    )
}

/// Adds the headers of the request that the call is made for, and of the span.
fn traced(request: RequestBuilder, trace: &Trace, span: &Span) -> RequestBuilder {
    let context = trace::traceparent(span).or_else(|| trace.traceparent.clone());
    let headers = [("x-request-id", trace.request_id.clone()), (trace::TRACEPARENT, context)];
    headers.into_iter().fold(request, |request, (name, value)| match value {
        Some(value) => request.header(name, value),
        None => request,
    })
}

async fn ask<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, CallError> {
    let response = request.send().await?;
    if response.status() != StatusCode::OK {
        return Err(CallError::Status(response.status()));
    }
    let body = answer::body(response, MAX_ANSWER_BYTES).await?;
    let body = body.ok_or_else(|| CallError::InvalidBody("it is too long".into()))?;
    serde_json::from_slice(&body).map_err(|e| CallError::InvalidBody(json_problem(&e).into()))
}

fn pauses() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_max_times(RETRIES)
        .with_jitter()
}
