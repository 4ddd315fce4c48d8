//! The projection of names in friend-service, as a consumer to be tried: events that tell names, and what came of them.

use chrono::Utc;
use common::events::topics::TopicNames;
use common::events::user::UserRegistered;
use common::events::{self, Event};
use common::id::UserId;
use engines::kafka::producer::Producer;
use engines::kafka::record::Record;
use platform::config::KafkaConfig;
use prometheus::Registry;
use rand::RngExt;
use sqlx::MySqlPool;
use uuid::Uuid;

use crate::stack::setting;

/// People who are no one: their ids are beyond all that user-service gives.
const NO_ONE: std::ops::Range<i64> = 1_000_000_000..2_000_000_000;

/// Ids that no test before has used.
pub fn nobody(count: i64) -> std::ops::Range<i64> {
    let first = rand::rng().random_range(NO_ONE.start..NO_ONE.end - count);
    first..first + count
}

pub fn producer() -> Producer {
    let config = KafkaConfig {
        bootstrap: setting("KAFKA_BOOTSTRAP_SERVERS"),
        compression: "gzip".into(),
        topics: TopicNames::default(),
        client_id: "faults".into(),
    };
    Producer::new(&config, &Registry::new()).unwrap()
}

/// The tables of friend-service, with the rights of an administrator.
pub async fn tables() -> MySqlPool {
    MySqlPool::connect(&format!("{}/bigtech_friend", setting("MYSQL_ADMIN_URL"))).await.unwrap()
}

/// Tells that someone is called so.
pub fn named(id: i64, version: u64) -> Record {
    let username = name(version);
    let told = UserRegistered {
        user_id: UserId(id),
        email: format!("{id}@example.com"),
        display_name: username.clone(),
        username,
    };
    let payload = events::encode(Uuid::now_v7(), Some(version), Utc::now(), &told).unwrap();
    record(&told.key(), payload)
}

pub fn record(key: &str, payload: impl Into<Vec<u8>>) -> Record {
    let payload: Vec<u8> = payload.into();
    Record { topic: "user.events".into(), key: key.into(), payload: payload.into(), headers: Vec::new() }
}

pub fn name(version: u64) -> String {
    format!("name {version}")
}
