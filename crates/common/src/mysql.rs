//! MySQL: a pool that needs no server to be made, and migrations that any number of replicas may run at once.

use std::str::FromStr;
use std::time::Duration;

use log::LevelFilter;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{ConnectOptions, Connection, MySqlConnection, MySqlPool};

use crate::config::{self, ConfigError, Secret};
use crate::error::{Error, Result};
use crate::health::Health;
use crate::telemetry::{Metrics, PoolSize};

/// A request that gets no connection within this is answered 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection unused for longer is asked whether it still lives before it is used; a fresher one is trusted,
/// which spares every query of a busy service a round trip.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// How long a replica waits for another that migrates.
const MIGRATION_LOCK_SECONDS: i64 = 60;

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
