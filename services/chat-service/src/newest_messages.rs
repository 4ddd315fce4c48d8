//! The newest messages of rooms.
//!
//! Most lists begin with the newest message. A replica remembers the newest messages of rooms together with the state of the head
//! that they follow from, serialized for all readers. Each list reads the head, so what is remembered is used only while no replica
//! has changed the room.

use std::sync::Arc;
use std::time::Duration;

use common::error::Result;
use common::id::RoomId;
use moka::future::Cache;

use crate::store::{Epoch, Head, HeadState, Heads, ListCursor, Messages};
use crate::wire::ListedMessage;

/// Capacity of the cache in bytes.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// For messages that the original deletes, or an operator changes in the store, before the head follows.
const TTL: Duration = Duration::from_secs(5);

/// A handle on the messages that this replica remembers.
#[derive(Clone)]
pub struct NewestMessages {
    messages: Messages,
    known: Cache<RoomId, Arc<Newest>>,
}

/// The state from which the messages follow.
type Basis = (Epoch, HeadState);

/// The newest messages of a room.
pub struct Newest {
    basis: Basis,
    /// As many as were asked for.
    limit: usize,
    messages: Vec<ListedMessage>,
}

impl NewestMessages {
    pub fn new(messages: Messages) -> Self {
        let weigher = |_: &RoomId, newest: &Arc<Newest>| {
            let bytes = size_of::<Newest>() + newest.messages.iter().map(ListedMessage::bytes).sum::<usize>();
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        let known = Cache::builder().max_capacity(CACHE_BYTES).weigher(weigher).time_to_live(TTL).build();
        Self { messages, known }
    }

    /// The newest messages of a room that are not deleted, as of its head or later, at least `limit` if there are as many. They
    /// are read in a session after the head, so that they are never remembered with a newer head. `epoch` was known before the head
    /// was read: another state of the store may have the same heads.
    pub async fn of(&self, epoch: Epoch, head: &Head, limit: usize, heads: &Heads) -> Result<Arc<Newest>> {
        let basis = (epoch, head.state());
        if let Some(newest) = self.known.get(&head.room).await
            && newest.basis == basis
            && newest.limit >= limit
        {
            return Ok(newest);
        }
        let mut session = heads.session().await?;
        let messages = self.messages.list(head.room, ListCursor::Skip(0), limit as i64, &mut session).await?;
        let messages = messages.iter().map(ListedMessage::of).collect::<Result<_>>()?;
        let newest = Arc::new(Newest { basis, limit, messages });
        self.known.insert(head.room, newest.clone()).await;
        Ok(newest)
    }
}

impl Newest {
    /// The newest messages, oldest first, at most `limit`.
    pub fn last(&self, limit: usize) -> &[ListedMessage] {
        &self.messages[self.messages.len().saturating_sub(limit)..]
    }
}
