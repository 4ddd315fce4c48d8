//! MongoDB: the client and its errors.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::config::{self, ConfigError};
use common::error::{Error as CommonError, without_values};
use mongodb::action::{Aggregate, Find, FindOne};
use mongodb::bson::{self, Bson, Document, doc};
use mongodb::error::{
    ErrorKind, RETRYABLE_WRITE_ERROR, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT, WriteError,
    WriteFailure,
};
use mongodb::event::EventHandler;
use mongodb::event::cmap::CmapEvent;
use mongodb::options::{
    Acknowledgment, ClientOptions, CollectionOptions, ReadConcern, ReadPreference, SelectionCriteria,
    TransactionOptions, WriteConcern,
};
use mongodb::{Client, ClientSession, Collection, Database};
use parking_lot::Mutex;
use platform::telemetry::{Metrics, PoolSize, Queries};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// A request that finds no server within this time is answered with 503.
const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(3);

/// The greatest number of connections that the driver opens, unless the URL has another.
const POOL_SIZE: u32 = 10;

/// The server ends a read of a request after this time: it would keep a connection and a core from other requests.
pub const READ_LIMIT: Duration = Duration::from_secs(2);

/// Limit on commits of one transaction.
const MAX_COMMITS: usize = 3;

/// The database `name`, over a pool of its own that metrics call `pool`. It connects when it is used, so that a service
/// starts without the server.
///
/// # Errors
/// Returns an error if the URL is invalid.
pub async fn database(
    url: &SecretString,
    name: &str,
    pool: &'static str,
    metrics: &Metrics,
) -> Result<Database, ConfigError> {
    let invalid = |e: mongodb::error::Error| config::error("MONGO_URL", format!("is not valid: {e}"));
    let mut options = ClientOptions::parse(url.expose_secret()).await.map_err(invalid)?;
    options.server_selection_timeout.get_or_insert(SERVER_SELECTION_TIMEOUT);
    options.connect_timeout.get_or_insert(SERVER_SELECTION_TIMEOUT);
    options.app_name.get_or_insert_with(|| "bigtech-chat".to_owned());
    // A secondary may lack what a replica has announced, whatever the URL prefers.
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    let max = i64::from(options.max_pool_size.unwrap_or(POOL_SIZE));
    let connections = Arc::new(Connections { queries: metrics.queries("mongodb"), open: Mutex::default() });
    let measured = connections.clone();
    metrics.pool(pool, move || PoolSize { max, ..measured.size() });
    options.cmap_event_handler = Some(EventHandler::callback(move |event| connections.record(event)));
    Ok(Client::with_options(options).map_err(invalid)?.database(name))
}

/// Checks that the server answers.
///
/// # Errors
/// Returns an error if it does not.
pub async fn ping(database: &Database) -> Result<()> {
    Ok(database.run_command(doc! {"ping": 1}).await.map(|_| ())?)
}

/// Options of a collection whose reads return only what is safe on a majority: a read of the newest state may return a
/// change that vanishes when its server is killed.
pub fn majority_reads() -> CollectionOptions {
    CollectionOptions::builder().read_concern(ReadConcern::majority()).build()
}

/// A collection from which requests read: only what is safe on a majority, and no longer than [`READ_LIMIT`].
#[derive(Clone, Debug)]
pub struct Reads<T: Send + Sync>(Collection<T>);

impl<T: Send + Sync> Reads<T> {
    /// The collection `name`.
    pub fn new(database: &Database, name: &str) -> Self {
        Self(database.collection_with_options(name, majority_reads()))
    }

    /// The same collection, whose documents are read as another type.
    pub fn with_type<U: Send + Sync>(&self) -> Reads<U> {
        Reads(self.0.clone_with_type())
    }

    /// The documents that match a filter.
    pub fn find(&self, filter: Document) -> Find<'_, T> {
        self.0.find(filter).max_time(READ_LIMIT)
    }

    /// A document that matches a filter.
    pub fn find_one(&self, filter: Document) -> FindOne<'_, T>
    where
        T: DeserializeOwned,
    {
        self.0.find_one(filter).max_time(READ_LIMIT)
    }

    /// A session, whose reads are causally consistent.
    ///
    /// # Errors
    /// Returns an error if the driver cannot start one.
    pub async fn session(&self) -> Result<ClientSession> {
        Ok(self.0.client().start_session().causal_consistency(true).await?)
    }

    /// A session, whose reads see everything that any server has acknowledged before. For a moment after a failover, the primary
    /// does not know that a majority has what its predecessor acknowledged, and other reads return an older state. Takes a round
    /// trip in which the primary writes an empty entry to its log and waits for a majority.
    ///
    /// # Errors
    /// Returns an unavailable error if no majority answers within [`READ_LIMIT`].
    pub async fn confirmed_session(&self) -> Result<ClientSession> {
        let mut session = self.session().await?;
        let documents = self.0.clone_with_type::<Document>();
        let nothing = documents.find_one(doc! {"_id": Bson::MinKey}).read_concern(ReadConcern::linearizable());
        nothing.max_time(READ_LIMIT).session(&mut session).await?;
        Ok(session)
    }

    /// The results of a pipeline.
    pub fn aggregate(&self, pipeline: impl IntoIterator<Item = Document>) -> Aggregate<'_> {
        self.0.aggregate(pipeline).max_time(READ_LIMIT)
    }
}

/// Starts a session with a transaction, whose commit is journaled on a majority. `reads` is the read concern; the server's
/// default, which conflicts less often, is enough for a transaction whose writes do not depend on its reads.
///
/// # Errors
/// Returns the error of the driver, whose labels say whether a repetition may succeed.
pub async fn begin(database: &Database, reads: Option<ReadConcern>) -> mongodb::error::Result<ClientSession> {
    let mut session = database.client().start_session().await?;
    let safe = WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build();
    let mut options = TransactionOptions::builder().write_concern(safe).build();
    options.read_concern = reads;
    session.start_transaction().with_options(options).await?;
    Ok(session)
}

/// Commits a transaction. A commit of unknown outcome is repeated: the server answers it with the outcome of the first.
///
/// # Errors
/// Returns the error of the driver, whose labels say whether a repetition of the transaction may succeed.
pub async fn commit(session: &mut ClientSession) -> mongodb::error::Result<()> {
    let mut tries = 1;
    loop {
        match session.commit_transaction().await {
            Err(e) if e.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) && tries < MAX_COMMITS => tries += 1,
            committed => return committed,
        }
    }
}

/// Carries out many updates of one collection as one command, because the driver's `bulk_write` requires MongoDB 8. They run
/// in order and stop at the first that fails. Without a session, they are journaled on a majority.
///
/// # Errors
/// Returns the error of the command or of the first update that fails, or that no majority has acknowledged them.
pub async fn update_each(
    database: &Database,
    session: Option<&mut ClientSession>,
    collection: &str,
    updates: Vec<Document>,
) -> mongodb::error::Result<()> {
    let mut command = doc! {"update": collection, "updates": updates};
    let answer = match session {
        Some(session) => database.run_command(command).session(session).await?,
        None => {
            command.insert("writeConcern", doc! {"w": "majority", "j": true});
            database.run_command(command).await?
        }
    };
    outcome(&answer)
}

/// The outcome of an update command. The driver does not look for errors of writes in the answer to a command of ours.
fn outcome(answer: &Document) -> mongodb::error::Result<()> {
    if let Ok(unsafe_write) = answer.get_document("writeConcernError") {
        let unsafe_write = bson::deserialize_from_document(unsafe_write.clone())?;
        return Err(ErrorKind::Write(WriteFailure::WriteConcernError(unsafe_write)).into());
    }
    let Some(failed) = answer.get_array("writeErrors").ok().and_then(|errors| errors.first()) else { return Ok(()) };
    let failed: WriteError = bson::deserialize_from_bson(failed.clone())?;
    Err(ErrorKind::Write(WriteFailure::WriteError(failed)).into())
}

/// The server's code for a second document with a unique key.
const DUPLICATE_KEY: i32 = 11_000;

/// Whether a write failed because another document has the same unique key.
pub fn is_duplicate(e: &mongodb::error::Error) -> bool {
    match &*e.kind {
        ErrorKind::Write(WriteFailure::WriteError(failed)) => failed.code == DUPLICATE_KEY,
        ErrorKind::InsertMany(failed) => failed.write_errors.iter().flatten().any(|error| error.code == DUPLICATE_KEY),
        ErrorKind::Command(failed) => failed.code == DUPLICATE_KEY,
        _ => false,
    }
}

/// The open connections, as the driver reports them. A command holds a connection from its start to its end, so the
/// checkouts also measure the commands: the driver's own events of commands would parse every command and reply, which
/// costs a listing of 50 messages a fifth of its time.
struct Connections {
    queries: Queries,
    /// When each connection was checked out; none while it is idle.
    open: Mutex<HashMap<u32, Option<Instant>>>,
}

impl Connections {
    fn record(&self, event: CmapEvent) {
        let mut open = self.open.lock();
        match event {
            CmapEvent::ConnectionCreated(created) => _ = open.insert(created.connection_id, None),
            CmapEvent::ConnectionCheckedOut(out) => _ = open.insert(out.connection_id, Some(Instant::now())),
            CmapEvent::ConnectionCheckedIn(returned) => {
                let since = open.insert(returned.connection_id, None).flatten();
                drop(open);
                if let Some(since) = since {
                    self.queries.took("command", since.elapsed());
                }
            }
            CmapEvent::ConnectionClosed(closed) => _ = open.remove(&closed.connection_id),
            _ => {}
        }
    }

    fn size(&self) -> PoolSize {
        let open = self.open.lock();
        let used = open.values().flatten().count() as i64;
        PoolSize { idle: open.len() as i64 - used, used, max: 0 }
    }
}

/// The server's code for an operation that it ended after its time limit.
const TIME_LIMIT: i32 = 50;

/// Whether an operation was ended after its time limit, by the server or by its caller.
pub fn is_timeout(e: &mongodb::error::Error) -> bool {
    match &*e.kind {
        ErrorKind::Io(failed) => failed.kind() == std::io::ErrorKind::TimedOut,
        ErrorKind::Command(failed) => failed.code == TIME_LIMIT,
        _ => false,
    }
}

/// Errors of one operation that pass: 43 is a cursor that a restart has closed, [`TIME_LIMIT`] and 262 end what a busy server does
/// not finish.
const PASSING: [i32; 3] = [43, TIME_LIMIT, 262];

/// Errors of every operation. The drivers' specification calls these retryable: the server starts, stops, is no primary or cannot
/// be reached. An operator mends the others: 18 refuses the account, as while a password is changed, 64 and 100 lack members of the
/// set, and 14031 lacks room on the disk.
const OF_SERVER: [i32; 17] =
    [6, 7, 89, 91, 133, 134, 189, 9001, 10_107, 11_600, 11_602, 13_435, 13_436, 18, 64, 100, 14_031];

/// Labels of errors after which the operation can be repeated.
const PASSING_LABELS: [&str; 3] =
    [RETRYABLE_WRITE_ERROR, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT];

impl From<mongodb::error::Error> for Error {
    fn from(e: mongodb::error::Error) -> Self {
        let text = describe(&e);
        let error = if passes(&e) { CommonError::unavailable("mongodb", text) } else { CommonError::internal(text) };
        error.into()
    }
}

/// The text of an error for the log. The server quotes the values of a duplicate key, and the driver appends the whole reply:
/// both can be personal data and are left out.
pub fn describe(e: &mongodb::error::Error) -> String {
    without_values(&match &*e.kind {
        ErrorKind::Write(WriteFailure::WriteError(failed)) => {
            format!("write error {}: {}", failed.code, failed.message)
        }
        ErrorKind::InsertMany(failed) => match failed.write_errors.as_deref() {
            Some([first, ..]) => format!("write error {}: {}", first.code, first.message),
            _ => "insert of several documents failed".to_owned(),
        },
        kind => kind.to_string(),
    })
}

/// Whether the server is unreachable, starting or stopping, lacks room or members, or another writer came first.
pub fn passes(e: &mongodb::error::Error) -> bool {
    is_unavailable(e)
        || codes(e).iter().any(|code| PASSING.contains(code))
        || PASSING_LABELS.into_iter().any(|label| e.contains_label(label))
}

/// Whether the server can carry out no operation of its kind, whatever it contains.
pub fn is_unavailable(e: &mongodb::error::Error) -> bool {
    // The driver returns the last while it knows no server at all.
    let is_unreachable = matches!(
        &*e.kind,
        ErrorKind::Io(_)
            | ErrorKind::ServerSelection { .. }
            | ErrorKind::ConnectionPoolCleared { .. }
            | ErrorKind::Authentication { .. }
            | ErrorKind::SessionsNotSupported
    );
    is_unreachable || codes(e).iter().any(|code| OF_SERVER.contains(code))
}

/// The codes that the server returned.
fn codes(e: &mongodb::error::Error) -> Vec<i32> {
    match &*e.kind {
        ErrorKind::Command(refused) => vec![refused.code],
        ErrorKind::Write(WriteFailure::WriteError(failed)) => vec![failed.code],
        ErrorKind::Write(WriteFailure::WriteConcernError(failed)) => vec![failed.code],
        ErrorKind::InsertMany(failed) => {
            let concern = failed.write_concern_error.iter().map(|error| error.code);
            failed.write_errors.iter().flatten().map(|error| error.code).chain(concern).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn refused(code: i32) -> mongodb::error::Error {
        let refused = from_value(json!({"code": code, "topologyVersion": null})).unwrap();
        ErrorKind::Command(refused).into()
    }

    fn command_error(code: i32) -> CommonError {
        Error::from(refused(code)).into()
    }

    #[test]
    fn a_conflict_and_a_time_limit_say_nothing_about_other_operations() {
        const WRITE_CONFLICT: i32 = 112;
        assert!([189, 10_107, 13_435, 14_031].map(refused).iter().all(is_unavailable));
        assert!(![WRITE_CONFLICT, 43, TIME_LIMIT].map(refused).iter().any(is_unavailable));
    }

    #[test]
    fn the_text_of_an_error_has_no_value_of_a_document() {
        let message =
            "E11000 duplicate key error collection: db.messages index: content_1 dup key: { content: \"hi ann\" }";
        let failed: mongodb::error::WriteError = from_value(json!({"code": 11000, "errmsg": message})).unwrap();
        let command: mongodb::error::CommandError = from_value(json!({"code": 2, "errmsg": "bad 'hi ann'"})).unwrap();
        let write = ErrorKind::Write(WriteFailure::WriteError(failed));
        let shown = "write error 11000: E11000 duplicate key error collection: db.messages index: content_1 dup key: { content: … }";
        assert_eq!(describe(&write.into()), shown);
        assert_eq!(describe(&ErrorKind::Command(command).into()), "Command failed: Error code 2 (): bad …");
        let custom = mongodb::error::Error::custom("[WriteError { message: \"hi ann\" }]".to_owned());
        assert!(!describe(&custom).contains("hi ann"));
    }

    #[test]
    fn an_update_that_no_majority_has_acknowledged_fails() {
        let stepped_down =
            doc! {"code": 11_602, "codeName": "InterruptedDueToReplStateChange", "errmsg": "stepped down"};
        let answer = doc! {"ok": 1.0, "n": 1, "nModified": 1, "writeConcernError": stepped_down};
        let failed = outcome(&answer).unwrap_err();
        assert!(matches!(&*failed.kind, ErrorKind::Write(WriteFailure::WriteConcernError(e)) if e.code == 11_602));
        let duplicate = doc! {"index": 0, "code": 11_000, "errmsg": "E11000 duplicate key error"};
        let answer = doc! {"ok": 1.0, "n": 0, "nModified": 0, "writeErrors": [duplicate]};
        assert!(is_duplicate(&outcome(&answer).unwrap_err()));
        assert!(outcome(&doc! {"ok": 1.0, "n": 1, "nModified": 1}).is_ok());
    }

    #[test]
    fn a_starting_or_stopping_server_is_unavailable_and_a_wrong_command_is_internal() {
        for shutting_down in [91, 11600] {
            assert!(matches!(command_error(shutting_down), CommonError::Unavailable { dependency: "mongodb", .. }));
        }
        assert!(matches!(command_error(43), CommonError::Unavailable { .. }), "a cursor from before the restart");
        assert!(matches!(command_error(134), CommonError::Unavailable { .. }), "majority reads after the restart");
        assert!(matches!(command_error(50), CommonError::Unavailable { .. }), "ended after its time limit");
        assert!(matches!(command_error(14_031), CommonError::Unavailable { .. }), "no room on the disk");
        assert!(matches!(command_error(9), CommonError::Internal(_)), "FailedToParse");
    }
}
