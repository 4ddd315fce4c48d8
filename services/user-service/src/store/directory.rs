//! The search index: every ending of every name of active accounts.

use sqlx::{MySql, MySqlConnection, MySqlPool, QueryBuilder};

use common::error::Result;
use common::id::UserId;

use super::among;
use crate::domain::{Names, Part};

/// How many matches are counted; beyond it the number says "at least".
const MAX_COUNTED: u32 = 1_000;

/// Accounts that are looked at in one step of the indexing.
const INDEX_STEP: u32 = 1_000;

/// Accounts that are indexed in one transaction, which locks them for its length.
const INDEX_BATCH: usize = 100;

/// The tables `user_name_suffixes` and `user_indexed_names`.
#[derive(Clone)]
pub struct Directory {
    pool: MySqlPool,
}

/// An account that others may find.
#[derive(sqlx::FromRow)]
struct Findable {
    id: UserId,
    username: String,
    display_name: Option<String>,
}

impl Directory {
    pub fn new(pool: MySqlPool) -> Self {
        Self { pool }
    }

    /// Who else has this part in a name: at most 1,000, those whose name ends soonest after it first.
    pub async fn find(&self, part: &Part, but: UserId) -> Result<Vec<UserId>> {
        let (from, to) = part.range();
        let found: Vec<UserId> = sqlx::query_scalar(
            "SELECT DISTINCT user_id FROM user_name_suffixes
             WHERE suffix >= ? AND suffix < ? AND user_id <> ? LIMIT ?",
        )
        .bind(from)
        .bind(to)
        .bind(but)
        .bind(MAX_COUNTED)
        .fetch_all(&self.pool)
        .await?;
        Ok(found)
    }

    /// Indexes what an original wrote, after `after`. Returns where to go on, nothing at the end.
    pub async fn catch_up(&self, after: UserId) -> Result<Option<UserId>> {
        let ids: Vec<UserId> = sqlx::query_scalar("SELECT id FROM users WHERE id > ? ORDER BY id LIMIT ?")
            .bind(after)
            .bind(INDEX_STEP)
            .fetch_all(&self.pool)
            .await?;
        let Some(last) = ids.last().copied() else { return Ok(None) };
        for batch in self.stale(after, last).await?.chunks(INDEX_BATCH) {
            self.reindex(batch).await?;
        }
        Ok(Some(last))
    }

    /// Accounts in this range whose index differs from their names, or from whether they are active.
    async fn stale(&self, after: UserId, last: UserId) -> Result<Vec<UserId>> {
        let stale = sqlx::query_scalar(
            "SELECT u.id FROM users u LEFT JOIN user_indexed_names i ON i.user_id = u.id
             WHERE u.id > ? AND u.id <= ? AND (
                (u.is_active AND i.user_id IS NULL) OR (NOT u.is_active AND i.user_id IS NOT NULL)
                OR i.names <> CAST(CONCAT_WS('\n', CONVERT(u.username USING utf8mb4), u.display_name) AS BINARY))",
        );
        Ok(stale.bind(after).bind(last).fetch_all(&self.pool).await?)
    }

    /// Indexes accounts as they are now; those that are deactivated or gone are found no more.
    pub async fn reindex(&self, users: &[UserId]) -> Result<()> {
        let mut tx = self.pool.begin().await?;
        let select = QueryBuilder::new("SELECT id, username, display_name FROM users WHERE is_active AND id IN ");
        let mut select = among(select, users);
        select.push(" ORDER BY id FOR UPDATE");
        let found: Vec<Findable> = select.build_query_as().persistent(false).fetch_all(&mut *tx).await?;
        forget(&mut tx, users).await?;
        add(&mut tx, found.iter().map(|user| (user.id, user.names())).collect()).await?;
        Ok(tx.commit().await?)
    }
}

impl Findable {
    fn names(&self) -> Names<'_> {
        Names { username: &self.username, display_name: self.display_name.as_deref() }
    }
}

/// Makes an account findable by these names and no others, in the transaction that changes them.
pub(super) async fn index(tx: &mut MySqlConnection, user: UserId, names: Names<'_>) -> Result<()> {
    forget(tx, &[user]).await?;
    add(tx, vec![(user, names)]).await
}

async fn add(tx: &mut MySqlConnection, users: Vec<(UserId, Names<'_>)>) -> Result<()> {
    if users.is_empty() {
        return Ok(());
    }
    let suffixes = users.iter().flat_map(|(user, names)| names.suffixes().into_iter().map(|suffix| (suffix, *user)));
    let mut insert = QueryBuilder::<MySql>::new("INSERT INTO user_name_suffixes (suffix, user_id) ");
    insert.push_values(suffixes, |mut row, (suffix, user)| {
        row.push_bind(suffix).push_bind(user);
    });
    insert.build().persistent(false).execute(&mut *tx).await?;
    let mut insert = QueryBuilder::<MySql>::new("INSERT INTO user_indexed_names (user_id, names) ");
    insert.push_values(users, |mut row, (user, names)| {
        row.push_bind(user).push_bind(names.joined().into_bytes());
    });
    insert.build().persistent(false).execute(tx).await?;
    Ok(())
}

async fn forget(tx: &mut MySqlConnection, users: &[UserId]) -> Result<()> {
    for delete in [
        "DELETE FROM user_name_suffixes WHERE user_id IN ",
        "DELETE FROM user_indexed_names WHERE user_id IN ",
    ] {
        let mut delete = among(QueryBuilder::new(delete), users);
        delete.build().persistent(users.len() == 1).execute(&mut *tx).await?;
    }
    Ok(())
}
