//! What has been read, and what has not.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use common::auth::CurrentUser;
use common::error::{Error, ErrorBody, Result};
use common::http::{Path, Valid};
use common::id::RoomId;
use common::input::{Input, Invalid};
use deserr::Deserr;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::AppState;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(unread_count)).routes(routes!(read))
}

#[derive(Debug, Serialize, ToSchema)]
struct Unread {
    /// Exact to 1,000 and capped there.
    unread_count: i64,
}

/// Count the messages of others that the caller has not read.
#[utoipa::path(
    get,
    path = "/messages/room/{room_id}/unread-count",
    tag = "reads",
    security(("bearer" = [])),
    params(("room_id" = i64, Path)),
    responses(
        (status = 200, body = Unread),
        (status = 401, body = ErrorBody),
        (status = 403, description = "Not a member", body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody),
    ),
)]
async fn unread_count(State(app): State<AppState>, me: CurrentUser, Path(room): Path<RoomId>) -> Result<Json<Unread>> {
    app.room(room, &me).await?;
    let unread = app.marks.unread(me.id, &[room]).await?;
    Ok(Json(Unread { unread_count: unread.get(&room).copied().unwrap_or(0) }))
}

#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Invalid)]
struct ToRead {
    room_id: RoomId,
    /// Which messages; all of the room where it is absent. Unknown ones are skipped.
    #[deserr(default)]
    message_ids: Option<Vec<String>>,
}

impl Input for ToRead {}

#[derive(Debug, Serialize, ToSchema)]
struct ReadAnswer {
    success: bool,
    /// Only those that were not read before.
    read_count: i64,
    message: String,
}

/// Mark messages as read.
#[utoipa::path(
    post,
    path = "/messages/read",
    tag = "reads",
    security(("bearer" = [])),
    request_body = ToRead,
    responses(
        (status = 200, body = ReadAnswer),
        (status = 400, description = "An empty list, or messages of another room", body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 403, description = "Not a member", body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody),
    ),
)]
async fn read(State(app): State<AppState>, me: CurrentUser, Valid(to_read): Valid<ToRead>) -> Result<Json<ReadAnswer>> {
    let room = to_read.room_id;
    app.room(room, &me).await?;
    let read_count = match to_read.message_ids {
        None => app.marks.read_all(me.id, room, app.hub.position(room).await?).await?,
        Some(ids) => read_some(&app, &me, room, ids).await?,
    };
    let message = format!("{read_count} messages marked as read");
    Ok(Json(ReadAnswer { success: true, read_count, message }))
}

async fn read_some(app: &AppState, me: &CurrentUser, room: RoomId, ids: Vec<String>) -> Result<i64> {
    if ids.is_empty() {
        return Err(refused("Message IDs cannot be empty"));
    }
    let messages = app.messages.by_hex_ids(&ids).await?;
    if messages.values().any(|message| message.room_id != room) {
        return Err(refused("All messages must be from the same room"));
    }
    app.marks.read(me.id, room, messages.into_values().collect()).await
}

fn refused(message: &'static str) -> Error {
    Error::refused(StatusCode::BAD_REQUEST, "INVALID_INPUT", message)
}
