//! HTTP, one file per resource.

pub mod messages;
mod reads;
mod rooms;
mod stream;

use utoipa_axum::router::OpenApiRouter;

use crate::AppState;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().merge(rooms::router()).merge(messages::router()).merge(reads::router()).merge(stream::router())
}
