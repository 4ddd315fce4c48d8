//! Reactions.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use common::auth::CurrentUser;
use common::error::{Error, ErrorBody, Result};
use common::http::Path;
use common::input::Invalid;
use deserr::Deserr;

use super::MessageBody;
use super::change::change;
use crate::AppState;
use crate::domain::{Change, Reacted, emoji};

#[derive(Debug, Deserr)]
#[deserr(error = Invalid)]
pub struct ReactionPath {
    id: String,
    emoji: String,
}

/// React to a message with an emoji. Once more changes nothing.
#[utoipa::path(
    put,
    operation_id = "add_reaction",
    path = "/messages/{id}/reactions/{emoji}",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The message"), ("emoji" = String, Path, example = "👍")),
    responses(
        (status = 200, body = MessageBody),
        (status = 400, description = "`MESSAGE_ALREADY_DELETED`, or 20 different ones are there", body = ErrorBody),
        (status = 403, description = "Not a member, or a message of the system", body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 422, description = "Not one emoji", body = ErrorBody),
    ),
)]
pub async fn add(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(path): Path<ReactionPath>,
) -> Result<Json<MessageBody>> {
    react(&app, &me, path, true).await
}

/// Take a reaction back. What is not there stays away.
#[utoipa::path(
    delete,
    operation_id = "remove_reaction",
    path = "/messages/{id}/reactions/{emoji}",
    tag = "messages",
    security(("bearer" = [])),
    params(("id" = String, Path, description = "The message"), ("emoji" = String, Path, example = "👍")),
    responses(
        (status = 200, body = MessageBody),
        (status = 400, description = "`MESSAGE_ALREADY_DELETED`", body = ErrorBody),
        (status = 403, description = "Not a member, or a message of the system", body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 422, description = "Not one emoji", body = ErrorBody),
    ),
)]
pub async fn take_back(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(path): Path<ReactionPath>,
) -> Result<Json<MessageBody>> {
    react(&app, &me, path, false).await
}

async fn react(app: &AppState, me: &CurrentUser, path: ReactionPath, added: bool) -> Result<Json<MessageBody>> {
    let no_emoji = || Error::refused(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_INPUT", "A reaction is one emoji");
    let emoji = emoji(&path.emoji).ok_or_else(no_emoji)?;
    let message = change(app, me, &path.id, Change::React(Reacted { emoji, added })).await?;
    Ok(Json(MessageBody::of(&message)))
}
