//! Channels between the replicas of a service.

use common::error::{json_problem, without_values};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use redis::AsyncCommands;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::Redis;

/// The messages of an outage that wait for the receiver of this replica. Further ones are dropped.
const CAPACITY: usize = 1_024;

/// The sending side of a channel. A message reaches every replica that is subscribed at that time, this one included, at most
/// once. While Redis is unavailable, only this replica receives it.
pub struct Sender<T> {
    redis: Redis,
    key: String,
    unpublished: mpsc::Sender<T>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { redis: self.redis.clone(), key: self.key.clone(), unpublished: self.unpublished.clone() }
    }
}

/// The receiving side of a channel in this replica.
pub struct Receiver<T> {
    published: BoxStream<'static, String>,
    unpublished: mpsc::Receiver<T>,
}

/// Opens a channel for values that all replicas write and read as the same JSON.
pub fn open<T>(redis: &Redis, name: &str) -> (Sender<T>, Receiver<T>) {
    let key = redis.key(format_args!("{name}"));
    let published = redis.subscribe(key.clone()).boxed();
    let (sender, unpublished) = mpsc::channel(CAPACITY);
    (Sender { redis: redis.clone(), key, unpublished: sender }, Receiver { published, unpublished })
}

impl<T: Serialize> Sender<T> {
    /// Sends a message.
    pub async fn send(&self, message: T) {
        let published = match serde_json::to_string(&message) {
            Ok(json) => self
                .redis
                .connection()
                .publish::<_, _, ()>(&self.key, json)
                .await
                .map_err(|e| without_values(&e.to_string())),
            Err(e) => Err(e.to_string()),
        };
        if let Err(error) = published {
            tracing::debug!(error, channel = self.key, "a message stays on this replica");
            // A full queue drops the message.
            let _ = self.unpublished.try_send(message);
        }
    }
}

impl<T: DeserializeOwned> Receiver<T> {
    /// The next message. The messages of one sender arrive in order. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> T {
        loop {
            tokio::select! {
                Some(json) = self.published.next() => match serde_json::from_str(&json) {
                    Ok(message) => return message,
                    Err(e) => tracing::debug!(error = json_problem(&e), "skipping an unreadable message"),
                },
                Some(message) = self.unpublished.recv() => return message,
                // Neither ends while the process runs.
                else => std::future::pending().await,
            }
        }
    }
}
