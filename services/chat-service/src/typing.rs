//! Who is writing just now: told to those who listen, on whichever replica, and kept nowhere.

use std::time::Duration;

use common::error::{Error, Result};
use common::id::{RoomId, UserId};
use common::redis::Redis;
use futures_util::StreamExt;
use moka::future::Cache;
use redis::AsyncCommands;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::live::{Hub, frame};

/// Someone tells a room at most once in this time, through one replica.
const QUIET: Duration = Duration::from_secs(1);

/// Those who told lately; one entry takes about 100 bytes.
const MAX_REMEMBERED: u64 = 100_000;

#[derive(Clone)]
pub struct Typing {
    redis: Redis,
    hub: Hub,
    lately: Cache<(RoomId, UserId), ()>,
}

#[derive(Serialize, Deserialize)]
struct Typed {
    room: RoomId,
    user: UserId,
    username: String,
}

impl Typing {
    pub fn new(redis: Redis, hub: Hub) -> Self {
        let lately = Cache::builder().max_capacity(MAX_REMEMBERED).time_to_live(QUIET).build();
        Self { redis, hub, lately }
    }

    /// Tells those who listen to the room. Without Redis only those on this replica.
    pub async fn tell(&self, room: RoomId, user: UserId, username: String) -> Result<()> {
        if !self.lately.entry((room, user)).or_insert(()).await.is_fresh() {
            return Err(Error::TooMany { retry_after: QUIET });
        }
        let typed = Typed { room, user, username };
        let message = serde_json::to_string(&typed).map_err(Error::internal)?;
        let told: redis::RedisResult<()> = self.redis.connection().publish(self.channel(), message).await;
        if let Err(e) = told {
            tracing::debug!(error = %e, "typing is told on this replica only");
            self.pass(&typed);
        }
        Ok(())
    }

    /// Hears what all replicas tell, this one among them, until the shutdown.
    pub async fn listen(self, stopping: CancellationToken) {
        let mut messages = std::pin::pin!(self.redis.subscribe(self.channel()));
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                () = stopping.cancelled() => return,
            };
            match message.as_deref().map(serde_json::from_str::<Typed>) {
                Some(Ok(typed)) => self.pass(&typed),
                Some(Err(e)) => tracing::debug!(error = %e, "unreadable typing skipped"),
                None => return,
            }
        }
    }

    fn pass(&self, typed: &Typed) {
        self.hub.pass(typed.room, frame::typing(typed.room, typed.user, &typed.username));
    }

    fn channel(&self) -> String {
        self.redis.key(format_args!("chat:typing"))
    }
}
