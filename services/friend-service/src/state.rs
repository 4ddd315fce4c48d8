//! The state that handlers share.

use axum::extract::FromRef;
use engines::presence::Presence;
use platform::telemetry::Audit;
use prometheus::IntCounterVec;
use service::auth::Auth;
use service::budget::WriteBudget;
use service::clients::user::UserClient;

use crate::store::{Blocks, Friendships, Names};

#[derive(Clone)]
pub struct AppState {
    pub auth: Auth,
    pub users: UserClient,
    pub presence: Presence,
    pub friendships: Friendships,
    pub blocks: Blocks,
    pub names: Names,
    /// The budget of a user's writes.
    pub budget: WriteBudget,
    /// Friend requests by outcome.
    pub requests: IntCounterVec,
    pub audit: Audit,
}

impl FromRef<AppState> for Auth {
    fn from_ref(state: &AppState) -> Self {
        state.auth.clone()
    }
}
