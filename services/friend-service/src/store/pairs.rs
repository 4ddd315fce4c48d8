//! Changes between two people take turns: the pair's row is locked first, then the change and its events commit together.

use sqlx::{MySql, MySqlConnection, MySqlPool, Transaction};

use common::error::Result;
use common::events::Event;
use common::id::UserId;
use common::mysql;
use common::outbox::Outbox;

use crate::domain::{Pair, Relation, Standing, Status};

/// The rows in `friend_pairs`, each the right to change what lies between two people.
#[derive(Clone)]
pub struct Pairs {
    pool: MySqlPool,
    outbox: Outbox,
}

/// A change under way: the pair is locked until it commits.
pub struct Change<'a> {
    pub standing: Standing,
    tx: Transaction<'a, MySql>,
    outbox: &'a Outbox,
}

impl Pairs {
    pub fn new(pool: MySqlPool, outbox: Outbox) -> Self {
        Self { pool, outbox }
    }

    /// Locks the pair for an act that may bring something new between the two.
    ///
    /// The pair's row is made outside the transaction that locks it: a row that could vanish in a rollback, with others
    /// waiting for it, is how InnoDB comes to deadlocks.
    pub async fn begin(&self, pair: Pair) -> Result<Change<'_>> {
        let mut tx = mysql::begin(&self.pool).await?;
        if !locked(&mut tx, pair).await? {
            tx.rollback().await?;
            self.make(pair).await?;
            tx = mysql::begin(&self.pool).await?;
            locked(&mut tx, pair).await?;
        }
        let standing = standing(&mut tx, pair).await?;
        Ok(Change { standing, tx, outbox: &self.outbox })
    }

    /// Locks the pair for an act on what there is between the two.
    ///
    /// Where there is nothing, nothing is locked, and no row is made for every pair of numbers that someone thinks of.
    pub async fn begin_on_existing(&self, pair: Pair) -> Result<Change<'_>> {
        let mut tx = mysql::begin(&self.pool).await?;
        let locked = locked(&mut tx, pair).await?;
        let standing = standing(&mut tx, pair).await?;
        if locked || standing.is_nothing() {
            return Ok(Change { standing, tx, outbox: &self.outbox });
        }
        // Taken over from an original, which knows no pairs.
        tx.rollback().await?;
        self.begin(pair).await
    }

    async fn make(&self, pair: Pair) -> Result<()> {
        let make = sqlx::query("INSERT IGNORE INTO friend_pairs (low, high) VALUES (?, ?)");
        make.bind(pair.low).bind(pair.high).execute(&self.pool).await?;
        Ok(())
    }
}

impl Change<'_> {
    /// Adds an event to what is to be committed.
    pub async fn tell<E: Event>(&mut self, event: &E) -> Result<()> {
        self.outbox.append(&mut self.tx, event).await.map(|_| ())
    }

    /// Ends a relation of the pair; the row stays as history.
    pub async fn end(&mut self, relation: &Relation) -> Result<()> {
        let end = sqlx::query(
            "UPDATE friendships SET deleted_at = UTC_TIMESTAMP(6), updated_at = UTC_TIMESTAMP(6) WHERE id = ?",
        );
        end.bind(relation.id).execute(self.connection()).await?;
        Ok(())
    }

    /// Makes it so, has the events told, and passes on what came of it.
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

/// The relation's row is locked too: an original beside us knows no pairs, but it has to wait for rows.
async fn standing(tx: &mut MySqlConnection, pair: Pair) -> Result<Standing> {
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
    Ok(Standing { relation, blocked: blocks > 0 })
}
