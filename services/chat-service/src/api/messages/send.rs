//! Sending messages.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use common::error::{Error, ErrorBody, Result};
use common::id::RoomId;
use common::input::{Input, Invalid, Text};
use deserr::Deserr;
use platform::http::{Path, Valid};
use service::auth::CurrentUser;
use utoipa::ToSchema;

use crate::api::limits::Content;
use crate::api::responses::{BudgetUsedUp, InvalidInput};
use crate::blocks::allow_messages;
use crate::domain::{Draft, Message, MessageType, Room, readable};
use crate::state::AppState;
use crate::wire::{MessageBody, examples};
use crate::writer::{Command, Written};

/// Declares the body of a new message: the given fields with the example of their values, and those of every message.
macro_rules! new_message {
    ($name:ident { $($field:ident: $type:ty = $example:literal),* }) => {
        #[derive(Debug, Deserr, ToSchema)]
        #[deserr(error = Invalid)]
        #[schema(example = json!({
            $(stringify!($field): $example,)*
            "content": "안녕하세요 👋", "client_message_id": "3b1f0c52-0d0b-4f6a-9a43-2f8d5f3f7a10"
        }))]
        pub struct $name {
            $($field: $type,)*
            content: Content,
            /// Clients may send all types but `system`.
            #[deserr(default)]
            #[schema(required = false, default = "text")]
            message_type: MessageType,
            /// Makes the send idempotent: a repeat with the same value returns the first message.
            #[deserr(default)]
            client_message_id: Option<Text<1, 64>>,
            /// The id of a message of the same room.
            #[deserr(default)]
            reply_to: Option<String>,
        }

        impl Input for $name {}

        impl From<$name> for Draft {
            fn from(new: $name) -> Self {
                Self {
                    content: new.content.0,
                    message_type: new.message_type,
                    client_message_id: new.client_message_id.map(|Text(id)| id),
                    reply_to: new.reply_to,
                }
            }
        }
    };
}

new_message!(NewMessage {});
new_message!(NewMessageInRoom { room_id: RoomId = 1 });

/// Send a message to a room.
#[utoipa::path(
    post,
    operation_id = "sendMessage",
    path = "/messages/{id}",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = RoomId, Path, description = "The room")),
    request_body = NewMessage,
    responses(
        (status = 201, description = "The message is stored durably, and streams receive it", body = MessageBody, example = json!(examples::sent())),
        (status = 200, description = "A repeat: the first message with this `client_message_id`", body = MessageBody, example = json!(examples::sent())),
        (status = 400, description = "`INVALID_INPUT`: content without a visible character, the type `system`, or an unknown `reply_to`", body = ErrorBody),
        (status = 403, description = "The caller is not a member of the room, or `BLOCKED`", body = ErrorBody),
        (status = 404, description = "The room does not exist", body = ErrorBody),
        (status = 422, description = "The content is empty or too long", body = ErrorBody),
        BudgetUsedUp,
        (status = 503, description = "Not stored in time. Repeat it with the same `client_message_id`", body = ErrorBody),
    ),
)]
pub async fn send(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(room): Path<RoomId>,
    Valid(new): Valid<NewMessage>,
) -> Result<(StatusCode, Json<MessageBody>)> {
    send_to(&app, &me, room, new.into()).await
}

/// Send a message to the room that the body names.
#[utoipa::path(
    post,
    operation_id = "sendMessageByBody",
    path = "/messages",
    tag = "messages",
    security(("bearer" = [])),
    request_body = NewMessageInRoom,
    responses(
        (status = 201, description = "The message is stored durably, and streams receive it", body = MessageBody, example = json!(examples::sent())),
        (status = 200, description = "A repeat: the first message with this `client_message_id`", body = MessageBody, example = json!(examples::sent())),
        (status = 400, description = "`INVALID_INPUT`: content without a visible character, the type `system`, or an unknown `reply_to`", body = ErrorBody),
        (status = 403, description = "The caller is not a member of the room, or `BLOCKED`", body = ErrorBody),
        (status = 404, description = "The room does not exist", body = ErrorBody),
        InvalidInput,
        BudgetUsedUp,
        (status = 503, description = "Not stored in time. Repeat it with the same `client_message_id`", body = ErrorBody),
    ),
)]
pub async fn send_by_body(
    State(app): State<AppState>,
    me: CurrentUser,
    Valid(new): Valid<NewMessageInRoom>,
) -> Result<(StatusCode, Json<MessageBody>)> {
    send_to(&app, &me, new.room_id, new.into()).await
}

async fn send_to(
    app: &AppState,
    me: &CurrentUser,
    room: RoomId,
    draft: Draft,
) -> Result<(StatusCode, Json<MessageBody>)> {
    let arrived = Instant::now();
    app.budgets.messages.spend(me.id).await?;
    let room = app.room(room, me).await?;
    allow_messages(&app.blocks, &room)?;
    let draft = validate(app, &room, draft).await?;
    let username = app.username(me).await;
    let message = Message::new(&room, me.id, username, draft, app.clock.now());
    let Written { message, position } = app.writer.write(me.id, Command::Send(Box::new(message))).await?;
    let status = if position.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    if position.is_some() {
        app.metrics.messages_sent.with_label_values(&[message.message_type.as_str()]).inc();
        app.metrics.processing.with_label_values::<&str>(&[]).observe(arrived.elapsed().as_secs_f64());
    }
    Ok((status, Json(MessageBody::of(&message))))
}

/// Applies the rules for new messages.
async fn validate(app: &AppState, room: &Room, draft: Draft) -> Result<Draft> {
    if draft.message_type == MessageType::System {
        let message = "Clients cannot send system messages";
        return Err(Error::refused(StatusCode::BAD_REQUEST, "INVALID_INPUT", message));
    }
    app.message_limit.admit(&draft.content)?;
    let content = readable(draft.content)?;
    let reply_to = match draft.reply_to {
        Some(id) => Some(message_in_room(app, room, &id).await?),
        None => None,
    };
    Ok(Draft { content, reply_to, ..draft })
}

/// The id of a message in the form in which it is stored.
async fn message_in_room(app: &AppState, room: &Room, id: &str) -> Result<String> {
    let message = app.messages.get(id).await?.filter(|message| message.room_id == room.id);
    let message = message.ok_or_else(|| Error::business("reply_to is not a message of this room"))?;
    Ok(message.id.to_hex())
}
