//! The HTTP API: one file for each resource.

mod accounts;
mod caller;
mod keys;
mod login;
mod new_password;
mod password;
mod profile;
mod responses;
mod search;
mod second_factor;
mod sessions;
mod users;

use utoipa_axum::router::OpenApiRouter;

use crate::state::AppState;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(accounts::router())
        .merge(keys::router())
        .merge(login::router())
        .merge(password::router())
        .merge(second_factor::router())
        .merge(sessions::router())
        .merge(profile::router())
        .merge(search::router())
        .merge(users::router())
}
