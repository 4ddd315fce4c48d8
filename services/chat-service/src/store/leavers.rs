//! Users who left a group by themselves. Nobody adds them again until a period is over.

use common::id::{RoomId, UserId};
use engines::error::Result;
use sqlx::{MySqlConnection, MySqlPool, QueryBuilder};

use crate::domain::refuse_leavers;

/// Rows deleted by one statement.
const PAGE: u32 = 1_000;

/// The number of days for which a leaver stays out of the group.
#[derive(Clone, Copy, Debug)]
pub struct LeavePeriod(pub u64);

impl LeavePeriod {
    /// Runs in the transaction that adds the users and holds the lock on the room's row.
    ///
    /// # Errors
    /// Refuses the whole list if one of the users left the group within the period.
    pub(super) async fn admit(self, tx: &mut MySqlConnection, room: RoomId, users: &[UserId]) -> Result<()> {
        let mut query = QueryBuilder::new("SELECT user_id FROM chat_room_leavers WHERE room_id = ");
        query.push_bind(room).push(" AND left_at > UTC_TIMESTAMP(6) - INTERVAL ").push_bind(self.0);
        query.push(" DAY AND user_id IN (");
        let mut ids = query.separated(", ");
        users.iter().for_each(|user| _ = ids.push_bind(*user));
        ids.push_unseparated(") ORDER BY user_id");
        // The list has another length each time, so the statement is not worth caching.
        let leavers: Vec<UserId> = query.build_query_scalar().persistent(false).fetch_all(tx).await?;
        Ok(refuse_leavers(&leavers, self.0)?)
    }

    /// Deletes the leavers whose period is over, in pages.
    pub(super) async fn prune(self, pool: &MySqlPool) -> Result<()> {
        loop {
            let delete =
                sqlx::query("DELETE FROM chat_room_leavers WHERE left_at < UTC_TIMESTAMP(6) - INTERVAL ? DAY LIMIT ?");
            let deleted = delete.bind(self.0).bind(PAGE).execute(pool).await?.rows_affected();
            if deleted < u64::from(PAGE) {
                return Ok(());
            }
        }
    }
}

/// Records that a user left a group by themselves, in the transaction that removes them.
pub(super) async fn record(tx: &mut MySqlConnection, room: RoomId, user: UserId) -> Result<()> {
    let insert = sqlx::query(
        "INSERT INTO chat_room_leavers (room_id, user_id, left_at) VALUES (?, ?, UTC_TIMESTAMP(6))
         ON DUPLICATE KEY UPDATE left_at = VALUES(left_at)",
    );
    insert.bind(room).bind(user).execute(tx).await?;
    Ok(())
}
