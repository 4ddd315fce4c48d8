//! The way of a fact in MySQL to Kafka: the change and its event commit together, and a relay publishes the event.
//!
//! Nobody who changes a row produces to Kafka. They lock the row that owns the event's key, change it, [`append`] in the
//! same transaction, commit, and [`wake`] the relay. So an event is published if and only if its change was committed,
//! and events of one key are published in commit order.
//!
//! [`append`]: Outbox::append
//! [`wake`]: Outbox::wake

mod metrics;
mod relay;

use std::sync::Arc;

use chrono::Utc;
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, MySqlPool};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::events::{self, Event};
use crate::kafka::TopicNames;
use crate::kafka::producer::{Producer, Trace};
use crate::telemetry::Metrics;

/// Into so many queues the keys are spread, so that replicas relay side by side. As many rows as `schema.sql` makes.
pub const SHARDS: u32 = 8;

/// The tables' DDL, with `{service}` to be replaced: each service's migration holds a copy.
pub const SCHEMA: &str = include_str!("schema.sql");

/// One service's outbox.
#[derive(Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
}

struct Shared {
    service: &'static str,
    pool: MySqlPool,
    producer: Producer,
    topics: TopicNames,
    metrics: Metrics,
    insert: Arc<str>,
    committed: Notify,
}

impl Outbox {
    /// Over the tables `<service>_outbox` and `<service>_outbox_shards`.
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

    /// Adds an event to the caller's transaction, after the row that owns the event's key was locked.
    ///
    /// Returns the event's `version`.
    pub async fn append<E: Event>(&self, tx: &mut MySqlConnection, event: &E) -> Result<u64> {
        let now = Utc::now();
        let payload = events::encode(Uuid::now_v7(), None, now, event)?;
        let payload = String::from_utf8(payload).map_err(Error::internal)?;
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

    /// Tells the relay that something was committed.
    pub fn wake(&self) {
        self.shared.committed.notify_one();
    }

    /// Relays until the shutdown; any number of replicas may.
    pub async fn run(&self, shutdown: CancellationToken) {
        let relay = relay::Relay::new(&self.shared);
        tokio::join!(relay.run(&shutdown), metrics::measure(&self.shared, &shutdown));
    }
}

/// The same for a key in every process and build, as a hasher of the standard library is not (FNV-1a).
fn shard(key: &str) -> u32 {
    let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_shard_for_ever() {
        assert_eq!([shard("1"), shard("2"), shard("3095")], [shard("1"), shard("2"), shard("3095")]);
        assert_eq!(shard("a"), 0xe40c_292c % SHARDS, "the published value of FNV-1a");
    }

    #[test]
    fn keys_spread_over_all_shards() {
        let mut rows = [0; SHARDS as usize];
        (1..=800).for_each(|key| rows[shard(&i32::to_string(&key)) as usize] += 1);
        assert!(rows.iter().all(|rows| (60..=140).contains(rows)), "{rows:?}");
    }

    #[test]
    fn the_schema_makes_every_shard_a_row() {
        let shards: Vec<String> = (0..SHARDS).map(|shard| format!("({shard})")).collect();
        assert!(SCHEMA.contains(&format!("VALUES {};", shards.join(", "))));
    }

    #[test]
    fn every_service_migrates_to_this_schema() {
        let statements = |sql: &str| {
            let lines = sql.lines().filter(|line| !line.trim_start().starts_with("--") && !line.trim().is_empty());
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        for service in ["user", "friend", "chat"] {
            let folder = format!("{}/../../services/{service}-service/migrations", env!("CARGO_MANIFEST_DIR"));
            let files = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
            let migration = files.into_iter().find(|file| file.to_string_lossy().ends_with("_outbox.sql"));
            let migration = std::fs::read_to_string(migration.expect(&folder)).unwrap();
            assert_eq!(statements(&migration), statements(&SCHEMA.replace("{service}", service)), "{service}-service");
        }
    }
}
