//! The harness of the tests: a running user-service with stores of its own, and its users.

use axum::Router;
use common::config::Env;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::MySqlPool;
use testkit::{Answer, Client, Events, Server, Space, eventually};
use tokio::net::TcpListener;

pub const PASSWORD: &str = "Passw0rd!";

/// The cheapest parameters for password hashing, a key for second factors, and no check for common passwords.
const SETTINGS: [(&str, &str); 5] = [
    ("ARGON2_MEMORY_KIB", "8"),
    ("ARGON2_ITERATIONS", "1"),
    ("BCRYPT_COST", "4"),
    ("PASSWORD_MIN_GUESSES", "0"),
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
        self.person_of(name, self.log_in_answer(name).await.expect(200))
    }

    /// Logs in, also if the service is unavailable at first. After a reactivation it is until the reactivation is known everywhere: a
    /// session would not survive the next deactivation.
    pub async fn log_in_when_available(&self, name: &str) -> Person {
        let token = eventually("the user can log in", || async {
            let answer = self.log_in_answer(name).await;
            if answer.status == 503 { None } else { Some(answer.expect(200)) }
        });
        self.person_of(name, token.await)
    }

    async fn log_in_answer(&self, name: &str) -> Answer {
        let login = json!({"email": email_of(name), "password": PASSWORD});
        self.anonymous().post("/auth/login/json", login).await
    }

    fn person_of(&self, name: &str, token: Value) -> Person {
        let client = self.server.client(token["access_token"].as_str().unwrap());
        Person { id: token["user_id"].as_i64().unwrap(), email: email_of(name), client, token }
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

    async fn redis(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.server.platform().config.redis_url.expose_secret()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// The seconds that a key of this test has left in Redis; negative without the key.
    pub async fn time_to_live(&self, key: &str) -> i64 {
        let key = format!("{}{key}", self.server.platform().config.redis_prefix);
        redis::cmd("TTL").arg(key).query_async(&mut self.redis().await).await.unwrap()
    }

    /// A connection to Redis, and all keys of this test.
    async fn redis_keys(&self) -> (redis::aio::MultiplexedConnection, Vec<String>) {
        let mut connection = self.redis().await;
        let pattern = format!("{}*", self.server.platform().config.redis_prefix);
        let keys = redis::cmd("KEYS").arg(pattern).query_async(&mut connection).await.unwrap();
        (connection, keys)
    }

    /// All keys of this test in Redis, with the values of those that are texts.
    pub async fn redis_content(&self) -> String {
        let (mut connection, keys) = self.redis_keys().await;
        let mut content = keys.join("\n");
        for key in keys {
            let value: Result<String, _> = redis::cmd("GET").arg(key).query_async(&mut connection).await;
            content += &value.map_or_else(|_| String::new(), |value| format!("\n{value}"));
        }
        content
    }

    /// Deletes all keys of this test in Redis.
    pub async fn wipe_redis(&self) {
        let (mut connection, keys) = self.redis_keys().await;
        if !keys.is_empty() {
            redis::cmd("DEL").arg(keys).query_async::<()>(&mut connection).await.unwrap();
        }
    }
}

fn email_of(name: &str) -> String {
    format!("{name}@example.com")
}

pub fn registration(name: &str) -> Value {
    json!({"email": email_of(name), "username": name, "password": PASSWORD})
}

async fn serve(space: &Space, mysql_url: &str, settings: &Vec<(&'static str, String)>) -> Server {
    let mut env = space.env(mysql_url);
    let has_friend_service = settings.iter().any(|(name, _)| *name == "FRIEND_SERVICE_URL");
    if !has_friend_service {
        // That of the original, which has no blocks.
        env.push(("FRIEND_SERVICE_URL", friend_service(Router::new()).await));
    }
    env.extend(settings.iter().cloned());
    let config = user_service::Config::read(&Env::of(env.iter().cloned())).unwrap();
    let platform = space.platform(user_service::SERVICE, env);
    let app = user_service::app(platform.clone(), config).await.unwrap();
    let server = Server::start(platform, app).await;
    if !has_friend_service {
        eventually("the blocks are known", || async {
            let metrics = server.client("").get("/metrics").await.text;
            metrics.contains("blocks_known{service=\"user-service\"} 1").then_some(())
        })
        .await;
    }
    server
}

/// Starts a friend-service with this router and returns its URL.
pub async fn friend_service(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}
