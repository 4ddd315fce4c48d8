//! The cursor of an all-rooms stream: a short id that names a stored snapshot and the rooms that have advanced since.

use std::collections::BTreeMap;
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use common::error::Result;
use common::id::{RoomId, UserId};

use crate::store::{PackedPositions, Positions, RENEWED_AFTER, SnapshotId, Snapshots};

pub struct Cursor {
    snapshots: Snapshots,
    user: UserId,
    snapshot: SnapshotId,
    renewed: Instant,
    at_snapshot: PackedPositions,
    since_snapshot: Positions,
}

impl Cursor {
    /// A new cursor at these positions.
    pub async fn at(snapshots: &Snapshots, user: UserId, positions: Positions) -> Result<Self> {
        let snapshot = snapshots.insert(user, &positions).await?;
        Ok(Self {
            snapshots: snapshots.clone(),
            user,
            snapshot,
            renewed: Instant::now(),
            at_snapshot: positions.pack(),
            since_snapshot: Positions::default(),
        })
    }

    /// A cursor before all positions, which no store has.
    #[cfg(test)]
    pub fn unstored(snapshots: &Snapshots, user: UserId) -> Self {
        Self {
            snapshots: snapshots.clone(),
            user,
            snapshot: SnapshotId::new_v4(),
            renewed: Instant::now(),
            at_snapshot: Positions::default().pack(),
            since_snapshot: Positions::default(),
        }
    }

    /// The cursor that an id names; `None` for an id that is expired, forged or another user's.
    pub async fn read(snapshots: &Snapshots, user: UserId, id: &str) -> Result<Option<Self>> {
        let Some((snapshot, since_snapshot)) = decode(id) else { return Ok(None) };
        let Some(at_snapshot) = snapshots.get(snapshot, user).await? else { return Ok(None) };
        let (snapshots, renewed, at_snapshot) = (snapshots.clone(), Instant::now(), at_snapshot.pack());
        Ok(Some(Self { snapshots, user, snapshot, renewed, at_snapshot, since_snapshot }))
    }

    /// The position in a room, if the stream has read it.
    pub fn position(&self, room: RoomId) -> Option<i64> {
        self.since_snapshot.0.get(&room).copied().or_else(|| self.at_snapshot.unpack().0.get(&room).copied())
    }

    /// Makes the id short enough to advance in one more room, and renews the snapshot now and then.
    pub async fn prepare(&mut self) -> Result<()> {
        let longest = Positions::MAX_INLINE_BYTES - Positions::MAX_ROOM_BYTES;
        if self.since_snapshot.encode().len() > longest {
            let positions = Positions(self.positions());
            self.snapshot = self.snapshots.insert(self.user, &positions).await?;
            (self.at_snapshot, self.since_snapshot) = (positions.pack(), Positions::default());
            self.renewed = Instant::now();
        } else if self.renewed.elapsed() > RENEWED_AFTER {
            self.snapshots.renew(self.snapshot).await?;
            self.renewed = Instant::now();
        }
        Ok(())
    }

    /// Advances in a room, after [`prepare`](Self::prepare). Returns the id of the new cursor. Does not wait, so that a
    /// check before the call still holds after it.
    pub fn advance(&mut self, room: RoomId, position: i64) -> String {
        self.since_snapshot.0.insert(room, position);
        self.id()
    }

    pub fn id(&self) -> String {
        encode(self.snapshot, &self.since_snapshot.encode())
    }

    /// The positions in all rooms.
    pub fn positions(&self) -> BTreeMap<RoomId, i64> {
        let mut positions = self.at_snapshot.unpack().0;
        positions.extend(&self.since_snapshot.0);
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

/// The form in which this service would issue the id.
#[cfg(feature = "fuzzing")]
pub fn canonical_cursor(id: &str) -> Option<String> {
    decode(id).map(|(snapshot, since)| encode(snapshot, &since.encode()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stays_below_a_kilobyte() {
        let most = BASE64_URL_SAFE_NO_PAD.encode(vec![0; Positions::MAX_INLINE_BYTES + 16]);
        assert!(most.len() < 1_024, "{}", most.len());
    }

    #[test]
    fn a_malformed_id_is_refused() {
        for id in ["", "0", "17", "not base64!", "AAAA", &"A".repeat(3_000)] {
            assert!(decode(id).is_none(), "{id}");
        }
    }
}
