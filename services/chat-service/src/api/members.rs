//! Who is in a group: bringing people in, sending them away, leaving.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use common::auth::CurrentUser;
use common::error::{ErrorBody, Result};
use common::http::{Path, Valid};
use common::id::{RoomId, UserId};
use common::input::{Input, Invalid};
use deserr::Deserr;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::rooms::{RoomBody, described, existing};
use crate::AppState;
use crate::store::Actor;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(add)).routes(routes!(remove))
}

#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Invalid)]
struct NewMembers {
    user_ids: Vec<UserId>,
}

impl Input for NewMembers {}

/// Bring people into a group. They see its history.
#[utoipa::path(
    post,
    operation_id = "add_members",
    path = "/chat-rooms/{room_id}/members",
    tag = "rooms",
    security(("bearer" = [])),
    params(("room_id" = i64, Path)),
    request_body = NewMembers,
    responses(
        (status = 200, description = "The group, unchanged for those who are in already", body = RoomBody),
        (status = 403, description = "Not the creator, or not a member any more", body = ErrorBody),
        (status = 404, description = "No such room, or no such person", body = ErrorBody),
        (status = 422, description = "A direct room, or more than 500 members", body = ErrorBody),
        (status = 503, description = "It cannot be verified that there are such people", body = ErrorBody),
    ),
)]
async fn add(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(room): Path<RoomId>,
    Valid(NewMembers { user_ids }): Valid<NewMembers>,
) -> Result<Json<RoomBody>> {
    let current = app.rooms.of_member_now(room, me.id).await?;
    let new = current.newcomers(me.id, &user_ids)?;
    let profiles = existing(&app, &new).await?;
    let names: HashMap<UserId, String> = profiles.iter().map(|(id, them)| (*id, them.username.clone())).collect();
    if app.rooms.add(room, &actor(&app, &me).await, &new, &names).await?.is_some() {
        app.membership.made(room).await?;
    }
    let room = app.rooms.of_member_now(room, me.id).await?;
    described(&app, &me, (*room).clone()).await
}

/// Where the path names a member of a group.
#[derive(Debug, Deserr)]
#[deserr(error = Invalid)]
struct MemberPath {
    room_id: RoomId,
    user_id: UserId,
}

#[derive(Debug, Serialize, ToSchema)]
struct Left {
    message: &'static str,
}

/// Leave a group, or send a member away.
///
/// Whoever leaves gets a message, the creator who sends someone away the group.
#[utoipa::path(
    delete,
    operation_id = "remove_member",
    path = "/chat-rooms/{room_id}/members/{user_id}",
    tag = "rooms",
    security(("bearer" = [])),
    params(("room_id" = i64, Path), ("user_id" = i64, Path, description = "Oneself, or a member")),
    responses(
        (status = 200, body = RoomBody),
        (status = 403, description = "Another than oneself, and not the creator; or not a member", body = ErrorBody),
        (status = 404, description = "No such room, or no such member", body = ErrorBody),
        (status = 422, description = "A direct room", body = ErrorBody),
    ),
)]
async fn remove(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(MemberPath { room_id: room, user_id: user }): Path<MemberPath>,
) -> Result<Response> {
    app.rooms.of_member_now(room, me.id).await?.may_remove(me.id, user)?;
    let known = app.users.profiles_at_hand(&[user]).await;
    let name = known.get(&user).map(|them| them.username.clone());
    app.rooms.remove(room, &actor(&app, &me).await, user, name.as_ref()).await?;
    app.membership.made(room).await?;
    if user == me.id {
        return Ok(Json(Left { message: "You have left the group" }).into_response());
    }
    let room = app.rooms.of_member_now(room, me.id).await?;
    Ok(described(&app, &me, (*room).clone()).await?.into_response())
}

/// The caller, by the name that is in our tokens; the original's have none.
async fn actor(app: &AppState, me: &CurrentUser) -> Actor {
    Actor { id: me.id, name: app.username(me).await }
}
