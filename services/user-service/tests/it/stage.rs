//! What every test stands on: a user-service of its own, and people in it.

use common::config::Env;
use serde_json::{Value, json};
use sqlx::MySqlPool;
use testkit::{Client, Events, Server, Space};

pub const PASSWORD: &str = "Passw0rd!";

/// Hashing that takes no time.
const CHEAP: [(&str, &str); 3] = [("ARGON2_MEMORY_KIB", "8"), ("ARGON2_ITERATIONS", "1"), ("BCRYPT_COST", "4")];

pub struct Stage {
    pub server: Server,
    pub space: Space,
    pub pool: MySqlPool,
    pub mysql_url: String,
    settings: Vec<(&'static str, String)>,
}

/// Someone who has registered and logged in.
pub struct Person {
    pub id: i64,
    pub email: String,
    pub client: Client,
    pub token: Value,
}

impl Stage {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(settings: &[(&'static str, &str)]) -> Self {
        let space = Space::new();
        let mysql_url = space.schema("user").await;
        Self::over(space, mysql_url, settings).await
    }

    /// A service whose events can be read.
    pub async fn with_events(settings: &[(&'static str, &str)]) -> Self {
        let space = Space::new();
        space.create_topics().await;
        let mysql_url = space.schema("user").await;
        Self::over(space, mysql_url, settings).await
    }

    /// A service over a schema that something is in already.
    pub async fn over(space: Space, mysql_url: String, settings: &[(&'static str, &str)]) -> Self {
        let settings = CHEAP.iter().chain(settings).map(|(name, value)| (*name, (*value).to_owned())).collect();
        let pool = MySqlPool::connect_lazy(&mysql_url).unwrap();
        let server = serve(&space, &mysql_url, &settings).await;
        Self { server, space, pool, mysql_url, settings }
    }

    /// One more replica of the service.
    pub async fn replica(&self) -> Server {
        serve(&self.space, &self.mysql_url, &self.settings).await
    }

    /// One more replica, configured otherwise.
    pub async fn replica_with(&self, settings: &[(&'static str, &str)]) -> Server {
        let more = settings.iter().map(|(name, value)| (*name, (*value).to_owned()));
        serve(&self.space, &self.mysql_url, &self.settings.iter().cloned().chain(more).collect()).await
    }

    /// Someone without a token.
    pub fn stranger(&self) -> Client {
        self.server.client("")
    }

    pub async fn register(&self, name: &str) -> Value {
        self.stranger().post("/auth/register", registration(name)).await.expect(201)
    }

    /// Registers and logs in.
    pub async fn person(&self, name: &str) -> Person {
        self.register(name).await;
        self.log_in(name).await
    }

    pub async fn log_in(&self, name: &str) -> Person {
        let email = format!("{name}@example.com");
        let login = json!({"email": email, "password": PASSWORD});
        let token = self.stranger().post("/auth/login/json", login).await.expect(200);
        let client = self.server.client(token["access_token"].as_str().unwrap());
        Person { id: token["user_id"].as_i64().unwrap(), email, client, token }
    }

    pub async fn execute(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.pool).await.unwrap();
    }

    /// What was told of people's presence.
    pub fn status_events(&self) -> Events {
        Events::of(&self.space.topics().user_online_status)
    }

    pub fn user_events(&self) -> Events {
        Events::of(&self.space.topics().user_events)
    }

    /// The test's keys of Redis go.
    pub async fn wipe_redis(&self) {
        let config = &self.server.platform().config;
        let client = redis::Client::open(config.redis_url.expose()).unwrap();
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
    env.extend(settings.iter().cloned());
    let config = user_service::Config::read(&Env::of(env.iter().cloned())).unwrap();
    let platform = space.platform(user_service::SERVICE, env);
    let app = user_service::app(platform.clone(), config).await.unwrap();
    Server::start(platform, app).await
}
