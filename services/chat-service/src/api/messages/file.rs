//! Downloads of the files of messages.

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use common::error::{Error, ErrorBody, Result};
use common::input::{Input, Invalid};
use deserr::Deserr;
use platform::http::{Path, Query};
use service::auth::CurrentUser;
use utoipa::IntoParams;

use crate::api::caller::Caller;
use crate::api::responses::{AttachmentsDisabled, InvalidInput};
use crate::domain::{Message, THUMBNAILS};
use crate::state::AppState;

/// Download the file of a message.
#[utoipa::path(
    get,
    operation_id = "getMessageFile",
    path = "/messages/{id}/file",
    tag = "messages",
    security(("bearer" = []), ("ticket" = [])),
    params(("id" = String, Path, description = "The message")),
    responses(
        (status = 302, description = "`Location` is the file for five minutes. Browsers show pictures and save other files"),
        (status = 403, description = "The caller is not a member of the room, or `FILE_REJECTED`", body = ErrorBody),
        (status = 404, description = "The message does not exist, is deleted, or has no file", body = ErrorBody),
        (status = 409, description = "`FILE_NOT_READY`: the file is being checked", body = ErrorBody),
        AttachmentsDisabled,
    ),
)]
pub async fn download(State(app): State<AppState>, Caller(me): Caller, Path(id): Path<String>) -> Result<Redirect> {
    let message = readable_message(&app, &me, &id).await?;
    Ok(redirect(app.attachments.download_url(&message)?))
}

/// The size of a thumbnail.
#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Invalid)]
#[into_params(parameter_in = Query)]
pub struct ThumbnailQuery {
    /// The greatest width and height in pixels, `320` or `1280`. A smaller picture keeps its size.
    #[deserr(default)]
    #[param(value_type = String, required = false, default = "320")]
    width: ThumbnailWidth,
}

impl Input for ThumbnailQuery {}

/// One of [`THUMBNAILS`].
#[derive(Clone, Copy, Debug, Default, Deserr)]
#[deserr(error = Invalid)]
enum ThumbnailWidth {
    #[default]
    #[deserr(rename = "320")]
    Small,
    #[deserr(rename = "1280")]
    Large,
}

/// Download a smaller form of a picture, as WebP.
#[utoipa::path(
    get,
    operation_id = "getMessageThumbnail",
    path = "/messages/{id}/thumbnail",
    tag = "messages",
    security(("bearer" = []), ("ticket" = [])),
    params(("id" = String, Path, description = "The message"), ThumbnailQuery),
    responses(
        (status = 302, description = "`Location` is the thumbnail for five minutes"),
        (status = 403, description = "The caller is not a member of the room", body = ErrorBody),
        (status = 404, description = "The message does not exist, is deleted, or has no `image`", body = ErrorBody),
        InvalidInput,
        AttachmentsDisabled,
    ),
)]
pub async fn thumbnail(
    State(app): State<AppState>,
    Caller(me): Caller,
    Path(id): Path<String>,
    Query(ThumbnailQuery { width }): Query<ThumbnailQuery>,
) -> Result<Redirect> {
    let message = readable_message(&app, &me, &id).await?;
    let [small, large] = THUMBNAILS;
    let side = match width {
        ThumbnailWidth::Small => small,
        ThumbnailWidth::Large => large,
    };
    Ok(redirect(app.attachments.thumbnail_url(&message, side)?))
}

type Redirect = (StatusCode, [(HeaderName, String); 3]);

/// A message of a room of the caller.
async fn readable_message(app: &AppState, me: &CurrentUser, id: &str) -> Result<Message> {
    app.attachments.require()?;
    let message = app.messages.get(id).await?.ok_or_else(|| Error::not_found("Message not found"))?;
    app.room(message.room_id, me).await?;
    Ok(message)
}

/// The answer that sends the caller to the store.
fn redirect(location: String) -> Redirect {
    let headers = [
        (header::LOCATION, location),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    (StatusCode::FOUND, headers)
}
