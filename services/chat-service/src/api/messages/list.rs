//! Listing.

use axum::Json;
use axum::extract::State;
use common::auth::CurrentUser;
use common::error::{Error, ErrorBody, Result};
use common::http::{Path, Query};
use common::id::RoomId;
use common::input::{Input, Int, Invalid};
use deserr::Deserr;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::MessageBody;
use crate::AppState;
use crate::store::Cursor;

#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Invalid)]
#[into_params(parameter_in = Query)]
pub struct Page {
    #[deserr(default = Int(50))]
    #[param(value_type = i64, minimum = 1, maximum = 100, default = 50)]
    limit: Int<1, 100>,
    #[deserr(default = Int(0))]
    #[param(value_type = i64, minimum = 0, default = 0)]
    skip: Int<0, { i64::MAX }>,
    /// The messages next to this one, before it.
    #[deserr(default)]
    before: Option<String>,
    /// The messages next to this one, after it.
    #[deserr(default)]
    after: Option<String>,
}

impl Input for Page {
    const ALIASES: &'static [(&'static str, &'static str)] = &[("offset", "skip")];
}

#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Invalid)]
#[into_params(parameter_in = Query)]
pub struct RoomPage {
    #[param(value_type = i64, minimum = 1)]
    room_id: RoomId,
    #[deserr(default = Int(50))]
    #[param(value_type = i64, minimum = 1, maximum = 100, default = 50)]
    limit: Int<1, 100>,
    #[deserr(default = Int(0))]
    #[param(value_type = i64, minimum = 0, default = 0)]
    offset: Int<0, { i64::MAX }>,
}

impl Input for RoomPage {}

/// Messages of a room, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessagePage {
    messages: Vec<MessageBody>,
    /// All messages of the room that are not deleted.
    total_count: i64,
    has_more: bool,
    /// A cursor for the room's stream: opened with it, the stream misses nothing after this page.
    position: i64,
}

/// List messages of a room: the newest after `skip`, or those next to a message.
#[utoipa::path(
    get,
    operation_id = "list_messages",
    path = "/messages/{id}",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = i64, Path, description = "The room"), Page),
    responses(
        (status = 200, body = MessagePage),
        (status = 403, description = "Not a member", body = ErrorBody),
        (status = 404, description = "No such room, or no such message as cursor", body = ErrorBody),
        (status = 422, body = ErrorBody),
    ),
)]
pub async fn list(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(room): Path<RoomId>,
    Query(page): Query<Page>,
) -> Result<Json<MessagePage>> {
    page_of(&app, &me, room, page).await
}

/// List messages of the room that the query names.
#[utoipa::path(
    get,
    operation_id = "list_messages_by_query",
    path = "/messages",
    tag = "messages",
    security(("bearer" = [])),
    params(RoomPage),
    responses(
        (status = 200, body = MessagePage),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody),
    ),
)]
pub async fn list_by_query(
    State(app): State<AppState>,
    me: CurrentUser,
    Query(page): Query<RoomPage>,
) -> Result<Json<MessagePage>> {
    let RoomPage { room_id, limit, offset } = page;
    page_of(&app, &me, room_id, Page { limit, skip: offset, before: None, after: None }).await
}

async fn page_of(app: &AppState, me: &CurrentUser, room: RoomId, page: Page) -> Result<Json<MessagePage>> {
    app.room(room, me).await?;
    let cursor = cursor(app, room, &page).await?;
    // Before the messages, so that what is sent in between comes on the stream.
    let head = app.log.head(room).await?;
    // One more than asked for tells whether there are more.
    let (messages, marks) = tokio::join!(app.messages.list(room, cursor, page.limit.0 + 1), app.marks.in_room(room));
    let (mut messages, marks) = (messages?, marks?);
    let has_more = messages.len() as i64 > page.limit.0;
    if has_more {
        let surplus = if matches!(cursor, Cursor::After(_)) { messages.len() - 1 } else { 0 };
        messages.remove(surplus);
    }
    Ok(Json(MessagePage {
        messages: messages.iter().map(|message| MessageBody::of(message).read(&marks, me.id)).collect(),
        total_count: head.as_ref().map_or(0, |head| head.total()),
        has_more,
        position: head.map_or(0, |head| head.position),
    }))
}

async fn cursor(app: &AppState, room: RoomId, page: &Page) -> Result<Cursor> {
    let position = async |id: &str| {
        let message = app.messages.get(id).await?;
        let seq = message.seq.filter(|_| message.room_id == room);
        seq.ok_or_else(|| Error::not_found("Message not found"))
    };
    match (&page.before, &page.after) {
        (Some(id), _) => Ok(Cursor::Before(position(id).await?)),
        (None, Some(id)) => Ok(Cursor::After(position(id).await?)),
        (None, None) => Ok(Cursor::Skip(page.skip.0.unsigned_abs())),
    }
}
