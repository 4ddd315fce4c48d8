//! Error responses that several operations share, for the OpenAPI document.
#![expect(dead_code, reason = "the types describe responses and are never constructed")]

use common::error::ErrorBody;
use utoipa::IntoResponses;

/// The errors of every operation on a room.
#[derive(IntoResponses)]
pub enum RoomErrors {
    #[response(status = 403, description = "The caller is not a member of the room")]
    NotAMember(ErrorBody),
    #[response(status = 404, description = "The room, or the message that the request names, does not exist")]
    NotFound(ErrorBody),
    #[response(status = 422, description = "The input is invalid")]
    Invalid(ErrorBody),
}

/// The errors of every change of a message.
#[derive(IntoResponses)]
pub enum MessageErrors {
    #[response(
        status = 403,
        description = "The caller may not change this message, or is not a member of its room. `BLOCKED`: one of the two members of the direct room has blocked the other, and the change would show new content"
    )]
    Forbidden(ErrorBody),
    #[response(status = 404, description = "The message does not exist")]
    NotFound(ErrorBody),
}

#[derive(IntoResponses)]
#[response(status = 422, description = "The input is invalid")]
pub struct InvalidInput(ErrorBody);

/// The caller writes too much.
#[derive(IntoResponses)]
#[response(
    status = 429,
    description = "The caller's budget of such writes in a minute is used up; nothing was changed"
)]
pub struct BudgetUsedUp(ErrorBody);

/// The errors of a message with a file.
#[derive(IntoResponses)]
pub enum UploadErrors {
    #[response(
        status = 409,
        description = "`UPLOAD_INCOMPLETE`: the file is not stored yet. `UPLOAD_CHANGED`: the stored file is not the one of the upload. `UPLOAD_ALREADY_SENT`: another message has it"
    )]
    Conflict(ErrorBody),
    #[response(status = 410, description = "`UPLOAD_EXPIRED`: the upload is older than a day, or was tried too often")]
    Gone(ErrorBody),
}

#[derive(IntoResponses)]
#[response(status = 501, description = "`ATTACHMENTS_DISABLED`: this deployment has no store for files")]
pub struct AttachmentsDisabled(ErrorBody);

/// The caller searches too much.
#[derive(IntoResponses)]
#[response(status = 429, description = "The caller's budget of searches in a minute is used up")]
pub struct SearchesUsedUp(ErrorBody);

#[derive(IntoResponses)]
#[response(
    status = 503,
    description = "user-service cannot verify that the users exist, or friend-service that they are friends of the caller"
)]
pub struct UnverifiedUsers(ErrorBody);
