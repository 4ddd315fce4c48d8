//! Friendships in MySQL: requests, their answers, and the lists.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::{MySqlConnection, MySqlPool};

use common::error::{OnDuplicate, Result};
use common::events::friend::{
    FriendRemoved, FriendRequestAccepted, FriendRequestCancelled, FriendRequestRejected, FriendRequestSent,
};
use common::id::UserId;
use common::mysql::retry_on_deadlock;

use crate::domain::{Pair, refusal};
use crate::store::Pairs;

/// The table `friendships`.
#[derive(Clone)]
pub struct Friendships {
    pool: MySqlPool,
    pairs: Pairs,
}

/// A relation. `user_id_1` is who asked; times are the database's, in microseconds.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Friendship {
    pub id: i64,
    pub user_id_1: UserId,
    pub user_id_2: UserId,
    pub status: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub deleted_at: Option<DateTime<Utc>>,
}

/// A friendship as one of the two sees it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Friend {
    pub friendship_id: i64,
    pub user_id: UserId,
    pub since: DateTime<Utc>,
}

/// A request that waits, as one of the two sees it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Request {
    pub friendship_id: i64,
    /// The other one.
    pub user_id: UserId,
    pub sent: bool,
    pub message: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// How events call the two.
#[derive(Clone, Debug)]
pub struct Parties {
    pub requester: String,
    pub addressee: String,
}

impl Friendships {
    pub fn new(pool: MySqlPool, pairs: Pairs) -> Self {
        Self { pool, pairs }
    }

    /// Opens a request; refused where the two already relate, or one has blocked the other.
    ///
    /// The unique key decides: an original beside us does not lock pairs.
    pub async fn request(
        &self,
        pair: Pair,
        from: UserId,
        to: UserId,
        message: Option<&str>,
        names: &Parties,
    ) -> Result<Friendship> {
        retry_on_deadlock(|| async {
            let mut change = self.pairs.begin(pair).await?;
            change.standing.may_request()?;
            let id = insert(change.connection(), from, to, message).await?;
            change
                .tell(&FriendRequestSent {
                    friendship_id: id,
                    requester_id: from,
                    requester_name: names.requester.clone(),
                    addressee_id: to,
                    addressee_name: names.addressee.clone(),
                })
                .await?;
            let sent = by_id(change.connection(), id).await?;
            change.commit(sent).await
        })
        .await
    }

    /// Accepts what `from` asked.
    pub async fn accept(&self, pair: Pair, from: UserId, names: &Parties) -> Result<Friendship> {
        retry_on_deadlock(|| async {
            let mut change = self.pairs.begin_on_existing(pair).await?;
            let request = change.standing.pending_from(from)?;
            let accept =
                sqlx::query("UPDATE friendships SET status = 'accepted', updated_at = UTC_TIMESTAMP(6) WHERE id = ?");
            accept.bind(request.id).execute(change.connection()).await?;
            change
                .tell(&FriendRequestAccepted {
                    friendship_id: request.id,
                    requester_id: request.requester,
                    requester_name: names.requester.clone(),
                    addressee_id: request.addressee,
                    addressee_name: names.addressee.clone(),
                })
                .await?;
            let accepted = by_id(change.connection(), request.id).await?;
            change.commit(accepted).await
        })
        .await
    }

    /// Rejects what `from` asked.
    pub async fn reject(&self, pair: Pair, from: UserId) -> Result<()> {
        retry_on_deadlock(|| async {
            let mut change = self.pairs.begin_on_existing(pair).await?;
            let request = change.standing.pending_from(from)?;
            change.end(&request).await?;
            change
                .tell(&FriendRequestRejected {
                    friendship_id: Some(request.id),
                    requester_id: request.requester,
                    addressee_id: request.addressee,
                })
                .await?;
            change.commit(()).await
        })
        .await
    }

    /// Takes back what `from` asked.
    pub async fn cancel(&self, pair: Pair, from: UserId) -> Result<()> {
        retry_on_deadlock(|| async {
            let mut change = self.pairs.begin_on_existing(pair).await?;
            let request = change.standing.pending_from(from)?;
            change.end(&request).await?;
            change
                .tell(&FriendRequestCancelled {
                    friendship_id: Some(request.id),
                    requester_id: request.requester,
                    addressee_id: request.addressee,
                })
                .await?;
            change.commit(()).await
        })
        .await
    }

    /// Ends a friendship on the wish of `by`.
    pub async fn remove(&self, pair: Pair, by: UserId, friend: UserId) -> Result<()> {
        retry_on_deadlock(|| async {
            let mut change = self.pairs.begin_on_existing(pair).await?;
            let friendship = change.standing.friendship()?;
            change.end(&friendship).await?;
            change.tell(&FriendRemoved { friendship_id: friendship.id, user_id: by, friend_id: friend }).await?;
            change.commit(()).await
        })
        .await
    }

    /// Who sent the live request of this id to `addressee`.
    pub async fn requester_of(&self, id: i64, addressee: UserId) -> Result<Option<UserId>> {
        let requester = sqlx::query_scalar(
            "SELECT user_id_1 FROM friendships
             WHERE id = ? AND user_id_2 = ? AND status = 'pending' AND deleted_at IS NULL",
        );
        Ok(requester.bind(id).bind(addressee).fetch_optional(&self.pool).await?)
    }

    /// The friends of someone by age of the relation: those after the relation `after`, at most `limit`.
    ///
    /// The two halves are woven together here: MySQL would take twice the time for it.
    pub async fn friends_of(&self, user: UserId, after: i64, limit: i64) -> Result<Vec<Friend>> {
        let friends = sqlx::query_as(
            "(SELECT id AS friendship_id, user_id_2 AS user_id, updated_at AS since FROM friendships
              WHERE user_id_1 = ? AND deleted_at IS NULL AND status = 'accepted' AND id > ? ORDER BY id LIMIT ?)
             UNION ALL
             (SELECT id, user_id_1, updated_at FROM friendships
              WHERE user_id_2 = ? AND deleted_at IS NULL AND status = 'accepted' AND id > ? ORDER BY id LIMIT ?)",
        );
        let friends = (0..2).fold(friends, |friends, _| friends.bind(user).bind(after).bind(limit));
        let mut friends: Vec<Friend> = friends.fetch_all(&self.pool).await?;
        friends.sort_unstable_by_key(|friend| friend.friendship_id);
        friends.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(friends)
    }

    /// The requests to and from someone that wait for an answer, oldest first.
    pub async fn requests_of(&self, user: UserId) -> Result<Vec<Request>> {
        let requests = sqlx::query_as(
            "SELECT id AS friendship_id, user_id_2 AS user_id, TRUE AS sent, message, created_at FROM friendships
             WHERE user_id_1 = ? AND deleted_at IS NULL AND status = 'pending'
             UNION ALL
             SELECT id, user_id_1, FALSE, message, created_at FROM friendships
             WHERE user_id_2 = ? AND deleted_at IS NULL AND status = 'pending'",
        );
        let mut requests: Vec<Request> = requests.bind(user).bind(user).fetch_all(&self.pool).await?;
        requests.sort_unstable_by_key(|request| request.friendship_id);
        Ok(requests)
    }

    /// Whom a search for new friends leaves out: the friends of someone, and whoever is blocked either way.
    pub async fn out_of_reach(&self, user: UserId) -> Result<HashSet<UserId>> {
        let found = sqlx::query_scalar(
            "SELECT user_id_2 FROM friendships WHERE user_id_1 = ? AND deleted_at IS NULL AND status = 'accepted'
             UNION ALL
             SELECT user_id_1 FROM friendships WHERE user_id_2 = ? AND deleted_at IS NULL AND status = 'accepted'
             UNION ALL
             SELECT blocked_user_id FROM block_users WHERE user_id = ?
             UNION ALL
             SELECT user_id FROM block_users WHERE blocked_user_id = ?",
        );
        let found: Vec<UserId> = found.bind(user).bind(user).bind(user).bind(user).fetch_all(&self.pool).await?;
        Ok(found.into_iter().collect())
    }
}

async fn insert(tx: &mut MySqlConnection, from: UserId, to: UserId, message: Option<&str>) -> Result<i64> {
    let inserted = sqlx::query(
        "INSERT INTO friendships (user_id_1, user_id_2, status, message, created_at, updated_at)
         VALUES (?, ?, 'pending', ?, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
    );
    let inserted = inserted.bind(from).bind(to).bind(message).execute(tx).await;
    Ok(inserted.on_duplicate("friendships_pair", refusal::already_related)?.last_insert_id() as i64)
}

async fn by_id(tx: &mut MySqlConnection, id: i64) -> Result<Friendship> {
    let friendship = sqlx::query_as(
        "SELECT id, user_id_1, user_id_2, status, created_at, updated_at, deleted_at FROM friendships WHERE id = ?",
    );
    Ok(friendship.bind(id).fetch_one(tx).await?)
}
