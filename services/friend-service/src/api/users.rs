//! Users: their profiles in lists, their names in events, and the search for new friends.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum_extra::TypedHeader;
use axum_extra::headers::Authorization;
use axum_extra::headers::authorization::Bearer;
use deserr::Deserr;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use common::error::{ErrorBody, Result};
use common::id::UserId;
use common::input::{Input, Int, Invalid, SearchText};
use platform::http::Query;
use service::auth::CurrentUser;
use service::clients::user::{UNKNOWN_USERNAME, UserProfile};

use crate::state::AppState;
use crate::store::PartyNames;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(search))
}

#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Invalid)]
#[into_params(parameter_in = Query)]
struct Search {
    /// A part of the username or the display name. White space at its ends is removed. Older clients send `q`.
    #[param(inline)]
    query: SearchText<50>,
    /// The maximum number of users in the answer; 20 by default.
    #[deserr(default = Int(20))]
    #[param(value_type = i64, required = false, minimum = 1, maximum = 50, default = 20)]
    limit: Int<1, 50>,
}

impl Input for Search {
    const ALIASES: &'static [(&'static str, &'static str)] = &[("q", "query")];
}

/// Search active users who are not friends of the caller.
#[utoipa::path(
    get,
    operation_id = "searchNewFriends",
    path = "/friends/search",
    tag = "people",
    security(("bearer" = [])),
    params(Search),
    responses(
        (status = 200, description = "The users, without friends, the caller, and users who are blocked in either direction", body = [UserProfile]),
        (status = 503, description = "user-service is unavailable", body = ErrorBody),
    ),
)]
async fn search(
    State(app): State<AppState>,
    me: CurrentUser,
    TypedHeader(Authorization(token)): TypedHeader<Authorization<Bearer>>,
    Query(search): Query<Search>,
) -> Result<Json<Vec<UserProfile>>> {
    let omitted = app.friendships.omitted_from_search(me.id).await?;
    let is_offered = |user: &UserProfile| user.id != me.id && !omitted.contains(&user.id);
    let mut found = app.users.search(token.token(), &search.query.0, search.limit.0 as usize, is_offered).await?;
    let ids: Vec<_> = found.iter().map(|user| user.id).collect();
    let online = app.presence.online(&ids).await;
    for (user, online) in found.iter_mut().zip(online) {
        user.is_online = online;
    }
    Ok(Json(found))
}

/// The current profiles of the users in a list.
pub(super) struct ProfileViews {
    profiles: HashMap<UserId, Arc<UserProfile>>,
    /// Names from events, for users without a cached profile.
    names: HashMap<UserId, String>,
    online: HashMap<UserId, bool>,
}

impl ProfileViews {
    /// Collects cached profiles, and waits only briefly for user-service.
    pub(super) async fn of(app: &AppState, users: &[UserId]) -> Result<Self> {
        let (profiles, online) = tokio::join!(app.users.available_profiles(users), app.presence.online(users));
        let unknown: Vec<_> = users.iter().filter(|id| !profiles.contains_key(id)).copied().collect();
        let names = app.names.of(&unknown).await?;
        Ok(Self { profiles, names, online: users.iter().copied().zip(online).collect() })
    }

    pub(super) fn profile(&self, id: UserId) -> Option<&UserProfile> {
        self.profiles.get(&id).map(Arc::as_ref)
    }

    pub(super) fn username(&self, id: UserId) -> String {
        let profile = self.profile(id).map(|profile| &profile.username);
        profile.or_else(|| self.names.get(&id)).cloned().unwrap_or_else(|| UNKNOWN_USERNAME.to_owned())
    }

    pub(super) fn is_online(&self, id: UserId) -> bool {
        self.online.get(&id).copied().unwrap_or(false)
    }
}

/// The names of the two users in an event. One of the two is the caller.
pub(super) async fn party_names(
    app: &AppState,
    me: &CurrentUser,
    requester: UserId,
    addressee: UserId,
) -> Result<PartyNames> {
    let other = if me.id == requester { addressee } else { requester };
    let (mine, other) = tokio::join!(own_name(app, me), name_of(app, other));
    let (mine, other) = (mine?, other?);
    let (requester, addressee) = if me.id == requester { (mine, other) } else { (other, mine) };
    Ok(PartyNames { requester, addressee })
}

/// The caller's name. Tokens of the original do not contain it.
async fn own_name(app: &AppState, me: &CurrentUser) -> Result<String> {
    match &me.username {
        Some(name) => Ok(name.clone()),
        None => name_of(app, me.id).await,
    }
}

async fn name_of(app: &AppState, id: UserId) -> Result<String> {
    Ok(ProfileViews::of(app, &[id]).await?.username(id))
}
