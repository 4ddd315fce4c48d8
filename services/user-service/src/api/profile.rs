//! The caller's own profile.

use axum::Json;
use axum::extract::State;
use axum::routing::get;
use common::error::{ErrorBody, Result};
use common::input::{Input, Invalid};
use deserr::Deserr;
use platform::http::Valid;
use serde::Serialize;
use service::auth::CurrentUser;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::responses::{CallerErrors, InvalidInput, RateLimited};
use super::users::UserProfile;
use crate::domain::{DisplayName, Edit, ImageUrl, ProfileEdit, StatusMessage};
use crate::state::AppState;

pub fn router() -> OpenApiRouter<AppState> {
    // The oldest clients call `/profile`.
    OpenApiRouter::new()
        .routes(routes!(own, change, change_some))
        .route("/profile", get(own).put(change).patch(change_some))
}

/// A profile as its owner sees it.
#[derive(Serialize, ToSchema)]
struct OwnProfile {
    #[serde(flatten)]
    profile: UserProfile,
    #[schema(example = "minjun@example.com")]
    email: String,
    /// The display name, or the username if there is none. Older clients read it.
    #[schema(example = "김민준")]
    nickname: String,
    /// Only friends can bring the user into a group. Off by default.
    #[schema(example = true)]
    refuse_stranger_groups: bool,
}

/// The changes of a profile. An absent field or null keeps the value; an empty text clears it.
#[derive(Deserr, ToSchema)]
#[deserr(error = Invalid)]
struct ProfileChange {
    #[deserr(default)]
    #[schema(value_type = Option<String>, max_length = 100, example = "김민준")]
    display_name: Option<Edit<DisplayName>>,
    #[deserr(default)]
    #[schema(value_type = Option<String>, max_length = 500, example = "In a meeting")]
    status_message: Option<Edit<StatusMessage>>,
    #[deserr(default)]
    #[schema(value_type = Option<String>, max_length = 500, example = "https://example.com/me.png")]
    profile_image_url: Option<Edit<ImageUrl>>,
    /// Whether only friends can bring the user into a group. The user stays a member of existing groups.
    #[deserr(default)]
    #[schema(example = true)]
    refuse_stranger_groups: Option<bool>,
}

impl Input for ProfileChange {
    const ALIASES: &'static [(&'static str, &'static str)] = &[("nickname", "display_name")];
}

/// Get the caller's profile.
#[utoipa::path(
    get,
    operation_id = "getOwnProfile",
    path = "/profile/me",
    tag = "profile",
    security(("bearer" = []), ("password" = [])),
    responses(
        (status = 200, description = "The caller's profile", body = OwnProfile),
        CallerErrors,
    ),
)]
async fn own(State(app): State<AppState>, me: CurrentUser) -> Result<Json<OwnProfile>> {
    profile_of(&app, &me).await
}

/// Change the caller's profile.
#[utoipa::path(
    put,
    operation_id = "changeOwnProfile",
    path = "/profile/me",
    tag = "profile",
    security(("bearer" = []), ("password" = [])),
    request_body = ProfileChange,
    responses(
        (status = 200, description = "The changed profile", body = OwnProfile),
        (status = 409, description = "The display name looks like the username of another user", body = ErrorBody),
        CallerErrors,
        InvalidInput,
        RateLimited,
    ),
)]
async fn change(
    State(app): State<AppState>,
    me: CurrentUser,
    Valid(change): Valid<ProfileChange>,
) -> Result<Json<OwnProfile>> {
    app.budget.spend(me.id).await?;
    let ProfileChange { display_name, status_message, profile_image_url, refuse_stranger_groups } = change;
    let edit = ProfileEdit { display_name, status_message, profile_image_url, refuse_stranger_groups };
    app.profiles.edit(me.id, edit).await?;
    profile_of(&app, &me).await
}

/// Change the caller's profile; the same as PUT.
#[utoipa::path(
    patch,
    operation_id = "patchOwnProfile",
    path = "/profile/me",
    tag = "profile",
    security(("bearer" = []), ("password" = [])),
    request_body = ProfileChange,
    responses(
        (status = 200, description = "The changed profile", body = OwnProfile),
        (status = 409, description = "The display name looks like the username of another user", body = ErrorBody),
        CallerErrors,
        InvalidInput,
        RateLimited,
    ),
)]
async fn change_some(app: State<AppState>, me: CurrentUser, input: Valid<ProfileChange>) -> Result<Json<OwnProfile>> {
    change(app, me, input).await
}

async fn profile_of(app: &AppState, me: &CurrentUser) -> Result<Json<OwnProfile>> {
    let (view, email) = tokio::try_join!(app.profiles.one(me.id), app.emails.of(me.id))?;
    let nickname = view.profile.display_name.as_ref().unwrap_or(&view.profile.username).clone();
    let refuse_stranger_groups = view.profile.refuse_stranger_groups;
    Ok(Json(OwnProfile { email: email.to_string(), nickname, refuse_stranger_groups, profile: view.into() }))
}
