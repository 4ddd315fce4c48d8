//! Which uploads and messages have objects in the object store, read in ranges for an account of all.

use std::collections::{BTreeSet, HashSet};

use bson::oid::ObjectId;
use bson::{Document, doc};
use engines::error::Result;
use engines::mongo::majority_reads;
use futures_util::{Stream, StreamExt, TryStreamExt};
use mongodb::{Collection, Database};
use serde::Deserialize;

use super::schema::{MESSAGES, UPLOADS};

/// Documents of one answer of the server. The reader may look at an object for each of them, and the server forgets a cursor that was
/// not used for ten minutes.
const BATCH: u32 = 500;

/// The collections `uploads` and `messages`.
pub struct FileOwners {
    uploads: Collection<Document>,
    messages: Collection<Document>,
}

#[derive(Deserialize)]
struct Id {
    #[serde(rename = "_id")]
    id: ObjectId,
}

#[derive(Deserialize)]
struct OfMessage {
    message: ObjectId,
}

#[derive(Deserialize)]
struct Copies {
    copies: Vec<ObjectId>,
}

impl FileOwners {
    pub fn new(database: &Database) -> Self {
        let [uploads, messages] =
            [UPLOADS, MESSAGES].map(|name| database.collection_with_options(name, majority_reads()));
        Self { uploads, messages }
    }

    /// Those of these messages that have a file, or for which an upload was copied.
    pub async fn of_messages(&self, ids: &BTreeSet<ObjectId>) -> Result<HashSet<ObjectId>> {
        let among = doc! {"$in": ids.iter().collect::<Vec<_>>()};
        let of_uploads = self.uploads.clone_with_type::<OfMessage>();
        let found = of_uploads.find(doc! {"message": &among}).projection(doc! {"message": 1}).await?;
        let mut owners: HashSet<ObjectId> = found.map_ok(|upload| upload.message).try_collect().await?;
        let kept = doc! {"_id": &among, "upload_id": {"$exists": true}, "is_deleted": {"$ne": true}};
        let found = self.messages.clone_with_type::<Id>().find(kept).projection(doc! {"_id": 1}).await?;
        owners.extend(found.map_ok(|message| message.id).try_collect::<Vec<_>>().await?);
        // Only uploads that the sweep has to look at have copies, and they have an index.
        let copied = doc! {"due": {"$exists": true}, "copies": &among};
        let found = self.uploads.clone_with_type::<Copies>().find(copied).projection(doc! {"copies": 1}).await?;
        let copies: Vec<Copies> = found.try_collect().await?;
        owners.extend(copies.into_iter().flat_map(|upload| upload.copies));
        Ok(owners)
    }

    /// Those of these uploads that exist.
    pub async fn of_uploads(&self, ids: &BTreeSet<ObjectId>) -> Result<HashSet<ObjectId>> {
        let among = doc! {"_id": {"$in": ids.iter().collect::<Vec<_>>()}};
        let found = self.uploads.clone_with_type::<Id>().find(among).projection(doc! {"_id": 1}).await?;
        Ok(found.map_ok(|upload| upload.id).try_collect().await?)
    }

    /// The messages after and up to an id that have a file, in the order of their ids.
    pub async fn messages_with_files(
        &self,
        after: Option<ObjectId>,
        up_to: Option<ObjectId>,
    ) -> Result<impl Stream<Item = Result<ObjectId>>> {
        let sent = doc! {"state": "sent", "message": range(after, up_to)};
        let of_messages = self.uploads.clone_with_type::<OfMessage>();
        let found = of_messages.find(sent).sort(doc! {"message": 1});
        let found = found.projection(doc! {"message": 1}).batch_size(BATCH).await?;
        Ok(found.map(|upload| Ok(upload?.message)))
    }

    /// Whether a message has a file.
    pub async fn has_file(&self, message: ObjectId) -> Result<bool> {
        Ok(self.uploads.find_one(doc! {"message": message, "state": "sent"}).await?.is_some())
    }

    /// The uploads after and up to an id that are not sent, in the order of their ids.
    pub async fn pending_uploads(
        &self,
        after: Option<ObjectId>,
        up_to: Option<ObjectId>,
    ) -> Result<impl Stream<Item = Result<ObjectId>>> {
        let pending = doc! {"state": "pending", "_id": range(after, up_to)};
        let ids = self.uploads.clone_with_type::<Id>();
        let found = ids.find(pending).sort(doc! {"_id": 1});
        let found = found.projection(doc! {"_id": 1}).batch_size(BATCH).await?;
        Ok(found.map(|upload| Ok(upload?.id)))
    }
}

/// Matches ids after one, by default from the first, and up to another, by default to the last.
fn range(after: Option<ObjectId>, up_to: Option<ObjectId>) -> Document {
    let mut range = doc! {"$gt": after.unwrap_or(ObjectId::from_bytes([0; 12]))};
    if let Some(up_to) = up_to {
        range.insert("$lte", up_to);
    }
    range
}
