//! The state that handlers share.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use common::error::Result;
use common::id::{RoomId, UserId};
use platform::telemetry::Audit;
use service::auth::{Auth, CurrentUser};
use service::blocks::Blocks;
use service::budget::WriteBudget;
use service::clients::user::UserClient;
use tokio::sync::Semaphore;

use crate::attachments::Attachments;
use crate::domain::{Actor, MessageLimit, Room};
use crate::friends::Friends;
use crate::live::{Epochs, Hub, Subscribers};
use crate::membership::Membership;
use crate::metrics::Metrics;
use crate::newest_messages::NewestMessages;
use crate::receipts::Receipts;
use crate::search::Search;
use crate::settings::Settings;
use crate::store::{Heads, LegacyBackfill, Log, Messages, ReadMarkers, Rooms, Snapshots, StoreClock, UnreadCounts};
use crate::tickets::Tickets;
use crate::typing::Typing;
use crate::writer::Writer;

/// A shared handle to the [`Parts`]. A clone is cheap: axum takes one for every request.
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

/// The parts of the service.
pub struct Parts {
    pub auth: Auth,
    pub users: UserClient,
    pub blocks: Blocks,
    pub friends: Friends,
    pub rooms: Rooms,
    pub settings: Settings,
    pub membership: Membership,
    pub backfill: LegacyBackfill,
    pub messages: Messages,
    pub newest: NewestMessages,
    pub search: Search,
    pub log: Log,
    pub markers: ReadMarkers,
    pub unread: UnreadCounts,
    pub receipts: Receipts,
    pub writer: Writer,
    pub hub: Hub,
    pub subscribers: Subscribers,
    /// A permit for each opening of a stream. Thousands of streams that come back at once leave other requests their connections
    /// to the stores.
    pub openings: Semaphore,
    pub clock: StoreClock,
    pub snapshots: Snapshots,
    pub epochs: Epochs,
    pub tickets: Tickets,
    pub attachments: Attachments,
    pub typing: Typing,
    pub metrics: Arc<Metrics>,
    pub audit: Audit,
    pub budgets: Budgets,
    pub message_limit: MessageLimit,
    /// Interval of the comments that keep idle streams open.
    pub keep_alive: Duration,
}

/// The budgets of a user's writes.
#[derive(Clone)]
pub struct Budgets {
    /// Messages sent.
    pub messages: WriteBudget,
    /// Edits, deletions, reactions, read marks, typing notifications and tickets.
    pub changes: WriteBudget,
    /// Rooms created, and changes of their members.
    pub rooms: WriteBudget,
}

impl AppState {
    /// A handle to these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// A room of the caller, all of whose messages have positions.
    pub async fn room(&self, room: RoomId, me: &CurrentUser) -> Result<Arc<Room>> {
        let room = self.rooms.for_member(room, me.id).await?;
        self.backfill.ensure(&[room.id]).await?;
        Ok(room)
    }

    /// The heads of rooms, all of whose messages have positions.
    pub async fn heads(&self, rooms: &[RoomId]) -> Result<Heads> {
        self.backfill.ensure(rooms).await?;
        Ok(self.log.heads(rooms).await?)
    }

    /// The name of the caller. Tokens of the original do not contain it.
    pub async fn username(&self, user: &CurrentUser) -> Option<String> {
        if user.username.is_some() {
            return user.username.clone();
        }
        self.users.available_profiles(&[user.id]).await.get(&user.id).map(|profile| profile.username.clone())
    }

    /// The caller as the author of a change.
    pub async fn actor(&self, me: &CurrentUser) -> Actor {
        let name = match &me.username {
            Some(name) => Some(name.clone()),
            None => self.name_to_store(me.id).await,
        };
        Actor { id: me.id, name }
    }

    /// The name of a user for a text that is stored, so it waits longer than a list does; none if user-service does not answer.
    pub async fn name_to_store(&self, user: UserId) -> Option<String> {
        let profiles = self.users.profiles(&[user]).await.ok()?;
        profiles.get(&user).map(|profile| profile.username.clone())
    }
}

impl Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl FromRef<AppState> for Auth {
    fn from_ref(state: &AppState) -> Self {
        state.auth.clone()
    }
}
