//! The limits on the rooms of a user.

use common::id::UserId;
use engines::error::Result;
use engines::mysql;
use sqlx::{MySqlConnection, QueryBuilder};

use crate::domain::{refuse_too_many_of_creator, refuse_too_many_rooms};

/// The part of the limit that the groups of one creator may take of another user's rooms: 500 of 5,000. A user who is to be
/// brought into no further group has to be in groups of so many creators.
const CREATORS: u64 = 10;

/// The groups that one creator may bring a user into in any case.
const MIN_OF_CREATOR: u64 = 10;

/// The greatest number of rooms that a user creates, and of all rooms of a user whom others bring into a group. Lists, counts and
/// streams of all rooms load every room of a user.
///
/// The two are counted apart, so that others cannot keep a user from own rooms, and one creator takes only a part of the second. A user
/// is a member of at most twice as many rooms, and of the direct rooms that others have opened with the user.
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

    /// Runs in the transaction in which the creator has brought the users into a group. All rooms of the users count, and those that
    /// the creator has brought them into. Concurrent transactions can exceed the limits as above.
    ///
    /// # Errors
    /// Refuses the whole list if one of the users has more rooms, or more of this creator, than the limits allow.
    pub(super) async fn check_brought(self, tx: &mut MySqlConnection, creator: UserId, users: &[UserId]) -> Result<()> {
        refuse_too_many_rooms(&self.full(tx, users).await?, self.0)?;
        let of_creator = (self.0 / CREATORS).max(MIN_OF_CREATOR);
        Ok(refuse_too_many_of_creator(&in_more_of(tx, creator, of_creator, users).await?, of_creator)?)
    }

    /// The users with more rooms than the limit.
    async fn full(self, tx: &mut MySqlConnection, users: &[UserId]) -> Result<Vec<UserId>> {
        let mut query = QueryBuilder::new("SELECT user FROM (");
        for column in ["user_1_id", "user_2_id"] {
            query.push("SELECT ").push(column).push(" AS user, COUNT(*) AS rooms FROM chat_rooms WHERE ").push(column);
            query.push(" IN ");
            query = mysql::with_ids(query, users);
            query.push(" GROUP BY ").push(column).push(" UNION ALL ");
        }
        query.push("SELECT user_id, SUM(rooms) FROM chat_room_group_counts WHERE user_id IN ");
        query = mysql::with_ids(query, users);
        query
            .push(" GROUP BY user_id) own GROUP BY user HAVING SUM(rooms) > ")
            .push_bind(self.0)
            .push(" ORDER BY user");
        // The list has another length each time, so the statement is not worth caching.
        Ok(query.build_query_scalar().persistent(false).fetch_all(tx).await?)
    }
}

/// The users who are in more than so many groups of a creator.
async fn in_more_of(tx: &mut MySqlConnection, creator: UserId, limit: u64, users: &[UserId]) -> Result<Vec<UserId>> {
    let mut query = QueryBuilder::new("SELECT user_id FROM chat_room_group_counts WHERE creator_id = ");
    query.push_bind(creator).push(" AND rooms > ").push_bind(limit).push(" AND user_id IN ");
    query = mysql::with_ids(query, users);
    query.push(" ORDER BY user_id");
    Ok(query.build_query_scalar().persistent(false).fetch_all(tx).await?)
}

/// Counts the users as members of one more group of a creator; 0 is the creator of the groups that an original wrote. In the order
/// of the keys, so that concurrent transactions do not wait for each other in a circle.
pub(super) async fn count_joined(tx: &mut MySqlConnection, creator: Option<UserId>, users: &[UserId]) -> Result<()> {
    let mut users = users.to_vec();
    users.sort_unstable();
    let mut insert = QueryBuilder::new("INSERT INTO chat_room_group_counts (user_id, creator_id, rooms) ");
    insert.push_values(users, |mut row, user| {
        row.push_bind(user).push_bind(creator.unwrap_or(UserId(0))).push("1");
    });
    insert.push(" ON DUPLICATE KEY UPDATE rooms = rooms + 1").build().persistent(false).execute(tx).await?;
    Ok(())
}

/// Counts a user as a member of one group of a creator less.
pub(super) async fn count_left(tx: &mut MySqlConnection, creator: Option<UserId>, user: UserId) -> Result<()> {
    sqlx::query(
        "UPDATE chat_room_group_counts SET rooms = rooms - 1 WHERE user_id = ? AND creator_id = ? AND rooms > 0",
    )
    .bind(user)
    .bind(creator.unwrap_or(UserId(0)))
    .execute(tx)
    .await?;
    Ok(())
}
