//! The part of the rooms' history that streams read from the store.

use std::collections::HashMap;

use common::error::Result;
use common::id::RoomId;
use platform::task::run_detached;

use crate::domain::Message;
use crate::store::{Entry, Log, Messages};
use crate::wire::Frame;

/// Limit on the heads that one query reads.
const HEADS_PER_QUERY: usize = 5_000;

/// Limit on the positions that one query reads from the log.
const REPLAY: i64 = 200;

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

    /// The position of the newest entry of a room, 0 without entries.
    pub async fn position(&self, room: RoomId) -> Result<i64> {
        Ok(self.log.head(room).await?.map_or(0, |head| head.position))
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

    /// The frames of a room after a position, in order, at most [`REPLAY`].
    pub async fn replay(&self, room: RoomId, after: i64) -> Result<Vec<Frame>> {
        let history = self.clone();
        run_detached(async move { history.read(room, after).await }).await
    }

    async fn read(&self, room: RoomId, after: i64) -> Result<Vec<Frame>> {
        let entries = self.log.after(room, after, REPLAY).await?;
        let ids: Vec<_> = entries.iter().map(|entry| entry.message_id).collect();
        let messages = self.messages.by_ids(&ids).await?;
        let frame = |entry: &Entry| messages.get(&entry.message_id).map(|m: &Message| Frame::of_entry(entry, m));
        Ok(entries.iter().filter_map(frame).collect())
    }
}
