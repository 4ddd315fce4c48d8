//! The retention of histories: messages older than a number of days go, with their entries in the rooms' logs.

use std::collections::BTreeSet;
use std::time::Duration;

use bson::oid::ObjectId;
use bson::serde_helpers::datetime::FromChrono04DateTime;
use bson::{Bson, Document, doc};
use chrono::{DateTime, Utc};
use common::id::RoomId;
use engines::error::Result;
use engines::mongo;
use futures_util::TryStreamExt;
use mongodb::options::IndexOptions;
use mongodb::{Collection, Database, IndexModel};
use platform::task::every;
use serde::Deserialize;
use serde_with::serde_as;
use tokio_util::sync::CancellationToken;

use super::clock::StoreClock;
use super::legacy_backfill::LegacyBackfill;
use super::schema::{HEADS, LOG, MESSAGES, REACTIONS, READ_STATUS, UPLOADS};
use super::uploads::{discard, sent_in};

/// Interval at which old messages are looked for.
const INTERVAL: Duration = Duration::from_secs(10);

/// Messages that one transaction removes, in well under a second.
const CHUNK: i64 = 500;

/// Removes what is older than the retention.
pub struct Retention {
    database: Database,
    messages: Collection<Document>,
    backfill: LegacyBackfill,
    clock: StoreClock,
    period: Duration,
}

#[serde_as]
#[derive(Deserialize)]
struct OldMessage {
    #[serde(rename = "_id")]
    id: ObjectId,
    seq: i64,
    #[serde_as(as = "FromChrono04DateTime")]
    created_at: DateTime<Utc>,
}

impl Retention {
    pub fn new(database: &Database, backfill: LegacyBackfill, clock: StoreClock, period: Duration) -> Self {
        let messages = database.collection_with_options(MESSAGES, mongo::majority_reads());
        Self { database: database.clone(), messages, backfill, clock, period }
    }

    /// Removes old messages until the shutdown. Replicas that remove the same ones conflict, and one of them does it.
    pub async fn run(mut self, stopping: CancellationToken) {
        every(INTERVAL, "retention", &stopping, &mut self, async |retention| retention.remove_old().await).await;
    }

    async fn remove_old(&self) -> Result<()> {
        // Finds the oldest messages of all rooms. Without a retention no query needs it.
        let name = IndexOptions::builder().name("age".to_owned()).build();
        let index = IndexModel::builder().keys(doc! {"created_at": 1}).options(name).build();
        self.messages.create_index(index).await?;
        loop {
            let before = self.clock.now() - self.period;
            let rooms = self.rooms_with_old(before).await?;
            // Messages of the original have no positions until then.
            self.backfill.ensure(&rooms).await?;
            let mut removed = 0;
            for room in rooms {
                removed += self.remove_from(room, before).await?;
            }
            if removed == 0 {
                return Ok(());
            }
            tracing::info!(messages = removed, "removed messages that are older than the retention");
        }
    }

    /// The rooms of the oldest messages.
    async fn rooms_with_old(&self, before: DateTime<Utc>) -> Result<Vec<RoomId>> {
        #[derive(Deserialize)]
        struct InRoom {
            room_id: RoomId,
        }
        let old = self.messages.clone_with_type::<InRoom>();
        let old = old
            .find(doc! {"created_at": {"$lt": bson::DateTime::from_chrono(before)}})
            .sort(doc! {"created_at": 1})
            .limit(CHUNK)
            .projection(doc! {"room_id": 1})
            .await?;
        let rooms: BTreeSet<RoomId> = old.map_ok(|message| message.room_id).try_collect().await?;
        Ok(rooms.into_iter().collect())
    }

    /// Removes a chunk of the old messages of a room: the first ones of its log. Returns their number.
    async fn remove_from(&self, room: RoomId, before: DateTime<Utc>) -> Result<usize> {
        let first = self
            .messages
            .clone_with_type::<OldMessage>()
            .find(doc! {"room_id": room.0, "seq": {"$gt": 0}})
            .sort(doc! {"seq": 1})
            .limit(CHUNK)
            .projection(doc! {"seq": 1, "created_at": 1})
            .await?;
        let first: Vec<OldMessage> = first.try_collect().await?;
        let old: Vec<OldMessage> = first.into_iter().take_while(|message| message.created_at < before).collect();
        match old.last() {
            Some(last) => self.remove(room, &old, last.seq).await?,
            None => return Ok(0),
        }
        Ok(old.len())
    }

    async fn remove(&self, room: RoomId, old: &[OldMessage], last: i64) -> mongodb::error::Result<()> {
        let ids: Vec<ObjectId> = old.iter().map(|message| message.id).collect();
        let hex: Vec<String> = ids.iter().map(|id| id.to_hex()).collect();
        let collection = |name| self.database.collection::<Document>(name);
        let mut session = mongo::begin(&self.database, None).await?;

        let head = doc! {"$inc": {"messages": -(ids.len() as i64)}, "$max": {"removed": last}};
        collection(HEADS).update_one(doc! {"_id": room.0}, head).session(&mut session).await?;
        // As the transaction sees them: a message may have been deleted since it was found.
        let deleted = doc! {"_id": {"$in": &ids}, "is_deleted": true};
        let deleted = collection(MESSAGES).count_documents(deleted).session(&mut session).await? as i64;
        let head = doc! {"$inc": {"deleted": -deleted}};
        collection(HEADS).update_one(doc! {"_id": room.0}, head).session(&mut session).await?;
        let shown = doc! {"_id": room.0, "last.id": {"$in": &ids}};
        collection(HEADS).update_one(shown, doc! {"$set": {"last": Bson::Null}}).session(&mut session).await?;
        let removed = collection(MESSAGES).delete_many(doc! {"_id": {"$in": &ids}}).session(&mut session).await?;
        if removed.deleted_count != ids.len() as u64 {
            return Err(mongodb::error::Error::custom("another replica removes the same messages"));
        }
        collection(UPLOADS).update_many(sent_in(&ids), discard()).session(&mut session).await?;
        // An event that Kafka has not acknowledged stays until it is published.
        let (from, to) = (doc! {"room": room.0, "at": 0_i64}, doc! {"room": room.0, "at": last});
        let entries = doc! {"_id": {"$gte": from, "$lte": to}, "pending": {"$exists": false}};
        collection(LOG).delete_many(entries).session(&mut session).await?;
        collection(READ_STATUS).delete_many(doc! {"message_id": {"$in": hex}}).session(&mut session).await?;
        // `_id` begins with the message: a range over it is the reactions to one message.
        let of_message =
            |id: &ObjectId| doc! {"_id": {"$gte": {"message": id}, "$lt": {"message": id, "emoji": Bson::MaxKey}}};
        let reactions: Vec<Document> = ids.iter().map(of_message).collect();
        collection(REACTIONS).delete_many(doc! {"$or": reactions}).session(&mut session).await?;
        mongo::commit(&mut session).await
    }
}
