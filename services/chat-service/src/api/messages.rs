//! Messages: sending, listing, changing.

use std::collections::HashMap;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use common::auth::CurrentUser;
use common::error::{Error, ErrorBody, Result};
use common::http::{Path, Query, Valid};
use common::id::{RoomId, UserId};
use common::input::{Input, Int, Invalid, Text};
use deserr::Deserr;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::AppState;
use crate::domain::{Change, Message, MessageType, Reaction, Room, readable};
use crate::store::{Cursor, Mark};
use crate::writer::{Act, Draft, Written, new_message};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, send, edit, delete)).routes(routes!(list_by_query, send_by_body))
}

#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Invalid)]
struct NewMessage {
    #[schema(example = "안녕하세요 👋")]
    content: Text<1, 300>,
    /// Clients may send all but `system`.
    #[deserr(default)]
    message_type: MessageType,
    /// Makes the send idempotent: of the messages with one key, the first counts.
    #[deserr(default)]
    client_message_id: Option<Text<1, 64>>,
    /// The id of a message of the same room.
    #[deserr(default)]
    reply_to: Option<String>,
}

impl Input for NewMessage {}

#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Invalid)]
struct NewMessageInRoom {
    room_id: RoomId,
    content: Text<1, 300>,
    #[deserr(default)]
    message_type: MessageType,
    #[deserr(default)]
    client_message_id: Option<Text<1, 64>>,
    #[deserr(default)]
    reply_to: Option<String>,
}

impl Input for NewMessageInRoom {}

#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Invalid)]
struct NewContent {
    content: Text<1, 300>,
}

impl Input for NewContent {}

/// A message as its readers see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageBody {
    id: String,
    user_id: UserId,
    room_id: RoomId,
    #[schema(example = "private")]
    room_type: String,
    /// Empty where the message is deleted.
    content: String,
    message_type: MessageType,
    file_url: Option<String>,
    file_name: Option<String>,
    file_size: Option<i64>,
    file_type: Option<String>,
    is_deleted: bool,
    deleted_at: Option<DateTime<Utc>>,
    is_edited: bool,
    edited_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    read_by: Option<Vec<UserId>>,
    is_read: Option<bool>,
    /// The position of its birth in the room's log.
    seq: Option<i64>,
    username: Option<String>,
    client_message_id: Option<String>,
    reply_to: Option<String>,
    reactions: Vec<Reaction>,
}

impl MessageBody {
    pub fn of(message: &Message) -> Self {
        Self {
            id: message.id.to_hex(),
            user_id: message.user_id,
            room_id: message.room_id,
            room_type: message.room_type.clone(),
            content: if message.is_deleted { String::new() } else { message.content.clone() },
            message_type: message.message_type,
            file_url: message.file_url.clone(),
            file_name: message.file_name.clone(),
            file_size: message.file_size,
            file_type: message.file_type.clone(),
            is_deleted: message.is_deleted,
            deleted_at: message.deleted_at,
            is_edited: message.is_edited,
            edited_at: message.edited_at,
            created_at: message.created_at,
            updated_at: message.updated_at,
            read_by: None,
            is_read: None,
            seq: message.seq,
            username: message.username.clone(),
            client_message_id: message.client_message_id.clone(),
            reply_to: message.reply_to.clone(),
            reactions: message.reactions.clone(),
        }
    }
}

impl MessageBody {
    /// With who has read it: of one's own message whether another has, of another's whether oneself has.
    fn read(mut self, marks: &HashMap<UserId, Mark>, me: UserId) -> Self {
        let Some(position) = self.seq else { return self };
        let mut readers: Vec<UserId> = marks
            .iter()
            .filter(|(reader, mark)| **reader != self.user_id && mark.covers(position))
            .map(|(reader, _)| *reader)
            .collect();
        readers.sort_unstable();
        let own = self.user_id == me;
        self.is_read = Some(if own { !readers.is_empty() } else { readers.contains(&me) });
        self.read_by = Some(readers);
        self
    }
}

/// Send a message to a room.
#[utoipa::path(
    post,
    path = "/messages/{id}",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = i64, Path, description = "The room")),
    request_body = NewMessage,
    responses(
        (status = 201, description = "Safe on disk, and on its way to all readers", body = MessageBody),
        (status = 200, description = "A repeat: the first message with this `client_message_id`", body = MessageBody),
        (status = 400, description = "`INVALID_INPUT`: only white space, or `system`; or no such `reply_to`", body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 403, description = "Not a member, or `BLOCKED`", body = ErrorBody),
        (status = 404, description = "No such room", body = ErrorBody),
        (status = 422, description = "Empty or too long", body = ErrorBody),
        (status = 503, description = "Not written in time; send it again with the same `client_message_id`", body = ErrorBody),
    ),
)]
async fn send(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(room): Path<RoomId>,
    Valid(new): Valid<NewMessage>,
) -> Result<(StatusCode, Json<MessageBody>)> {
    send_to(&app, &me, room, new).await
}

/// Send a message to the room that the body names.
#[utoipa::path(
    post,
    path = "/messages",
    tag = "messages",
    security(("bearer" = [])),
    request_body = NewMessageInRoom,
    responses(
        (status = 201, body = MessageBody),
        (status = 200, description = "A repeat", body = MessageBody),
        (status = 400, body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody),
    ),
)]
async fn send_by_body(
    State(app): State<AppState>,
    me: CurrentUser,
    Valid(new): Valid<NewMessageInRoom>,
) -> Result<(StatusCode, Json<MessageBody>)> {
    let NewMessageInRoom { room_id, content, message_type, client_message_id, reply_to } = new;
    send_to(&app, &me, room_id, NewMessage { content, message_type, client_message_id, reply_to }).await
}

async fn send_to(
    app: &AppState,
    me: &CurrentUser,
    room: RoomId,
    new: NewMessage,
) -> Result<(StatusCode, Json<MessageBody>)> {
    let arrived = Instant::now();
    let room = app.room(room, me).await?;
    app.blocks.admit(&room)?;
    let draft = draft(app, &room, new).await?;
    let username = username(app, me).await;
    let message = new_message(&room, me.id, username, draft);
    let Written { message, position } = app.writer.write(me.id, Act::Send(Box::new(message))).await?;
    let status = if position.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    if position.is_some() {
        app.metrics.messages_sent.with_label_values(&[message.message_type.as_str()]).inc();
        app.metrics.processing.with_label_values::<&str>(&[]).observe(arrived.elapsed().as_secs_f64());
    }
    Ok((status, Json(MessageBody::of(&message))))
}

/// Holds what the client says to the rules.
async fn draft(app: &AppState, room: &Room, new: NewMessage) -> Result<Draft> {
    if new.message_type == MessageType::System {
        return Err(Error::refused(StatusCode::BAD_REQUEST, "INVALID_INPUT", "Only the system sends system messages"));
    }
    let content = readable(new.content.0)?;
    let reply_to = match new.reply_to {
        Some(id) => Some(replied(app, room, &id).await?),
        None => None,
    };
    let client_message_id = new.client_message_id.map(|Text(id)| id);
    Ok(Draft { content, message_type: new.message_type, client_message_id, reply_to })
}

async fn replied(app: &AppState, room: &Room, id: &str) -> Result<String> {
    match app.messages.get(id).await {
        Ok(message) if message.room_id == room.id => Ok(message.id.to_hex()),
        Ok(_) | Err(Error::Refused { .. }) => Err(Error::business("reply_to names no message of this room")),
        Err(e) => Err(e),
    }
}

/// The sender's name: in our tokens; the original's have none.
async fn username(app: &AppState, me: &CurrentUser) -> Option<String> {
    if me.username.is_some() {
        return me.username.clone();
    }
    app.users.profiles_at_hand(&[me.id]).await.get(&me.id).map(|profile| profile.username.clone())
}

#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Invalid)]
#[into_params(parameter_in = Query)]
struct Page {
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
struct RoomPage {
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
struct MessagePage {
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
    path = "/messages/{id}",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = i64, Path, description = "The room"), Page),
    responses(
        (status = 200, body = MessagePage),
        (status = 401, body = ErrorBody),
        (status = 403, description = "Not a member", body = ErrorBody),
        (status = 404, description = "No such room, or no such message as cursor", body = ErrorBody),
        (status = 422, body = ErrorBody),
    ),
)]
async fn list(
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
    path = "/messages",
    tag = "messages",
    security(("bearer" = [])),
    params(RoomPage),
    responses(
        (status = 200, body = MessagePage),
        (status = 401, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody),
    ),
)]
async fn list_by_query(
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

/// Edit a message of one's own.
#[utoipa::path(
    put,
    path = "/messages/{id}",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The message")),
    request_body = NewContent,
    responses(
        (status = 200, body = MessageBody),
        (status = 400, description = "`INVALID_INPUT` or `MESSAGE_ALREADY_DELETED`", body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 403, description = "Another's message, or not a member", body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody),
    ),
)]
async fn edit(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(id): Path<String>,
    Valid(NewContent { content: Text(content) }): Valid<NewContent>,
) -> Result<Json<MessageBody>> {
    let content = readable(content)?;
    change(&app, &me, &id, Change::Edit { content }).await.map(|message| Json(MessageBody::of(&message)))
}

#[derive(Debug, Serialize, ToSchema)]
struct Deleted {
    message: &'static str,
}

/// Delete a message of one's own.
#[utoipa::path(
    delete,
    path = "/messages/{id}",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The message")),
    responses(
        (status = 200, body = Deleted),
        (status = 400, description = "`MESSAGE_ALREADY_DELETED`", body = ErrorBody),
        (status = 401, body = ErrorBody),
        (status = 403, description = "Another's message, or not a member", body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
async fn delete(State(app): State<AppState>, me: CurrentUser, Path(id): Path<String>) -> Result<Json<Deleted>> {
    change(&app, &me, &id, Change::Delete).await?;
    Ok(Json(Deleted { message: "Message deleted" }))
}

/// Changes a message of a room of the caller; whether they may is decided where it is written.
async fn change(app: &AppState, me: &CurrentUser, id: &str, change: Change) -> Result<Message> {
    let message = app.messages.get(id).await?;
    app.room(message.room_id, me).await?;
    let act = Act::Change { room: message.room_id, message: message.id, change };
    Ok(app.writer.write(me.id, act).await?.message)
}
