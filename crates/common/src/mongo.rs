//! MongoDB: a client that needs no server to be made.

use std::time::Duration;

use mongodb::bson::doc;
use mongodb::options::ClientOptions;
use mongodb::{Client, Database};

use crate::config::{self, ConfigError, Secret};
use crate::error::Result;

/// A request that finds no server within this is answered 503.
const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(3);

/// The database; connections are opened when they are needed.
pub async fn database(url: &Secret, name: &str) -> std::result::Result<Database, ConfigError> {
    let invalid = |e: mongodb::error::Error| config::error("MONGO_URL", format!("is not valid: {e}"));
    let mut options = ClientOptions::parse(url.expose()).await.map_err(invalid)?;
    options.server_selection_timeout.get_or_insert(SERVER_SELECTION_TIMEOUT);
    options.connect_timeout.get_or_insert(SERVER_SELECTION_TIMEOUT);
    options.app_name.get_or_insert_with(|| "bigtech-chat".to_owned());
    Ok(Client::with_options(options).map_err(invalid)?.database(name))
}

/// Whether it answers.
pub async fn ping(database: &Database) -> Result<()> {
    Ok(database.run_command(doc! {"ping": 1}).await.map(|_| ())?)
}
