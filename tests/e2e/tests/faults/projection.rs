//! The projection of usernames in friend-service, as the consumer under test: its events and its table.

use chrono::Utc;
use common::events::topics::TopicNames;
use common::events::user::UserRegistered;
use common::events::{self, Event};
use common::id::UserId;
use engines::kafka::producer::Producer;
use engines::kafka::record::Record;
use platform::config::{KafkaConfig, KafkaSecurity};
use prometheus::Registry;
use rand::RngExt;
use sqlx::MySqlPool;
use uuid::Uuid;

use crate::stack::setting;

/// User ids above all that user-service assigns.
const UNASSIGNED: std::ops::Range<i64> = 1_000_000_000..2_000_000_000;

/// Random ids of users who do not exist. No earlier test has used them.
pub fn unassigned_ids(count: i64) -> std::ops::Range<i64> {
    let first = rand::rng().random_range(UNASSIGNED.start..UNASSIGNED.end - count);
    first..first + count
}

pub fn producer() -> Producer {
    let config = KafkaConfig {
        bootstrap: setting("KAFKA_BOOTSTRAP_SERVERS"),
        security: KafkaSecurity::default(),
        compression: "gzip".into(),
        topics: TopicNames::default(),
        client_id: "faults".into(),
    };
    Producer::new(&config, &Registry::new()).unwrap()
}

/// The schema of friend-service, with the rights of an administrator.
pub async fn friend_schema() -> MySqlPool {
    MySqlPool::connect(&format!("{}/bigtech_friend", setting("MYSQL_ADMIN_URL"))).await.unwrap()
}

/// The event of a registration with the [`username`] of this version.
pub fn registration(id: i64, version: u64) -> Record {
    let username = username(version);
    let event = UserRegistered {
        user_id: UserId(id),
        email: format!("{id}@example.com"),
        display_name: username.clone(),
        username,
    };
    let payload = events::encode(Uuid::now_v7(), Some(version), Utc::now(), &event).unwrap();
    record(&event.key(), payload)
}

pub fn record(key: &str, payload: impl Into<Vec<u8>>) -> Record {
    let payload: Vec<u8> = payload.into();
    Record { topic: "user.events".into(), key: key.into(), payload: payload.into(), headers: Vec::new() }
}

pub fn username(version: u64) -> String {
    format!("name {version}")
}
