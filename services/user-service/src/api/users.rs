//! Profiles of users by their ids.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use common::error::{Error, ErrorBody, Result};
use common::id::UserId;
use common::input::{Input, Invalid};
use deserr::{Deserr, IntoValue, Sequence, Value, ValuePointerRef};
use platform::http::{Path, Query, Valid};
use serde::Serialize;
use service::auth::UserOrService;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::caller::ExistingUser;
use super::responses::{ServiceErrors, Unauthenticated, UserErrors};
use crate::state::AppState;
use crate::store::ProfileView;

/// The maximum number of users in one answer. The callers of the original ask for no more.
const MAX_IDS: usize = 100;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(user))
        .routes(routes!(profile))
        .routes(routes!(users))
        .routes(routes!(users_batch))
        .routes(routes!(user_exists))
}

/// A user as other users see them.
#[derive(Serialize, ToSchema)]
pub struct UserProfile {
    id: UserId,
    #[schema(example = "kim_minjun")]
    username: String,
    #[schema(example = "김민준")]
    display_name: Option<String>,
    #[schema(example = "In a meeting")]
    status_message: Option<String>,
    #[schema(example = "https://example.com/me.png")]
    profile_image_url: Option<String>,
    is_online: bool,
    last_seen_at: Option<DateTime<Utc>>,
}

#[derive(Deserr, IntoParams)]
#[deserr(error = Invalid)]
#[into_params(parameter_in = Query)]
struct UserIds {
    /// 1 to 100 ids, separated by commas. `ids` is accepted as another name.
    #[deserr(default)]
    #[param(example = "1,2,3")]
    user_ids: Option<String>,
}

impl Input for UserIds {
    const ALIASES: &'static [(&'static str, &'static str)] = &[("ids", "user_ids")];
}

#[derive(Deserr, ToSchema)]
#[deserr(error = Invalid)]
struct Batch {
    #[schema(value_type = Vec<UserId>, min_items = 1, max_items = 100, example = json!([1, 2, 3]))]
    user_ids: Ids,
}

impl Input for Batch {}

/// 1 to 100 ids.
struct Ids(Vec<UserId>);

#[derive(Serialize, ToSchema)]
struct Existence {
    user_id: UserId,
    exists: bool,
}

/// Get a user.
#[utoipa::path(
    get,
    path = "/users/{user_id}",
    tag = "users",
    security(("bearer" = []), ("password" = [])),
    params(("user_id" = UserId, Path)),
    responses(
        (status = 200, description = "The user", body = UserProfile),
        UserErrors,
    ),
)]
async fn user(State(app): State<AppState>, _: ExistingUser, Path(id): Path<UserId>) -> Result<Json<UserProfile>> {
    Ok(Json(app.profiles.one(id).await?.into()))
}

/// Get a user, at an older path.
#[utoipa::path(
    get,
    path = "/profile/{user_id}",
    tag = "profile",
    security(("bearer" = []), ("password" = [])),
    params(("user_id" = UserId, Path)),
    responses(
        (status = 200, description = "The user", body = UserProfile),
        UserErrors,
    ),
)]
async fn profile(app: State<AppState>, me: ExistingUser, id: Path<UserId>) -> Result<Json<UserProfile>> {
    user(app, me, id).await
}

/// Get several users.
#[utoipa::path(
    get,
    path = "/users",
    tag = "users",
    security(("bearer" = []), ("password" = [])),
    params(UserIds),
    responses(
        (status = 200, description = "The users in the order of the ids, without unknown ids", body = Vec<UserProfile>),
        (status = 400, description = "There are no ids, malformed ids, or more than 100", body = ErrorBody),
        Unauthenticated,
    ),
)]
async fn users(
    State(app): State<AppState>,
    _: ExistingUser,
    Query(query): Query<UserIds>,
) -> Result<Json<Vec<UserProfile>>> {
    let ids = parse_ids(query.user_ids.as_deref().unwrap_or_default())?;
    profiles(&app, ids).await
}

/// Get several users; for other services.
#[utoipa::path(
    post,
    path = "/users/batch",
    tag = "services",
    security(("bearer" = [])),
    request_body = Batch,
    responses(
        (status = 200, description = "The users in the order of the ids, without unknown ids", body = Vec<UserProfile>),
        ServiceErrors,
    ),
)]
async fn users_batch(
    State(app): State<AppState>,
    _: UserOrService,
    Valid(batch): Valid<Batch>,
) -> Result<Json<Vec<UserProfile>>> {
    profiles(&app, batch.user_ids.0).await
}

/// Report whether a user exists; for other services.
#[utoipa::path(
    get,
    path = "/users/{user_id}/exists",
    tag = "services",
    security(("bearer" = [])),
    params(("user_id" = UserId, Path)),
    responses(
        (status = 200, description = "Whether the user exists", body = Existence),
        ServiceErrors,
    ),
)]
async fn user_exists(State(app): State<AppState>, _: UserOrService, Path(id): Path<UserId>) -> Result<Json<Existence>> {
    let exists = !app.profiles.many(&[id]).await?.is_empty();
    Ok(Json(Existence { user_id: id, exists }))
}

async fn profiles(app: &AppState, mut ids: Vec<UserId>) -> Result<Json<Vec<UserProfile>>> {
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(*id));
    Ok(Json(app.profiles.many(&ids).await?.into_iter().map(UserProfile::from).collect()))
}

/// Parses `1,2,3`.
fn parse_ids(text: &str) -> Result<Vec<UserId>> {
    let ids = text.split(',').map(str::trim).filter(|id| !id.is_empty());
    let ids: Result<Vec<UserId>, _> = ids.map(str::parse).collect();
    let ids = ids.map_err(|_| Error::business("Invalid user ID format"))?;
    match ids.len() {
        0 => Err(Error::business("At least one user ID is required")),
        1..=MAX_IDS if ids.iter().all(|id| id.0 > 0) => Ok(ids),
        1..=MAX_IDS => Err(Error::business("Invalid user ID format")),
        _ => Err(Error::business("Maximum 100 user IDs allowed")),
    }
}

impl Deserr<Invalid> for Ids {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, at: ValuePointerRef) -> Result<Self, Invalid> {
        let length = match &value {
            Value::Sequence(ids) => ids.len(),
            _ => 1,
        };
        if length == 0 {
            return Err(Invalid::new("too_short", at, "List should have at least 1 item after validation, not 0"));
        }
        if length > MAX_IDS {
            let message = format!("List should have at most {MAX_IDS} items after validation, not {length}");
            return Err(Invalid::new("too_long", at, message));
        }
        Vec::deserialize_from_value(value, at).map(Self)
    }
}

impl From<ProfileView> for UserProfile {
    fn from(ProfileView { profile, is_online }: ProfileView) -> Self {
        Self {
            id: profile.id,
            username: profile.username,
            display_name: profile.display_name,
            status_message: profile.status_message,
            profile_image_url: profile.profile_image_url,
            is_online,
            last_seen_at: profile.last_seen_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_separated_by_commas() {
        assert_eq!(parse_ids(" 3, 1,,2 ").unwrap(), [UserId(3), UserId(1), UserId(2)]);
        for (text, problem) in [
            ("", "At least one user ID is required"),
            (" , ", "At least one user ID is required"),
            ("1,x", "Invalid user ID format"),
            ("1.5", "Invalid user ID format"),
            ("-1", "Invalid user ID format"),
            ("0", "Invalid user ID format"),
        ] {
            assert_eq!(parse_ids(text).unwrap_err().to_string(), problem, "{text}");
        }
        let ids = |n: i64| (1..=n).map(|id| id.to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(parse_ids(&ids(100)).unwrap().len(), 100);
        assert!(parse_ids(&ids(101)).is_err());
    }
}
