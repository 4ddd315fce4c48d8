//! Rooms in MySQL, and who is in them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::clients::user::UNKNOWN_USERNAME;
use common::error::{Error, OnDuplicate, Result};
use common::events::chat::{ChatRoomCreated, MemberAdded, MemberLeft};
use common::id::{RoomId, UserId};
use common::mysql;
use common::outbox::Outbox;
use moka::future::Cache;
use moka::ops::compute::Op;
use sqlx::{MySqlConnection, MySqlExecutor, MySqlPool, QueryBuilder};

use super::changes::{self, Change, NewChange};
use crate::domain::{DirectPair, Move, Room, RoomKind, said_of_leaver, said_of_newcomers};

/// A permission is remembered no longer than 5 s, whatever is heard or not; the fifth second is for the reading.
const REMEMBERED: Duration = Duration::from_secs(4);

/// Members of all rooms that are remembered at once, a room counting as much as 20 of them: about 20 MB.
const MAX_REMEMBERED: u64 = 2_000_000;
const ROOM_WEIGHT: usize = 20;

/// The tables `chat_rooms` and `room_members`.
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
    name: Option<String>,
    creator_id: Option<UserId>,
    members_version: u64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// A room with one of its members, or none.
#[derive(sqlx::FromRow)]
struct MemberRow {
    #[sqlx(flatten)]
    room: Row,
    member: Option<UserId>,
}

/// A room of someone, and since when it is theirs.
#[derive(sqlx::FromRow)]
struct OwnRow {
    #[sqlx(flatten)]
    room: Row,
    joined_by: Option<u64>,
    joined_position: Option<i64>,
}

/// A room of someone; of a group the other members are not read yet.
pub struct Own {
    pub room: Room,
    pub joined: Joined,
}

/// The position in a room's log at which someone came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// With the room itself.
    AtTheBeginning,
    At(i64),
    /// The log does not tell of it yet.
    Untold,
}

/// Who changes a room.
#[derive(Clone, Debug)]
pub struct Actor {
    pub id: UserId,
    pub name: Option<String>,
}

impl From<Row> for Room {
    fn from(row: Row) -> Self {
        let kind = match (row.user_1_id, row.user_2_id) {
            (Some(a), Some(b)) => RoomKind::Direct(DirectPair { low: a.min(b), high: a.max(b) }),
            _ => RoomKind::Group { name: row.name, creator: row.creator_id },
        };
        let members = kind.pair().iter().flat_map(|pair| [pair.low, pair.high]).collect();
        let version = row.members_version;
        Self { id: row.id, kind, members, version, created_at: row.created_at, updated_at: row.updated_at }
    }
}

impl From<OwnRow> for Own {
    fn from(row: OwnRow) -> Self {
        let joined = match (row.joined_by, row.joined_position) {
            (None, _) => Joined::AtTheBeginning,
            (Some(_), Some(position)) => Joined::At(position),
            (Some(_), None) => Joined::Untold,
        };
        Self { room: row.room.into(), joined }
    }
}

impl Rooms {
    pub fn new(pool: MySqlPool, outbox: Outbox) -> Self {
        let weigher = |_: &RoomId, room: &Arc<Room>| (ROOM_WEIGHT + room.members.len()) as u32;
        let known = Cache::builder().max_capacity(MAX_REMEMBERED).weigher(weigher).time_to_live(REMEMBERED).build();
        Self { pool, outbox, known }
    }

    /// The room, for one of its members, as it was some seconds ago at worst.
    pub async fn of_member(&self, room: RoomId, user: UserId) -> Result<Arc<Room>> {
        let room = match self.known.get(&room).await {
            Some(known) => known,
            None => self.read(room).await?,
        };
        room.admit(user)?;
        Ok(room)
    }

    /// The room, for one of its members, as it is now.
    pub async fn of_member_now(&self, room: RoomId, user: UserId) -> Result<Arc<Room>> {
        let room = self.read(room).await?;
        room.admit(user)?;
        Ok(room)
    }

    async fn read(&self, room: RoomId) -> Result<Arc<Room>> {
        let found = Arc::new(load(&self.pool, room).await?);
        // Whoever changed the room meanwhile remembers it in a newer version.
        let read = found.clone();
        let remembered = self.known.entry(room).and_compute_with(|known| {
            let older = known.is_none_or(|known| known.value().version <= read.version);
            std::future::ready(if older { Op::Put(read) } else { Op::Nop })
        });
        Ok(remembered.await.into_entry().map_or(found, |entry| entry.into_value()))
    }

    /// What is remembered of a room follows a move in it.
    pub async fn follow(&self, room: RoomId, moved: &Move, version: u64) {
        let follow = self.known.entry(room).and_compute_with(|known| {
            let known = known.filter(|known| known.value().version < version);
            let moved = known.map(|known| Arc::new(known.value().after(moved, version)));
            std::future::ready(moved.map_or(Op::Nop, Op::Put))
        });
        follow.await;
    }

    /// The direct room of two people, if they have one.
    pub async fn direct(&self, pair: DirectPair) -> Result<Option<Room>> {
        let row: Option<Row> = sqlx::query_as(concat!(
            "SELECT id, user_1_id, user_2_id, name, creator_id, members_version, created_at, updated_at ",
            "FROM chat_rooms WHERE pair_low = ? AND pair_high = ?"
        ))
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
        let room = self.tell_of_new(&mut tx, RoomId(id), true, creator, vec![pair.low, pair.high]).await?;
        tx.commit().await?;
        Ok(room)
    }

    /// Opens a group, and tells of it.
    pub async fn open_group(&self, creator: UserId, name: Option<&str>, others: &[UserId]) -> Result<Room> {
        let mut tx = mysql::begin(&self.pool).await?;
        let id = sqlx::query("INSERT INTO chat_rooms (name, creator_id) VALUES (?, ?)")
            .bind(name)
            .bind(creator)
            .execute(&mut *tx)
            .await?
            .last_insert_id() as i64;
        let members: Vec<UserId> = std::iter::once(creator).chain(others.iter().copied()).collect();
        insert_members(&mut tx, RoomId(id), &members, None).await?;
        let room = self.tell_of_new(&mut tx, RoomId(id), false, creator, members).await?;
        tx.commit().await?;
        self.outbox.wake();
        Ok(room)
    }

    async fn tell_of_new(
        &self,
        tx: &mut MySqlConnection,
        room: RoomId,
        direct: bool,
        creator: UserId,
        members: Vec<UserId>,
    ) -> Result<Room> {
        let room_type = if direct { "direct" } else { "group" }.to_owned();
        let participant_ids = members.clone();
        let created = ChatRoomCreated { room_id: room, room_type, creator_id: creator, participant_ids };
        let version = self.outbox.append(tx, &created).await?;
        set_version(tx, room, version).await?;
        changes::append(tx, NewChange::created(room, direct, creator, &members, version)).await?;
        load(&mut *tx, room).await
    }

    /// Brings people into a group, and tells of it; none for those who are in. `names` are for what the system says.
    pub async fn add(
        &self,
        room: RoomId,
        by: &Actor,
        users: &[UserId],
        names: &HashMap<UserId, String>,
    ) -> Result<Option<Change>> {
        let mut tx = mysql::begin(&self.pool).await?;
        let current = lock(&mut tx, room).await?;
        let new = current.newcomers(by.id, users)?;
        let mut version = current.version;
        for user in &new {
            let added = MemberAdded { room_id: room, user_id: *user, by: by.id };
            version = self.outbox.append(&mut tx, &added).await?;
        }
        if new.is_empty() {
            return Ok(None);
        }
        set_version(&mut tx, room, version).await?;
        let named: Vec<&str> = new.iter().map(|user| name_of(names.get(user))).collect();
        let content = said_of_newcomers(name_of(by.name.as_ref()), &named);
        let moved = Move { joined: true, users: new.clone() };
        let change = changes::append(&mut tx, NewChange::moved(room, by, moved, version, content)).await?;
        insert_members(&mut tx, room, &new, Some(change.id)).await?;
        tx.commit().await?;
        self.outbox.wake();
        Ok(Some(change))
    }

    /// Brings someone out of a group, themselves perhaps, and tells of it. `name` is for what the system says.
    pub async fn remove(&self, room: RoomId, by: &Actor, user: UserId, name: Option<&String>) -> Result<Change> {
        let mut tx = mysql::begin(&self.pool).await?;
        lock(&mut tx, room).await?.may_remove(by.id, user)?;
        let deleted = sqlx::query("DELETE FROM room_members WHERE chat_room_id = ? AND user_id = ?");
        deleted.bind(room).bind(user).execute(&mut *tx).await?;
        let left = MemberLeft { room_id: room, user_id: user, by: by.id };
        let version = self.outbox.append(&mut tx, &left).await?;
        set_version(&mut tx, room, version).await?;
        let removed = (by.id != user).then(|| name_of(name));
        let content = said_of_leaver(name_of(by.name.as_ref()), removed);
        let moved = Move { joined: false, users: vec![user] };
        let change = changes::append(&mut tx, NewChange::moved(room, by, moved, version, content)).await?;
        tx.commit().await?;
        self.outbox.wake();
        Ok(change)
    }

    /// All rooms of a user: one round trip.
    pub async fn of_user(&self, user: UserId) -> Result<Vec<Own>> {
        // Three index lookups; an OR over two columns would be one scan.
        let rows: Vec<OwnRow> = sqlx::query_as(
            "SELECT id, user_1_id, user_2_id, name, creator_id, members_version, created_at, updated_at,
                    CAST(NULL AS UNSIGNED) AS joined_by, CAST(NULL AS SIGNED) AS joined_position
             FROM chat_rooms WHERE user_1_id = ?
             UNION
             SELECT id, user_1_id, user_2_id, name, creator_id, members_version, created_at, updated_at,
                    CAST(NULL AS UNSIGNED), CAST(NULL AS SIGNED)
             FROM chat_rooms WHERE user_2_id = ?
             UNION
             SELECT room.id, user_1_id, user_2_id, name, creator_id, members_version, room.created_at, room.updated_at,
                    joined_by, joined_position
             FROM room_members own JOIN chat_rooms room ON room.id = own.chat_room_id
             WHERE own.user_id = ? AND room.user_1_id IS NULL",
        )
        .bind(user)
        .bind(user)
        .bind(user)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(Own::from).collect())
    }

    /// Reads the members of those rooms that are groups: one round trip, none without groups.
    pub async fn with_members(&self, mut rooms: Vec<Room>) -> Result<Vec<Room>> {
        let mut groups: HashMap<RoomId, &mut Room> =
            rooms.iter_mut().filter(|room| room.kind.pair().is_none()).map(|room| (room.id, room)).collect();
        if groups.is_empty() {
            return Ok(rooms);
        }
        let mut query = QueryBuilder::new("SELECT chat_room_id, user_id FROM room_members WHERE chat_room_id IN (");
        let mut ids = query.separated(", ");
        groups.keys().for_each(|room| {
            ids.push_bind(*room);
        });
        ids.push_unseparated(") ORDER BY id");
        let members: Vec<(RoomId, UserId)> = query.build_query_as().fetch_all(&self.pool).await?;
        for (room, member) in members {
            if let Some(room) = groups.get_mut(&room) {
                room.members.push(member);
            }
        }
        Ok(rooms)
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

/// A room with its members: one round trip, whatever it is.
async fn load<'c>(from: impl MySqlExecutor<'c>, room: RoomId) -> Result<Room> {
    let rows: Vec<MemberRow> = sqlx::query_as(
        "SELECT room.id, user_1_id, user_2_id, name, creator_id, members_version, room.created_at, room.updated_at,
                member.user_id AS member
         FROM chat_rooms room LEFT JOIN room_members member ON member.chat_room_id = room.id AND user_1_id IS NULL
         WHERE room.id = ? ORDER BY member.id",
    )
    .bind(room)
    .fetch_all(from)
    .await?;
    let members: Vec<UserId> = rows.iter().filter_map(|row| row.member).collect();
    let first = rows.into_iter().next().ok_or_else(|| Error::not_found("Chat room not found"))?;
    let mut room = Room::from(first.room);
    room.members.extend(members);
    Ok(room)
}

/// Makes changes of one room take turns, and reads it.
async fn lock(tx: &mut MySqlConnection, room: RoomId) -> Result<Room> {
    sqlx::query("SELECT id FROM chat_rooms WHERE id = ? FOR UPDATE").bind(room).fetch_optional(&mut *tx).await?;
    load(tx, room).await
}

async fn set_version(tx: &mut MySqlConnection, room: RoomId, version: u64) -> Result<()> {
    let update = sqlx::query("UPDATE chat_rooms SET members_version = ? WHERE id = ?");
    update.bind(version).bind(room).execute(tx).await?;
    Ok(())
}

async fn insert_members(tx: &mut MySqlConnection, room: RoomId, users: &[UserId], by: Option<u64>) -> Result<()> {
    let mut insert = QueryBuilder::new("INSERT INTO room_members (chat_room_id, user_id, joined_by) ");
    insert.push_values(users, |mut row, user| {
        row.push_bind(room).push_bind(*user).push_bind(by);
    });
    insert.build().execute(tx).await?;
    Ok(())
}

fn name_of(name: Option<&String>) -> &str {
    name.map_or(UNKNOWN_USERNAME, String::as_str)
}

const TAKEN: &str = "room_exists";

fn taken() -> Error {
    Error::refused(axum::http::StatusCode::CONFLICT, TAKEN, "The room exists")
}
