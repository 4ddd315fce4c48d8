//! Changes of a member's settings for a room: stored, and sent to the member's streams on all replicas.

use common::error::Result;
use common::id::{RoomId, UserId};
use engines::redis::channel::{Receiver, Sender};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::domain::{RoomSetting, RoomSettings};
use crate::live::Subscribers;
use crate::store::MemberSettings;
use crate::wire::frame;

/// The name of the channel between replicas.
pub const CHANNEL: &str = "chat:settings";

#[derive(Clone)]
pub struct Settings {
    stored: MemberSettings,
    changes: Sender<SettingsChanged>,
    subscribers: Subscribers,
}

/// The settings of a member for a room have changed. The message does not contain them: of two concurrent changes, the
/// first can be announced last, so each replica reads the current settings.
#[derive(Serialize, Deserialize)]
pub struct SettingsChanged {
    user: UserId,
    room: RoomId,
}

impl Settings {
    pub fn new(stored: MemberSettings, changes: Sender<SettingsChanged>, subscribers: Subscribers) -> Self {
        Self { stored, changes, subscribers }
    }

    /// The table, for reads.
    pub fn stored(&self) -> &MemberSettings {
        &self.stored
    }

    /// Turns a setting on or off, and announces a change to the all-rooms streams of the member. Without Redis, only the
    /// streams of this replica receive it.
    ///
    /// # Errors
    /// Refuses a user who is not a member of the room.
    pub async fn set(&self, user: UserId, room: RoomId, setting: RoomSetting, on: bool) -> Result<RoomSettings> {
        let (settings, changed) = self.stored.set(user, room, setting, on).await?;
        if changed {
            self.changes.send(SettingsChanged { user, room }).await;
        }
        Ok(settings)
    }

    /// Receives the changes of all replicas, this one included, until the shutdown. It shows one after another, so that the
    /// last event of a stream shows the last change.
    pub async fn receive(self, mut changes: Receiver<SettingsChanged>, stopping: CancellationToken) {
        while let Some(SettingsChanged { user, room }) = stopping.run_until_cancelled(changes.next()).await {
            if let Err(e) = self.show(user, room).await {
                tracing::warn!(error = %e, "streams do not show a change of settings");
            }
        }
    }

    /// Sends the current settings to the all-rooms streams of the member on this replica.
    async fn show(&self, user: UserId, room: RoomId) -> Result<()> {
        if self.subscribers.has(user) {
            let settings = self.stored.of_room(user, room).await?;
            self.subscribers.send_in(room, user, || frame::chat_room_settings(room, settings));
        }
        Ok(())
    }
}
