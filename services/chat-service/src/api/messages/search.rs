//! Search of messages.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use common::error::{Error, ErrorBody, Result};
use common::id::RoomId;
use common::input::{Input, Int, Invalid, SearchText};
use deserr::Deserr;
use platform::http::Query;
use serde::Serialize;
use service::auth::CurrentUser;
use utoipa::{IntoParams, ToSchema};

use crate::api::responses::SearchesUsedUp;
use crate::state::AppState;
use crate::wire::{MessageBody, examples};

#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Invalid)]
#[into_params(parameter_in = Query)]
pub struct SearchQuery {
    /// A part of the content, in any case and Unicode normalization. White space at its ends is removed. No character has a
    /// special meaning.
    #[param(value_type = String, min_length = 1, max_length = 100)]
    q: SearchText<100>,
    /// Limits the search to one room. Without it, all rooms of the caller are searched.
    #[deserr(default)]
    #[param(value_type = Option<i64>, minimum = 1)]
    room_id: Option<RoomId>,
    #[deserr(default = Int(20))]
    #[param(value_type = i64, required = false, minimum = 1, maximum = 100, default = 20)]
    limit: Int<1, 100>,
    /// The `next_cursor` of the previous page, for the same text and room. It is opaque and valid for 7 days.
    #[deserr(default)]
    cursor: Option<String>,
}

impl Input for SearchQuery {}

/// A page of results, newest messages first.
#[derive(Debug, Serialize, ToSchema)]
pub struct FoundPage {
    /// May be fewer than `limit`, or none, even if more follow: a request scans a bounded number of messages.
    #[schema(example = json!([examples::sent()]))]
    messages: Vec<MessageBody>,
    /// Null on the last page.
    #[schema(required, example = "AZNePHpAAQAB")]
    next_cursor: Option<String>,
}

/// Search the messages of the caller's rooms, newest first.
///
/// A request scans a bounded number of messages and returns a cursor for the next page.
#[utoipa::path(
    get,
    operation_id = "searchMessages",
    path = "/messages/search",
    tag = "messages",
    security(("bearer" = [])),
    params(SearchQuery),
    responses(
        SearchesUsedUp,
        (status = 200, description = "A page of results", body = FoundPage),
        (status = 403, description = "The caller is not a member of the room", body = ErrorBody),
        (status = 404, description = "The room does not exist", body = ErrorBody),
        (status = 422, description = "The text is empty or too long. `INVALID_INPUT`: the cursor is malformed or expired, or was issued to another user", body = ErrorBody),
    ),
)]
pub async fn search(
    State(app): State<AppState>,
    me: CurrentUser,
    Query(SearchQuery { q: SearchText(text), room_id, limit, cursor }): Query<SearchQuery>,
) -> Result<Json<FoundPage>> {
    let rooms = match room_id {
        Some(room) => vec![app.rooms.for_member_uncached(room, me.id).await?.id],
        None => app.rooms.joined(me.id).await?.into_iter().map(|own| own.id).collect(),
    };
    let from = match cursor {
        Some(cursor) => Some(app.search.decode(me.id, &cursor).await?.ok_or_else(invalid_cursor)?),
        None => None,
    };
    let heads = app.heads(&rooms).await?;
    let found = app.search.find(&text, &heads.of, limit.0 as usize, from.as_ref()).await?;
    let next_cursor = match found.next {
        Some(next) => Some(app.search.encode(me.id, &next).await?),
        None => None,
    };
    Ok(Json(FoundPage { messages: found.messages.iter().map(MessageBody::of).collect(), next_cursor }))
}

fn invalid_cursor() -> Error {
    Error::refused(StatusCode::UNPROCESSABLE_ENTITY, "INVALID_INPUT", "This cursor belongs to another search")
}
