//! Rooms in MySQL.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::error::{Error, OnDuplicate, Result};
use common::events::chat::ChatRoomCreated;
use common::id::{RoomId, UserId};
use common::mysql;
use common::outbox::Outbox;
use moka::future::Cache;
use sqlx::{MySqlPool, QueryBuilder};

use crate::domain::{DirectPair, Room};

/// A permission is remembered no longer than this, whatever events come or do not come.
const REMEMBERED: Duration = Duration::from_secs(5);

/// Rooms that are remembered at once; a direct room takes about 200 bytes.
const MAX_REMEMBERED: u64 = 50_000;

/// The table `chat_rooms`.
#[derive(Clone)]
pub struct Rooms {
    pool: MySqlPool,
    outbox: Outbox,
    known: Cache<RoomId, Arc<Room>>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: RoomId,
    user_1_id: Option<UserId>,
    user_2_id: Option<UserId>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<Row> for Room {
    fn from(row: Row) -> Self {
        let pair = match (row.user_1_id, row.user_2_id) {
            (Some(a), Some(b)) => Some(DirectPair { low: a.min(b), high: a.max(b) }),
            _ => None,
        };
        let members = pair.iter().flat_map(|pair| [pair.low, pair.high]).collect();
        Self { id: row.id, pair, members, created_at: row.created_at, updated_at: row.updated_at }
    }
}

impl Rooms {
    pub fn new(pool: MySqlPool, outbox: Outbox) -> Self {
        let known = Cache::builder().max_capacity(MAX_REMEMBERED).time_to_live(REMEMBERED).build();
        Self { pool, outbox, known }
    }

    /// The room, for one of its members.
    pub async fn of_member(&self, room: RoomId, user: UserId) -> Result<Arc<Room>> {
        let room = self.get(room).await?;
        room.admit(user)?;
        Ok(room)
    }

    async fn get(&self, room: RoomId) -> Result<Arc<Room>> {
        if let Some(known) = self.known.get(&room).await {
            return Ok(known);
        }
        let row: Option<Row> =
            sqlx::query_as("SELECT id, user_1_id, user_2_id, created_at, updated_at FROM chat_rooms WHERE id = ?")
                .bind(room)
                .fetch_optional(&self.pool)
                .await?;
        let found: Arc<Room> = Arc::new(row.ok_or_else(|| Error::not_found("Chat room not found"))?.into());
        self.known.insert(room, found.clone()).await;
        Ok(found)
    }

    /// The direct room of two people, if they have one.
    pub async fn direct(&self, pair: DirectPair) -> Result<Option<Room>> {
        let row: Option<Row> = sqlx::query_as(
            "SELECT id, user_1_id, user_2_id, created_at, updated_at FROM chat_rooms WHERE pair_low = ? AND pair_high = ?",
        )
        .bind(pair.low)
        .bind(pair.high)
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(Room::from))
    }

    /// Opens the direct room of two people, and tells of it; whether it is new.
    ///
    /// The key on the pair decides, so of racing calls one opens it and the others find it.
    pub async fn open_direct(&self, pair: DirectPair, creator: UserId) -> Result<(Room, bool)> {
        match self.insert_direct(pair, creator).await {
            Ok(room) => {
                self.outbox.wake();
                Ok((room, true))
            }
            Err(Error::Refused { code: TAKEN, .. }) => {
                let room = self.direct(pair).await?;
                Ok((room.ok_or_else(|| Error::internal("a room that was there is gone"))?, false))
            }
            Err(e) => Err(e),
        }
    }

    async fn insert_direct(&self, pair: DirectPair, creator: UserId) -> Result<Room> {
        let mut tx = mysql::begin(&self.pool).await?;
        let id = sqlx::query("INSERT INTO chat_rooms (user_1_id, user_2_id) VALUES (?, ?)")
            .bind(pair.low)
            .bind(pair.high)
            .execute(&mut *tx)
            .await
            .on_duplicate("chat_rooms_pair", taken)?
            .last_insert_id() as i64;
        let members = vec![pair.low, pair.high];
        let (room_type, participant_ids) = ("direct".to_owned(), members);
        let created = ChatRoomCreated { room_id: RoomId(id), room_type, creator_id: creator, participant_ids };
        self.outbox.append(&mut tx, &created).await?;
        let row: Row =
            sqlx::query_as("SELECT id, user_1_id, user_2_id, created_at, updated_at FROM chat_rooms WHERE id = ?")
                .bind(id)
                .fetch_one(&mut *tx)
                .await?;
        tx.commit().await?;
        Ok(row.into())
    }

    /// All rooms of a user.
    pub async fn of_user(&self, user: UserId) -> Result<Vec<Room>> {
        // Two index lookups; an OR over two columns would be one scan.
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, user_1_id, user_2_id, created_at, updated_at FROM chat_rooms WHERE user_1_id = ?
             UNION
             SELECT id, user_1_id, user_2_id, created_at, updated_at FROM chat_rooms WHERE user_2_id = ?",
        )
        .bind(user)
        .bind(user)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(Room::from).collect())
    }

    /// Moves rooms to their last activity, for the original, which orders its lists by it: one statement.
    pub async fn touch(&self, active: &HashMap<RoomId, DateTime<Utc>>) -> Result<()> {
        let Some(latest) = active.values().max() else { return Ok(()) };
        let mut update = QueryBuilder::new("UPDATE chat_rooms SET updated_at = ");
        update.push_bind(*latest).push(" WHERE id IN (");
        let mut ids = update.separated(", ");
        active.keys().for_each(|room| {
            ids.push_bind(*room);
        });
        ids.push_unseparated(")");
        update.build().execute(&self.pool).await?;
        Ok(())
    }
}

const TAKEN: &str = "room_exists";

fn taken() -> Error {
    Error::refused(axum::http::StatusCode::CONFLICT, TAKEN, "The room exists")
}
