//! HTTP, one file per resource.

mod members;
pub mod messages;
mod reads;
mod rooms;
mod stream;
mod typing;

use utoipa_axum::router::OpenApiRouter;

use crate::AppState;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(rooms::router())
        .merge(members::router())
        .merge(messages::router())
        .merge(reads::router())
        .merge(stream::router())
        .merge(typing::router())
}
