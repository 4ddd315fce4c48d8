//! The relay: takes committed events from the outbox to Kafka.
//!
//! Whoever holds a shard's row in `<service>_outbox_shards` publishes its events. Rows of the outbox itself are never
//! locked: that blocked inserts by gap locks, and at READ COMMITTED let a second relay overtake (both seen on MariaDB).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use sqlx::{AssertSqlSafe, MySqlConnection};
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::error::{Error, Result};
use crate::events;
use crate::kafka::backoff;
use crate::kafka::producer::{Record, Trace};
use crate::mysql;

/// Events published between two deletes.
const BATCH: u32 = 500;

/// A key with many events, one after another, holds up the others of its batch no longer than this.
const TURN: Duration = Duration::from_millis(300);

/// Shards that are published at a time: one after another they were too slow after an outage. Each holds a connection of
/// the pool meanwhile.
const AT_ONCE: usize = 4;

/// A shard that another replica holds is looked at again: it may have read its last batch just before our commit.
const BUSY: Duration = Duration::from_millis(50);

/// For what crashes and other replicas left.
const POLL: Duration = Duration::from_secs(1);

/// What is on its way when the process ends gets this long.
const FAREWELL: Duration = Duration::from_secs(2);

pub(super) struct Relay<'a> {
    outbox: &'a Shared,
    pending: Arc<str>,
    lock: Arc<str>,
    read: Arc<str>,
}

/// What a look at one shard, or at all, found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Swept {
    Clean,
    /// Another replica is at work on it.
    Busy,
    /// Something was published, so there may be more.
    Published,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: u64,
    topic: String,
    event_key: String,
    payload: String,
    request_id: Option<String>,
    traceparent: Option<String>,
}

impl<'a> Relay<'a> {
    pub(super) fn new(outbox: &'a Shared) -> Self {
        let table = format!("{}_outbox", outbox.service);
        Self {
            outbox,
            // Not EXISTS, for which MariaDB reads the whole index.
            pending: format!(
                "SELECT s.shard FROM {table}_shards s
                 WHERE (SELECT 1 FROM {table} o WHERE o.shard = s.shard LIMIT 1) ORDER BY s.shard"
            )
            .into(),
            lock: format!("SELECT shard FROM {table}_shards WHERE shard = ? FOR UPDATE SKIP LOCKED").into(),
            read: format!(
                "SELECT id, topic, event_key, payload, request_id, traceparent
                 FROM {table} WHERE shard = ? ORDER BY id LIMIT {BATCH}"
            )
            .into(),
        }
    }

    pub(super) async fn run(&self, shutdown: &CancellationToken) {
        let mut waits = None;
        loop {
            let swept = tokio::select! {
                swept = self.sweep() => swept,
                () = farewell(shutdown) => return,
            };
            if swept.is_ok() {
                waits = None;
            }
            let pause = match &swept {
                Ok(Swept::Clean) => POLL,
                Ok(Swept::Busy) => BUSY,
                Ok(Swept::Published) => continue,
                Err(_) => waits.get_or_insert_with(backoff).next().unwrap_or(POLL),
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.outbox.committed.notified(), if swept.is_ok() => {}
                () = shutdown.cancelled() => break,
            }
        }
        // What the last requests committed. The rest is another replica's, or the next start's.
        let _ = tokio::time::timeout(FAREWELL, self.sweep()).await;
    }

    /// Publishes a batch of every shard that nobody else holds, so that the oldest of each go first.
    async fn sweep(&self) -> Result<Swept> {
        let mut swept = Swept::Clean;
        let mut failure = None;
        let pending: Vec<u8> =
            sqlx::query_scalar(AssertSqlSafe(self.pending.clone())).fetch_all(&self.outbox.pool).await?;
        let relayed = stream::iter(pending).map(|shard| async move { (shard, self.relay(shard).await) });
        let mut relayed = std::pin::pin!(relayed.buffer_unordered(AT_ONCE));
        while let Some((shard, found)) = relayed.next().await {
            match found {
                Ok(found) => swept = swept.max(found),
                Err(error) => {
                    tracing::warn!(service = self.outbox.service, shard, %error, "events wait in the outbox");
                    failure = Some(error);
                }
            }
        }
        failure.map_or(Ok(swept), Err)
    }

    /// Publishes the next batch of a shard. What fails stays, with everything of its key that came after it.
    async fn relay(&self, shard: u8) -> Result<Swept> {
        let mut tx = mysql::begin(&self.outbox.pool).await?;
        let held: Option<u8> =
            sqlx::query_scalar(AssertSqlSafe(self.lock.clone())).bind(shard).fetch_optional(&mut *tx).await?;
        if held.is_none() {
            return Ok(Swept::Busy);
        }
        let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(self.read.clone())).bind(shard).fetch_all(&mut *tx).await?;
        if rows.is_empty() {
            return Ok(Swept::Clean);
        }
        let (published, failure) = self.publish(rows).await;
        self.delete(&mut tx, &published).await?;
        tx.commit().await?;
        failure.map_or(Ok(Swept::Published), Err)
    }

    /// Sends rows to Kafka, those of one key one after another, and returns the ids that have arrived. Not all need be.
    async fn publish(&self, rows: Vec<Row>) -> (Vec<u64>, Option<Error>) {
        let mut keys: HashMap<String, Vec<Row>> = HashMap::new();
        for row in rows {
            keys.entry(row.event_key.clone()).or_default().push(row);
        }
        let mut published = Vec::new();
        let mut failure = None;
        for (ids, failed) in join_all(keys.into_values().map(|rows| self.publish_in_turn(rows))).await {
            published.extend(ids);
            failure = failed.or(failure);
        }
        (published, failure)
    }

    /// Each row waits for the report of the one before. In one go the earlier could time out and the later arrive.
    async fn publish_in_turn(&self, rows: Vec<Row>) -> (Vec<u64>, Option<Error>) {
        let began = Instant::now();
        let mut published = Vec::with_capacity(rows.len());
        for row in rows {
            if began.elapsed() > TURN {
                break;
            }
            let id = row.id;
            let sent = match self.outbox.producer.send(row.into()) {
                Ok(report) => report.await,
                Err(error) => Err(error),
            };
            match sent {
                Ok(()) => published.push(id),
                Err(error) => return (published, Some(error)),
            }
        }
        (published, None)
    }

    async fn delete(&self, tx: &mut MySqlConnection, ids: &[u64]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        // One statement for each id, in one packet: for `IN (…)` the optimizer may scan a small table whole, which waits for
        // the rows of transactions still open (seen on MariaDB, whatever index is forced).
        let delete: String =
            ids.iter().map(|id| format!("DELETE FROM {}_outbox WHERE id = {id};", self.outbox.service)).collect();
        sqlx::raw_sql(AssertSqlSafe(delete)).execute(tx).await?;
        Ok(())
    }
}

impl From<Row> for Record {
    fn from(row: Row) -> Self {
        let trace = Trace { request_id: row.request_id, traceparent: row.traceparent };
        Self {
            topic: row.topic,
            key: row.event_key,
            payload: events::with_version(row.payload, row.id).into(),
            headers: trace.headers(),
        }
    }
}

/// Resolves when a shutdown has lasted long enough.
async fn farewell(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(FAREWELL).await;
}
