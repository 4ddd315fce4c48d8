//! Editing and deleting.

use axum::Json;
use axum::extract::State;
use common::auth::CurrentUser;
use common::error::{ErrorBody, Result};
use common::http::{Path, Valid};
use common::input::{Input, Invalid, Text};
use deserr::Deserr;
use serde::Serialize;
use utoipa::ToSchema;

use super::MessageBody;
use crate::AppState;
use crate::domain::{Change, Message, readable};
use crate::writer::Act;

#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Invalid)]
pub struct NewContent {
    content: Text<1, 300>,
}

impl Input for NewContent {}

/// Edit a message of one's own.
#[utoipa::path(
    put,
    operation_id = "edit_message",
    path = "/messages/{id}",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The message")),
    request_body = NewContent,
    responses(
        (status = 200, body = MessageBody),
        (status = 400, description = "`INVALID_INPUT` or `MESSAGE_ALREADY_DELETED`", body = ErrorBody),
        (status = 403, description = "Another's message, or not a member", body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody),
    ),
)]
pub async fn edit(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(id): Path<String>,
    Valid(NewContent { content: Text(content) }): Valid<NewContent>,
) -> Result<Json<MessageBody>> {
    let content = readable(content)?;
    change(&app, &me, &id, Change::Edit { content }).await.map(|message| Json(MessageBody::of(&message)))
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Deleted {
    message: &'static str,
}

/// Delete a message of one's own.
#[utoipa::path(
    delete,
    operation_id = "delete_message",
    path = "/messages/{id}",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The message")),
    responses(
        (status = 200, body = Deleted),
        (status = 400, description = "`MESSAGE_ALREADY_DELETED`", body = ErrorBody),
        (status = 403, description = "Another's message, or not a member", body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
pub async fn delete(State(app): State<AppState>, me: CurrentUser, Path(id): Path<String>) -> Result<Json<Deleted>> {
    change(&app, &me, &id, Change::Delete).await?;
    Ok(Json(Deleted { message: "Message deleted" }))
}

/// Changes a message of a room of the caller; whether they may is decided where it is written.
pub(super) async fn change(app: &AppState, me: &CurrentUser, id: &str, change: Change) -> Result<Message> {
    let message = app.messages.get(id).await?;
    app.room(message.room_id, me).await?;
    let act = Act::Change { room: message.room_id, message: message.id, change };
    Ok(app.writer.write(me.id, act).await?.message)
}
