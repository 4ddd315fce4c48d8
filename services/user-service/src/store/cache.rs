//! Copies of profiles in Redis, read together with presence in one round trip.
//!
//! A change leaves a tombstone for a moment: a reader who began before the change cannot put the old profile back.

use std::time::Duration;

use redis::AsyncCommands;
use serde::{Deserialize, Serialize};

use common::error::Result;
use common::id::UserId;
use common::presence::Presence;
use common::redis::Redis;
use common::telemetry::{self, Metrics};

use super::Profile;

/// Longer than a reader takes from its query to its write.
const TOMBSTONE: Duration = Duration::from_secs(5);

/// Goes up with the shape of what is kept, so that replicas of two versions do not misread each other.
const SHAPE: u8 = 1;

/// The keys `cache:user:{id}`.
#[derive(Clone)]
pub struct ProfileCache {
    redis: Redis,
    presence: Presence,
    ttl: Duration,
    asked: telemetry::Cache,
}

/// A profile as far as it is known, and whether the person is online.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub profile: Option<Profile>,
    pub is_online: bool,
}

#[derive(Serialize, Deserialize)]
struct Kept<P> {
    shape: u8,
    profile: P,
}

impl ProfileCache {
    pub fn new(redis: Redis, presence: Presence, ttl: Duration, metrics: &Metrics) -> Self {
        Self { redis, presence, ttl, asked: metrics.cache("profiles") }
    }

    /// What is known of these people, in their order. Without Redis: nothing, and nobody is online.
    pub async fn look_up(&self, users: &[UserId]) -> Vec<Known> {
        let known = self.read(users).await.unwrap_or_else(|e| {
            tracing::debug!(error = %e, "profiles cannot be read from the cache");
            vec![Known::default(); users.len()]
        });
        let hits = known.iter().filter(|known| known.profile.is_some()).count();
        self.asked.looked_up_many(hits, known.len() - hits);
        known
    }

    async fn read(&self, users: &[UserId]) -> Result<Vec<Known>> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<String> = users.iter().flat_map(|user| [self.key(*user), self.presence.key(*user)]).collect();
        let values: Vec<Option<Vec<u8>>> = self.redis.connection().mget(keys).await?;
        let pairs = values.chunks_exact(2);
        Ok(pairs
            .map(|pair| Known { profile: pair[0].as_deref().and_then(parse), is_online: pair[1].is_some() })
            .collect())
    }

    /// Keeps what was read from MySQL, where neither a copy nor a tombstone is there. Nobody waits for it.
    pub fn keep(&self, profiles: Vec<Profile>) {
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
            let Ok(kept) = serde_json::to_vec(&Kept { shape: SHAPE, profile }) else { continue };
            pipe.cmd("SET").arg(self.key(profile.id)).arg(kept).arg("EX").arg(self.ttl.as_secs()).arg("NX").ignore();
        }
        Ok(pipe.query_async(&mut self.redis.connection()).await?)
    }

    /// Drops the copies of profiles that were changed.
    pub async fn forget(&self, users: &[UserId]) {
        let mut pipe = redis::pipe();
        for user in users {
            pipe.cmd("SET").arg(self.key(*user)).arg("").arg("EX").arg(TOMBSTONE.as_secs()).ignore();
        }
        if let Err(e) = pipe.query_async::<()>(&mut self.redis.connection()).await {
            tracing::warn!(error = %e, "changed profiles may be shown as they were until their copies expire");
        }
    }

    fn key(&self, user: UserId) -> String {
        self.redis.key(format_args!("cache:user:{user}"))
    }
}

fn parse(kept: &[u8]) -> Option<Profile> {
    let kept: Kept<Profile> = serde_json::from_slice(kept).ok()?;
    (kept.shape == SHAPE).then_some(kept.profile)
}
