//! The settings of members for rooms in MySQL.

use common::error::Error;
use common::id::{RoomId, UserId};
use engines::error::Result;
use engines::mysql;
use sqlx::{MySqlConnection, MySqlExecutor, MySqlPool};

use crate::domain::{RoomSetting, RoomSettings};

/// The table `chat_room_settings`. A user has at most one row per room.
#[derive(Clone)]
pub struct MemberSettings {
    pool: MySqlPool,
}

#[derive(sqlx::FromRow)]
struct Row {
    pinned: bool,
    muted: bool,
}

impl MemberSettings {
    pub fn new(pool: MySqlPool) -> Self {
        Self { pool }
    }

    /// Turns a setting of a member on or off. Returns the settings, and whether they changed.
    ///
    /// # Errors
    /// Refuses a user who is not a member of the room.
    pub async fn set(
        &self,
        user: UserId,
        room: RoomId,
        setting: RoomSetting,
        on: bool,
    ) -> Result<(RoomSettings, bool)> {
        let mut tx = mysql::begin(&self.pool).await?;
        // The room and the membership are locked: the membership ends before the statement, which then inserts nothing, or
        // after the commit, with the settings. The row is locked as well, so concurrent changes of one member's settings for
        // one room are serialized.
        let insert = sqlx::query(
            "INSERT INTO chat_room_settings (user_id, room_id)
             SELECT ?, room.id FROM chat_rooms room
             LEFT JOIN room_members own ON own.chat_room_id = room.id AND own.user_id = ?
             WHERE room.id = ? AND (own.user_id IS NOT NULL OR room.user_1_id = ? OR room.user_2_id = ?)
             LOCK IN SHARE MODE
             ON DUPLICATE KEY UPDATE room_id = chat_room_settings.room_id",
        );
        insert.bind(user).bind(user).bind(room).bind(user).bind(user).execute(&mut *tx).await?;
        let change = match (setting, on) {
            (RoomSetting::Pinned, true) => "pinned_at = UTC_TIMESTAMP(6) WHERE pinned_at IS NULL",
            (RoomSetting::Pinned, false) => "pinned_at = NULL WHERE pinned_at IS NOT NULL",
            (RoomSetting::Muted, true) => "muted_at = UTC_TIMESTAMP(6) WHERE muted_at IS NULL",
            (RoomSetting::Muted, false) => "muted_at = NULL WHERE muted_at IS NOT NULL",
        };
        let update =
            sqlx::AssertSqlSafe(format!("UPDATE chat_room_settings SET {change} AND user_id = ? AND room_id = ?"));
        let changed = sqlx::query(update).bind(user).bind(room).execute(&mut *tx).await?.rows_affected() > 0;
        let Some(settings) = read(&mut *tx, user, room).await? else {
            return Err(Error::forbidden("Access denied to this chat room").into());
        };
        if settings == RoomSettings::default() {
            delete(&mut tx, user, room).await?;
        }
        tx.commit().await?;
        Ok((settings, changed))
    }

    /// The settings of a user for a room.
    pub async fn of_room(&self, user: UserId, room: RoomId) -> Result<RoomSettings> {
        Ok(read(&self.pool, user, room).await?.unwrap_or_default())
    }
}

async fn read(db: impl MySqlExecutor<'_>, user: UserId, room: RoomId) -> Result<Option<RoomSettings>> {
    let row = sqlx::query_as::<_, Row>(
        "SELECT pinned_at IS NOT NULL AS pinned, muted_at IS NOT NULL AS muted
         FROM chat_room_settings WHERE user_id = ? AND room_id = ?",
    );
    Ok(row.bind(user).bind(room).fetch_optional(db).await?.map(|Row { pinned, muted }| RoomSettings { pinned, muted }))
}

/// Deletes the settings of a user for a room.
pub(super) async fn delete(tx: &mut MySqlConnection, user: UserId, room: RoomId) -> Result<()> {
    let delete = sqlx::query("DELETE FROM chat_room_settings WHERE user_id = ? AND room_id = ?");
    delete.bind(user).bind(room).execute(tx).await?;
    Ok(())
}
