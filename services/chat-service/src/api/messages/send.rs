//! Sending messages.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use common::error::{Error, ErrorBody, Result};
use common::id::RoomId;
use common::input::{Input, Invalid, Text};
use deserr::{Deserr, ValuePointerRef};
use platform::http::{Path, Valid};
use service::auth::CurrentUser;
use utoipa::ToSchema;

use crate::api::limits::Content;
use crate::api::responses::{AttachmentsDisabled, BudgetUsedUp, InvalidInput, UploadErrors};
use crate::blocks::allow_messages;
use crate::domain::{Draft, Message, MessageType, Room, readable};
use crate::state::AppState;
use crate::wire::{MessageBody, examples};
use crate::writer::{Command, Written};

/// Declares the body of a new message: the given fields with the example of their values, and those of every message.
macro_rules! new_message {
    ($name:ident { $($field:ident: $type:ty = $example:literal),* }) => {
        #[derive(Debug, Deserr, ToSchema)]
        #[deserr(error = Invalid, validate = $name::require_content -> Invalid)]
        #[schema(example = json!({
            $(stringify!($field): $example,)*
            "content": "안녕하세요 👋", "client_message_id": "3b1f0c52-0d0b-4f6a-9a43-2f8d5f3f7a10"
        }))]
        pub struct $name {
            $($field: $type,)*
            /// Required, unless the message has a file.
            #[deserr(default)]
            #[schema(value_type = Content, required = false)]
            content: Option<Content>,
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
            /// The upload of the file, for a message of the type `image` or `file`. `POST /messages/{id}/uploads` gives it.
            #[deserr(default)]
            upload_id: Option<String>,
        }

        impl Input for $name {}

        impl $name {
            fn require_content(self, at: ValuePointerRef) -> Result<Self, Invalid> {
                if self.content.is_some() || self.upload_id.is_some() {
                    return Ok(self);
                }
                Err(Invalid::new("missing", at.push_key("content"), "Field required"))
            }
        }

        impl From<$name> for Draft {
            fn from(new: $name) -> Self {
                Self {
                    content: new.content.map(|Text(content)| content).unwrap_or_default(),
                    message_type: new.message_type,
                    client_message_id: new.client_message_id.map(|Text(id)| id),
                    reply_to: new.reply_to,
                    upload: new.upload_id,
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
        (status = 400, description = "`INVALID_INPUT`: content without a visible character, the type `system`, a file that the type cannot have, or an unknown `reply_to`; `UPLOAD_OF_OTHER_ROOM`; `IMAGE_NOT_VALID`", body = ErrorBody),
        (status = 403, description = "The caller is not a member of the room, or `BLOCKED`", body = ErrorBody),
        (status = 404, description = "The room does not exist, or `UPLOAD_NOT_FOUND`", body = ErrorBody),
        UploadErrors,
        (status = 422, description = "The content is empty or too long", body = ErrorBody),
        BudgetUsedUp,
        AttachmentsDisabled,
        (status = 503, description = "Not stored in time, or the store of files is unavailable. Repeat it with the same `client_message_id`", body = ErrorBody),
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
        (status = 400, description = "`INVALID_INPUT`: content without a visible character, the type `system`, a file that the type cannot have, or an unknown `reply_to`; `UPLOAD_OF_OTHER_ROOM`; `IMAGE_NOT_VALID`", body = ErrorBody),
        (status = 403, description = "The caller is not a member of the room, or `BLOCKED`", body = ErrorBody),
        (status = 404, description = "The room does not exist, or `UPLOAD_NOT_FOUND`", body = ErrorBody),
        UploadErrors,
        InvalidInput,
        BudgetUsedUp,
        AttachmentsDisabled,
        (status = 503, description = "Not stored in time, or the store of files is unavailable. Repeat it with the same `client_message_id`", body = ErrorBody),
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
    let upload = draft.upload.clone();
    let mut message = Message::new(&room, me.id, username, draft, app.clock.now());
    if let Some(upload) = upload {
        message = match app.attachments.attach(message.clone(), &upload).await {
            Ok(message) => message,
            Err(refusal) => return repeated(app, &message).await?.ok_or(refusal),
        };
    }
    let Written { message, position } = write(app, me, message).await?;
    let status = if position.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    if position.is_some() {
        app.metrics.messages_sent.with_label_values(&[message.message_type.as_str()]).inc();
        app.metrics.processing.with_label_values::<&str>(&[]).observe(arrived.elapsed().as_secs_f64());
    }
    Ok((status, Json(MessageBody::of(&message))))
}

/// Stores a message. The copy of its file is removed if another message is stored in its place, or none.
async fn write(app: &AppState, me: &CurrentUser, message: Message) -> Result<Written> {
    let Some(_) = message.upload_id else { return app.writer.write(me.id, Command::Send(Box::new(message))).await };
    let written = app.writer.write(me.id, Command::Send(Box::new(message.clone()))).await;
    match &written {
        Ok(stored) if stored.message.id == message.id => app.attachments.note_sent(&message),
        Ok(_) | Err(Error::Refused { .. }) => app.attachments.withdraw(&message).await,
        // The outcome is unknown.
        Err(_) => {}
    }
    written
}

/// The answer to a repeat whose upload the first send has taken over.
async fn repeated(app: &AppState, message: &Message) -> Result<Option<(StatusCode, Json<MessageBody>)>> {
    let Some(client_message_id) = &message.client_message_id else { return Ok(None) };
    let first = app.messages.sent(message.room_id, message.user_id, client_message_id).await?;
    Ok(first.map(|first| (StatusCode::OK, Json(MessageBody::of(&first)))))
}

/// Applies the rules for new messages.
async fn validate(app: &AppState, room: &Room, draft: Draft) -> Result<Draft> {
    if draft.message_type == MessageType::System {
        let message = "Clients cannot send system messages";
        return Err(Error::refused(StatusCode::BAD_REQUEST, "INVALID_INPUT", message));
    }
    if draft.upload.is_some() {
        app.attachments.require()?;
    }
    app.message_limit.admit(&draft.content)?;
    let is_without_text = draft.upload.is_some() && draft.content.is_empty();
    let content = if is_without_text { draft.content } else { readable(draft.content)? };
    let reply_to = match draft.reply_to {
        Some(id) => Some(message_in_room(app, room, &id).await?),
        None => None,
    };
    Ok(Draft { content, reply_to, ..draft })
}

/// The id of a message in the form in which it is stored.
async fn message_in_room(app: &AppState, room: &Room, id: &str) -> Result<String> {
    let message = app.messages.get(id).await?.filter(|message| message.room_id == room.id);
    let unknown = || {
        let message = "reply_to is not a message of this room";
        Error::refused(StatusCode::BAD_REQUEST, "INVALID_INPUT", message)
    };
    Ok(message.ok_or_else(unknown)?.id.to_hex())
}
