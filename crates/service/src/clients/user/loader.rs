//! Profiles on their way: what several ask for at once flies once, up to 100 on board.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Shared;
use moka::future::Cache;
use tokio::sync::oneshot;

use crate::clients::user::UserProfile;
use crate::clients::user::calls::{Calls, Failed};
use crate::id::UserId;
use crate::telemetry::{self, Metrics, Trace};

/// What user-service takes in one call, the original's too.
const SEATS: usize = 100;

/// A flight with free seats waits so long for more passengers: requests of one moment share a call.
const BOARDING: Duration = Duration::from_millis(1);

/// Profiles kept; one takes about 500 bytes.
const MAX_KNOWN: u64 = 50_000;

/// A list that names someone who is gone does not ask after them each time.
const ABSENT_TTL: Duration = Duration::from_secs(10);

/// What is remembered of people.
pub(super) struct Known {
    profiles: Cache<UserId, Arc<UserProfile>>,
    absent: Cache<UserId, ()>,
    asked: telemetry::Cache,
}

impl Known {
    pub(super) fn new(ttl: Duration, metrics: &Metrics) -> Self {
        Self {
            profiles: Cache::builder().max_capacity(MAX_KNOWN).time_to_live(ttl).build(),
            absent: Cache::builder().max_capacity(MAX_KNOWN).time_to_live(ABSENT_TTL).build(),
            asked: metrics.cache("profiles"),
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

    /// Those who are known, and the ids of the others, each once.
    pub(super) async fn split(&self, ids: &[UserId]) -> (HashMap<UserId, Arc<UserProfile>>, Vec<UserId>) {
        let mut known = HashMap::with_capacity(ids.len());
        let mut missing = Vec::new();
        for id in ids {
            match self.get(*id).await {
                Some(profile) => _ = known.insert(*id, profile),
                None => missing.push(*id),
            }
        }
        missing.sort_unstable();
        missing.dedup();
        self.asked.looked_up_many(known.len(), missing.len());
        (known, missing)
    }

    pub(super) fn without_absent(&self, ids: Vec<UserId>) -> Vec<UserId> {
        ids.into_iter().filter(|id| !self.absent.contains_key(id)).collect()
    }
}

/// The flights of a process.
pub(super) struct Flights {
    calls: Arc<Calls>,
    pub(super) known: Known,
    tower: Mutex<Tower>,
}

/// Who is on which flight, and the one that still boards.
#[derive(Default)]
struct Tower {
    aboard: HashMap<UserId, Flight>,
    boarding: Option<Boarding>,
    flights: u64,
}

struct Boarding {
    flight: Flight,
    ids: Vec<UserId>,
    departs: oneshot::Sender<Vec<UserId>>,
}

/// A call that is on its way, for all who wait for it.
#[derive(Clone)]
pub(super) struct Flight {
    number: u64,
    landing: Shared<oneshot::Receiver<Landed>>,
}

type Landed = Result<Arc<HashMap<UserId, Arc<UserProfile>>>, Failed>;

impl Flight {
    pub(super) async fn landed(self) -> Landed {
        self.landing.await.unwrap_or_else(|_| Err(Failed::Connection("the call was lost".into())))
    }
}

impl Flights {
    pub(super) fn new(calls: Arc<Calls>, known: Known) -> Self {
        Self { calls, known, tower: Mutex::default() }
    }

    /// The flights that carry these ids. They fly whether or not anyone waits for them.
    pub(super) fn board(self: &Arc<Self>, ids: &[UserId]) -> Vec<Flight> {
        let mut tower = self.tower();
        let mut flights = BTreeMap::new();
        for id in ids {
            let flight = match tower.aboard.get(id) {
                Some(flight) => flight.clone(),
                None => self.take_aboard(&mut tower, *id),
            };
            flights.insert(flight.number, flight);
        }
        flights.into_values().collect()
    }

    /// What is on its way of this person is old already: it is not to be remembered, and the next who asks flies anew.
    pub(super) fn disregard(&self, id: UserId) {
        self.tower().aboard.remove(&id);
    }

    fn take_aboard(self: &Arc<Self>, tower: &mut Tower, id: UserId) -> Flight {
        let mut boarding = tower.boarding.take().unwrap_or_else(|| self.open(tower));
        let flight = boarding.flight.clone();
        tower.aboard.insert(id, flight.clone());
        boarding.ids.push(id);
        if boarding.ids.len() == SEATS {
            boarding.depart();
        } else {
            tower.boarding = Some(boarding);
        }
        flight
    }

    fn open(self: &Arc<Self>, tower: &mut Tower) -> Boarding {
        let (departs, departure) = oneshot::channel();
        let (lands, landing) = oneshot::channel();
        tower.flights += 1;
        let number = tower.flights;
        tokio::spawn(self.clone().fly(number, departure, lands, Trace::current()));
        Boarding { flight: Flight { number, landing: landing.shared() }, ids: Vec::new(), departs }
    }

    async fn fly(
        self: Arc<Self>,
        number: u64,
        mut departure: oneshot::Receiver<Vec<UserId>>,
        lands: oneshot::Sender<Landed>,
        trace: Trace,
    ) {
        let full = tokio::time::timeout(BOARDING, &mut departure).await;
        let ids = match full {
            Ok(ids) => ids,
            Err(_) => {
                self.close(number);
                departure.await
            }
        };
        let Ok(ids) = ids else { return };
        let fetched = self.calls.batch(&ids, &trace).await;
        let landed = fetched.map(|profiles| profiles.into_iter().map(|p| (p.id, Arc::new(p))).collect());
        self.land(number, &ids, landed.as_ref().ok()).await;
        // Nobody may be left to wait for it.
        let _ = lands.send(landed.map(Arc::new));
    }

    /// The doors close, full or not.
    fn close(&self, number: u64) {
        let mut tower = self.tower();
        if let Some(boarding) = tower.boarding.take_if(|boarding| boarding.flight.number == number) {
            boarding.depart();
        }
    }

    /// Remembers what came of those who are still on this flight, and lets them leave it.
    async fn land(&self, number: u64, ids: &[UserId], came: Option<&HashMap<UserId, Arc<UserProfile>>>) {
        for id in ids.iter().filter(|id| self.tower().carries(number, **id)) {
            match came.map(|came| came.get(id)) {
                Some(Some(profile)) => self.known.insert(profile.clone()).await,
                Some(None) => self.known.absent.insert(*id, ()).await,
                None => {}
            }
            if !self.tower().lets_leave(number, *id) {
                // An event overtook us just now.
                self.known.remove(*id).await;
            }
        }
    }

    fn tower(&self) -> MutexGuard<'_, Tower> {
        self.tower.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tower {
    fn carries(&self, number: u64, id: UserId) -> bool {
        self.aboard.get(&id).is_some_and(|flight| flight.number == number)
    }

    /// Whether they were still aboard.
    fn lets_leave(&mut self, number: u64, id: UserId) -> bool {
        let carried = self.carries(number, id);
        if carried {
            self.aboard.remove(&id);
        }
        carried
    }
}

impl Boarding {
    fn depart(self) {
        // Its flight waits for it.
        let _ = self.departs.send(self.ids);
    }
}
