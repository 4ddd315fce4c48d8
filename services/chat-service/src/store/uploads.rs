//! Uploads, and the bytes that each user's uploads take.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bson::oid::ObjectId;
use bson::{Bson, Document, doc};
use chrono::{DateTime, Utc};
use common::error::Error;
use common::id::UserId;
use engines::error::Result;
use engines::mongo::{self, describe};
use futures_util::TryStreamExt;
use mongodb::options::{Acknowledgment, CollectionOptions, ReadConcern, ReturnDocument, WriteConcern};
use mongodb::{ClientSession, Collection, Database};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::schema::{BUCKET_MARK, UPLOAD_QUOTAS, UPLOADS};
use crate::domain::{FileState, MAX_COPIES, Message, MessageType, Upload};

type Mongo<T> = mongodb::error::Result<T>;

/// A transaction that conflicts with others of the same user is tried for so long. One takes about 10 ms, so hundreds of uploads
/// that a user asks for at once are stored one after the other.
const DEADLINE: Duration = Duration::from_secs(5);

/// The turns of all users.
const TURNS: usize = 64;

/// The shortest pause between two tries in milliseconds. The longest grows by [`PAUSE_GROWTH_MILLIS`] with each of the first
/// [`PAUSE_GROWTHS`] tries.
const MIN_PAUSE_MILLIS: u64 = 2;
const PAUSE_GROWTH_MILLIS: u64 = 20;
const PAUSE_GROWTHS: u64 = 10;

/// The collections `uploads` and `upload_quotas`.
#[derive(Clone)]
pub struct Uploads {
    database: Database,
    /// Transactions of one user conflict at their quota, so those of this replica take place one after the other: users share the turns.
    turns: Arc<[Mutex<()>; TURNS]>,
    all: Collection<Upload>,
    quotas: Collection<Quota>,
    marks: Collection<Mark>,
}

/// Distinguishes this database from those of other deployments.
#[derive(Deserialize)]
struct Mark {
    mark: ObjectId,
}

/// The bytes of all uploads of a user that are not removed.
#[derive(Deserialize)]
struct Quota {
    bytes: i64,
}

/// A change of an upload that takes place in one transaction with that of its owner's bytes.
enum Change<'a> {
    Insert(&'a Upload),
    /// The objects are removed. The second is the time at which the sweep looks for objects that were stored again.
    Remove(&'a Upload, DateTime<Utc>),
    /// The file is checked. From now on, the thumbnails count, too.
    EndCheck(&'a Upload),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Changed,
    ChangedBefore,
    OverLimit,
}

impl Uploads {
    pub fn new(database: &Database) -> Self {
        let majority = WriteConcern::builder().w(Acknowledgment::Majority).build();
        let options =
            CollectionOptions::builder().read_concern(ReadConcern::majority()).write_concern(majority).build();
        Self {
            database: database.clone(),
            turns: Arc::new(std::array::from_fn(|_| Mutex::new(()))),
            all: database.collection_with_options(UPLOADS, options.clone()),
            quotas: database.collection_with_options(UPLOAD_QUOTAS, options.clone()),
            marks: database.collection_with_options(BUCKET_MARK, options),
        }
    }

    /// The mark of this database, which stays the same.
    pub async fn mark(&self) -> Result<ObjectId> {
        let first = doc! {"$setOnInsert": {"mark": ObjectId::new()}};
        let mark = self.marks.find_one_and_update(doc! {"_id": 1}, first).upsert(true);
        let mark = mark.return_document(ReturnDocument::After).await?;
        Ok(mark.ok_or_else(|| Error::unavailable("mongodb", "the mark of the database is not stored"))?.mark)
    }

    /// Stores a new upload. Returns false if its owner would have more than `quota` bytes.
    ///
    /// # Errors
    /// Returns an unavailable error if MongoDB does not answer.
    pub async fn create(&self, upload: &Upload, quota: i64) -> Result<bool> {
        self.change(upload.owner, quota, &Change::Insert(upload)).await
    }

    pub async fn get(&self, id: ObjectId) -> Result<Option<Upload>> {
        Ok(self.all.find_one(doc! {"_id": id}).max_time(mongo::READ_LIMIT).await?)
    }

    /// Notes the name that the object store gave an object that is stored in parts.
    pub async fn note_multipart(&self, id: ObjectId, multipart: &str) -> Result<()> {
        self.all.update_one(doc! {"_id": id}, doc! {"$set": {"multipart": multipart}}).await?;
        Ok(())
    }

    /// Notes that the object of a pending upload is about to be copied for a message, so that the sweep finds the copy. Once a replica
    /// with a scanner has noted one, the file has to be scanned whichever copy is sent. Returns false if the upload is not pending, or
    /// was copied too often.
    pub async fn note_copy(&self, id: ObjectId, message: ObjectId, is_scanned: bool) -> Result<bool> {
        let last = format!("copies.{}", MAX_COPIES - 1);
        let pending = doc! {"_id": id, "state": "pending", last: {"$exists": false}};
        let mut copied = doc! {"$push": {"copies": message}};
        if is_scanned {
            copied.insert("$set", doc! {"scan": true});
        }
        Ok(self.all.update_one(pending, copied).await?.matched_count == 1)
    }

    /// Notes that the copy for a message that is not stored is removed.
    pub async fn note_withdrawn(&self, id: ObjectId, message: ObjectId) -> Result<()> {
        let not_stored = doc! {"_id": id, "message": {"$ne": message}};
        self.all.update_one(not_stored, doc! {"$pull": {"copies": message}}).await?;
        Ok(())
    }

    /// The uploads at which the sweep has to look at this time, at most `limit`.
    pub async fn due(&self, now: DateTime<Utc>, limit: i64) -> Result<Vec<Upload>> {
        let due = self.all.find(doc! {"due": {"$lte": bson::DateTime::from_chrono(now)}}).sort(doc! {"due": 1});
        Ok(due.limit(limit).await?.try_collect().await?)
    }

    /// Discards an upload that was not sent. Returns false if it was sent meanwhile.
    pub async fn discard_pending(&self, upload: &Upload) -> Result<bool> {
        let pending = doc! {"_id": upload.id, "state": "pending"};
        Ok(self.all.update_one(pending, discard()).await?.matched_count == 1)
    }

    /// Notes that the object of a sent upload has no copies but the message's.
    pub async fn note_tidy(&self, upload: &Upload) -> Result<()> {
        let sent = doc! {"_id": upload.id, "state": "sent"};
        self.all.update_one(sent, doc! {"$unset": {"due": "", "copies": ""}}).await?;
        Ok(())
    }

    /// Gives the bytes of a discarded upload back to its owner, after its objects were removed. The sweep looks for objects that
    /// were stored again after `settled_at`.
    pub async fn note_removed(&self, upload: &Upload, settled_at: DateTime<Utc>) -> Result<()> {
        self.change(upload.owner, i64::MAX, &Change::Remove(upload, settled_at)).await?;
        Ok(())
    }

    /// Deletes an upload whose bytes no longer count.
    pub async fn delete_removed(&self, upload: &Upload) -> Result<()> {
        self.all.delete_one(doc! {"_id": upload.id, "state": "removed"}).await?;
        Ok(())
    }

    /// Lets the sweep look at an upload later, unless another replica has dealt with it since it was read.
    pub async fn postpone(&self, upload: &Upload, until: DateTime<Utc>) -> Result<()> {
        let Some(due) = upload.due else { return Ok(()) };
        let as_read = doc! {"_id": upload.id, "due": bson::DateTime::from_chrono(due)};
        let later = doc! {"$set": {"due": bson::DateTime::from_chrono(until)}};
        self.all.update_one(as_read, later).await?;
        Ok(())
    }

    /// Takes up the check of a picture or another file that waits for one, but of none of the `busy` users, and keeps others from it
    /// until a time. A replica without a scanner takes up none that has to be scanned.
    pub async fn take_up_check(
        &self,
        picture: bool,
        busy: &[UserId],
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        can_scan: bool,
    ) -> Result<Option<Upload>> {
        let mut waiting =
            doc! {"picture": picture, "check_at": {"$lte": bson::DateTime::from_chrono(now)}, "state": "sent"};
        if !can_scan {
            waiting.insert("scan", doc! {"$ne": true});
        }
        if !busy.is_empty() {
            waiting.insert("owner", doc! {"$nin": busy.iter().map(|user| user.0).collect::<Vec<_>>()});
        }
        let taken = doc! {"$set": {"check_at": bson::DateTime::from_chrono(until)}};
        let taken = self.all.find_one_and_update(waiting, taken).sort(doc! {"check_order": 1});
        Ok(taken.return_document(ReturnDocument::After).await?)
    }

    /// Extends the time for which a check keeps others from it.
    pub async fn extend_check(&self, upload: &Upload, until: DateTime<Utc>) -> Result<()> {
        let mine = doc! {"_id": upload.id, "check_at": {"$exists": true}};
        self.all.update_one(mine, doc! {"$set": {"check_at": bson::DateTime::from_chrono(until)}}).await?;
        Ok(())
    }

    /// Leaves a check that could not be made to a later time.
    pub async fn postpone_check(&self, upload: &Upload, until: DateTime<Utc>) -> Result<()> {
        let mine = doc! {"_id": upload.id, "check_at": {"$exists": true}};
        let later = doc! {"$set": {"check_at": bson::DateTime::from_chrono(until)}, "$inc": {"failed_checks": 1}};
        self.all.update_one(mine, later).await?;
        Ok(())
    }

    /// Puts the other waiting pictures, or files, of the owner behind those of others that are sent until a time.
    pub async fn put_behind(&self, picture: bool, owner: UserId, until: DateTime<Utc>) -> Result<()> {
        let waiting = doc! {"picture": picture, "check_at": {"$exists": true}, "owner": owner.0};
        let later = doc! {"$max": {"check_order": bson::DateTime::from_chrono(until)}};
        self.all.update_many(waiting, later).await?;
        Ok(())
    }

    /// Notes that the file has the checksum of its upload, so that it may be replaced by one without metadata.
    pub async fn note_intact(&self, upload: &Upload) -> Result<()> {
        self.all.update_one(doc! {"_id": upload.id}, doc! {"$unset": {"sha256": ""}}).await?;
        Ok(())
    }

    /// Notes how many bytes more than before the check the objects of a message will take.
    pub async fn note_added(&self, upload: &Upload, bytes: i64) -> Result<()> {
        self.all.update_one(doc! {"_id": upload.id}, doc! {"$set": {"added": bytes}}).await?;
        Ok(())
    }

    /// Notes how often a picture was about to be decoded without an outcome.
    pub async fn note_decodings(&self, upload: &Upload, decodings: u32) -> Result<()> {
        self.all.update_one(doc! {"_id": upload.id}, doc! {"$set": {"decodings": decodings}}).await?;
        Ok(())
    }

    /// Notes that a file is checked, and counts what was added to it.
    pub async fn end_check(&self, upload: &Upload) -> Result<()> {
        self.change(upload.owner, i64::MAX, &Change::EndCheck(upload)).await?;
        Ok(())
    }

    /// Notes that a file is rejected. The sweep removes it.
    pub async fn reject(&self, upload: &Upload) -> Result<()> {
        let mut changes = discard();
        changes.insert("$unset", fields_of_check());
        self.all.update_one(doc! {"_id": upload.id, "state": "sent"}, changes).await?;
        Ok(())
    }

    /// Makes a change in one transaction with the bytes of the user. Returns false if they would be over the limit.
    async fn change(&self, user: UserId, limit: i64, change: &Change<'_>) -> Result<bool> {
        let (began, mut tries) = (Instant::now(), 0);
        let turn = usize::try_from(user.0).unwrap_or_default() % TURNS;
        let turn = tokio::time::timeout(DEADLINE, self.turns[turn].lock()).await;
        while turn.is_ok() && began.elapsed() < DEADLINE {
            tries += 1;
            match self.try_to_change(user, limit, change).await {
                Ok(outcome) => return Ok(outcome != Outcome::OverLimit),
                Err(e) if mongo::is_duplicate(&e) || mongo::passes(&e) && !mongo::is_unavailable(&e) => {
                    tracing::debug!(error = describe(&e), "another request changes the uploads of the user");
                    let longest = PAUSE_GROWTH_MILLIS * PAUSE_GROWTHS.min(tries);
                    tokio::time::sleep(Duration::from_millis(rand::random_range(MIN_PAUSE_MILLIS..longest))).await;
                }
                Err(e) => return Err(e.into()),
            }
        }
        Err(Error::unavailable("mongodb", "too many requests change the uploads of one user").into())
    }

    async fn try_to_change(&self, user: UserId, limit: i64, change: &Change<'_>) -> Mongo<Outcome> {
        let mut session = mongo::begin(&self.database, Some(ReadConcern::snapshot())).await?;
        let outcome = self.change_within(&mut session, user, limit, change).await;
        if matches!(outcome, Ok(Outcome::Changed)) {
            mongo::commit(&mut session).await?;
        } else {
            // The server has often aborted it already.
            let _ = session.abort_transaction().await;
        }
        outcome
    }

    async fn change_within(
        &self,
        session: &mut ClientSession,
        user: UserId,
        limit: i64,
        change: &Change<'_>,
    ) -> Mongo<Outcome> {
        let Some(bytes) = self.change_upload(session, change).await? else { return Ok(Outcome::ChangedBefore) };
        let counted = self.quotas.find_one_and_update(doc! {"_id": user.0}, doc! {"$inc": {"bytes": bytes}});
        let counted = counted.upsert(true).return_document(ReturnDocument::After).session(session).await?;
        let is_over = counted.is_some_and(|quota| quota.bytes > limit);
        Ok(if is_over { Outcome::OverLimit } else { Outcome::Changed })
    }

    /// Returns the bytes that the change counts; none if it was made before, by another replica or by a try whose outcome was unknown.
    async fn change_upload(&self, session: &mut ClientSession, change: &Change<'_>) -> Mongo<Option<i64>> {
        match *change {
            Change::Insert(upload) => match self.all.insert_one(upload).session(session).await {
                Err(e) if mongo::is_duplicate(&e) => Ok(None),
                inserted => inserted.map(|_| Some(upload.bytes)),
            },
            Change::Remove(upload, settled_at) => {
                let discarded = doc! {"_id": upload.id, "state": "discarded"};
                let removed = doc! {"state": "removed", "due": bson::DateTime::from_chrono(settled_at)};
                let updated = self.all.find_one_and_update(discarded, doc! {"$set": removed}).session(session).await?;
                Ok(updated.map(|upload| -upload.bytes))
            }
            Change::EndCheck(upload) => {
                let checked = doc! {"_id": upload.id, "state": "sent", "check_at": {"$exists": true}};
                let Some(upload) = self.all.find_one(checked.clone()).session(&mut *session).await? else {
                    return Ok(None);
                };
                let changes = doc! {"$inc": {"bytes": upload.added}, "$unset": fields_of_check()};
                self.all.update_one(checked, changes).session(session).await?;
                Ok(Some(upload.added))
            }
        }
    }
}

/// The update of uploads that no message has any more. The sweep removes the objects.
pub fn discard() -> Document {
    doc! {"$set": {"state": "discarded", "due": bson::DateTime::from_millis(0)}}
}

/// The fields that only a check needs.
fn fields_of_check() -> Document {
    let fields = ["picture", "check_at", "check_order", "scan", "failed_checks", "decodings", "added"];
    fields.into_iter().map(|field| (field.to_owned(), Bson::from(""))).collect()
}

/// Matches the uploads that messages have.
pub fn sent_in(messages: &[ObjectId]) -> Document {
    doc! {"message": {"$in": messages}, "state": "sent"}
}

/// The update of a pending upload that becomes part of a message, as a part of the transaction that stores it.
pub fn take_over(upload: &Upload, message: &Message) -> Document {
    let due = bson::DateTime::from_chrono(upload.settled_at(message.created_at));
    let mut taken = doc! {"state": "sent", "message": message.id, "due": due};
    if message.file_state == Some(FileState::Pending) {
        taken.insert("check_at", bson::DateTime::from_chrono(message.created_at));
        taken.insert("check_order", bson::DateTime::from_chrono(message.created_at));
        taken.insert("picture", message.message_type == MessageType::Image);
    }
    doc! {"q": {"_id": upload.id, "state": "pending"}, "u": {"$set": taken}}
}
