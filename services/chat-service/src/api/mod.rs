//! HTTP: one file per resource.

mod audit;
mod members;
mod messages;
mod reads;
mod responses;
mod rooms;
mod stream;
mod typing;

use utoipa_axum::router::OpenApiRouter;

use crate::state::AppState;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(rooms::router())
        .merge(members::router())
        .merge(messages::router())
        .merge(reads::router())
        .merge(stream::router())
        .merge(typing::router())
}
