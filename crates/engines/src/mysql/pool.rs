//! The pool of connections.

use std::str::FromStr;
use std::time::Duration;

use common::config::{self, ConfigError};
use log::LevelFilter;
use platform::telemetry::{Metrics, PoolSize};
use secrecy::{ExposeSecret, SecretString};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{ConnectOptions, Connection, MySqlPool};

/// A request that gets no connection within this time is answered with 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection that was idle for longer is pinged before use. Trusting the others saves every query of a busy service
/// a round trip.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// A pool that connects when it is used, so that a service starts without the server. `size` is the greatest number of
/// connections.
///
/// # Errors
/// Returns an error if the URL is invalid.
pub fn pool(url: &SecretString, size: u32, metrics: &Metrics) -> Result<MySqlPool, ConfigError> {
    let options = MySqlConnectOptions::from_str(url.expose_secret())
        .map_err(|e| config::error("MYSQL_URL", format!("is not valid: {e}")))?
        // `platform::telemetry` measures statements at this level, and the log does not show it.
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
