//! The search for users.

use axum::Json;
use axum::extract::State;
use common::error::Result;
use common::input::{Input, Int, Invalid, SearchText};
use deserr::Deserr;
use platform::http::Query;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::caller::ExistingUser;
use super::responses::{InvalidInput, Unauthenticated};
use super::users::UserProfile;
use crate::domain::SearchTerm;
use crate::state::AppState;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(search))
}

#[derive(Deserr, IntoParams)]
#[deserr(error = Invalid)]
#[into_params(parameter_in = Query)]
struct Search {
    /// A part of a username or a display name, in any case and Unicode normalization. White space at its ends is removed. `%`
    /// and `_` have no special meaning.
    #[param(inline)]
    query: SearchText<50>,
    /// The maximum number of users in the answer; 10 by default.
    #[deserr(default = Int(10))]
    #[param(value_type = i64, required = false, minimum = 1, maximum = 50, default = 10)]
    limit: Int<1, 50>,
    /// The number of matches before the first one in the answer; 0 by default. The original has no such parameter.
    #[deserr(default = Int(0))]
    #[param(value_type = i64, required = false, minimum = 0, maximum = 1_000, default = 0)]
    offset: Int<0, 1000>,
}

impl Input for Search {
    const ALIASES: &'static [(&'static str, &'static str)] = &[("q", "query")];
}

#[derive(Serialize, ToSchema)]
#[schema(as = FoundUsers)]
struct Found {
    users: Vec<UserProfile>,
    /// The number of all matches, at most 1,000.
    #[schema(example = 1)]
    total_count: usize,
}

/// Search users by a part of a name.
///
/// For a moment after its start, until the service has loaded all blocks, the profiles contain only the names.
#[utoipa::path(
    get,
    operation_id = "searchUsers",
    path = "/users/search",
    tag = "users",
    security(("bearer" = []), ("password" = [])),
    params(Search),
    responses(
        (status = 200, description = "Matching active users without the caller and users who have blocked the caller", body = Found),
        Unauthenticated,
        InvalidInput,
    ),
)]
async fn search(State(app): State<AppState>, me: ExistingUser, Query(search): Query<Search>) -> Result<Json<Found>> {
    let _timer = app.metrics.search_seconds.start_timer();
    let mut matches = app.directory.find(&SearchTerm::of(&search.query.0), me.id).await?;
    matches.retain(|user| !app.blocks.has(*user, me.id));
    let (offset, limit) = (search.offset.0 as usize, search.limit.0 as usize);
    let page: Vec<_> = matches.iter().skip(offset).take(limit).copied().collect();
    let profiles = app.profiles.many(&page).await?;
    // The index follows a deactivation within seconds. Until then the profile shows it.
    let active = profiles.into_iter().filter(|view| view.profile.is_active);
    let users = active.map(|view| UserProfile::as_seen_by(Some(me.id), view, &app.blocks)).collect();
    Ok(Json(Found { users, total_count: matches.len() }))
}
