//! Redis: a connection that heals itself, and keys in one place.

use std::time::Duration;

use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};

use crate::config::{self, ConfigError, Secret};
use crate::error::Result;
use crate::health::Health;

/// Redis only speeds things up: an answer that takes longer is not worth waiting for.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Between two tries to listen again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// The connection and the prefix of our keys.
#[derive(Clone)]
pub struct Redis {
    client: redis::Client,
    connection: ConnectionManager,
    prefix: String,
}

impl Redis {
    /// Connects when it is first used.
    pub fn new(url: &Secret, prefix: &str) -> std::result::Result<Self, ConfigError> {
        let invalid = |e: redis::RedisError| config::error("REDIS_URL", format!("is not valid: {e}"));
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT))
            .set_number_of_retries(1)
            .set_max_delay(TIMEOUT);
        let client = redis::Client::open(url.expose()).map_err(invalid)?;
        let connection = ConnectionManager::new_lazy_with_config(client.clone(), settings).map_err(invalid)?;
        Ok(Self { client, connection, prefix: prefix.to_owned() })
    }

    /// A handle to send commands with; cheap.
    pub fn connection(&self) -> ConnectionManager {
        self.connection.clone()
    }

    /// A key of ours.
    pub fn key(&self, name: std::fmt::Arguments<'_>) -> String {
        format!("{}{name}", self.prefix)
    }

    /// What is published on a channel from now on. It goes on after an outage, and misses what was published in it.
    pub fn subscribe(&self, channel: String) -> impl Stream<Item = String> + Send + use<> {
        let begin = (self.client.clone(), channel, None);
        stream::unfold(begin, |(client, channel, mut open)| async move {
            loop {
                let mut messages = match open.take() {
                    Some(messages) => messages,
                    None => listen(&client, &channel).await,
                };
                // Where it ends the connection is lost.
                let Some(message) = messages.next().await else { continue };
                open = Some(messages);
                if let Ok(text) = message.get_payload() {
                    return Some((text, (client, channel, open)));
                }
            }
        })
    }

    /// Reports `redis` as ready while it answers.
    pub fn watch(&self, health: &Health) {
        let redis = self.clone();
        health.require("redis", move || {
            let redis = redis.clone();
            async move { redis.ping().await }
        });
    }

    async fn ping(&self) -> Result<()> {
        Ok(redis::cmd("PING").query_async::<()>(&mut self.connection()).await?)
    }
}

async fn listen(client: &redis::Client, channel: &str) -> BoxStream<'static, redis::Msg> {
    loop {
        let opened = tokio::time::timeout(TIMEOUT, async {
            let mut listener = client.get_async_pubsub().await?;
            listener.subscribe(channel).await?;
            Ok::<_, redis::RedisError>(listener.into_on_message().boxed())
        });
        match opened.await {
            Ok(Ok(messages)) => return messages,
            Ok(Err(error)) => tracing::debug!(%error, "Redis cannot be listened to"),
            Err(_) => tracing::debug!("Redis does not answer"),
        }
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}
