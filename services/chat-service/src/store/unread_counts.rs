//! Counts of unread messages.
//!
//! A count follows from the room's head and the reader's marker, which every request reads. A replica remembers counts together
//! with the state that they follow from, and counts again only where that state is another. The messages are counted in a
//! session after the head, so that a count that is remembered is never older than the head that it is remembered with.

use std::collections::HashMap;

use bson::{Document, doc};
use common::id::{RoomId, UserId};
use engines::error::Result;
use engines::mongo::Reads;
use futures_util::TryStreamExt;
use moka::future::Cache;
use mongodb::Database;
use serde::Deserialize;

use super::log::{Head, HeadState, Heads};
use super::read_markers::ReadMarkers;
use super::schema::MESSAGES;
use super::unread::{UNREAD_CAP, sender, unread};
use crate::domain::{ReadMarker, Room};

/// Capacity of the cache in ranges of markers, a count weighing as much as 16 of them: about 12 MB.
const CACHE_CAPACITY: u64 = 800_000;
const COUNT_WEIGHT: usize = 16;

/// A handle on the counts that this replica remembers.
#[derive(Clone)]
pub struct UnreadCounts {
    markers: ReadMarkers,
    messages: Reads<Document>,
    known: Cache<(UserId, RoomId), (Basis, i64)>,
}

/// The state from which a count follows.
#[derive(Clone, PartialEq)]
struct Basis {
    head: HeadState,
    marker: ReadMarker,
}

#[derive(Deserialize)]
struct Counted {
    room: RoomId,
    unread: i64,
}

impl UnreadCounts {
    pub fn new(database: &Database, markers: ReadMarkers) -> Self {
        let weigher = |_: &(UserId, RoomId), (basis, _): &(Basis, i64)| {
            u32::try_from(COUNT_WEIGHT + basis.marker.ranges().len()).unwrap_or(u32::MAX)
        };
        let known = Cache::builder().max_capacity(CACHE_CAPACITY).weigher(weigher).build();
        Self { markers, messages: Reads::new(database, MESSAGES), known }
    }

    /// The numbers of messages of others that a reader has not read in many rooms, at most [`UNREAD_CAP`] each. Rooms without
    /// any are left out. Takes at most two round trips.
    pub async fn of<'a>(
        &self,
        reader: UserId,
        rooms: impl IntoIterator<Item = &'a Room>,
        heads: &Heads,
    ) -> Result<HashMap<RoomId, i64>> {
        // Rooms without messages have no unread ones.
        let rooms: Vec<(&Room, &Head)> =
            rooms.into_iter().filter_map(|room| heads.of.get(&room.id).map(|head| (room, head))).collect();
        let ids: Vec<RoomId> = rooms.iter().map(|(room, _)| room.id).collect();
        let mut markers = self.markers.of(reader, &ids).await?;
        let (mut counts, mut unknown) = (HashMap::new(), Vec::new());
        for (room, head) in rooms {
            let basis = Basis { head: head.state(), marker: markers.remove(&room.id).unwrap_or_default() };
            if basis.marker.leaves_none_unread(head.position) {
                continue;
            }
            match self.known.get(&(reader, room.id)).await {
                Some((known, count)) if known == basis => _ = counts.insert(room.id, count),
                _ => unknown.push((room, basis)),
            }
        }
        let counted = self.count(reader, &unknown, heads).await?;
        for (room, basis) in unknown {
            let count = counted.get(&room.id).copied().unwrap_or(0);
            self.known.insert((reader, room.id), (basis, count)).await;
            counts.insert(room.id, count);
        }
        counts.retain(|_, count| *count > 0);
        Ok(counts)
    }

    /// Forgets all counts: another state of the store may have the same heads.
    pub fn forget(&self) {
        self.known.invalidate_all();
    }

    /// Counts in one round trip; without rooms, in none.
    async fn count(&self, reader: UserId, rooms: &[(&Room, Basis)], heads: &Heads) -> Result<HashMap<RoomId, i64>> {
        let mut counts = rooms.iter().map(|(room, basis)| count(room, reader, &basis.marker));
        let Some(mut pipeline) = counts.next() else { return Ok(HashMap::new()) };
        pipeline.extend(counts.map(|count| doc! {"$unionWith": {"coll": MESSAGES, "pipeline": count}}));
        let mut session = heads.session().await?;
        let mut counts = self.messages.aggregate(pipeline).with_type::<Counted>().session(&mut session).await?;
        Ok(counts.stream(&mut session).map_ok(|counted| (counted.room, counted.unread)).try_collect().await?)
    }
}

/// Counts at most [`UNREAD_CAP`] unread messages. The cost does not depend on the marker's position.
fn count(room: &Room, reader: UserId, marker: &ReadMarker) -> Vec<Document> {
    vec![
        doc! {"$match": unread(room.id, Some(sender(room, reader)), &marker.gaps())},
        doc! {"$limit": UNREAD_CAP},
        doc! {"$count": "unread"},
        doc! {"$set": {"room": room.id.0, "unread": {"$toLong": "$unread"}}},
    ]
}
