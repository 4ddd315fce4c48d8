//! The limits on the rooms of a user.

use common::id::UserId;
use engines::error::Result;
use sqlx::{MySqlConnection, QueryBuilder};

use crate::domain::refuse_too_many_rooms;

/// The greatest number of rooms that a user creates, and of all rooms of a user whom others bring into a group. Lists, counts and
/// streams of all rooms load every room of a user.
///
/// The two are counted apart, so that others cannot keep a user from own rooms. A user is a member of at most twice as many
/// rooms, and of the direct rooms that others have opened with the user.
#[derive(Clone, Copy, Debug)]
pub struct RoomLimit(pub u64);

impl RoomLimit {
    /// Runs in the transaction in which the user has created a room. Rooms count that the user has created and not left. Concurrent
    /// transactions do not see each other's rooms, so they can exceed the limit by their number.
    ///
    /// # Errors
    /// Refuses a user who has created more rooms than the limit allows.
    pub(super) async fn check_creator(self, tx: &mut MySqlConnection, creator: UserId) -> Result<()> {
        // Three index lookups, as for the list of a user's rooms.
        let created: u64 = sqlx::query_scalar(
            "SELECT CAST(COUNT(*) AS UNSIGNED) FROM (
                 SELECT id FROM chat_rooms WHERE user_1_id = ? AND creator_id = ?
                 UNION ALL
                 SELECT id FROM chat_rooms WHERE user_2_id = ? AND creator_id = ?
                 UNION ALL
                 SELECT room.id FROM room_members own JOIN chat_rooms room ON room.id = own.chat_room_id
                 WHERE own.user_id = ? AND room.creator_id = ? AND room.user_1_id IS NULL
             ) created",
        )
        .bind(creator)
        .bind(creator)
        .bind(creator)
        .bind(creator)
        .bind(creator)
        .bind(creator)
        .fetch_one(tx)
        .await?;
        let full = if created > self.0 { &[creator][..] } else { &[] };
        Ok(refuse_too_many_rooms(full, self.0)?)
    }

    /// Runs in the transaction that has brought the users into a group of another user. All rooms of the users count. Concurrent
    /// transactions can exceed the limit as above.
    ///
    /// # Errors
    /// Refuses the whole list if one of the users has more rooms than the limit allows.
    pub(super) async fn check_brought(self, tx: &mut MySqlConnection, users: &[UserId]) -> Result<()> {
        let columns = [("user_1_id", "chat_rooms"), ("user_2_id", "chat_rooms"), ("user_id", "room_members")];
        let mut query = QueryBuilder::new("SELECT user FROM (");
        for (n, (column, table)) in columns.into_iter().enumerate() {
            query.push(if n == 0 { "SELECT " } else { " UNION ALL SELECT " });
            query.push(column).push(" AS user FROM ").push(table).push(" WHERE ").push(column).push(" IN (");
            let mut ids = query.separated(", ");
            users.iter().for_each(|user| _ = ids.push_bind(*user));
            ids.push_unseparated(")");
        }
        query.push(") own GROUP BY user HAVING COUNT(*) > ").push_bind(self.0).push(" ORDER BY user");
        // The list has another length each time, so the statement is not worth caching.
        let full: Vec<UserId> = query.build_query_scalar().persistent(false).fetch_all(tx).await?;
        Ok(refuse_too_many_rooms(&full, self.0)?)
    }
}
