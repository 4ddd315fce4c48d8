//! Blocks between users: loaded from friend-service at start, then updated by its events.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use backon::{ExponentialBuilder, Retryable};
use common::error::{Error, Result};
use common::id::UserId;
use common::jwt::ServiceTokens;
use parking_lot::RwLock;
use serde::Deserialize;

use crate::domain::Room;

/// The page size, which is friend-service's limit.
const PAGE: usize = 1_000;

/// All blocks, in memory; a pair takes about 50 bytes.
#[derive(Clone, Default)]
pub struct Blocks {
    state: Arc<RwLock<State>>,
}

/// The blocking and the blocked user.
type Pair = (UserId, UserId);

#[derive(Default)]
struct State {
    loaded: HashSet<Pair>,
    /// The newest version of each event and its state. It takes precedence over `loaded`, whenever the load ends.
    changed: HashMap<Pair, (u64, bool)>,
}

/// The access to friend-service for the load.
pub struct BlockSource {
    pub http: reqwest::Client,
    pub friend_service_url: String,
    pub tokens: Option<ServiceTokens>,
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

impl Blocks {
    /// Checks that no block exists between the members of a direct room.
    ///
    /// # Errors
    /// Refuses with `BLOCKED` if one of the two has blocked the other.
    pub fn check(&self, room: &Room) -> Result<()> {
        match room.kind.pair() {
            Some(pair) if self.has(pair.low, pair.high) || self.has(pair.high, pair.low) => {
                Err(Error::refused(StatusCode::FORBIDDEN, "BLOCKED", "Messages between these users are blocked"))
            }
            _ => Ok(()),
        }
    }

    fn has(&self, user: UserId, blocked: UserId) -> bool {
        let state = self.state.read();
        let pair = (user, blocked);
        state.changed.get(&pair).map_or_else(|| state.loaded.contains(&pair), |(_, is_blocked)| *is_blocked)
    }

    /// Applies an event, unless a newer one was applied.
    pub fn apply(&self, user: UserId, blocked: UserId, is_blocked: bool, version: u64) {
        let mut state = self.state.write();
        let newest = state.changed.entry((user, blocked)).or_insert((version, is_blocked));
        if version >= newest.0 {
            *newest = (version, is_blocked);
        }
    }

    /// Loads all blocks as soon as friend-service answers. A friend-service of the original has no such endpoint.
    pub async fn load(self, source: BlockSource) {
        let Some(tokens) = &source.tokens else {
            return tracing::warn!("SERVICE_SECRET_KEY is not set, blocks come from events only");
        };
        let forever = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(5))
            .with_jitter()
            .without_max_times();
        let loaded = (|| source.all(tokens))
            .retry(forever)
            // A friend-service of the previous version answers 401 until it is upgraded.
            .when(|e| e.status().is_none_or(|status| status == StatusCode::UNAUTHORIZED || !status.is_client_error()))
            .notify(|e, _| tracing::debug!(error = %e, "cannot load blocks, retrying"))
            .await;
        match loaded {
            Ok(blocks) => {
                tracing::info!(blocks = blocks.len(), "blocks loaded");
                self.state.write().loaded = blocks;
            }
            Err(e) => tracing::warn!(error = %e, "friend-service does not provide blocks"),
        }
    }
}

impl BlockSource {
    async fn all(&self, tokens: &ServiceTokens) -> Result<HashSet<Pair>, reqwest::Error> {
        let mut all = HashSet::new();
        let mut since = Some(0);
        while let Some(id) = since {
            let page = self.page(id, tokens).await?;
            all.extend(page.blocks.iter().map(|block| (block.user_id, block.blocked_user_id)));
            since = page.next_since_id;
        }
        Ok(all)
    }

    async fn page(&self, since_id: i64, tokens: &ServiceTokens) -> Result<BlocksPage, reqwest::Error> {
        let url = format!("{}/api/friends/blocks", self.friend_service_url);
        let request = self.http.get(url).query(&[("since_id", since_id), ("limit", PAGE as i64)]);
        let request = request.bearer_auth(tokens.issue("friend-service").unwrap_or_default());
        request.send().await?.error_for_status()?.json().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    #[test]
    fn the_newest_event_wins_in_any_order() {
        let blocks = Blocks::default();
        blocks.apply(ANN, BOB, false, 7);
        blocks.apply(ANN, BOB, true, 5);
        assert!(!blocks.has(ANN, BOB));
        blocks.apply(ANN, BOB, true, 9);
        assert!(blocks.has(ANN, BOB) && !blocks.has(BOB, ANN));
    }

    #[test]
    fn an_event_during_the_load_takes_precedence() {
        let blocks = Blocks::default();
        blocks.apply(ANN, BOB, false, 3);
        blocks.state.write().loaded = HashSet::from([(ANN, BOB), (BOB, ANN)]);
        assert!(!blocks.has(ANN, BOB) && blocks.has(BOB, ANN));
    }
}
