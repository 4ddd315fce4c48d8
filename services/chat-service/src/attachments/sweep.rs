//! The sweep: removes the objects that no message has, and gives their bytes back to the users.
//!
//! Every step can be repeated, and by several replicas at once: an object that is gone is removed again without effect, and the
//! transaction that gives the bytes back takes place once.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bson::oid::ObjectId;
use chrono::{DateTime, TimeDelta, Utc};
use common::error::Result;
use platform::task::{Found, poll};
use tokio_util::sync::CancellationToken;

use super::{Attachments, BucketMark, Parts};
use crate::domain::{Upload, UploadState};

/// The pauses between two looks at the uploads that are due. A deleted message's object is removed within the longest.
const PAUSES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(5);

/// Uploads of one look, whose objects are removed one after the other.
const BATCH: i64 = 50;

/// The pause before an upload is tried again whose objects could not be removed. Others are not held up by it.
const RETRY: TimeDelta = TimeDelta::minutes(1);

impl Attachments {
    /// Sweeps until the shutdown.
    pub async fn sweep(self, stopping: CancellationToken) {
        let Some(mut parts) = self.0 else { return };
        poll(PAUSES, "sweep of uploads", &stopping, &mut parts, async |parts: &mut Arc<Parts>| parts.sweep().await)
            .await;
    }
}

impl Parts {
    /// Deals with the uploads that are due, and then with the mark of the bucket. Returns the first error.
    async fn sweep(&self) -> Result<Found> {
        let now = self.clock.now();
        let due = self.uploads.due(now, BATCH).await?;
        let mut failure = None;
        for upload in &due {
            if let Err(e) = self.sweep_one(upload, now).await {
                self.uploads.postpone(upload, now + RETRY).await?;
                failure.get_or_insert(e);
            }
        }
        if let Some(e) = failure {
            return Err(e);
        }
        self.is_marked.get_or_try_init(|| BucketMark::ensure(&self.store, &self.uploads)).await?;
        Ok(if due.is_empty() { Found::Nothing } else { Found::Work })
    }

    async fn sweep_one(&self, upload: &Upload, now: DateTime<Utc>) -> Result<()> {
        match upload.state {
            UploadState::Pending => {
                if self.uploads.discard_pending(upload).await? {
                    self.remove(upload, now).await?;
                    self.count("expired");
                }
            }
            UploadState::Sent => {
                self.remove_objects(upload, upload.message).await?;
                self.uploads.note_tidy(upload).await?;
            }
            // Its bytes count while a client can store the object again: else a user could store any number of them.
            UploadState::Discarded if now < upload.stored_until() => {
                self.remove_objects(upload, None).await?;
                self.uploads.postpone(upload, upload.stored_until()).await?;
            }
            UploadState::Discarded => {
                self.remove(upload, now).await?;
                self.count("deleted");
            }
            // A transfer or an attempt to send that was in progress may have stored an object again.
            UploadState::Removed => {
                self.remove_objects(upload, None).await?;
                self.uploads.delete_removed(upload).await?;
            }
        }
        Ok(())
    }

    async fn remove(&self, upload: &Upload, now: DateTime<Utc>) -> Result<()> {
        self.remove_objects(upload, None).await?;
        Ok(self.uploads.note_removed(upload, upload.settled_at(now)).await?)
    }

    /// Removes all objects of an upload but that of the message `kept`.
    async fn remove_objects(&self, upload: &Upload, kept: Option<ObjectId>) -> Result<()> {
        let messages: BTreeSet<ObjectId> = upload.copies.iter().copied().chain(upload.message).collect();
        for message in messages.into_iter().filter(|message| Some(*message) != kept) {
            self.remove_file(message, &upload.file_type).await?;
        }
        if let Some(multipart) = &upload.multipart {
            self.store.abort_multipart(&upload.key(), multipart).await?;
        }
        Ok(self.store.delete(&upload.key()).await?)
    }
}
