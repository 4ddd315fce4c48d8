//! The load of blocks from friend-service.

use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use common::error::BoxError;
use common::id::UserId;
use common::jwt::ServiceTokens;
use reqwest::StatusCode;
use reqwest::redirect::Policy;
use serde::Deserialize;

use crate::auth::Auth;

/// The page size, which is friend-service's limit.
const PAGE: usize = 1_000;

/// The pauses while friend-service cannot be reached or fails.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The pause after a 404: a friend-service of the original has no such endpoint, until this system's replaces it.
const ABSENT_PAUSE: Duration = Duration::from_secs(60);

/// The blocking and the blocked user.
pub(super) type Pair = (UserId, UserId);

/// The access to friend-service.
pub struct BlockSource {
    http: reqwest::Client,
    url: String,
    tokens: Option<ServiceTokens>,
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

impl Block {
    pub fn pair(&self) -> Pair {
        (self.user_id, self.blocked_user_id)
    }
}

impl BlockSource {
    /// `timeout` bounds one call.
    ///
    /// # Errors
    /// Returns an error if the HTTP client cannot be built.
    pub fn new(friend_service_url: &str, timeout: Duration, auth: &Auth) -> Result<Self, BoxError> {
        let http = reqwest::Client::builder().no_proxy().redirect(Policy::none()).timeout(timeout).build()?;
        let url = format!("{friend_service_url}/api/friends/blocks");
        Ok(Self { http, url, tokens: auth.service_tokens().cloned() })
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
        let pauses = ExponentialBuilder::default().with_min_delay(FIRST_PAUSE).with_max_delay(LONGEST_PAUSE);
        let loaded = (|| self.blocks_after(0))
            .retry(pauses.with_jitter().without_max_times())
            .when(|e| e.status() != Some(StatusCode::NOT_FOUND))
            .notify(|error, _| tracing::debug!(%error, "cannot load blocks, retrying"))
            .await;
        loaded.ok()
    }

    /// Waits until friend-service may have been replaced.
    pub(super) async fn wait_for_another(&self) {
        tracing::info!("friend-service has no blocks");
        tokio::time::sleep(ABSENT_PAUSE).await;
    }

    /// The blocks after an id, in the order of their ids.
    pub(super) async fn blocks_after(&self, id: i64) -> Result<Vec<Block>, reqwest::Error> {
        let mut all = Vec::new();
        let mut since = Some(id);
        while let Some(id) = since {
            let page = self.page(id).await?;
            all.extend(page.blocks);
            since = page.next_since_id.filter(|next| *next > id);
        }
        Ok(all)
    }

    async fn page(&self, since_id: i64) -> Result<BlocksPage, reqwest::Error> {
        let mut request = self.http.get(&self.url).query(&[("since_id", since_id), ("limit", PAGE as i64)]);
        if let Some(tokens) = &self.tokens {
            request = request.bearer_auth(tokens.issue("friend-service").unwrap_or_default());
        }
        request.send().await?.error_for_status()?.json().await
    }
}
