//! Who people are: their faces in lists, their names in events, and the search of people to befriend.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use deserr::Deserr;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use common::auth::CurrentUser;
use common::clients::user::{UNKNOWN_USERNAME, UserProfile};
use common::error::{Error, ErrorBody, Result};
use common::http::Query;
use common::id::UserId;
use common::input::{Input, Int, Invalid, Text};

use crate::AppState;
use crate::store::Parties;

/// As many as user-service finds at once; of these the friends are left out.
const MOST_FOUND: usize = 50;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(search))
}

#[derive(Debug, Deserr, IntoParams)]
#[deserr(error = Invalid)]
#[into_params(parameter_in = Query)]
struct Search {
    /// A part of the username or of the display name. The older clients' `q` is read too.
    #[param(inline)]
    query: Text<1, 50>,
    #[deserr(default = Int(20))]
    #[param(inline, required = false, default = 20)]
    limit: Int<1, 50>,
}

impl Input for Search {
    const ALIASES: &'static [(&'static str, &'static str)] = &[("q", "query")];
}

/// Search active people who are not friends yet.
#[utoipa::path(
    get,
    path = "/friends/search",
    tag = "people",
    security(("bearer" = [])),
    params(Search),
    responses(
        (status = 200, description = "Neither friends, nor blocked either way, nor oneself", body = [UserProfile]),
        (status = 503, description = "user-service cannot be asked", body = ErrorBody),
    ),
)]
async fn search(
    State(app): State<AppState>,
    me: CurrentUser,
    headers: HeaderMap,
    Query(search): Query<Search>,
) -> Result<Json<Vec<UserProfile>>> {
    let found = app.users.search(token(&headers)?, &search.query.0, MOST_FOUND);
    let (found, out_of_reach) = tokio::join!(found, app.friendships.out_of_reach(me.id));
    let (mut found, out_of_reach) = (found?, out_of_reach?);
    found.retain(|person| person.id != me.id && !out_of_reach.contains(&person.id));
    found.truncate(search.limit.0 as usize);
    let ids: Vec<_> = found.iter().map(|person| person.id).collect();
    let online = app.presence.online(&ids).await;
    for (person, online) in found.iter_mut().zip(online) {
        person.is_online = online;
    }
    Ok(Json(found))
}

/// The token with which the caller came in.
fn token(headers: &HeaderMap) -> Result<&str> {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|header| header.split_once(' ')).map(|(_, token)| token.trim());
    token.ok_or_else(Error::not_authenticated)
}

/// How the people of a list look at this moment.
pub(super) struct Faces {
    profiles: HashMap<UserId, Arc<UserProfile>>,
    /// Names that events told, of people whose profile is not at hand.
    told: HashMap<UserId, String>,
    online: HashMap<UserId, bool>,
}

impl Faces {
    /// With what is at hand; never waits long for user-service.
    pub(super) async fn of(app: &AppState, people: &[UserId]) -> Result<Self> {
        let (profiles, online) = tokio::join!(app.users.profiles_at_hand(people), app.presence.online(people));
        let unknown: Vec<_> = people.iter().filter(|id| !profiles.contains_key(id)).copied().collect();
        let told = app.names.of(&unknown).await?;
        Ok(Self { profiles, told, online: people.iter().copied().zip(online).collect() })
    }

    pub(super) fn profile(&self, id: UserId) -> Option<&UserProfile> {
        self.profiles.get(&id).map(Arc::as_ref)
    }

    pub(super) fn username(&self, id: UserId) -> String {
        let known = self.profile(id).map(|profile| &profile.username);
        known.or_else(|| self.told.get(&id)).cloned().unwrap_or_else(|| UNKNOWN_USERNAME.to_owned())
    }

    pub(super) fn is_online(&self, id: UserId) -> bool {
        self.online.get(&id).copied().unwrap_or(false)
    }
}

/// How an event calls the two between whom it happens, one of them the caller.
pub(super) async fn parties(app: &AppState, me: &CurrentUser, requester: UserId, addressee: UserId) -> Result<Parties> {
    let other = if me.id == requester { addressee } else { requester };
    let (mine, other) = tokio::join!(own_name(app, me), name_of(app, other));
    let (mine, other) = (mine?, other?);
    let (requester, addressee) = if me.id == requester { (mine, other) } else { (other, mine) };
    Ok(Parties { requester, addressee })
}

/// Tokens of ours say it, those of the original do not.
async fn own_name(app: &AppState, me: &CurrentUser) -> Result<String> {
    match &me.username {
        Some(name) => Ok(name.clone()),
        None => name_of(app, me.id).await,
    }
}

async fn name_of(app: &AppState, id: UserId) -> Result<String> {
    Ok(Faces::of(app, &[id]).await?.username(id))
}
