//! The check of sent files: a scanner may look at any file, and a picture loses its metadata and gets its thumbnails.
//!
//! A message whose file is checked is *pending* until the writer changes it. Its upload says when a replica takes up the check, and the
//! replica keeps the others from it while it works, so the check of a killed replica is repeated a minute later. Every step can be
//! repeated: a picture without metadata stays as it is, and the first outcome counts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::TimeDelta;
use common::error::{Error, Result};
use common::id::UserId;
use parking_lot::Mutex;
use platform::task::poll;
use reqwest::Response;
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use super::picture::{Prepared, Task};
use super::scanner::{self, Verdict};
use super::{Attachments, Parts};
use crate::domain::{
    CheckedFile, FileState, Message, MessageChange, MessageType, THUMBNAILS, Upload, key_of_message, key_of_thumbnail,
};
use crate::store::Messages;
use crate::writer::{Command, Writer};

/// Limits on the checks of a replica at once, half of which may be of one user. Files wait for the scanner most of their time. One
/// picture is decoded while another is read or scanned.
const FILES: u32 = 4;
const PICTURES: u32 = 2;

/// The longest pause until a replica looks for waiting files. It learns of those that it has stored at once.
const PAUSE: Duration = Duration::from_secs(5);

/// How long a replica keeps the others from a file without saying so again.
const LEASE: TimeDelta = TimeDelta::minutes(1);
const RENEWAL: Duration = Duration::from_secs(20);

/// The pause before a check is repeated that an unavailable scanner or store has prevented. It doubles with each of the first
/// [`RETRY_DOUBLINGS`], so that files which the scanner never answers leave room for others.
const RETRY: TimeDelta = TimeDelta::seconds(15);
const RETRY_DOUBLINGS: u32 = 6;

/// A picture is not decoded again after so many times without an outcome.
const MAX_DECODINGS: u32 = 3;

/// The longest transfer of a picture from the store to its process.
const PICTURE_TIMEOUT: Duration = Duration::from_secs(20);

/// Limit on the file of a picture: the greatest `FILE_MAX_IMAGE_BYTES`, and what a rewritten GIF may gain.
const MAX_PICTURE_BYTES: u64 = 60_000_000;

impl Attachments {
    /// Checks files until the shutdown, and then ends the checks that are in progress.
    pub async fn check(self, messages: Messages, writer: Writer, stopping: CancellationToken) {
        let Some(parts) = self.0 else { return };
        let queue = |pictures: bool, limit: u32| Checks {
            parts: parts.clone(),
            messages: messages.clone(),
            writer: writer.clone(),
            pictures,
            limit,
            slots: Arc::new(Semaphore::new(limit as usize)),
            owners: Arc::default(),
        };
        tokio::join!(queue(false, FILES).run(&stopping), queue(true, PICTURES).run(&stopping));
    }
}

/// The checks of pictures, or those of other files. Pictures take the processor for seconds: they wait for each other, and other
/// files do not wait for them.
#[derive(Clone)]
struct Checks {
    parts: Arc<Parts>,
    messages: Messages,
    writer: Writer,
    pictures: bool,
    limit: u32,
    slots: Arc<Semaphore>,
    /// The owners of the files that this replica checks.
    owners: Arc<Mutex<Vec<UserId>>>,
}

/// The part that the file of a user has in the checks of a replica, until it is dropped.
struct OwnersPart {
    owners: Arc<Mutex<Vec<UserId>>>,
    owner: UserId,
}

impl Drop for OwnersPart {
    fn drop(&mut self) {
        let mut owners = self.owners.lock();
        if let Some(at) = owners.iter().position(|owner| *owner == self.owner) {
            owners.swap_remove(at);
        }
    }
}

impl Checks {
    async fn run(mut self, stopping: &CancellationToken) {
        let begin = async |checks: &mut Self| checks.begin_waiting().await;
        let pauses = Duration::from_millis(50)..=Duration::from_millis(50);
        tokio::select! {
            () = poll(pauses, "check of files", stopping, &mut self, begin) => {}
            // The wait for the next file does not delay the shutdown.
            () = stopping.cancelled() => {}
        }
        let _ended = self.slots.acquire_many(self.limit).await;
    }

    /// Waits for a file that was sent, and begins the checks of all that wait.
    async fn begin_waiting(&self) -> Result<()> {
        let _ = tokio::time::timeout(PAUSE, self.sent().notified()).await;
        loop {
            let slot = self.slots.clone().acquire_owned().await.map_err(Error::internal)?;
            let Some((upload, part)) = self.take_up().await? else { return Ok(()) };
            let checks = self.clone();
            tokio::spawn(async move {
                checks.check(&upload).await;
                drop((part, slot));
                // A file of the same user may wait for this.
                checks.sent().notify_one();
            });
        }
    }

    fn sent(&self) -> &Notify {
        if self.pictures { &self.parts.sent.picture } else { &self.parts.sent.file }
    }

    async fn take_up(&self) -> Result<Option<(Upload, OwnersPart)>> {
        let (now, can_scan) = (self.parts.clock.now(), self.parts.scanner.is_some());
        let busy = self.busy();
        let taken = self.parts.uploads.take_up_check(self.pictures, &busy, now, now + LEASE, can_scan).await?;
        Ok(taken.map(|upload| {
            self.owners.lock().push(upload.owner);
            let part = OwnersPart { owners: self.owners.clone(), owner: upload.owner };
            (upload, part)
        }))
    }

    /// The users whose files take half of the slots.
    fn busy(&self) -> Vec<UserId> {
        let owners = self.owners.lock();
        let of = |user| owners.iter().filter(|owner| **owner == user).count() as u32;
        owners.iter().copied().filter(|owner| 2 * of(*owner) >= self.limit).collect()
    }

    /// Checks one file, or leaves it to a later time. The longer it takes, the more files of others come before the next ones of its owner.
    async fn check(&self, upload: &Upload) {
        let began = Instant::now();
        let done = tokio::select! {
            done = self.try_to_check(upload) => done,
            never = self.keep(upload) => never,
        };
        let until = self.parts.clock.now() + began.elapsed();
        if let Err(e) = self.parts.uploads.put_behind(self.pictures, upload.owner, until).await {
            tracing::debug!(error = %e, "the files of a user keep their places in the queue");
        }
        let Err(e) = done else { return };
        tracing::warn!(error = %e, "a file could not be checked, it is tried again");
        self.count("failed");
        let pause = RETRY * (1 << upload.failed_checks.min(RETRY_DOUBLINGS));
        if let Err(e) = self.parts.uploads.postpone_check(upload, self.parts.clock.now() + pause).await {
            tracing::debug!(error = %e, "the check of a file is tried again after its lease");
        }
    }

    /// Keeps other replicas from the file.
    async fn keep<T>(&self, upload: &Upload) -> T {
        loop {
            tokio::time::sleep(RENEWAL).await;
            if let Err(e) = self.parts.uploads.extend_check(upload, self.parts.clock.now() + LEASE).await {
                tracing::debug!(error = %e, "another replica may check the same file");
            }
        }
    }

    async fn try_to_check(&self, upload: &Upload) -> Result<()> {
        let Some(message) = self.message_of(upload).await? else {
            // Its deletion discards the upload.
            return Ok(self.parts.uploads.end_check(upload).await?);
        };
        let state = match message.file_state {
            Some(FileState::Pending) => self.settle(upload, &message).await?,
            settled => settled,
        };
        match state {
            Some(FileState::Rejected) => self.parts.uploads.reject(upload).await?,
            _ => self.parts.uploads.end_check(upload).await?,
        }
        Ok(())
    }

    /// The message of an upload, unless it is deleted.
    async fn message_of(&self, upload: &Upload) -> Result<Option<Message>> {
        let Some(id) = upload.message else { return Ok(None) };
        let message = self.messages.get_confirmed(id).await?;
        Ok(message.filter(|message| !message.is_deleted))
    }

    /// Ends the pending state of a message's file. Returns the state that counts.
    async fn settle(&self, upload: &Upload, message: &Message) -> Result<Option<FileState>> {
        let checked = self.outcome(upload, message).await?;
        self.count(match &checked {
            CheckedFile::Rejected => "rejected",
            CheckedFile::Image { picture: Some(_), .. } => "ready",
            CheckedFile::Plain if message.message_type != MessageType::Image => "ready",
            CheckedFile::Plain | CheckedFile::Image { picture: None, .. } => "not_an_image",
        });
        let change = MessageChange::File(checked);
        let change = Command::Change { room: message.room_id, message: message.id, change };
        match self.writer.write(message.user_id, change).await {
            Ok(written) => Ok(written.message.file_state),
            // It was deleted meanwhile.
            Err(Error::Refused { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn outcome(&self, upload: &Upload, message: &Message) -> Result<CheckedFile> {
        if self.is_changed(upload, message).await? || self.is_rejected(upload, message).await? {
            return Ok(CheckedFile::Rejected);
        }
        if message.message_type != MessageType::Image {
            return Ok(CheckedFile::Plain);
        }
        self.prepare(upload, message).await
    }

    /// Whether the file is not the one whose checksum the client gave. The object store compares that of a file without parts.
    async fn is_changed(&self, upload: &Upload, message: &Message) -> Result<bool> {
        let Some(checksum) = upload.checksum_to_check() else { return Ok(false) };
        let (mut file, mut digest) = (self.open(upload, message).await?, Sha256::new());
        while let Some(piece) = file.chunk().await.map_err(|e| Error::unavailable("object_store", e.without_url()))? {
            digest.update(&piece);
        }
        if BASE64_STANDARD.encode(digest.finalize()) == *checksum {
            self.parts.uploads.note_intact(upload).await?;
            return Ok(false);
        }
        // It may be a picture without its metadata, which another replica has stored since.
        let now = self.parts.uploads.get(upload.id).await?;
        Ok(now.is_some_and(|upload| upload.sha256.is_some()))
    }

    async fn is_rejected(&self, upload: &Upload, message: &Message) -> Result<bool> {
        let Some(scanner) = &self.parts.scanner else { return Ok(false) };
        let file = self.open(upload, message).await?;
        let bytes = file.content_length().unwrap_or(upload.bytes.unsigned_abs());
        Ok(scanner.scan(file, bytes).await? == Verdict::Rejected)
    }

    async fn open(&self, upload: &Upload, message: &Message) -> Result<Response> {
        // A picture whose check is repeated may have other bytes already.
        let limit = upload.bytes.unsigned_abs().max(MAX_PICTURE_BYTES);
        let file = self.parts.store.open(&key_of_message(message.id), limit, scanner::TIMEOUT).await?;
        file.ok_or_else(missing)
    }

    /// Replaces the file of a picture by one without metadata, and stores its thumbnails.
    async fn prepare(&self, upload: &Upload, message: &Message) -> Result<CheckedFile> {
        let _turn = self.parts.pictures.turn().await?;
        let prepared = self.process(upload, message).await?;
        let Some(Prepared { picture, file, thumbnails }) = prepared else {
            self.parts.uploads.note_added(upload, 0).await?;
            return Ok(CheckedFile::Plain);
        };
        let (store, key, bytes) = (&self.parts.store, key_of_message(message.id), file.len() as i64);
        let added = thumbnails.iter().map(|thumbnail| thumbnail.len() as i64).sum::<i64>() + bytes - upload.bytes;
        self.parts.uploads.note_added(upload, added).await?;
        for (side, thumbnail) in THUMBNAILS.into_iter().zip(thumbnails) {
            store.put(&key_of_thumbnail(message.id, side), thumbnail, "image/webp").await?;
        }
        store.put(&key, file, &upload.file_type).await?;
        Ok(CheckedFile::Image { picture, bytes })
    }

    /// Decodes a picture. One that cannot be decoded, or had no outcome before, only loses its metadata.
    async fn process(&self, upload: &Upload, message: &Message) -> Result<Option<Prepared>> {
        if upload.decodings < MAX_DECODINGS {
            let file = self.open_picture(message).await?;
            self.parts.uploads.note_decodings(upload, upload.decodings + 1).await?;
            let decoded = self.parts.pictures.prepare(file, &upload.file_type, Task::Decode).await;
            let without_outcome = match &decoded {
                Ok(_) => 0,
                // The store has broken off.
                Err(Error::Unavailable { dependency: "object_store", .. }) => upload.decodings,
                Err(_) => upload.decodings + 1,
            };
            self.parts.uploads.note_decodings(upload, without_outcome).await?;
            if let Some(decoded) = decoded? {
                return Ok(Some(decoded));
            }
        } else {
            tracing::warn!(upload = %upload.id, "a picture is not decoded, because that had no outcome before");
        }
        self.parts.pictures.prepare(self.open_picture(message).await?, &upload.file_type, Task::RemoveMetadata).await
    }

    async fn open_picture(&self, message: &Message) -> Result<Response> {
        let file = self.parts.store.open(&key_of_message(message.id), MAX_PICTURE_BYTES, PICTURE_TIMEOUT).await?;
        file.ok_or_else(missing)
    }

    fn count(&self, outcome: &str) {
        self.parts.checks.with_label_values(&[outcome]).inc();
    }
}

/// The store may be restored later: one answer does not end a file.
fn missing() -> Error {
    Error::unavailable("object_store", "the object of a message is not there")
}
