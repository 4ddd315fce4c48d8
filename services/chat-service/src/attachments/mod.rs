//! Attachments: files that clients store in the object store, and the messages that have them.
//!
//! A client asks for an *upload* and stores the object with a presigned request under the key of the upload. When it sends the
//! message, the object is copied within the store to the key of the message, to which no client can write, and the copy is checked. The
//! presigned request is still valid then, so the object under the key of the upload can change at any time; the copy cannot. The
//! writer takes the upload over in the transaction that stores the message. A picture, and where a scanner is configured any file, is
//! *checked* then, and nobody can download it before. Copies of attempts that failed are noted in the upload,
//! and the *sweep* removes them.

mod account;
mod bucket;
mod check;
mod picture;
mod scanner;
mod sweep;

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use bson::oid::ObjectId;
use common::error::{Error, Result};
use common::id::{RoomId, UserId};
use engines::object_store::{Object, ObjectStore, Presigned};
use prometheus::IntCounterVec;
use reqwest::Url;
use tokio::sync::{Notify, OnceCell};

use crate::domain::{
    DownloadHeaders, FileLimits, FileState, FileType, Message, MessageType, NewFile, STORE_PARTS_SECONDS,
    STORE_SECONDS, THUMBNAILS, Upload, UploadState, allow_file_in, already_sent, changed, incomplete, key_of_message,
    key_of_thumbnail, not_found, not_ready, rejected, tried_too_often,
};
use crate::store::{StoreClock, Uploads};

pub use account::FileAccount;
pub use bucket::BucketMark;
pub use picture::{COMMAND as PICTURE_COMMAND, PictureProcess, execute as execute_picture};
pub use scanner::{ScanConfig, Scanner};

/// The validity of a download. A client follows the redirect at once; a transfer that has begun may take longer.
const DOWNLOAD_VALIDITY: Duration = Duration::from_secs(300);

/// A handle on the attachments; without an object store, it refuses everything.
#[derive(Clone)]
pub struct Attachments(Option<Arc<Parts>>);

pub struct Parts {
    pub store: ObjectStore,
    pub uploads: Uploads,
    /// None if files are not scanned.
    pub scanner: Option<Scanner>,
    pub pictures: PictureProcess,
    pub limits: FileLimits,
    pub clock: StoreClock,
    pub sent: Sent,
    /// Uploads by their outcome.
    pub outcomes: IntCounterVec,
    /// Set once the bucket is known to have a mark.
    pub is_marked: OnceCell<()>,
    /// Checks of files by their outcome.
    pub checks: IntCounterVec,
}

/// Wakes the checks when this replica has stored a message with a file.
#[derive(Default)]
pub struct Sent {
    pub file: Notify,
    pub picture: Notify,
}

impl Attachments {
    pub fn new(parts: Option<Parts>) -> Self {
        Self(parts.map(Arc::new))
    }

    /// The limits on files; none without an object store.
    pub fn limits(&self) -> Option<&FileLimits> {
        self.0.as_ref().map(|parts| &parts.limits)
    }

    /// # Errors
    /// Refuses with 501 without an object store.
    fn parts(&self) -> Result<&Arc<Parts>> {
        self.0.as_ref().ok_or_else(|| {
            let message = "This deployment has no store for files";
            Error::refused(StatusCode::NOT_IMPLEMENTED, "ATTACHMENTS_DISABLED", message)
        })
    }

    /// # Errors
    /// Refuses with 501 without an object store, so that no request is checked in vain.
    pub fn require(&self) -> Result<()> {
        self.parts().map(|_| ())
    }

    /// Notes an upload of a member, and presigns the request that stores its object.
    ///
    /// # Errors
    /// Refuses a file that breaks the limits or the quota of the user. Returns an unavailable error if MongoDB does not answer.
    pub async fn request(&self, owner: UserId, room: RoomId, file: NewFile) -> Result<(Upload, Transfer)> {
        let parts = self.parts()?;
        parts.limits.admit(&file.file_type, file.bytes.unsigned_abs())?;
        let upload = Upload::new(owner, room, file, parts.clock.now());
        let quota = i64::try_from(parts.limits.quota_bytes).unwrap_or(i64::MAX);
        let created = parts.uploads.create(&upload, quota).await;
        if created.is_err() {
            // It may be stored all the same.
            let _ = parts.uploads.discard_pending(&upload).await;
        }
        if !created? {
            let message = format!("The files of a user take at most {quota} bytes");
            return Err(Error::refused(StatusCode::FORBIDDEN, "FILE_QUOTA_EXCEEDED", message));
        }
        parts.count("requested");
        let transfer = match upload.parts() {
            None => Transfer::Whole(parts.presign(&upload)),
            Some(sizes) => match parts.begin_parts(&upload, &sizes).await {
                Ok(urls) => Transfer::Parts(urls),
                Err(e) => {
                    // The client does not know the upload. If this fails too, its bytes count for a day.
                    let _ = parts.uploads.discard_pending(&upload).await;
                    return Err(e);
                }
            },
        };
        Ok((upload, transfer))
    }

    /// Makes the object of an upload of its parts. A repeat changes nothing, and neither does an upload without parts.
    ///
    /// # Errors
    /// Refuses an upload of another, and one whose object or parts are not stored. Returns an unavailable error if a store does not answer.
    pub async fn complete(&self, owner: UserId, room: RoomId, upload: &str, tags: &[String]) -> Result<()> {
        let parts = self.parts()?;
        let upload = parts.upload(upload).await?;
        upload.admit(owner, room, parts.clock.now())?;
        let Some(multipart) = &upload.multipart else { return parts.check(&upload, &upload.key()).await };
        if upload.parts().is_none_or(|expected| expected.len() != tags.len()) {
            return Err(incomplete());
        }
        let completed = parts.store.complete_multipart(&upload.key(), multipart, tags).await;
        // An earlier request may have completed it.
        match parts.check(&upload, &upload.key()).await {
            Ok(()) => Ok(()),
            Err(refusal) => completed.map_err(Error::from).and(Err(refusal)),
        }
    }

    /// Cancels an upload, whose bytes count no longer when the sweep has removed the object. A repeat changes nothing.
    ///
    /// # Errors
    /// Refuses an upload of another and one that was sent. Returns an unavailable error if MongoDB does not answer.
    pub async fn cancel(&self, owner: UserId, room: RoomId, upload: &str) -> Result<()> {
        let parts = self.parts()?;
        let upload = parts.upload(upload).await?;
        upload.require_of(owner, room)?;
        if upload.state == UploadState::Pending && parts.uploads.discard_pending(&upload).await? {
            return Ok(());
        }
        // Another request may have cancelled or sent it since.
        let now = parts.uploads.get(upload.id).await?;
        if now.is_some_and(|upload| upload.message.is_some()) { Err(already_sent()) } else { Ok(()) }
    }

    /// Gives a message its file, before the writer stores it.
    ///
    /// # Errors
    /// Refuses an upload that this message cannot have, and one whose object is not stored or is another. Returns an unavailable error
    /// if a store does not answer.
    pub async fn attach(&self, message: Message, upload: &str) -> Result<Message> {
        let parts = self.parts()?;
        let upload = parts.upload(upload).await?;
        upload.admit(message.user_id, message.room_id, parts.clock.now())?;
        let file_type = FileType::parse(&upload.file_type).map_err(Error::internal)?;
        allow_file_in(message.message_type, &file_type)?;
        let message = message.with_file(&upload, parts.scanner.is_some());
        match parts.take_copy(&upload, &message).await {
            Ok(()) => Ok(message),
            Err(refusal) => {
                // Without an answer of the store, the copy may still be made. The sweep removes it when that is over.
                if matches!(refusal, Error::Refused { .. }) {
                    self.withdraw(&message).await;
                }
                Err(refusal)
            }
        }
    }

    /// Removes the copy for a message that is certainly not stored. If that fails, the sweep does it.
    pub async fn withdraw(&self, message: &Message) {
        let (Some(parts), Some(upload)) = (&self.0, message.upload_id) else { return };
        if let Err(e) = parts.withdraw(upload, message.id).await {
            tracing::debug!(error = %e, "the copy of a file is left to the sweep");
        }
    }

    /// Counts a message that was stored with its file, and has the file checked.
    pub fn note_sent(&self, message: &Message) {
        if let Some(parts) = &self.0 {
            parts.count("sent");
            let is_picture = message.message_type == MessageType::Image;
            if is_picture { &parts.sent.picture } else { &parts.sent.file }.notify_one();
        }
    }

    /// The URL of the file of a message, for five minutes.
    ///
    /// # Errors
    /// Refuses a deleted message, one without a file, and a file that is not checked or did not pass the check.
    pub fn download_url(&self, message: &Message) -> Result<String> {
        let parts = self.parts()?;
        let file = || Some((message.file_state?, message.file_name.as_ref()?, message.file_type.as_ref()?));
        let file = file().filter(|_| !message.is_deleted);
        let (state, name, file_type) = file.ok_or_else(|| Error::not_found("The message has no file"))?;
        match state {
            FileState::Ready => {}
            FileState::Pending => return Err(not_ready()),
            FileState::Rejected => return Err(rejected()),
        }
        let headers = DownloadHeaders::of(name, file_type, message.image.is_some());
        Ok(parts.download_url(&key_of_message(message.id), &headers))
    }

    /// The URL of a thumbnail of a message's picture, for five minutes. `side` is one of [`THUMBNAILS`](crate::domain::THUMBNAILS).
    ///
    /// # Errors
    /// Refuses a deleted message and one without a picture.
    pub fn thumbnail_url(&self, message: &Message, side: u32) -> Result<String> {
        let parts = self.parts()?;
        if message.is_deleted || message.image.is_none() {
            return Err(Error::not_found("The message has no picture"));
        }
        let headers = DownloadHeaders::of("thumbnail.webp", "image/webp", true);
        Ok(parts.download_url(&key_of_thumbnail(message.id, side), &headers))
    }
}

impl Parts {
    /// The upload with this id in hexadecimal form.
    async fn upload(&self, id: &str) -> Result<Upload> {
        let id = ObjectId::parse_str(id).map_err(|_| not_found())?;
        self.uploads.get(id).await?.ok_or_else(not_found)
    }

    fn presign(&self, upload: &Upload) -> Presigned {
        self.store.presign_upload(&upload.key(), &expected(upload), Duration::from_secs(STORE_SECONDS))
    }

    /// Begins an object in parts, and presigns the requests that store them. If the process is killed before the name of the object is
    /// noted, the store keeps the name of an object without parts.
    async fn begin_parts(&self, upload: &Upload, sizes: &[u64]) -> Result<Vec<Url>> {
        let (key, validity) = (upload.key(), Duration::from_secs(STORE_PARTS_SECONDS));
        let multipart = self.store.begin_multipart(&key, &upload.file_type).await?;
        self.uploads.note_multipart(upload.id, &multipart).await?;
        let presign =
            |(number, bytes): (u16, &u64)| self.store.presign_part(&key, &multipart, number, *bytes, validity);
        Ok((1..).zip(sizes).map(presign).collect())
    }

    fn download_url(&self, key: &str, DownloadHeaders { content_type, disposition }: &DownloadHeaders) -> String {
        self.store.presign_download(key, content_type, disposition, DOWNLOAD_VALIDITY).into()
    }

    /// Copies the object of an upload to the key of a message, and checks the copy.
    async fn take_copy(&self, upload: &Upload, message: &Message) -> Result<()> {
        // A copy of 100 MB that would be refused costs the store more than this look.
        self.check(upload, &upload.key()).await?;
        if !self.uploads.note_copy(upload.id, message.id, self.scanner.is_some()).await? {
            let now = self.uploads.get(upload.id).await?;
            let is_pending = now.is_some_and(|upload| upload.state == UploadState::Pending);
            return Err(if is_pending { tried_too_often() } else { already_sent() });
        }
        let key = key_of_message(message.id);
        if !self.store.copy(&upload.key(), &key).await? {
            return Err(incomplete());
        }
        self.check(upload, &key).await?;
        if message.message_type == MessageType::Image {
            let head = self.store.read(&key, picture::HEAD_BYTES).await?.ok_or_else(incomplete)?;
            picture::check_head(&head, &upload.file_type)?;
        }
        Ok(())
    }

    async fn withdraw(&self, upload: ObjectId, message: ObjectId) -> Result<()> {
        if self.uploads.get(upload).await?.is_some_and(|upload| upload.message == Some(message)) {
            return Err(Error::internal("the message is stored"));
        }
        self.store.delete(&key_of_message(message)).await?;
        Ok(self.uploads.note_withdrawn(upload, message).await?)
    }

    /// Checks that an object is the one that the upload describes.
    async fn check(&self, upload: &Upload, key: &str) -> Result<()> {
        let stored = self.store.head(key).await?.ok_or_else(incomplete)?;
        let Object { bytes, content_type, sha256, encoding } = expected(upload);
        let is_same = (stored.bytes, &stored.content_type, &stored.encoding) == (bytes, &content_type, &encoding);
        let is_intact = sha256.is_none() || stored.sha256 == sha256;
        if is_same && is_intact { Ok(()) } else { Err(changed()) }
    }

    /// Removes the object of a message and what was made of it.
    async fn remove_file(&self, message: ObjectId, file_type: &str) -> Result<()> {
        if file_type.starts_with("image/") {
            for side in THUMBNAILS {
                self.store.delete(&key_of_thumbnail(message, side)).await?;
            }
        }
        Ok(self.store.delete(&key_of_message(message)).await?)
    }

    fn count(&self, outcome: &str) {
        self.outcomes.with_label_values(&[outcome]).inc();
    }
}

/// The requests with which a client stores the object of an upload.
pub enum Transfer {
    Whole(Presigned),
    /// The URLs of the parts in order.
    Parts(Vec<Url>),
}

/// The object that an upload describes.
fn expected(upload: &Upload) -> Object {
    Object {
        bytes: upload.bytes.unsigned_abs(),
        content_type: Some(upload.file_type.clone()),
        sha256: upload.checksum_in_store().cloned(),
        encoding: None,
    }
}
