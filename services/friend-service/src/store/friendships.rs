//! Friendships in MySQL: requests, answers and lists.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::{MySqlConnection, MySqlPool};

use common::events::Event;
use common::events::friend::{
    FriendRemoved, FriendRequestAccepted, FriendRequestCancelled, FriendRequestRejected, FriendRequestSent,
};
use common::id::UserId;
use engines::error::Result;
use engines::mysql::{OnDuplicate, retry_on_deadlock};

use crate::domain::{Pair, Relation, RelationLimits, RequestLimits, refusal};
use crate::store::pairs::Pairs;
use crate::store::senders;

/// The table `friendships`.
#[derive(Clone)]
pub struct Friendships {
    pool: MySqlPool,
    pairs: Pairs,
    limits: RequestLimits,
    relation_limits: RelationLimits,
}

/// A row. `user_id_1` is the requester. Times come from the database's clock, in microseconds.
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

/// A friendship from the view of one of the two users.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Friend {
    pub friendship_id: i64,
    pub user_id: UserId,
    pub since: DateTime<Utc>,
}

/// A pending request from the view of one of the two users.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Request {
    pub friendship_id: i64,
    /// The other user.
    pub user_id: UserId,
    pub sent: bool,
    pub message: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// The names of the two users in events.
#[derive(Clone, Debug)]
pub struct PartyNames {
    pub requester: String,
    pub addressee: String,
}

impl Friendships {
    pub fn new(pool: MySqlPool, pairs: Pairs, limits: RequestLimits, relation_limits: RelationLimits) -> Self {
        Self { pool, pairs, limits, relation_limits }
    }

    /// Inserts a request and its event.
    ///
    /// # Errors
    /// Refuses if the two are related or one has blocked the other, at the limits on what a user sends, and if the sender
    /// has as many friends as a user may have. The unique key decides, because services of the original do not lock pairs.
    pub async fn request(
        &self,
        pair: Pair,
        from: UserId,
        to: UserId,
        message: Option<&str>,
        names: &PartyNames,
    ) -> Result<Friendship> {
        retry_on_deadlock(|| async {
            let mut tx = self.pairs.begin(pair).await?;
            tx.relationship.allow_request()?;
            self.limits.allow(senders::lock_and_count(tx.connection(), from, to, self.limits).await?)?;
            let friends = senders::friends(tx.connection(), from, self.relation_limits.friends).await?;
            self.relation_limits.allow_friend(friends)?;
            let id = insert(tx.connection(), from, to, message).await?;
            tx.append(&FriendRequestSent {
                friendship_id: id,
                requester_id: from,
                requester_name: names.requester.clone(),
                addressee_id: to,
                addressee_name: names.addressee.clone(),
            })
            .await?;
            let sent = by_id(tx.connection(), id).await?;
            tx.commit(sent).await
        })
        .await
    }

    /// Accepts the pending request of `from`.
    ///
    /// # Errors
    /// Refuses if there is none, and if one of the two has as many friends as a user may have.
    pub async fn accept(&self, pair: Pair, from: UserId, names: &PartyNames) -> Result<Friendship> {
        retry_on_deadlock(|| async {
            let mut tx = self.pairs.begin_on_existing(pair).await?;
            let request = tx.relationship.pending_from(from)?;
            let limit = self.relation_limits.friends;
            let friends = senders::lock_and_count_friends(tx.connection(), pair, limit).await?;
            self.relation_limits.allow_friend(friends)?;
            let accept =
                sqlx::query("UPDATE friendships SET status = 'accepted', updated_at = UTC_TIMESTAMP(6) WHERE id = ?");
            accept.bind(request.id).execute(tx.connection()).await?;
            tx.append(&FriendRequestAccepted {
                friendship_id: request.id,
                requester_id: request.requester,
                requester_name: names.requester.clone(),
                addressee_id: request.addressee,
                addressee_name: names.addressee.clone(),
            })
            .await?;
            let accepted = by_id(tx.connection(), request.id).await?;
            tx.commit(accepted).await
        })
        .await
    }

    /// Rejects the pending request of `from`.
    pub async fn reject(&self, pair: Pair, from: UserId) -> Result<()> {
        self.end_request(pair, from, |request| FriendRequestRejected {
            friendship_id: Some(request.id),
            requester_id: request.requester,
            addressee_id: request.addressee,
        })
        .await
    }

    /// Cancels the pending request of `from`.
    pub async fn cancel(&self, pair: Pair, from: UserId) -> Result<()> {
        self.end_request(pair, from, |request| FriendRequestCancelled {
            friendship_id: Some(request.id),
            requester_id: request.requester,
            addressee_id: request.addressee,
        })
        .await
    }

    async fn end_request<E: Event>(&self, pair: Pair, from: UserId, event: impl Fn(&Relation) -> E) -> Result<()> {
        retry_on_deadlock(|| async {
            let mut tx = self.pairs.begin_on_existing(pair).await?;
            let request = tx.relationship.pending_from(from)?;
            tx.end(&request).await?;
            tx.append(&event(&request)).await?;
            tx.commit(()).await
        })
        .await
    }

    /// Ends a friendship at the request of `by`.
    pub async fn remove(&self, pair: Pair, by: UserId, friend: UserId) -> Result<()> {
        retry_on_deadlock(|| async {
            let mut tx = self.pairs.begin_on_existing(pair).await?;
            let friendship = tx.relationship.friendship()?;
            tx.end(&friendship).await?;
            tx.append(&FriendRemoved { friendship_id: friendship.id, user_id: by, friend_id: friend }).await?;
            tx.commit(()).await
        })
        .await
    }

    /// The requester of a pending request to `addressee`.
    pub async fn requester_of(&self, id: i64, addressee: UserId) -> Result<Option<UserId>> {
        let requester = sqlx::query_scalar(
            "SELECT user_id_1 FROM friendships
             WHERE id = ? AND user_id_2 = ? AND status = 'pending' AND deleted_at IS NULL",
        );
        Ok(requester.bind(id).bind(addressee).fetch_optional(&self.pool).await?)
    }

    /// The friends of a user in the order of the relations' ids: those after the relation `after`, at most `limit`.
    ///
    /// The two halves are merged here, because an ORDER BY over the union takes MySQL twice the time.
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

    /// The pending requests to and from a user, oldest first: those after the request `after`, at most `limit`.
    pub async fn requests_of(&self, user: UserId, after: i64, limit: i64) -> Result<Vec<Request>> {
        let requests = sqlx::query_as(
            "(SELECT id AS friendship_id, user_id_2 AS user_id, TRUE AS sent, message, created_at FROM friendships
              WHERE user_id_1 = ? AND deleted_at IS NULL AND status = 'pending' AND id > ? ORDER BY id LIMIT ?)
             UNION ALL
             (SELECT id, user_id_1, FALSE, message, created_at FROM friendships
              WHERE user_id_2 = ? AND deleted_at IS NULL AND status = 'pending' AND id > ? ORDER BY id LIMIT ?)",
        );
        let requests = (0..2).fold(requests, |requests, _| requests.bind(user).bind(after).bind(limit));
        let mut requests: Vec<Request> = requests.fetch_all(&self.pool).await?;
        requests.sort_unstable_by_key(|request| request.friendship_id);
        requests.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(requests)
    }

    /// The pending requests to a user, oldest first: those after the request `after`, at most `limit`.
    pub async fn requests_to(&self, user: UserId, after: i64, limit: i64) -> Result<Vec<Request>> {
        let requests = sqlx::query_as(
            "SELECT id AS friendship_id, user_id_1 AS user_id, FALSE AS sent, message, created_at FROM friendships
             WHERE user_id_2 = ? AND deleted_at IS NULL AND status = 'pending' AND id > ? ORDER BY id LIMIT ?",
        );
        Ok(requests.bind(user).bind(after).bind(limit).fetch_all(&self.pool).await?)
    }

    /// The users whom a search for new friends omits: friends, and users who are blocked in either direction.
    pub async fn omitted_from_search(&self, user: UserId) -> Result<HashSet<UserId>> {
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
