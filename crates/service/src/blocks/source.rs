//! The load of all blocks from friend-service.

use std::collections::HashSet;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use common::error::BoxError;
use common::id::UserId;
use common::jwt::ServiceTokens;
use reqwest::redirect::Policy;
use serde::Deserialize;

use super::Pair;
use crate::auth::Auth;

/// The page size, which is friend-service's limit.
const PAGE: usize = 1_000;

/// The pauses while friend-service cannot be reached or fails.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The pause after a refusal: a friend-service of the original has no such endpoint, until this system's replaces it.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);

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
struct Block {
    user_id: UserId,
    blocked_user_id: UserId,
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

    /// All blocks, as soon as friend-service provides them. Never resolves without `SERVICE_SECRET_KEY`.
    pub(super) async fn all_blocks(&self) -> HashSet<Pair> {
        let Some(tokens) = &self.tokens else {
            tracing::warn!("SERVICE_SECRET_KEY is not set, blocks come from events only");
            return std::future::pending().await;
        };
        let pauses = ExponentialBuilder::default().with_min_delay(FIRST_PAUSE).with_max_delay(LONGEST_PAUSE);
        let mut refused = false;
        loop {
            let loaded = (|| self.pages(tokens))
                .retry(pauses.with_jitter().without_max_times())
                .when(|e| !e.status().is_some_and(|status| status.is_client_error()))
                .notify(|error, _| tracing::debug!(%error, "cannot load blocks, retrying"))
                .await;
            match loaded {
                Ok(blocks) => return blocks,
                Err(error) if !refused => tracing::warn!(%error, "friend-service does not provide blocks"),
                Err(error) => tracing::debug!(%error, "friend-service does not provide blocks"),
            }
            refused = true;
            tokio::time::sleep(REFUSED_PAUSE).await;
        }
    }

    async fn pages(&self, tokens: &ServiceTokens) -> Result<HashSet<Pair>, reqwest::Error> {
        let mut all = HashSet::new();
        let mut since = Some(0);
        while let Some(id) = since {
            let page = self.page(id, tokens).await?;
            all.extend(page.blocks.iter().map(|block| (block.user_id, block.blocked_user_id)));
            since = page.next_since_id.filter(|next| *next > id);
        }
        Ok(all)
    }

    async fn page(&self, since_id: i64, tokens: &ServiceTokens) -> Result<BlocksPage, reqwest::Error> {
        let request = self.http.get(&self.url).query(&[("since_id", since_id), ("limit", PAGE as i64)]);
        let request = request.bearer_auth(tokens.issue("friend-service").unwrap_or_default());
        request.send().await?.error_for_status()?.json().await
    }
}
