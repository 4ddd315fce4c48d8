//! The search index in MySQL: every suffix of every name of active accounts.

use sqlx::{AssertSqlSafe, MySqlConnection, MySqlPool, QueryBuilder};

use common::id::UserId;
use engines::error::Result;
use engines::mysql;

use crate::domain::{INDEX_FORM, Names, SearchTerm};

/// The largest number of matches that a search counts.
const MAX_COUNTED: u32 = 1_000;

/// Accounts that one step of the backfill compares with the index.
const BACKFILL_STEP: u32 = 1_000;

/// Accounts that one transaction indexes. Their rows are locked until it ends.
const INDEX_BATCH: usize = 100;

/// The tables `user_name_suffixes` and `user_indexed_names`.
#[derive(Clone)]
pub struct Directory {
    pool: MySqlPool,
}

/// The names of an active account.
#[derive(sqlx::FromRow)]
struct NamesRow {
    id: UserId,
    username: String,
    display_name: Option<String>,
}

impl Directory {
    pub fn new(pool: MySqlPool) -> Self {
        Self { pool }
    }

    /// At most 1,000 accounts with the term in a name, without `except`, in the order of the index: matches whose name
    /// ends soonest after the term come first.
    pub async fn find(&self, term: &SearchTerm, except: UserId) -> Result<Vec<UserId>> {
        let (from, to) = term.range();
        let found: Vec<UserId> = sqlx::query_scalar(
            "SELECT DISTINCT user_id FROM user_name_suffixes
             WHERE suffix >= ? AND suffix < ? AND user_id <> ? LIMIT ?",
        )
        .bind(from)
        .bind(to)
        .bind(except)
        .bind(MAX_COUNTED)
        .fetch_all(&self.pool)
        .await?;
        Ok(found)
    }

    /// Brings the index up to date for the next accounts above `after`, in the order of their ids.
    ///
    /// Returns the last id of the step, or `None` when no account is left.
    pub async fn backfill(&self, after: UserId) -> Result<Option<UserId>> {
        let ids: Vec<UserId> = sqlx::query_scalar("SELECT id FROM users WHERE id > ? ORDER BY id LIMIT ?")
            .bind(after)
            .bind(BACKFILL_STEP)
            .fetch_all(&self.pool)
            .await?;
        let Some(last) = ids.last().copied() else { return Ok(None) };
        for batch in self.stale(after, last).await?.chunks(INDEX_BATCH) {
            self.reindex(batch).await?;
        }
        Ok(Some(last))
    }

    /// Accounts in this range of ids whose index entries do not match their names, their activation or the current form. The
    /// names of an account whose names are ASCII have the same form in all versions.
    async fn stale(&self, after: UserId, last: UserId) -> Result<Vec<UserId>> {
        let stale = sqlx::query_scalar(
            "SELECT u.id FROM users u LEFT JOIN user_indexed_names i ON i.user_id = u.id
             WHERE u.id > ? AND u.id <= ? AND (
                (u.is_active AND i.user_id IS NULL) OR (NOT u.is_active AND i.user_id IS NOT NULL)
                OR i.names <> CAST(CONCAT_WS('\n', CONVERT(u.username USING utf8mb4), u.display_name) AS BINARY)
                OR (i.form < ? AND LENGTH(i.names) <> CHAR_LENGTH(CONVERT(i.names USING utf8mb4))))",
        );
        Ok(stale.bind(after).bind(last).bind(INDEX_FORM).fetch_all(&self.pool).await?)
    }

    /// Indexes accounts under their current names. Deactivated and deleted accounts leave the index.
    pub async fn reindex(&self, users: &[UserId]) -> Result<()> {
        let mut tx = mysql::begin(&self.pool).await?;
        let select = QueryBuilder::new("SELECT id, username, display_name FROM users WHERE is_active AND id IN ");
        let mut select = mysql::with_ids(select, users);
        select.push(" ORDER BY id FOR UPDATE");
        let active: Vec<NamesRow> = select.build_query_as().persistent(false).fetch_all(&mut *tx).await?;
        let active: Vec<_> = active.iter().map(|user| (user.id, user.names())).collect();
        replace(&mut tx, users, &active).await?;
        Ok(tx.commit().await?)
    }
}

impl NamesRow {
    fn names(&self) -> Names<'_> {
        Names { username: &self.username, display_name: self.display_name.as_deref() }
    }
}

/// Indexes an account under these names only, in the transaction that changes them.
pub(super) async fn index(tx: &mut MySqlConnection, user: UserId, names: Names<'_>) -> Result<()> {
    replace(tx, &[user], &[(user, names)]).await
}

/// Removes `users` from the index and inserts `entries`, in one round trip.
///
/// The statement contains only numbers and hexadecimal text. Binding thousands of values takes longer than inserting
/// them.
async fn replace(tx: &mut MySqlConnection, users: &[UserId], entries: &[(UserId, Names<'_>)]) -> Result<()> {
    let ids = users.iter().map(UserId::to_string).collect::<Vec<_>>().join(",");
    let mut sql = format!(
        "DELETE FROM user_name_suffixes WHERE user_id IN ({ids}); DELETE FROM user_indexed_names WHERE user_id IN ({ids})"
    );
    if !entries.is_empty() {
        let suffixes = entries.iter().flat_map(|(user, names)| {
            names.suffixes().into_iter().map(move |suffix| format!("(x'{}',{user})", hex::encode(suffix)))
        });
        let names =
            entries.iter().map(|(user, names)| format!("({user},x'{}',{INDEX_FORM})", hex::encode(names.joined())));
        sql += "; INSERT INTO user_name_suffixes (suffix, user_id) VALUES ";
        sql += &suffixes.collect::<Vec<_>>().join(",");
        sql += "; INSERT INTO user_indexed_names (user_id, names, form) VALUES ";
        sql += &names.collect::<Vec<_>>().join(",");
    }
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(tx).await?;
    Ok(())
}
