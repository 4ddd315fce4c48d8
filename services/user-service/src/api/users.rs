//! Profiles of users by their ids.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use common::error::{Error, ErrorBody, Result};
use common::id::UserId;
use common::input::{Input, Invalid, List};
use deserr::Deserr;
use platform::http::{Path, Query, Valid};
use serde::Serialize;
use service::auth::UserOrService;
use service::blocks::Blocks;
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
    #[schema(required, example = "김민준")]
    display_name: Option<String>,
    #[schema(required, example = "In a meeting")]
    status_message: Option<String>,
    #[schema(required, example = "https://example.com/me.png")]
    profile_image_url: Option<String>,
    #[schema(example = true)]
    is_online: bool,
    #[schema(required, example = "2026-11-24T13:09:10.500Z")]
    last_seen_at: Option<DateTime<Utc>>,
}

/// A user as other users and services see them.
#[derive(Serialize, ToSchema)]
struct BatchProfile {
    #[serde(flatten)]
    profile: UserProfile,
    /// Only friends can bring the user into a group. Absent in answers to users.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    refuse_stranger_groups: Option<bool>,
}

#[derive(Deserr, IntoParams)]
#[deserr(error = Invalid)]
#[into_params(parameter_in = Query)]
struct UserIds {
    /// 1 to 100 ids, separated by commas. `ids` is accepted as another name.
    #[param(example = "1")]
    user_ids: String,
}

impl Input for UserIds {
    const ALIASES: &'static [(&'static str, &'static str)] = &[("ids", "user_ids")];
}

type BatchIds = List<UserId, 1, MAX_IDS>;

#[derive(Deserr, ToSchema)]
#[deserr(error = Invalid)]
#[schema(as = UserBatch)]
struct Batch {
    #[schema(example = json!([1, 2, 3]))]
    user_ids: BatchIds,
}

impl Input for Batch {}

#[derive(Serialize, ToSchema)]
struct Existence {
    user_id: UserId,
    exists: bool,
}

/// Get a user.
///
/// The profile of a user who has blocked the caller contains only the names: no status message, no image, no presence. For a moment
/// after the start of the service, until it has loaded all blocks, this applies to every user but the caller.
#[utoipa::path(
    get,
    operation_id = "getUser",
    path = "/users/{user_id}",
    tag = "users",
    security(("bearer" = []), ("password" = [])),
    params(("user_id" = UserId, Path)),
    responses(
        (status = 200, description = "The user", body = UserProfile),
        UserErrors,
    ),
)]
async fn user(State(app): State<AppState>, me: ExistingUser, Path(id): Path<UserId>) -> Result<Json<UserProfile>> {
    Ok(Json(UserProfile::as_seen_by(Some(me.id), app.profiles.one(id).await?, &app.blocks)))
}

/// Get a user, at an older path.
///
/// The profile of a user who has blocked the caller contains only the names: no status message, no image, no presence. For a moment
/// after the start of the service, until it has loaded all blocks, this applies to every user but the caller.
#[utoipa::path(
    get,
    operation_id = "getProfile",
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
///
/// The profile of a user who has blocked the caller contains only the names: no status message, no image, no presence. For a moment
/// after the start of the service, until it has loaded all blocks, this applies to every user but the caller.
#[utoipa::path(
    get,
    operation_id = "listUsers",
    path = "/users",
    tag = "users",
    security(("bearer" = []), ("password" = [])),
    params(UserIds),
    responses(
        (status = 200, description = "The users in the order of the ids, without unknown ids", body = Vec<UserProfile>),
        (status = 400, description = "The list of ids is empty, malformed, or longer than 100", body = ErrorBody),
        (status = 422, description = "There is no list of ids", body = ErrorBody),
        Unauthenticated,
    ),
)]
async fn users(
    State(app): State<AppState>,
    me: ExistingUser,
    Query(query): Query<UserIds>,
) -> Result<Json<Vec<UserProfile>>> {
    let ids = parse_ids(&query.user_ids)?;
    let views = distinct(&app, ids).await?.into_iter();
    Ok(Json(views.map(|view| UserProfile::as_seen_by(Some(me.id), view, &app.blocks)).collect()))
}

/// Get several users; for other services.
///
/// With a user's token, the answer is that of `GET /users`.
#[utoipa::path(
    post,
    operation_id = "listUsersOfBatch",
    path = "/users/batch",
    tag = "services",
    security(("bearer" = [])),
    request_body = Batch,
    responses(
        (status = 200, description = "The users in the order of the ids, without unknown ids", body = Vec<BatchProfile>),
        ServiceErrors,
    ),
)]
async fn users_batch(
    State(app): State<AppState>,
    UserOrService(viewer): UserOrService,
    Valid(batch): Valid<Batch>,
) -> Result<Json<Vec<BatchProfile>>> {
    let bodies = distinct(&app, batch.user_ids.0).await?.into_iter().map(|view| BatchProfile {
        refuse_stranger_groups: viewer.is_none().then_some(view.profile.refuse_stranger_groups),
        profile: UserProfile::as_seen_by(viewer, view, &app.blocks),
    });
    Ok(Json(bodies.collect()))
}

/// Report whether a user exists; for other services.
#[utoipa::path(
    get,
    operation_id = "userExists",
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

/// The profiles of these users in their order, each once.
async fn distinct(app: &AppState, mut ids: Vec<UserId>) -> Result<Vec<ProfileView>> {
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(*id));
    Ok(app.profiles.many(&ids).await?)
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

impl UserProfile {
    /// The profile as a user sees it, or, without a viewer, as it is.
    ///
    /// A user who is blocked by its owner sees the names only, because old conversations show them. Until the blocks are
    /// known, so does every other user.
    pub fn as_seen_by(viewer: Option<UserId>, view: ProfileView, blocks: &Blocks) -> Self {
        let profile = Self::from(view);
        if viewer.is_some_and(|viewer| viewer != profile.id && blocks.hides(profile.id, viewer)) {
            return Self {
                status_message: None,
                profile_image_url: None,
                is_online: false,
                last_seen_at: None,
                ..profile
            };
        }
        profile
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
