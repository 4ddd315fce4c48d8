//! Saying that one is writing.

use axum::extract::State;
use axum::http::StatusCode;
use common::auth::CurrentUser;
use common::clients::user::UNKNOWN_USERNAME;
use common::error::{ErrorBody, Result};
use common::http::Path;
use common::id::RoomId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::AppState;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(typing))
}

/// Tell those who listen to a room that one is writing: live only, and once in a second at most.
#[utoipa::path(
    post,
    operation_id = "tell_typing",
    path = "/messages/{id}/typing",
    tag = "stream",
    security(("bearer" = [])),
    params(("id" = i64, Path, description = "The room")),
    responses(
        (status = 202, description = "Told to those who listen"),
        (status = 403, description = "Not a member, or `BLOCKED`", body = ErrorBody),
        (status = 404, body = ErrorBody),
        (status = 422, body = ErrorBody),
        (status = 429, description = "Told a moment ago", body = ErrorBody),
    ),
)]
async fn typing(State(app): State<AppState>, me: CurrentUser, Path(room): Path<RoomId>) -> Result<StatusCode> {
    let room = app.rooms.of_member(room, me.id).await?;
    app.blocks.admit(&room)?;
    let username = app.username(&me).await.unwrap_or_else(|| UNKNOWN_USERNAME.to_owned());
    app.typing.tell(room.id, me.id, username).await?;
    Ok(StatusCode::ACCEPTED)
}
