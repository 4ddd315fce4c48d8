//! The frames of reads: at most one per reader, room and second.
//!
//! The first read of a reader is sent at once. Later ones of the second that follows are united and sent at its end.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::events::chat::MessagesRead;
use common::id::{RoomId, UserId};
use parking_lot::Mutex;

use super::feed::Feeds;
use crate::wire::frame;

/// The time between two frames of one reader in a room.
const INTERVAL: Duration = Duration::from_secs(1);

/// Limit on the ids in a frame. A whole room that is read names no more either; the others are those before them.
const MAX_IDS: usize = 1_000;

/// A read that waits for the end of its second, and its time.
type Waiting = (MessagesRead, DateTime<Utc>);

/// The readers whose last frame is less than a second old, and the reads that wait. It is as large as the number of readers of
/// a second.
#[derive(Default)]
pub struct ReadFrames {
    waiting: Mutex<HashMap<(RoomId, UserId), Option<Waiting>>>,
}

impl ReadFrames {
    /// Sends a read to the subscribers of its room now, or with later ones.
    pub fn send(self: &Arc<Self>, feeds: &Arc<Feeds>, read: MessagesRead, at: DateTime<Utc>) {
        let key = (read.room_id, read.user_id);
        match self.waiting.lock().entry(key) {
            Entry::Occupied(mut entry) => return unite(entry.get_mut(), read, at),
            Entry::Vacant(entry) => _ = entry.insert(None),
        }
        broadcast(feeds, &read, at);
        let (frames, feeds) = (self.clone(), feeds.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(INTERVAL).await;
                let Some((read, at)) = frames.next(key) else { return };
                broadcast(&feeds, &read, at);
            }
        });
    }

    /// Takes the read that waits; without one, the reader is forgotten.
    fn next(&self, key: (RoomId, UserId)) -> Option<Waiting> {
        let mut waiting = self.waiting.lock();
        let next = waiting.get_mut(&key)?.take();
        if next.is_none() {
            waiting.remove(&key);
        }
        next
    }
}

fn unite(waiting: &mut Option<Waiting>, read: MessagesRead, at: DateTime<Utc>) {
    let Some((united, newest)) = waiting else {
        *waiting = Some((read, at));
        return;
    };
    united.message_ids.extend(read.message_ids);
    let surplus = united.message_ids.len().saturating_sub(MAX_IDS);
    united.message_ids.drain(..surplus);
    united.up_to = united.up_to.max(read.up_to);
    *newest = at.max(*newest);
}

fn broadcast(feeds: &Feeds, read: &MessagesRead, at: DateTime<Utc>) {
    if let Some(feed) = feeds.get(read.room_id) {
        feed.broadcast(|| frame::messages_read(read, at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(ids: std::ops::Range<usize>, up_to: Option<i64>) -> MessagesRead {
        let message_ids = ids.map(|id| id.to_string()).collect();
        MessagesRead { room_id: RoomId(1), user_id: UserId(2), message_ids, up_to }
    }

    #[test]
    fn reads_that_wait_are_united_and_bounded() {
        let (mut waiting, now) = (None, Utc::now());
        unite(&mut waiting, read(0..3, None), now);
        unite(&mut waiting, read(3..5, Some(9)), now);
        unite(&mut waiting, read(5..6, None), now);
        let (united, _) = waiting.clone().unwrap();
        assert_eq!((united.message_ids.len(), united.up_to), (6, Some(9)));
        unite(&mut waiting, read(6..1_500, None), now);
        let (united, _) = waiting.unwrap();
        assert_eq!((united.message_ids.len(), united.message_ids.last().unwrap().as_str()), (MAX_IDS, "1499"));
    }
}
