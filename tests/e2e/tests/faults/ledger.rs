//! What was acknowledged, as those who did it wrote it down; and every try that was not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use reqwest::RequestBuilder;
use serde_json::Value;

/// Between two tries of one change.
const PAUSE: Duration = Duration::from_millis(200);

/// No answer takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A change that does not get through for so long is a fault of its own.
const ENDURANCE: Duration = Duration::from_secs(120);

/// No answer at all: the connection broke.
pub const BROKEN: u16 = 0;

/// Statuses that say: later. What was tried may be in or not.
const LATER: [u16; 5] = [BROKEN, 500, 502, 503, 504];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Message,
    Reading,
    Friendship,
    Profile,
    Newcomer,
}

/// A message that was acknowledged, in its last acknowledged state.
#[derive(Clone, Debug)]
pub struct Sent {
    pub room: i64,
    pub content: String,
    pub deleted: bool,
    pub at: Instant,
}

/// Someone who signed up and opened a room meanwhile.
#[derive(Clone, Debug)]
pub struct Newcomer {
    pub id: i64,
    pub username: String,
    pub room: i64,
}

/// A try that was answered with "later", or not at all.
#[derive(Clone, Debug)]
pub struct Hitch {
    pub kind: Kind,
    pub status: u16,
    pub retry_after: bool,
    #[expect(dead_code, reason = "shown where a test fails")]
    pub text: String,
}

#[derive(Default)]
pub struct Ledger {
    /// By id.
    pub messages: BTreeMap<String, Sent>,
    /// Steps done between two people: a request, its acceptance, the end, and again.
    pub friendships: BTreeMap<(i64, i64), usize>,
    /// How often each has changed their profile.
    pub profiles: BTreeMap<i64, usize>,
    pub newcomers: Vec<Newcomer>,
    pub hitches: Vec<Hitch>,
    pub done: Vec<(Kind, Instant)>,
}

/// The ledger that all share.
#[derive(Clone, Default)]
pub struct Book(Arc<Mutex<Ledger>>);

/// An answer that counts.
pub struct Reply {
    pub status: u16,
    pub body: Value,
    /// Whether an earlier try of the same change may have got through unseen.
    pub again: bool,
}

impl Book {
    pub fn open(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap()
    }

    /// Tries a change until it is answered, and writes down every try that is not.
    pub async fn insist(&self, kind: Kind, request: impl Fn() -> RequestBuilder) -> Reply {
        let began = Instant::now();
        let mut again = false;
        loop {
            let hitch = match answer(request()).await {
                Ok((status, _, body)) if !LATER.contains(&status) => return Reply { status, body, again },
                Ok((status, retry_after, body)) => Hitch { kind, status, retry_after, text: body.to_string() },
                Err(error) => Hitch { kind, status: BROKEN, retry_after: false, text: error.to_string() },
            };
            assert!(began.elapsed() < ENDURANCE, "{kind:?} does not get through: {hitch:?}");
            self.open().hitches.push(hitch);
            again = true;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The same for a change that cannot be made twice: after an unknown try, `in_already` says that it was made.
    pub async fn insist_once(&self, kind: Kind, in_already: u16, request: impl Fn() -> RequestBuilder) -> Reply {
        let reply = self.insist(kind, request).await;
        let made = (200..300).contains(&reply.status) || (reply.again && reply.status == in_already);
        assert!(made, "{kind:?}: {} {}", reply.status, reply.body);
        self.note(kind);
        reply
    }

    pub fn note(&self, kind: Kind) {
        self.open().done.push((kind, Instant::now()));
    }
}

impl Ledger {
    /// The id of the message that was acknowledged last in a room.
    pub fn newest_of(&self, room: i64) -> Option<String> {
        let own = self.messages.iter().filter(|(_, sent)| sent.room == room && !sent.deleted);
        own.max_by_key(|(_, sent)| sent.at).map(|(id, _)| id.clone())
    }

    /// What is not to be there, for the message of an assertion.
    pub fn hitches_but(&self, allowed: &[u16]) -> Vec<&Hitch> {
        self.hitches.iter().filter(|hitch| !allowed.contains(&hitch.status)).collect()
    }

    /// How often each status was the answer.
    pub fn statuses(&self) -> BTreeMap<u16, usize> {
        let mut statuses = BTreeMap::new();
        self.hitches.iter().for_each(|hitch| *statuses.entry(hitch.status).or_default() += 1);
        statuses
    }
}

async fn answer(request: RequestBuilder) -> reqwest::Result<(u16, bool, Value)> {
    let response = request.timeout(PATIENCE).send().await?;
    let (status, retry_after) = (response.status().as_u16(), response.headers().contains_key("retry-after"));
    let text = response.text().await?;
    Ok((status, retry_after, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}
