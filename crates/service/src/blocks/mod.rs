//! The blocks between users: a copy in memory, loaded from friend-service and kept current by its events.
//!
//! A service works without the copy: until friend-service answers, and with a friend-service of the original, which has no
//! blocks, no block is known.

mod source;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use common::error::Result;
use common::events::friend::{UserBlocked, UserUnblocked};
use common::id::UserId;
use engines::kafka::received::Received;
use engines::kafka::tail::Tail;
use parking_lot::RwLock;

pub use source::BlockSource;

/// All blocks; a pair takes about 50 bytes. Clones share them.
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

impl Blocks {
    /// Whether `user` has blocked `other`.
    pub fn has(&self, user: UserId, other: UserId) -> bool {
        let state = self.state.read();
        let pair = (user, other);
        state.changed.get(&pair).map_or_else(|| state.loaded.contains(&pair), |(_, is_blocked)| *is_blocked)
    }

    /// Whether one of two users has blocked the other.
    pub fn between(&self, a: UserId, b: UserId) -> bool {
        self.has(a, b) || self.has(b, a)
    }

    /// Applies an event, and returns whether it is about a block. Events older than an applied one change nothing.
    ///
    /// # Errors
    /// Returns an error if the event cannot be decoded.
    pub fn receive(&self, event: &Received) -> Result<bool> {
        if event.is::<UserBlocked>() {
            let UserBlocked { user_id, blocked_user_id } = event.decode()?;
            self.apply((user_id, blocked_user_id), true, event.version);
        } else if event.is::<UserUnblocked>() {
            let UserUnblocked { user_id, blocked_user_id } = event.decode()?;
            self.apply((user_id, blocked_user_id), false, event.version);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Applies the events of a tail until it ends, for a service that reads no others of friend-service.
    pub async fn follow(self, mut tail: Tail) {
        while let Some(event) = tail.next().await {
            if let Err(error) = self.receive(&event) {
                tracing::warn!(%error, event_type = event.event_type, "skipping an unreadable event");
            }
        }
    }

    fn apply(&self, pair: Pair, is_blocked: bool, version: u64) {
        let mut state = self.state.write();
        let newest = state.changed.entry(pair).or_insert((version, is_blocked));
        if version >= newest.0 {
            *newest = (version, is_blocked);
        }
    }

    /// Loads all blocks at once, and again when the service reads every later event: `followed` resolves then.
    ///
    /// The first load makes blocks hold while Kafka is unavailable. The second one finds the blocks between the first load
    /// and the first event.
    pub async fn load(self, source: BlockSource, followed: impl Future<Output = ()>) {
        self.load_all(&source).await;
        followed.await;
        self.load_all(&source).await;
    }

    async fn load_all(&self, source: &BlockSource) {
        let loaded = source.all_blocks().await;
        tracing::info!(blocks = loaded.len(), "blocks loaded");
        self.state.write().loaded = loaded;
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
        blocks.apply((ANN, BOB), false, 7);
        blocks.apply((ANN, BOB), true, 5);
        assert!(!blocks.between(ANN, BOB));
        blocks.apply((ANN, BOB), true, 9);
        assert!(blocks.has(ANN, BOB) && !blocks.has(BOB, ANN) && blocks.between(BOB, ANN));
    }

    #[test]
    fn an_event_during_the_load_takes_precedence() {
        let blocks = Blocks::default();
        blocks.apply((ANN, BOB), false, 3);
        blocks.state.write().loaded = HashSet::from([(ANN, BOB), (BOB, ANN)]);
        assert!(!blocks.has(ANN, BOB) && blocks.has(BOB, ANN));
    }
}
