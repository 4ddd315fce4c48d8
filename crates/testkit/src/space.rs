//! A test's own corner of the engines, so that tests run in parallel and leave nothing behind.

use std::sync::Mutex;
use std::time::Duration;

use common::auth::{ServiceTokens, Tokens};
use common::config::{Base, Env, Secret};
use common::http::Service;
use common::id::UserId;
use common::kafka::topics::{self, TopicNames};
use common::platform::Platform;
use sqlx::{ConnectOptions, Connection, Executor};
use uuid::Uuid;

pub const SECRET_KEY: &str = "a-secret-that-only-the-tests-know-0123456789";
pub const SERVICE_SECRET_KEY: &str = "another-secret-that-only-the-tests-know-0123";

/// Names under which a test's schema, database, keys and topics stand.
pub struct Space {
    id: String,
    schemas: Mutex<Vec<String>>,
}

impl Space {
    pub fn new() -> Self {
        let id = Uuid::new_v4().simple().to_string();
        Self { id: format!("t{}", &id[..12]), schemas: Mutex::default() }
    }

    /// A new MySQL schema; its URL.
    pub async fn schema(&self, name: &str) -> String {
        let admin = engine("MYSQL_ADMIN_URL");
        let schema = format!("{}_{name}", self.id);
        let mut connection = admin_connection(&admin).await;
        let create = format!("CREATE DATABASE {schema} CHARACTER SET utf8mb4");
        connection.execute(sqlx::AssertSqlSafe(create)).await.unwrap();
        self.schemas.lock().unwrap().push(schema.clone());
        format!("{}/{schema}", admin.trim_end_matches('/'))
    }

    pub fn mongo_url(&self) -> String {
        engine("MONGO_URL")
    }

    /// The name of the test's MongoDB database.
    pub fn mongo_database(&self) -> String {
        self.id.clone()
    }

    /// The environment that every service reads, with this test's names in it.
    pub fn env(&self, mysql_url: &str) -> Vec<(&'static str, String)> {
        let topics = self.topics();
        vec![
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
            ("KAFKA_GROUP_PREFIX", format!("{}.", self.id)),
            ("TRUSTED_PROXIES", "127.0.0.1".into()),
        ]
    }

    /// A platform over that environment, changed by `more`.
    pub fn platform(&self, service: Service, env: Vec<(&'static str, String)>) -> Platform {
        let config = Base::read(&Env::of(env), service.name, 0).unwrap();
        Platform::new(service, config).unwrap()
    }

    pub fn topics(&self) -> TopicNames {
        TopicNames::prefixed(&format!("{}.", self.id))
    }

    /// Creates the test's topics; only tests that look at events need them.
    pub async fn create_topics(&self) {
        topics::create(&engine("KAFKA_BOOTSTRAP_SERVERS"), &self.topics(), 1).await.unwrap();
    }

    /// An access token as user-service issues it, for someone it need not know.
    pub fn token(&self, id: i64, username: &str) -> String {
        tokens(self).issue(UserId(id), &format!("{username}@example.com"), username, Uuid::new_v4()).unwrap()
    }

    /// A token as another service of ours signs it.
    pub fn service_token(&self, service: &'static str) -> String {
        ServiceTokens::new(&Secret::new(SERVICE_SECRET_KEY), service).issue().unwrap()
    }
}

impl Default for Space {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let schemas = std::mem::take(self.schemas.get_mut().unwrap());
        let database = self.mongo_database();
        // A test's runtime cannot wait in a drop; a thread of its own can.
        let swept = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _ = runtime
                .block_on(async { tokio::time::timeout(Duration::from_secs(10), sweep(schemas, database)).await });
        });
        let _ = swept.join();
    }
}

async fn sweep(schemas: Vec<String>, database: String) {
    if !schemas.is_empty() {
        let mut connection = admin_connection(&engine("MYSQL_ADMIN_URL")).await;
        for schema in schemas {
            hang_up(&mut connection, &schema).await;
            let _ = connection.execute(sqlx::AssertSqlSafe(format!("DROP DATABASE IF EXISTS {schema}"))).await;
        }
    }
    if let Ok(url) = std::env::var("MONGO_URL")
        && let Ok(client) = mongodb::Client::with_uri_str(url).await
    {
        let _ = client.database(&database).drop().await;
    }
}

/// A service that the test left behind in the middle of a transaction would hold up the drop.
async fn hang_up(connection: &mut sqlx::MySqlConnection, schema: &str) {
    let open =
        sqlx::query_scalar("SELECT CAST(ID AS SIGNED) FROM information_schema.PROCESSLIST WHERE DB = ?").bind(schema);
    let open: Vec<i64> = open.fetch_all(&mut *connection).await.unwrap_or_default();
    for id in open {
        let _ = connection.execute(sqlx::AssertSqlSafe(format!("KILL {id}"))).await;
    }
}

fn tokens(space: &Space) -> Tokens {
    let env = [("SECRET_KEY", SECRET_KEY.to_owned()), ("MYSQL_HOST", space.id.clone())];
    Tokens::new(&Base::read(&Env::of(env), "user-service", 0).unwrap())
}

async fn admin_connection(url: &str) -> sqlx::MySqlConnection {
    let options: sqlx::mysql::MySqlConnectOptions = url.parse().unwrap();
    let connection = options.disable_statement_logging().connect().await;
    let mut connection = connection.unwrap_or_else(|e| panic!("MYSQL_ADMIN_URL {url}: {e}"));
    connection.ping().await.unwrap();
    connection
}

fn engine(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run the tests with `cargo stack test`, which starts engines")
    })
}
