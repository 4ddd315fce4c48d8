//! Names of users from events. Lists show them while user-service is unavailable.

use std::collections::HashMap;

use sqlx::{MySql, MySqlPool, QueryBuilder};

use common::id::UserId;
use engines::error::Result;

/// The greatest number of users in a statement.
const CHUNK: usize = 1_000;

/// The table `friend_names`.
#[derive(Clone)]
pub struct Names {
    pool: MySqlPool,
}

/// The name of a user from an event.
#[derive(Clone, Debug)]
pub struct Name {
    pub user_id: UserId,
    pub username: String,
    /// Grows per user. An older version changes nothing.
    pub version: u64,
}

impl Names {
    pub fn new(pool: MySqlPool) -> Self {
        Self { pool }
    }

    /// The known names of users.
    pub async fn of(&self, users: &[UserId]) -> Result<HashMap<UserId, String>> {
        let mut all = HashMap::new();
        for users in users.chunks(CHUNK) {
            let mut query = QueryBuilder::<MySql>::new("SELECT user_id, username FROM friend_names WHERE user_id IN (");
            let mut ids = query.separated(", ");
            users.iter().for_each(|id| _ = ids.push_bind(*id));
            query.push(")");
            // The list has another length each time, so the statement is not worth caching.
            let names: Vec<(UserId, String)> = query.build_query_as().persistent(false).fetch_all(&self.pool).await?;
            all.extend(names);
        }
        Ok(all)
    }

    /// Inserts or updates names, those of one user in order. Repeats and older versions change nothing.
    pub async fn upsert(&self, names: &[Name]) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let mut query = QueryBuilder::<MySql>::new("INSERT INTO friend_names (user_id, username, version) ");
        query.push_values(names, |mut row, name| {
            row.push_bind(name.user_id).push_bind(&name.username).push_bind(name.version);
        });
        // The name comes first, because its condition compares with the old version.
        query.push(
            " ON DUPLICATE KEY UPDATE username = IF(VALUES(version) >= version, VALUES(username), username),
              version = GREATEST(version, VALUES(version))",
        );
        query.build().persistent(false).execute(&self.pool).await?;
        Ok(())
    }
}
