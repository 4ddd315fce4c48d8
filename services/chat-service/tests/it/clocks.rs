//! A replica whose clock is wrong by minutes.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::TryStreamExt;
use mongodb::Database;
use mongodb::bson::{Bson, Document, doc};
use serde_json::json;
use testkit::{Space, eventually};
use uuid::Uuid;

use crate::app::mongo_database;
use crate::exactness::Clock;
use crate::fakes::user_service;
use crate::person::{Person, message_path};
use crate::process::Process;

/// The times in the stores are wrong by less than this, although the clock is wrong by 300 s.
const TOLERANCE: TimeDelta = TimeDelta::seconds(100);

fn is_right(time: DateTime<Utc>) -> bool {
    (Utc::now() - time).abs() < TOLERANCE
}

/// The times in the ids of all events in the logs of rooms. Overdue events are found by these ids.
async fn times_of_events(mongo: &Database) -> Vec<DateTime<Utc>> {
    let entries = mongo.collection::<Document>("room_log").find(doc! {}).await.unwrap();
    let entries: Vec<Document> = entries.try_collect().await.unwrap();
    let time = |entry: &Document| {
        let Bson::Binary(id) = entry.get("event_id")? else { return None };
        let id = Uuid::from_slice(&id.bytes).ok()?;
        let (seconds, nanos) = id.get_timestamp()?.to_unix();
        DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
    };
    entries.iter().map(|entry| time(entry).unwrap()).collect()
}

#[tokio::test]
async fn a_replica_with_a_wrong_clock_takes_the_time_from_the_store() {
    let space = Space::new();
    let mut clock = Clock::new(&space.mongo_database()).await;
    let mysql_url = space.schema("chat").await;
    let mongo = mongo_database(&space).await;
    clock.set(300);
    let mut settings = Vec::from(clock.settings());
    settings.push(("USER_SERVICE_URL", user_service(Arc::default()).await));
    let replica = Process::start(&space, &mysql_url, &settings).ready().await;
    let ann = Person { id: 1, client: replica.client(&space.token(1, "ann")) };
    let (first, second) = (ann.room_with(2).await, ann.room_with(3).await);

    let ahead = ann.sends(first, "ahead").await;
    let date = ann.client.get("/health").await.headers["date"].to_str().unwrap().to_owned();
    assert!(
        !is_right(DateTime::parse_from_rfc2822(&date).unwrap().to_utc()),
        "the clock of the process is wrong: {date}"
    );
    let lease = eventually("the replica sweeps", || async {
        mongo.collection::<Document>("chat_leases").find_one(doc! {"_id": "room_log"}).await.unwrap()
    })
    .await;
    clock.set(-300);
    let behind = ann.sends(second, "behind").await;
    let edited = ann.client.put(&message_path(&ahead), json!({"content": "edited"})).await.expect(200);

    for (message, time) in [(&ahead, "created_at"), (&behind, "created_at"), (&edited, "edited_at")] {
        assert!(is_right(message[time].as_str().unwrap().parse().unwrap()), "{message}");
    }
    let events = times_of_events(&mongo).await;
    assert!(events.len() == 3 && events.iter().all(|time| is_right(*time)), "{events:?}");
    let until = lease.get_datetime("until").unwrap().to_chrono();
    assert!(is_right(until), "other replicas wait for the lease of a killed one until {until}");
    let rooms: Vec<i64> = ann.rooms().await.iter().map(|room| room["id"].as_i64().unwrap()).collect();
    assert_eq!(rooms, [second, first], "the room of the newest message comes first");
}
