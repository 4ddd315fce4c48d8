//! HTTP: one file per resource, each with its types, its documentation and its handlers.

#![allow(unused_qualifications, reason = "utoipa's `params(Type)` writes the type out")]

mod aliases;
mod blocks;
mod friends;
mod people;
mod requests;

use utoipa_axum::router::OpenApiRouter;

use crate::AppState;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(requests::router())
        .merge(friends::router())
        .merge(blocks::router())
        .merge(people::router())
        .merge(aliases::router())
}
