//! The REST client of user-service: profiles, the existence of users, and their search.
//!
//! Profiles and existence are cached, and concurrent requests for the same users share a call. An unavailable
//! user-service costs bounded time: [`UserClient::available_profiles`] returns the profiles that it has.

mod breaker;
mod calls;
mod loader;
mod profile;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::error::{BoxError, Result};
use common::id::UserId;
use moka::future::Cache;
use platform::config::CallConfig;
use platform::telemetry::Metrics;
use tokio::time::Instant;

use crate::auth::Auth;

use calls::{Calls, Found, SEARCH_PAGE};
use loader::{LoadedProfiles, ProfileLoader};

pub use profile::{UNKNOWN_USERNAME, UserProfile};

/// How long a list waits for profiles that are not cached. The contract gives it 300 ms, of which the rest is for the
/// stores and the network.
const LIST_TIMEOUT: Duration = Duration::from_millis(200);

/// How long the existence of a user is cached, unless `CACHE_TTL_USER_EXISTS` has another time.
const EXISTS_TTL: Duration = Duration::from_secs(60);

/// The greatest number of matches that a search reads. user-service counts no more.
const MAX_SEARCHED: usize = 1_000;

/// The capacity of the cache of existence. An entry takes about 50 bytes.
const MAX_EXISTING: u64 = 100_000;

/// The client of user-service, one per process. Clones share the caches.
#[derive(Clone)]
pub struct UserClient {
    calls: Arc<Calls>,
    loader: Arc<ProfileLoader>,
    existing: Cache<UserId, ()>,
}

impl UserClient {
    /// The timeout bounds a call with all its retries, and profiles are cached for `profile_ttl`.
    ///
    /// # Errors
    /// Returns an error if a metric cannot be registered or the HTTP client cannot be built.
    pub fn new(
        base_url: String,
        calls: &CallConfig,
        profile_ttl: Duration,
        auth: &Auth,
        metrics: &Metrics,
    ) -> Result<Self, BoxError> {
        let calls = Arc::new(Calls::new(base_url, calls, auth.service_tokens().cloned(), metrics)?);
        let loader = Arc::new(ProfileLoader::new(calls.clone(), LoadedProfiles::new(profile_ttl, metrics)));
        Ok(Self { calls, loader, existing: existing(EXISTS_TTL) })
    }

    /// The same client, which caches the existence of a user for `ttl`.
    pub fn with_existence_ttl(self, ttl: Duration) -> Self {
        Self { existing: existing(ttl), ..self }
    }

    /// The profiles of those of these users that exist.
    ///
    /// # Errors
    /// Returns an unavailable error if user-service does not answer.
    pub async fn profiles(&self, ids: &[UserId]) -> Result<HashMap<UserId, Arc<UserProfile>>> {
        let (mut found, missing) = self.loader.profiles.split(ids).await;
        for batch in self.loader.load(&missing) {
            let loaded = batch.loaded().await?;
            found.extend(missing.iter().filter_map(|id| Some((*id, loaded.get(id)?.clone()))));
        }
        Ok(found)
    }

    /// The profiles that are cached or loaded within 200 ms, for lists, which always answer.
    pub async fn available_profiles(&self, ids: &[UserId]) -> HashMap<UserId, Arc<UserProfile>> {
        let deadline = Instant::now() + LIST_TIMEOUT;
        let (mut found, missing) = self.loader.profiles.split(ids).await;
        let missing = self.loader.profiles.without_absent(missing);
        for batch in self.loader.load(&missing) {
            // A later batch may be loaded although this one is not.
            if let Ok(Ok(loaded)) = tokio::time::timeout_at(deadline, batch.loaded()).await {
                found.extend(missing.iter().filter_map(|id| Some((*id, loaded.get(id)?.clone()))));
            }
        }
        found
    }

    /// Whether a user exists. Concurrent callers share a call.
    ///
    /// # Errors
    /// Returns an unavailable error if user-service does not answer.
    pub async fn exists(&self, id: UserId) -> Result<bool> {
        let ask = async {
            match self.calls.exists(id).await {
                Ok(true) => Ok(()),
                // An error, so that it is not cached.
                Ok(false) => Err(None),
                Err(failed) => Err(Some(failed)),
            }
        };
        match self.existing.try_get_with(id, ask).await.map_err(|none| (*none).clone()) {
            Ok(()) => Ok(true),
            Err(None) => Ok(false),
            Err(Some(failed)) => Err(failed.into()),
        }
    }

    /// The first `limit` users that a search with the access token of the caller finds and `accept` accepts.
    ///
    /// Reads page after page, at most 20 of 50 users, which are all matches that user-service counts. The original has only one
    /// page: it ignores the offset and returns the first page again.
    ///
    /// # Errors
    /// Returns a 401 error if user-service rejects the token, and an unavailable error if it does not answer.
    pub async fn search(
        &self,
        access_token: &str,
        query: &str,
        limit: usize,
        accept: impl Fn(&UserProfile) -> bool,
    ) -> Result<Vec<UserProfile>> {
        let (mut accepted, mut seen) = (Vec::new(), HashSet::new());
        for offset in (0..MAX_SEARCHED).step_by(SEARCH_PAGE) {
            let Found { users, total_count } = self.calls.search(access_token, query, offset).await?;
            let repeats = !users.is_empty() && users.iter().all(|user| seen.contains(&user.id));
            accepted.extend(users.into_iter().filter(|user| seen.insert(user.id) && accept(user)));
            if repeats || accepted.len() >= limit || offset + SEARCH_PAGE >= total_count {
                break;
            }
        }
        accepted.truncate(limit);
        Ok(accepted)
    }

    /// Caches a profile that an event has brought.
    pub async fn insert(&self, profile: UserProfile) {
        let id = profile.id;
        self.loader.profiles.insert(Arc::new(profile)).await;
        self.loader.disregard(id);
    }

    /// Sets a cached profile offline, with the last sign of life that an event has brought.
    pub async fn set_last_seen(&self, id: UserId, at: DateTime<Utc>) {
        if let Some(cached) = self.loader.profiles.get(id).await {
            self.insert(UserProfile { is_online: false, last_seen_at: Some(at), ..(*cached).clone() }).await;
        }
    }

    /// Removes all profiles, because events about them may have been missed.
    pub fn invalidate_all(&self) {
        // In this order, as below.
        self.loader.disregard_all();
        self.loader.profiles.clear();
    }

    /// Removes a profile that an event has made stale.
    pub async fn invalidate(&self, id: UserId) {
        // In this order, so that a profile that is being loaded does not enter the cache.
        self.loader.disregard(id);
        self.loader.profiles.remove(id).await;
    }
}

fn existing(ttl: Duration) -> Cache<UserId, ()> {
    Cache::builder().max_capacity(MAX_EXISTING).time_to_live(ttl).build()
}

#[cfg(test)]
mod tests;
