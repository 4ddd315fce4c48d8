//! Blocks: who wants to hear nothing of whom.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use common::auth::{CurrentUser, ServiceCaller};
use common::error::{ErrorBody, Result};
use common::http::{Path, Query};
use common::id::UserId;
use common::input::{Input, Int, Invalid};

use crate::AppState;
use crate::api::people::Faces;
use crate::api::requests::Message;
use crate::domain::{Pair, Relation, Status, refusal};
use crate::store::Block;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(block, unblock)).routes(routes!(blocked)).routes(routes!(blocks))
}

/// Block someone: ends a friendship or a request, and stops requests and direct messages both ways.
#[utoipa::path(
    post,
    path = "/friends/block/{user_id}",
    tag = "blocks",
    security(("bearer" = [])),
    params(("user_id" = UserId, Path, description = "Whom to block")),
    responses(
        (status = 200, description = "Blocked, or was already", body = Message),
        (status = 400, description = "Oneself", body = ErrorBody),
        (status = 404, description = "No such person", body = ErrorBody),
        (status = 503, description = "It cannot be verified that the person exists", body = ErrorBody),
    ),
)]
async fn block(State(app): State<AppState>, me: CurrentUser, Path(other): Path<UserId>) -> Result<Json<Message>> {
    let pair = Pair::of(me.id, other).ok_or_else(refusal::blocking_oneself)?;
    if !app.users.exists(other).await? {
        return Err(refusal::no_such_person());
    }
    let ended = app.blocks.block(pair, me.id, other).await?;
    if let Some(Relation { status: Status::Pending, requester, .. }) = ended {
        let status = if requester == me.id { "cancelled" } else { "rejected" };
        app.requests.with_label_values(&[status]).inc();
    }
    Ok(Json(Message { message: "User blocked successfully" }))
}

/// Take a block back.
#[utoipa::path(
    delete,
    path = "/friends/block/{user_id}",
    tag = "blocks",
    security(("bearer" = [])),
    params(("user_id" = UserId, Path, description = "Whom to unblock")),
    responses(
        (status = 200, description = "Not blocked any more", body = Message),
        (status = 400, description = "Oneself", body = ErrorBody),
        (status = 404, description = "Was not blocked", body = ErrorBody),
    ),
)]
async fn unblock(State(app): State<AppState>, me: CurrentUser, Path(other): Path<UserId>) -> Result<Json<Message>> {
    let pair = Pair::of(me.id, other).ok_or_else(refusal::blocking_oneself)?;
    app.blocks.unblock(pair, me.id, other).await?;
    Ok(Json(Message { message: "User unblocked successfully" }))
}

#[derive(Debug, Serialize, ToSchema)]
struct BlockedUser {
    user_id: UserId,
    username: String,
    blocked_at: DateTime<Utc>,
}

/// Whom I blocked.
#[utoipa::path(
    get,
    path = "/friends/blocked",
    tag = "blocks",
    security(("bearer" = [])),
    responses((status = 200, description = "The latest first", body = [BlockedUser])),
)]
async fn blocked(State(app): State<AppState>, me: CurrentUser) -> Result<Json<Vec<BlockedUser>>> {
    let blocked = app.blocks.of(me.id).await?;
    let people: Vec<_> = blocked.iter().map(|blocked| blocked.user_id).collect();
    let faces = Faces::of(&app, &people).await?;
    let shown = blocked.into_iter().map(|blocked| BlockedUser {
        user_id: blocked.user_id,
        username: faces.username(blocked.user_id),
        blocked_at: blocked.blocked_at,
    });
    Ok(Json(shown.collect()))
}

#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Invalid)]
#[into_params(parameter_in = Query)]
struct Since {
    /// Blocks after this id.
    #[deserr(default = Int(0))]
    #[param(inline, required = false, default = 0)]
    since_id: Int<0, { i64::MAX }>,
    #[deserr(default = Int(500))]
    #[param(inline, required = false, default = 500)]
    limit: Int<1, 1000>,
}

impl Input for Since {}

/// A part of all blocks.
#[derive(Debug, Serialize, ToSchema)]
struct AllBlocks {
    blocks: Vec<Block>,
    /// Where the next part begins; null after the last.
    next_since_id: Option<i64>,
}

/// All blocks, for the services that keep them.
#[utoipa::path(
    get,
    path = "/friends/blocks",
    tag = "services",
    security(("bearer" = [])),
    params(Since),
    responses(
        (status = 200, description = "In the order of their ids", body = AllBlocks),
        (status = 401, description = "No service's token", body = ErrorBody),
    ),
)]
async fn blocks(
    State(app): State<AppState>,
    _service: ServiceCaller,
    Query(Since { since_id: Int(since), limit: Int(limit) }): Query<Since>,
) -> Result<Json<AllBlocks>> {
    let blocks = app.blocks.since(since, limit).await?;
    // A full part may have been the last; the next one is empty then.
    let next_since_id = blocks.last().filter(|_| blocks.len() == limit as usize).map(|last| last.id);
    Ok(Json(AllBlocks { blocks, next_since_id }))
}
