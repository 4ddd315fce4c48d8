//! An upload: the permission to store one object, and its way into one message.

use std::time::Duration;

use axum::http::StatusCode;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bson::oid::ObjectId;
use bson::serde_helpers::datetime::FromChrono04DateTime;
use chrono::{DateTime, TimeDelta, Utc};
use common::error::{Error, Result};
use common::id::{RoomId, UserId};
use common::input::Breach;
use serde::{Deserialize, Serialize};
use serde_with::serde_as;

use super::checked_file::FileState;
use super::file::{FileName, FileType};
use super::message::{Message, MessageType};

/// How long a client may begin to store the object. A transfer that has begun may take longer.
pub const STORE_SECONDS: u64 = 900;

/// How long a client may begin to store parts.
pub const STORE_PARTS_SECONDS: u64 = 5_400;

/// A larger object is stored in parts of this many bytes, or of larger ones if they would be more than [`MAX_PARTS`].
const PART_BYTES: u64 = 16 << 20;

/// Limit on the parts of an object. The answer with their URLs has 50 KB then.
pub const MAX_PARTS: u64 = 100;

/// How long an upload can be sent. After it, the sweep removes the object.
const SEND_PERIOD: TimeDelta = TimeDelta::hours(24);

/// The time after [`SEND_PERIOD`] in which a send that has begun ends. A request to the writer takes 10 s at most.
const SEND_MARGIN: TimeDelta = TimeDelta::minutes(10);

/// The time after which no transfer to the key of the upload is in progress any more.
const TRANSFER_PERIOD: TimeDelta = TimeDelta::hours(2);

/// The time after which an attempt to send that has begun has made its copy, or never makes it.
const COPY_PERIOD: TimeDelta = TimeDelta::minutes(5);

/// Limit on the copies of one object that exist at once, each of which is an attempt to send it. They do not count for the quota.
pub const MAX_COPIES: usize = 10;

/// Begins the keys of the objects of messages, and of what is made of them.
pub const FILE_PREFIX: &str = "files/";

/// Begins the keys of the objects of uploads.
pub const UPLOAD_PREFIX: &str = "uploads/";

/// The state of an upload in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UploadState {
    /// Not part of a message.
    Pending,
    /// Part of the message that it names.
    Sent,
    /// Its objects have to be removed.
    Discarded,
    /// Its objects are removed, and its bytes no longer count. A client can still store the object again.
    Removed,
}

/// An upload, as the collection `uploads` stores it.
#[serde_as]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Upload {
    #[serde(rename = "_id")]
    pub id: ObjectId,
    pub owner: UserId,
    pub room: RoomId,
    pub name: String,
    /// The size of the file; with what the check has added as soon as it has ended.
    pub bytes: i64,
    #[serde(rename = "type")]
    pub file_type: String,
    /// In base64, as the object store has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The name that the object store gave an object that is stored in parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multipart: Option<String>,
    #[serde_as(as = "FromChrono04DateTime")]
    pub created_at: DateTime<Utc>,
    pub state: UploadState,
    /// The message that has the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<ObjectId>,
    /// The messages for which the object was copied. One of them at most is stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<ObjectId>,
    /// When the sweep looks at the upload next; none if it has nothing to do.
    #[serde_as(as = "Option<FromChrono04DateTime>")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<DateTime<Utc>>,
    /// When a replica takes up the check of the sent file; none if it is checked.
    #[serde_as(as = "Option<FromChrono04DateTime>")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_at: Option<DateTime<Utc>>,
    /// Whether the check has to be made by a replica with a scanner.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scan: bool,
    /// The checks that could not be made.
    #[serde(default)]
    pub failed_checks: u32,
    /// How often the picture was about to be decoded without an outcome.
    #[serde(default)]
    pub decodings: u32,
    /// The bytes of thumbnails, and by which the file grows, that the end of the check adds to [`bytes`](Self::bytes).
    #[serde(default)]
    pub added: i64,
}

/// The file that a client wants to store.
#[derive(Clone, Debug)]
pub struct NewFile {
    pub name: FileName,
    pub file_type: FileType,
    pub bytes: i64,
    pub sha256: Option<Checksum>,
}

/// SHA-256 of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum(String);

impl Checksum {
    /// # Errors
    /// Refuses a text that is not 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, Breach> {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest).map_err(|_| Breach("The checksum must have 64 hexadecimal digits"))?;
        Ok(Self(BASE64_STANDARD.encode(digest)))
    }
}

impl Upload {
    pub fn new(owner: UserId, room: RoomId, file: NewFile, at: DateTime<Utc>) -> Self {
        Self {
            id: ObjectId::new(),
            owner,
            room,
            name: file.name.as_str().to_owned(),
            bytes: file.bytes,
            file_type: file.file_type.as_str().to_owned(),
            sha256: file.sha256.map(|Checksum(base64)| base64),
            multipart: None,
            created_at: at,
            state: UploadState::Pending,
            message: None,
            copies: Vec::new(),
            due: Some(at + SEND_PERIOD + SEND_MARGIN),
            check_at: None,
            scan: false,
            failed_checks: 0,
            decodings: 0,
            added: 0,
        }
    }

    /// The key to which the client stores the object.
    pub fn key(&self) -> String {
        format!("{UPLOAD_PREFIX}{}", self.id)
    }

    /// The sizes of the parts in order; none for an object that is stored at once.
    pub fn parts(&self) -> Option<Vec<u64>> {
        let bytes = self.bytes.unsigned_abs();
        let part = part_bytes(bytes)?;
        Some((0..bytes.div_ceil(part)).map(|n| part.min(bytes - n * part)).collect())
    }

    /// The checksum that the object store compares. It knows none of an object that is stored in parts.
    pub fn checksum_in_store(&self) -> Option<&String> {
        self.sha256.as_ref().filter(|_| self.parts().is_none())
    }

    /// The checksum that the check compares.
    pub fn checksum_to_check(&self) -> Option<&String> {
        self.sha256.as_ref().filter(|_| self.parts().is_some())
    }

    /// Until when a client can store the object, by a transfer that takes as long as the validity of its request. The parts of an object
    /// that is aborted are refused at once.
    pub fn stored_until(&self) -> DateTime<Utc> {
        let seconds = if self.multipart.is_some() { 0 } else { 2 * STORE_SECONDS };
        self.created_at + Duration::from_secs(seconds)
    }

    /// When no transfer to [`key`](Self::key) and no copy that began before `now` is in progress any more.
    pub fn settled_at(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        (self.created_at + TRANSFER_PERIOD).max(now + COPY_PERIOD)
    }

    /// Checks that an upload is of a user and for a room. The uploads of others are not found.
    ///
    /// # Errors
    /// Refuses the upload of another user or room.
    pub fn require_of(&self, by: UserId, room: RoomId) -> Result<()> {
        if self.owner != by {
            return Err(not_found());
        }
        if self.room != room {
            let message = "The upload is for another room";
            return Err(Error::refused(StatusCode::BAD_REQUEST, "UPLOAD_OF_OTHER_ROOM", message));
        }
        Ok(())
    }

    /// Checks that a user can send the upload to a room.
    ///
    /// # Errors
    /// Refuses the upload of another user or room, one that was sent, and one that is too old.
    pub fn admit(&self, by: UserId, room: RoomId, at: DateTime<Utc>) -> Result<()> {
        self.require_of(by, room)?;
        match self.state {
            UploadState::Pending if at < self.created_at + SEND_PERIOD => Ok(()),
            UploadState::Pending => Err(Error::refused(StatusCode::GONE, "UPLOAD_EXPIRED", "The upload is too old")),
            UploadState::Sent => Err(already_sent()),
            UploadState::Discarded | UploadState::Removed => Err(not_found()),
        }
    }
}

/// The size of the parts of an object; none for one that is stored at once.
fn part_bytes(bytes: u64) -> Option<u64> {
    (bytes > PART_BYTES).then(|| PART_BYTES.max(bytes.div_ceil(MAX_PARTS)))
}

/// The key of the object of a message. No client can write to it.
pub fn key_of_message(message: ObjectId) -> String {
    format!("{FILE_PREFIX}{message}")
}

/// The key of a thumbnail of a message's picture.
pub fn key_of_thumbnail(message: ObjectId, side: u32) -> String {
    format!("{FILE_PREFIX}{message}.{side}")
}

/// The path of the download of a message's file.
pub fn file_path(message: ObjectId) -> String {
    format!("/api/messages/{message}/file")
}

impl Message {
    /// The same message with the file of an upload, which is pending if it is checked.
    pub fn with_file(self, upload: &Upload, are_files_scanned: bool) -> Self {
        let is_checked =
            are_files_scanned || self.message_type == MessageType::Image || upload.checksum_to_check().is_some();
        Self {
            file_state: Some(if is_checked { FileState::Pending } else { FileState::Ready }),
            file_url: Some(file_path(self.id)),
            file_name: Some(upload.name.clone()),
            file_size: Some(upload.bytes),
            file_type: Some(upload.file_type.clone()),
            upload_id: Some(upload.id),
            ..self
        }
    }
}

pub fn not_found() -> Error {
    Error::refused(StatusCode::NOT_FOUND, "UPLOAD_NOT_FOUND", "Upload not found")
}

pub fn tried_too_often() -> Error {
    Error::refused(StatusCode::GONE, "UPLOAD_EXPIRED", "The upload was tried too often")
}

pub fn already_sent() -> Error {
    Error::refused(StatusCode::CONFLICT, "UPLOAD_ALREADY_SENT", "The upload is part of another message")
}

pub fn incomplete() -> Error {
    let message = "The file is not stored yet; store it with the request that the upload describes";
    Error::refused(StatusCode::CONFLICT, "UPLOAD_INCOMPLETE", message)
}

pub fn not_ready() -> Error {
    Error::refused(StatusCode::CONFLICT, "FILE_NOT_READY", "The file is being checked")
}

pub fn rejected() -> Error {
    Error::refused(StatusCode::FORBIDDEN, "FILE_REJECTED", "The file did not pass the check")
}

pub fn changed() -> Error {
    let message = "The stored file has another size, type or checksum than the upload";
    Error::refused(StatusCode::CONFLICT, "UPLOAD_CHANGED", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: UserId = UserId(1);
    const ROOM: RoomId = RoomId(7);

    fn upload() -> Upload {
        let (name, file_type) = (FileName::parse("a.txt").unwrap(), FileType::parse("text/plain").unwrap());
        Upload::new(ANN, ROOM, NewFile { name, file_type, bytes: 3, sha256: None }, Utc::now())
    }

    fn code(upload: &Upload, by: UserId, room: RoomId, hours: i64) -> Option<&'static str> {
        upload.admit(by, room, upload.created_at + TimeDelta::hours(hours)).err().map(|e| e.code())
    }

    #[test]
    fn an_upload_is_sent_by_its_owner_to_its_room_within_a_day() {
        let upload = upload();
        assert_eq!(code(&upload, ANN, ROOM, 23), None);
        assert_eq!(code(&upload, UserId(2), ROOM, 0), Some("UPLOAD_NOT_FOUND"));
        assert_eq!(code(&upload, ANN, RoomId(8), 0), Some("UPLOAD_OF_OTHER_ROOM"));
        assert_eq!(code(&upload, ANN, ROOM, 24), Some("UPLOAD_EXPIRED"));
        assert!(upload.due > Some(upload.created_at + TimeDelta::hours(24)));
    }

    #[test]
    fn an_upload_is_sent_once() {
        let in_state = |state| code(&Upload { state, ..upload() }, ANN, ROOM, 0);
        assert_eq!(in_state(UploadState::Sent), Some("UPLOAD_ALREADY_SENT"));
        assert_eq!(in_state(UploadState::Discarded), Some("UPLOAD_NOT_FOUND"));
        assert_eq!(in_state(UploadState::Removed), Some("UPLOAD_NOT_FOUND"));
    }

    #[test]
    fn a_large_file_has_parts_that_add_up_to_it() {
        let parts = |bytes: u64| Upload { bytes: bytes as i64, ..upload() }.parts();
        assert_eq!(parts(PART_BYTES), None);
        assert_eq!(parts(PART_BYTES + 1), Some(vec![PART_BYTES, 1]));
        assert_eq!(parts(2 * PART_BYTES), Some(vec![PART_BYTES; 2]));
        for bytes in [100_000_000, PART_BYTES * MAX_PARTS, PART_BYTES * MAX_PARTS + 1, 5 << 30] {
            let parts = parts(bytes).unwrap();
            assert!(parts.len() <= MAX_PARTS as usize && parts.iter().all(|part| *part > 0), "{bytes}");
            assert_eq!(parts.iter().sum::<u64>(), bytes);
        }
    }

    #[test]
    fn a_checksum_has_64_hexadecimal_digits() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Checksum::parse(empty).unwrap().0, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        assert_eq!(Checksum::parse(&empty.to_uppercase()), Checksum::parse(empty));
        for invalid in ["", &empty[1..], &format!("{empty}0"), &empty.replace('e', "g")] {
            assert!(Checksum::parse(invalid).is_err(), "{invalid}");
        }
    }
}
