//! Paths that only older clients of the original call.

use axum::Json;
use axum::extract::State;
use utoipa_axum::{router::OpenApiRouter, routes};

use common::auth::CurrentUser;
use common::error::{ErrorBody, Result};
use common::http::Path;
use common::id::UserId;
use common::input::Int;

use crate::AppState;
use crate::api::requests::{self, Friendship, Message, Request};
use crate::domain::refusal;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(pending)).routes(routes!(accept)).routes(routes!(reject))
}

/// The number of a request.
type RequestId = Int<1, { i64::MAX }>;

/// The requests that others sent me.
#[utoipa::path(
    get,
    path = "/friends/requests/pending",
    tag = "older clients",
    security(("bearer" = [])),
    responses((status = 200, description = "As received_requests of /friends/requests", body = [Request])),
)]
async fn pending(State(app): State<AppState>, me: CurrentUser) -> Result<Json<Vec<Request>>> {
    Ok(Json(requests::received_by(&app, me.id).await?))
}

/// Accept a request by its number.
#[utoipa::path(
    post,
    path = "/friends/{id}/accept",
    tag = "older clients",
    security(("bearer" = [])),
    params(("id" = i64, Path, description = "The request's number")),
    responses(
        (status = 200, description = "Friends now", body = Friendship),
        (status = 400, description = "No such request to me", body = ErrorBody),
    ),
)]
async fn accept(State(app): State<AppState>, me: CurrentUser, Path(id): Path<RequestId>) -> Result<Json<Friendship>> {
    let requester = requester(&app, &me, id).await?;
    Ok(Json(requests::accept(&app, &me, requester).await?))
}

/// Reject a request by its number.
#[utoipa::path(
    post,
    path = "/friends/{id}/reject",
    tag = "older clients",
    security(("bearer" = [])),
    params(("id" = i64, Path, description = "The request's number")),
    responses(
        (status = 200, description = "Rejected", body = Message),
        (status = 400, description = "No such request to me", body = ErrorBody),
    ),
)]
async fn reject(State(app): State<AppState>, me: CurrentUser, Path(id): Path<RequestId>) -> Result<Json<Message>> {
    let requester = requester(&app, &me, id).await?;
    Ok(Json(requests::reject(&app, &me, requester).await?))
}

/// A request is named by who sent it: of two people there is only one.
async fn requester(app: &AppState, me: &CurrentUser, Int(id): RequestId) -> Result<UserId> {
    app.friendships.requester_of(id, me.id).await?.ok_or_else(refusal::nothing_pending)
}
