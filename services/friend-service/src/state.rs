//! The state that handlers share.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRef;
use engines::presence::Presence;
use platform::telemetry::Audit;
use prometheus::IntCounterVec;
use service::auth::Auth;
use service::budget::WriteBudget;
use service::clients::user::UserClient;

use crate::store::{Blocks, Friendships, Names};

/// A shared handle to the [`Parts`]. A clone is cheap: axum takes one for every request.
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

/// The parts of the service.
pub struct Parts {
    pub auth: Auth,
    pub users: UserClient,
    pub presence: Presence,
    pub friendships: Friendships,
    pub blocks: Blocks,
    pub names: Names,
    /// The budget of a user's writes.
    pub budget: WriteBudget,
    /// The budget of the requests that a user sends in a day: each remains as a row after its end.
    pub daily_requests: WriteBudget,
    /// Friend requests by outcome.
    pub requests: IntCounterVec,
    pub audit: Audit,
}

impl AppState {
    /// A handle to these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl FromRef<AppState> for Auth {
    fn from_ref(state: &AppState) -> Self {
        state.auth.clone()
    }
}
