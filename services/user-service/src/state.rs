//! The state that handlers share.

use axum::extract::FromRef;
use engines::presence::Presence;
use service::auth::Auth;

use crate::metrics::Metrics;
use crate::passwords::Passwords;
use crate::store::{Accounts, Directory, ExistingAccounts, LoginNetworks, Profiles, RateLimits, Sessions};

/// Cheap to clone: every field is a handle.
#[derive(Clone)]
pub struct AppState {
    pub auth: Auth,
    pub presence: Presence,
    pub passwords: Passwords,
    pub limits: RateLimits,
    pub login_networks: LoginNetworks,
    pub accounts: Accounts,
    pub existing: ExistingAccounts,
    pub sessions: Sessions,
    pub profiles: Profiles,
    pub directory: Directory,
    pub metrics: Metrics,
}

impl AppState {
    /// Publishes to all services that a session was revoked. If Redis fails, `RevocationSync` repeats the write.
    pub async fn publish_revocation(&self, session: &str) {
        if let Err(e) = self.auth.revocations().revoke(session, self.auth.tokens().lifetime()).await {
            tracing::warn!(error = %e, "a revocation was not written to Redis, it is retried");
        }
    }
}

impl FromRef<AppState> for Auth {
    fn from_ref(state: &AppState) -> Self {
        state.auth.clone()
    }
}
