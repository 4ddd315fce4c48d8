//! The harness of the tests: a running user-service with stores of its own, and its users.

use common::config::Env;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::MySqlPool;
use testkit::{Client, Events, Server, Space};

pub const PASSWORD: &str = "Passw0rd!";

/// The cheapest parameters for password hashing, and a key for second factors.
const SETTINGS: [(&str, &str); 4] = [
    ("ARGON2_MEMORY_KIB", "8"),
    ("ARGON2_ITERATIONS", "1"),
    ("BCRYPT_COST", "4"),
    ("MFA_SECRET_KEY", "the-key-of-second-factors-in-tests"),
];

pub struct TestApp {
    pub server: Server,
    pub space: Space,
    pub pool: MySqlPool,
    pub mysql_url: String,
    settings: Vec<(&'static str, String)>,
}

/// A user who has registered and logged in.
pub struct Person {
    pub id: i64,
    pub email: String,
    pub client: Client,
    pub token: Value,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub async fn start_with(settings: &[(&'static str, &str)]) -> Self {
        let space = Space::new();
        let mysql_url = space.schema("user").await;
        Self::start_in(space, mysql_url, settings).await
    }

    /// Starts a service with Kafka topics, so that a test can read its events.
    pub async fn start_with_events(settings: &[(&'static str, &str)]) -> Self {
        let space = Space::new();
        space.create_topics().await;
        let mysql_url = space.schema("user").await;
        Self::start_in(space, mysql_url, settings).await
    }

    /// Starts a service in a schema that may already have tables.
    pub async fn start_in(space: Space, mysql_url: String, settings: &[(&'static str, &str)]) -> Self {
        let settings = SETTINGS.iter().chain(settings).map(|(name, value)| (*name, (*value).to_owned())).collect();
        let pool = MySqlPool::connect_lazy(&mysql_url).unwrap();
        let server = serve(&space, &mysql_url, &settings).await;
        Self { server, space, pool, mysql_url, settings }
    }

    /// Starts another replica.
    pub async fn replica(&self) -> Server {
        serve(&self.space, &self.mysql_url, &self.settings).await
    }

    /// Starts another replica with other settings.
    pub async fn replica_with(&self, settings: &[(&'static str, &str)]) -> Server {
        let more = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
        serve(&self.space, &self.mysql_url, &self.settings.iter().cloned().chain(more).collect()).await
    }

    /// A client without a token.
    pub fn anonymous(&self) -> Client {
        self.server.client("")
    }

    pub async fn register(&self, name: &str) -> Value {
        self.anonymous().post("/auth/register", registration(name)).await.expect(201)
    }

    /// Registers and logs in.
    pub async fn person(&self, name: &str) -> Person {
        self.register(name).await;
        self.log_in(name).await
    }

    pub async fn log_in(&self, name: &str) -> Person {
        let email = format!("{name}@example.com");
        let login = json!({"email": email, "password": PASSWORD});
        let token = self.anonymous().post("/auth/login/json", login).await.expect(200);
        let client = self.server.client(token["access_token"].as_str().unwrap());
        Person { id: token["user_id"].as_i64().unwrap(), email, client, token }
    }

    pub async fn execute(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.pool).await.unwrap();
    }

    /// The events of presence changes.
    pub fn status_events(&self) -> Events {
        Events::of(&self.space.topics().user_online_status)
    }

    /// The events of registrations and profile changes.
    pub fn user_events(&self) -> Events {
        Events::of(&self.space.topics().user_events)
    }

    /// The notices to the owners of accounts.
    pub fn notices(&self) -> Events {
        Events::of(&self.space.topics().notification_events)
    }

    /// Deletes all keys of this test in Redis.
    pub async fn wipe_redis(&self) {
        let config = &self.server.platform().config;
        let client = redis::Client::open(config.redis_url.expose_secret()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let pattern = format!("{}*", config.redis_prefix);
        let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await.unwrap();
        if !keys.is_empty() {
            redis::cmd("DEL").arg(keys).query_async::<()>(&mut connection).await.unwrap();
        }
    }
}

pub fn registration(name: &str) -> Value {
    json!({"email": format!("{name}@example.com"), "username": name, "password": PASSWORD})
}

async fn serve(space: &Space, mysql_url: &str, settings: &Vec<(&'static str, String)>) -> Server {
    let mut env = space.env(mysql_url);
    // Nothing listens there.
    env.push(("FRIEND_SERVICE_URL", "http://127.0.0.1:1".to_owned()));
    env.extend(settings.iter().cloned());
    let config = user_service::Config::read(&Env::of(env.iter().cloned())).unwrap();
    let platform = space.platform(user_service::SERVICE, env);
    let app = user_service::app(platform.clone(), config).await.unwrap();
    Server::start(platform, app).await
}
