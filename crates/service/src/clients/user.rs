//! user-service over REST: who someone is, whether they exist, and the search of people.
//!
//! What is known is remembered for a while, what several ask for at once is asked once, and a user-service that is away
//! costs bounded time: [`UserClient::profiles_at_hand`] answers with what there is.

mod calls;
mod flights;
mod profile;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use moka::future::Cache;
use serde::Deserialize;
use tokio::time::Instant;

use crate::auth::Auth;
use crate::error::Result;
use crate::id::UserId;
use crate::platform::Failure;
use crate::telemetry::Metrics;

pub use profile::{UNKNOWN_USERNAME, UserProfile};

use calls::Calls;
use flights::{Flights, Known};

/// How long a list waits for names that are not at hand; the rest of its 300 ms are for the stores and the way.
const LIST_PATIENCE: Duration = Duration::from_millis(200);

/// Unless `CACHE_TTL_USER_EXISTS` says otherwise.
const EXISTS_TTL: Duration = Duration::from_secs(60);

/// People who are remembered to exist; one entry takes about 50 bytes.
const MAX_EXISTING: u64 = 100_000;

/// The typed client; cheap to clone, one per process.
#[derive(Clone)]
pub struct UserClient {
    calls: Arc<Calls>,
    flights: Arc<Flights>,
    existing: Cache<UserId, ()>,
}

#[derive(Deserialize)]
struct Exists {
    exists: bool,
}

#[derive(Deserialize)]
struct Found {
    users: Vec<UserProfile>,
}

impl UserClient {
    /// `timeout` bounds a call with all its retries; profiles are remembered for `profile_ttl`.
    pub fn new(
        base_url: String,
        timeout: Duration,
        profile_ttl: Duration,
        auth: &Auth,
        metrics: &Metrics,
    ) -> Result<Self, Failure> {
        let calls = Arc::new(Calls::new(base_url, timeout, auth.service_tokens().cloned(), metrics)?);
        let flights = Arc::new(Flights::new(calls.clone(), Known::new(profile_ttl, metrics)));
        Ok(Self { calls, flights, existing: existing(EXISTS_TTL) })
    }

    /// The same, with another time for which someone is remembered to exist.
    pub fn with_existence_ttl(self, ttl: Duration) -> Self {
        Self { existing: existing(ttl), ..self }
    }

    /// The profiles of those that exist; fails if user-service cannot say.
    pub async fn profiles(&self, ids: &[UserId]) -> Result<HashMap<UserId, Arc<UserProfile>>> {
        let (mut found, missing) = self.flights.known.split(ids).await;
        for flight in self.flights.board(&missing) {
            let landed = flight.landed().await?;
            found.extend(missing.iter().filter_map(|id| Some((*id, landed.get(id)?.clone()))));
        }
        Ok(found)
    }

    /// What is known of these people, or comes to be known within a fifth of a second. For lists, which always answer.
    pub async fn profiles_at_hand(&self, ids: &[UserId]) -> HashMap<UserId, Arc<UserProfile>> {
        let deadline = Instant::now() + LIST_PATIENCE;
        let (mut found, missing) = self.flights.known.split(ids).await;
        let missing = self.flights.known.without_absent(missing);
        for flight in self.flights.board(&missing) {
            // Later ones may have landed although this one has not.
            if let Ok(Ok(landed)) = tokio::time::timeout_at(deadline, flight.landed()).await {
                found.extend(missing.iter().filter_map(|id| Some((*id, landed.get(id)?.clone()))));
            }
        }
        found
    }

    /// Whether there is such a person; fails if user-service cannot say. Asked once by all who ask at once.
    pub async fn exists(&self, id: UserId) -> Result<bool> {
        let ask = async {
            match self.calls.exists(id).await {
                Ok(Exists { exists: true }) => Ok(()),
                // No value, so it is not remembered.
                Ok(Exists { exists: false }) => Err(None),
                Err(failed) => Err(Some(failed)),
            }
        };
        match self.existing.try_get_with(id, ask).await.map_err(|none| (*none).clone()) {
            Ok(()) => Ok(true),
            Err(None) => Ok(false),
            Err(Some(failed)) => Err(failed.into()),
        }
    }

    /// Searches as the caller, with their own access token.
    pub async fn search(&self, token_of_the_caller: &str, query: &str, limit: usize) -> Result<Vec<UserProfile>> {
        let Found { users } = self.calls.search(token_of_the_caller, query, limit).await?;
        Ok(users)
    }

    /// Takes over what an event tells.
    pub async fn learn(&self, profile: UserProfile) {
        let id = profile.id;
        self.flights.known.insert(Arc::new(profile)).await;
        self.flights.disregard(id);
    }

    /// An event says that someone was last seen at this time.
    pub async fn seen(&self, id: UserId, at: DateTime<Utc>) {
        if let Some(known) = self.flights.known.get(id).await {
            self.learn(UserProfile { is_online: false, last_seen_at: Some(at), ..(*known).clone() }).await;
        }
    }

    /// An event says that what is known of someone is old.
    pub async fn forget(&self, id: UserId) {
        // In this order: what is on its way then no longer enters the cache.
        self.flights.disregard(id);
        self.flights.known.remove(id).await;
    }
}

fn existing(ttl: Duration) -> Cache<UserId, ()> {
    Cache::builder().max_capacity(MAX_EXISTING).time_to_live(ttl).build()
}

#[cfg(test)]
mod tests;
