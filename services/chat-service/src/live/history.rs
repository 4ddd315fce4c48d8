//! The part of the rooms' history that streams read from the store.

use std::collections::HashMap;
use std::time::Duration;

use common::error::Result;
use common::id::RoomId;
use mongodb::ClientSession;
use platform::task::run_detached;

use crate::store::{Entry, HeadChanges, Log, Messages};
use crate::wire::Frame;

/// Limit on the heads that one query reads.
const HEADS_PER_QUERY: usize = 5_000;

/// Limit on the positions that one query reads from the log.
const REPLAY: i64 = 200;

/// Pauses before an entry that should exist is looked for again. After a failover, reads on a majority may lag for a moment
/// behind what the old primary has committed.
const RETRY_PAUSES: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(2)];

/// The continuation of a room's history.
pub enum Replay {
    /// The next frames, without a gap; none at the end of the history.
    Frames(Vec<Frame>),
    /// The next entry does not exist, although a later position does: an operator removed it, or the store was restored.
    Gap,
}

/// Reads positions and entries. A read runs to its end even if the stream that waits for it ends.
#[derive(Clone)]
pub struct History {
    log: Log,
    messages: Messages,
}

impl History {
    pub fn new(log: Log, messages: Messages) -> Self {
        Self { log, messages }
    }

    /// The positions of the newest entries of rooms; rooms without entries are missing.
    pub async fn positions(&self, rooms: &[RoomId]) -> Result<HashMap<RoomId, i64>> {
        let mut positions = HashMap::with_capacity(rooms.len());
        for rooms in rooms.chunks(HEADS_PER_QUERY) {
            let (log, rooms) = (self.log.clone(), rooms.to_vec());
            positions.extend(run_detached(async move { log.positions(&rooms).await }).await?);
        }
        Ok(positions)
    }

    /// The changes of all heads from now on.
    pub async fn head_changes(&self) -> Result<HeadChanges> {
        Ok(self.log.head_changes().await?)
    }

    /// The position of the newest entry of a room, 0 without entries.
    pub async fn position(&self, room: RoomId) -> Result<i64> {
        Ok(self.log.positions(&[room]).await?.get(&room).copied().unwrap_or(0))
    }

    /// The newest positions of rooms of which a client names positions. If a room seems to lack its position, a majority is asked:
    /// the client may know what a new primary does not return yet.
    pub async fn newest(&self, named: &HashMap<RoomId, i64>) -> Result<HashMap<RoomId, i64>> {
        let rooms: Vec<RoomId> = named.keys().copied().collect();
        let newest = self.positions(&rooms).await?;
        let has = |(room, position): (&RoomId, &i64)| newest.get(room).is_some_and(|newest| newest >= position);
        if named.iter().all(has) {
            return Ok(newest);
        }
        let log = self.log.clone();
        let confirmed = async move { log.positions_in(&rooms, &mut log.confirmed_session().await?).await };
        Ok(run_detached(confirmed).await?)
    }

    /// The positions up to which the histories of rooms were removed; rooms with their whole history are missing.
    pub async fn removed(&self, rooms: &[RoomId]) -> Result<HashMap<RoomId, i64>> {
        let mut removed = HashMap::new();
        for rooms in rooms.chunks(HEADS_PER_QUERY) {
            let (log, rooms) = (self.log.clone(), rooms.to_vec());
            removed.extend(run_detached(async move { log.removed(&rooms).await }).await?);
        }
        Ok(removed)
    }

    /// The frames of a room after a position, in order, at most [`REPLAY`]. `newest` is a position that is known to exist.
    pub async fn replay(&self, room: RoomId, after: i64, newest: i64) -> Result<Replay> {
        let history = self.clone();
        run_detached(async move { history.read_patiently(room, after, newest).await }).await
    }

    /// Reads again while the next entry is missing, the last time what a majority confirms.
    async fn read_patiently(&self, room: RoomId, after: i64, newest: i64) -> Result<Replay> {
        for pause in RETRY_PAUSES {
            let frames = self.read(room, after, self.log.session().await?).await?;
            if !frames.is_empty() || newest <= after {
                return Ok(Replay::Frames(frames));
            }
            if self.removed(&[room]).await?.get(&room).is_some_and(|removed| after < *removed) {
                return Ok(Replay::Gap);
            }
            tokio::time::sleep(pause).await;
        }
        let frames = self.read(room, after, self.log.confirmed_session().await?).await?;
        if frames.is_empty() {
            tracing::warn!(%room, after, newest, "the room's log lacks an entry, readers have to fetch the room anew");
            return Ok(Replay::Gap);
        }
        Ok(Replay::Frames(frames))
    }

    /// Reads the entries up to the first gap. The reads of one session are causally consistent: the second one sees the message
    /// of every entry that the first one sees, also if another server became the primary in between. So a message that is
    /// missing was removed by an operator.
    async fn read(&self, room: RoomId, after: i64, mut session: ClientSession) -> Result<Vec<Frame>> {
        let mut entries = self.log.after(room, after, REPLAY, &mut session).await?;
        let contiguous = entries.iter().zip(after + 1..).take_while(|(entry, next)| entry.id.position == *next).count();
        entries.truncate(contiguous);
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = entries.iter().map(|entry| entry.message_id).collect();
        let messages = self.messages.by_ids_in(&ids, &mut session).await?;
        let frame = |entry: &Entry| match messages.get(&entry.message_id) {
            Some(message) => Frame::of_entry(entry, message),
            None => Frame::of_removed(entry),
        };
        Ok(entries.iter().map(frame).collect())
    }
}
