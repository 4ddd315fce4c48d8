//! Redis: the connection, the prefix of keys, and subscriptions.

pub mod channel;

use std::time::{Duration, Instant};

use common::config::{self, ConfigError};
use common::error::{Error as CommonError, without_values};
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use platform::config::TlsFiles;
use platform::health::Health;
use platform::telemetry::{Metrics, Queries};
use redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use redis::{Arg, ClientTlsConfig, Cmd, InfoDict, Pipeline, RedisFuture, TlsCertificates, Value};
use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, Result};

/// The longest wait for an answer. Redis is a cache, so a slower answer is useless.
const TIMEOUT: Duration = Duration::from_millis(500);

/// The pause between attempts to subscribe again.
const RESUBSCRIBE_PAUSE: Duration = Duration::from_secs(1);

/// A connection that reconnects by itself, and the prefix of this system's keys. Clones share the connection.
#[derive(Clone)]
pub struct Redis {
    client: redis::Client,
    connection: Connection,
    prefix: String,
}

/// Sends commands and measures them. Clones share the connection.
#[derive(Clone)]
pub struct Connection {
    manager: ConnectionManager,
    queries: Queries,
}

impl Redis {
    /// Connects when it is used, so that a service starts without the server. `tls` has the files for a `rediss://` URL.
    ///
    /// # Errors
    /// Returns an error if the URL or a file is invalid, or if there are files and the URL is another.
    pub fn new(url: &SecretString, tls: &TlsFiles, prefix: &str, metrics: &Metrics) -> Result<Self, ConfigError> {
        let invalid = |e: redis::RedisError| config::error("REDIS_URL", format!("is not valid: {e}"));
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT))
            .set_number_of_retries(1)
            .set_max_delay(TIMEOUT);
        let client = match certificates(tls)? {
            Some(certificates) => redis::Client::build_with_tls(url.expose_secret(), certificates),
            None => redis::Client::open(url.expose_secret()),
        };
        let client = client.map_err(invalid)?;
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), settings).map_err(invalid)?;
        let connection = Connection { manager, queries: metrics.queries("redis") };
        Ok(Self { client, connection, prefix: prefix.to_owned() })
    }

    /// A handle that sends commands; cheap.
    pub fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// The id that the server has until it restarts.
    ///
    /// # Errors
    /// Returns an unavailable error if the server does not answer.
    pub async fn run_id(&self) -> Result<String> {
        let server: InfoDict = redis::cmd("INFO").arg("server").query_async(&mut self.connection()).await?;
        let id = server.get("run_id").ok_or_else(|| CommonError::unavailable("redis", "INFO has no run_id"))?;
        Ok(id)
    }

    /// A key with the prefix.
    pub fn key(&self, name: std::fmt::Arguments<'_>) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The messages that are published on a channel from now on. After an outage the stream continues without the
    /// messages that were published in it.
    pub fn subscribe(&self, channel: String) -> impl Stream<Item = String> + Send + use<> {
        let begin = (self.client.clone(), channel, None);
        stream::unfold(begin, |(client, channel, mut open)| async move {
            loop {
                let mut messages = match open.take() {
                    Some(messages) => messages,
                    None => open_subscription(&client, &channel).await,
                };
                // It ends when the connection is lost.
                let Some(message) = messages.next().await else { continue };
                open = Some(messages);
                if let Ok(text) = message.get_payload() {
                    return Some((text, (client, channel, open)));
                }
            }
        })
    }

    /// Watches whether `redis` answers.
    pub fn watch(&self, health: &Health) {
        let redis = self.clone();
        health.watch("redis", move || {
            let redis = redis.clone();
            async move { redis.ping().await }
        });
    }

    async fn ping(&self) -> Result<()> {
        Ok(redis::cmd("PING").query_async::<()>(&mut self.connection()).await?)
    }
}

impl From<redis::RedisError> for Error {
    fn from(e: redis::RedisError) -> Self {
        // The text of an unexpected reply quotes it.
        CommonError::unavailable("redis", without_values(&e.to_string())).into()
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

/// The content of the files; none without files.
fn certificates(tls: &TlsFiles) -> Result<Option<TlsCertificates>, ConfigError> {
    if tls.is_empty() {
        return Ok(None);
    }
    let read = |name: &str, path: &String| {
        std::fs::read(path).map_err(|e| config::error(name, format!("{path:?} cannot be read: {e}")))
    };
    let identity = tls.identity.as_ref().map(|(certificate, key)| {
        let client_cert = read("REDIS_CERT_FILE", certificate)?;
        Ok(ClientTlsConfig { client_cert, client_key: read("REDIS_KEY_FILE", key)? })
    });
    let root_cert = tls.ca.as_ref().map(|path| read("REDIS_CA_FILE", path)).transpose()?;
    Ok(Some(TlsCertificates { client_tls: identity.transpose()?, root_cert }))
}

/// The first word of a command, which has few values.
fn name(command: &Cmd) -> String {
    match command.args_iter().next() {
        Some(Arg::Simple(name)) => String::from_utf8_lossy(name).to_lowercase(),
        _ => "other".to_owned(),
    }
}

async fn open_subscription(client: &redis::Client, channel: &str) -> BoxStream<'static, redis::Msg> {
    loop {
        let opened = tokio::time::timeout(TIMEOUT, async {
            let mut listener = client.get_async_pubsub().await?;
            listener.subscribe(channel).await?;
            Ok::<_, redis::RedisError>(listener.into_on_message().boxed())
        });
        match opened.await {
            Ok(Ok(messages)) => return messages,
            Ok(Err(error)) => tracing::debug!(%error, "cannot subscribe to Redis"),
            Err(_) => tracing::debug!("Redis does not answer"),
        }
        tokio::time::sleep(RESUBSCRIBE_PAUSE).await;
    }
}
