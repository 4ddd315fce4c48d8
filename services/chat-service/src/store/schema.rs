//! The collections of MongoDB, made at start by whichever replica comes first.

use std::time::Duration;

use common::error::Result;
use common::health::Health;
use common::mongo;
use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::{CommandError, ErrorKind};
use mongodb::options::IndexOptions;
use mongodb::{Database, IndexModel};

pub const MESSAGES: &str = "messages";
pub const LOG: &str = "room_log";
pub const HEADS: &str = "room_heads";
pub const MARKS: &str = "room_marks";
/// Events of reads, beside the marks that they tell of.
pub const READS: &str = "room_reads";
pub const LEASES: &str = "chat_leases";
/// Where readers of all their rooms stood.
pub const SNAPSHOTS: &str = "stream_snapshots";
pub const READ_STATUS: &str = "message_read_status";

/// The engine's answer to making what is there.
const NAMESPACE_EXISTS: i32 = 48;

/// Events of reads that Kafka has, or that are of no use any more, are kept no longer.
const KEPT_READS: Duration = Duration::from_secs(24 * 3_600);

/// An id of the stream of all rooms is good for 7 days. A snapshot that is in use is prolonged once in an hour.
const KEPT_SNAPSHOTS: Duration = Duration::from_secs((7 * 24 + 1) * 3_600);

/// Longer than this the rooms of a killed replica's last batch would stand still.
const MAX_TRANSACTION_LIFETIME_SECONDS: i64 = 10;

/// Makes collections and indexes as soon as the server is there, and reports `mongodb` as ready from then on.
pub fn prepare(database: &Database, health: &Health) {
    let (made, asked) = (database.clone(), database.clone());
    let make = move || {
        let database = made.clone();
        async move {
            create(&database).await?;
            warn_of_long_transactions(&database).await;
            Ok(())
        }
    };
    let ask = move || {
        let database = asked.clone();
        async move { mongo::ping(&database).await }
    };
    health.prepare("mongodb", make, ask);
}

async fn create(database: &Database) -> Result<()> {
    // A transaction may not make a collection on every version of the server, so they are there before the first.
    for name in [MESSAGES, LOG, HEADS, MARKS, READS, READ_STATUS, LEASES, SNAPSHOTS] {
        match database.create_collection(name).await {
            Err(e) if !exists(&e) => return Err(e.into()),
            _ => {}
        }
    }
    remove_repeated_reads(database).await?;
    let indexes = [
        (MESSAGES, index("room_seq", doc! {"room_id": 1, "seq": -1, "is_deleted": 1})),
        // Unread messages are those of others: counting them never passes over one's own.
        (
            MESSAGES,
            index("room_sender_seq", doc! {"room_id": 1, "user_id": 1, "seq": 1, "is_deleted": 1, "message_type": 1}),
        ),
        (
            MESSAGES,
            unique(
                "room_sender_client_message",
                doc! {"room_id": 1, "user_id": 1, "client_message_id": 1},
                doc! {"client_message_id": {"$type": "string"}},
            ),
        ),
        // A change that is tried again after an unknown outcome meets itself here; and the sweeper's queue.
        (LOG, unique("pending_events", doc! {"event_id": 1}, doc! {"pending": {"$exists": true}})),
        (READS, unique("pending_events", doc! {"event_id": 1}, doc! {"pending": {"$exists": true}})),
        (READS, expiring("expiry", "at", KEPT_READS)),
        (SNAPSHOTS, expiring("expiry", "at", KEPT_SNAPSHOTS)),
        // The original's plain index on the same fields has another name, and stays.
        (READ_STATUS, unique("message_reader", doc! {"message_id": 1, "user_id": 1}, doc! {})),
        (READ_STATUS, index("user_room", doc! {"user_id": 1, "room_id": 1})),
    ];
    for (collection, model) in indexes {
        database.collection::<Document>(collection).create_index(model).await?;
    }
    Ok(())
}

/// The original's plain index let a reader read a message twice.
async fn remove_repeated_reads(database: &Database) -> Result<()> {
    let rows = database.collection::<Document>(READ_STATUS);
    let repeated = [
        doc! {"$group": {"_id": {"message": "$message_id", "user": "$user_id"}, "rows": {"$push": "$_id"}}},
        doc! {"$match": {"rows.1": {"$exists": true}}},
    ];
    let mut groups = rows.aggregate(repeated).allow_disk_use(true).await?;
    while let Some(group) = groups.try_next().await? {
        let surplus: Vec<Bson> = group.get_array("rows").map(|rows| rows[1..].to_vec()).unwrap_or_default();
        tracing::info!(reader = ?group.get_document("_id").ok(), rows = surplus.len(), "repeated reads are removed");
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

fn expiring(name: &str, field: &str, after: Duration) -> IndexModel {
    let options = IndexOptions::builder().name(name.to_owned()).expire_after(after).build();
    IndexModel::builder().keys(doc! {field: 1}).options(options).build()
}

/// A killed replica leaves its transaction to the engine, and the rooms in it wait for that long.
async fn warn_of_long_transactions(database: &Database) {
    let asked = doc! {"getParameter": 1, "transactionLifetimeLimitSeconds": 1};
    let Ok(answer) = database.client().database("admin").run_command(asked).await else { return };
    let seconds = answer.get_i32("transactionLifetimeLimitSeconds").map(i64::from);
    if let Ok(seconds) = seconds.or_else(|_| answer.get_i64("transactionLifetimeLimitSeconds"))
        && seconds > MAX_TRANSACTION_LIFETIME_SECONDS
    {
        tracing::warn!(
            seconds,
            "transactionLifetimeLimitSeconds of mongod is long: after a kill of this process its \
            last rooms stand still for that time; set it to 3"
        );
    }
}
