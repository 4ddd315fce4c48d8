//! Topics and schemas of a test's own, records, and polling with a deadline.

use std::future::Future;
use std::io::Write;
use std::ops::Deref;
use std::time::{Duration, Instant};

use common::events::topics::TopicNames;
use engines::kafka::producer::Producer;
use engines::kafka::received::Received;
use engines::kafka::record::{Fetched, Record};
use engines::kafka::topics::{self, TOPICS};
use engines::{mysql, outbox};
use platform::config::{KafkaConfig, KafkaSecurity};
use platform::telemetry::Metrics;
use prometheus::Registry;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, MySqlPool};
use uuid::Uuid;

/// How long a test waits for an expected effect. Only a fault takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The multiple of a deadline that a test allows, because a shared machine may be slow.
pub const SLACK: u32 = 3;

pub fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: these tests run by `cargo stack test`"))
}

/// Says that a test is skipped. The test harness does not capture it, so that the summary of `cargo stack test` counts it.
pub fn skip(reason: &str) {
    std::io::stderr().write_all(format!("skipped: {reason}\n").as_bytes()).unwrap();
}

pub fn kafka_at(bootstrap: &str, topics: TopicNames) -> KafkaConfig {
    KafkaConfig {
        bootstrap: bootstrap.to_owned(),
        security: KafkaSecurity::default(),
        compression: "gzip".to_owned(),
        topics,
        client_id: "it".to_owned(),
    }
}

/// Brokers with topics of a test's own, which are deleted at the end.
pub struct TestTopics(KafkaConfig);

pub async fn kafka() -> TestTopics {
    let prefix = format!("t{}.", Uuid::now_v7().simple());
    let config = kafka_at(&setting("KAFKA_BOOTSTRAP_SERVERS"), TopicNames::prefixed(&prefix));
    topics::create(&config, 1).await.unwrap();
    TestTopics(config)
}

impl Deref for TestTopics {
    type Target = KafkaConfig;

    fn deref(&self) -> &KafkaConfig {
        &self.0
    }
}

impl Drop for TestTopics {
    fn drop(&mut self) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.bootstrap).create().unwrap();
        let own = TOPICS.iter().map(|topic| topic.name_in(&self.topics)).filter(|name| name.starts_with('t'));
        let own: Vec<String> = own.collect();
        // A drop cannot wait in the test's runtime.
        let deleted = std::thread::spawn(move || {
            let own: Vec<&str> = own.iter().map(String::as_str).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _ = runtime.block_on(admin.delete_topics(&own, &AdminOptions::new()));
        });
        let _ = deleted.join();
    }
}

pub fn producer(config: &KafkaConfig) -> Producer {
    Producer::new(config, &Registry::new()).unwrap()
}

pub fn metrics() -> Metrics {
    Metrics::new("user-service", "0").unwrap()
}

pub async fn publish(producer: &Producer, topic: &str, key: &str, payload: &str) {
    let record = Record {
        topic: topic.to_owned(),
        key: key.to_owned(),
        payload: payload.to_owned().into(),
        headers: vec![("x-request-id".to_owned(), "r-1".to_owned())],
    };
    producer.send(record).unwrap().await.unwrap();
}

/// An event of no known type that carries a number.
pub fn numbered(n: usize) -> String {
    format!(r#"{{"event_type":"Numbered","n":{n}}}"#)
}

pub fn number(event: &Received) -> usize {
    let value: serde_json::Value = serde_json::from_slice(&event.record.payload).unwrap();
    usize::try_from(value["n"].as_u64().unwrap()).unwrap()
}

/// Reads a topic from its beginning until there is enough.
pub async fn read_until(config: &KafkaConfig, topic: &str, enough: impl Fn(&[Fetched]) -> bool) -> Vec<Fetched> {
    let client: StreamConsumer = ClientConfig::new()
        .set("bootstrap.servers", &config.bootstrap)
        .set("group.id", "reader")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    let metadata = client.fetch_metadata(Some(topic), Duration::from_secs(10)).unwrap();
    for partition in metadata.topics()[0].partitions() {
        partitions.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
    }
    client.assign(&partitions).unwrap();
    let mut records = Vec::new();
    let reading = async {
        while !enough(&records) {
            if let Ok(message) = client.recv().await {
                records.push(Fetched::from(&message));
            }
        }
    };
    let read = tokio::time::timeout(PATIENCE, reading).await;
    assert!(read.is_ok(), "{topic}: only {} records came", records.len());
    records
}

/// Polls a condition until it holds.
pub async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "did not happen: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A MySQL schema of a test's own.
pub struct Schema {
    pub pool: MySqlPool,
    pub name: String,
}

impl Schema {
    /// A schema with the outbox of user-service and the table `people`.
    pub async fn new() -> Self {
        let Self { pool, name } = Self::empty().await;
        execute(&pool, &outbox::SCHEMA.replace("{service}", "user")).await;
        execute(&pool, "CREATE TABLE people (id BIGINT PRIMARY KEY, changes BIGINT NOT NULL DEFAULT 0)").await;
        Self { pool, name }
    }

    pub async fn empty() -> Self {
        let name = format!("it_{}", Uuid::now_v7().simple());
        execute(&admin("", 1), &format!("CREATE DATABASE {name}")).await;
        let pool = admin(&name, 20);
        Self { pool, name }
    }

    pub async fn pending(&self) -> i64 {
        sqlx::query_scalar("SELECT COUNT(*) FROM user_outbox").fetch_one(&self.pool).await.unwrap()
    }

    pub fn url(&self) -> SecretString {
        url(&self.name)
    }

    pub async fn end(self) {
        execute(&self.pool, &format!("DROP DATABASE {}", self.name)).await;
    }
}

fn url(schema: &str) -> SecretString {
    format!("{}/{schema}", setting("MYSQL_ADMIN_URL")).into()
}

fn admin(schema: &str, connections: u32) -> MySqlPool {
    mysql::pool(&url(schema), connections, &metrics()).unwrap()
}

pub async fn execute(pool: &MySqlPool, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.unwrap();
}
