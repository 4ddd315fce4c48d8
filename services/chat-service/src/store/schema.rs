//! The collections and indexes of MongoDB, created at start by the first replica.

use std::time::Duration;

use bson::{Bson, Document, doc};
use common::id::RoomId;
use engines::error::Result;
use engines::mongo::{self, describe};
use futures_util::TryStreamExt;
use mongodb::error::{CommandError, ErrorKind};
use mongodb::options::IndexOptions;
use mongodb::{Collection, Database, IndexModel};
use platform::health::Health;

use super::clock::StoreClock;

pub const MESSAGES: &str = "messages";
pub const LOG: &str = "room_log";
pub const HEADS: &str = "room_heads";
pub const READ_MARKERS: &str = "room_marks";
/// Events of reads.
pub const READS: &str = "room_reads";
pub const LEASES: &str = "chat_leases";
/// Positions of readers of all-rooms streams.
pub const SNAPSHOTS: &str = "stream_snapshots";
/// Reactions that are counted in their message and not listed.
pub const REACTIONS: &str = "message_reactions";
/// The epoch of the store.
pub const EPOCH: &str = "store_epoch";
/// Files that clients store in the object store.
pub const UPLOADS: &str = "uploads";
/// The bytes that the files of each user take.
pub const UPLOAD_QUOTAS: &str = "upload_quotas";
/// The mark that the bucket of files has.
pub const BUCKET_MARK: &str = "bucket_mark";
pub const READ_STATUS: &str = "message_read_status";

/// The field of a head that owes the import of the original's reads. The transaction that numbers messages sets it to a new
/// value, so that a kill before the import loses no read.
pub const READS_OWED: &str = "reads_owed";

/// The index of a room's messages without the deleted ones, see [`kept_messages`].
const KEPT: &str = "room_kept_seq";

/// The index that counts unread messages of others, without reading deleted ones and the reader's own.
const KEPT_OF_SENDER: &str = "room_kept_sender_seq";

/// The index of earlier releases that [`KEPT_OF_SENDER`] replaces. Such a release creates it again at its start.
const REPLACED: &str = "room_sender_seq";

/// The start waits so long for the indexes of a large collection. The server builds them to their end.
const BUILD_WAIT: Duration = Duration::from_secs(10);

/// The pause before an index build that failed is asked for again.
const BUILD_PAUSE: Duration = Duration::from_secs(10);

/// The index that allows one row per message and reader.
const UNIQUE_READS: &str = "message_reader";

/// The server's error for a collection that exists.
const NAMESPACE_EXISTS: i32 = 48;

/// Lifetime of an event of a read, published or not.
const READ_LIFETIME: Duration = Duration::from_secs(24 * 3_600);

/// Lifetime of a snapshot: an id of the all-rooms stream is valid for 7 days, and a snapshot in use is renewed once an hour.
const SNAPSHOT_LIFETIME: Duration = Duration::from_secs((7 * 24 + 1) * 3_600);

/// With a longer lifetime, the rooms of a killed replica's last batch block writes for too long.
const MAX_TRANSACTION_LIFETIME_SECONDS: i64 = 10;

const COLLECTIONS: [&str; 13] = [
    MESSAGES,
    LOG,
    HEADS,
    READ_MARKERS,
    READS,
    READ_STATUS,
    LEASES,
    SNAPSHOTS,
    REACTIONS,
    EPOCH,
    UPLOADS,
    UPLOAD_QUOTAS,
    BUCKET_MARK,
];

/// Matches the messages of a room that are not deleted. Two equalities let the server pass over any number of deleted messages:
/// it reads two stretches of the index [`KEPT`]. Messages of an original may lack the field.
pub fn kept_messages(room: RoomId) -> Document {
    doc! {"room_id": room.0, "is_deleted": {"$in": [false, Bson::Null]}}
}

/// Reads the clock, and creates collections and indexes, as soon as the server is reachable. From then on, `mongodb` is ready while
/// it answers on `probe`, whose pool nothing else uses.
pub fn prepare(database: &Database, probe: Database, clock: &StoreClock, health: &Health) {
    let (prepared, clock) = (database.clone(), clock.clone());
    let create = move || {
        let (database, clock) = (prepared.clone(), clock.clone());
        async move {
            clock.read().await?;
            create_all(&database).await?;
            warn_of_long_transactions(&database).await;
            Result::<()>::Ok(())
        }
    };
    let ping = move || {
        let probe = probe.clone();
        async move { mongo::ping(&probe).await }
    };
    health.prepare("mongodb", create, ping);
}

async fn create_all(database: &Database) -> Result<()> {
    // Some server versions do not create collections within transactions.
    for name in COLLECTIONS {
        match database.create_collection(name).await {
            Err(e) if !exists(&e) => return Err(e.into()),
            _ => {}
        }
    }
    // Only if it is missing: mongorestore leaves out the filter, and the server takes an empty filter and none for two definitions.
    if !has_index(database, READ_STATUS, UNIQUE_READS).await? {
        remove_duplicate_reads(database).await?;
        // The original's plain index on the same fields has another name and remains.
        let one_row_per_reader = unique(UNIQUE_READS, doc! {"message_id": 1, "user_id": 1}, doc! {});
        database.collection::<Document>(READ_STATUS).create_index(one_row_per_reader).await?;
    }
    let indexes = [
        (MESSAGES, index("room_seq", doc! {"room_id": 1, "seq": -1, "is_deleted": 1})),
        (
            MESSAGES,
            unique(
                "room_sender_client_message",
                doc! {"room_id": 1, "user_id": 1, "client_message_id": 1},
                doc! {"client_message_id": {"$type": "string"}},
            ),
        ),
        // Refuses a change that is retried after a commit of unknown outcome. The sweeper reads it in order.
        (LOG, unique("pending_events", doc! {"event_id": 1}, doc! {"pending": {"$exists": true}})),
        (READS, unique("pending_events", doc! {"event_id": 1}, doc! {"pending": {"$exists": true}})),
        (READS, expiring("expiry", "at", READ_LIFETIME)),
        // Empty but for a moment after a takeover.
        (HEADS, partial(READS_OWED, doc! {READS_OWED: 1}, doc! {READS_OWED: {"$exists": true}})),
        (SNAPSHOTS, expiring("expiry", "at", SNAPSHOT_LIFETIME)),
        (READ_STATUS, index("user_room", doc! {"user_id": 1, "room_id": 1})),
        // One upload per message.
        (UPLOADS, unique("message", doc! {"message": 1}, doc! {"message": {"$exists": true}})),
        // The sweep and the check read them in order.
        (UPLOADS, partial("due", doc! {"due": 1}, doc! {"due": {"$exists": true}})),
        (UPLOADS, partial("check", doc! {"picture": 1, "check_order": 1}, doc! {"check_at": {"$exists": true}})),
    ];
    for (collection, model) in indexes {
        database.collection::<Document>(collection).create_index(model).await?;
    }
    start_builds(database).await;
    Ok(())
}

/// Starts to build the indexes that no write depends on, and waits for them for [`BUILD_WAIT`]. Until they are built, requests
/// read the same messages by other indexes.
async fn start_builds(database: &Database) {
    let messages = database.collection::<Document>(MESSAGES);
    let build = tokio::spawn(async move {
        while let Err(e) = build(&messages).await {
            tracing::warn!(error = describe(&e), "the indexes of kept messages are not built yet");
            tokio::time::sleep(BUILD_PAUSE).await;
        }
    });
    if tokio::time::timeout(BUILD_WAIT, build).await.is_err() {
        tracing::info!("the indexes of kept messages are being built; until then, reads pass over deleted messages");
    }
}

/// Builds the indexes of kept messages. The one that they replace goes last.
async fn build(messages: &Collection<Document>) -> mongodb::error::Result<()> {
    let of_sender = doc! {"room_id": 1, "is_deleted": 1, "user_id": 1, "seq": -1, "message_type": 1};
    messages.create_index(index(KEPT, doc! {"room_id": 1, "is_deleted": 1, "seq": -1})).await?;
    messages.create_index(index(KEPT_OF_SENDER, of_sender)).await?;
    if messages.list_index_names().await?.iter().any(|name| name == REPLACED) {
        messages.drop_index(REPLACED).await?;
    }
    Ok(())
}

async fn has_index(database: &Database, collection: &str, name: &str) -> Result<bool> {
    let names = database.collection::<Document>(collection).list_index_names().await?;
    Ok(names.iter().any(|existing| existing == name))
}

/// Removes duplicate rows, which the original's plain index allowed. Groups the whole collection, so it runs once, before the
/// unique index exists.
async fn remove_duplicate_reads(database: &Database) -> Result<()> {
    let rows = database.collection::<Document>(READ_STATUS);
    let duplicates = [
        doc! {"$group": {"_id": {"message": "$message_id", "user": "$user_id"}, "rows": {"$push": "$_id"}}},
        doc! {"$match": {"rows.1": {"$exists": true}}},
    ];
    let mut groups = rows.aggregate(duplicates).allow_disk_use(true).await?;
    while let Some(group) = groups.try_next().await? {
        let surplus: Vec<Bson> = group.get_array("rows").map(|rows| rows[1..].to_vec()).unwrap_or_default();
        tracing::info!(reader = ?group.get_document("_id").ok(), rows = surplus.len(), "removing duplicate reads");
        rows.delete_many(doc! {"_id": {"$in": surplus}}).await?;
    }
    Ok(())
}

fn exists(e: &mongodb::error::Error) -> bool {
    matches!(&*e.kind, ErrorKind::Command(CommandError { code: NAMESPACE_EXISTS, .. }))
}

fn index(name: &str, keys: Document) -> IndexModel {
    IndexModel::builder().keys(keys).options(IndexOptions::builder().name(name.to_owned()).build()).build()
}

fn unique(name: &str, keys: Document, where_: Document) -> IndexModel {
    let options = IndexOptions::builder().name(name.to_owned()).unique(true).partial_filter_expression(where_).build();
    IndexModel::builder().keys(keys).options(options).build()
}

fn partial(name: &str, keys: Document, where_: Document) -> IndexModel {
    let options = IndexOptions::builder().name(name.to_owned()).partial_filter_expression(where_).build();
    IndexModel::builder().keys(keys).options(options).build()
}

fn expiring(name: &str, field: &str, after: Duration) -> IndexModel {
    let options = IndexOptions::builder().name(name.to_owned()).expire_after(after).build();
    IndexModel::builder().keys(doc! {field: 1}).options(options).build()
}

/// The server aborts the transaction of a killed replica after its lifetime. Until then, its rooms accept no writes.
async fn warn_of_long_transactions(database: &Database) {
    let asked = doc! {"getParameter": 1, "transactionLifetimeLimitSeconds": 1};
    let Ok(answer) = database.client().database("admin").run_command(asked).await else { return };
    let seconds = answer.get_i32("transactionLifetimeLimitSeconds").map(i64::from);
    if let Ok(seconds) = seconds.or_else(|_| answer.get_i64("transactionLifetimeLimitSeconds"))
        && seconds > MAX_TRANSACTION_LIFETIME_SECONDS
    {
        tracing::warn!(
            seconds,
            "transactionLifetimeLimitSeconds of mongod is high: after a kill of this process, the rooms of its last \
            batch accept no writes for that time; set it to 3"
        );
    }
}
