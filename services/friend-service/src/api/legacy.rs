//! Paths that only older clients of the original use.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use utoipa_axum::{router::OpenApiRouter, routes};

use common::error::Result;
use common::id::UserId;
use common::input::Int;
use platform::http::{Path, Query};
use service::auth::CurrentUser;

use crate::api::page::Page;
use crate::api::requests::{self, Friendship, Message, Request, shown};
use crate::api::responses::{BudgetUsedUp, NothingPending, TooManyFriends};
use crate::domain::refusal;
use crate::state::AppState;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(pending)).routes(routes!(accept)).routes(routes!(reject))
}

/// The id of a request.
type RequestId = Int<1, { i64::MAX }>;

/// List the pending requests to the caller.
#[utoipa::path(
    get,
    operation_id = "listReceivedFriendRequests",
    path = "/friends/requests/pending",
    tag = "older clients",
    security(("bearer" = [])),
    params(Page),
    responses((
        status = 200,
        description = "`received_requests` of /friends/requests",
        body = [Request],
        headers(("X-Next-Cursor" = i64, description = "The cursor of the next page; absent on the last page")),
    )),
)]
async fn pending(State(app): State<AppState>, me: CurrentUser, Query(page): Query<Page>) -> Result<impl IntoResponse> {
    let mut found = app.friendships.requests_to(me.id, page.after(), page.limit_and_one()).await?;
    let next = page.cut(&mut found, |request| request.friendship_id);
    Ok((next, Json(shown(&app, found).await?)))
}

/// Accept a request by its id.
#[utoipa::path(
    post,
    operation_id = "acceptFriendRequest",
    path = "/friends/{id}/accept",
    tag = "older clients",
    security(("bearer" = [])),
    params(("id" = inline(RequestId), Path, description = "The id of the request")),
    responses(
        (status = 200, description = "The friendship", body = Friendship),
        TooManyFriends,
        BudgetUsedUp,
        NothingPending,
    ),
)]
async fn accept(State(app): State<AppState>, me: CurrentUser, Path(id): Path<RequestId>) -> Result<Json<Friendship>> {
    let requester = requester(&app, &me, id).await?;
    Ok(Json(requests::accept(&app, &me, requester).await?))
}

/// Reject a request by its id.
#[utoipa::path(
    post,
    operation_id = "rejectFriendRequest",
    path = "/friends/{id}/reject",
    tag = "older clients",
    security(("bearer" = [])),
    params(("id" = inline(RequestId), Path, description = "The id of the request")),
    responses(
        (status = 200, description = "The request was rejected", body = Message, example = json!({"message": "Friend request rejected successfully"})),
        BudgetUsedUp,
        NothingPending,
    ),
)]
async fn reject(State(app): State<AppState>, me: CurrentUser, Path(id): Path<RequestId>) -> Result<Json<Message>> {
    let requester = requester(&app, &me, id).await?;
    Ok(Json(requests::reject(&app, &me, requester).await?))
}

/// The requester of a request to the caller. Two users have at most one request, so the requester identifies it.
async fn requester(app: &AppState, me: &CurrentUser, Int(id): RequestId) -> Result<UserId> {
    app.friendships.requester_of(id, me.id).await?.ok_or_else(refusal::nothing_pending)
}
