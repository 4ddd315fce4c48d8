//! Typing notifications.

use axum::extract::State;
use axum::http::StatusCode;
use common::error::{ErrorBody, Result};
use common::id::RoomId;
use platform::http::Path;
use service::auth::CurrentUser;
use service::clients::user::UNKNOWN_USERNAME;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::blocks::allow_messages;
use crate::state::AppState;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(typing))
}

/// Notify the streams of a room that the caller is typing, at most once per second.
#[utoipa::path(
    post,
    operation_id = "sendTyping",
    path = "/messages/{id}/typing",
    tag = "stream",
    security(("bearer" = [])),
    params(("id" = RoomId, Path, description = "The room")),
    responses(
        (status = 202, description = "The notification was sent to open streams; it is not stored"),
        (status = 403, description = "The caller is not a member of the room, or `BLOCKED`", body = ErrorBody),
        (status = 404, description = "The room does not exist", body = ErrorBody),
        (status = 422, description = "The id is invalid", body = ErrorBody),
        (status = 429, description = "The last notification is less than a second old, or the caller's budget of changes in a minute is used up", body = ErrorBody),
    ),
)]
async fn typing(State(app): State<AppState>, me: CurrentUser, Path(room): Path<RoomId>) -> Result<StatusCode> {
    let room = app.rooms.for_member(room, me.id).await?;
    allow_messages(&app.blocks, &room)?;
    let username = app.username(&me).await.unwrap_or_else(|| UNKNOWN_USERNAME.to_owned());
    app.typing.publish(room.id, me.id, username).await?;
    Ok(StatusCode::ACCEPTED)
}
