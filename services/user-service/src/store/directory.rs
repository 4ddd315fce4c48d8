//! The search index: every ending of every name of active accounts.

use sqlx::{AssertSqlSafe, MySqlConnection, MySqlPool, QueryBuilder};

use common::error::Result;
use common::id::UserId;
use common::mysql;

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
        let mut tx = mysql::begin(&self.pool).await?;
        let select = QueryBuilder::new("SELECT id, username, display_name FROM users WHERE is_active AND id IN ");
        let mut select = among(select, users);
        select.push(" ORDER BY id FOR UPDATE");
        let found: Vec<Findable> = select.build_query_as().persistent(false).fetch_all(&mut *tx).await?;
        let found: Vec<_> = found.iter().map(|user| (user.id, user.names())).collect();
        replace(&mut tx, users, &found).await?;
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
    replace(tx, &[user], &[(user, names)]).await
}

/// Takes `users` out of the index and puts these in: all in one round trip.
///
/// Numbers and hexadecimal text need no binding, which for thousands of values takes longer than the inserting.
async fn replace(tx: &mut MySqlConnection, users: &[UserId], found: &[(UserId, Names<'_>)]) -> Result<()> {
    let ids = users.iter().map(UserId::to_string).collect::<Vec<_>>().join(",");
    let mut sql = format!(
        "DELETE FROM user_name_suffixes WHERE user_id IN ({ids}); DELETE FROM user_indexed_names WHERE user_id IN ({ids})"
    );
    if !found.is_empty() {
        let suffixes = found.iter().flat_map(|(user, names)| {
            names.suffixes().into_iter().map(move |suffix| format!("(x'{}',{user})", hex(&suffix)))
        });
        let names = found.iter().map(|(user, names)| format!("({user},x'{}')", hex(names.joined().as_bytes())));
        sql += "; INSERT INTO user_name_suffixes (suffix, user_id) VALUES ";
        sql += &suffixes.collect::<Vec<_>>().join(",");
        sql += "; INSERT INTO user_indexed_names (user_id, names) VALUES ";
        sql += &names.collect::<Vec<_>>().join(",");
    }
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(tx).await?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or_default());
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_two_digits_a_byte() {
        assert_eq!(hex(&[0, 10, 255]), "000aff");
    }
}
