//! Rooms: listing, showing and creating them.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum_extra::TypedHeader;
use axum_extra::headers::Authorization;
use axum_extra::headers::authorization::Bearer;
use common::error::{Error, ErrorBody, Result};
use common::id::{RoomId, UserId};
use common::input::{Input, Int, Invalid, List, Text};
use deserr::Deserr;
use platform::http::{Path, Query, Valid};
use service::auth::CurrentUser;
use service::clients::user::UserProfile;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::audit::Roster;
use super::responses::{BudgetUsedUp, InvalidInput, UnverifiedUsers};
use crate::blocks::allow_invitation;
use crate::domain::{DirectPair, MAX_MEMBERS, Room, RoomSettings, group_name, others, refuse_strangers};
use crate::state::AppState;
use crate::store::{Head, Heads};
use crate::wire::{RoomBody, examples};

/// The users of a new room, or new members: at most a whole group, with room for repeats.
pub(super) type UserIds = List<UserId, 0, { 2 * MAX_MEMBERS }>;

/// The people brought into a group that count as one write more: each of them gets a room.
const PEOPLE_PER_WRITE: usize = 50;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, open)).routes(routes!(check)).routes(routes!(detail))
}

#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Invalid)]
#[into_params(parameter_in = Query)]
struct Page {
    /// The number of rooms that the page leaves out.
    #[deserr(default = Int(0))]
    #[param(value_type = i64, required = false, minimum = 0, default = 0)]
    skip: Int<0, { i64::MAX }>,
    /// The greatest number of rooms on the page. A page with fewer is the last one.
    #[deserr(default = Int(10))]
    #[param(value_type = i64, required = false, minimum = 1, maximum = 100, default = 10)]
    limit: Int<1, 100>,
}

impl Input for Page {}

/// List the caller's rooms, newest activity first.
#[utoipa::path(
    get,
    operation_id = "listRooms",
    path = "/chat-rooms",
    tag = "rooms",
    security(("bearer" = [])),
    params(Page),
    responses((status = 200, description = "A page of the rooms", body = [RoomBody], example = json!([examples::direct_room()])), InvalidInput),
)]
async fn list(State(app): State<AppState>, me: CurrentUser, Query(page): Query<Page>) -> Result<Json<Vec<RoomBody>>> {
    let own = app.rooms.of_user(me.id).await?;
    let ids: Vec<RoomId> = own.iter().map(|own| own.room.id).collect();
    let settings = own.iter().map(|own| (own.room.id, own.settings)).collect();
    let rooms: Vec<Room> = own.into_iter().map(|own| own.room).collect();
    let heads = app.heads(&ids).await?;
    let page = app.rooms.with_members(newest_first(rooms, &heads.of, page)).await?;
    Ok(Json(describe(&app, &me, page, &heads, &settings).await?))
}

/// Find the direct room with a user, or create it.
#[utoipa::path(
    get,
    operation_id = "findOrCreateDirectRoom",
    path = "/chat-rooms/check/{participant_id}",
    tag = "rooms",
    security(("bearer" = [])),
    params(("participant_id" = UserId, Path, description = "The other user")),
    responses(
        (status = 200, description = "The direct room of the two users", body = RoomBody, example = json!(examples::direct_room())),
        (status = 403, description = "`BLOCKED`: the room does not exist, and one of the two users has blocked the other. `TOO_MANY_ROOMS`: the room does not exist, and the caller has created too many rooms", body = ErrorBody),
        (status = 404, description = "The user does not exist", body = ErrorBody),
        (status = 422, description = "`CANNOT_CHAT_SELF`, or an invalid id", body = ErrorBody),
        BudgetUsedUp,
        UnverifiedUsers,
    ),
)]
async fn check(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(participant): Path<UserId>,
) -> Result<Json<RoomBody>> {
    let (room, _) = direct_room(&app, &me, participant).await?;
    described(&app, &me, room).await
}

/// Finds or creates a direct room. Returns whether it is new.
async fn direct_room(app: &AppState, me: &CurrentUser, other: UserId) -> Result<(Room, bool)> {
    let pair = DirectPair::of(me.id, other)?;
    if let Some(room) = app.rooms.direct(pair).await? {
        return Ok((room, false));
    }
    let opened = async {
        app.budgets.rooms.spend(me.id).await?;
        if !app.users.exists(other).await? {
            return Err(no_such_user());
        }
        allow_invitation(&app.blocks, me.id, &[other])?;
        Ok(app.rooms.create_direct(pair, me.id).await?)
    };
    let opened = opened.await;
    // A concurrent request may have created the room.
    if !matches!(opened, Ok((_, false))) {
        let room = opened.as_ref().ok().map(|(room, _)| room.id);
        app.audit.record("room_create", Some(me.id), Roster { room, users: &[other] }, &opened);
    }
    let (room, new) = opened?;
    if new {
        created(app, &room);
    }
    Ok((room, new))
}

#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Invalid)]
#[schema(example = json!({"name": "점심 모임", "participant_ids": [2, 3]}))]
struct NewRoom {
    /// The name of a group. White space at its ends is removed; a name without a visible character counts as no name.
    #[deserr(default)]
    name: Option<Text<0, 100>>,
    /// The other members: one for a direct room, more for a group. Repeats and the caller's own id are dropped.
    participant_ids: UserIds,
}

impl Input for NewRoom {}

/// Create a room: a direct room with one other user, or a group.
#[utoipa::path(
    post,
    operation_id = "createRoom",
    path = "/chat-rooms",
    tag = "rooms",
    security(("bearer" = [])),
    request_body = NewRoom,
    responses(
        (status = 201, description = "The new room", body = RoomBody, example = json!(examples::group())),
        (status = 200, description = "The existing direct room of the two users", body = RoomBody, example = json!(examples::direct_room())),
        (status = 403, description = "`BLOCKED`: one of the users has blocked the caller, or is blocked by them. `FRIENDS_ONLY`: only friends can bring one of the users into a group. `TOO_MANY_ROOMS`: the caller has created too many rooms, or one of the others is a member of too many", body = ErrorBody),
        (status = 404, description = "The user does not exist", body = ErrorBody),
        (status = 422, description = "No other user, more than 500 members, or a name that changes the direction of the text", body = ErrorBody),
        BudgetUsedUp,
        UnverifiedUsers,
    ),
)]
async fn open(
    State(app): State<AppState>,
    me: CurrentUser,
    TypedHeader(Authorization(token)): TypedHeader<Authorization<Bearer>>,
    Valid(NewRoom { name, participant_ids }): Valid<NewRoom>,
) -> Result<(StatusCode, Json<RoomBody>)> {
    let (room, new) = match *others(me.id, &participant_ids.0)? {
        [other] => direct_room(&app, &me, other).await?,
        ref others => (group(&app, &me, token.token(), name, others).await?, true),
    };
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, described(&app, &me, room).await?))
}

async fn group(
    app: &AppState,
    me: &CurrentUser,
    token: &str,
    name: Option<Text<0, 100>>,
    others: &[UserId],
) -> Result<Room> {
    let name = name.as_ref().map_or(Ok(None), |Text(name)| group_name(name))?;
    let opened = async {
        app.budgets.rooms.spend_many(me.id, writes_of(others.len())).await?;
        let users = existing_users(app, others).await?;
        allow_invitation(&app.blocks, me.id, others)?;
        allow_group(app, token, &users).await?;
        Ok(app.rooms.create_group(me.id, name, others).await?)
    };
    let opened = opened.await;
    match &opened {
        Ok(room) => {
            app.audit.record("room_create", Some(me.id), Roster { room: Some(room.id), users: others }, &opened);
        }
        Err(_) => app.audit.record("room_create", Some(me.id), "", &opened),
    }
    let room = opened?;
    created(app, &room);
    Ok(room)
}

/// The writes as which a group, or an addition to it, counts: with the people who get a room.
pub fn writes_of(people: usize) -> usize {
    1 + people / PEOPLE_PER_WRITE
}

/// The profiles of users.
///
/// # Errors
/// Refuses the whole list if one of them does not exist.
pub async fn existing_users(app: &AppState, users: &[UserId]) -> Result<HashMap<UserId, Arc<UserProfile>>> {
    let found = app.users.profiles(users).await?;
    if users.iter().any(|user| !found.contains_key(user)) {
        return Err(no_such_user());
    }
    Ok(found)
}

/// Checks that the caller may bring users into a group. Asks friend-service only if one of them accepts groups of friends alone.
///
/// # Errors
/// Refuses the whole list with `FRIENDS_ONLY` if one of these users is no friend of the caller, and with 503 if
/// friend-service does not say so.
pub async fn allow_group(app: &AppState, token: &str, users: &HashMap<UserId, Arc<UserProfile>>) -> Result<()> {
    let mut reserved: Vec<UserId> =
        users.values().filter(|user| user.refuse_stranger_groups).map(|user| user.id).collect();
    if reserved.is_empty() {
        return Ok(());
    }
    reserved.sort_unstable();
    refuse_strangers(&reserved, &app.friends.among(&reserved, token).await?)
}

fn no_such_user() -> Error {
    Error::not_found("User not found")
}

fn created(app: &AppState, room: &Room) {
    app.metrics.rooms_created.with_label_values(&[room.kind.as_str()]).inc();
    app.membership.wake();
}

/// Show a room of the caller.
#[utoipa::path(
    get,
    operation_id = "getRoom",
    path = "/chat-rooms/{room_id}",
    tag = "rooms",
    security(("bearer" = [])),
    params(("room_id" = RoomId, Path)),
    responses(
        (status = 200, description = "The room", body = RoomBody, example = json!(examples::direct_room())),
        (status = 403, description = "The caller is not a member of the room", body = ErrorBody),
        (status = 404, description = "The room does not exist, or the id is no integer", body = ErrorBody),
        InvalidInput,
    ),
)]
async fn detail(State(app): State<AppState>, me: CurrentUser, room: Result<Path<RoomId>>) -> Result<Json<RoomBody>> {
    let Path(room) = room.map_err(not_an_id)?;
    // The caller may have just seen the message that announces a change of members.
    let room = app.rooms.for_member_uncached(room, me.id).await?;
    described(&app, &me, (*room).clone()).await
}

/// The original answers an id that is no integer with 404 here.
fn not_an_id(error: Error) -> Error {
    match &error {
        Error::Invalid(rejected) if rejected.invalid.0.iter().all(|broken| broken.kind == "int_parsing") => {
            Error::not_found("Chat room not found")
        }
        _ => error,
    }
}

fn newest_first(mut rooms: Vec<Room>, heads: &HashMap<RoomId, Head>, page: Page) -> Vec<Room> {
    // The id orders rooms with equal times, so that pages do not overlap.
    rooms.sort_by_cached_key(|room| Reverse((Head::last_activity(room, heads.get(&room.id)), room.id)));
    let (skip, limit) = (usize::try_from(page.skip.0).unwrap_or(usize::MAX), page.limit.0 as usize);
    rooms.into_iter().skip(skip).take(limit).collect()
}

/// The body of one room.
pub async fn described(app: &AppState, me: &CurrentUser, room: Room) -> Result<Json<RoomBody>> {
    let heads = app.heads(&[room.id]).await?;
    let settings = HashMap::from([(room.id, app.settings.stored().of_room(me.id, room.id).await?)]);
    let body = describe(app, me, vec![room], &heads, &settings).await?.pop();
    body.map(Json).ok_or_else(|| Error::internal("the description of a room is missing"))
}

/// The bodies of rooms, in a constant number of round trips.
async fn describe(
    app: &AppState,
    me: &CurrentUser,
    rooms: Vec<Room>,
    heads: &Heads,
    settings: &HashMap<RoomId, RoomSettings>,
) -> Result<Vec<RoomBody>> {
    let mut users: Vec<UserId> = rooms.iter().flat_map(|room| room.members.iter().copied()).collect();
    users.sort_unstable();
    users.dedup();
    let (unread, profiles) = tokio::join!(app.unread.of(me.id, &rooms, heads), app.users.available_profiles(&users));
    let unread = unread?;
    let body = |room: Room| {
        let head = heads.of.get(&room.id);
        let unread = unread.get(&room.id).copied().unwrap_or(0);
        let settings = settings.get(&room.id).copied().unwrap_or_default();
        RoomBody::of(room, head, unread, settings, me, &profiles)
    };
    Ok(rooms.into_iter().map(body).collect())
}
