//! Uploads of files.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use common::error::{ErrorBody, Result};
use common::id::RoomId;
use common::input::{Breach, Input, Int, Invalid, List, Text};
use deserr::Deserr;
use engines::object_store::Presigned;
use platform::http::{Path, Valid};
use serde::Serialize;
use service::auth::CurrentUser;
use utoipa::ToSchema;

use crate::api::responses::{AttachmentsDisabled, BudgetUsedUp, InvalidInput, UploadErrors};
use crate::attachments::Transfer;
use crate::blocks::allow_messages;
use crate::domain::{Checksum, FileName, FileType, MAX_PARTS, NewFile, STORE_PARTS_SECONDS, STORE_SECONDS, Upload};
use crate::state::AppState;

/// A file that the caller wants to send.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Invalid)]
pub struct NewUpload {
    /// At most 200 characters, without a path, control characters and characters that change the direction.
    #[deserr(try_from(&String) = parse_name -> Breach)]
    #[schema(value_type = String, min_length = 1, example = "휴가 사진.png")]
    file_name: FileName,
    /// The size in bytes. The limits are in `GET /chat-rooms/limits`.
    #[schema(value_type = i64, minimum = 1, example = 482_113)]
    file_size: Int<1, { i64::MAX }>,
    /// The media type.
    #[deserr(try_from(&String) = parse_type -> Breach)]
    #[schema(value_type = String, min_length = 3, example = "image/png")]
    file_type: FileType,
    /// SHA-256 of the file, as 64 hexadecimal digits. The store refuses another file; one that is stored in parts is compared after the send.
    #[deserr(default, try_from(Option<String>) = parse_checksum -> Breach)]
    #[schema(value_type = Option<String>, example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    sha256: Option<Checksum>,
}

impl Input for NewUpload {}

/// The request with which the caller stores the file, or its parts. It goes to another server, without an access token.
#[derive(Debug, Serialize, ToSchema)]
pub struct UploadRequest {
    /// Names the upload when the message is sent.
    #[schema(example = "6565f0a1c2d3e4f5a6b7c8d0")]
    upload_id: String,
    #[schema(example = "PUT")]
    method: &'static str,
    /// The URL has a signature: whoever has it can store this file. Null for a file that is stored in parts.
    #[schema(
        required,
        example = "https://files.example.com/bigtech-chat/uploads/6565f0a1c2d3e4f5a6b7c8d0?X-Amz-Signature=…"
    )]
    url: Option<String>,
    /// The headers that the request has to have. Clients add `Content-Length` themselves; it has to be `file_size`.
    headers: BTreeMap<&'static str, String>,
    /// For a file over 16 MiB: the parts, which the caller stores in any order and then completes.
    #[schema(required)]
    parts: Option<FileParts>,
    /// The seconds within which each request begins.
    #[schema(example = 900)]
    expires_in: u64,
}

/// The parts in which a large file is stored.
#[derive(Debug, Serialize, ToSchema)]
pub struct FileParts {
    /// The size of each part in bytes; the last one has the rest.
    #[schema(example = 16_777_216)]
    size: u64,
    /// The URL of each part, in order. The answer of the store has the header `ETag`.
    #[schema(max_items = 100)]
    urls: Vec<String>,
}

/// Ask for the upload of a file, which a message of the caller can have within a day.
#[utoipa::path(
    post,
    operation_id = "requestUpload",
    path = "/messages/{id}/uploads",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = RoomId, Path, description = "The room of the message")),
    request_body = NewUpload,
    responses(
        (status = 201, description = "The request that stores the file", body = UploadRequest),
        (status = 400, description = "`FILE_TYPE_NOT_ALLOWED` or `FILE_TOO_LARGE`", body = ErrorBody),
        (status = 403, description = "The caller is not a member of the room, `BLOCKED`, or `FILE_QUOTA_EXCEEDED`", body = ErrorBody),
        (status = 404, description = "The room does not exist", body = ErrorBody),
        InvalidInput,
        BudgetUsedUp,
        AttachmentsDisabled,
    ),
)]
pub async fn request(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(room): Path<RoomId>,
    Valid(new): Valid<NewUpload>,
) -> Result<(StatusCode, Json<UploadRequest>)> {
    app.attachments.require()?;
    app.budgets.messages.spend(me.id).await?;
    let room = app.room(room, &me).await?;
    allow_messages(&app.blocks, &room)?;
    let (upload, transfer) = app.attachments.request(me.id, room.id, new.into()).await?;
    Ok((StatusCode::CREATED, Json(UploadRequest::of(&upload, transfer))))
}

/// The tags that the store gave the parts of a file.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Invalid)]
pub struct StoredParts {
    /// The header `ETag` of the answer to each part, in the order of the parts.
    #[schema(value_type = Vec<String>, min_items = 2, max_items = 100, example = json!(["\"5d41402abc4b2a76b9719d911017c592\"", "\"7d793037a0760186574b0282f2f435e7\""]))]
    etags: List<Text<1, 200>, 2, { MAX_PARTS as usize }>,
}

impl Input for StoredParts {}

/// An upload of a room.
#[derive(Debug, Deserr)]
#[deserr(error = Invalid)]
pub struct UploadPath {
    id: RoomId,
    upload_id: String,
}

/// Complete a file that was stored in parts. A repeat changes nothing.
#[utoipa::path(
    post,
    operation_id = "completeUpload",
    path = "/messages/{id}/uploads/{upload_id}/complete",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = RoomId, Path, description = "The room of the message"), ("upload_id" = String, Path)),
    request_body = StoredParts,
    responses(
        (status = 204, description = "The file is stored, and a message can have it"),
        (status = 400, description = "`UPLOAD_OF_OTHER_ROOM`", body = ErrorBody),
        (status = 403, description = "The caller is not a member of the room, or `BLOCKED`", body = ErrorBody),
        (status = 404, description = "The room does not exist, or `UPLOAD_NOT_FOUND`", body = ErrorBody),
        UploadErrors,
        InvalidInput,
        BudgetUsedUp,
        AttachmentsDisabled,
    ),
)]
pub async fn complete(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(UploadPath { id, upload_id }): Path<UploadPath>,
    Valid(StoredParts { etags }): Valid<StoredParts>,
) -> Result<StatusCode> {
    app.attachments.require()?;
    app.budgets.changes.spend(me.id).await?;
    let room = app.room(id, &me).await?;
    allow_messages(&app.blocks, &room)?;
    let tags: Vec<String> = etags.0.into_iter().map(|Text(tag)| tag).collect();
    app.attachments.complete(me.id, room.id, &upload_id, &tags).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Cancel an upload. Its bytes count for the quota until nobody can store them any more: for half an hour, or at once for parts. A repeat
/// changes nothing.
#[utoipa::path(
    delete,
    operation_id = "cancelUpload",
    path = "/messages/{id}/uploads/{upload_id}",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = RoomId, Path, description = "The room of the message"), ("upload_id" = String, Path)),
    responses(
        (status = 204, description = "No message can have the upload, and its file is removed"),
        (status = 400, description = "`UPLOAD_OF_OTHER_ROOM`", body = ErrorBody),
        (status = 403, description = "The caller is not a member of the room", body = ErrorBody),
        (status = 404, description = "The room does not exist, or `UPLOAD_NOT_FOUND`", body = ErrorBody),
        (status = 409, description = "`UPLOAD_ALREADY_SENT`: a message has it, or had it", body = ErrorBody),
        InvalidInput,
        BudgetUsedUp,
        AttachmentsDisabled,
    ),
)]
pub async fn cancel(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(UploadPath { id, upload_id }): Path<UploadPath>,
) -> Result<StatusCode> {
    app.attachments.require()?;
    app.budgets.changes.spend(me.id).await?;
    let room = app.room(id, &me).await?;
    app.attachments.cancel(me.id, room.id, &upload_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl UploadRequest {
    fn of(upload: &Upload, transfer: Transfer) -> Self {
        let (url, headers, parts, expires_in) = match transfer {
            Transfer::Whole(Presigned { url, headers }) => (Some(url.into()), headers, None, STORE_SECONDS),
            Transfer::Parts(urls) => {
                let size = upload.parts().and_then(|sizes| sizes.first().copied()).unwrap_or_default();
                let urls = urls.into_iter().map(String::from).collect();
                (None, Vec::new(), Some(FileParts { size, urls }), STORE_PARTS_SECONDS)
            }
        };
        let headers = headers.into_iter().collect();
        Self { upload_id: upload.id.to_hex(), method: "PUT", url, headers, parts, expires_in }
    }
}

impl From<NewUpload> for NewFile {
    fn from(NewUpload { file_name, file_size: Int(bytes), file_type, sha256 }: NewUpload) -> Self {
        Self { name: file_name, file_type, bytes, sha256 }
    }
}

fn parse_name(text: &str) -> Result<FileName, Breach> {
    FileName::parse(text)
}

fn parse_type(text: &str) -> Result<FileType, Breach> {
    FileType::parse(text)
}

fn parse_checksum(text: Option<String>) -> Result<Option<Checksum>, Breach> {
    text.map(|text| Checksum::parse(&text)).transpose()
}
