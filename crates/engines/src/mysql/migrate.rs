//! Migrations, which any number of replicas may run at once.

use common::error::Error as CommonError;
use platform::health::Health;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, MySqlConnection, MySqlPool};

use crate::error::{Error, Result};
use crate::mysql::durability::shows_durable_commits_only;
use crate::mysql::error::{NO_SUCH_TABLE, number};
use crate::mysql::probe::Probe;

/// How long a replica waits for another one that migrates.
const MIGRATION_LOCK_SECONDS: i64 = 60;

/// The errors of a statement that took effect before: its table, column, key or constraint exists already, or no
/// longer.
const ALREADY_DONE: [u16; 6] = [1050, 1060, 1061, 1068, 1091, 1826];

/// Migrates as soon as the server is available. From then on, `mysql` is ready while it answers on a connection of its own.
pub fn prepare(pool: &MySqlPool, health: &Health, service: &'static str, migrations: fn() -> Migrator) {
    let (migrated, probe) = (pool.clone(), Probe::new(pool));
    let migrate = move || {
        let pool = migrated.clone();
        async move { migrate(&pool, service, migrations()).await }
    };
    health.prepare("mysql", migrate, move || probe.clone().ping());
}

/// Brings a service's tables up to date, one replica at a time. The list of migrations is the table
/// `<service>_migrations`.
///
/// The lock is not sqlx's own: sqlx requests an endless wait, to which MariaDB answers NULL without locking.
///
/// # Errors
/// Returns an unavailable error if the server does not answer or another replica migrates for longer than a minute, and
/// an internal error if a migration was changed after it ran.
pub async fn migrate(pool: &MySqlPool, service: &'static str, mut migrations: Migrator) -> Result<()> {
    // A connection of its own: the lock belongs to the session and ends with it, whatever happens here.
    let mut connection = pool.connect_options().connect().await?;
    warn_of_lossy_commits(&mut connection).await;
    lock(&mut connection, service).await?;
    if !finish_interrupted(&mut connection, service, &migrations).await? {
        tracing::warn!("a newer release was interrupted in a migration, it is left to that release");
        return Ok(connection.close().await?);
    }
    migrations.set_locking(false);
    // A newer release may have migrated already: this one runs beside it, or after it in a rollback.
    migrations.set_ignore_missing(true);
    migrations.dangerous_set_table_name(format!("{service}_migrations"));
    migrations.run_direct(None, &mut connection, false).await.map_err(|e| failed(service, e))?;
    Ok(connection.close().await?)
}

/// A server without these settings, or with other means of its own, serves all the same.
async fn warn_of_lossy_commits(connection: &mut MySqlConnection) {
    match shows_durable_commits_only(connection).await {
        Ok(true) => {}
        Ok(false) => tracing::warn!(
            "a crash of a single MySQL server can take back changes whose events were published: it needs log_bin, sync_binlog = 1 and innodb_flush_log_at_trx_commit = 1"
        ),
        Err(e) => tracing::warn!(error = %e, "the server does not tell whether its commits are durable"),
    }
}

/// Errors of the server may pass. A migration that was changed after it ran needs an operator.
fn failed(service: &str, e: MigrateError) -> Error {
    match e {
        MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => e.into(),
        e => CommonError::internal(format!("{service}_migrations: {e}")).into(),
    }
}

/// Finishes the migration during which a process was killed, if there is one.
///
/// MySQL commits every statement that changes a table, so only the begin of the migration is recorded. Each statement
/// of the migrations takes effect wholly or not at all, and a repetition is harmless or fails with one of
/// [`ALREADY_DONE`]: the whole migration is run again, statement by statement.
///
/// Returns false if the migration is one of a newer release, which ran all migrations of this one before it.
async fn finish_interrupted(connection: &mut MySqlConnection, service: &str, migrations: &Migrator) -> Result<bool> {
    let begun = format!("SELECT version FROM {service}_migrations WHERE success = FALSE ORDER BY version LIMIT 1");
    let begun: Option<i64> = match sqlx::query_scalar(AssertSqlSafe(begun)).fetch_optional(&mut *connection).await {
        Err(e) if number(&e) == Some(NO_SUCH_TABLE) => None,
        found => found?,
    };
    let Some(version) = begun else { return Ok(true) };
    let Some(migration) = migrations.iter().find(|migration| migration.version == version) else { return Ok(false) };
    for statement in statements(migration.sql.as_str()) {
        let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await;
        if let Err(e) = done
            && !number(&e).is_some_and(|number| ALREADY_DONE.contains(&number))
        {
            return Err(e.into());
        }
    }
    let finished = format!("UPDATE {service}_migrations SET success = TRUE WHERE version = ?");
    sqlx::query(AssertSqlSafe(finished)).bind(migration.version).execute(connection).await?;
    tracing::warn!(version = migration.version, "finished an interrupted migration");
    Ok(true)
}

/// The statements of a migration, without its comments, which may contain semicolons.
fn statements(sql: &str) -> Vec<String> {
    let lines: Vec<&str> = sql.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    lines.join("\n").split(';').map(|statement| statement.trim().to_owned()).filter(|s| !s.is_empty()).collect()
}

async fn lock(connection: &mut MySqlConnection, service: &str) -> Result<()> {
    let locked: Option<i64> = sqlx::query_scalar("SELECT GET_LOCK(CONCAT(DATABASE(), '.', ?), ?)")
        .bind(service)
        .bind(MIGRATION_LOCK_SECONDS)
        .fetch_one(connection)
        .await?;
    match locked {
        Some(1) => Ok(()),
        _ => {
            Err(CommonError::unavailable("mysql", format!("another replica of {service} holds the migration lock"))
                .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_is_split_into_statements_without_comments() {
        let sql = "-- One; two.\nALTER TABLE a\n    -- why; because\n    ADD b INT;\n\nUPDATE a SET b = 1;\n";
        assert_eq!(statements(sql), ["ALTER TABLE a\n    ADD b INT", "UPDATE a SET b = 1"]);
    }
}
