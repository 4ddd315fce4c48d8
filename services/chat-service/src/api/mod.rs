//! HTTP: one file per resource.

mod audit;
mod caller;
mod limits;
mod members;
mod messages;
mod reads;
mod responses;
mod rooms;
mod settings;
mod stream;
mod typing;

use utoipa_axum::router::OpenApiRouter;

use crate::domain::MessageLimit;
use crate::state::AppState;
use crate::wire::examples;

/// The routes, and their document with the limit of messages that holds here and the examples of the streams.
pub fn router(message_limit: MessageLimit) -> OpenApiRouter<AppState> {
    let mut router = OpenApiRouter::new()
        .merge(rooms::router())
        .merge(settings::router())
        .merge(members::router())
        .merge(messages::router())
        .merge(reads::router())
        .merge(stream::router())
        .merge(typing::router())
        .merge(limits::router());
    limits::describe(router.get_openapi_mut(), message_limit);
    examples::add_to_streams(router.get_openapi_mut());
    router
}
