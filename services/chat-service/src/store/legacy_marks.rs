//! Indexes of the documents that an original wrote after the takeover.
//!
//! This service stores a mark in each document that it writes or follows: a position in a message, and a field in the row of a
//! read and in a deleted message. A partial index contains the documents that lack the mark. At rest it is empty, so a look at
//! it costs the same however many rooms, messages and reads there are.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use bson::oid::ObjectId;
use bson::{Document, doc};
use common::id::RoomId;
use engines::error::Result;
use futures_util::TryStreamExt;
use mongodb::options::{Hint, IndexOptions};
use mongodb::{Collection, IndexModel};

use super::legacy::integer;

/// How far the clock that an original takes its ids from may be behind at the takeover.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(10 * 60);

/// Limit on the documents of one look. The next look finds the others.
const LIMIT: i64 = 10_000;

/// An index of the documents of a collection that lack a mark.
pub(super) struct Unmarked {
    pub name: &'static str,
    /// The documents that the index contains.
    pub filter: Document,
}

impl Unmarked {
    /// The documents without `mark` since the takeover. The documents before it belong to the backfill, which finds them when
    /// their room is first used. The first replica chooses the id at which they end, and the index keeps it.
    ///
    /// # Errors
    /// Returns an error if the index can be neither created nor read.
    pub async fn since_takeover(collection: &Collection<Document>, name: &'static str, mark: &str) -> Result<Self> {
        let filter = doc! {"_id": {"$gt": takeover_id()}, mark: null};
        match create(collection, name, doc! {"room_id": 1}, filter.clone()).await {
            Ok(()) => Ok(Self { name, filter }),
            // Another replica, or an earlier start, has created it with its own id.
            Err(e) => match stored_filter(collection, name).await? {
                Some(filter) => Ok(Self { name, filter }),
                None => Err(e.into()),
            },
        }
    }

    /// The rooms of the documents, without those of the limit's excess.
    pub async fn rooms(&self, collection: &Collection<Document>) -> Result<BTreeSet<RoomId>> {
        let found = collection
            .find(self.filter.clone())
            .hint(Hint::Name(self.name.to_owned()))
            .projection(doc! {"_id": 0, "room_id": 1})
            .limit(LIMIT)
            .await?;
        let rooms: Vec<Document> = found.try_collect().await?;
        Ok(rooms.iter().filter_map(|found| integer(found.get("room_id")?)).map(RoomId).collect())
    }
}

pub(super) async fn create(
    collection: &Collection<Document>,
    name: &str,
    keys: Document,
    filter: Document,
) -> mongodb::error::Result<()> {
    let options = IndexOptions::builder().name(name.to_owned()).partial_filter_expression(filter).build();
    collection.create_index(IndexModel::builder().keys(keys).options(options).build()).await.map(|_| ())
}

async fn stored_filter(collection: &Collection<Document>, name: &str) -> Result<Option<Document>> {
    let indexes: Vec<IndexModel> = collection.list_indexes().await?.try_collect().await?;
    let options = indexes.into_iter().filter_map(|index| index.options);
    let mut named = options.filter(|options| options.name.as_deref() == Some(name));
    Ok(named.next().and_then(|options| options.partial_filter_expression))
}

/// A time before those of all changes that are made from now on.
pub(super) fn takeover() -> bson::DateTime {
    bson::DateTime::from_system_time(SystemTime::now() - CLOCK_TOLERANCE)
}

/// An id before those of all documents that are written from now on.
fn takeover_id() -> ObjectId {
    let seconds = takeover().timestamp_millis() / 1_000;
    ObjectId::from_parts(u32::try_from(seconds).unwrap_or(u32::MAX), [0; 5], [0; 3])
}
