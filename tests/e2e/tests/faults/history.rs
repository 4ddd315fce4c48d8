//! The history of a load: every acknowledged change, and every attempt that failed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use reqwest::RequestBuilder;
use serde_json::Value;

/// The pause between two attempts of one operation.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// The timeout of an attempt. Only a request that hangs takes longer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The maximum duration of an operation with all its attempts.
const OPERATION_DEADLINE: Duration = Duration::from_secs(120);

/// The status of an attempt without an answer, whose connection broke.
pub const NO_ANSWER: u16 = 0;

/// The statuses of attempts that may succeed later. Such an attempt may have been executed or not.
const RETRYABLE: [u16; 5] = [NO_ANSWER, 500, 502, 503, 504];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    WriteMessage,
    ReadMessages,
    ChangeFriendship,
    ChangeProfile,
    Register,
}

pub const ALL_OPERATIONS: [Operation; 5] = [
    Operation::WriteMessage,
    Operation::ReadMessages,
    Operation::ChangeFriendship,
    Operation::ChangeProfile,
    Operation::Register,
];

/// An acknowledged message in its last acknowledged state.
#[derive(Clone, Debug)]
pub struct SentMessage {
    pub room: i64,
    pub content: String,
    pub deleted: bool,
    /// The time of the acknowledgement.
    pub at: Instant,
}

/// A user who registered and opened a room during the load.
#[derive(Clone, Debug)]
pub struct Newcomer {
    pub id: i64,
    pub username: String,
    pub room: i64,
}

#[derive(Clone, Debug)]
pub struct FailedAttempt {
    pub operation: Operation,
    pub status: u16,
    /// Whether the answer has the header `Retry-After`.
    pub retry_after: bool,
    #[expect(dead_code, reason = "a failed assertion prints it")]
    pub text: String,
}

#[derive(Default)]
pub struct History {
    /// By message id.
    pub messages: BTreeMap<String, SentMessage>,
    /// The number of changes for two users, who repeat a request, its acceptance, and the end of the friendship.
    pub friendships: BTreeMap<(i64, i64), usize>,
    /// The ids of edited messages, each of which was edited once, and whether the request was repeated.
    pub edits: BTreeMap<String, bool>,
    /// The number of profile changes by user id.
    pub profiles: BTreeMap<i64, usize>,
    /// The changes of profiles whose request was repeated, by user id and number.
    pub repeated_profiles: BTreeSet<(i64, usize)>,
    pub newcomers: Vec<Newcomer>,
    pub failed_attempts: Vec<FailedAttempt>,
    pub completed: Vec<(Operation, Instant)>,
}

/// Executes operations and records them in the history of a load. Clones share the history.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<History>>);

/// The final answer to an operation.
pub struct Reply {
    pub status: u16,
    pub body: Value,
    /// Whether an earlier attempt failed. It may have been executed without an answer.
    pub retried: bool,
}

impl Recorder {
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.0.lock()
    }

    /// Repeats a request until its answer is final, and records every failed attempt.
    pub async fn retry(&self, operation: Operation, request: impl Fn() -> RequestBuilder) -> Reply {
        let began = Instant::now();
        let mut retried = false;
        loop {
            let failed = match send(request()).await {
                Ok((status, _, body)) if !RETRYABLE.contains(&status) => return Reply { status, body, retried },
                Ok((status, retry_after, body)) => {
                    FailedAttempt { operation, status, retry_after, text: body.to_string() }
                }
                Err(error) => {
                    FailedAttempt { operation, status: NO_ANSWER, retry_after: false, text: error.to_string() }
                }
            };
            assert!(began.elapsed() < OPERATION_DEADLINE, "{operation:?} does not succeed: {failed:?}");
            self.history().failed_attempts.push(failed);
            retried = true;
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Repeats a request that is not idempotent, and records its completion. After a failed attempt the status
    /// `already_done` shows that this attempt was executed.
    pub async fn retry_once_only(
        &self,
        operation: Operation,
        already_done: u16,
        request: impl Fn() -> RequestBuilder,
    ) -> Reply {
        let reply = self.retry(operation, request).await;
        let done = (200..300).contains(&reply.status) || (reply.retried && reply.status == already_done);
        assert!(done, "{operation:?}: {} {}", reply.status, reply.body);
        self.completed(operation);
        reply
    }

    /// Records the completion of an operation.
    pub fn completed(&self, operation: Operation) {
        self.history().completed.push((operation, Instant::now()));
    }
}

impl History {
    /// The id of the last acknowledged message in a room that is not deleted.
    pub fn newest_message_in(&self, room: i64) -> Option<String> {
        let messages = self.messages.iter().filter(|(_, sent)| sent.room == room && !sent.deleted);
        messages.max_by_key(|(_, sent)| sent.at).map(|(id, _)| id.clone())
    }

    /// The failed attempts with other statuses than these.
    pub fn failures_except(&self, allowed: &[u16]) -> Vec<&FailedAttempt> {
        self.failed_attempts.iter().filter(|failed| !allowed.contains(&failed.status)).collect()
    }

    /// The number of failed attempts by status.
    pub fn failures_by_status(&self) -> BTreeMap<u16, usize> {
        let mut statuses = BTreeMap::new();
        self.failed_attempts.iter().for_each(|failed| *statuses.entry(failed.status).or_default() += 1);
        statuses
    }
}

async fn send(request: RequestBuilder) -> reqwest::Result<(u16, bool, Value)> {
    let response = request.timeout(REQUEST_TIMEOUT).send().await?;
    let (status, retry_after) = (response.status().as_u16(), response.headers().contains_key("retry-after"));
    let text = response.text().await?;
    Ok((status, retry_after, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}
