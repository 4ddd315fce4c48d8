//! Messages: sending, listing, changing, reactions and search.

mod change;
mod file;
mod list;
mod react;
mod search;
mod send;
mod upload;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::AppState;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list::list, send::send, change::edit, change::delete))
        .routes(routes!(list::list_by_query, send::send_by_body))
        .routes(routes!(react::add, react::remove))
        .routes(routes!(upload::request))
        .routes(routes!(upload::complete))
        .routes(routes!(upload::cancel))
        .routes(routes!(file::download))
        .routes(routes!(file::thumbnail))
        .routes(routes!(search::search))
}
