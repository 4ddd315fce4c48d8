//! The caller of an operation that browsers request without headers of their own: an access token or a ticket authenticates them.

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use common::error::{Error, Result};
use common::input::{Input, Invalid};
use deserr::Deserr;
use platform::http::Query;
use service::auth::CurrentUser;

use crate::state::AppState;

/// A user with a token in the header `Authorization`, or without one, with a ticket in the query. The request uses the ticket up.
pub struct Caller(pub CurrentUser);

#[derive(Deserr)]
#[deserr(error = Invalid)]
struct TicketQuery {
    #[deserr(default)]
    ticket: Option<String>,
}

impl Input for TicketQuery {}

impl FromRequestParts<AppState> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self> {
        let query = Query::<TicketQuery>::from_request_parts(parts, app).await.ok();
        let ticket = query.and_then(|Query(TicketQuery { ticket })| ticket);
        match ticket.filter(|_| !parts.headers.contains_key(header::AUTHORIZATION)) {
            Some(ticket) => app.tickets.redeem(&ticket).await.map(Self),
            None => CurrentUser::from_request_parts(parts, app).await.map(Self),
        }
    }
}
