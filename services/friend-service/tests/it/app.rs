//! The harness of the tests: a running friend-service with stores of its own, a simulated user-service, and its users.

use std::sync::Arc;

use common::config::Env;
use friend_service::{Config, SERVICE};
use serde_json::{Value, json};
use sqlx::MySqlPool;
use testkit::{Answer, Client, Events, Server, Space};

use crate::user_service::UserService;

/// The service of one test. The fields drop in this order.
pub struct TestApp {
    pub server: Server,
    pub user_service: UserService,
    pub pool: MySqlPool,
    pub mysql_url: String,
    settings: Vec<(&'static str, String)>,
    pub space: Arc<Space>,
}

impl TestApp {
    pub async fn start() -> Self {
        let space = Arc::new(Space::new());
        let mysql_url = space.schema("friend").await;
        Self::start_in(space, mysql_url).await
    }

    /// Starts a service with further settings.
    pub async fn start_with(settings: &[(&'static str, &str)]) -> Self {
        let space = Arc::new(Space::new());
        let mysql_url = space.schema("friend").await;
        Self::start_in_with(space, mysql_url, settings).await
    }

    /// Starts a service with Kafka topics, so that a test can read its events.
    pub async fn start_with_events() -> Self {
        Self::start_with_events_and(&[]).await
    }

    /// Starts a service with Kafka topics and further settings.
    pub async fn start_with_events_and(settings: &[(&'static str, &str)]) -> Self {
        let space = Arc::new(Space::new());
        space.create_topics().await;
        let mysql_url = space.schema("friend").await;
        Self::start_in_with(space, mysql_url, settings).await
    }

    /// Starts a service in a schema that may already have tables.
    pub async fn start_in(space: Arc<Space>, mysql_url: String) -> Self {
        Self::start_in_with(space, mysql_url, &[]).await
    }

    async fn start_in_with(space: Arc<Space>, mysql_url: String, settings: &[(&'static str, &str)]) -> Self {
        let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let user_service = UserService::start().await;
        let server = serve(&space, &mysql_url, &user_service.url(), &settings).await;
        let pool = MySqlPool::connect_lazy(&mysql_url).unwrap();
        Self { server, user_service, pool, mysql_url, settings, space }
    }

    /// Starts another replica, with a user-service at this URL.
    pub async fn replica(&self, user_service_url: &str) -> Server {
        serve(&self.space, &self.mysql_url, user_service_url, &self.settings).await
    }

    /// A user with an account.
    pub fn person(&self, id: i64, username: &str) -> Person {
        self.user_service.add_user(id, username);
        self.person_without_account(id, username)
    }

    /// A user with a token who does not exist in user-service.
    pub fn person_without_account(&self, id: i64, username: &str) -> Person {
        Person { id, client: self.server.client(&self.space.token(id, username)) }
    }

    /// Inserts users from the id `first` on, each with a pending request to the user `to`.
    pub async fn requests_to(&self, to: i64, first: i64, count: i64) {
        (first..first + count).for_each(|id| self.user_service.add_user(id, &format!("user_{id}")));
        let insert = sqlx::query(
            "INSERT INTO friendships (user_id_1, user_id_2, status, created_at, updated_at)
             WITH RECURSIVE n AS (SELECT ? AS n UNION ALL SELECT n + 1 FROM n WHERE n + 1 < ?)
             SELECT n, ?, 'pending', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) FROM n",
        );
        insert.bind(first).bind(first + count).bind(to).execute(&self.pool).await.unwrap();
    }

    pub fn ann_and_bob(&self) -> (Person, Person) {
        (self.person(1, "ann"), self.person(2, "bob"))
    }

    pub async fn two_friends(&self) -> (Person, Person) {
        let (ann, bob) = self.ann_and_bob();
        ann.befriend(&bob).await;
        (ann, bob)
    }

    /// A client with the token of another service.
    pub fn chat_service(&self) -> Client {
        self.server.client(&self.space.service_token("chat-service", "friend-service"))
    }

    pub fn friend_events(&self) -> Events {
        Events::of(&self.space.topics().friend_events)
    }

    /// The number of live friendships of two users.
    pub async fn live_friendships(&self, a: i64, b: i64) -> i64 {
        let count = sqlx::query_scalar(
            "SELECT COUNT(*) FROM friendships
             WHERE deleted_at IS NULL AND LEAST(user_id_1, user_id_2) = ? AND GREATEST(user_id_1, user_id_2) = ?",
        );
        count.bind(a.min(b)).bind(a.max(b)).fetch_one(&self.pool).await.unwrap()
    }

    /// The value of a series, 0 if it does not exist.
    pub async fn metric(&self, series: &str) -> f64 {
        let text = self.server.client("").get("/metrics").await.text;
        // The label `service` follows all others.
        let line = text.lines().find(|line| line.starts_with(series.trim_end_matches('}')));
        line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }
}

async fn serve(space: &Space, mysql_url: &str, user_service_url: &str, settings: &[(&'static str, String)]) -> Server {
    let mut env = space.env(mysql_url);
    env.extend_from_slice(settings);
    env.push(("USER_SERVICE_URL", user_service_url.to_owned()));
    let config = Config::read(&Env::of(env.clone())).unwrap();
    let platform = space.platform(SERVICE, env);
    let app = friend_service::app(platform.clone(), config).await.unwrap();
    Server::start(platform, app).await
}

/// A user who calls the service.
#[derive(Clone)]
pub struct Person {
    pub id: i64,
    pub client: Client,
}

impl Person {
    /// The same user at another replica.
    pub fn at(&self, server: &Server) -> Self {
        Self { id: self.id, client: server.client(self.client.token()) }
    }

    pub async fn request(&self, to: i64) -> Answer {
        self.client.post("/friends/request", json!({"user_id_2": to})).await
    }

    pub async fn answer(&self, requester: i64, action: &str) -> Answer {
        self.client.put(&format!("/friends/status/{requester}"), json!({"action": action})).await
    }

    pub async fn cancel(&self, target: i64) -> Answer {
        self.client.delete(&format!("/friends/request/{target}")).await
    }

    pub async fn unfriend(&self, friend: i64) -> Answer {
        self.client.delete(&format!("/friends/{friend}")).await
    }

    pub async fn block(&self, other: i64) -> Answer {
        self.client.post(&format!("/friends/block/{other}"), json!({})).await
    }

    pub async fn unblock(&self, other: i64) -> Answer {
        self.client.delete(&format!("/friends/block/{other}")).await
    }

    pub async fn befriend(&self, other: &Self) -> Value {
        self.request(other.id).await.expect(201);
        other.answer(self.id, "accept").await.expect(200)
    }

    /// The ids in the friend list, in its order.
    pub async fn friends(&self) -> Vec<i64> {
        let list = self.client.get("/friends/list").await.expect(200);
        list.as_array().unwrap().iter().map(|friend| friend["user_id"].as_i64().unwrap()).collect()
    }

    pub async fn requests(&self) -> Value {
        self.client.get("/friends/requests").await.expect(200)
    }
}
