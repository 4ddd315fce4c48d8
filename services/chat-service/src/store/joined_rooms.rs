//! The rooms of a user as a stream of them needs them.

use common::id::{RoomId, UserId};
use engines::error::Result;

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
        Ok(self.rows_of_user::<JoinedRow>(ROOMS, user).await?.into_iter().map(JoinedRoom::from).collect())
    }
}
