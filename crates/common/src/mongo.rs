//! MongoDB: a client that needs no server to be made.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mongodb::bson::doc;
use mongodb::event::EventHandler;
use mongodb::event::cmap::CmapEvent;
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};

use crate::config::{self, ConfigError, Secret};
use crate::error::Result;
use crate::telemetry::{Metrics, PoolSize, Queries};

/// A request that finds no server within this is answered 503.
const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(3);

/// The driver's own bound, unless the URL says another.
const POOL_SIZE: u32 = 10;

/// The database, over a pool of its own that metrics call `pool`; connections are opened when they are needed.
pub async fn database(
    url: &Secret,
    name: &str,
    pool: &'static str,
    metrics: &Metrics,
) -> std::result::Result<Database, ConfigError> {
    let invalid = |e: mongodb::error::Error| config::error("MONGO_URL", format!("is not valid: {e}"));
    let mut options = ClientOptions::parse(url.expose()).await.map_err(invalid)?;
    options.server_selection_timeout.get_or_insert(SERVER_SELECTION_TIMEOUT);
    options.connect_timeout.get_or_insert(SERVER_SELECTION_TIMEOUT);
    options.app_name.get_or_insert_with(|| "bigtech-chat".to_owned());
    let max = i64::from(options.max_pool_size.unwrap_or(POOL_SIZE));
    let connections = Arc::new(Connections { queries: metrics.queries("mongodb"), open: Mutex::default() });
    let measured = connections.clone();
    metrics.pool(pool, move || PoolSize { max, ..measured.size() });
    options.cmap_event_handler = Some(EventHandler::callback(move |event| connections.hear(event)));
    Ok(Client::with_options(options).map_err(invalid)?.database(name))
}

/// Whether it answers.
pub async fn ping(database: &Database) -> Result<()> {
    Ok(database.run_command(doc! {"ping": 1}).await.map(|_| ())?)
}

/// What the driver tells of its connections. Each command holds one from its start to its end, so this is also the clock
/// of commands: the driver's events of commands would parse every command and reply for us, which costs a listing of 50
/// messages a fifth of its time.
struct Connections {
    queries: Queries,
    /// Since when each is held; none while it is idle.
    open: Mutex<HashMap<u32, Option<Instant>>>,
}

impl Connections {
    fn hear(&self, event: CmapEvent) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            CmapEvent::ConnectionCreated(created) => _ = open.insert(created.connection_id, None),
            CmapEvent::ConnectionCheckedOut(taken) => _ = open.insert(taken.connection_id, Some(Instant::now())),
            CmapEvent::ConnectionCheckedIn(given) => {
                let since = open.insert(given.connection_id, None).flatten();
                drop(open);
                if let Some(since) = since {
                    self.queries.took("command", since.elapsed());
                }
            }
            CmapEvent::ConnectionClosed(closed) => _ = open.remove(&closed.connection_id),
            _ => {}
        }
    }

    fn size(&self) -> PoolSize {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let used = open.values().flatten().count() as i64;
        PoolSize { idle: open.len() as i64 - used, used, max: 0 }
    }
}
