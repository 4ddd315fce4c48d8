//! Blocks between users.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use deserr::Deserr;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use common::error::{ErrorBody, Result};
use common::id::UserId;
use common::input::{Input, Int, Invalid};
use platform::http::{Path, Query};
use service::auth::{CurrentUser, ServiceCaller};

use crate::api::page::Page;
use crate::api::requests::Message;
use crate::api::responses::{BudgetUsedUp, InvalidInput, TargetErrors};
use crate::api::users::ProfileViews;
use crate::domain::{Pair, Relation, Status, refusal};
use crate::state::AppState;
use crate::store::Block;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(block, unblock)).routes(routes!(blocked)).routes(routes!(blocks))
}

/// Block a user. The block ends a friendship or a request, and stops requests and direct messages in both directions.
#[utoipa::path(
    post,
    operation_id = "blockUser",
    path = "/friends/block/{user_id}",
    tag = "blocks",
    security(("bearer" = [])),
    params(("user_id" = UserId, Path, description = "The user to block")),
    responses(
        (status = 200, description = "The user is blocked", body = Message, example = json!({"message": "User blocked successfully"})),
        (status = 400, description = "The user is the caller", body = ErrorBody),
        (status = 403, description = "`TOO_MANY_BLOCKED`: the caller has reached the limit of blocked users", body = ErrorBody),
        BudgetUsedUp,
        TargetErrors,
    ),
)]
async fn block(State(app): State<AppState>, me: CurrentUser, Path(other): Path<UserId>) -> Result<Json<Message>> {
    let blocked = async {
        app.budget.spend(me.id).await?;
        let pair = Pair::of(me.id, other).ok_or_else(refusal::block_of_self)?;
        if !app.users.exists(other).await? {
            return Err(refusal::no_such_user());
        }
        Ok(app.blocks.block(pair, me.id, other).await?)
    };
    let blocked = blocked.await;
    app.audit.record("user_block", Some(me.id), other, &blocked);
    if let Some(Relation { status: Status::Pending, requester, .. }) = blocked? {
        let status = if requester == me.id { "cancelled" } else { "rejected" };
        app.requests.with_label_values(&[status]).inc();
    }
    Ok(Json(Message { message: "User blocked successfully" }))
}

/// Remove a block.
#[utoipa::path(
    delete,
    operation_id = "unblockUser",
    path = "/friends/block/{user_id}",
    tag = "blocks",
    security(("bearer" = [])),
    params(("user_id" = UserId, Path, description = "The user to unblock")),
    responses(
        (status = 200, description = "The user is no longer blocked", body = Message, example = json!({"message": "User unblocked successfully"})),
        (status = 400, description = "The user is the caller", body = ErrorBody),
        (status = 404, description = "The user is not blocked", body = ErrorBody),
        BudgetUsedUp,
    ),
)]
async fn unblock(State(app): State<AppState>, me: CurrentUser, Path(other): Path<UserId>) -> Result<Json<Message>> {
    let unblocked = async {
        app.budget.spend(me.id).await?;
        let pair = Pair::of(me.id, other).ok_or_else(refusal::block_of_self)?;
        Ok(app.blocks.unblock(pair, me.id, other).await?)
    };
    let unblocked = unblocked.await;
    app.audit.record("user_unblock", Some(me.id), other, &unblocked);
    unblocked?;
    Ok(Json(Message { message: "User unblocked successfully" }))
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"user_id": 4, "username": "choi_yuna", "blocked_at": "2026-11-24T13:09:10.500Z"}))]
struct BlockedUser {
    user_id: UserId,
    username: String,
    blocked_at: DateTime<Utc>,
}

/// List the users whom the caller has blocked.
#[utoipa::path(
    get,
    operation_id = "listBlockedUsers",
    path = "/friends/blocked",
    tag = "blocks",
    security(("bearer" = [])),
    params(Page),
    responses(
        (
            status = 200,
            description = "The users, latest block first",
            body = [BlockedUser],
            headers(("X-Next-Cursor" = i64, description = "The cursor of the next page; absent on the last page")),
        ),
        InvalidInput,
    ),
)]
async fn blocked(State(app): State<AppState>, me: CurrentUser, Query(page): Query<Page>) -> Result<impl IntoResponse> {
    let mut blocked = app.blocks.of(me.id, page.before(), page.limit_and_one()).await?;
    let next = page.cut(&mut blocked, |blocked| blocked.id);
    let users: Vec<_> = blocked.iter().map(|blocked| blocked.user_id).collect();
    let profiles = ProfileViews::of(&app, &users).await?;
    let bodies = blocked.into_iter().map(|blocked| BlockedUser {
        user_id: blocked.user_id,
        username: profiles.username(blocked.user_id),
        blocked_at: blocked.blocked_at,
    });
    Ok((next, Json(bodies.collect::<Vec<_>>())))
}

#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Invalid)]
#[into_params(parameter_in = Query)]
struct BlocksQuery {
    /// The blocks after this id; 0 by default.
    #[deserr(default = Int(0))]
    #[param(value_type = i64, required = false, minimum = 0, default = 0)]
    since_id: Int<0, { i64::MAX }>,
    /// The maximum number of blocks in the answer; 500 by default.
    #[deserr(default = Int(500))]
    #[param(value_type = i64, required = false, minimum = 1, maximum = 1_000, default = 500)]
    limit: Int<1, 1000>,
}

impl Input for BlocksQuery {}

/// A page of all blocks.
#[derive(Debug, Serialize, ToSchema)]
struct AllBlocks {
    blocks: Vec<Block>,
    /// The `since_id` of the next page; null on the last page.
    #[schema(required)]
    next_since_id: Option<i64>,
}

/// List all blocks, for services that keep a copy.
#[utoipa::path(
    get,
    operation_id = "listBlocks",
    path = "/friends/blocks",
    tag = "services",
    security(("bearer" = [])),
    params(BlocksQuery),
    responses(
        (status = 200, description = "The blocks in the order of their ids", body = AllBlocks),
        (status = 401, description = "The token is not that of a service", body = ErrorBody),
    ),
)]
async fn blocks(
    State(app): State<AppState>,
    _service: ServiceCaller,
    Query(BlocksQuery { since_id: Int(since), limit: Int(limit) }): Query<BlocksQuery>,
) -> Result<Json<AllBlocks>> {
    let blocks = app.blocks.since(since, limit).await?;
    // A full page may be the last one. Then the next page is empty.
    let next_since_id = blocks.last().filter(|_| blocks.len() == limit as usize).map(|last| last.id);
    Ok(Json(AllBlocks { blocks, next_since_id }))
}
