//! Extractors that describe the caller of a request.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use common::error::{Error, Result};
use common::id::UserId;
use platform::http::ClientAddress;
use service::auth::CurrentUser;

use crate::state::AppState;
use crate::store::ClientInfo;

/// The length of the column; the user agents of browsers are shorter.
const MAX_USER_AGENT_CHARS: usize = 255;

/// The user of a valid access token whose account exists.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExistingUser {
    pub id: UserId,
}

impl FromRequestParts<AppState> for ExistingUser {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self> {
        let user = CurrentUser::from_request_parts(parts, app).await?;
        app.existing.require(user.id).await?;
        Ok(Self { id: user.id })
    }
}

impl FromRequestParts<AppState> for ClientInfo {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, Infallible> {
        let address = parts.extensions.get::<ClientAddress>().and_then(|ClientAddress(address)| *address);
        let user_agent = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
        Ok(Self { address, user_agent: user_agent.map(|text| text.chars().take(MAX_USER_AGENT_CHARS).collect()) })
    }
}
