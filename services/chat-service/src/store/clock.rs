//! The time by the clock of MongoDB's primary.
//!
//! The clocks of replicas may differ by minutes, and a clock may jump. Times that one replica writes and another compares come
//! from one clock, which each replica reads now and then. Between two readings it counts on with the monotonic clock.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use engines::error::Result;
use mongodb::Database;
use mongodb::bson::{Document, doc};
use parking_lot::Mutex;
use platform::task::every;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::{ContextV7, Timestamp, Uuid};

/// Interval of the readings.
const INTERVAL: Duration = Duration::from_secs(5);

/// A reading is replaced by a less precise one after this time only: until then the monotonic clock is more precise.
const MAX_AGE: Duration = Duration::from_secs(60);

/// A handle on the clock. Before the first reading, it shows the time of this machine.
#[derive(Clone)]
pub struct StoreClock {
    shared: Arc<Shared>,
}

struct Shared {
    database: Database,
    reading: Mutex<Option<Reading>>,
    /// Keeps the ids of one millisecond in order.
    ids: Mutex<ContextV7>,
}

#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    time: DateTime<Utc>,
    /// The time from the question to the answer. The reading is wrong by half of it at most.
    round_trip: Duration,
}

impl StoreClock {
    pub fn new(database: &Database) -> Self {
        let (database, ids) = (database.clone(), Mutex::new(ContextV7::new()));
        Self { shared: Arc::new(Shared { database, reading: Mutex::default(), ids }) }
    }

    /// The current time in whole milliseconds, as MongoDB stores times: a value equals its stored form.
    pub fn now(&self) -> DateTime<Utc> {
        let reading = *self.shared.reading.lock();
        reading.map_or_else(Utc::now, |reading| reading.time + since(reading.at)).trunc_subsecs(3)
    }

    /// A new id that contains the current time. Ids of one replica ascend.
    pub fn new_id(&self) -> Uuid {
        let now = self.now();
        let (seconds, nanos) = (now.timestamp().unsigned_abs(), now.timestamp_subsec_nanos());
        let ids = self.shared.ids.lock();
        Uuid::new_v7(Timestamp::from_unix(&*ids, seconds, nanos))
    }

    /// Reads the clock until the shutdown.
    pub async fn run(mut self, stopping: CancellationToken) {
        every(INTERVAL, "store clock", &stopping, &mut self, async |clock| clock.read().await).await;
    }

    /// Reads the clock once.
    pub async fn read(&self) -> Result<()> {
        let sent = Instant::now();
        let answer: Document = self.shared.database.run_command(doc! {"hello": 1}).await?;
        let round_trip = sent.elapsed();
        let Ok(time) = answer.get_datetime("localTime") else { return Ok(()) };
        let new = Reading { at: sent + round_trip / 2, time: time.to_chrono(), round_trip };
        let mut reading = self.shared.reading.lock();
        if reading.is_none_or(|old| old.at.elapsed() > MAX_AGE || old.round_trip >= round_trip) {
            *reading = Some(new);
        }
        Ok(())
    }
}

fn since(at: Instant) -> TimeDelta {
    TimeDelta::from_std(at.elapsed()).unwrap_or_default()
}
