//! Transactions on a pair. Each locks the pair's row first, so that changes of one pair are serialized, and commits the change
//! together with its events.

use sqlx::{MySql, MySqlConnection, MySqlPool, Transaction};

use common::events::Event;
use common::id::UserId;
use engines::error::Result;
use engines::mysql;
use engines::outbox::Outbox;

use crate::domain::{Pair, Relation, Relationship, Status};

/// The rows in `friend_pairs`, which serve as locks.
#[derive(Clone)]
pub struct Pairs {
    pool: MySqlPool,
    outbox: Outbox,
}

/// An open transaction, which holds the lock on the pair until it commits.
pub struct PairTransaction<'a> {
    pub relationship: Relationship,
    tx: Transaction<'a, MySql>,
    outbox: &'a Outbox,
}

impl Pairs {
    pub fn new(pool: MySqlPool, outbox: Outbox) -> Self {
        Self { pool, outbox }
    }

    /// Locks a pair for a change that may create a relation or a block.
    ///
    /// The pair's row is inserted outside of the transaction. If a rollback could remove a row for which others wait, InnoDB
    /// would report deadlocks.
    pub async fn begin(&self, pair: Pair) -> Result<PairTransaction<'_>> {
        let mut tx = mysql::begin(&self.pool).await?;
        if !locked(&mut tx, pair).await? {
            tx.rollback().await?;
            self.insert(pair).await?;
            tx = mysql::begin(&self.pool).await?;
            locked(&mut tx, pair).await?;
        }
        let relationship = relationship(&mut tx, pair).await?;
        Ok(PairTransaction { relationship, tx, outbox: &self.outbox })
    }

    /// Locks a pair for a change of an existing relationship.
    ///
    /// Without a relationship, no row is inserted, so that requests with arbitrary ids create no rows.
    pub async fn begin_on_existing(&self, pair: Pair) -> Result<PairTransaction<'_>> {
        let mut tx = mysql::begin(&self.pool).await?;
        let locked = locked(&mut tx, pair).await?;
        let relationship = relationship(&mut tx, pair).await?;
        if locked || relationship.is_empty() {
            return Ok(PairTransaction { relationship, tx, outbox: &self.outbox });
        }
        // The original created the relationship, and it has no pairs.
        tx.rollback().await?;
        self.begin(pair).await
    }

    async fn insert(&self, pair: Pair) -> Result<()> {
        let insert = sqlx::query("INSERT IGNORE INTO friend_pairs (low, high) VALUES (?, ?)");
        insert.bind(pair.low).bind(pair.high).execute(&self.pool).await?;
        Ok(())
    }
}

impl PairTransaction<'_> {
    /// Appends an event to the outbox.
    pub async fn append<E: Event>(&mut self, event: &E) -> Result<()> {
        self.outbox.append(&mut self.tx, event).await.map(|_| ())
    }

    /// Ends a relation of the pair. The row stays as history.
    pub async fn end(&mut self, relation: &Relation) -> Result<()> {
        let end = sqlx::query(
            "UPDATE friendships SET deleted_at = UTC_TIMESTAMP(6), updated_at = UTC_TIMESTAMP(6) WHERE id = ?",
        );
        end.bind(relation.id).execute(self.connection()).await?;
        Ok(())
    }

    /// Commits, wakes the relay, and returns the outcome.
    pub async fn commit<T>(self, outcome: T) -> Result<T> {
        self.tx.commit().await?;
        self.outbox.wake();
        Ok(outcome)
    }

    pub fn connection(&mut self) -> &mut MySqlConnection {
        &mut self.tx
    }
}

async fn locked(tx: &mut MySqlConnection, pair: Pair) -> Result<bool> {
    let row: Option<i64> = sqlx::query_scalar("SELECT low FROM friend_pairs WHERE low = ? AND high = ? FOR UPDATE")
        .bind(pair.low)
        .bind(pair.high)
        .fetch_optional(tx)
        .await?;
    Ok(row.is_some())
}

/// Locks the relation's row, too: a service of the original has no pairs, but waits for locked rows.
async fn relationship(tx: &mut MySqlConnection, pair: Pair) -> Result<Relationship> {
    let relation = sqlx::query_as(
        "SELECT id, user_id_1, user_id_2, status FROM friendships WHERE live_low = ? AND live_high = ? FOR UPDATE",
    );
    let relation: Option<(i64, UserId, UserId, String)> =
        relation.bind(pair.low).bind(pair.high).fetch_optional(&mut *tx).await?;
    let blocks: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM block_users
         WHERE (user_id, blocked_user_id) = (?, ?) OR (user_id, blocked_user_id) = (?, ?)",
    )
    .bind(pair.low)
    .bind(pair.high)
    .bind(pair.high)
    .bind(pair.low)
    .fetch_one(tx)
    .await?;
    let relation = relation.map(|(id, requester, addressee, status)| Relation {
        id,
        requester,
        addressee,
        status: Status::read(&status),
    });
    Ok(Relationship { relation, blocked: blocks > 0 })
}
