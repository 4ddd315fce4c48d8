//! Typing notifications: sent to the streams of a room on all replicas, and stored nowhere.

use std::time::Duration;

use common::error::{Error, Result};
use common::id::{RoomId, UserId};
use engines::redis::channel::{Receiver, Sender};
use moka::future::Cache;
use serde::{Deserialize, Serialize};
use service::budget::WriteBudget;
use tokio_util::sync::CancellationToken;

use crate::live::Hub;
use crate::wire::frame;

/// Minimum time between two notifications of a user in a room through one replica.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// Capacity of the cache of recent notifications; an entry takes about 100 bytes.
const CACHE_CAPACITY: u64 = 100_000;

/// The name of the channel between replicas.
pub const CHANNEL: &str = "chat:typing";

#[derive(Clone)]
pub struct Typing {
    notifications: Sender<Notification>,
    hub: Hub,
    recent: Cache<(RoomId, UserId), ()>,
    budget: WriteBudget,
}

/// A user is typing in a room.
#[derive(Serialize, Deserialize)]
pub struct Notification {
    room: RoomId,
    user: UserId,
    username: String,
}

impl Typing {
    pub fn new(notifications: Sender<Notification>, hub: Hub, budget: WriteBudget) -> Self {
        let recent = Cache::builder().max_capacity(CACHE_CAPACITY).time_to_live(MIN_INTERVAL).build();
        Self { notifications, hub, recent, budget }
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
        self.notifications.send(Notification { room, user, username }).await;
        Ok(())
    }

    /// Receives the notifications of all replicas, this one included, until the shutdown.
    pub async fn receive(self, mut notifications: Receiver<Notification>, stopping: CancellationToken) {
        while let Some(next) = stopping.run_until_cancelled(notifications.next()).await {
            let Notification { room, user, username } = next;
            self.hub.broadcast(room, frame::typing(room, user, &username));
        }
    }
}
