//! The pool of connections.

use std::str::FromStr;
use std::time::Duration;

use common::config::{self, ConfigError};
use log::LevelFilter;
use platform::telemetry::{Metrics, PoolSize};
use secrecy::{ExposeSecret, SecretString};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions, MySqlSslMode};
use sqlx::{ConnectOptions, Connection, MySqlPool};

/// A request that gets no connection within this time is answered with 503.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection that was idle for longer is pinged before use. Trusting the others saves every query of a busy service
/// a round trip.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);

/// A connection to a server that is no longer the primary, and does not close it, is replaced after this time.
const MAX_LIFETIME: Duration = Duration::from_secs(300);

/// The ways in which a URL names the mode of TLS, and the authorities that sign the server's certificate.
const MODE: [&str; 2] = ["ssl-mode", "sslmode"];
const CA: [&str; 2] = ["ssl-ca", "sslca"];

/// A pool that connects when it is used, so that a service starts without the server. `size` is the greatest number of
/// connections.
///
/// # Errors
/// Returns an error if the URL is invalid, or if it names authorities that its mode of TLS does not ask.
pub fn pool(url: &SecretString, size: u32, metrics: &Metrics) -> Result<MySqlPool, ConfigError> {
    let options = options(url.expose_secret())?
        // `platform::telemetry` measures statements at this level, and the log does not show it.
        .log_statements(LevelFilter::Debug)
        .log_slow_statements(LevelFilter::Debug, Duration::MAX)
        .statement_cache_capacity(256);
    let pool = MySqlPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .max_lifetime(MAX_LIFETIME)
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

/// The options in a URL. Without a mode the connection is plain: the driver's own default would encrypt it if the server
/// offers that, for any certificate, so that it costs time and stops nobody.
fn options(url: &str) -> Result<MySqlConnectOptions, ConfigError> {
    let options = MySqlConnectOptions::from_str(url);
    let options = options.map_err(|e| config::error("MYSQL_URL", format!("is not valid: {e}")))?;
    let mode = parameter(url, MODE).map(str::to_ascii_uppercase);
    if parameter(url, CA).is_some() && !matches!(mode.as_deref(), Some("VERIFY_CA" | "VERIFY_IDENTITY")) {
        return Err(config::error(
            "MYSQL_URL",
            "has ssl-ca, and its ssl-mode is neither VERIFY_CA nor VERIFY_IDENTITY",
        ));
    }
    Ok(if mode.is_some() { options } else { options.ssl_mode(MySqlSslMode::Disabled) })
}

/// The value of a parameter of a URL that has several names.
fn parameter<'a>(url: &'a str, names: [&str; 2]) -> Option<&'a str> {
    let (_, query) = url.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| names.contains(name)).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_authorities_of_a_url_are_asked_by_its_mode() {
        let options = |query: &str| options(&format!("mysql://u:p@h/s?{query}")).map_err(|e| e.to_string());
        let ignored = "MYSQL_URL: has ssl-ca, and its ssl-mode is neither VERIFY_CA nor VERIFY_IDENTITY";
        for mode in ["", "ssl-mode=REQUIRED&", "sslmode=PREFERRED&"] {
            assert_eq!(options(&format!("{mode}ssl-ca=/ca.pem")).unwrap_err(), ignored, "{mode}");
        }
        assert!(options("ssl-mode=verify_identity&ssl-ca=/ca.pem").is_ok() && options("").is_ok());
        assert!(options("ssl-mode=SOMETIMES").unwrap_err().starts_with("MYSQL_URL: is not valid"));
    }
}
