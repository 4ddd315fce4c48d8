//! Changes of a member's settings for a room: stored, and sent to the member's streams on all replicas.

use common::error::{Error, Result, json_problem};
use common::id::{RoomId, UserId};
use engines::redis::Redis;
use futures_util::StreamExt;
use redis::AsyncCommands;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::domain::{RoomSetting, RoomSettings};
use crate::live::Subscribers;
use crate::store::MemberSettings;
use crate::wire::frame;

#[derive(Clone)]
pub struct Settings {
    stored: MemberSettings,
    redis: Redis,
    subscribers: Subscribers,
}

#[derive(Serialize, Deserialize)]
struct Notice {
    user: UserId,
    room: RoomId,
    settings: RoomSettings,
}

impl Settings {
    pub fn new(stored: MemberSettings, redis: Redis, subscribers: Subscribers) -> Self {
        Self { stored, redis, subscribers }
    }

    /// The table, for reads.
    pub fn stored(&self) -> &MemberSettings {
        &self.stored
    }

    /// Turns a setting on or off, and sends a change to the all-rooms streams of the member. Without Redis, only the streams of this
    /// replica receive it.
    pub async fn set(&self, user: UserId, room: RoomId, setting: RoomSetting, on: bool) -> Result<RoomSettings> {
        let (settings, changed) = self.stored.set(user, room, setting, on).await?;
        if changed {
            let notice = Notice { user, room, settings };
            let message = serde_json::to_string(&notice).map_err(Error::internal)?;
            let published: redis::RedisResult<()> = self.redis.connection().publish(self.channel(), message).await;
            if let Err(e) = published {
                tracing::debug!(error = %e, "a change of settings stays on this replica");
                self.send(&notice);
            }
        }
        Ok(settings)
    }

    /// Receives the changes of all replicas, this one included, until the shutdown.
    pub async fn receive(self, stopping: CancellationToken) {
        let mut messages = std::pin::pin!(self.redis.subscribe(self.channel()));
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                () = stopping.cancelled() => return,
            };
            match message.as_deref().map(serde_json::from_str::<Notice>) {
                Some(Ok(notice)) => self.send(&notice),
                Some(Err(e)) => tracing::debug!(error = json_problem(&e), "skipping an unreadable change of settings"),
                None => return,
            }
        }
    }

    fn send(&self, Notice { user, room, settings }: &Notice) {
        self.subscribers.send(*user, || frame::chat_room_settings(*room, *settings));
    }

    fn channel(&self) -> String {
        self.redis.key(format_args!("chat:settings"))
    }
}
