//! An original that writes to the same stores again: while it ends its last requests at the switch, or after a return to it.
//!
//! Its messages have no positions, and its deletions and reads are in no log and no marker. An event without a position is the
//! hint that a room has changed. A look at the store every two seconds finds what no event announced: by the indexes of such
//! documents, and in turn in the rooms with subscribers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use common::error::Result;
use common::id::RoomId;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::live::Hub;
use crate::store::LegacyBackfill;

/// Interval of the looks at the store.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Limit on the rooms with subscribers at which one look looks.
const MAX_WATCHED: usize = 1_000;

/// Limit on rooms whose hints wait. The next look finds the others.
const MAX_HINTS: usize = 10_000;

/// A handle on the follower of the original.
#[derive(Clone)]
pub struct Original {
    shared: Arc<Shared>,
}

struct Shared {
    backfill: LegacyBackfill,
    hub: Hub,
    hinted: Mutex<BTreeSet<RoomId>>,
    wake: Notify,
}

impl Original {
    pub fn new(backfill: LegacyBackfill, hub: Hub) -> Self {
        Self { shared: Arc::new(Shared { backfill, hub, hinted: Mutex::default(), wake: Notify::new() }) }
    }

    /// Learns that the original has written to a room.
    pub fn hint(&self, room: RoomId) {
        let mut hinted = self.shared.hinted.lock();
        if hinted.len() < MAX_HINTS {
            hinted.insert(room);
        }
        drop(hinted);
        self.shared.wake.notify_one();
    }

    /// Follows the original until the shutdown. Logs the first failure and the recovery, not each failure.
    pub async fn run(self, stopping: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut watched, mut failing) = (RoomId(0), false);
        loop {
            let followed = tokio::select! {
                () = stopping.cancelled() => return,
                () = self.shared.wake.notified() => self.follow_hints().await,
                _ = ticks.tick() => self.look(&mut watched).await,
            };
            match followed {
                Ok(()) => failing = false,
                Err(e) if failing => tracing::debug!(error = %e, "cannot follow the original yet"),
                Err(e) => {
                    failing = true;
                    tracing::warn!(error = %e, "cannot follow the original, the next look repeats it");
                }
            }
        }
    }

    /// Follows the hints to rooms that streams read. The other rooms are completed when they are used next.
    async fn follow_hints(&self) -> Result<()> {
        let hinted = std::mem::take(&mut *self.shared.hinted.lock());
        for room in &hinted {
            self.shared.backfill.expire(*room).await;
        }
        let read = hinted.into_iter().filter(|room| self.shared.hub.has_subscribers(*room));
        self.follow(read.collect()).await
    }

    /// Follows what the original has written, and looks at the next rooms with subscribers after `watched`.
    async fn look(&self, watched: &mut RoomId) -> Result<()> {
        let mut rooms = self.shared.backfill.look().await?;
        let next = next_rooms(self.shared.hub.rooms(), watched);
        rooms.extend(self.shared.backfill.incomplete(&next).await?);
        self.follow(rooms).await
    }

    /// Completes rooms, and shows the new entries to their streams. Returns the first failure after all rooms.
    async fn follow(&self, rooms: BTreeSet<RoomId>) -> Result<()> {
        let mut followed = Ok(());
        for room in rooms {
            followed = followed.and(self.follow_room(room).await);
        }
        followed
    }

    async fn follow_room(&self, room: RoomId) -> Result<()> {
        self.shared.backfill.follow(room).await?;
        if self.shared.hub.has_subscribers(room) {
            let position = self.shared.hub.history().position(room).await?;
            self.shared.hub.hint(room, position);
        }
        Ok(())
    }
}

/// At most [`MAX_WATCHED`] of the rooms after `last`, which advances; from the first room again after the last.
fn next_rooms(mut rooms: Vec<RoomId>, last: &mut RoomId) -> Vec<RoomId> {
    rooms.retain(|room| room > last);
    if rooms.len() <= MAX_WATCHED {
        *last = RoomId(0);
        return rooms;
    }
    let (_, newest, _) = rooms.select_nth_unstable(MAX_WATCHED - 1);
    *last = *newest;
    rooms.truncate(MAX_WATCHED);
    rooms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rooms_are_watched_in_turn() {
        let rooms: Vec<RoomId> = (1..=2_500).rev().map(RoomId).collect();
        let (mut last, mut seen) = (RoomId(0), Vec::new());
        for turn in [1_000, 1_000, 500, 1_000] {
            let next = next_rooms(rooms.clone(), &mut last);
            assert_eq!(next.len(), turn);
            seen.extend(next);
        }
        let distinct: BTreeSet<RoomId> = seen.iter().take(2_500).copied().collect();
        assert_eq!(distinct.len(), 2_500);
    }
}
