//! Friends: the list, and ending a friendship.

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use common::error::{ErrorBody, Result};
use common::id::UserId;
use platform::http::{Path, Query};
use service::auth::CurrentUser;

use crate::api::page::Page;
use crate::api::requests::Message;
use crate::api::responses::BudgetUsedUp;
use crate::api::users::ProfileViews;
use crate::domain::{Pair, refusal};
use crate::state::AppState;
use crate::store;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(list_at_root)).routes(routes!(unfriend))
}

/// A friend, with their current profile.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({
    "user_id": 2, "username": "park_jiho", "display_name": "지호", "email": "", "is_online": true,
    "last_seen_at": "2026-11-24T13:09:10.500Z", "friends_since": "2026-11-24T13:07:40.500Z"
}))]
struct Friend {
    user_id: UserId,
    /// `Unknown` if user-service is unavailable and the name is not known.
    username: String,
    #[schema(required)]
    display_name: Option<String>,
    /// Always empty. The service does not reveal e-mail addresses.
    email: &'static str,
    is_online: bool,
    #[schema(required)]
    last_seen_at: Option<DateTime<Utc>>,
    /// When the request was accepted.
    friends_since: DateTime<Utc>,
}

/// List the friends of the caller.
#[utoipa::path(
    get,
    operation_id = "listFriends",
    path = "/friends/list",
    tag = "friends",
    security(("bearer" = [])),
    params(Page),
    responses((
        status = 200,
        description = "The friends, oldest friendship first",
        body = [Friend],
        headers(("X-Next-Cursor" = i64, description = "The cursor of the next page; absent on the last page")),
    )),
)]
async fn list(State(app): State<AppState>, me: CurrentUser, Query(page): Query<Page>) -> Result<impl IntoResponse> {
    let mut friends = app.friendships.friends_of(me.id, page.after(), page.limit_and_one()).await?;
    let next = page.cut(&mut friends, |friend| friend.friendship_id);
    let users: Vec<_> = friends.iter().map(|friend| friend.user_id).collect();
    let profiles = ProfileViews::of(&app, &users).await?;
    let bodies: Vec<_> = friends.into_iter().map(|friend| Friend::of(friend, &profiles)).collect();
    Ok((next, Json(bodies)))
}

/// List the friends of the caller, under a shorter path.
#[utoipa::path(
    get,
    operation_id = "listFriendsAtRoot",
    path = "/friends",
    tag = "friends",
    security(("bearer" = [])),
    params(Page),
    responses((status = 200, description = "The same as /friends/list", body = [Friend])),
)]
async fn list_at_root(app: State<AppState>, me: CurrentUser, page: Query<Page>) -> Result<impl IntoResponse> {
    list(app, me, page).await
}

impl Friend {
    fn of(friend: store::Friend, profiles: &ProfileViews) -> Self {
        let id = friend.user_id;
        let profile = profiles.profile(id);
        Self {
            user_id: id,
            username: profiles.username(id),
            display_name: profile.and_then(|profile| profile.display_name.clone()),
            email: "",
            is_online: profiles.is_online(id),
            last_seen_at: profile.and_then(|profile| profile.last_seen_at),
            friends_since: friend.since,
        }
    }
}

/// End a friendship.
#[utoipa::path(
    delete,
    operation_id = "removeFriend",
    path = "/friends/{id}",
    tag = "friends",
    security(("bearer" = [])),
    params(("id" = UserId, Path, description = "The friend")),
    responses(
        (status = 200, description = "The friendship has ended", body = Message, example = json!({"message": "Friend removed successfully"})),
        (status = 404, description = "The two users are not friends", body = ErrorBody),
        BudgetUsedUp,
    ),
)]
async fn unfriend(State(app): State<AppState>, me: CurrentUser, Path(friend): Path<UserId>) -> Result<Json<Message>> {
    let removed = async {
        app.budget.spend(me.id).await?;
        let pair = Pair::of(me.id, friend).ok_or_else(refusal::no_friendship)?;
        Ok(app.friendships.remove(pair, me.id, friend).await?)
    };
    let removed = removed.await;
    app.audit.record("friend_remove", Some(me.id), friend, &removed);
    removed?;
    Ok(Json(Message { message: "Friend removed successfully" }))
}
