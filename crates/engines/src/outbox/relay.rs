//! The relay, which publishes committed events from the outbox to Kafka.
//!
//! The replica that holds the lock of a shard's row in `<service>_outbox_shards` publishes the shard's events. Rows of
//! the outbox itself are never locked: gap locks blocked inserts, and at READ COMMITTED a second relay overtook the
//! first (both seen on MariaDB).
//!
//! The relay publishes an event of a quiet time within milliseconds, and gathers those of a quarter of a second under a steady
//! load. It publishes the events of all free shards in one transaction: a transaction, a request to the brokers and a fetch of
//! each consumer cost much more than an event. After a failure, each shard has a transaction of its own until all succeed, so
//! that one whose partition has no leader does not hold the others up.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use common::events;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use platform::telemetry::Trace;
use sqlx::{AssertSqlSafe, FromRow, MySqlConnection, Row as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use crate::error::{Error, Result};
use crate::kafka::backoff;
use crate::kafka::record::Record;
use crate::mysql;

/// The greatest number of events of a shard between two deletions.
const BATCH: u32 = 500;

/// How long the relay waits for further commits after the first one, such as those of requests that arrived together.
const GATHER: Duration = Duration::from_millis(20);

/// The time between two looks at the outbox under a steady load. The events that are committed meanwhile are published together.
const INTERVAL: Duration = Duration::from_millis(250);

/// The events of one key are published one after another. A key with many events delays the others of its batch no
/// longer than this.
const KEY_LIMIT: Duration = Duration::from_millis(300);

/// The transactions at once, each of which holds a connection of the pool. One at a time was too slow after an outage.
const PARALLEL_TRANSACTIONS: usize = 4;

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
    table: String,
    pending: Arc<str>,
}

/// The outcome of a sweep.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Swept {
    /// No event was left. Later ones of this process wake the relay.
    Clean,
    /// Another replica holds a shard.
    Busy,
    /// Events may be left: the batch of a shard was full, or an event was not published.
    More,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: u64,
    shard: u8,
    topic: String,
    event_key: String,
    payload: String,
    request_id: Option<String>,
    traceparent: Option<String>,
}

impl<'a> Relay<'a> {
    pub(super) fn new(outbox: &'a Shared) -> Self {
        let table = format!("{}_outbox", outbox.service);
        // Not EXISTS, because MariaDB reads the whole index for it.
        let pending = format!(
            "SELECT s.shard FROM {table}_shards s
             WHERE (SELECT 1 FROM {table} o WHERE o.shard = s.shard LIMIT 1) ORDER BY s.shard"
        );
        Self { outbox, table, pending: pending.into() }
    }

    pub(super) async fn run(&self, shutdown: &CancellationToken) {
        let (mut pauses, mut poll, mut together) = (None, *POLLS.start(), true);
        loop {
            let next = Instant::now() + INTERVAL;
            let swept = tokio::select! {
                swept = self.sweep(together) => swept,
                () = grace_over(shutdown) => return,
            };
            together = swept.is_ok();
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
                () = self.committed(next), if swept.is_ok() => {}
                () = shutdown.cancelled() => break,
            }
        }
        // The events of the last requests. Another replica or the next start publishes the others.
        let _ = tokio::time::timeout(GRACE, self.sweep(together)).await;
    }

    /// Waits for a commit, for those that follow it within a moment, and until `earliest`.
    async fn committed(&self, earliest: Instant) {
        self.outbox.committed.notified().await;
        tokio::time::sleep_until(earliest.max(Instant::now() + GATHER)).await;
    }

    /// Publishes a batch of every shard that no other replica holds, so that the oldest events of each shard go first: all in one
    /// transaction, or each in its own.
    async fn sweep(&self, together: bool) -> Result<Swept> {
        let (mut swept, mut failure) = (Swept::Clean, None);
        let pending: Vec<u8> =
            sqlx::query_scalar(AssertSqlSafe(self.pending.clone())).fetch_all(&self.outbox.pool).await?;
        let in_each = if together { pending.len().max(1) } else { 1 };
        let groups: Vec<Vec<u8>> = pending.chunks(in_each).map(<[u8]>::to_vec).collect();
        let relayed = stream::iter(groups).map(|shards| async move { (self.relay(&shards).await, shards) });
        let mut relayed = std::pin::pin!(relayed.buffer_unordered(PARALLEL_TRANSACTIONS));
        while let Some((found, shards)) = relayed.next().await {
            match found {
                Ok(found) => swept = swept.max(found),
                Err(error) => {
                    tracing::warn!(service = self.outbox.service, ?shards, %error, "events wait in the outbox");
                    failure = Some(error);
                }
            }
        }
        failure.map_or(Ok(swept), Err)
    }

    /// Publishes the next batch of some shards. A failed event remains, with the later events of its key.
    async fn relay(&self, shards: &[u8]) -> Result<Swept> {
        let mut tx = mysql::begin(&self.outbox.pool).await?;
        let held = self.lock(&mut tx, shards).await?;
        if held.is_empty() {
            return Ok(Swept::Busy);
        }
        let rows = self.read(&mut tx, &held).await?;
        let (read, is_full) = (rows.len(), has_full_batch(&rows));
        let (published, failure) = self.publish(rows).await;
        self.delete(&mut tx, &published).await?;
        tx.commit().await?;
        if let Some(error) = failure {
            return Err(error);
        }
        Ok(match published.len() == read && !is_full {
            false => Swept::More,
            true if held.len() < shards.len() => Swept::Busy,
            true => Swept::Clean,
        })
    }

    /// Locks the shards that no other replica holds.
    async fn lock(&self, tx: &mut MySqlConnection, shards: &[u8]) -> Result<Vec<u8>> {
        let (table, shards) = (&self.table, shards.iter().map(u8::to_string).collect::<Vec<_>>().join(", "));
        let lock = format!("SELECT shard FROM {table}_shards WHERE shard IN ({shards}) FOR UPDATE SKIP LOCKED");
        // Not prepared: there are too many texts.
        let held = sqlx::raw_sql(AssertSqlSafe(lock)).fetch_all(tx).await?;
        Ok(held.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<_>>()?)
    }

    /// The oldest events of each shard, in their order.
    async fn read(&self, tx: &mut MySqlConnection, shards: &[u8]) -> Result<Vec<Row>> {
        let of_shard = |shard: &u8| {
            format!(
                "(SELECT id, shard, topic, event_key, payload, request_id, traceparent
                  FROM {} WHERE shard = {shard} ORDER BY id LIMIT {BATCH})",
                self.table
            )
        };
        let read = shards.iter().map(of_shard).collect::<Vec<_>>().join(" UNION ALL ");
        let rows = sqlx::raw_sql(AssertSqlSafe(read)).fetch_all(tx).await?;
        let mut rows: Vec<Row> = rows.iter().map(Row::from_row).collect::<sqlx::Result<_>>()?;
        rows.sort_unstable_by_key(|row| (row.shard, row.id));
        Ok(rows)
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
        let delete: String = ids.iter().map(|id| format!("DELETE FROM {} WHERE id = {id};", self.table)).collect();
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

/// Whether a shard may have more events than were read.
fn has_full_batch(rows: &[Row]) -> bool {
    rows.chunk_by(|a, b| a.shard == b.shard).any(|of_shard| of_shard.len() == BATCH as usize)
}

/// Resolves when the grace period of a shutdown is over.
async fn grace_over(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(GRACE).await;
}
