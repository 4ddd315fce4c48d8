//! The profile cache in Redis: what other users see of a profile. One round trip reads cached profiles and presence keys.
//!
//! Invalidation replaces a profile with a tombstone for a moment, so that a reader that queried MySQL before the change
//! cannot cache the old profile.

use std::time::Duration;

use redis::AsyncCommands;
use serde::{Deserialize, Serialize};

use common::id::UserId;
use engines::error::Result;
use engines::presence::Presence;
use engines::redis::Redis;
use platform::telemetry;
use platform::telemetry::Metrics;

use super::Profile;

/// Longer than a reader takes from its query to its write.
const TOMBSTONE_TTL: Duration = Duration::from_secs(5);

/// Increases with every change of the cached JSON, so that replicas of two versions do not misread each other.
const SCHEMA_VERSION: u8 = 3;

/// The keys `cache:user:{id}`.
#[derive(Clone)]
pub struct ProfileCache {
    redis: Redis,
    presence: Presence,
    ttl: Duration,
    lookups: telemetry::Cache,
}

/// The cached profile of a user, if there is one, and whether the user is online.
#[derive(Clone, Debug, Default)]
pub struct CacheLookup {
    pub profile: Option<Profile>,
    pub is_online: bool,
}

#[derive(Serialize, Deserialize)]
struct CacheEntry<P> {
    #[serde(rename = "shape")]
    schema_version: u8,
    profile: P,
}

impl ProfileCache {
    pub fn new(redis: Redis, presence: Presence, ttl: Duration, metrics: &Metrics) -> Self {
        Self { redis, presence, ttl, lookups: metrics.cache("profiles") }
    }

    /// Looks these users up, in their order. Without Redis no profile is cached and no user is online.
    pub async fn look_up(&self, users: &[UserId]) -> Vec<CacheLookup> {
        let lookups = self.read(users).await.unwrap_or_else(|e| {
            tracing::debug!(error = %e, "the profile cache cannot be read");
            vec![CacheLookup::default(); users.len()]
        });
        let hits = lookups.iter().filter(|lookup| lookup.profile.is_some()).count();
        self.lookups.looked_up_many(hits, lookups.len() - hits);
        lookups
    }

    async fn read(&self, users: &[UserId]) -> Result<Vec<CacheLookup>> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<String> = users.iter().flat_map(|user| [self.key(*user), self.presence.key(*user)]).collect();
        let values: Vec<Option<Vec<u8>>> = self.redis.connection().mget(keys).await?;
        let pairs = values.chunks_exact(2);
        Ok(pairs
            .map(|pair| CacheLookup { profile: pair[0].as_deref().and_then(parse), is_online: pair[1].is_some() })
            .collect())
    }

    /// Caches profiles that were read from MySQL, in the background. Existing entries and tombstones stay.
    pub fn insert(&self, profiles: Vec<Profile>) {
        if profiles.is_empty() {
            return;
        }
        let cache = self.clone();
        tokio::spawn(async move {
            if let Err(e) = cache.write(&profiles).await {
                tracing::debug!(error = %e, "profiles cannot be cached");
            }
        });
    }

    async fn write(&self, profiles: &[Profile]) -> Result<()> {
        let mut pipe = redis::pipe();
        for profile in profiles {
            let entry = CacheEntry { schema_version: SCHEMA_VERSION, profile };
            let Ok(entry) = serde_json::to_vec(&entry) else { continue };
            pipe.cmd("SET").arg(self.key(profile.id)).arg(entry).arg("EX").arg(self.ttl.as_secs()).arg("NX").ignore();
        }
        Ok(pipe.query_async(&mut self.redis.connection()).await?)
    }

    /// Replaces the entries of changed profiles with tombstones.
    pub async fn invalidate(&self, users: &[UserId]) {
        let mut pipe = redis::pipe();
        for user in users {
            pipe.cmd("SET").arg(self.key(*user)).arg("").arg("EX").arg(TOMBSTONE_TTL.as_secs()).ignore();
        }
        if let Err(e) = pipe.query_async::<()>(&mut self.redis.connection()).await {
            tracing::warn!(error = %e, "stale profiles stay in the cache until they expire");
        }
    }

    fn key(&self, user: UserId) -> String {
        self.redis.key(format_args!("cache:user:{user}"))
    }
}

fn parse(entry: &[u8]) -> Option<Profile> {
    let entry: CacheEntry<Profile> = serde_json::from_slice(entry).ok()?;
    (entry.schema_version == SCHEMA_VERSION).then_some(entry.profile)
}
