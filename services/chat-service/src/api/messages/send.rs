//! Sending.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use common::auth::CurrentUser;
use common::error::{Error, ErrorBody, Result};
use common::http::{Path, Valid};
use common::id::RoomId;
use common::input::{Input, Invalid, Text};
use deserr::Deserr;
use utoipa::ToSchema;

use super::MessageBody;
use crate::AppState;
use crate::domain::{Draft, Message, MessageType, Room, readable};
use crate::store::time;
use crate::writer::{Act, Written};

#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Invalid)]
pub struct NewMessage {
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
pub struct NewMessageInRoom {
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

/// Send a message to a room.
#[utoipa::path(
    post,
    operation_id = "send_message",
    path = "/messages/{id}",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = i64, Path, description = "The room")),
    request_body = NewMessage,
    responses(
        (status = 201, description = "Safe on disk, and on its way to all readers", body = MessageBody),
        (status = 200, description = "A repeat: the first message with this `client_message_id`", body = MessageBody),
        (status = 400, description = "`INVALID_INPUT`: only white space, or `system`; or no such `reply_to`", body = ErrorBody),
        (status = 403, description = "Not a member, or `BLOCKED`", body = ErrorBody),
        (status = 404, description = "No such room", body = ErrorBody),
        (status = 422, description = "Empty or too long", body = ErrorBody),
        (status = 503, description = "Not written in time; send it again with the same `client_message_id`", body = ErrorBody),
    ),
)]
pub async fn send(
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
    operation_id = "send_message_by_body",
    path = "/messages",
    tag = "messages",
    security(("bearer" = [])),
    request_body = NewMessageInRoom,
    responses(
        (status = 201, body = MessageBody),
        (status = 200, description = "A repeat", body = MessageBody),
        (status = 400, body = ErrorBody),
        (status = 403, body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody),
    ),
)]
pub async fn send_by_body(
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
    let username = app.username(me).await;
    let message = Message::new(&room, me.id, username, draft, time::now());
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
