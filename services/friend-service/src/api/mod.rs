//! HTTP: one file per resource, with its types, documentation and handlers.

#![allow(unused_qualifications, reason = "utoipa's `params(Type)` writes the type out")]

mod blocks;
mod friends;
mod legacy;
mod page;
mod requests;
mod responses;
mod users;

use utoipa_axum::router::OpenApiRouter;

use crate::state::AppState;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(requests::router())
        .merge(friends::router())
        .merge(blocks::router())
        .merge(users::router())
        .merge(legacy::router())
}
