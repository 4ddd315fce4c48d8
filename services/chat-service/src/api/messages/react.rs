//! Reactions.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use common::error::{Error, ErrorBody, Result};
use common::input::Invalid;
use deserr::Deserr;
use platform::http::Path;
use service::auth::CurrentUser;

use super::change::change;
use crate::api::responses::{BudgetUsedUp, MessageErrors};
use crate::domain::{MessageChange, ReactionChange, emoji};
use crate::state::AppState;
use crate::wire::{MessageBody, examples};

#[derive(Debug, Deserr)]
#[deserr(error = Invalid)]
pub struct ReactionPath {
    id: String,
    emoji: String,
}

/// Add a reaction to a message. A repeated reaction changes nothing.
#[utoipa::path(
    put,
    operation_id = "addReaction",
    path = "/messages/{id}/reactions/{emoji}",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The message"), ("emoji" = String, Path, example = "👍")),
    responses(
        (status = 200, description = "The message with its reactions", body = MessageBody, example = json!(examples::reacted())),
        (status = 400, description = "`MESSAGE_ALREADY_DELETED`, or the message has 20 different emoji already", body = ErrorBody),
        MessageErrors,
        BudgetUsedUp,
        (status = 422, description = "The reaction is not exactly one emoji", body = ErrorBody),
    ),
)]
pub async fn add(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(path): Path<ReactionPath>,
) -> Result<Json<MessageBody>> {
    react(&app, &me, path, true).await
}

/// Remove a reaction. Removing a reaction that does not exist changes nothing.
#[utoipa::path(
    delete,
    operation_id = "removeReaction",
    path = "/messages/{id}/reactions/{emoji}",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The message"), ("emoji" = String, Path, example = "👍")),
    responses(
        (status = 200, description = "The message with its reactions", body = MessageBody, example = json!(examples::edited())),
        (status = 400, description = "`MESSAGE_ALREADY_DELETED`", body = ErrorBody),
        MessageErrors,
        BudgetUsedUp,
        (status = 422, description = "The reaction is not exactly one emoji", body = ErrorBody),
    ),
)]
pub async fn remove(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(path): Path<ReactionPath>,
) -> Result<Json<MessageBody>> {
    react(&app, &me, path, false).await
}

async fn react(app: &AppState, me: &CurrentUser, path: ReactionPath, added: bool) -> Result<Json<MessageBody>> {
    let no_emoji =
        || Error::refused(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_INPUT", "A reaction must be exactly one emoji");
    let emoji = emoji(&path.emoji).ok_or_else(no_emoji)?;
    let message = change(app, me, &path.id, MessageChange::React(ReactionChange { emoji, added })).await?;
    Ok(Json(MessageBody::of(&message)))
}
