//! What has been read, and what has not.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use common::auth::CurrentUser;
use common::error::{Error, ErrorBody, Result};
use common::events::chat::MessagesRead;
use common::http::{Path, Valid};
use common::id::RoomId;
use common::input::{Input, Invalid};
use deserr::Deserr;
use mongodb::bson;
use mongodb::bson::oid::ObjectId;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::domain::{Message, Room};
use crate::store::{Read, time};
use crate::{AppState, events};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(unread_count)).routes(routes!(read))
}

#[derive(Debug, Serialize, ToSchema)]
struct UnreadCount {
    /// Exact to 1,000 and capped there.
    unread_count: i64,
}

/// Count the messages of others that the caller has not read.
#[utoipa::path(
    get,
    operation_id = "count_unread",
    path = "/messages/room/{room_id}/unread-count",
    tag = "reads",
    security(("bearer" = [])),
    params(("room_id" = i64, Path)),
    responses(
        (status = 200, body = UnreadCount),
        (status = 403, description = "Not a member", body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody),
    ),
)]
async fn unread_count(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(room): Path<RoomId>,
) -> Result<Json<UnreadCount>> {
    let room = app.room(room, &me).await?;
    let unread = app.marks.unread(me.id, &[&room]).await?;
    Ok(Json(UnreadCount { unread_count: unread.get(&room.id).copied().unwrap_or(0) }))
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
    read_count: usize,
    message: String,
}

/// Mark messages as read.
#[utoipa::path(
    post,
    operation_id = "mark_read",
    path = "/messages/read",
    tag = "reads",
    security(("bearer" = [])),
    request_body = ToRead,
    responses(
        (status = 200, body = ReadAnswer),
        (status = 400, description = "An empty list, or messages of another room", body = ErrorBody),
        (status = 403, description = "Not a member", body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody),
    ),
)]
async fn read(State(app): State<AppState>, me: CurrentUser, Valid(to_read): Valid<ToRead>) -> Result<Json<ReadAnswer>> {
    let room = app.room(to_read.room_id, &me).await?;
    let (messages, up_to) = match to_read.message_ids {
        None => whole_room(&app, &me, &room).await?,
        Some(ids) => (named(&app, &me, room.id, ids).await?, None),
    };
    let read_count = messages.len();
    if read_count > 0 {
        mark(&app, &me, room.id, messages, up_to).await?;
    }
    let message = format!("{read_count} messages marked as read");
    Ok(Json(ReadAnswer { success: true, read_count, message }))
}

type Unread = Vec<(ObjectId, i64)>;

/// What is not read of a room, and where the mark will stand.
async fn whole_room(app: &AppState, me: &CurrentUser, room: &Room) -> Result<(Unread, Option<i64>)> {
    // What is sent in between stays unread.
    let position = app.hub.position(room.id).await?;
    let unread = app.marks.newest_unread(me.id, room).await?;
    Ok((unread.into_iter().filter(|(_, at)| *at <= position).collect(), Some(position)))
}

/// What is not read of the messages that the reader names.
async fn named(app: &AppState, me: &CurrentUser, room: RoomId, ids: Vec<String>) -> Result<Unread> {
    if ids.is_empty() {
        return Err(refused("Message IDs cannot be empty"));
    }
    let messages: Vec<Message> = app.messages.by_hex_ids(&ids).await?.into_values().collect();
    if messages.iter().any(|message| message.room_id != room) {
        return Err(refused("All messages must be from the same room"));
    }
    app.marks.unread_of(me.id, room, &messages).await
}

/// Moves the mark, and tells of it.
async fn mark(app: &AppState, me: &CurrentUser, room: RoomId, messages: Unread, up_to: Option<i64>) -> Result<()> {
    let (event_id, at) = (Uuid::now_v7(), time::now());
    let message_ids = messages.iter().map(|(id, _)| id.to_hex()).collect();
    let told = MessagesRead { room_id: room, user_id: me.id, message_ids, up_to };
    let pending = events::of_read(&told, event_id, at)?;
    let bson_id = bson::Uuid::from_bytes(event_id.into_bytes());
    let read = Read { room, reader: me.id, messages, up_to, at, event_id: bson_id, pending: pending.clone() };
    app.marks.move_to(&read).await?;
    app.hub.tell_read(&told, Some(event_id), at);
    app.read_relay.publish(vec![(read.id(), room, pending)]);
    Ok(())
}

fn refused(message: &'static str) -> Error {
    Error::refused(StatusCode::BAD_REQUEST, "INVALID_INPUT", message)
}
