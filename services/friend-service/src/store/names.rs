//! The names that events told: what lists show of people whom user-service cannot be asked about.

use std::collections::HashMap;

use sqlx::{MySql, MySqlPool, QueryBuilder};

use common::error::Result;
use common::id::UserId;

/// The table `friend_names`.
#[derive(Clone)]
pub struct Names {
    pool: MySqlPool,
}

/// A name as an event told it.
#[derive(Clone, Debug)]
pub struct Told {
    pub user_id: UserId,
    pub username: String,
    /// Grows per person; an older one changes nothing.
    pub version: u64,
}

impl Names {
    pub fn new(pool: MySqlPool) -> Self {
        Self { pool }
    }

    /// What was told of these people.
    pub async fn of(&self, people: &[UserId]) -> Result<HashMap<UserId, String>> {
        if people.is_empty() {
            return Ok(HashMap::new());
        }
        let mut query = QueryBuilder::<MySql>::new("SELECT user_id, username FROM friend_names WHERE user_id IN (");
        let mut ids = query.separated(", ");
        people.iter().for_each(|id| _ = ids.push_bind(*id));
        query.push(")");
        // Of another length each time: not worth a place among the prepared statements.
        let told: Vec<(UserId, String)> = query.build_query_as().persistent(false).fetch_all(&self.pool).await?;
        Ok(told.into_iter().collect())
    }

    /// Takes over names, of one person in order. Repeats and latecomers change nothing.
    pub async fn keep(&self, told: &[Told]) -> Result<()> {
        if told.is_empty() {
            return Ok(());
        }
        let mut query = QueryBuilder::<MySql>::new("INSERT INTO friend_names (user_id, username, version) ");
        query.push_values(told, |mut row, told| {
            row.push_bind(told.user_id).push_bind(&told.username).push_bind(told.version);
        });
        // The name first: it compares with the version that stands there still.
        query.push(
            " ON DUPLICATE KEY UPDATE username = IF(VALUES(version) >= version, VALUES(username), username),
              version = GREATEST(version, VALUES(version))",
        );
        query.build().persistent(false).execute(&self.pool).await?;
        Ok(())
    }
}
