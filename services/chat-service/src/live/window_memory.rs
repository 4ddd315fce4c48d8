//! The memory of all windows of this replica.

use common::id::RoomId;
use hashlink::LinkedHashMap;
use parking_lot::Mutex;

/// The memory of a room besides its frames and the ids of its recent events: collections.
const ROOM_BYTES: usize = 1_024;

/// Counts the memory of all windows, and tells which rooms have to give theirs back.
pub struct WindowMemory {
    limit: usize,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    /// The bytes of each room, least recently used first.
    by_room: LinkedHashMap<RoomId, usize>,
    total: usize,
}

impl WindowMemory {
    /// `limit` is in bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, used: Mutex::default() }
    }

    /// The memory of all windows in bytes.
    pub fn total(&self) -> usize {
        self.used.lock().total
    }

    /// Counts the frames and ids of a room, which has just got one. The caller holds the locks on both.
    pub fn use_by(&self, room: RoomId, frames_and_ids: usize) {
        let mut used = self.used.lock();
        let bytes = ROOM_BYTES + frames_and_ids;
        let before = used.by_room.insert(room, bytes).unwrap_or(0);
        used.total = used.total + bytes - before;
    }

    /// Removes a room.
    pub fn release(&self, room: RoomId) {
        let mut used = self.used.lock();
        let bytes = used.by_room.remove(&room).unwrap_or(0);
        used.total -= bytes;
    }

    /// Removes and returns the rooms that are beyond the limit, least recently used first.
    pub fn surplus(&self) -> Vec<RoomId> {
        let mut used = self.used.lock();
        let mut surplus = Vec::new();
        while used.total > self.limit
            && let Some((room, bytes)) = used.by_room.pop_front()
        {
            used.total -= bytes;
            surplus.push(room);
        }
        surplus
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_rooms_are_beyond_the_limit() {
        let memory = WindowMemory::new(3 * ROOM_BYTES + 1_000);
        for room in [1, 2, 3, 1] {
            memory.use_by(RoomId(room), 100);
        }
        assert!(memory.surplus().is_empty());

        memory.use_by(RoomId(4), 100);
        assert_eq!(memory.surplus(), [RoomId(2)]);

        // One heavy document displaces as much as it weighs.
        memory.use_by(RoomId(4), 800 + ROOM_BYTES);
        assert_eq!(memory.surplus(), [RoomId(3)]);

        [1, 4].into_iter().for_each(|room| memory.release(RoomId(room)));
        assert_eq!(memory.total(), 0);
    }
}
