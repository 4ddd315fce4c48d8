//! Rooms: the list, one of them, and opening one with others.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use common::auth::CurrentUser;
use common::clients::user::{UNKNOWN_USERNAME, UserProfile};
use common::error::{Error, ErrorBody, Result};
use common::http::{Path, Query, Valid};
use common::id::{RoomId, UserId};
use common::input::{Input, Int, Invalid, Text};
use deserr::Deserr;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::AppState;
use crate::domain::{DirectPair, MessageType, Room, RoomKind, others};
use crate::store::{Head, Last};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list, open)).routes(routes!(check)).routes(routes!(detail))
}

/// A room as its members see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RoomBody {
    id: RoomId,
    /// Null in a group, as is the other.
    user_1_id: Option<UserId>,
    user_2_id: Option<UserId>,
    /// `direct` or `group`.
    #[schema(example = "direct")]
    room_type: &'static str,
    /// Of a group, where it has one.
    name: Option<String>,
    /// Who adds and removes members of a group, while a member.
    creator_id: Option<UserId>,
    member_count: usize,
    created_at: DateTime<Utc>,
    /// The last activity.
    updated_at: DateTime<Utc>,
    /// Of a direct room the caller first.
    participants: Vec<Participant>,
    last_message: Option<LastMessage>,
    /// Messages of others that the caller has not read; exact to 1,000 and capped there.
    unread_count: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Participant {
    id: UserId,
    #[schema(example = "kim_minjun")]
    username: String,
}

/// The newest message that is not deleted.
#[derive(Debug, Serialize, ToSchema)]
pub struct LastMessage {
    id: String,
    user_id: UserId,
    content: String,
    message_type: MessageType,
    created_at: DateTime<Utc>,
}

#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Invalid)]
#[into_params(parameter_in = Query)]
struct Page {
    #[deserr(default = Int(0))]
    #[param(value_type = i64, minimum = 0, default = 0)]
    skip: Int<0, { i64::MAX }>,
    #[deserr(default = Int(10))]
    #[param(value_type = i64, minimum = 1, maximum = 100, default = 10)]
    limit: Int<1, 100>,
}

impl Input for Page {}

/// List the caller's rooms, newest activity first.
#[utoipa::path(
    get,
    operation_id = "list_rooms",
    path = "/chat-rooms",
    tag = "rooms",
    security(("bearer" = [])),
    params(Page),
    responses((status = 200, body = [RoomBody]), (status = 422, body = ErrorBody)),
)]
async fn list(State(app): State<AppState>, me: CurrentUser, Query(page): Query<Page>) -> Result<Json<Vec<RoomBody>>> {
    let rooms: Vec<Room> = app.rooms.of_user(me.id).await?.into_iter().map(|own| own.room).collect();
    let ids: Vec<RoomId> = rooms.iter().map(|room| room.id).collect();
    app.adoption.ensure(&ids).await?;
    let heads = app.log.heads(&ids).await?;
    let page = app.rooms.with_members(newest_first(rooms, &heads, page)).await?;
    Ok(Json(describe(&app, &me, page, &heads).await?))
}

/// Find the direct room with someone, or create it.
#[utoipa::path(
    get,
    operation_id = "find_or_create_direct_room",
    path = "/chat-rooms/check/{participant_id}",
    tag = "rooms",
    security(("bearer" = [])),
    params(("participant_id" = i64, Path, description = "Whom to chat with")),
    responses(
        (status = 200, description = "The one room of the two, from whichever side it is asked for", body = RoomBody),
        (status = 404, description = "No such person", body = ErrorBody),
        (status = 422, description = "`CANNOT_CHAT_SELF`, or no id", body = ErrorBody),
        (status = 503, description = "It cannot be verified that there is such a person", body = ErrorBody),
    ),
)]
async fn check(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(participant): Path<UserId>,
) -> Result<Json<RoomBody>> {
    let (room, _) = direct(&app, &me, participant).await?;
    described(&app, &me, room).await
}

/// The direct room with someone, and whether it is new.
async fn direct(app: &AppState, me: &CurrentUser, other: UserId) -> Result<(Room, bool)> {
    let pair = DirectPair::of(me.id, other)?;
    if let Some(room) = app.rooms.direct(pair).await? {
        return Ok((room, false));
    }
    if !app.users.exists(other).await? {
        return Err(no_such_user());
    }
    let (room, new) = app.rooms.open_direct(pair, me.id).await?;
    if new {
        opened(app, &room);
    }
    Ok((room, new))
}

#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Invalid)]
struct NewRoom {
    /// Of a group; trimmed, and none where it is blank.
    #[deserr(default)]
    name: Option<Text<0, 100>>,
    /// One other makes a direct room, two or more a group. Repeats and the caller's own id are dropped.
    participant_ids: Vec<UserId>,
}

impl Input for NewRoom {}

/// Open a room: the direct room with one other, or a group.
#[utoipa::path(
    post,
    operation_id = "open_room",
    path = "/chat-rooms",
    tag = "rooms",
    security(("bearer" = [])),
    request_body = NewRoom,
    responses(
        (status = 201, body = RoomBody),
        (status = 200, description = "The direct room that the two have already", body = RoomBody),
        (status = 404, description = "No such person", body = ErrorBody),
        (status = 422, description = "Nobody left but the caller, or more than 500 members", body = ErrorBody),
        (status = 503, description = "It cannot be verified that there are such people", body = ErrorBody),
    ),
)]
async fn open(
    State(app): State<AppState>,
    me: CurrentUser,
    Valid(NewRoom { name, participant_ids }): Valid<NewRoom>,
) -> Result<(StatusCode, Json<RoomBody>)> {
    let (room, new) = match *others(me.id, &participant_ids)? {
        [other] => direct(&app, &me, other).await?,
        ref others => (group(&app, &me, name, others).await?, true),
    };
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, described(&app, &me, room).await?))
}

async fn group(app: &AppState, me: &CurrentUser, name: Option<Text<0, 100>>, others: &[UserId]) -> Result<Room> {
    existing(app, others).await?;
    let name = name.map(|Text(name)| name.trim().to_owned()).filter(|name| !name.is_empty());
    let room = app.rooms.open_group(me.id, name.as_deref(), others).await?;
    opened(app, &room);
    Ok(room)
}

/// Those people, if all of them exist.
pub async fn existing(app: &AppState, users: &[UserId]) -> Result<HashMap<UserId, Arc<UserProfile>>> {
    let found = app.users.profiles(users).await?;
    if users.iter().any(|user| !found.contains_key(user)) {
        return Err(no_such_user());
    }
    Ok(found)
}

fn no_such_user() -> Error {
    Error::not_found("User not found")
}

fn opened(app: &AppState, room: &Room) {
    app.metrics.rooms_created.with_label_values(&[room.kind.as_str()]).inc();
    app.membership.hint();
}

/// A room of the caller.
#[utoipa::path(
    get,
    operation_id = "get_room",
    path = "/chat-rooms/{room_id}",
    tag = "rooms",
    security(("bearer" = [])),
    params(("room_id" = i64, Path)),
    responses(
        (status = 200, body = RoomBody),
        (status = 403, description = "Not a member", body = ErrorBody),
        (status = 404, body = ErrorBody),
    ),
)]
async fn detail(State(app): State<AppState>, me: CurrentUser, room: Result<Path<RoomId>>) -> Result<Json<RoomBody>> {
    // The original's clients read a 404 here, whatever they asked for.
    let Path(room) = room.map_err(|_| Error::not_found("Chat room not found"))?;
    let room = app.rooms.of_member(room, me.id).await?;
    described(&app, &me, (*room).clone()).await
}

fn newest_first(mut rooms: Vec<Room>, heads: &HashMap<RoomId, Head>, page: Page) -> Vec<Room> {
    // The id settles what happened at the same moment, so that pages do not overlap.
    rooms.sort_by_cached_key(|room| Reverse((last_activity(room, heads.get(&room.id)), room.id)));
    let (skip, limit) = (usize::try_from(page.skip.0).unwrap_or(usize::MAX), page.limit.0 as usize);
    rooms.into_iter().skip(skip).take(limit).collect()
}

fn last_activity(room: &Room, head: Option<&Head>) -> DateTime<Utc> {
    // MySQL's time is written for all rooms of a second together, so it orders only rooms in which nothing was said.
    head.and_then(|head| head.updated_at).unwrap_or(room.updated_at)
}

/// A room with all that is shown of it.
pub async fn described(app: &AppState, me: &CurrentUser, room: Room) -> Result<Json<RoomBody>> {
    app.adoption.ensure(&[room.id]).await?;
    let heads = app.log.heads(&[room.id]).await?;
    let body = describe(app, me, vec![room], &heads).await?.pop();
    body.map(Json).ok_or_else(|| Error::internal("a room without description"))
}

/// Rooms with all that a list shows: a constant number of round trips, whatever their number.
async fn describe(
    app: &AppState,
    me: &CurrentUser,
    rooms: Vec<Room>,
    heads: &HashMap<RoomId, Head>,
) -> Result<Vec<RoomBody>> {
    // Where nothing was said nothing is unread.
    let spoken: Vec<&Room> = rooms.iter().filter(|room| heads.contains_key(&room.id)).collect();
    let mut people: Vec<UserId> = rooms.iter().flat_map(|room| room.members.iter().copied()).collect();
    people.sort_unstable();
    people.dedup();
    let (unread, profiles) = tokio::join!(app.marks.unread(me.id, &spoken), app.users.profiles_at_hand(&people));
    let unread = unread?;
    let body = |room: Room| {
        let head = heads.get(&room.id);
        let unread = unread.get(&room.id).copied().unwrap_or(0);
        RoomBody::of(room, head, unread, me, &profiles)
    };
    Ok(rooms.into_iter().map(body).collect())
}

impl RoomBody {
    fn of(
        room: Room,
        head: Option<&Head>,
        unread_count: i64,
        me: &CurrentUser,
        profiles: &HashMap<UserId, Arc<UserProfile>>,
    ) -> Self {
        let mut members = room.members.clone();
        members.sort_by_key(|member| *member != me.id);
        let participants = members.into_iter().map(|id| Participant { id, username: name(id, me, profiles) }).collect();
        let (user_1_id, user_2_id) = room.kind.pair().map(|pair| (pair.low, pair.high)).unzip();
        let (room_type, updated_at) = (room.kind.as_str(), last_activity(&room, head));
        let (name, creator_id) = match room.kind {
            RoomKind::Group { name, creator } => (name, creator),
            RoomKind::Direct(_) => (None, None),
        };
        Self {
            id: room.id,
            user_1_id,
            user_2_id,
            room_type,
            name,
            creator_id,
            member_count: room.members.len(),
            created_at: room.created_at,
            updated_at,
            participants,
            last_message: head.and_then(|head| head.last.as_ref()).map(LastMessage::of),
            unread_count,
        }
    }
}

fn name(id: UserId, me: &CurrentUser, profiles: &HashMap<UserId, Arc<UserProfile>>) -> String {
    let known = profiles.get(&id).map(|profile| profile.username.as_str());
    let own = me.username.as_deref().filter(|_| id == me.id);
    known.or(own).unwrap_or(UNKNOWN_USERNAME).to_owned()
}

impl LastMessage {
    fn of(last: &Last) -> Self {
        Self {
            id: last.id.to_hex(),
            user_id: last.user_id,
            content: last.content.clone(),
            message_type: last.message_type,
            created_at: last.created_at,
        }
    }
}
