//! The limit on the rooms of a user.

use common::id::UserId;
use engines::error::Result;
use sqlx::{MySqlConnection, QueryBuilder};

use crate::domain::refuse_too_many_rooms;

/// The greatest number of rooms of a user. Lists, counts and streams of all rooms load every room of a user.
#[derive(Clone, Copy, Debug)]
pub struct RoomLimit(pub u64);

impl RoomLimit {
    /// Runs in the transaction that has brought the users into a room. Concurrent transactions do not see each other's rooms, so
    /// they can exceed the limit by their number.
    ///
    /// # Errors
    /// Refuses the whole list if one of the users has more rooms than the limit allows.
    pub(super) async fn check(self, tx: &mut MySqlConnection, users: &[UserId]) -> Result<()> {
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
