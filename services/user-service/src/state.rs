//! The state that handlers share.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRef;
use engines::presence::Presence;
use platform::telemetry::Audit;
use service::auth::Auth;
use service::blocks::Blocks;
use service::budget::WriteBudget;

use crate::metrics::Metrics;
use crate::passwords::Passwords;
use crate::store::{
    Accounts, Directory, Emails, ExistingAccounts, LoginNetworks, Profiles, RateLimits, SecondFactors, Sessions,
};

/// A shared handle to the [`Parts`]. A clone is cheap: axum takes one for every request.
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

/// The parts of the service.
pub struct Parts {
    pub auth: Auth,
    pub presence: Presence,
    pub passwords: Passwords,
    pub limits: RateLimits,
    /// The budget of a user's changes of profile, password and second factor.
    pub budget: WriteBudget,
    pub login_networks: LoginNetworks,
    pub accounts: Accounts,
    pub emails: Emails,
    pub existing: ExistingAccounts,
    pub sessions: Sessions,
    pub second_factors: SecondFactors,
    pub profiles: Profiles,
    pub directory: Directory,
    /// The blocks between users, which hide presence.
    pub blocks: Blocks,
    pub metrics: Metrics,
    pub audit: Audit,
    /// The name of this system in authenticator apps.
    pub issuer: Arc<str>,
}

impl AppState {
    /// A handle to these parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Publishes to all services that sessions were revoked. If Redis fails, `RevocationSync` repeats the write.
    pub async fn publish_revocations(&self, sessions: &[String]) {
        let lifetime = self.auth.tokens().lifetime();
        let revoked: Vec<_> = sessions.iter().map(|session| (session.clone(), lifetime)).collect();
        if let Err(e) = self.auth.revocations().revoke(&revoked).await {
            tracing::warn!(error = %e, "revocations were not written to Redis, they are retried");
        }
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
