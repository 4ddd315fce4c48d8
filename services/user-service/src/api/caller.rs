//! Who calls, beyond what a token says.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use common::auth::CurrentUser;
use common::error::{Error, Result};
use common::http::ClientAddress;
use common::id::UserId;
use moka::sync::Cache;

use crate::AppState;
use crate::store::{Client, Profiles};

/// What a user agent may take of the table; those of browsers stay below.
const MAX_USER_AGENT_CHARS: usize = 255;

/// Callers remembered at once; one entry takes about 100 bytes.
const MAX_REMEMBERED: u64 = 100_000;

/// A user whose account is still there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub id: UserId,
}

/// Accounts that were there a moment ago.
#[derive(Clone)]
pub struct Accepted(Cache<UserId, ()>);

/// Where a request comes from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub address: Option<IpAddr>,
    user_agent: Option<String>,
}

impl Accepted {
    pub fn new(ttl: Duration) -> Self {
        Self(Cache::builder().max_capacity(MAX_REMEMBERED).time_to_live(ttl).build())
    }

    async fn accept(&self, user: UserId, profiles: &Profiles) -> Result<()> {
        if !self.0.contains_key(&user) {
            profiles.one(user).await?;
            self.0.insert(user, ());
        }
        Ok(())
    }
}

impl FromRequestParts<AppState> for Member {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self> {
        let user = CurrentUser::from_request_parts(parts, app).await?;
        app.accepted.accept(user.id, &app.profiles).await?;
        Ok(Self { id: user.id })
    }
}

impl Origin {
    pub(super) fn client(&self) -> Client {
        Client { user_agent: self.user_agent.clone(), ip: self.address.map(|address| address.to_string()) }
    }
}

impl FromRequestParts<AppState> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, Infallible> {
        let address = parts.extensions.get::<ClientAddress>().and_then(|ClientAddress(address)| *address);
        let user_agent = parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
        Ok(Self { address, user_agent: user_agent.map(|text| text.chars().take(MAX_USER_AGENT_CHARS).collect()) })
    }
}
