//! What every test here needs: topics and a schema of its own, and patience that ends.

use std::future::Future;
use std::ops::Deref;
use std::time::{Duration, Instant};

use common::config::Secret;
use common::events::Received;
use common::kafka::producer::{Producer, Record};
use common::kafka::record::Fetched;
use common::kafka::topics::{self, TOPICS};
use common::kafka::{KafkaConfig, TopicNames};
use common::mysql;
use common::telemetry::Metrics;
use prometheus::Registry;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use sqlx::{AssertSqlSafe, MySqlPool};
use uuid::Uuid;

/// Nothing here takes longer on a loaded machine, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A test allows this multiple of a promised deadline: a shared machine may be slow.
pub const SLACK: u32 = 3;

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: these tests run by `cargo stack test`"))
}

pub fn kafka_at(bootstrap: &str, topics: TopicNames) -> KafkaConfig {
    KafkaConfig { bootstrap: bootstrap.to_owned(), compression: "gzip".to_owned(), topics, client_id: "it".to_owned() }
}

/// Topics of a test's own; gone at the end.
pub struct OwnTopics(KafkaConfig);

pub async fn kafka() -> OwnTopics {
    let prefix = format!("t{}.", Uuid::now_v7().simple());
    let config = kafka_at(&setting("KAFKA_BOOTSTRAP_SERVERS"), TopicNames::prefixed(&prefix));
    topics::create(&config.bootstrap, &config.topics, 1).await.unwrap();
    OwnTopics(config)
}

impl Deref for OwnTopics {
    type Target = KafkaConfig;

    fn deref(&self) -> &KafkaConfig {
        &self.0
    }
}

impl Drop for OwnTopics {
    fn drop(&mut self) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.bootstrap).create().unwrap();
        let own = TOPICS.iter().map(|topic| self.topics.named(topic)).filter(|name| name.starts_with('t'));
        let own: Vec<String> = own.collect();
        // A drop cannot wait in the test's own runtime.
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

/// Asks again and again until it is so.
pub async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "in vain waited for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A MySQL schema of a test's own; gone at the end.
pub struct Schema {
    pub pool: MySqlPool,
    pub name: String,
}

impl Schema {
    /// With an outbox of the user service in it.
    pub async fn new() -> Self {
        let Self { pool, name } = Self::empty().await;
        execute(&pool, &common::outbox::SCHEMA.replace("{service}", "user")).await;
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

    pub fn url(&self) -> Secret {
        url(&self.name)
    }

    pub async fn end(self) {
        execute(&self.pool, &format!("DROP DATABASE {}", self.name)).await;
    }
}

fn url(schema: &str) -> Secret {
    Secret::new(format!("{}/{schema}", setting("MYSQL_ADMIN_URL")))
}

fn admin(schema: &str, connections: u32) -> MySqlPool {
    mysql::pool(&url(schema), connections, &metrics()).unwrap()
}

pub async fn execute(pool: &MySqlPool, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.unwrap();
}
