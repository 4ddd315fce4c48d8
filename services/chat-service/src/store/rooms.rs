//! Rooms and their members in MySQL.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::error::Error;
use common::events::chat::{ChatRoomCreated, MemberAdded, MemberLeft};
use common::id::{RoomId, UserId};
use engines::error::Result;
use engines::mysql;
use engines::mysql::OnDuplicate;
use engines::outbox::Outbox;
use futures_util::TryStreamExt;
use moka::future::Cache;
use moka::ops::compute::Op;
use service::clients::user::UNKNOWN_USERNAME;
use sqlx::{FromRow, MySqlConnection, MySqlExecutor, MySqlPool, QueryBuilder};

use super::batch_reads::BatchReads;
use super::leavers::{self, LeavePeriod};
use super::membership_log::{self, MembershipRecord, NewRecord};
use super::room_limit::{self, RoomLimit};
use super::room_settings;
use crate::domain::{Actor, DirectPair, Room, RoomKind, RoomSettings, RosterChange, joined_message, left_message};
use crate::flights::Flights;

/// A permission is cached for less than 5 s, with or without events; the rest of the time is for the query.
const CACHE_TTL: Duration = Duration::from_secs(4);

/// Capacity of the cache in members, a room counting as 20 of them: about 20 MB.
const CACHE_CAPACITY: u64 = 2_000_000;
const ROOM_WEIGHT: usize = 20;

/// Limit on the users whose rooms are read together, up to ten thousand each.
const MAX_USERS: usize = 8;

/// The tables `chat_rooms` and `room_members`.
#[derive(Clone)]
pub struct Rooms {
    pub(super) pool: MySqlPool,
    outbox: Outbox,
    cache: Cache<RoomId, Arc<Room>>,
    /// Loads of rooms that the cache does not hold.
    loads: Flights<RoomId, Arc<Room>>,
    /// Reads of the rooms of users.
    own_reads: BatchReads<UserId, HashMap<UserId, Vec<OwnRoom>>>,
    leave_period: LeavePeriod,
    limit: RoomLimit,
}

#[derive(FromRow)]
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

/// A room and one of its members; `None` for a room without rows of members.
#[derive(FromRow)]
struct MemberRow {
    #[sqlx(flatten)]
    room: Row,
    member: Option<UserId>,
}

/// A room of a user, with the settings of that user.
#[derive(FromRow)]
struct OwnRow {
    owner: UserId,
    #[sqlx(flatten)]
    room: Row,
    pinned: bool,
    muted: bool,
}

/// A room of a user. The other members of a group are not loaded.
#[derive(Clone)]
pub struct OwnRoom {
    pub room: Room,
    pub settings: RoomSettings,
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

impl From<OwnRow> for OwnRoom {
    fn from(row: OwnRow) -> Self {
        let settings = RoomSettings { pinned: row.pinned, muted: row.muted };
        Self { room: row.room.into(), settings }
    }
}

impl Rooms {
    pub fn new(pool: MySqlPool, outbox: Outbox, leave_period: LeavePeriod, limit: RoomLimit) -> Self {
        let weigher = |_: &RoomId, room: &Arc<Room>| (ROOM_WEIGHT + room.members.len()) as u32;
        let cache = Cache::builder().max_capacity(CACHE_CAPACITY).weigher(weigher).time_to_live(CACHE_TTL).build();
        let read = pool.clone();
        let own_reads = BatchReads::new("mysql", MAX_USERS, move |users| rooms_of_users(read.clone(), users));
        Self { pool, outbox, cache, loads: Flights::default(), own_reads, leave_period, limit }
    }

    /// The room, as it was at most 5 s ago. Requests that find it missing in the cache share one load.
    ///
    /// # Errors
    /// Refuses everyone who is not a member.
    pub async fn for_member(&self, room: RoomId, user: UserId) -> Result<Arc<Room>> {
        let room = match self.cache.get(&room).await {
            Some(cached) => cached,
            None => {
                let rooms = self.clone();
                self.loads.run(room, async move { rooms.load_into_cache(room).await }).await?
            }
        };
        room.admit(user)?;
        Ok(room)
    }

    /// The room in its current state.
    ///
    /// # Errors
    /// Refuses everyone who is not a member.
    pub async fn for_member_uncached(&self, room: RoomId, user: UserId) -> Result<Arc<Room>> {
        let room = self.load_into_cache(room).await?;
        room.admit(user)?;
        Ok(room)
    }

    async fn load_into_cache(&self, room: RoomId) -> Result<Arc<Room>> {
        let loaded = Arc::new(load(&self.pool, room).await?);
        // A concurrent change may have put a newer version into the cache.
        let candidate = loaded.clone();
        let entry = self.cache.entry(room).and_compute_with(|cached| {
            let older = cached.is_none_or(|cached| cached.value().version <= candidate.version);
            std::future::ready(if older { Op::Put(candidate) } else { Op::Nop })
        });
        Ok(entry.await.into_entry().map_or(loaded, |entry| entry.into_value()))
    }

    /// Applies a change of members to the cached room, unless the cache has a newer version.
    pub async fn apply_to_cache(&self, room: RoomId, change: &RosterChange, version: u64) {
        let applied = self.cache.entry(room).and_compute_with(|cached| {
            let cached = cached.filter(|cached| cached.value().version < version);
            let changed = cached.map(|cached| Arc::new(cached.value().after(change, version)));
            std::future::ready(changed.map_or(Op::Nop, Op::Put))
        });
        applied.await;
    }

    /// The direct room of a pair, if it exists.
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

    /// Creates the direct room of a pair and its event. Returns the room and whether it is new.
    ///
    /// The unique key on the pair decides: of concurrent calls, one creates the room and the others find it.
    pub async fn create_direct(&self, pair: DirectPair, creator: UserId) -> Result<(Room, bool)> {
        if let Some(room) = self.insert_direct(pair, creator).await? {
            self.outbox.wake();
            return Ok((room, true));
        }
        let room = self.direct(pair).await?;
        Ok((room.ok_or_else(|| Error::internal("an existing direct room was not found"))?, false))
    }

    /// The new room; `None` if the pair has one.
    async fn insert_direct(&self, pair: DirectPair, creator: UserId) -> Result<Option<Room>> {
        let mut tx = mysql::begin(&self.pool).await?;
        let inserted = sqlx::query("INSERT INTO chat_rooms (user_1_id, user_2_id, creator_id) VALUES (?, ?, ?)")
            .bind(pair.low)
            .bind(pair.high)
            .bind(creator)
            .execute(&mut *tx)
            .await
            .unless_duplicate("chat_rooms_pair")?;
        let Some(inserted) = inserted else { return Ok(None) };
        let id = RoomId(inserted.last_insert_id() as i64);
        self.limit.check_creator(&mut tx, creator).await?;
        let room = self.append_created(&mut tx, id, true, creator, vec![pair.low, pair.high]).await?;
        tx.commit().await?;
        Ok(Some(room))
    }

    /// Creates a group and its event.
    pub async fn create_group(&self, creator: UserId, name: Option<&str>, others: &[UserId]) -> Result<Room> {
        let mut tx = mysql::begin(&self.pool).await?;
        let id = sqlx::query("INSERT INTO chat_rooms (name, creator_id) VALUES (?, ?)")
            .bind(name)
            .bind(creator)
            .execute(&mut *tx)
            .await?
            .last_insert_id() as i64;
        let members: Vec<UserId> = std::iter::once(creator).chain(others.iter().copied()).collect();
        insert_members(&mut tx, RoomId(id), &members, None).await?;
        room_limit::count_joined(&mut tx, Some(creator), &members).await?;
        self.limit.check_creator(&mut tx, creator).await?;
        self.limit.check_brought(&mut tx, creator, others).await?;
        let room = self.append_created(&mut tx, RoomId(id), false, creator, members).await?;
        tx.commit().await?;
        self.outbox.wake();
        Ok(room)
    }

    /// Appends the event and the record of a new room.
    async fn append_created(
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
        membership_log::append(tx, NewRecord::room_created(room, direct, creator, &members, version)).await?;
        load(&mut *tx, room).await
    }

    /// Adds users to a group, with events and a system message that uses `names`. Returns `None` if all are members.
    ///
    /// # Errors
    /// Refuses everyone but the creator, users who left the group by themselves a short time ago, and users with too many rooms.
    pub async fn add(
        &self,
        room: RoomId,
        by: &Actor,
        users: &[UserId],
        names: &HashMap<UserId, String>,
    ) -> Result<Option<MembershipRecord>> {
        let mut tx = mysql::begin(&self.pool).await?;
        let current = lock(&mut tx, room).await?;
        let new = current.newcomers(by.id, users)?;
        if new.is_empty() {
            return Ok(None);
        }
        self.leave_period.admit(&mut tx, room, &new).await?;
        // All refusals are before the record: every replica looks for the id of one that is rolled back.
        room_limit::count_joined(&mut tx, current.creator()?, &new).await?;
        self.limit.check_brought(&mut tx, by.id, &new).await?;
        let mut version = current.version;
        for user in &new {
            let added = MemberAdded { room_id: room, user_id: *user, by: by.id };
            version = self.outbox.append(&mut tx, &added).await?;
        }
        set_version(&mut tx, room, version).await?;
        let named: Vec<&str> = new.iter().map(|user| name_of(names.get(user))).collect();
        let content = joined_message(name_of(by.name.as_ref()), &named);
        let change = RosterChange { joined: true, users: new.clone() };
        let record = NewRecord::roster_changed(room, by, change, version, content);
        let record = membership_log::append(&mut tx, record).await?;
        insert_members(&mut tx, room, &new, Some(record.id)).await?;
        tx.commit().await?;
        self.outbox.wake();
        Ok(Some(record))
    }

    /// Removes a user from a group, with an event and a system message that uses `name`.
    pub async fn remove(
        &self,
        room: RoomId,
        by: &Actor,
        user: UserId,
        name: Option<&String>,
    ) -> Result<MembershipRecord> {
        let mut tx = mysql::begin(&self.pool).await?;
        let current = lock(&mut tx, room).await?;
        current.may_remove(by.id, user)?;
        let deleted = sqlx::query("DELETE FROM room_members WHERE chat_room_id = ? AND user_id = ?");
        deleted.bind(room).bind(user).execute(&mut *tx).await?;
        room_limit::count_left(&mut tx, current.creator()?, user).await?;
        room_settings::delete(&mut tx, user, room).await?;
        if by.id == user {
            leavers::record(&mut tx, room, user).await?;
        }
        let left = MemberLeft { room_id: room, user_id: user, by: by.id };
        let version = self.outbox.append(&mut tx, &left).await?;
        set_version(&mut tx, room, version).await?;
        let removed = (by.id != user).then(|| name_of(name));
        let content = left_message(name_of(by.name.as_ref()), removed);
        let change = RosterChange { joined: false, users: vec![user] };
        let record = NewRecord::roster_changed(room, by, change, version, content);
        let record = membership_log::append(&mut tx, record).await?;
        tx.commit().await?;
        self.outbox.wake();
        Ok(record)
    }

    /// Deletes the records of users who left a group longer ago than the period in which nobody adds them again.
    pub async fn prune_leavers(&self) -> Result<()> {
        self.leave_period.prune(&self.pool).await
    }

    /// All rooms of a user, in one round trip, which a busy replica shares among requests.
    pub async fn of_user(&self, user: UserId) -> Result<Vec<OwnRoom>> {
        let read = self.own_reads.read(vec![user]).await?;
        Ok(read.get(&user).cloned().unwrap_or_default())
    }

    /// Loads the members of all groups among the rooms, in one round trip; without groups, in none.
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
        let query = query.build_query_as().persistent(groups.len() == 1);
        let members: Vec<(RoomId, UserId)> = query.fetch_all(&self.pool).await?;
        for (room, member) in members {
            if let Some(room) = groups.get_mut(&room) {
                room.members.push(member);
            }
        }
        Ok(rooms)
    }

    /// Sets the time of the last activity, by which the original orders its lists, in one statement.
    pub async fn touch(&self, active: &HashMap<RoomId, DateTime<Utc>>) -> Result<()> {
        let Some(latest) = active.values().max() else { return Ok(()) };
        let mut update = QueryBuilder::new("UPDATE chat_rooms SET updated_at = ");
        update.push_bind(*latest).push(" WHERE id IN (");
        let mut ids = update.separated(", ");
        active.keys().for_each(|room| {
            ids.push_bind(*room);
        });
        ids.push_unseparated(")");
        update.build().persistent(active.len() == 1).execute(&self.pool).await?;
        Ok(())
    }
}

/// Loads a room with its members in one round trip.
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

/// The rooms of users, in one round trip.
async fn rooms_of_users(pool: MySqlPool, users: Vec<UserId>) -> Result<HashMap<UserId, Vec<OwnRoom>>> {
    // Three index lookups for each user. An OR over two columns would scan the table.
    const ROOMS: [&str; 3] = [
        "SELECT user_1_id AS owner, id, user_1_id, user_2_id, name, creator_id, members_version, created_at, updated_at,
                pinned_at IS NOT NULL AS pinned, muted_at IS NOT NULL AS muted
         FROM chat_rooms
         LEFT JOIN chat_room_settings setting ON setting.user_id = user_1_id AND setting.room_id = id
         WHERE user_1_id IN (",
        ") UNION ALL
         SELECT user_2_id, id, user_1_id, user_2_id, name, creator_id, members_version, created_at, updated_at,
                pinned_at IS NOT NULL, muted_at IS NOT NULL
         FROM chat_rooms
         LEFT JOIN chat_room_settings setting ON setting.user_id = user_2_id AND setting.room_id = id
         WHERE user_1_id <> user_2_id AND user_2_id IN (",
        ") UNION ALL
         SELECT own.user_id, room.id, user_1_id, user_2_id, name, creator_id, members_version, room.created_at, room.updated_at,
                pinned_at IS NOT NULL, muted_at IS NOT NULL
         FROM room_members own JOIN chat_rooms room ON room.id = own.chat_room_id
         LEFT JOIN chat_room_settings setting ON setting.user_id = own.user_id AND setting.room_id = room.id
         WHERE room.user_1_id IS NULL AND own.user_id IN (",
    ];
    let users = statement_sized(users);
    let mut query = QueryBuilder::new("");
    for part in ROOMS {
        let mut ids = query.push(part).separated(", ");
        users.iter().for_each(|user| {
            ids.push_bind(*user);
        });
    }
    query.push(")");
    let rows = query.build_query_as::<OwnRow>().fetch(&pool);
    let own = rows.try_fold(HashMap::new(), async |mut own: HashMap<UserId, Vec<OwnRoom>>, row| {
        own.entry(row.owner).or_default().push(row.into());
        Ok(own)
    });
    Ok(own.await?)
}

/// The users, with the last one repeated up to the next power of two: a statement is prepared for each length of a list, and these
/// are few.
fn statement_sized(mut users: Vec<UserId>) -> Vec<UserId> {
    if let Some(last) = users.last().copied() {
        users.resize(users.len().next_power_of_two(), last);
    }
    users
}

/// Locks a room's row, so that changes of one room are serialized, and loads the room.
async fn lock(tx: &mut MySqlConnection, room: RoomId) -> Result<Room> {
    sqlx::query("SELECT id FROM chat_rooms WHERE id = ? FOR UPDATE").bind(room).fetch_optional(&mut *tx).await?;
    load(tx, room).await
}

async fn set_version(tx: &mut MySqlConnection, room: RoomId, version: u64) -> Result<()> {
    let update = sqlx::query("UPDATE chat_rooms SET members_version = ? WHERE id = ?");
    update.bind(version).bind(room).execute(tx).await?;
    Ok(())
}

/// Inserts members of a group. `by` is the record of the change that brought them in.
async fn insert_members(tx: &mut MySqlConnection, room: RoomId, users: &[UserId], by: Option<u64>) -> Result<()> {
    let mut insert = QueryBuilder::new("INSERT INTO room_members (chat_room_id, user_id, joined_by) ");
    insert.push_values(users, |mut row, user| {
        row.push_bind(room).push_bind(*user).push_bind(by);
    });
    insert.build().persistent(users.len() == 1).execute(tx).await?;
    Ok(())
}

fn name_of(name: Option<&String>) -> &str {
    name.map_or(UNKNOWN_USERNAME, String::as_str)
}
