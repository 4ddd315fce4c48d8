//! Friends: the list, and ending a friendship.

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
use service::auth::CurrentUser;

use crate::api::requests::Message;
use crate::api::responses::BudgetUsedUp;
use crate::api::users::ProfileViews;
use crate::domain::{Pair, refusal};
use crate::state::AppState;
use crate::store;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(list_at_root)).routes(routes!(unfriend))
}

#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Invalid)]
#[into_params(parameter_in = Query)]
struct Page {
    /// Without a limit, the answer contains the whole list, as clients of the original expect.
    #[deserr(default)]
    #[param(inline)]
    limit: Option<Int<1, 100>>,
    /// The `X-Next-Cursor` of the previous page.
    #[deserr(default)]
    #[param(inline)]
    cursor: Option<Int<0, { i64::MAX }>>,
}

impl Input for Page {}

/// A friend, with their current profile.
#[derive(Debug, Serialize, ToSchema)]
struct Friend {
    user_id: UserId,
    /// `Unknown` if user-service is unavailable and the name is not known.
    username: String,
    display_name: Option<String>,
    /// Always empty. The service does not reveal e-mail addresses.
    email: &'static str,
    is_online: bool,
    last_seen_at: Option<DateTime<Utc>>,
    friends_since: DateTime<Utc>,
}

/// List the friends of the caller.
#[utoipa::path(
    get,
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
    let (friends, next) = page.of(&app, me.id).await?;
    let users: Vec<_> = friends.iter().map(|friend| friend.user_id).collect();
    let profiles = ProfileViews::of(&app, &users).await?;
    let bodies: Vec<_> = friends.into_iter().map(|friend| Friend::of(friend, &profiles)).collect();
    Ok((next.map(|cursor| [("x-next-cursor", cursor.to_string())]), Json(bodies)))
}

/// List the friends of the caller, under a shorter path.
#[utoipa::path(
    get,
    path = "/friends",
    tag = "friends",
    security(("bearer" = [])),
    params(Page),
    responses((status = 200, description = "The same as /friends/list", body = [Friend])),
)]
async fn list_at_root(app: State<AppState>, me: CurrentUser, page: Query<Page>) -> Result<impl IntoResponse> {
    list(app, me, page).await
}

impl Page {
    /// The friends on this page, and the cursor of the next page if there is one.
    async fn of(&self, app: &AppState, user: UserId) -> Result<(Vec<store::Friend>, Option<i64>)> {
        let after = self.cursor.map_or(0, |cursor| cursor.0);
        let Some(Int(limit)) = self.limit else {
            return Ok((app.friendships.friends_of(user, after, i64::MAX).await?, None));
        };
        // One friend more than the limit shows whether there is a next page.
        let mut friends = app.friendships.friends_of(user, after, limit + 1).await?;
        let more = friends.len() > limit as usize;
        friends.truncate(limit as usize);
        let next = friends.last().filter(|_| more).map(|last| last.friendship_id);
        Ok((friends, next))
    }
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
    path = "/friends/{id}",
    tag = "friends",
    security(("bearer" = [])),
    params(("id" = UserId, Path, description = "The friend")),
    responses(
        (status = 200, description = "The friendship has ended", body = Message),
        (status = 404, description = "The two users are not friends", body = ErrorBody),
        BudgetUsedUp,
    ),
)]
async fn unfriend(State(app): State<AppState>, me: CurrentUser, Path(friend): Path<UserId>) -> Result<Json<Message>> {
    app.budget.spend(me.id).await?;
    let removed = async {
        let pair = Pair::of(me.id, friend).ok_or_else(refusal::no_friendship)?;
        Ok(app.friendships.remove(pair, me.id, friend).await?)
    };
    let removed = removed.await;
    app.audit.record("friend_remove", Some(me.id), friend, &removed);
    removed?;
    Ok(Json(Message { message: "Friend removed successfully" }))
}
