//! Who has blocked whom: loaded from friend-service at start, then kept by its events.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::StatusCode;
use backon::{ExponentialBuilder, Retryable};
use common::auth::ServiceTokens;
use common::error::{Error, Result};
use common::id::UserId;
use serde::Deserialize;

use crate::domain::Room;

/// As many as friend-service gives at once.
const PART: usize = 1_000;

/// Blocks in memory; a pair takes about 50 bytes.
#[derive(Clone, Default)]
pub struct Blocks {
    known: Arc<RwLock<Known>>,
}

/// (who, whom)
type Pair = (UserId, UserId);

#[derive(Default)]
struct Known {
    loaded: HashSet<Pair>,
    /// What events say counts more, whenever the load they fall into ends: the newest version of each.
    told: HashMap<Pair, (u64, bool)>,
}

/// Where blocks are loaded from.
pub struct Source {
    pub http: reqwest::Client,
    pub friend_service_url: String,
    pub tokens: Option<ServiceTokens>,
}

#[derive(Deserialize)]
struct Part {
    blocks: Vec<Block>,
    next_since_id: Option<i64>,
}

#[derive(Deserialize)]
struct Block {
    user_id: UserId,
    blocked_user_id: UserId,
}

impl Blocks {
    /// Refuses a message in the direct room of two of whom one has blocked the other.
    pub fn admit(&self, room: &Room) -> Result<()> {
        match room.kind.pair() {
            Some(pair) if self.has(pair.low, pair.high) || self.has(pair.high, pair.low) => {
                Err(Error::refused(StatusCode::FORBIDDEN, "BLOCKED", "Messages between these users are blocked"))
            }
            _ => Ok(()),
        }
    }

    fn has(&self, who: UserId, whom: UserId) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let pair = (who, whom);
        known.told.get(&pair).map_or_else(|| known.loaded.contains(&pair), |(_, blocked)| *blocked)
    }

    /// Takes what an event says, unless a newer one was heard.
    pub fn tell(&self, who: UserId, whom: UserId, blocked: bool, version: u64) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let newest = known.told.entry((who, whom)).or_insert((version, blocked));
        if version >= newest.0 {
            *newest = (version, blocked);
        }
    }

    /// Loads all blocks, as soon as friend-service answers. An original has none to give.
    pub async fn load(self, source: Source) {
        let Some(tokens) = &source.tokens else {
            return tracing::warn!("no service secret, so blocks are known only from events");
        };
        let forever = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(5))
            .with_jitter()
            .without_max_times();
        let loaded = (|| source.all(tokens))
            .retry(forever)
            .when(|e| !e.status().is_some_and(|status| status.is_client_error()))
            .notify(|e, _| tracing::debug!(error = %e, "blocks have to wait"))
            .await;
        match loaded {
            Ok(blocks) => {
                tracing::info!(blocks = blocks.len(), "blocks loaded");
                self.known.write().unwrap_or_else(PoisonError::into_inner).loaded = blocks;
            }
            Err(e) => tracing::warn!(error = %e, "friend-service has no blocks to give"),
        }
    }
}

impl Source {
    async fn all(&self, tokens: &ServiceTokens) -> Result<HashSet<Pair>, reqwest::Error> {
        let mut all = HashSet::new();
        let mut since = Some(0);
        while let Some(id) = since {
            let part = self.part(id, tokens).await?;
            all.extend(part.blocks.iter().map(|block| (block.user_id, block.blocked_user_id)));
            since = part.next_since_id;
        }
        Ok(all)
    }

    async fn part(&self, since_id: i64, tokens: &ServiceTokens) -> Result<Part, reqwest::Error> {
        let url = format!("{}/api/friends/blocks", self.friend_service_url);
        let request = self.http.get(url).query(&[("since_id", since_id), ("limit", PART as i64)]);
        let request = request.bearer_auth(tokens.issue().unwrap_or_default());
        request.send().await?.error_for_status()?.json().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    #[test]
    fn the_newest_event_counts_in_whatever_order_they_come() {
        let blocks = Blocks::default();
        blocks.tell(ANN, BOB, false, 7);
        blocks.tell(ANN, BOB, true, 5);
        assert!(!blocks.has(ANN, BOB));
        blocks.tell(ANN, BOB, true, 9);
        assert!(blocks.has(ANN, BOB) && !blocks.has(BOB, ANN));
    }

    #[test]
    fn an_event_during_the_load_counts_more_than_the_load() {
        let blocks = Blocks::default();
        blocks.tell(ANN, BOB, false, 3);
        blocks.known.write().unwrap().loaded = HashSet::from([(ANN, BOB), (BOB, ANN)]);
        assert!(!blocks.has(ANN, BOB) && blocks.has(BOB, ANN));
    }
}
