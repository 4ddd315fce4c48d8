//! Searching.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use common::auth::CurrentUser;
use common::error::{Error, ErrorBody, Result};
use common::http::Query;
use common::id::RoomId;
use common::input::{Input, Int, Invalid, Text};
use deserr::Deserr;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::MessageBody;
use crate::AppState;

#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Invalid)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// A part of the text, whatever its case; nothing in it has a meaning of its own.
    #[param(value_type = String, min_length = 1, max_length = 100)]
    q: Text<1, 100>,
    /// Only there; all rooms of the caller where it is absent.
    #[deserr(default)]
    #[param(value_type = Option<i64>, minimum = 1)]
    room_id: Option<RoomId>,
    #[deserr(default = Int(20))]
    #[param(value_type = i64, minimum = 1, maximum = 100, default = 20)]
    limit: Int<1, 100>,
    /// The `next_cursor` of the page before.
    #[deserr(default)]
    cursor: Option<String>,
}

impl Input for Wanted {}

/// Messages that were found, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct FoundPage {
    /// May be fewer than asked for, or none, although there are more: a request looks at a bounded number of messages.
    messages: Vec<MessageBody>,
    /// Null when everything was looked at.
    next_cursor: Option<String>,
}

/// Search the caller's rooms, newest messages first.
///
/// A request looks at a bounded number of messages and gives a cursor to go on from there.
#[utoipa::path(
    get,
    operation_id = "search_messages",
    path = "/messages/search",
    tag = "messages",
    security(("bearer" = [])),
    params(Wanted),
    responses(
        (status = 200, body = FoundPage),
        (status = 403, description = "Not a member of that room", body = ErrorBody),
        (status = 404, description = "No such room", body = ErrorBody),
        (status = 422, description = "No text, too long a text, or no cursor of this search", body = ErrorBody),
    ),
)]
pub async fn search(
    State(app): State<AppState>,
    me: CurrentUser,
    Query(Wanted { q: Text(text), room_id, limit, cursor }): Query<Wanted>,
) -> Result<Json<FoundPage>> {
    let rooms = match room_id {
        Some(room) => vec![app.rooms.of_member_now(room, me.id).await?.id],
        None => app.rooms.of_user(me.id).await?.into_iter().map(|own| own.room.id).collect(),
    };
    app.adoption.ensure(&rooms).await?;
    let place = match cursor {
        Some(cursor) => Some(app.search.place(me.id, &cursor).await?.ok_or_else(no_cursor)?),
        None => None,
    };
    let heads = app.log.heads(&rooms).await?;
    let found = app.search.find(&text, &heads, limit.0 as usize, place.as_ref()).await?;
    let next_cursor = match found.place {
        Some(place) => Some(app.search.name(me.id, &place).await?),
        None => None,
    };
    Ok(Json(FoundPage { messages: found.messages.iter().map(MessageBody::of).collect(), next_cursor }))
}

fn no_cursor() -> Error {
    Error::refused(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_INPUT", "The cursor is not one of this search")
}
