//! Rooms, messages, reads, and the live streams.
//!
//! A room is a log: everything that happens in it takes the next position. [`writer`] appends to it, [`store`] reads
//! it, [`live`] tells it to those who listen, [`events`] tells it to the other services.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should say where"))]

mod api;
mod blocks;
mod config;
mod domain;
mod events;
mod live;
mod membership;
mod metrics;
mod search;
mod store;
mod tickets;
mod typing;
mod writer;

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use common::auth::{Auth, CurrentUser};
use common::clients::user::UserClient;
use common::error::Result;
use common::http::{Detail, Service};
use common::id::RoomId;
use common::kafka::live::Tail;
use common::kafka::producer::Producer;
use common::outbox::Outbox;
use common::platform::{Failure, Platform};
use common::presence::Presence;
use common::redis::Redis;
use common::{mongo, mysql};

pub use config::Config;

use crate::blocks::{Blocks, Source};
use crate::domain::Room;
use crate::events::{Ears, Relay};
use crate::live::{Hub, Post, Streams};
use crate::membership::Membership;
use crate::metrics::Metrics;
use crate::search::Search;
use crate::store::{Adoption, Changes, LOG, Log, Marks, Messages, READS, Rooms, Snapshots, UnsentEvents};
use crate::tickets::Tickets;
use crate::typing::Typing;
use crate::writer::Writer;

pub const SERVICE: Service =
    Service { name: "chat-service", title: "Chat Service", port: 8002, refusals: Detail::Object, password_flow: false };

/// What handlers work with.
#[derive(Clone)]
pub struct AppState {
    auth: Auth,
    users: UserClient,
    blocks: Blocks,
    rooms: Rooms,
    membership: Membership,
    adoption: Adoption,
    messages: Messages,
    search: Search,
    log: Log,
    marks: Marks,
    read_relay: Relay,
    writer: Writer,
    hub: Hub,
    post: Post,
    streams: Streams,
    snapshots: Snapshots,
    tickets: Tickets,
    typing: Typing,
    metrics: Arc<Metrics>,
    keep_alive: std::time::Duration,
}

impl AppState {
    /// A room, for one of its members, all of whose messages have their positions.
    async fn room(&self, room: RoomId, me: &CurrentUser) -> Result<Arc<Room>> {
        let room = self.rooms.of_member(room, me.id).await?;
        self.adoption.ensure(&[room.id]).await?;
        Ok(room)
    }

    /// Someone's name: in our tokens; the original's have none.
    async fn username(&self, user: &CurrentUser) -> Option<String> {
        if user.username.is_some() {
            return user.username.clone();
        }
        self.users.profiles_at_hand(&[user.id]).await.get(&user.id).map(|profile| profile.username.clone())
    }
}

impl FromRef<AppState> for Auth {
    fn from_ref(state: &AppState) -> Self {
        state.auth.clone()
    }
}

/// Builds the service and starts its background work; no engine has to be there yet.
pub async fn app(platform: Platform, config: Config) -> Result<Router, Failure> {
    let (base, shutdown) = (&platform.config, &platform.shutdown);
    let metrics = Arc::new(Metrics::register(&platform.metrics)?);

    let redis = Redis::new(&base.redis_url, &base.redis_prefix, &platform.metrics)?;
    redis.watch(&platform.health);
    let pool = mysql::pool(&base.mysql_url, base.mysql_pool_size, &platform.metrics)?;
    mysql::prepare(&pool, &platform.health, "chat", || sqlx::migrate!());
    let database = |pool| mongo::database(&config.mongo_url, &config.mongo_database, pool, &platform.metrics);
    // However many read, what is sent does not queue up behind them: a batch needs a connection six times.
    let (mongo, mongo_of_writer) = (database("mongodb").await?, database("mongodb_writer").await?);
    store::prepare(&mongo, &platform.health);

    let presence = Presence::new(redis.clone(), base.online_ttl);
    let auth = Auth::new(&platform, &redis, presence.clone())?;
    let users =
        UserClient::new(config.user_service_url, base.http_timeout, config.user_cache_ttl, &auth, &platform.metrics)?;
    let producer = Producer::new(&base.kafka, platform.metrics.registry())?;
    let outbox = Outbox::new(pool.clone(), "chat", producer.clone(), base.kafka.topics.clone(), &platform.metrics);

    let log = Log::new(&mongo);
    let messages = Messages::new(&mongo);
    let rooms = Rooms::new(pool.clone(), outbox.clone());
    let hub = Hub::new(log.clone(), messages.clone(), metrics.delivery.clone());
    let relay = |collection| {
        let unsent = UnsentEvents::of(&mongo_of_writer, collection);
        Relay::start(unsent, producer.clone(), base.kafka.topics.clone(), platform.metrics.clone())
    };
    let (log_relay, read_relay) = (relay(LOG), relay(READS));
    let queries = platform.metrics.queries("mongodb");
    let writer = Writer::start(&mongo_of_writer, log_relay.clone(), hub.clone(), rooms.clone(), queries, shutdown);
    metrics::watch(&platform.metrics, &writer, &hub)?;
    let post = Post::default();
    let membership = Membership::new(Changes::new(pool), rooms.clone(), post.clone(), writer.clone());
    let tickets = Tickets::new(redis.clone(), auth.clone());
    let typing = Typing::new(redis, hub.clone());
    let streams = Streams::new(auth.clone(), presence, metrics.sse_connections.clone(), shutdown.draining_token());

    let stopping = shutdown.stopping_token();
    let topics = &base.kafka.topics;
    let heard = [
        &*topics.message_events,
        &topics.chat_events,
        &topics.friend_events,
        &topics.user_events,
        &topics.user_online_status,
    ];
    let tail = Tail::start(&base.kafka, &producer, &heard, stopping.clone())?;
    let ears = Ears {
        hub: hub.clone(),
        post: post.clone(),
        membership: membership.clone(),
        blocks: Blocks::default(),
        users: users.clone(),
    };
    let source = Source {
        http: reqwest::Client::builder().no_proxy().timeout(base.http_timeout).build()?,
        friend_service_url: config.friend_service_url,
        tokens: auth.service_tokens().cloned(),
    };
    let blocks = ears.blocks.clone();
    // After the tail has begun, so that nothing falls in between.
    tokio::spawn(blocks.clone().load(source));
    shutdown.spawn({
        let (outbox, stopping) = (outbox.clone(), stopping.clone());
        async move { outbox.run(stopping).await }
    });
    shutdown.spawn(log_relay.sweep(stopping.clone()));
    shutdown.spawn(read_relay.clone().sweep(stopping.clone()));
    shutdown.spawn(ears.listen(tail));
    shutdown.spawn(hub.clone().watch_heads(stopping.clone()));
    shutdown.spawn(streams.clone().watch());
    shutdown.spawn(membership.clone().watch(stopping.clone()));
    shutdown.spawn(typing.clone().listen(stopping));

    let adoption = Adoption::new(&mongo);
    let marks = Marks::new(&mongo);
    let snapshots = Snapshots::new(&mongo);
    let search = Search::new(messages.clone(), snapshots.clone());
    let keep_alive = config.keep_alive;
    let state = AppState {
        auth,
        users,
        blocks,
        rooms,
        membership,
        adoption,
        messages,
        search,
        log,
        marks,
        read_relay,
        writer,
        hub,
        post,
        streams,
        snapshots,
        tickets,
        typing,
        metrics,
        keep_alive,
    };
    Ok(common::http::app(&platform, state, api::router()))
}
