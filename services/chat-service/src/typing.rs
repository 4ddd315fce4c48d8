//! Typing notifications: sent to the streams of a room on all replicas, and stored nowhere.

use std::time::Duration;

use common::error::{Error, Result, json_problem};
use common::id::{RoomId, UserId};
use engines::redis::Redis;
use futures_util::StreamExt;
use moka::future::Cache;
use redis::AsyncCommands;
use serde::{Deserialize, Serialize};
use service::budget::WriteBudget;
use tokio_util::sync::CancellationToken;

use crate::live::Hub;
use crate::wire::frame;

/// Minimum time between two notifications of a user in a room through one replica.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// Capacity of the cache of recent notifications; an entry takes about 100 bytes.
const CACHE_CAPACITY: u64 = 100_000;

#[derive(Clone)]
pub struct Typing {
    redis: Redis,
    hub: Hub,
    recent: Cache<(RoomId, UserId), ()>,
    budget: WriteBudget,
}

#[derive(Serialize, Deserialize)]
struct Notification {
    room: RoomId,
    user: UserId,
    username: String,
}

impl Typing {
    pub fn new(redis: Redis, hub: Hub, budget: WriteBudget) -> Self {
        let recent = Cache::builder().max_capacity(CACHE_CAPACITY).time_to_live(MIN_INTERVAL).build();
        Self { redis, hub, recent, budget }
    }

    /// Publishes a notification to all replicas. Without Redis, only the streams of this replica receive it.
    ///
    /// # Errors
    /// Returns 429 within [`MIN_INTERVAL`] of the last notification, and if the user's budget is used up.
    pub async fn publish(&self, room: RoomId, user: UserId, username: String) -> Result<()> {
        if !self.recent.entry((room, user)).or_insert(()).await.is_fresh() {
            return Err(Error::TooMany { retry_after: MIN_INTERVAL });
        }
        // A repeat within the interval does not spend, so that a notification for each key does not use up the budget.
        self.budget.spend(user).await?;
        let notification = Notification { room, user, username };
        let message = serde_json::to_string(&notification).map_err(Error::internal)?;
        let published: redis::RedisResult<()> = self.redis.connection().publish(self.channel(), message).await;
        if let Err(e) = published {
            tracing::debug!(error = %e, "typing notification stays on this replica");
            self.broadcast(&notification);
        }
        Ok(())
    }

    /// Receives the notifications of all replicas, this one included, until the shutdown.
    pub async fn receive(self, stopping: CancellationToken) {
        let mut messages = std::pin::pin!(self.redis.subscribe(self.channel()));
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                () = stopping.cancelled() => return,
            };
            match message.as_deref().map(serde_json::from_str::<Notification>) {
                Some(Ok(notification)) => self.broadcast(&notification),
                Some(Err(e)) => tracing::debug!(error = json_problem(&e), "skipping an unreadable typing notification"),
                None => return,
            }
        }
    }

    fn broadcast(&self, Notification { room, user, username }: &Notification) {
        self.hub.broadcast(*room, frame::typing(*room, *user, username));
    }

    fn channel(&self) -> String {
        self.redis.key(format_args!("chat:typing"))
    }
}
