//! The place of a reader of all rooms, in a short id: a snapshot in the store, and the rooms that moved since.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use common::error::Result;
use common::id::{RoomId, UserId};

use crate::store::{Positions, SnapshotId, Snapshots};

/// A snapshot that is in use is kept for longer, this often.
const PROLONG_EVERY: Duration = Duration::from_secs(3_600);

pub struct Cursor {
    snapshots: Snapshots,
    user: UserId,
    snapshot: SnapshotId,
    prolonged: Instant,
    at_the_snapshot: Positions,
    since: Positions,
}

impl Cursor {
    /// A new one, which stands at these positions.
    pub async fn at(snapshots: &Snapshots, user: UserId, positions: Positions) -> Result<Self> {
        let snapshot = snapshots.take(user, &positions).await?;
        Ok(Self {
            snapshots: snapshots.clone(),
            user,
            snapshot,
            prolonged: Instant::now(),
            at_the_snapshot: positions,
            since: Positions::default(),
        })
    }

    /// The one that an id names; none for an id that is too old, another's, or made up.
    pub async fn read(snapshots: &Snapshots, user: UserId, id: &str) -> Result<Option<Self>> {
        let Some((snapshot, since)) = decode(id) else { return Ok(None) };
        let Some(at_the_snapshot) = snapshots.open(snapshot, user).await? else { return Ok(None) };
        let (snapshots, prolonged) = (snapshots.clone(), Instant::now());
        Ok(Some(Self { snapshots, user, snapshot, prolonged, at_the_snapshot, since }))
    }

    /// Where the reader stands in a room, if it ever read it.
    pub fn position(&self, room: RoomId) -> Option<i64> {
        self.since.0.get(&room).or_else(|| self.at_the_snapshot.0.get(&room)).copied()
    }

    /// Moves on in a room. Returns the id of the new place.
    pub async fn move_to(&mut self, room: RoomId, position: i64) -> Result<String> {
        self.since.0.insert(room, position);
        let mut since = self.since.encode();
        if since.len() > Positions::SHORT {
            since.clear();
            self.at_the_snapshot.0.append(&mut self.since.0);
            self.snapshot = self.snapshots.take(self.user, &self.at_the_snapshot).await?;
            self.prolonged = Instant::now();
        } else if self.prolonged.elapsed() > PROLONG_EVERY {
            self.snapshots.touch(self.snapshot).await?;
            self.prolonged = Instant::now();
        }
        Ok(encode(self.snapshot, &since))
    }

    pub fn id(&self) -> String {
        encode(self.snapshot, &self.since.encode())
    }

    /// Everywhere it stands.
    pub fn positions(&self) -> BTreeMap<RoomId, i64> {
        let mut positions = self.at_the_snapshot.0.clone();
        positions.extend(&self.since.0);
        positions
    }
}

fn encode(snapshot: SnapshotId, since: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode([snapshot.as_bytes(), since].concat())
}

fn decode(id: &str) -> Option<(SnapshotId, Positions)> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(id).ok()?;
    let (snapshot, since) = bytes.split_at_checked(16)?;
    Some((SnapshotId::from_slice(snapshot).ok()?, Positions::decode(since)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stays_below_a_kilobyte() {
        let most = BASE64_URL_SAFE_NO_PAD.encode(vec![0; Positions::SHORT + 16]);
        assert!(most.len() < 1_024, "{}", most.len());
    }

    #[test]
    fn what_is_no_id_names_no_place() {
        for id in ["", "0", "17", "not base64!", "AAAA", &"A".repeat(3_000)] {
            assert!(decode(id).is_none(), "{id}");
        }
    }
}
