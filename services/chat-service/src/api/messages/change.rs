//! Editing and deleting messages.

use axum::Json;
use axum::extract::State;
use common::error::{Error, ErrorBody, Result};
use common::input::{Input, Invalid, Text};
use deserr::Deserr;
use platform::http::{Path, Valid};
use serde::Serialize;
use service::auth::CurrentUser;
use utoipa::ToSchema;

use crate::api::limits::Content;
use crate::api::responses::{BudgetUsedUp, InvalidInput, MessageErrors};
use crate::blocks::allow_messages;
use crate::domain::{Message, MessageChange, readable};
use crate::state::AppState;
use crate::wire::{MessageBody, examples};
use crate::writer::Command;

#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Invalid)]
#[schema(example = json!({"content": "안녕하세요, 지호 님 👋"}))]
pub struct NewContent {
    content: Content,
}

impl Input for NewContent {}

/// Edit a message of the caller.
#[utoipa::path(
    put,
    operation_id = "editMessage",
    path = "/messages/{id}",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The message")),
    request_body = NewContent,
    responses(
        (status = 200, description = "The edited message", body = MessageBody, example = json!(examples::edited())),
        (status = 400, description = "`INVALID_INPUT` or `MESSAGE_ALREADY_DELETED`", body = ErrorBody),
        MessageErrors,
        BudgetUsedUp,
        InvalidInput,
    ),
)]
pub async fn edit(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(id): Path<String>,
    Valid(NewContent { content: Text(content) }): Valid<NewContent>,
) -> Result<Json<MessageBody>> {
    app.message_limit.admit(&content)?;
    let content = readable(content)?;
    change(&app, &me, &id, MessageChange::Edit { content }).await.map(|message| Json(MessageBody::of(&message)))
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Deleted {
    #[schema(example = "Message deleted")]
    message: &'static str,
}

/// Delete a message of the caller.
#[utoipa::path(
    delete,
    operation_id = "deleteMessage",
    path = "/messages/{id}",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The message")),
    responses(
        (status = 200, description = "The message is deleted", body = Deleted),
        (status = 400, description = "`MESSAGE_ALREADY_DELETED`", body = ErrorBody),
        MessageErrors,
        BudgetUsedUp,
    ),
)]
pub async fn delete(State(app): State<AppState>, me: CurrentUser, Path(id): Path<String>) -> Result<Json<Deleted>> {
    change(&app, &me, &id, MessageChange::Delete).await?;
    Ok(Json(Deleted { message: "Message deleted" }))
}

/// Changes a message in a room of the caller. The writer applies the rules to the message's current state. A block stops every
/// change that shows the other user new content; deletions and removed reactions remain possible.
pub(super) async fn change(app: &AppState, me: &CurrentUser, id: &str, change: MessageChange) -> Result<Message> {
    app.budgets.changes.spend(me.id).await?;
    let message = app.messages.get(id).await?.ok_or_else(|| Error::not_found("Message not found"))?;
    let room = app.room(message.room_id, me).await?;
    if change.shows_content() {
        allow_messages(&app.blocks, &room)?;
    }
    let command = Command::Change { room: message.room_id, message: message.id, change };
    Ok(app.writer.write(me.id, command).await?.message)
}
