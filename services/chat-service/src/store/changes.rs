//! Who came into which room, and went: every replica follows it, and the rooms' logs are told from it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use common::error::{Error, Result};
use common::id::{RoomId, UserId};
use mongodb::bson::oid::ObjectId;
use sqlx::{MySqlConnection, MySqlPool};

use super::rooms::Actor;
use crate::domain::Move;

/// Changes are kept for as long as a replica may be cut off from MySQL and still have streams: they end with their
/// tokens, whose life is a few hours.
const KEPT_HOURS: u32 = 48;

/// Changes read or removed at once.
const AT_ONCE: u32 = 1_000;

const DIRECT: &str = "direct";
const GROUP: &str = "group";
const ADDED: &str = "added";
const LEFT: &str = "left";

/// The table `chat_room_changes`.
#[derive(Clone)]
pub struct Changes {
    pool: MySqlPool,
}

/// A change, committed.
#[derive(Clone, Debug)]
pub struct Change {
    pub id: u64,
    pub room: RoomId,
    pub by: UserId,
    /// The `version` of its last event.
    pub version: u64,
    pub what: What,
    pub at: DateTime<Utc>,
}

/// What a change is.
#[derive(Clone, Debug)]
pub enum What {
    /// A new room, with these members.
    Created {
        direct: bool,
        members: Vec<UserId>,
    },
    Moved {
        moved: Move,
        said: Said,
    },
}

/// The system message of a change.
#[derive(Clone, Debug)]
pub struct Said {
    pub message: ObjectId,
    pub by_name: Option<String>,
    pub content: String,
    /// Its position, once it is in the log.
    pub position: Option<i64>,
}

/// A change that is about to be committed.
pub(super) struct NewChange<'a> {
    room: RoomId,
    by: UserId,
    version: u64,
    what: What,
    /// For the table, which names who is concerned whatever the change is.
    users: Vec<UserId>,
    by_name: Option<&'a str>,
}

impl<'a> NewChange<'a> {
    pub(super) fn created(room: RoomId, direct: bool, by: UserId, members: &[UserId], version: u64) -> Self {
        let what = What::Created { direct, members: members.to_vec() };
        Self { room, by, version, what, users: members.to_vec(), by_name: None }
    }

    pub(super) fn moved(room: RoomId, by: &'a Actor, moved: Move, version: u64, content: String) -> Self {
        let users = moved.users.clone();
        let said = Said { message: ObjectId::new(), by_name: by.name.clone(), content, position: None };
        Self { room, by: by.id, version, what: What::Moved { moved, said }, users, by_name: by.name.as_deref() }
    }

    fn kind(&self) -> &'static str {
        match &self.what {
            What::Created { direct: true, .. } => DIRECT,
            What::Created { direct: false, .. } => GROUP,
            What::Moved { moved, .. } if moved.joined => ADDED,
            What::Moved { .. } => LEFT,
        }
    }
}

/// Adds a change to the caller's transaction, after the room's row was locked.
pub(super) async fn append(tx: &mut MySqlConnection, new: NewChange<'_>) -> Result<Change> {
    let (said, position) = match &new.what {
        What::Created { .. } => (None, Some(0)),
        What::Moved { said, .. } => (Some(said), None),
    };
    let inserted = sqlx::query(
        "INSERT INTO chat_room_changes
             (room_id, kind, by_id, by_name, user_ids, version, message_id, content, position)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(new.room)
    .bind(new.kind())
    .bind(new.by)
    .bind(new.by_name)
    .bind(serde_json::to_string(&new.users).map_err(Error::internal)?)
    .bind(new.version)
    .bind(said.map(|said| said.message.to_hex()))
    .bind(said.map(|said| said.content.as_str()))
    .bind(position)
    .execute(tx)
    .await?;
    let NewChange { room, by, version, what, .. } = new;
    Ok(Change { id: inserted.last_insert_id(), room, by, version, what, at: Utc::now() })
}

#[derive(sqlx::FromRow)]
struct Row {
    id: u64,
    room_id: RoomId,
    kind: String,
    by_id: UserId,
    by_name: Option<String>,
    user_ids: String,
    version: u64,
    message_id: Option<String>,
    content: Option<String>,
    position: Option<i64>,
    created_at: DateTime<Utc>,
}

impl TryFrom<Row> for Change {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self> {
        let users: Vec<UserId> = serde_json::from_str(&row.user_ids).map_err(Error::internal)?;
        let what = match row.kind.as_str() {
            kind @ (DIRECT | GROUP) => What::Created { direct: kind == DIRECT, members: users },
            kind => {
                let message = ObjectId::parse_str(row.message_id.unwrap_or_default()).map_err(Error::internal)?;
                let (by_name, content) = (row.by_name, row.content.unwrap_or_default());
                let said = Said { message, by_name, content, position: row.position };
                What::Moved { moved: Move { joined: kind == ADDED, users }, said }
            }
        };
        Ok(Self { id: row.id, room: row.room_id, by: row.by_id, version: row.version, what, at: row.created_at })
    }
}

impl Changes {
    pub fn new(pool: MySqlPool) -> Self {
        Self { pool }
    }

    /// The newest change that is older than this: none before it can still be on its way to be committed.
    pub async fn settled(&self, age: Duration) -> Result<u64> {
        // By the database's clock, as all ages here: those of replicas may differ.
        let newest: Option<u64> =
            sqlx::query_scalar("SELECT MAX(id) FROM chat_room_changes WHERE created_at < NOW(6) - INTERVAL ? SECOND")
                .bind(age.as_secs())
                .fetch_one(&self.pool)
                .await?;
        Ok(newest.unwrap_or(0))
    }

    /// Changes after one, oldest first, and whether there may be more.
    pub async fn after(&self, id: u64) -> Result<(Vec<Change>, bool)> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, room_id, kind, by_id, by_name, user_ids, version, message_id, content, position, created_at
             FROM chat_room_changes WHERE id > ? ORDER BY id LIMIT ?",
        )
        .bind(id)
        .bind(AT_ONCE)
        .fetch_all(&self.pool)
        .await?;
        let more = rows.len() == AT_ONCE as usize;
        Ok((rows.into_iter().map(Change::try_from).collect::<Result<_>>()?, more))
    }

    /// What the log of a room does not tell yet, in the order in which it has to.
    pub async fn unsaid(&self, room: RoomId) -> Result<Vec<Change>> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, room_id, kind, by_id, by_name, user_ids, version, message_id, content, position, created_at
             FROM chat_room_changes WHERE position IS NULL AND room_id = ? ORDER BY id",
        )
        .bind(room)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Change::try_from).collect()
    }

    /// Rooms whose log has not told of a change for so long: whoever made it does not come to it.
    pub async fn rooms_with_unsaid(&self, age: Duration) -> Result<Vec<RoomId>> {
        let rooms = sqlx::query_scalar(
            "SELECT DISTINCT room_id FROM chat_room_changes
             WHERE position IS NULL AND created_at < NOW(6) - INTERVAL ? SECOND LIMIT ?",
        );
        Ok(rooms.bind(age.as_secs()).bind(AT_ONCE).fetch_all(&self.pool).await?)
    }

    /// Notes where the log tells of a change.
    pub async fn said(&self, change: &Change, position: i64) -> Result<()> {
        // The change itself last: until then all of it is done again.
        sqlx::query("UPDATE room_members SET joined_position = ? WHERE chat_room_id = ? AND joined_by = ?")
            .bind(position)
            .bind(change.room)
            .bind(change.id)
            .execute(&self.pool)
            .await?;
        let told = sqlx::query("UPDATE chat_room_changes SET position = ? WHERE id = ?");
        told.bind(position).bind(change.id).execute(&self.pool).await?;
        Ok(())
    }

    /// Removes what no replica looks at any more.
    pub async fn forget(&self) -> Result<()> {
        let old = sqlx::query(
            "DELETE FROM chat_room_changes WHERE created_at < NOW(6) - INTERVAL ? HOUR AND position IS NOT NULL LIMIT ?",
        );
        old.bind(KEPT_HOURS).bind(AT_ONCE).execute(&self.pool).await?;
        Ok(())
    }
}
