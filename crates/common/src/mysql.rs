//! MySQL: a pool that needs no server to be made, and migrations that any number of replicas may run at once.

use std::str::FromStr;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use log::LevelFilter;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::mysql::{MySqlConnectOptions, MySqlDatabaseError, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, MySqlConnection, MySqlPool, MySqlTransaction};

use crate::config::{self, ConfigError, Secret};
use crate::error::{Error, Result};
use crate::health::Health;
use crate::task::run_detached;
use crate::telemetry::{Metrics, PoolSize};

/// A request that gets no connection within this is answered 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection unused for longer is asked whether it still lives before it is used; a fresher one is trusted,
/// which spares every query of a busy service a round trip.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// How long a replica waits for another that migrates.
const MIGRATION_LOCK_SECONDS: i64 = 60;

const NO_SUCH_TABLE: u16 = 1146;

/// InnoDB rolled the statement or the transaction back; a repeat may succeed.
pub(crate) const LOCK_WAIT_TIMEOUT: u16 = 1205;
pub(crate) const DEADLOCK: u16 = 1213;

/// What a statement is answered that took effect before: its table, column, key or constraint is there, or gone.
const ALREADY_DONE: [u16; 6] = [1050, 1060, 1061, 1068, 1091, 1826];

/// A pool; connections are opened when they are needed.
pub fn pool(url: &Secret, size: u32, metrics: &Metrics) -> std::result::Result<MySqlPool, ConfigError> {
    let options = MySqlConnectOptions::from_str(url.expose())
        .map_err(|e| config::error("MYSQL_URL", format!("is not valid: {e}")))?
        // The telemetry listens at this level, and the log never does.
        .log_statements(LevelFilter::Debug)
        .log_slow_statements(LevelFilter::Debug, Duration::MAX)
        .statement_cache_capacity(256);
    let pool = MySqlPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for < TRUSTED_IDLE {
                    return Ok(true);
                }
                connection.ping().await.map(|()| true)
            })
        })
        .after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::query("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").execute(connection).await?;
                Ok(())
            })
        })
        .connect_lazy_with(options);
    let measured = pool.clone();
    metrics.pool("mysql", move || {
        let (open, idle) = (i64::from(measured.size()), measured.num_idle() as i64);
        PoolSize { idle, used: (open - idle).max(0), max: i64::from(size) }
    });
    Ok(pool)
}

/// Begins a transaction, in place of [`MySqlPool::begin`].
///
/// Whoever waits for this may go away. sqlx counts a transaction only once the engine has answered, so of one that is
/// dropped before that it would roll nothing back: the connection would go back to the pool with the transaction open,
/// and what its next user writes would be acknowledged and not committed.
pub async fn begin(pool: &MySqlPool) -> Result<MySqlTransaction<'static>> {
    let pool = pool.clone();
    #[allow(clippy::disallowed_methods, reason = "the one place where it is safe")]
    let begun = run_detached(async move { pool.begin().await }).await;
    Ok(begun?)
}

/// Repeats a whole transaction that InnoDB rolled back because of a deadlock or a lock wait timeout.
///
/// # Errors
/// Returns the last error when all tries fail, and every other error at once.
pub async fn retry_on_deadlock<T, F: Future<Output = Result<T>>>(transaction: impl FnMut() -> F) -> Result<T> {
    const RETRIES: usize = 4;
    const FIRST_PAUSE: Duration = Duration::from_millis(5);
    let backoff = ExponentialBuilder::default().with_min_delay(FIRST_PAUSE).with_max_times(RETRIES).with_jitter();
    transaction.retry(backoff).when(lost_a_lock).await
}

fn lost_a_lock(error: &Error) -> bool {
    let Error::Unavailable { source, .. } = error else { return false };
    let number = source.downcast_ref::<sqlx::Error>().and_then(number);
    number.is_some_and(|number| [LOCK_WAIT_TIMEOUT, DEADLOCK].contains(&number))
}

/// Migrates as soon as the server is there, and reports `mysql` as ready from then on.
pub fn prepare(pool: &MySqlPool, health: &Health, service: &'static str, migrations: fn() -> Migrator) {
    let (migrated, asked) = (pool.clone(), pool.clone());
    let migrate = move || {
        let pool = migrated.clone();
        async move { migrate(&pool, service, migrations()).await }
    };
    let ask = move || {
        let pool = asked.clone();
        async move { Ok(sqlx::query("SELECT 1").execute(&pool).await.map(|_| ())?) }
    };
    health.prepare("mysql", migrate, ask);
}

/// Brings a service's tables up to date, one replica at a time.
///
/// sqlx's own lock is not taken: it asks for an endless wait, which MariaDB answers with NULL and no lock.
pub async fn migrate(pool: &MySqlPool, service: &'static str, mut migrations: Migrator) -> Result<()> {
    // A connection of its own: the lock is the session's, and dies with it whatever happens here.
    let mut connection = pool.connect_options().connect().await?;
    lock(&mut connection, service).await?;
    finish_broken(&mut connection, service, &migrations).await?;
    migrations.set_locking(false);
    migrations.dangerous_set_table_name(format!("{service}_migrations"));
    migrations.run_direct(None, &mut connection, false).await.map_err(|e| failed(service, e))?;
    Ok(connection.close().await?)
}

/// Only the engine's own failures pass; a migration that was changed after it ran, or broke off, is for an operator.
fn failed(service: &str, e: MigrateError) -> Error {
    match e {
        MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => e.into(),
        e => Error::internal(format!("{service}_migrations: {e}")),
    }
}

/// Finishes the migration in the middle of which a process was killed, if there is one.
///
/// MySQL commits a statement that changes a table by itself, so all that is known then is that the migration was begun.
/// Each of our statements takes effect wholly or not at all, and one that did is harmless to repeat or refused by
/// [`ALREADY_DONE`]: the whole migration is run again, statement by statement.
async fn finish_broken(connection: &mut MySqlConnection, service: &str, migrations: &Migrator) -> Result<()> {
    let begun = format!("SELECT version FROM {service}_migrations WHERE success = FALSE ORDER BY version LIMIT 1");
    let begun = match sqlx::query_scalar(AssertSqlSafe(begun)).fetch_optional(&mut *connection).await {
        Err(e) if number(&e) == Some(NO_SUCH_TABLE) => None,
        found => found?,
    };
    let broken = begun.and_then(|version: i64| migrations.iter().find(|migration| migration.version == version));
    let Some(migration) = broken else { return Ok(()) };
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
    tracing::warn!(version = migration.version, "finished a migration that was cut off");
    Ok(())
}

/// The number of a refusal by the engine.
pub(crate) fn number(e: &sqlx::Error) -> Option<u16> {
    Some(e.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?.number())
}

/// The statements of a migration, without its comments, in which a semicolon may stand.
fn statements(sql: &str) -> Vec<String> {
    let lines: Vec<&str> = sql.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    lines.join("\n").split(';').map(|statement| statement.trim().to_owned()).filter(|s| !s.is_empty()).collect()
}

async fn lock(connection: &mut MySqlConnection, service: &str) -> Result<()> {
    let got: Option<i64> = sqlx::query_scalar("SELECT GET_LOCK(CONCAT(DATABASE(), '.', ?), ?)")
        .bind(service)
        .bind(MIGRATION_LOCK_SECONDS)
        .fetch_one(connection)
        .await?;
    match got {
        Some(1) => Ok(()),
        _ => Err(Error::unavailable("mysql", format!("another replica of {service} holds the migration lock"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_apart_and_comments_left_out() {
        let sql = "-- One; two.\nALTER TABLE a\n    -- why; because\n    ADD b INT;\n\nUPDATE a SET b = 1;\n";
        assert_eq!(statements(sql), ["ALTER TABLE a\n    ADD b INT", "UPDATE a SET b = 1"]);
    }
}
