//! The calls themselves: bounded in time, tried again where that is safe, and not made while user-service is known to be
//! away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use failsafe::backoff::{EqualJittered, equal_jittered};
use failsafe::failure_policy::{ConsecutiveFailures, consecutive_failures};
use failsafe::{Instrument, StateMachine};
use prometheus::{HistogramVec, IntCounterVec, IntGauge};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::json;
use tracing::Span;

use crate::auth::ServiceTokens;
use crate::clients::user::{Exists, Found, UserProfile};
use crate::error::Error;
use crate::id::UserId;
use crate::platform::Failure;
use crate::telemetry::{Metrics, Trace, trace};

const DEPENDENCY: &str = "user-service";

/// A person waits for the answer: `HTTP_TIMEOUT`, 10 s as in the original, may only shorten this.
const PATIENCE: Duration = Duration::from_secs(3);

/// On one network a connection that takes longer will not come.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// After the first try. All calls here only read, so all may be tried again.
const RETRIES: usize = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// So many tries in a row have to fail before none is made for a while, and how long that while is.
const FAILURES_TO_OPEN: u32 = 5;
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(5);

/// A batch of 100 profiles has under 250 KB.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Why a call brought nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("not called: it failed {FAILURES_TO_OPEN} times in a row")]
    Resting,
    #[error("no answer in time")]
    Timeout,
    #[error("no connection: {0}")]
    Connection(Arc<str>),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("it answered what cannot be read: {0}")]
    Garbage(Arc<str>),
}

impl Failed {
    /// As the metric's label says it.
    fn outcome(&self) -> &'static str {
        match self {
            Self::Resting => "rejected",
            Self::Timeout => "timeout",
            Self::Connection(_) => "connection",
            Self::Status(_) => "status",
            Self::Garbage(_) => "garbage",
        }
    }

    /// Whether it is the service that is unwell, and not our request: then it is tried again, and counts against it.
    fn passing(&self) -> bool {
        match self {
            Self::Resting => false,
            Self::Status(status) => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            Self::Timeout | Self::Connection(_) | Self::Garbage(_) => true,
        }
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        Self::unavailable(DEPENDENCY, failed)
    }
}

impl From<reqwest::Error> for Failed {
    fn from(e: reqwest::Error) -> Self {
        if e.is_timeout() { Self::Timeout } else { Self::Connection(e.without_url().to_string().into()) }
    }
}

pub(super) struct Calls {
    http: Client,
    base_url: String,
    /// None without `SERVICE_SECRET_KEY`: then only an original, which asks for nothing, answers.
    tokens: Option<ServiceTokens>,
    patience: Duration,
    breaker: StateMachine<ConsecutiveFailures<EqualJittered>, Resting>,
    outcomes: IntCounterVec,
    durations: HistogramVec,
}

impl Calls {
    pub(super) fn new(
        base_url: String,
        timeout: Duration,
        tokens: Option<ServiceTokens>,
        metrics: &Metrics,
    ) -> Result<Self, Failure> {
        let patience = PATIENCE.min(timeout);
        // Half of it, so that a hanging try leaves time for another.
        let http = Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT).timeout(patience / 2).build()?;
        let rests = consecutive_failures(FAILURES_TO_OPEN, equal_jittered(FIRST_REST, LONGEST_REST));
        let resting =
            metrics.gauge("user_service_circuit_open", "1 while user-service is not called because it failed")?;
        let labels = ["call", "outcome"];
        Ok(Self {
            http,
            base_url,
            tokens,
            patience,
            breaker: StateMachine::new(rests, Resting(resting)),
            outcomes: metrics.counters("user_service_calls_total", "Tries to call user-service", &labels)?,
            durations: metrics.durations("user_service_call_duration_seconds", "Time of one try", &["call"])?,
        })
    }

    /// The profiles of those of at most 100 ids that exist, on behalf of a request.
    pub(super) async fn batch(&self, ids: &[UserId], trace: &Trace) -> Result<Vec<UserProfile>, Failed> {
        let url = format!("{}/api/users/batch", self.base_url);
        let body = json!({"user_ids": ids});
        self.call("batch", || self.as_service(self.http.post(&url)).json(&body), trace).await
    }

    pub(super) async fn exists(&self, id: UserId) -> Result<Exists, Failed> {
        let url = format!("{}/api/users/{id}/exists", self.base_url);
        self.call("exists", || self.as_service(self.http.get(&url)), &Trace::current()).await
    }

    pub(super) async fn search(&self, token: &str, query: &str, limit: usize) -> Result<Found, Error> {
        let url = format!("{}/api/users/search", self.base_url);
        let limit = limit.to_string();
        let request = || self.http.get(&url).query(&[("query", query), ("limit", &limit)]).bearer_auth(token);
        let found = self.call("search", request, &Trace::current()).await;
        // The token that was good enough for us was not for user-service, which knows of the account's end first.
        found.map_err(|failed| match failed {
            Failed::Status(StatusCode::UNAUTHORIZED) => Error::not_authenticated(),
            failed => failed.into(),
        })
    }

    fn as_service(&self, request: RequestBuilder) -> RequestBuilder {
        match self.tokens.as_ref().map(ServiceTokens::issue) {
            Some(Ok(token)) => request.bearer_auth(token),
            _ => request,
        }
    }

    async fn call<T: DeserializeOwned>(
        &self,
        name: &'static str,
        request: impl Fn() -> RequestBuilder,
        trace: &Trace,
    ) -> Result<T, Failed> {
        let tries = (|| self.attempt(name, request(), trace)).retry(pauses()).when(Failed::passing);
        tokio::time::timeout(self.patience, tries).await.unwrap_or(Err(Failed::Timeout))
    }

    /// One try, seen by the breaker and the metrics.
    async fn attempt<T: DeserializeOwned>(
        &self,
        name: &'static str,
        request: RequestBuilder,
        trace: &Trace,
    ) -> Result<T, Failed> {
        if !self.breaker.is_call_permitted() {
            self.outcomes.with_label_values(&[name, Failed::Resting.outcome()]).inc();
            return Err(Failed::Resting);
        }
        let started = Instant::now();
        let span = trace::follow(span(name), trace.traceparent.as_deref());
        let answered = ask(traced(request, trace, &span)).await;
        drop(span);
        self.durations.with_label_values(&[name]).observe(started.elapsed().as_secs_f64());
        self.outcomes.with_label_values(&[name, answered.as_ref().map_or_else(Failed::outcome, |_| "ok")]).inc();
        match &answered {
            Err(failed) if failed.passing() => {
                tracing::debug!(call = name, %failed, "user-service");
                self.breaker.on_error();
            }
            _ => self.breaker.on_success(),
        }
        answered
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

/// Passes on what request this is for, and in which trace.
fn traced(request: RequestBuilder, trace: &Trace, span: &Span) -> RequestBuilder {
    let context = trace::traceparent(span).or_else(|| trace.traceparent.clone());
    let headers = [("x-request-id", trace.request_id.clone()), (trace::TRACEPARENT, context)];
    headers.into_iter().fold(request, |request, (name, value)| match value {
        Some(value) => request.header(name, value),
        None => request,
    })
}

async fn ask<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, Failed> {
    let response = request.send().await?;
    if response.status() != StatusCode::OK {
        return Err(Failed::Status(response.status()));
    }
    let body = body(response).await?;
    serde_json::from_slice(&body).map_err(|e| Failed::Garbage(e.to_string().into()))
}

async fn body(mut response: Response) -> Result<Vec<u8>, Failed> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Failed::Garbage("it is too long".into()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn pauses() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_max_times(RETRIES)
        .with_jitter()
}

/// Tells the log and the metrics when calls stop and when they go on.
struct Resting(IntGauge);

impl Instrument for Resting {
    fn on_call_rejected(&self) {}

    fn on_open(&self) {
        self.0.set(1);
        tracing::warn!("user-service fails, calls rest for a while");
    }

    fn on_half_open(&self) {
        tracing::info!("user-service is tried again");
    }

    fn on_closed(&self) {
        self.0.set(0);
    }
}
