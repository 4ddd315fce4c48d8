//! Loads profiles in batches: concurrent requests for the same user share a call, and a call has up to 100 users.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use common::id::UserId;
use futures_util::FutureExt;
use futures_util::future::Shared;
use moka::future::Cache;
use parking_lot::Mutex;
use platform::telemetry::{self, Metrics, Trace};
use tokio::sync::{Semaphore, oneshot};

use crate::clients::user::calls::{CallError, Calls};
use crate::clients::user::profile::UserProfile;

/// The greatest number of users in one call, which user-service and the original accept.
const MAX_BATCH: usize = 100;

/// The greatest number of calls at a time. Further batches wait, so that long lists do not flood user-service.
pub(super) const MAX_IN_FLIGHT: usize = 8;

/// How long a batch that is not full waits for further users.
const BATCH_DELAY: Duration = Duration::from_millis(1);

/// The capacity of the cache. A profile takes about 500 bytes.
const MAX_CACHED: u64 = 50_000;

/// How long the absence of a user is cached for lists.
const ABSENT_TTL: Duration = Duration::from_secs(10);

/// The cache of loaded profiles.
pub(super) struct LoadedProfiles {
    profiles: Cache<UserId, Arc<UserProfile>>,
    absent: Cache<UserId, ()>,
    lookups: telemetry::Cache,
}

impl LoadedProfiles {
    pub(super) fn new(ttl: Duration, metrics: &Metrics) -> Self {
        Self {
            profiles: Cache::builder().max_capacity(MAX_CACHED).time_to_live(ttl).build(),
            absent: Cache::builder().max_capacity(MAX_CACHED).time_to_live(ABSENT_TTL).build(),
            lookups: metrics.cache("profiles"),
        }
    }

    pub(super) async fn get(&self, id: UserId) -> Option<Arc<UserProfile>> {
        self.profiles.get(&id).await
    }

    pub(super) async fn insert(&self, profile: Arc<UserProfile>) {
        self.absent.invalidate(&profile.id).await;
        self.profiles.insert(profile.id, profile).await;
    }

    pub(super) async fn remove(&self, id: UserId) {
        self.profiles.invalidate(&id).await;
    }

    pub(super) fn clear(&self) {
        self.profiles.invalidate_all();
    }

    /// The cached profiles, and the ids of the other users, each once.
    pub(super) async fn split(&self, ids: &[UserId]) -> (HashMap<UserId, Arc<UserProfile>>, Vec<UserId>) {
        let mut cached = HashMap::with_capacity(ids.len());
        let mut missing = Vec::new();
        for id in ids {
            match self.get(*id).await {
                Some(profile) => _ = cached.insert(*id, profile),
                None => missing.push(*id),
            }
        }
        missing.sort_unstable();
        missing.dedup();
        self.lookups.looked_up_many(cached.len(), missing.len());
        (cached, missing)
    }

    pub(super) fn without_absent(&self, ids: Vec<UserId>) -> Vec<UserId> {
        ids.into_iter().filter(|id| !self.absent.contains_key(id)).collect()
    }
}

/// The loader of a process.
pub(super) struct ProfileLoader {
    calls: Arc<Calls>,
    pub(super) profiles: LoadedProfiles,
    batches: Mutex<Batches>,
    in_flight: Semaphore,
}

/// The batches that are not yet loaded, by user, and the one that still accepts users.
#[derive(Default)]
struct Batches {
    by_user: HashMap<UserId, PendingBatch>,
    open: Option<Batch>,
    created: u64,
}

/// A batch that still accepts users.
struct Batch {
    pending: PendingBatch,
    ids: Vec<UserId>,
    close: oneshot::Sender<Vec<UserId>>,
}

/// A batch that is not yet loaded, for all requests that wait for it.
#[derive(Clone)]
pub(super) struct PendingBatch {
    number: u64,
    result: Shared<oneshot::Receiver<Loaded>>,
}

type Loaded = Result<Arc<HashMap<UserId, Arc<UserProfile>>>, CallError>;

impl PendingBatch {
    /// Resolves with the profiles of those users of the batch that exist.
    pub(super) async fn loaded(self) -> Loaded {
        self.result.await.unwrap_or_else(|_| Err(CallError::Connection("the call was lost".into())))
    }
}

impl ProfileLoader {
    pub(super) fn new(calls: Arc<Calls>, profiles: LoadedProfiles) -> Self {
        Self { calls, profiles, batches: Mutex::default(), in_flight: Semaphore::new(MAX_IN_FLIGHT) }
    }

    /// Adds users to batches and returns these. The batches are loaded whether or not a request waits for them.
    pub(super) fn load(self: &Arc<Self>, ids: &[UserId]) -> Vec<PendingBatch> {
        let mut batches = self.batches.lock();
        let mut pending = BTreeMap::new();
        for id in ids {
            let batch = match batches.by_user.get(id) {
                Some(batch) => batch.clone(),
                None => self.add(&mut batches, *id),
            };
            pending.insert(batch.number, batch);
        }
        pending.into_values().collect()
    }

    /// Keeps a profile that is being loaded out of the cache, because it is stale. The next request loads it again.
    pub(super) fn disregard(&self, id: UserId) {
        self.batches.lock().by_user.remove(&id);
    }

    /// Keeps all profiles that are being loaded out of the cache.
    pub(super) fn disregard_all(&self) {
        self.batches.lock().by_user.clear();
    }

    fn add(self: &Arc<Self>, batches: &mut Batches, id: UserId) -> PendingBatch {
        let mut batch = batches.open.take().unwrap_or_else(|| self.open(batches));
        let pending = batch.pending.clone();
        batches.by_user.insert(id, pending.clone());
        batch.ids.push(id);
        if batch.ids.len() == MAX_BATCH {
            batch.close();
        } else {
            batches.open = Some(batch);
        }
        pending
    }

    fn open(self: &Arc<Self>, batches: &mut Batches) -> Batch {
        let (close, closed) = oneshot::channel();
        let (result, loaded) = oneshot::channel();
        batches.created += 1;
        let number = batches.created;
        tokio::spawn(self.clone().run(number, closed, result, Trace::current()));
        Batch { pending: PendingBatch { number, result: loaded.shared() }, ids: Vec::new(), close }
    }

    async fn run(
        self: Arc<Self>,
        number: u64,
        mut closed: oneshot::Receiver<Vec<UserId>>,
        result: oneshot::Sender<Loaded>,
        trace: Trace,
    ) {
        let full = tokio::time::timeout(BATCH_DELAY, &mut closed).await;
        let ids = match full {
            Ok(ids) => ids,
            Err(_) => {
                self.close(number);
                closed.await
            }
        };
        let Ok(ids) = ids else { return };
        let fetched = self.fetch(&ids, &trace).await;
        let loaded = fetched.map(|profiles| profiles.into_iter().map(|p| (p.id, Arc::new(p))).collect());
        self.complete(number, &ids, loaded.as_ref().ok()).await;
        // Fails when no request waits any more.
        let _ = result.send(loaded.map(Arc::new));
    }

    /// Fetches the profiles of a batch, at most [`MAX_IN_FLIGHT`] batches at a time.
    async fn fetch(&self, ids: &[UserId], trace: &Trace) -> Result<Vec<UserProfile>, CallError> {
        // A batch gives up after the time of one call, so that batches do not pile up while calls are slow.
        let turn = tokio::time::timeout(self.calls.timeout(), self.in_flight.acquire()).await;
        let _turn = turn.map_err(|_| CallError::Timeout)?;
        self.calls.batch(ids, trace).await
    }

    /// Closes the open batch if it is this one.
    fn close(&self, number: u64) {
        let mut batches = self.batches.lock();
        if let Some(batch) = batches.open.take_if(|batch| batch.pending.number == number) {
            batch.close();
        }
    }

    /// Caches the results for the users that still belong to this batch, and removes them from it.
    async fn complete(&self, number: u64, ids: &[UserId], loaded: Option<&HashMap<UserId, Arc<UserProfile>>>) {
        for id in ids.iter().filter(|id| self.batches.lock().contains(number, **id)) {
            match loaded.map(|loaded| loaded.get(id)) {
                Some(Some(profile)) => self.profiles.insert(profile.clone()).await,
                Some(None) => self.profiles.absent.insert(*id, ()).await,
                None => {}
            }
            if !self.batches.lock().remove(number, *id) {
                // An event made the profile stale while it was inserted.
                self.profiles.remove(*id).await;
            }
        }
    }
}

impl Batches {
    fn contains(&self, number: u64, id: UserId) -> bool {
        self.by_user.get(&id).is_some_and(|batch| batch.number == number)
    }

    /// Removes a user from a batch. Returns whether the user belonged to it.
    fn remove(&mut self, number: u64, id: UserId) -> bool {
        let contained = self.contains(number, id);
        if contained {
            self.by_user.remove(&id);
        }
        contained
    }
}

impl Batch {
    fn close(self) {
        // The task of the batch waits for the ids.
        let _ = self.close.send(self.ids);
    }
}
