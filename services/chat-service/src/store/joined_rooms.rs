//! The rooms of a user as a stream of them needs them.

use std::collections::HashMap;

use common::id::{RoomId, UserId};
use engines::error::Result;
use sqlx::QueryBuilder;

use super::rooms::Rooms;

/// A room of a user.
pub struct JoinedRoom {
    pub id: RoomId,
    /// The other user of a direct room.
    pub other: Option<UserId>,
    pub joined: Joined,
}

/// The position in a room's log at which a user joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// The user is a member since the creation of the room.
    AtCreation,
    At(i64),
    /// The log does not contain the join yet, which is a record of the membership log.
    Unannounced {
        record: u64,
    },
}

/// The join of a member of a group.
pub struct GroupJoin {
    /// The record of the change that brought the member in; `None` for a member since the creation of the group.
    pub record: Option<u64>,
    /// The position of its system message, once the room's log contains it.
    pub position: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct JoinedRow {
    room: RoomId,
    other: Option<UserId>,
    joined_by: Option<u64>,
    joined_position: Option<i64>,
}

impl From<JoinedRow> for JoinedRoom {
    fn from(row: JoinedRow) -> Self {
        let joined = match (row.joined_by, row.joined_position) {
            (None, _) => Joined::AtCreation,
            (Some(_), Some(position)) => Joined::At(position),
            (Some(record), None) => Joined::Unannounced { record },
        };
        Self { id: row.room, other: row.other, joined }
    }
}

impl Rooms {
    /// The rooms of a user, in one round trip. It costs MySQL less than [`Rooms::of_user`], which matters when thousands of streams come
    /// back at once.
    pub async fn joined(&self, user: UserId) -> Result<Vec<JoinedRoom>> {
        const ROOMS: &str = "SELECT id AS room, user_2_id AS other, CAST(NULL AS UNSIGNED) AS joined_by, CAST(NULL AS SIGNED) AS joined_position
             FROM chat_rooms WHERE user_1_id = ?
             UNION ALL
             SELECT id, user_1_id, CAST(NULL AS UNSIGNED), CAST(NULL AS SIGNED)
             FROM chat_rooms WHERE user_2_id = ? AND user_1_id <> user_2_id
             UNION ALL
             SELECT room.id, CAST(NULL AS SIGNED), joined_by, joined_position
             FROM room_members own JOIN chat_rooms room ON room.id = own.chat_room_id
             WHERE own.user_id = ? AND room.user_1_id IS NULL";
        let rows: Vec<JoinedRow> = sqlx::query_as(ROOMS).bind(user).bind(user).bind(user).fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(JoinedRoom::from).collect())
    }

    /// The joins of these members of groups. Who is not a member is left out.
    pub async fn joins(&self, members: &[(RoomId, UserId)]) -> Result<HashMap<(RoomId, UserId), GroupJoin>> {
        // A join, because MariaDB looks pairs of a list up by one of their columns alone.
        let mut query = QueryBuilder::new("SELECT chat_room_id, user_id, joined_by, joined_position FROM (");
        let mut wanted = query.separated(" UNION ALL ");
        for (room, user) in members {
            wanted.push("SELECT ").push_bind_unseparated(*room).push_unseparated(" AS room, ");
            wanted.push_bind_unseparated(*user).push_unseparated(" AS user");
        }
        query.push(") wanted JOIN room_members ON chat_room_id = wanted.room AND user_id = wanted.user");
        // The list has another length each time, so the statement is not worth caching.
        let rows: Vec<(RoomId, UserId, Option<u64>, Option<i64>)> =
            query.build_query_as().persistent(false).fetch_all(&self.pool).await?;
        Ok(rows
            .into_iter()
            .map(|(room, user, record, position)| ((room, user), GroupJoin { record, position }))
            .collect())
    }
}
