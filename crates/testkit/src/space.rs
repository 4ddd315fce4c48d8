//! The namespace of a test in the databases and brokers, so that tests run in parallel and leave nothing behind.

use std::time::Duration;

use common::config::Env;
use common::events::topics::TopicNames;
use common::id::UserId;
use common::jwt::{AccessTokens, ServiceTokens};
use engines::kafka::topics;
use parking_lot::Mutex;
use platform::config::{Base, KafkaConfig};
use platform::{Platform, Service};
use sqlx::{ConnectOptions, Connection, Executor};
use uuid::Uuid;

/// The secret of access tokens in tests.
pub const SECRET_KEY: &str = "a-secret-that-only-the-tests-know-0123456789";
const SERVICE_SECRET_KEY: &str = "another-secret-that-only-the-tests-know-0123";

/// The variables of the object store. Its bucket is shared, because the keys of objects are random.
const FILE_STORE: [&str; 4] = ["FILE_STORE_URL", "FILE_STORE_BUCKET", "FILE_STORE_ACCESS_KEY", "FILE_STORE_SECRET_KEY"];

/// The names of a test's schemas, database, keys and topics. They are dropped with it, except the topics.
pub struct Space {
    id: String,
    schemas: Mutex<Vec<String>>,
}

impl Space {
    /// A space with a random name.
    pub fn new() -> Self {
        let id = Uuid::new_v4().simple().to_string();
        Self { id: format!("t{}", &id[..12]), schemas: Mutex::default() }
    }

    /// Creates a MySQL schema and returns its URL.
    pub async fn schema(&self, name: &str) -> String {
        let admin = engine("MYSQL_ADMIN_URL");
        let schema = format!("{}_{name}", self.id);
        let mut connection = admin_connection(&admin).await;
        let create = format!("CREATE DATABASE {schema} CHARACTER SET utf8mb4");
        connection.execute(sqlx::AssertSqlSafe(create)).await.unwrap();
        self.schemas.lock().push(schema.clone());
        format!("{}/{schema}", admin.trim_end_matches('/'))
    }

    /// The URL of MongoDB.
    pub fn mongo_url(&self) -> String {
        engine("MONGO_URL")
    }

    /// The name of the test's MongoDB database.
    pub fn mongo_database(&self) -> String {
        self.id.clone()
    }

    /// The variables that every service reads, with the names of this test.
    pub fn env(&self, mysql_url: &str) -> Vec<(&'static str, String)> {
        let topics = self.topics();
        let mut env = vec![
            ("HOST", "127.0.0.1".into()),
            ("SECRET_KEY", SECRET_KEY.into()),
            ("SERVICE_SECRET_KEY", SERVICE_SECRET_KEY.into()),
            ("MYSQL_URL", mysql_url.into()),
            ("MYSQL_POOL_SIZE", "8".into()),
            ("MONGO_URL", std::env::var("MONGO_URL").unwrap_or_default()),
            ("MONGODB_DB_NAME", self.mongo_database()),
            ("REDIS_URL", engine("REDIS_URL")),
            ("REDIS_KEY_PREFIX", format!("{}:", self.id)),
            ("KAFKA_BOOTSTRAP_SERVERS", engine("KAFKA_BOOTSTRAP_SERVERS")),
            ("KAFKA_TOPIC_USER_EVENTS", topics.user_events),
            ("KAFKA_TOPIC_USER_ONLINE_STATUS", topics.user_online_status),
            ("KAFKA_TOPIC_FRIEND_EVENTS", topics.friend_events),
            ("KAFKA_TOPIC_MESSAGE_EVENTS", topics.message_events),
            ("KAFKA_TOPIC_CHAT_EVENTS", topics.chat_events),
            ("KAFKA_TOPIC_NOTIFICATION_EVENTS", topics.notification_events),
            ("KAFKA_GROUP_PREFIX", format!("{}.", self.id)),
            ("TRUSTED_PROXIES", "127.0.0.1".into()),
            // Tests write faster than people.
            ("WRITE_LIMIT_MESSAGES", "0".into()),
            ("WRITE_LIMIT_CHANGES", "0".into()),
            ("WRITE_LIMIT_ROOMS", "0".into()),
            ("WRITE_LIMIT_PROFILE", "0".into()),
            ("WRITE_LIMIT_FRIENDS", "0".into()),
            ("WRITE_LIMIT_FRIEND_REQUESTS", "0".into()),
        ];
        // Without an object store, attachments are disabled.
        env.extend(FILE_STORE.map(|name| (name, std::env::var(name).unwrap_or_default())));
        env
    }

    /// A platform with the configuration in `env`.
    pub fn platform(&self, service: Service, env: Vec<(&'static str, String)>) -> Platform {
        let config = Base::read(&Env::of(env), service.name, 0).unwrap();
        Platform::new(service, config).unwrap()
    }

    /// The names of the test's topics.
    pub fn topics(&self) -> TopicNames {
        TopicNames::prefixed(&format!("{}.", self.id))
    }

    /// Creates the test's topics, for tests that read events.
    pub async fn create_topics(&self) {
        let env = Env::of([("KAFKA_BOOTSTRAP_SERVERS", engine("KAFKA_BOOTSTRAP_SERVERS"))]);
        let config = KafkaConfig { topics: self.topics(), ..KafkaConfig::read(&env, "tests").unwrap() };
        topics::create(&config, 1).await.unwrap();
    }

    /// An access token as user-service issues it, for any id.
    pub fn token(&self, id: i64, username: &str) -> String {
        let tokens = AccessTokens::new(&SECRET_KEY.into(), None, Duration::from_secs(7_200));
        tokens.issue(UserId(id), &format!("{username}@example.com"), username, Uuid::new_v4()).unwrap()
    }

    /// A token as the service `from` signs it for a call to the service `to`.
    pub fn service_token(&self, from: &'static str, to: &str) -> String {
        ServiceTokens::new(&SERVICE_SECRET_KEY.into(), from).issue(to).unwrap()
    }
}

impl Default for Space {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let schemas = std::mem::take(self.schemas.get_mut());
        let database = self.mongo_database();
        // A drop cannot wait in the test's runtime, so a thread with its own runtime does.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _ = runtime
                .block_on(async { tokio::time::timeout(Duration::from_secs(10), drop_all(schemas, database)).await });
        });
        let _ = dropped.join();
    }
}

async fn drop_all(schemas: Vec<String>, database: String) {
    if !schemas.is_empty() {
        let mut connection = admin_connection(&engine("MYSQL_ADMIN_URL")).await;
        for schema in schemas {
            kill_connections(&mut connection, &schema).await;
            let _ = connection.execute(sqlx::AssertSqlSafe(format!("DROP DATABASE IF EXISTS {schema}"))).await;
        }
    }
    if let Ok(url) = std::env::var("MONGO_URL")
        && let Ok(client) = mongodb::Client::with_uri_str(url).await
    {
        let _ = client.database(&database).drop().await;
    }
}

/// An open transaction of a service that still runs would block the drop of its schema.
async fn kill_connections(connection: &mut sqlx::MySqlConnection, schema: &str) {
    let open =
        sqlx::query_scalar("SELECT CAST(ID AS SIGNED) FROM information_schema.PROCESSLIST WHERE DB = ?").bind(schema);
    let open: Vec<i64> = open.fetch_all(&mut *connection).await.unwrap_or_default();
    for id in open {
        let _ = connection.execute(sqlx::AssertSqlSafe(format!("KILL {id}"))).await;
    }
}

async fn admin_connection(url: &str) -> sqlx::MySqlConnection {
    let options: sqlx::mysql::MySqlConnectOptions = url.parse().unwrap();
    let connection = options.disable_statement_logging().connect().await;
    let mut connection = connection.unwrap_or_else(|e| panic!("MYSQL_ADMIN_URL {url}: {e}"));
    connection.ping().await.unwrap();
    connection
}

pub(crate) fn engine(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run the tests with `cargo stack test`, which starts engines")
    })
}
