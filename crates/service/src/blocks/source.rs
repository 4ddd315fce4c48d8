//! The load of blocks from friend-service.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use common::error::{BoxError, json_problem};
use common::id::UserId;
use common::jwt::ServiceTokens;
use platform::config::CallConfig;
use platform::http::cause;
use reqwest::StatusCode;
use reqwest::redirect::Policy;
use serde::Deserialize;

use crate::answer;
use crate::auth::Auth;

/// The page size, which is friend-service's limit.
const PAGE: usize = 1_000;

/// A longer answer is rejected. A page has under 100 KB.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// The pauses while friend-service cannot be reached or fails.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The pause after a 404: a friend-service of the original has no such endpoint, until this system's replaces it.
const ABSENT_PAUSE: Duration = Duration::from_secs(60);

/// Interval of the whole loads.
const LOAD_INTERVAL: Duration = Duration::from_secs(300);

/// The blocking and the blocked user.
pub(super) type Pair = (UserId, UserId);

/// The access to friend-service.
pub struct BlockSource {
    http: reqwest::Client,
    url: String,
    tokens: Option<ServiceTokens>,
    /// The time after which all blocks are loaded again.
    pub(super) load_interval: Duration,
}

#[derive(Deserialize)]
struct BlocksPage {
    blocks: Vec<Block>,
    next_since_id: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct Block {
    pub id: i64,
    pub user_id: UserId,
    pub blocked_user_id: UserId,
}

/// The reason for which a page of blocks was not loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("{}", cause(.0))]
    Call(#[from] reqwest::Error),
    #[error("friend-service answered with more than {MAX_ANSWER_BYTES} bytes")]
    TooLong,
    #[error("friend-service answered with an invalid body: {0}")]
    InvalidBody(String),
}

impl LoadError {
    /// Whether friend-service has no blocks, as the original's.
    fn is_absent(&self) -> bool {
        matches!(self, Self::Call(error) if error.status() == Some(StatusCode::NOT_FOUND))
    }
}

impl Block {
    pub fn pair(&self) -> Pair {
        (self.user_id, self.blocked_user_id)
    }
}

impl BlockSource {
    /// The timeout bounds one call.
    ///
    /// # Errors
    /// Returns an error if the HTTP client cannot be built.
    pub fn new(friend_service_url: &str, calls: &CallConfig, auth: &Auth) -> Result<Self, BoxError> {
        let http = calls.tls.client().redirect(Policy::none()).timeout(calls.timeout).build()?;
        let url = format!("{friend_service_url}/api/friends/blocks");
        Ok(Self { http, url, tokens: auth.service_tokens().cloned(), load_interval: LOAD_INTERVAL })
    }

    /// The blocks at this URL, without a limit on the time of a call.
    #[cfg(test)]
    pub(super) fn at(url: String, tokens: Option<ServiceTokens>, load_interval: Duration) -> Self {
        let http = platform::http::CallTls::public().unwrap().client().build().unwrap();
        Self { http, url, tokens, load_interval }
    }

    /// Whether this service can sign its calls.
    pub(super) fn is_usable(&self) -> bool {
        self.tokens.is_some()
    }

    /// All blocks in the order of their ids, as soon as friend-service provides them; `None` if it has no blocks, as the
    /// original's. Never resolves without `SERVICE_SECRET_KEY`.
    pub(super) async fn all_blocks(&self) -> Option<Vec<Block>> {
        if self.tokens.is_none() {
            tracing::warn!("SERVICE_SECRET_KEY is not set, blocks come from events only");
            return std::future::pending().await;
        }
        let mut warned = false;
        let pauses = ExponentialBuilder::default().with_min_delay(FIRST_PAUSE).with_max_delay(LONGEST_PAUSE);
        let loaded = (|| self.blocks_after(0))
            .retry(pauses.with_jitter().without_max_times())
            .when(|error| !error.is_absent())
            .notify(|error, _| {
                if !std::mem::replace(&mut warned, true) {
                    tracing::warn!(%error, "cannot load blocks, retrying; until then old blocks hold nobody back");
                }
            })
            .await;
        loaded.ok()
    }

    /// Waits until friend-service may have been replaced.
    pub(super) async fn wait_for_another(&self) {
        tracing::info!("friend-service has no blocks");
        tokio::time::sleep(ABSENT_PAUSE).await;
    }

    /// The blocks after an id, in the order of their ids.
    pub(super) async fn blocks_after(&self, id: i64) -> Result<Vec<Block>, LoadError> {
        let mut all = Vec::new();
        let mut since = Some(id);
        while let Some(id) = since {
            let page = self.page(id).await?;
            all.extend(page.blocks);
            since = page.next_since_id.filter(|next| *next > id);
        }
        Ok(all)
    }

    async fn page(&self, since_id: i64) -> Result<BlocksPage, LoadError> {
        let mut request = self.http.get(&self.url).query(&[("since_id", since_id), ("limit", PAGE as i64)]);
        if let Some(tokens) = &self.tokens {
            request = request.bearer_auth(tokens.issue("friend-service").unwrap_or_default());
        }
        let response = request.send().await?.error_for_status()?;
        let body = answer::body(response, MAX_ANSWER_BYTES).await?.ok_or(LoadError::TooLong)?;
        serde_json::from_slice(&body).map_err(|error| LoadError::InvalidBody(json_problem(&error)))
    }
}

#[cfg(test)]
mod tests {
    use axum::Json;
    use axum::routing::get;
    use serde_json::{Value, json};
    use tokio::net::TcpListener;

    use super::*;

    /// The source at a friend-service that answers with one page of so many blocks.
    async fn source(blocks: usize) -> BlockSource {
        let page = async move || -> Json<Value> {
            let blocks: Vec<_> =
                (1..=blocks).map(|id| json!({"id": id, "user_id": 1, "blocked_user_id": id + 1})).collect();
            Json(json!({"blocks": blocks, "next_since_id": null}))
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/", get(page))).await.unwrap() });
        BlockSource::at(url, None, LOAD_INTERVAL)
    }

    #[tokio::test]
    async fn an_answer_that_is_too_long_is_rejected() {
        assert_eq!(source(PAGE).await.blocks_after(0).await.unwrap().len(), PAGE);
        let long = source(30_000).await.blocks_after(0).await;
        assert!(matches!(long, Err(LoadError::TooLong)), "{:?}", long.map(|blocks| blocks.len()));
    }
}
