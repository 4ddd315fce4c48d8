//! Members of a group: adding, removing and leaving.

use std::collections::HashMap;

use axum::Json;
use axum::extract::State;
use axum_extra::TypedHeader;
use axum_extra::headers::Authorization;
use axum_extra::headers::authorization::Bearer;
use common::error::{ErrorBody, Result};
use common::id::{RoomId, UserId};
use common::input::{Input, Invalid};
use deserr::Deserr;
use platform::http::{Path, Valid};
use serde::Serialize;
use service::auth::CurrentUser;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::audit::Roster;
use super::responses::{BudgetUsedUp, UnverifiedUsers};
use super::rooms::{UserIds, allow_group, described, existing_users, writes_of};
use crate::blocks::allow_invitation;
use crate::domain::distinct;
use crate::state::AppState;
use crate::store::MembershipRecord;
use crate::wire::{RoomBody, examples};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(add)).routes(routes!(remove))
}

#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Invalid)]
#[schema(example = json!({"user_ids": [4]}))]
struct NewMembers {
    user_ids: UserIds,
}

impl Input for NewMembers {}

/// Add users to a group. They see its history.
#[utoipa::path(
    post,
    operation_id = "addMembers",
    path = "/chat-rooms/{room_id}/members",
    tag = "rooms",
    security(("bearer" = [])),
    params(("room_id" = RoomId, Path)),
    request_body = NewMembers,
    responses(
        (status = 200, description = "The group. Users who are members remain so", body = RoomBody, example = json!(examples::grown_group())),
        (
            status = 403,
            description = "The caller is not the creator, or no longer a member. `BLOCKED`: one of the users has blocked the caller, or is blocked by them. `FRIENDS_ONLY`: only friends can bring one of the users into a group. `LEFT_GROUP`: one of the users left the group by themselves less than 30 days ago. `TOO_MANY_ROOMS`: one of the users is a member of too many rooms",
            body = ErrorBody
        ),
        (status = 404, description = "The room or a user does not exist", body = ErrorBody),
        (status = 422, description = "The room is a direct room, or would have more than 500 members", body = ErrorBody),
        BudgetUsedUp,
        UnverifiedUsers,
    ),
)]
async fn add(
    State(app): State<AppState>,
    me: CurrentUser,
    TypedHeader(Authorization(token)): TypedHeader<Authorization<Bearer>>,
    Path(room): Path<RoomId>,
    Valid(NewMembers { user_ids }): Valid<NewMembers>,
) -> Result<Json<RoomBody>> {
    let added = async {
        app.budgets.rooms.spend_many(me.id, writes_of(distinct(&user_ids.0).len())).await?;
        add_all(&app, &me, token.token(), room, &user_ids.0).await
    };
    let added = added.await;
    match &added {
        Ok(None) => {}
        Ok(Some(record)) => {
            app.audit.record("member_add", Some(me.id), Roster { room: Some(room), users: record.users() }, &added);
        }
        Err(_) => app.audit.record("member_add", Some(me.id), room, &added),
    }
    if added?.is_some() {
        app.membership.apply_own_change(room).await?;
    }
    let room = app.rooms.for_member_uncached(room, me.id).await?;
    described(&app, &me, (*room).clone()).await
}

/// Adds the users who are not members yet; none if there are none.
async fn add_all(
    app: &AppState,
    me: &CurrentUser,
    token: &str,
    room: RoomId,
    users: &[UserId],
) -> Result<Option<MembershipRecord>> {
    let current = app.rooms.for_member_uncached(room, me.id).await?;
    let new = current.newcomers(me.id, users)?;
    let profiles = existing_users(app, &new).await?;
    allow_invitation(&app.blocks, me.id, &new)?;
    allow_group(app, token, &profiles).await?;
    let names: HashMap<UserId, String> = profiles.iter().map(|(id, profile)| (*id, profile.username.clone())).collect();
    Ok(app.rooms.add(room, &app.actor(me).await, &new, &names).await?)
}

/// The parameters of a path that names a member.
#[derive(Debug, Deserr)]
#[deserr(error = Invalid)]
struct MemberPath {
    room_id: RoomId,
    user_id: UserId,
}

#[derive(Debug, Serialize, ToSchema)]
struct Left {
    #[schema(example = "You have left the group")]
    message: &'static str,
}

/// A message for a caller who leaves, and the group for a creator who removes a member.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum MemberRemoved {
    Left(Left),
    Removed(Box<RoomBody>),
}

/// Leave a group, or remove a member from it.
///
/// A user who leaves cannot be added again for 30 days. A user whom the creator removes can.
/// A caller who leaves gets a message. A creator who removes a member gets the group.
#[utoipa::path(
    delete,
    operation_id = "removeMember",
    path = "/chat-rooms/{room_id}/members/{user_id}",
    tag = "rooms",
    security(("bearer" = [])),
    params(("room_id" = RoomId, Path), ("user_id" = UserId, Path, description = "The caller, or another member")),
    responses(
        (status = 200, description = "The user is no longer a member", body = MemberRemoved),
        (status = 403, description = "The caller is not a member, or removes another member without being the creator", body = ErrorBody),
        (status = 404, description = "The room or the member does not exist", body = ErrorBody),
        (status = 422, description = "The room is a direct room", body = ErrorBody),
        BudgetUsedUp,
    ),
)]
async fn remove(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(MemberPath { room_id: room, user_id: user }): Path<MemberPath>,
) -> Result<Json<MemberRemoved>> {
    let removed = async {
        app.budgets.rooms.spend(me.id).await?;
        app.rooms.for_member_uncached(room, me.id).await?.may_remove(me.id, user)?;
        // A user who leaves is named as the author of the change.
        let name = if user == me.id { None } else { app.name_to_store(user).await };
        Ok(app.rooms.remove(room, &app.actor(&me).await, user, name.as_ref()).await?)
    };
    let removed = removed.await;
    let action = if user == me.id { "member_leave" } else { "member_remove" };
    app.audit.record(action, Some(me.id), Roster { room: Some(room), users: &[user] }, &removed);
    removed?;
    app.membership.apply_own_change(room).await?;
    if user == me.id {
        return Ok(Json(MemberRemoved::Left(Left { message: "You have left the group" })));
    }
    let room = app.rooms.for_member_uncached(room, me.id).await?;
    let Json(group) = described(&app, &me, (*room).clone()).await?;
    Ok(Json(MemberRemoved::Removed(Box::new(group))))
}
