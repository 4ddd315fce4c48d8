//! The relay, which publishes committed events from the outbox to Kafka.
//!
//! The replica that holds the lock of a shard's row in `<service>_outbox_shards` publishes the shard's events. Rows of
//! the outbox itself are never locked: gap locks blocked inserts, and at READ COMMITTED a second relay overtook the
//! first (both seen on MariaDB).

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::events;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use platform::telemetry::Trace;
use sqlx::{AssertSqlSafe, MySqlConnection};
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use crate::error::{Error, Result};
use crate::kafka::backoff;
use crate::kafka::record::Record;
use crate::mysql;

/// The greatest number of events between two deletions.
const BATCH: u32 = 500;

/// The events of one key are published one after another. A key with many events delays the others of its batch no
/// longer than this.
const KEY_LIMIT: Duration = Duration::from_millis(300);

/// The shards that are published in parallel. One at a time was too slow after an outage. Each holds a connection of
/// the pool.
const PARALLEL_SHARDS: usize = 4;

/// The pause before a shard that another replica holds is tried again: that replica may have read its last batch just
/// before a commit here.
const BUSY: Duration = Duration::from_millis(50);

/// The shortest and the longest interval at which events of crashed processes are looked for. It doubles with each look
/// after which none is left.
const POLLS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(4);

/// The time for the events that are in flight when the process ends.
const GRACE: Duration = Duration::from_secs(2);

pub(super) struct Relay<'a> {
    outbox: &'a Shared,
    pending: Arc<str>,
    lock: Arc<str>,
    read: Arc<str>,
}

/// The outcome of a sweep of one shard or of all shards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Swept {
    /// No event was left. Later ones of this process wake the relay.
    Clean,
    /// Another replica holds a shard.
    Busy,
    /// Events may be left: the batch was full, or one of them was not published.
    More,
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
            // Not EXISTS, because MariaDB reads the whole index for it.
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
        let (mut pauses, mut poll) = (None, *POLLS.start());
        loop {
            let swept = tokio::select! {
                swept = self.sweep() => swept,
                () = grace_over(shutdown) => return,
            };
            if swept.is_ok() {
                pauses = None;
            }
            let pause = match &swept {
                Ok(Swept::Clean) => {
                    let pause = poll;
                    poll = (2 * poll).min(*POLLS.end());
                    pause
                }
                Ok(Swept::Busy) => BUSY,
                Ok(Swept::More) => {
                    poll = *POLLS.start();
                    continue;
                }
                Err(_) => pauses.get_or_insert_with(backoff).next().unwrap_or(poll),
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.outbox.committed.notified(), if swept.is_ok() => {}
                () = shutdown.cancelled() => break,
            }
        }
        // The events of the last requests. Another replica or the next start publishes the others.
        let _ = tokio::time::timeout(GRACE, self.sweep()).await;
    }

    /// Publishes a batch of every shard that no other replica holds, so that the oldest events of each shard go first.
    async fn sweep(&self) -> Result<Swept> {
        let mut swept = Swept::Clean;
        let mut failure = None;
        let pending: Vec<u8> =
            sqlx::query_scalar(AssertSqlSafe(self.pending.clone())).fetch_all(&self.outbox.pool).await?;
        let relayed = stream::iter(pending).map(|shard| async move { (shard, self.relay(shard).await) });
        let mut relayed = std::pin::pin!(relayed.buffer_unordered(PARALLEL_SHARDS));
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

    /// Publishes the next batch of a shard. A failed event remains, with the later events of its key.
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
        let read = rows.len();
        let (published, failure) = self.publish(rows).await;
        self.delete(&mut tx, &published).await?;
        tx.commit().await?;
        let all = read < BATCH as usize && published.len() == read;
        failure.map_or(Ok(if all { Swept::Clean } else { Swept::More }), Err)
    }

    /// Publishes rows, those of one key one after another. Returns the ids of the acknowledged ones and an error, if
    /// any.
    async fn publish(&self, rows: Vec<Row>) -> (Vec<u64>, Option<Error>) {
        let mut keys: HashMap<String, Vec<Row>> = HashMap::new();
        for row in rows {
            keys.entry(row.event_key.clone()).or_default().push(row);
        }
        let mut published = Vec::new();
        let mut failure = None;
        for (ids, failed) in join_all(keys.into_values().map(|rows| self.publish_in_order(rows))).await {
            published.extend(ids);
            failure = failed.or(failure);
        }
        (published, failure)
    }

    /// Publishes each row after the acknowledgement of the one before: otherwise the earlier could time out and the
    /// later arrive.
    async fn publish_in_order(&self, rows: Vec<Row>) -> (Vec<u64>, Option<Error>) {
        let began = Instant::now();
        let mut published = Vec::with_capacity(rows.len());
        for row in rows {
            if began.elapsed() > KEY_LIMIT {
                break;
            }
            let id = row.id;
            let sent = match self.outbox.producer.deliver(row.into()) {
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
        // One statement for each id, in one packet: for `IN (…)` the optimizer may scan a small table whole, which
        // waits for the rows of open transactions (seen on MariaDB, whichever index is forced).
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

/// Resolves when the grace period of a shutdown is over.
async fn grace_over(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(GRACE).await;
}
