//! The harness of the tests: a running chat-service with stores of its own, and its users.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use chat_service::{Config, SERVICE};
use common::config::Env;
use common::events::{Event, encode};
use engines::kafka::producer::Producer;
use engines::kafka::record::Record;
use mongodb::Database;
use mongodb::bson::{DateTime, Document, doc};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use sqlx::{Connection, MySqlConnection};
use testkit::{Client, Server, Space};
use uuid::Uuid;

use crate::fakes::{Users, friend_service, user_service};
use crate::person::Person;

pub struct TestApp {
    pub server: Server,
    pub space: Space,
    pub mysql_url: String,
    settings: Vec<(&'static str, String)>,
    users: Arc<Users>,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a service with further or other settings.
    pub async fn start_with(settings: &[(&'static str, String)]) -> Self {
        let space = Space::new();
        let mysql_url = space.schema("chat").await;
        Self::start_in(space, mysql_url, settings).await
    }

    /// Starts a service on stores that may already have data.
    pub async fn start_in(space: Space, mysql_url: String, more: &[(&'static str, String)]) -> Self {
        let users = Arc::<Users>::default();
        let mut settings = space.env(&mysql_url);
        settings.push(("USER_SERVICE_URL", user_service(users.clone()).await));
        settings.push(("FRIEND_SERVICE_URL", friend_service().await));
        settings.push(("SSE_KEEPALIVE_SECONDS", "1".to_owned()));
        settings.push(("HTTP_TIMEOUT", "1".to_owned()));
        // The program of these tests is not that of the service.
        settings.push(("PICTURE_PROGRAM", crate::process::BINARY.to_owned()));
        settings.extend_from_slice(more);
        let server = start_replica(&space, &settings).await;
        Self { server, space, mysql_url, settings, users }
    }

    /// The environment of a replica.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        self.settings.clone()
    }

    /// Starts another replica on the same stores.
    pub async fn replica(&self) -> Server {
        start_replica(&self.space, &self.settings).await
    }

    /// From now on user-service answers every request with 500.
    pub fn stop_user_service(&self) {
        self.users.available.store(false, Ordering::Relaxed);
    }

    /// From now on only friends can bring this user into a group.
    pub fn reserve(&self, id: i64) {
        self.users.reserved.lock().unwrap().insert(id);
    }

    pub fn person(&self, id: i64) -> Person {
        self.person_at(&self.server, id)
    }

    /// A user who sends their requests to this replica.
    pub fn person_at(&self, server: &Server, id: i64) -> Person {
        let token = self.space.token(id, &format!("person_{id}"));
        Person { id, client: server.client(&token) }
    }

    /// A client without a token.
    pub fn anonymous(&self) -> Client {
        self.server.client("")
    }

    /// Users 1 and 2 and their direct room.
    pub async fn direct_room(&self) -> (Person, Person, i64) {
        let (ann, bob) = (self.person(1), self.person(2));
        let room = ann.room_with(bob.id).await;
        (ann, bob, room)
    }

    pub async fn redis(&self) -> MultiplexedConnection {
        let url = std::env::var("REDIS_URL").unwrap();
        redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap()
    }

    /// A key of Redis with the prefix of this test.
    pub fn redis_key(&self, key: &str) -> String {
        format!("{}{key}", self.server.platform().config.redis_prefix)
    }

    /// Revokes a session as user-service does.
    pub async fn revoke_session(&self, session: &str) {
        let key = self.redis_key(&format!("session:revoked:{session}"));
        let () = self.redis().await.set_ex(key, "1", 60).await.unwrap();
    }

    /// Publishes an event of another service.
    pub async fn publish<E: Event>(&self, event: &E, version: u64) {
        self.publish_as(Uuid::now_v7(), event, version).await;
    }

    /// Publishes an event of another service with this id.
    pub async fn publish_as<E: Event>(&self, event_id: Uuid, event: &E, version: u64) {
        let topic = self.server.platform().config.kafka.topics.of(E::STREAM).to_owned();
        let payload = encode(event_id, Some(version), chrono::Utc::now(), event).unwrap().into();
        self.produce(Record { topic, key: event.key(), payload, headers: Vec::new() }).await;
    }

    pub async fn produce(&self, record: Record) {
        let config = &self.server.platform().config.kafka;
        let producer = Producer::new(config, &prometheus::Registry::new()).unwrap();
        producer.send(record).unwrap().await.unwrap();
    }
}

/// The MongoDB database of a test.
pub async fn mongo_database(space: &Space) -> Database {
    mongodb::Client::with_uri_str(space.mongo_url()).await.unwrap().database(&space.mongo_database())
}

/// Creates so many direct rooms of a user, whose ids have a distance, each with one message of the other member. Returns the ids;
/// the last room has the newest message.
pub async fn rooms_with_a_message(app: &TestApp, user: i64, rooms: i64, distance: i64) -> Vec<i64> {
    let mut mysql = MySqlConnection::connect(&app.mysql_url).await.unwrap();
    let ids: Vec<i64> = (1..=rooms).map(|n| n * distance).collect();
    let rows: Vec<String> = (1_000..).zip(&ids).map(|(other, id)| format!("({id}, {user}, {other})")).collect();
    let insert = format!("INSERT INTO chat_rooms (id, user_1_id, user_2_id) VALUES {}", rows.join(", "));
    sqlx::raw_sql(sqlx::AssertSqlSafe(insert)).execute(&mut mysql).await.unwrap();
    let at = |n: usize| DateTime::from_millis(1_700_000_000_000 + n as i64);
    let message = |(n, room): (usize, &i64)| {
        doc! {
            "user_id": 1_000 + n as i64, "room_id": *room, "room_type": "private", "content": "x", "seq": 1_i64,
            "message_type": "text", "created_at": at(n), "updated_at": at(n), "is_deleted": false,
        }
    };
    let head =
        |(n, room): (usize, &i64)| doc! {"_id": *room, "position": 1_i64, "messages": 1_i64, "updated_at": at(n)};
    let mongo = mongo_database(&app.space).await;
    mongo.collection::<Document>("messages").insert_many(ids.iter().enumerate().map(message)).await.unwrap();
    mongo.collection::<Document>("room_heads").insert_many(ids.iter().enumerate().map(head)).await.unwrap();
    ids
}

/// The address of MongoDB's primary: that of the URL, if it names one server. The server itself may have a name of another network.
pub async fn mongodb_primary() -> SocketAddr {
    let url = Space::new().mongo_url();
    let (_, hosts, _) = parts(&url);
    if let Ok(only) = hosts.parse() {
        return only;
    }
    let client = mongodb::Client::with_uri_str(&url).await.unwrap();
    let hello = client.database("admin").run_command(doc! {"hello": 1}).await.unwrap();
    hello.get_str("primary").unwrap().parse().unwrap()
}

/// The URL of a MongoDB at this address with the login and options of the tests, whatever other members its replica set has.
pub fn mongodb_at(address: SocketAddr) -> String {
    let url = Space::new().mongo_url();
    let (login, _, options) = parts(&url);
    let options = options.replace("&directConnection=true", "");
    format!("mongodb://{login}{address}/?{options}&directConnection=true")
}

/// The login of a URL of MongoDB with its `@`, its hosts, and its options.
pub fn parts(url: &str) -> (&str, &str, &str) {
    let (authority, options) = url.strip_prefix("mongodb://").unwrap().split_once("/?").unwrap();
    let (login, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    (login, hosts, options)
}

async fn start_replica(space: &Space, settings: &[(&'static str, String)]) -> Server {
    let config = Config::read(&Env::of(settings.iter().cloned())).unwrap();
    let platform = space.platform(SERVICE, settings.to_vec());
    let app = chat_service::app(platform.clone(), config).await.unwrap();
    Server::start(platform, app).await
}
