//! Import of the reads that the original stored.

use std::collections::{BTreeSet, HashMap};

use bson::oid::ObjectId;
use bson::{Bson, Document, doc};
use common::id::{RoomId, UserId};
use engines::error::Result;
use engines::mongo;
use futures_util::TryStreamExt;
use mongodb::action::Find;
use mongodb::options::Hint;
use mongodb::{Collection, Database};

use super::legacy::{MARKED, PAGE, integer};
use super::legacy_marks::Unmarked;
use super::read_markers::ReadMarkers;
use super::schema::{HEADS, MESSAGES, READ_STATUS, READS_OWED};

const INDEX: &str = "unmarked_reads";

/// The original's collection `message_read_status`.
#[derive(Clone)]
pub(super) struct LegacyReads {
    messages: Collection<Document>,
    heads: Collection<Document>,
    rows: Collection<Document>,
    markers: ReadMarkers,
}

impl LegacyReads {
    pub fn new(database: &Database) -> Self {
        let majority = mongo::majority_reads();
        let collection = |name| database.collection_with_options(name, majority.clone());
        Self {
            messages: collection(MESSAGES),
            heads: collection(HEADS),
            rows: collection(READ_STATUS),
            markers: ReadMarkers::new(database),
        }
    }

    /// Creates the index of the reads to follow.
    pub async fn prepare(&self) -> Result<Unmarked> {
        Unmarked::since_takeover(&self.rows, INDEX, MARKED).await
    }

    /// The rooms with reads to follow.
    pub async fn rooms(&self, unmarked: &Unmarked) -> Result<BTreeSet<RoomId>> {
        unmarked.rooms(&self.rows).await
    }

    /// Marks messages as read that readers of the original have read, if the room's head owes it.
    pub async fn import(&self, room: RoomId) -> Result<()> {
        let owed = doc! {"_id": room.0, READS_OWED: {"$exists": true}};
        let Some(head) = self.heads.find_one(owed).projection(doc! {READS_OWED: 1}).await? else { return Ok(()) };
        self.import_rows(room, self.rows.find(doc! {"room_id": room.0, MARKED: {"$ne": true}})).await?;
        // If messages were numbered meanwhile, their transaction has stored another value, and the reads stay owed.
        self.heads.update_one(head, doc! {"$unset": {READS_OWED: ""}}).await?;
        Ok(())
    }

    /// Marks messages as read that readers of the original have read since the takeover.
    pub async fn follow(&self, room: RoomId, unmarked: &Unmarked) -> Result<()> {
        let mut filter = unmarked.filter.clone();
        filter.insert("room_id", room.0);
        self.import_rows(room, self.rows.find(filter).hint(Hint::Name(unmarked.name.to_owned()))).await
    }

    async fn import_rows(&self, room: RoomId, rows: Find<'_, Document>) -> Result<()> {
        let rows = rows.projection(doc! {"message_id": 1, "user_id": 1}).batch_size(PAGE as u32).await?;
        let mut pages = rows.try_chunks(PAGE);
        while let Some(page) = pages.try_next().await.map_err(|e| e.1)? {
            self.import_page(room, &page).await?;
        }
        Ok(())
    }

    async fn import_page(&self, room: RoomId, rows: &[Document]) -> Result<()> {
        let ids: Vec<ObjectId> = rows.iter().filter_map(read_message).collect();
        let in_room = doc! {"_id": {"$in": ids}, "room_id": room.0, "seq": {"$gt": 0}};
        let found: Vec<Document> = self.messages.find(in_room).projection(doc! {"seq": 1}).await?.try_collect().await?;
        let positions: HashMap<ObjectId, i64> = found
            .iter()
            .filter_map(|message| Some((message.get_object_id("_id").ok()?, integer(message.get("seq")?)?)))
            .collect();
        let mut by_reader: HashMap<i64, Vec<i64>> = HashMap::new();
        for row in rows {
            let position = read_message(row).and_then(|id| positions.get(&id));
            if let (Some(position), Some(reader)) = (position, row.get("user_id").and_then(integer)) {
                by_reader.entry(reader).or_default().push(*position);
            }
        }
        for (reader, read) in by_reader {
            self.markers.import(room, UserId(reader), &read).await?;
        }
        let is_numbered = |row: &&Document| read_message(row).is_some_and(|id| positions.contains_key(&id));
        let (imported, others): (Vec<&Document>, Vec<&Document>) = rows.iter().partition(is_numbered);
        self.mark(&imported, true).await?;
        self.mark(&others, false).await
    }

    async fn mark(&self, rows: &[&Document], marked: bool) -> Result<()> {
        let ids: Vec<&Bson> = rows.iter().filter_map(|row| row.get("_id")).collect();
        if !ids.is_empty() {
            self.rows.update_many(doc! {"_id": {"$in": ids}}, doc! {"$set": {MARKED: marked}}).await?;
        }
        Ok(())
    }
}

fn read_message(row: &Document) -> Option<ObjectId> {
    ObjectId::parse_str(row.get_str("message_id").ok()?).ok()
}
