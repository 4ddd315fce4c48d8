//! Redis: a connection that heals itself, and keys in one place.

use std::time::{Duration, Instant};

use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::{Arg, Cmd, Pipeline, RedisFuture, Value};

use crate::config::{self, ConfigError, Secret};
use crate::error::Result;
use crate::health::Health;
use crate::telemetry::{Metrics, Queries};

/// Redis only speeds things up: an answer that takes longer is not worth waiting for.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Between two tries to listen again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// The connection and the prefix of our keys.
#[derive(Clone)]
pub struct Redis {
    client: redis::Client,
    connection: Connection,
    prefix: String,
}

/// Sends commands and times them; cheap to clone.
#[derive(Clone)]
pub struct Connection {
    manager: ConnectionManager,
    queries: Queries,
}

impl Redis {
    /// Connects when it is first used.
    pub fn new(url: &Secret, prefix: &str, metrics: &Metrics) -> std::result::Result<Self, ConfigError> {
        let invalid = |e: redis::RedisError| config::error("REDIS_URL", format!("is not valid: {e}"));
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT))
            .set_number_of_retries(1)
            .set_max_delay(TIMEOUT);
        let client = redis::Client::open(url.expose()).map_err(invalid)?;
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), settings).map_err(invalid)?;
        let connection = Connection { manager, queries: metrics.queries("redis") };
        Ok(Self { client, connection, prefix: prefix.to_owned() })
    }

    /// A handle to send commands with; cheap.
    pub fn connection(&self) -> Connection {
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

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let started = Instant::now();
            let answer = self.manager.req_packed_command(command).await;
            self.queries.took(&name(command), started.elapsed());
            answer
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let started = Instant::now();
            let answers = self.manager.req_packed_commands(pipeline, offset, count).await;
            self.queries.took("pipeline", started.elapsed());
            answers
        })
    }

    fn get_db(&self) -> i64 {
        self.manager.get_db()
    }
}

/// Its first word: the commands that we send are few.
fn name(command: &Cmd) -> String {
    match command.args_iter().next() {
        Some(Arg::Simple(name)) => String::from_utf8_lossy(name).to_lowercase(),
        _ => "other".to_owned(),
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
