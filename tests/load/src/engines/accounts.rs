//! Accounts in MySQL with their search index, as user-service stores them.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use sqlx::{AssertSqlSafe, Connection, MySql, MySqlConnection, QueryBuilder};

use super::address;
use crate::api::Person;

const FAMILY_NAMES: [(&str, &str); 8] = [
    ("kim", "김"),
    ("lee", "이"),
    ("park", "박"),
    ("choi", "최"),
    ("jung", "정"),
    ("kang", "강"),
    ("yoon", "윤"),
    ("seo", "서"),
];
const GIVEN_NAMES: [(&str, &str); 7] = [
    ("minjun", "민준"),
    ("seoyeon", "서연"),
    ("doyun", "도윤"),
    ("jiwoo", "지우"),
    ("hajun", "하준"),
    ("yuna", "유나"),
    ("jiho", "지호"),
];

/// Accounts of a transaction. Their 20 names each in the index are one statement of two megabytes, and servers take 16.
const BATCH: u64 = 2_000;

/// The version of the index in which names are stored as they are here: in lower case and composed.
const INDEX_FORM: u8 = 1;

/// The tables of accounts and of their names.
pub struct Accounts(MySqlConnection);

/// The names of an account. They contain no character that SQL or the search treats specially.
struct Names {
    username: String,
    display_name: String,
}

impl Accounts {
    /// # Errors
    /// Fails if the engine of the running stack cannot be reached, or is on another machine.
    pub async fn connect() -> Result<Self> {
        Ok(Self(MySqlConnection::connect(&address("USER_MYSQL_URL")?).await?))
    }

    /// # Errors
    /// Fails if an account that the measured system has registered is not there: the engine is that of another system.
    pub async fn ensure_has(&mut self, person: &Person) -> Result<()> {
        let found = sqlx::query("SELECT id FROM users WHERE id = ? AND username = ?");
        let found = found.bind(person.id).bind(&person.username).fetch_optional(&mut self.0).await?;
        ensure!(found.is_some(), "USER_MYSQL_URL is not the database of the measured system");
        Ok(())
    }

    pub async fn count(&mut self) -> Result<u64> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM users").fetch_one(&mut self.0).await?;
        Ok(count as u64)
    }

    /// Writes at most `count` accounts in one transaction, and returns their number. They have no password.
    ///
    /// # Errors
    /// Fails if MySQL refuses a statement.
    pub async fn write(&mut self, count: u64) -> Result<u64> {
        let count = count.min(BATCH);
        let mut tx = self.0.begin().await?;
        // Names with numbers above all ids are new.
        let last: i64 =
            sqlx::query_scalar("SELECT CAST(COALESCE(MAX(id), 0) AS SIGNED) FROM users").fetch_one(&mut *tx).await?;
        let names: Vec<_> = (1..=count).map(|n| Names::of(last as u64 + n)).collect();
        let mut insert: QueryBuilder<MySql> = QueryBuilder::new(
            "INSERT INTO users (email, password_hash, username, display_name, is_online, is_active, created_at, updated_at) ",
        );
        insert.push_values(&names, |mut row, names| {
            row.push_bind(format!("{}@example.com", names.username)).push("'-'").push_bind(&names.username);
            row.push_bind(&names.display_name).push("FALSE, TRUE, NOW(6), NOW(6)");
        });
        // A statement that inserts a known number of rows takes consecutive ids, of which this is the first.
        let first = insert.build().persistent(false).execute(&mut *tx).await?.last_insert_id();
        sqlx::raw_sql(AssertSqlSafe(index(first, &names))).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(count)
    }
}

impl Names {
    fn of(n: u64) -> Self {
        let (family, family_hangul) = FAMILY_NAMES[n as usize % FAMILY_NAMES.len()];
        let (given, given_hangul) = GIVEN_NAMES[n as usize % GIVEN_NAMES.len()];
        // The letter keeps them apart from names that other benchmarks have written.
        Self { username: format!("{family}_{given}_g{n}"), display_name: format!("{family_hangul}{given_hangul}") }
    }

    /// The endings of both names: a search for any part of a name is a range of them.
    fn suffixes(&self) -> BTreeSet<&str> {
        [&self.username, &self.display_name]
            .into_iter()
            .flat_map(|name| name.char_indices().map(|(start, _)| &name[start..]))
            .collect()
    }
}

/// The statements that index accounts with consecutive ids. The suffixes are sorted, as the table is.
fn index(first: u64, names: &[Names]) -> String {
    let with_id = || (first..).zip(names);
    let mut suffixes: Vec<_> =
        with_id().flat_map(|(id, names)| names.suffixes().into_iter().map(move |suffix| (suffix, id))).collect();
    suffixes.sort_unstable();
    let suffixes: Vec<_> = suffixes.into_iter().map(|(suffix, id)| format!("('{suffix}',{id})")).collect();
    let indexed = with_id()
        .map(|(id, names)| format!("({id},'{}\\n{}',{INDEX_FORM})", names.username, names.display_name))
        .collect::<Vec<_>>();
    format!(
        "INSERT INTO user_name_suffixes (suffix, user_id) VALUES {}; INSERT INTO user_indexed_names (user_id, names, form) VALUES {}",
        suffixes.join(","),
        indexed.join(",")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_of_both_names_is_indexed_once_and_in_order() {
        let sql = index(7, &[Names { username: "a_a".into(), display_name: "김민".into() }]);
        assert!(sql.contains("VALUES ('_a',7),('a',7),('a_a',7),('김민',7),('민',7);"), "{sql}");
        assert!(sql.ends_with("VALUES (7,'a_a\\n김민',1)"), "{sql}");
    }

    #[test]
    fn names_of_different_numbers_differ() {
        assert_ne!(Names::of(56).username, Names::of(112).username);
        assert_eq!(Names::of(8).username, "kim_seoyeon_g8");
    }
}
