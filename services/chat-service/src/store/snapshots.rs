//! Where someone stood in many rooms at once, too much for a short id.

use std::collections::BTreeMap;

use chrono::Utc;
use common::error::Result;
use common::id::{RoomId, UserId};
use common::task::run_detached;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{self, Binary, Document, doc};
use mongodb::{Collection, Database};

use super::schema::SNAPSHOTS;
use super::time;

/// A position in each of some rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(pub BTreeMap<RoomId, i64>);

/// The name of a snapshot; random, so that nobody guesses one.
pub type SnapshotId = uuid::Uuid;

impl Positions {
    /// Bytes of encoded positions that still go into an id or a cursor as they are; more of them are kept here. With what
    /// else is in it, and four characters for three bytes, it stays below 1 KB.
    pub const SHORT: usize = 700;

    /// A few bytes for each room: the distance to the room before it, and the position.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(6 * self.0.len());
        let mut before = 0;
        for (room, position) in &self.0 {
            put(&mut bytes, room.0.wrapping_sub(before).unsigned_abs());
            put(&mut bytes, position.unsigned_abs());
            before = room.0;
        }
        bytes
    }

    /// None for what [`encode`](Self::encode) does not write.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let (mut positions, mut room) = (BTreeMap::new(), 0_i64);
        while !bytes.is_empty() {
            room = room.checked_add(take(&mut bytes)?)?;
            let new = positions.insert(RoomId(room), take(&mut bytes)?).is_none();
            if room == 0 || !new {
                return None;
            }
        }
        Some(Self(positions))
    }
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take(bytes: &mut &[u8]) -> Option<i64> {
    let mut number = 0_u64;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return i64::try_from(number).ok();
        }
    }
    None
}

/// The collection `stream_snapshots`.
#[derive(Clone)]
pub struct Snapshots {
    all: Collection<Document>,
}

impl Snapshots {
    pub fn new(database: &Database) -> Self {
        Self { all: database.collection(SNAPSHOTS) }
    }

    /// Keeps positions of someone.
    pub async fn take(&self, user: UserId, positions: &Positions) -> Result<SnapshotId> {
        let id = SnapshotId::new_v4();
        let bytes = Binary { subtype: BinarySubtype::Generic, bytes: positions.encode() };
        let at = time::to_bson(Utc::now());
        let new = doc! {"_id": named(id), "user_id": user.0, "positions": bytes, "at": at};
        let all = self.all.clone();
        run_detached(async move { all.insert_one(new).await }).await?;
        Ok(id)
    }

    /// The positions that were kept of someone, if they still are; they are kept for longer from now on.
    pub async fn open(&self, id: SnapshotId, user: UserId) -> Result<Option<Positions>> {
        let theirs = doc! {"_id": named(id), "user_id": user.0};
        let found = self.all.find_one_and_update(theirs, touched()).await?;
        Ok(found.and_then(|found| Positions::decode(found.get_binary_generic("positions").ok()?)))
    }

    /// Keeps it for longer.
    pub async fn touch(&self, id: SnapshotId) -> Result<()> {
        let all = self.all.clone();
        run_detached(async move { all.update_one(doc! {"_id": named(id)}, touched()).await }).await?;
        Ok(())
    }
}

fn named(id: SnapshotId) -> bson::Uuid {
    bson::Uuid::from_bytes(id.into_bytes())
}

fn touched() -> Document {
    doc! {"$set": {"at": time::to_bson(Utc::now())}}
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn positions_survive_their_encoding(rooms in prop::collection::btree_map(1..i64::MAX, 0..i64::MAX, 0..40)) {
            let positions = Positions(rooms.into_iter().map(|(room, at)| (RoomId(room), at)).collect());
            prop_assert_eq!(Positions::decode(&positions.encode()), Some(positions));
        }

        #[test]
        fn nothing_that_a_client_makes_up_is_a_fault(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Positions::decode(&bytes);
        }
    }

    #[test]
    fn a_room_takes_a_few_bytes() {
        let positions = (1..=100).map(|room| (RoomId(1_000_000 + 50 * room), 5_000)).collect();
        assert!(Positions(positions).encode().len() < 320);
    }
}
