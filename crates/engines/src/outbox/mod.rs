//! The transactional outbox: a change in MySQL and its event commit together, and a relay publishes the event to Kafka.
//!
//! A store that changes a row does not publish to Kafka. It locks the row that owns the event's key, changes it, calls
//! [`append`] in the same transaction, commits, and calls [`wake`]. Therefore an event is published if and only if its
//! change was committed, and events of one key are published in commit order.
//!
//! [`append`]: Outbox::append
//! [`wake`]: Outbox::wake

mod metrics;
mod relay;
mod shard;
mod shared;

use std::sync::Arc;

use chrono::Utc;
use common::error::Error as CommonError;
use common::events::topics::TopicNames;
use common::events::{self, Event};
use platform::telemetry::{Metrics, Trace};
use sqlx::{AssertSqlSafe, MySqlConnection, MySqlPool};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::error::Result;
use crate::kafka::producer::Producer;

use shard::shard;
use shared::Shared;

pub use shard::SHARDS;

/// The DDL of the tables, in which `{service}` is a placeholder. A migration of each service has a copy.
pub const SCHEMA: &str = include_str!("schema.sql");

/// The outbox of a service. Clones share it.
#[derive(Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
}

impl Outbox {
    /// An outbox over the tables `<service>_outbox` and `<service>_outbox_shards`.
    pub fn new(
        pool: MySqlPool,
        service: &'static str,
        producer: Producer,
        topics: TopicNames,
        metrics: &Metrics,
    ) -> Self {
        let insert = format!(
            "INSERT INTO {service}_outbox (shard, topic, event_key, payload, request_id, traceparent, created_at)
             VALUES (?, ?, ?, ?, ?, ?, ?)"
        );
        let metrics = metrics.clone();
        let shared =
            Shared { service, pool, producer, topics, metrics, insert: insert.into(), committed: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Adds an event to the caller's transaction, which holds the lock of the row that owns the event's key. Returns
    /// the event's `version`.
    ///
    /// # Errors
    /// Returns an error if the row cannot be inserted or the event cannot be serialized.
    pub async fn append<E: Event>(&self, tx: &mut MySqlConnection, event: &E) -> Result<u64> {
        let now = Utc::now();
        let payload = events::encode(Uuid::now_v7(), None, now, event)?;
        let payload = String::from_utf8(payload).map_err(CommonError::internal)?;
        let (key, trace) = (event.key(), Trace::current());
        let appended = sqlx::query(AssertSqlSafe(self.shared.insert.clone()))
            .bind(shard(&key))
            .bind(self.shared.topics.of(E::STREAM))
            .bind(key)
            .bind(payload)
            .bind(trace.request_id)
            .bind(trace.traceparent)
            .bind(now)
            .execute(tx)
            .await?;
        Ok(appended.last_insert_id())
    }

    /// Wakes the relay after the commit of an event.
    pub fn wake(&self) {
        self.shared.committed.notify_one();
    }

    /// Publishes events until the shutdown. Any number of replicas may run at once.
    pub async fn run(&self, shutdown: CancellationToken) {
        let relay = relay::Relay::new(&self.shared);
        tokio::join!(relay.run(&shutdown), metrics::measure(&self.shared, &shutdown));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_creates_a_row_for_every_shard() {
        let shards: Vec<String> = (0..SHARDS).map(|shard| format!("({shard})")).collect();
        assert!(SCHEMA.contains(&format!("VALUES {};", shards.join(", "))));
    }
}
