//! The connection that checks whether the server answers.

use std::sync::Arc;

use parking_lot::Mutex;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions, Connection, MySqlConnection, MySqlPool};

/// One connection outside of the pool, so that slow statements which occupy the pool do not look like a lost server.
#[derive(Clone)]
pub(super) struct Probe {
    options: Arc<MySqlConnectOptions>,
    open: Arc<Mutex<Option<MySqlConnection>>>,
}

impl Probe {
    /// Connects to the pool's server when it is used.
    pub(super) fn new(pool: &MySqlPool) -> Self {
        Self { options: pool.connect_options(), open: Arc::default() }
    }

    /// # Errors
    /// Returns an error if the server does not answer. The next call connects again.
    pub(super) async fn ping(self) -> sqlx::Result<()> {
        let open = self.open.lock().take();
        let mut connection = match open {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        connection.ping().await?;
        *self.open.lock() = Some(connection);
        Ok(())
    }
}
