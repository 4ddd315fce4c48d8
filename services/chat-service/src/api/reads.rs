//! Unread counts and reads.

use std::cmp::Reverse;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use common::error::{Error, ErrorBody, Result};
use common::id::RoomId;
use common::input::{Input, Invalid, List};
use deserr::Deserr;
use platform::http::{Path, Valid};
use serde::Serialize;
use service::auth::CurrentUser;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::responses::{BudgetUsedUp, RoomErrors};
use crate::domain::Message;
use crate::state::AppState;
use crate::store::{Head, OwnRoom};

/// The messages of one call that marks them as read: at most as many as an unread count counts.
type MessageIds = List<String, 0, 1000>;

/// Limit on the rooms that a request counts. Each costs one look at an index.
const MAX_COUNTED_ROOMS: usize = 1_000;

/// The rooms of one aggregation, as on a page of rooms.
const ROOMS_PER_COUNT: usize = 100;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(unread_count)).routes(routes!(unread)).routes(routes!(read))
}

#[derive(Debug, Serialize, ToSchema)]
struct UnreadCount {
    /// Exact up to 1,000, and 1,000 beyond.
    unread_count: i64,
}

/// Count the messages of other members that the caller has not read.
#[utoipa::path(
    get,
    operation_id = "countUnread",
    path = "/messages/room/{room_id}/unread-count",
    tag = "reads",
    security(("bearer" = [])),
    params(("room_id" = RoomId, Path)),
    responses((status = 200, description = "The count", body = UnreadCount), RoomErrors),
)]
async fn unread_count(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(room): Path<RoomId>,
) -> Result<Json<UnreadCount>> {
    let room = app.room(room, &me).await?;
    let heads = app.log.heads(&[room.id]).await?;
    let unread = app.unread.of(me.id, [&*room], &heads).await?;
    Ok(Json(UnreadCount { unread_count: unread.get(&room.id).copied().unwrap_or(0) }))
}

/// The unread messages of the caller in all rooms.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"total": 1, "rooms": [{"room_id": 1, "unread_count": 1, "muted": false}], "complete": true}))]
struct UnreadRooms {
    /// The number of unread messages in the rooms that are not muted.
    #[schema(minimum = 0)]
    total: i64,
    /// The rooms with unread messages, newest activity first.
    #[schema(max_items = 1000)]
    rooms: Vec<UnreadRoom>,
    /// False if the caller is a member of more than 1,000 rooms with messages. Then only the 1,000 rooms with the newest activity
    /// were counted.
    complete: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct UnreadRoom {
    room_id: RoomId,
    /// Exact up to 1,000, and 1,000 beyond.
    #[schema(minimum = 1, maximum = 1000)]
    unread_count: i64,
    /// The caller has muted the room; the total leaves it out.
    muted: bool,
}

/// Count the messages of other members that the caller has not read, in all rooms.
#[utoipa::path(
    get,
    operation_id = "countUnreadOfAllRooms",
    path = "/chat-rooms/unread",
    tag = "reads",
    security(("bearer" = [])),
    responses((status = 200, description = "The total and the rooms with unread messages", body = UnreadRooms)),
)]
async fn unread(State(app): State<AppState>, me: CurrentUser) -> Result<Json<UnreadRooms>> {
    let own = app.rooms.of_user(me.id).await?;
    let ids: Vec<RoomId> = own.iter().map(|own| own.room.id).collect();
    let heads = app.heads(&ids).await?;
    // Rooms without messages have no unread ones.
    let mut own: Vec<OwnRoom> = own.into_iter().filter(|own| heads.of.contains_key(&own.room.id)).collect();
    own.sort_by_cached_key(|own| Reverse((Head::last_activity(&own.room, heads.of.get(&own.room.id)), own.room.id)));
    let complete = own.len() <= MAX_COUNTED_ROOMS;
    own.truncate(MAX_COUNTED_ROOMS);
    let mut rooms = Vec::new();
    for own in own.chunks(ROOMS_PER_COUNT) {
        let counts = app.unread.of(me.id, own.iter().map(|own| &own.room), &heads).await?;
        let unread = own.iter().map(|OwnRoom { room, settings, .. }| UnreadRoom {
            room_id: room.id,
            unread_count: counts.get(&room.id).copied().unwrap_or(0),
            muted: settings.muted,
        });
        rooms.extend(unread.filter(|room| room.unread_count > 0));
    }
    let total = rooms.iter().filter(|room| !room.muted).map(|room| room.unread_count).sum();
    Ok(Json(UnreadRooms { total, rooms, complete }))
}

#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Invalid)]
#[schema(example = json!({"room_id": 1, "message_ids": ["6565f0a1c2d3e4f5a6b7c8d9"]}))]
struct ToRead {
    room_id: RoomId,
    /// The messages to mark; without this field, all messages of the room. Unknown ids are skipped.
    #[deserr(default)]
    message_ids: Option<MessageIds>,
}

impl Input for ToRead {}

#[derive(Debug, Serialize, ToSchema)]
struct ReadAnswer {
    #[schema(example = true)]
    success: bool,
    /// The number of messages that were unread before.
    #[schema(example = 1)]
    read_count: usize,
    #[schema(example = "1 messages marked as read")]
    message: String,
}

/// Mark messages as read.
#[utoipa::path(
    post,
    operation_id = "markRead",
    path = "/messages/read",
    tag = "reads",
    security(("bearer" = [])),
    request_body = ToRead,
    responses(
        (status = 200, description = "The messages are read", body = ReadAnswer),
        (status = 400, description = "`INVALID_INPUT`: an empty list, or messages of another room", body = ErrorBody),
        BudgetUsedUp,
        RoomErrors,
    ),
)]
async fn read(State(app): State<AppState>, me: CurrentUser, Valid(to_read): Valid<ToRead>) -> Result<Json<ReadAnswer>> {
    app.budgets.changes.spend(me.id).await?;
    let room = app.room(to_read.room_id, &me).await?;
    let read_count = match to_read.message_ids {
        None => app.receipts.read_room(me.id, &room).await?,
        Some(List(ids)) => {
            let messages = messages_of(&app, room.id, ids).await?;
            app.receipts.read_messages(me.id, &room, &messages).await?
        }
    };
    let message = format!("{read_count} messages marked as read");
    Ok(Json(ReadAnswer { success: true, read_count, message }))
}

async fn messages_of(app: &AppState, room: RoomId, ids: Vec<String>) -> Result<Vec<Message>> {
    if ids.is_empty() {
        return Err(refused("Message IDs cannot be empty"));
    }
    let messages: Vec<Message> = app.messages.by_hex_ids(&ids).await?.into_values().collect();
    if messages.iter().any(|message| message.room_id != room) {
        return Err(refused("All messages must be from the same room"));
    }
    Ok(messages)
}

fn refused(message: &'static str) -> Error {
    Error::refused(StatusCode::BAD_REQUEST, "INVALID_INPUT", message)
}
