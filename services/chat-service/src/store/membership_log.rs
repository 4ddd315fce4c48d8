//! The log of membership changes. Every replica follows it, and the rooms' system messages are written from it.

use std::time::Duration;

use bson::oid::ObjectId;
use chrono::{DateTime, Utc};
use common::error::Error;
use common::id::{RoomId, UserId};
use engines::error::Result;
use engines::mysql;
use sqlx::{MySqlConnection, MySqlPool, QueryBuilder};

use super::log::Log;
use super::messages::Messages;
use crate::domain::{Actor, RosterChange};

/// Records are kept for as long as a replica without MySQL may have open streams: streams end with their tokens, which
/// are valid for a few hours.
const KEPT_HOURS: u32 = 48;

/// Records read or deleted by one statement.
const PAGE: u32 = 1_000;

const DIRECT: &str = "direct";
const GROUP: &str = "group";
const ADDED: &str = "added";
const LEFT: &str = "left";

/// The table `chat_room_changes`.
#[derive(Clone)]
pub struct MembershipLog {
    pool: MySqlPool,
}

/// A committed change.
#[derive(Clone, Debug)]
pub struct MembershipRecord {
    pub id: u64,
    pub room: RoomId,
    pub by: UserId,
    /// The `version` of the change's last event.
    pub version: u64,
    pub event: MembershipEvent,
    pub at: DateTime<Utc>,
}

impl MembershipRecord {
    /// The users who became members or are no longer members.
    pub fn users(&self) -> &[UserId] {
        match &self.event {
            MembershipEvent::RoomCreated { members, .. } => members,
            MembershipEvent::RosterChanged { change, .. } => &change.users,
        }
    }
}

#[derive(Clone, Debug)]
pub enum MembershipEvent {
    RoomCreated { direct: bool, members: Vec<UserId> },
    RosterChanged { change: RosterChange, message: SystemMessage },
}

/// The system message that announces a change in the room.
#[derive(Clone, Debug)]
pub struct SystemMessage {
    pub id: ObjectId,
    pub by_name: Option<String>,
    pub content: String,
    /// The message's position, once the room's log contains it.
    pub position: Option<i64>,
}

/// A change that its transaction has not committed yet.
pub(super) struct NewRecord<'a> {
    room: RoomId,
    by: UserId,
    version: u64,
    event: MembershipEvent,
    /// The users that the change concerns, for the table.
    users: Vec<UserId>,
    by_name: Option<&'a str>,
}

impl<'a> NewRecord<'a> {
    pub(super) fn room_created(room: RoomId, direct: bool, by: UserId, members: &[UserId], version: u64) -> Self {
        let event = MembershipEvent::RoomCreated { direct, members: members.to_vec() };
        Self { room, by, version, event, users: members.to_vec(), by_name: None }
    }

    pub(super) fn roster_changed(
        room: RoomId,
        by: &'a Actor,
        change: RosterChange,
        version: u64,
        content: String,
    ) -> Self {
        let users = change.users.clone();
        let message = SystemMessage { id: ObjectId::new(), by_name: by.name.clone(), content, position: None };
        let event = MembershipEvent::RosterChanged { change, message };
        Self { room, by: by.id, version, event, users, by_name: by.name.as_deref() }
    }

    fn kind(&self) -> &'static str {
        match &self.event {
            MembershipEvent::RoomCreated { direct: true, .. } => DIRECT,
            MembershipEvent::RoomCreated { direct: false, .. } => GROUP,
            MembershipEvent::RosterChanged { change, .. } if change.joined => ADDED,
            MembershipEvent::RosterChanged { .. } => LEFT,
        }
    }
}

/// Appends a record within the caller's transaction, which holds the lock on the room's row.
pub(super) async fn append(tx: &mut MySqlConnection, new: NewRecord<'_>) -> Result<MembershipRecord> {
    let (message, position) = match &new.event {
        MembershipEvent::RoomCreated { .. } => (None, Some(0)),
        MembershipEvent::RosterChanged { message, .. } => (Some(message), None),
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
    .bind(message.map(|message| message.id.to_hex()))
    .bind(message.map(|message| message.content.as_str()))
    .bind(position)
    .execute(&mut *tx)
    .await?;
    let NewRecord { room, by, version, event, .. } = new;
    let id = inserted.last_insert_id();
    let at = sqlx::query_scalar("SELECT created_at FROM chat_room_changes WHERE id = ?").bind(id).fetch_one(tx).await?;
    Ok(MembershipRecord { id, room, by, version, event, at })
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

impl TryFrom<Row> for MembershipRecord {
    type Error = Error;

    fn try_from(row: Row) -> Result<Self, Error> {
        let users: Vec<UserId> = serde_json::from_str(&row.user_ids).map_err(Error::internal)?;
        let event = match row.kind.as_str() {
            kind @ (DIRECT | GROUP) => MembershipEvent::RoomCreated { direct: kind == DIRECT, members: users },
            kind => {
                let id = ObjectId::parse_str(row.message_id.unwrap_or_default()).map_err(Error::internal)?;
                let (by_name, content) = (row.by_name, row.content.unwrap_or_default());
                let message = SystemMessage { id, by_name, content, position: row.position };
                MembershipEvent::RosterChanged { change: RosterChange { joined: kind == ADDED, users }, message }
            }
        };
        let (room, by, at) = (row.room_id, row.by_id, row.created_at);
        Ok(Self { id: row.id, room, by, version: row.version, event, at })
    }
}

fn records(rows: Vec<Row>) -> Result<Vec<MembershipRecord>> {
    rows.into_iter().map(|row| Ok(MembershipRecord::try_from(row)?)).collect()
}

impl MembershipLog {
    pub fn new(pool: MySqlPool) -> Self {
        Self { pool }
    }

    /// The newest record that is older than `age`.
    pub async fn newest_before(&self, age: Duration) -> Result<u64> {
        // All ages go by the database's clock, because the clocks of replicas may differ.
        let newest: Option<u64> =
            sqlx::query_scalar("SELECT MAX(id) FROM chat_room_changes WHERE created_at < NOW(6) - INTERVAL ? SECOND")
                .bind(age.as_secs())
                .fetch_one(&self.pool)
                .await?;
        Ok(newest.unwrap_or(0))
    }

    /// The records after an id, oldest first, and whether there may be more.
    pub async fn after(&self, id: u64) -> Result<(Vec<MembershipRecord>, bool)> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, room_id, kind, by_id, by_name, user_ids, version, message_id, content, position, created_at
             FROM chat_room_changes WHERE id > ? ORDER BY id LIMIT ?",
        )
        .bind(id)
        .bind(PAGE)
        .fetch_all(&self.pool)
        .await?;
        let more = rows.len() == PAGE as usize;
        Ok((records(rows)?, more))
    }

    /// The records with these ids, oldest first; without ids, in no round trip.
    pub async fn by_ids(&self, ids: &[u64]) -> Result<Vec<MembershipRecord>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = QueryBuilder::new(
            "SELECT id, room_id, kind, by_id, by_name, user_ids, version, message_id, content, position, created_at
             FROM chat_room_changes WHERE id IN (",
        );
        let mut listed = query.separated(", ");
        ids.iter().for_each(|id| _ = listed.push_bind(*id));
        query.push(") ORDER BY id");
        // The list has another length each time, so the statement is not worth caching.
        records(query.build_query_as().persistent(false).fetch_all(&self.pool).await?)
    }

    /// The records of a room whose system message is not in the room's log, in the order of their messages.
    pub async fn unannounced(&self, room: RoomId) -> Result<Vec<MembershipRecord>> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, room_id, kind, by_id, by_name, user_ids, version, message_id, content, position, created_at
             FROM chat_room_changes WHERE position IS NULL AND room_id = ? ORDER BY id",
        )
        .bind(room)
        .fetch_all(&self.pool)
        .await?;
        records(rows)
    }

    /// The rooms with unannounced records older than `age`, whose replica has probably been killed.
    pub async fn rooms_with_unannounced(&self, age: Duration) -> Result<Vec<RoomId>> {
        let rooms = sqlx::query_scalar(
            "SELECT DISTINCT room_id FROM chat_room_changes
             WHERE position IS NULL AND created_at < NOW(6) - INTERVAL ? SECOND LIMIT ?",
        );
        Ok(rooms.bind(age.as_secs()).bind(PAGE).fetch_all(&self.pool).await?)
    }

    /// Stores the position of a record's system message.
    pub async fn set_position(&self, record: &MembershipRecord, position: i64) -> Result<()> {
        let mut tx = mysql::begin(&self.pool).await?;
        // First, as in `forget_position`: its row orders the two.
        let update = sqlx::query("UPDATE chat_room_changes SET position = ? WHERE id = ?");
        update.bind(position).bind(record.id).execute(&mut *tx).await?;
        sqlx::query("UPDATE room_members SET joined_position = ? WHERE chat_room_id = ? AND joined_by = ?")
            .bind(position)
            .bind(record.room)
            .bind(record.id)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Makes records unannounced whose system message a restored MongoDB does not have. Members who join by such a record would
    /// otherwise not see the room before it has that position again. It does no harm to records that another replica announces.
    /// Joins whose records are pruned already count as of the newest position that the room has.
    pub async fn forget_lost_positions(&self, messages: &Messages, log: &Log) -> Result<()> {
        // A backup of an earlier release, or of a new schema, has no records.
        let exists: bool = sqlx::query_scalar(
            "SELECT COUNT(*) > 0 FROM information_schema.TABLES
             WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'chat_room_changes'",
        )
        .fetch_one(&self.pool)
        .await?;
        if !exists {
            return Ok(());
        }
        self.forget_unwritten(messages, log).await?;
        self.lower_joins(log).await
    }

    async fn forget_unwritten(&self, messages: &Messages, log: &Log) -> Result<()> {
        let mut after = 0;
        loop {
            let announced: Vec<(u64, RoomId, i64, String)> = sqlx::query_as(
                "SELECT id, room_id, position, message_id FROM chat_room_changes
                 WHERE position > 0 AND message_id IS NOT NULL AND id > ? ORDER BY id LIMIT ?",
            )
            .bind(after)
            .bind(PAGE)
            .fetch_all(&self.pool)
            .await?;
            let Some((last, ..)) = announced.last() else { return Ok(()) };
            after = *last;
            let ids: Vec<&str> = announced.iter().map(|(.., message)| message.as_str()).collect();
            let written = messages.by_hex_ids(&ids).await?;
            let is_written = |message: &str| ObjectId::parse_str(message).is_ok_and(|id| written.contains_key(&id));
            let missing: Vec<_> = announced.iter().filter(|(.., message)| !is_written(message)).collect();
            let rooms: Vec<RoomId> = missing.iter().map(|(_, room, ..)| *room).collect();
            let removed = log.removed(&rooms).await?;
            for (id, room, position, _) in missing {
                // The retention removes messages too, and those are not lost.
                if *position > removed.get(room).copied().unwrap_or(0) {
                    self.forget_position(*id, *room).await?;
                }
            }
        }
    }

    async fn forget_position(&self, id: u64, room: RoomId) -> Result<()> {
        let mut tx = mysql::begin(&self.pool).await?;
        let forgotten = sqlx::query("UPDATE chat_room_changes SET position = NULL WHERE id = ? AND position > 0");
        // A record that is pruned meanwhile is not announced again, so its members keep the position.
        if forgotten.bind(id).execute(&mut *tx).await?.rows_affected() == 0 {
            return Ok(());
        }
        sqlx::query("UPDATE room_members SET joined_position = NULL WHERE chat_room_id = ? AND joined_by = ?")
            .bind(room)
            .bind(id)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    async fn lower_joins(&self, log: &Log) -> Result<()> {
        let mut after = RoomId(0);
        loop {
            let newest_joins: Vec<(RoomId, i64)> = sqlx::query_as(
                "SELECT chat_room_id, MAX(joined_position) FROM room_members
                 WHERE chat_room_id > ? AND joined_position > 0 GROUP BY chat_room_id ORDER BY chat_room_id LIMIT ?",
            )
            .bind(after)
            .bind(PAGE)
            .fetch_all(&self.pool)
            .await?;
            let Some((last, _)) = newest_joins.last() else { return Ok(()) };
            after = *last;
            let rooms: Vec<RoomId> = newest_joins.iter().map(|(room, _)| *room).collect();
            let positions = log.positions(&rooms).await?;
            for (room, newest_join) in newest_joins {
                let newest = positions.get(&room).copied().unwrap_or(0);
                if newest_join > newest {
                    let lower = sqlx::query(
                        "UPDATE room_members SET joined_position = ? WHERE chat_room_id = ? AND joined_position > ?",
                    );
                    lower.bind(newest).bind(room).bind(newest).execute(&self.pool).await?;
                }
            }
        }
    }

    /// Deletes the announced records that no replica needs any more, in pages.
    pub async fn prune(&self) -> Result<()> {
        loop {
            let delete = sqlx::query(
                "DELETE FROM chat_room_changes
                 WHERE created_at < NOW(6) - INTERVAL ? HOUR AND position IS NOT NULL LIMIT ?",
            );
            let deleted = delete.bind(KEPT_HOURS).bind(PAGE).execute(&self.pool).await?.rows_affected();
            if deleted < u64::from(PAGE) {
                return Ok(());
            }
        }
    }
}
