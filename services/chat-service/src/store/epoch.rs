//! The epoch of the store. Positions are assigned a second time after a restore, so the ids of events name the epoch in which
//! their position was assigned.

use std::fmt::{self, Display};

use bson::doc;
use engines::error::Result;
use mongodb::options::{Acknowledgment, CollectionOptions, ReadConcern, ReturnDocument, WriteConcern};
use mongodb::{Collection, Database};
use serde::{Deserialize, Serialize};

use super::schema::EPOCH;

/// The `_id` of the only document.
const STORE: &str = "store";

/// The beats of all replicas that one of them may have missed before a restore.
const MARGIN: i64 = 1_000;

/// Names the time between two restores of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch(u32);

impl Epoch {
    /// The id of an event at a position or a cursor.
    pub fn id(self, at: impl Display) -> String {
        format!("{at}.{self}")
    }

    /// The position or cursor in an id; `None` if the id is of another epoch. Ids of earlier releases name no epoch.
    pub fn of_id(self, id: &str) -> Option<&str> {
        match id.rsplit_once('.') {
            Some((at, epoch)) => (epoch == self.to_string()).then_some(at),
            None => Some(id),
        }
    }
}

impl Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The state of the store at a beat.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Beat {
    pub epoch: Epoch,
    /// The number of the beat. It only grows, unless the store is replaced by an older state of itself.
    #[serde(rename = "beats")]
    pub number: i64,
    /// The epoch was begun because the store was older, and the positions in MySQL that it lacks are not forgotten yet.
    #[serde(default)]
    pub positions_owed: bool,
}

/// The collection `store_epoch`, with one document.
#[derive(Clone)]
pub struct EpochStore {
    all: Collection<Beat>,
}

impl EpochStore {
    pub fn new(database: &Database) -> Self {
        let majority = WriteConcern::builder().w(Acknowledgment::Majority).build();
        let options =
            CollectionOptions::builder().read_concern(ReadConcern::majority()).write_concern(majority).build();
        Self { all: database.collection_with_options(EPOCH, options) }
    }

    /// The current epoch; `None` before the first beat.
    pub async fn current(&self) -> Result<Option<Epoch>> {
        Ok(self.all.find_one(doc! {"_id": STORE}).await?.map(|beat| beat.epoch))
    }

    /// Counts a beat. The first one begins an epoch.
    pub async fn beat(&self) -> Result<Beat> {
        let update = doc! {"$inc": {"beats": 1_i64}, "$setOnInsert": {"epoch": random()}};
        let beat = self.all.find_one_and_update(doc! {"_id": STORE}, update).upsert(true);
        let beat = beat.return_document(ReturnDocument::After).await?;
        Ok(beat.ok_or_else(|| common::error::Error::internal("an upsert returned no document"))?)
    }

    /// Begins an epoch, unless another replica has begun one since `found`. Its beats follow the last one before the restore, also
    /// that of replicas whose last beat is later than `last`.
    pub async fn replace(&self, found: Beat, last: i64) -> Result<()> {
        let unchanged = doc! {"_id": STORE, "epoch": i64::from(found.epoch.0)};
        let begin = doc! {"$set": {"epoch": random(), "beats": last + MARGIN, "positions_owed": true}};
        self.all.update_one(unchanged, begin).await?;
        Ok(())
    }

    /// Notes that the positions that the store lacked when `epoch` began are forgotten.
    pub async fn set_positions_forgotten(&self, epoch: Epoch) -> Result<()> {
        let of_epoch = doc! {"_id": STORE, "epoch": i64::from(epoch.0)};
        self.all.update_one(of_epoch, doc! {"$unset": {"positions_owed": ""}}).await?;
        Ok(())
    }

    /// Begins an epoch. Every id that was issued before is answered by `resync` from now on.
    pub async fn begin(&self) -> Result<Epoch> {
        let begin = doc! {"$set": {"epoch": random()}, "$inc": {"beats": 1_i64}};
        self.all.update_one(doc! {"_id": STORE}, begin).upsert(true).await?;
        let begun = self.current().await?;
        Ok(begun.ok_or_else(|| common::error::Error::internal("an upsert stored no document"))?)
    }
}

/// A new epoch, in its stored form.
fn random() -> i64 {
    i64::from(rand::random::<u32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_in_its_own_epoch_only() {
        let (epoch, other) = (Epoch(0xbeef), Epoch(0xbee));
        assert_eq!(epoch.id(17), "17.0000beef");
        assert_eq!([epoch, other].map(|e| e.of_id("17.0000beef").map(str::to_owned)), [Some("17".to_owned()), None]);
        assert_eq!(epoch.of_id("17"), Some("17"), "clients of earlier releases have bare positions");
        assert_eq!(["17.", "17.beef", "17.0000beef.", "."].map(|id| epoch.of_id(id)), [None; 4]);
    }
}
