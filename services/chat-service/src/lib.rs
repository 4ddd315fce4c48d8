//! chat-service: rooms, messages, reads, and the live streams.
//!
//! A *room* is a log. Every entry (a message, an edit, a deletion, a reaction) takes the next *position*: 1, 2, 3 … in commit
//! order, without gaps. The *head* of a room holds its last position and its counts. A *read marker* is the position up to
//! which a member has read a room. The `writer` appends entries, `store` reads them, `live` sends them to open streams
//! through the *hub*, which keeps a *window* of the newest positions of each room, and the `outbox` publishes them to Kafka.
//!
//! *The original* is the FastAPI system that this workspace replaces. It may run beside these services, or before and after
//! them, on the same data, topics and token secret.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot continue should say where"))]

mod activity;
mod api;
mod attachments;
mod blocks;
mod config;
mod consumer;
mod domain;
mod flights;
mod friends;
mod live;
mod membership;
mod metrics;
mod newest_messages;
mod original;
mod outbox;
mod receipts;
mod search;
mod settings;
mod state;
mod store;
mod tickets;
mod typing;
mod wire;
mod writer;

use std::io::Write;
use std::sync::Arc;

use axum::Router;
use common::config::Env;
use common::error::{BoxError, Detail};
use engines::kafka::producer::Producer;
use engines::kafka::tail::Tail;
use engines::object_store::{ObjectStore, ObjectStoreConfig};
use engines::outbox::Outbox;
use engines::presence::Presence;
use engines::redis::{Redis, channel};
use engines::{mongo, mysql};
use platform::telemetry::{self, Audit};
use platform::{Platform, Service};
use service::auth::{Auth, TokenRole};
use service::blocks::{BlockSource, Blocks};
use service::budget::WriteBudgets;
use service::clients::user::UserClient;
use tokio::sync::{OnceCell, Semaphore};

pub use attachments::{PICTURE_COMMAND, execute_picture};
pub use config::Config;

/// The decoders of texts that clients send, for tests/fuzz.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    pub use crate::live::canonical_cursor;
    pub use crate::search::canonical_search_cursor;
}

use crate::activity::RoomActivity;
use crate::attachments::{Attachments, BucketMark, FileAccount, PictureProcess, Scanner};
use crate::consumer::EventConsumer;
use crate::friends::Friends;
use crate::live::{Epochs, Hub, Subscribers};
use crate::membership::Membership;
use crate::metrics::Metrics;
use crate::newest_messages::NewestMessages;
use crate::original::Original;
use crate::outbox::Relay;
use crate::receipts::Receipts;
use crate::search::Search;
use crate::settings::Settings;
use crate::state::{AppState, Budgets, Parts};
use crate::store::{
    EpochStore, FileOwners, LOG, LegacyBackfill, Log, MemberSettings, MembershipLog, Messages, OutboxCollection, READS,
    ReadMarkers, Retention, Rooms, Snapshots, StoreClock, UnreadCounts, Uploads,
};
use crate::tickets::Tickets;
use crate::typing::Typing;
use crate::writer::Writer;

pub const SERVICE: Service =
    Service { name: "chat-service", title: "Chat Service", port: 8002, refusals: Detail::Object, password_flow: false };

/// Streams that are opened at once: well under the connections to each store.
const OPENINGS: usize = 6;

/// The actions of the audit log.
const AUDITED: [&str; 4] = ["room_create", "member_add", "member_remove", "member_leave"];

/// Executes `epoch`: shows the epoch of the store, or begins a new one with `--new`, which a restore of MongoDB requires. The new
/// epoch lacks positions that MySQL names, if MySQL's data is younger; the changes of members that had them are announced again.
///
/// # Errors
/// Returns an error if the arguments are not understood or a store is unavailable.
pub async fn execute_epoch(env: &Env, args: &[String]) -> Result<(), BoxError> {
    let begins = match args {
        [] => false,
        [new] if new == "--new" => true,
        _ => return Err("epoch shows the epoch of the store, epoch --new begins another".into()),
    };
    let metrics = telemetry::Metrics::new(SERVICE.name, "")?;
    let (url, name) = platform::config::mongo(env)?;
    let database = mongo::database(&url, &name, "mongodb", &metrics).await?;
    let store = EpochStore::new(&database);
    let epoch = if begins {
        let pool = mysql::pool(&platform::config::mysql_url(env)?, 1, &metrics)?;
        MembershipLog::new(pool).forget_lost_positions(&Messages::new(&database), &Log::new(&database)).await?;
        Some(store.begin().await?)
    } else {
        store.current().await?
    };
    let shown = epoch.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string());
    Ok(writeln!(std::io::stdout(), "{shown}")?)
}

/// Executes `files check`: compares the bucket of files with the database, and with `--remove` removes objects that have had no owner for
/// a day.
///
/// # Errors
/// Returns an error if the arguments are not understood, if a store is unavailable, or if a message lacks its object.
pub async fn execute_files(env: &Env, args: &[String]) -> Result<(), BoxError> {
    let removes =
        match args {
            [check] if check == "check" => false,
            [check, remove] if check == "check" && remove == "--remove" => true,
            _ => return Err(
                "files check compares the bucket of files with the database, --remove removes objects without an owner"
                    .into(),
            ),
        };
    let metrics = telemetry::Metrics::new(SERVICE.name, "")?;
    let store = ObjectStoreConfig::read(env)?.ok_or("FILE_STORE_URL: is not set, so there are no files")?;
    let store = ObjectStore::new(store, &metrics)?;
    let (url, name) = platform::config::mongo(env)?;
    let database = mongo::database(&url, &name, "mongodb", &metrics).await?;
    let clock = StoreClock::new(&database);
    clock.read().await?;
    if removes && BucketMark::read(&store, &Uploads::new(&database)).await? != BucketMark::Own {
        return Err("nothing is removed: the bucket has not the mark of this database, see docs/operations.md".into());
    }
    let (owners, now) = (FileOwners::new(&database), clock.now());
    let counts = FileAccount { store, owners, now, removes, findings: std::io::stdout() }.take().await?;
    write!(std::io::stdout(), "{counts}")?;
    match counts.messages_without_object {
        0 => Ok(()),
        lacking => Err(format!("{lacking} messages lack their object").into()),
    }
}

/// Builds the service and starts its background tasks. No dependency has to be available yet.
pub async fn app(platform: Platform, config: Config) -> Result<Router, BoxError> {
    let (base, shutdown) = (&platform.config, &platform.shutdown);
    let stopping = shutdown.stopping_token();
    let metrics = Arc::new(Metrics::register(&platform.metrics)?);
    let stream_limits = config.stream_limits(base.connections.open);

    let redis = Redis::new(&base.redis_url, &base.redis_tls, &base.redis_prefix, &platform.metrics)?;
    redis.watch(&platform.health);
    let pool = mysql::pool(&base.mysql_url, base.mysql_pool_size, &platform.metrics)?;
    mysql::prepare(&pool, &platform.health, "chat", || sqlx::migrate!());
    let database = |pool| mongo::database(&config.mongo_url, &config.mongo_database, pool, &platform.metrics);
    // The writer has connections of its own, because a batch needs six round trips and must not queue behind reads.
    let (mongo, writer_mongo) = (database("mongodb").await?, database("mongodb_writer").await?);
    let clock = StoreClock::new(&mongo);
    store::prepare(&mongo, database("mongodb_probe").await?, &clock, &platform.health);

    let presence = Presence::new(redis.clone(), base.online_ttl);
    let role = TokenRole::Verifier { user_service_url: config.user_service_url.clone() };
    let auth = Auth::new(&platform, &redis, presence.clone(), role)?;
    let users = UserClient::new(config.user_service_url, &base.calls, config.user_cache_ttl, &auth, &platform.metrics)?;
    let producer = Producer::new(&base.kafka, platform.metrics.registry())?;
    producer.watch(&platform.health, &base.kafka.topics.user_events);
    let outbox = Outbox::new(pool.clone(), "chat", producer.clone(), base.kafka.topics.clone(), &platform.metrics);
    let relay = |collection| {
        let outbox = OutboxCollection::new(&writer_mongo, collection);
        Relay::start(outbox, clock.clone(), producer.clone(), base.kafka.topics.clone(), platform.metrics.clone())
    };
    let (log_relay, read_relay) = (relay(LOG), relay(READS));

    let (log, messages) = (Log::new(&mongo), Messages::new(&mongo));
    let rooms = Rooms::new(pool.clone(), outbox.clone(), config.leave_period, config.room_limit);
    let (markers, snapshots) = (ReadMarkers::new(&mongo), Snapshots::new(&mongo, clock.clone()));
    let unread = UnreadCounts::new(&mongo, markers.clone());
    let hub = Hub::new(log.clone(), messages.clone(), metrics.delivery.clone(), config.stream_window_bytes);
    let (open_streams, draining) = (metrics.sse_connections.clone(), shutdown.draining_token());
    let subscribers = Subscribers::new(stream_limits, config.stream_max_age, open_streams, draining);
    let (activity, write_activity) = RoomActivity::new(rooms.clone());
    let queries = platform.metrics.queries("mongodb");
    let writer =
        Writer::start(&writer_mongo, log_relay.clone(), hub.clone(), activity, queries, clock.clone(), shutdown);
    let (setting_changes, received_settings) = channel::open(&redis, settings::CHANNEL);
    let settings = Settings::new(MemberSettings::new(pool.clone()), setting_changes, subscribers.clone());
    let membership_log = MembershipLog::new(pool);
    let membership =
        Membership::new(membership_log.clone(), rooms.clone(), markers.clone(), subscribers.clone(), writer.clone());
    let budgets = WriteBudgets::register(redis.clone(), SERVICE.name, &platform.metrics)?;
    let budgets = Budgets {
        messages: budgets.per_minute("messages", config.write_limits.messages),
        changes: budgets.per_minute("changes", config.write_limits.changes),
        rooms: budgets.per_minute("rooms", config.write_limits.rooms),
    };
    let (notifications, received_notifications) = channel::open(&redis, typing::CHANNEL);
    let typing = Typing::new(notifications, hub.clone(), budgets.changes.clone());
    let blocks = Blocks::register(&platform.metrics)?;
    metrics::register_gauges(&platform.metrics, &writer, &hub)?;

    let file_store = config.file_store.map(|store| ObjectStore::new(store, &platform.metrics)).transpose()?;
    let scanner = config.file_scanner.map(Scanner::new).transpose()?;
    let attachments = Attachments::new(file_store.map(|store| attachments::Parts {
        store,
        uploads: Uploads::new(&mongo),
        scanner,
        pictures: PictureProcess::new(config.picture_program),
        limits: config.file_limits,
        clock: clock.clone(),
        sent: attachments::Sent::default(),
        is_marked: OnceCell::new(),
        outcomes: metrics.uploads.clone(),
        checks: metrics.file_checks.clone(),
    }));

    let topics = &base.kafka.topics;
    let topics = [
        &*topics.message_events,
        &topics.chat_events,
        &topics.friend_events,
        &topics.user_events,
        &topics.user_online_status,
    ];
    let tail = Tail::start(&base.kafka, &producer, &topics, stopping.clone())?;
    let backfill = LegacyBackfill::new(&mongo);
    let original = Original::new(backfill.clone(), hub.clone());
    let consumer = EventConsumer {
        hub: hub.clone(),
        original: original.clone(),
        subscribers: subscribers.clone(),
        membership: membership.clone(),
        blocks: blocks.clone(),
        users: users.clone(),
    };
    let source = BlockSource::new(&config.friend_service_url, &base.calls, &auth)?;
    tokio::spawn(blocks.clone().load(source, tail.ready()));
    tokio::spawn({
        let (users, following) = (users.clone(), tail.ready());
        async move {
            following.await;
            // Events of the time before are missed.
            users.invalidate_all();
        }
    });
    shutdown.spawn({
        let (outbox, stopping) = (outbox.clone(), stopping.clone());
        async move { outbox.run(stopping).await }
    });
    shutdown.spawn(log_relay.sweep(stopping.clone()));
    shutdown.spawn(read_relay.clone().sweep(stopping.clone()));
    shutdown.spawn(clock.clone().run(stopping.clone()));
    shutdown.spawn(write_activity);
    shutdown.spawn(consumer.run(tail));
    shutdown.spawn(hub.clone().watch_heads(stopping.clone()));
    let epochs = Epochs::new(EpochStore::new(&mongo), membership_log, messages.clone(), log.clone());
    shutdown.spawn(epochs.clone().follow(hub.clone(), unread.clone(), subscribers.clone(), stopping.clone()));
    shutdown.spawn(subscribers.clone().watch_sessions(auth.clone(), presence));
    shutdown.spawn(membership.clone().run(stopping.clone()));
    shutdown.spawn(original.run(stopping.clone()));
    if let Some(period) = config.retention {
        shutdown.spawn(Retention::new(&mongo, backfill.clone(), clock.clone(), period).run(stopping.clone()));
    }
    shutdown.spawn(attachments.clone().sweep(stopping.clone()));
    shutdown.spawn(attachments.clone().check(messages.clone(), writer.clone(), stopping.clone()));
    shutdown.spawn(settings.clone().receive(received_settings, stopping.clone()));
    shutdown.spawn(typing.clone().receive(received_notifications, stopping));

    let state = AppState::new(Parts {
        newest: NewestMessages::new(messages.clone()),
        receipts: Receipts::start(markers.clone(), hub.clone(), read_relay, clock.clone(), shutdown),
        search: Search::new(messages.clone(), snapshots.clone(), budgets.changes.clone()),
        tickets: Tickets::new(redis, auth.clone()),
        openings: Semaphore::new(OPENINGS),
        friends: Friends::new(&config.friend_service_url, &base.calls)?,
        keep_alive: config.keep_alive,
        message_limit: config.message_limit,
        audit: Audit::register(&platform.metrics, &AUDITED)?,
        attachments,
        auth,
        users,
        blocks,
        rooms,
        settings,
        membership,
        backfill,
        messages,
        log,
        markers,
        unread,
        writer,
        hub,
        subscribers,
        clock,
        snapshots,
        epochs,
        typing,
        metrics,
        budgets,
    });
    Ok(platform::http::app(&platform, state, api::router(config.message_limit)))
}
