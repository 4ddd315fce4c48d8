//! Searching messages: a look through rooms, newest first, that stops after a fixed amount of work and can go on.
//!
//! No index is kept for it, so no write gets slower. The rooms are read side by side, each from its newest message on,
//! always the one that may hold the newest of what was not looked at yet; a room whose last message is older than all
//! that is wanted is not touched.

use std::collections::{BTreeMap, BinaryHeap, HashMap};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use common::error::Result;
use common::id::{RoomId, UserId};

use crate::domain::{Message, MessageType};
use crate::store::{Head, Messages, Positions, SnapshotId, Snapshots};

/// Messages looked at in one request at most: some 30 ms of work.
const LOOKED_AT: usize = 5_000;

/// Reads in one request at most; who is in many quiet rooms goes on with the cursor.
const READS: usize = 40;

/// Messages read at once.
const AT_ONCE: usize = 500;

#[derive(Clone)]
pub struct Search {
    messages: Messages,
    snapshots: Snapshots,
}

/// What was found, newest first, and where the search goes on; nowhere when everything was looked at.
pub struct Found {
    pub messages: Vec<Message>,
    pub place: Option<Place>,
}

/// How far a search came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What is left is no newer than this, in milliseconds since 1970.
    until: i64,
    /// In the rooms that were touched, the position before which it goes on.
    before: Positions,
}

/// What is left of a room. The one that may hold the newest message comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rest {
    no_newer_than: DateTime<Utc>,
    room: RoomId,
    before: i64,
}

/// Where a find stands among the others: its time, its room and its position.
type Key = (DateTime<Utc>, RoomId, i64);

type Finds = BTreeMap<Key, Message>;

impl Search {
    pub fn new(messages: Messages, snapshots: Snapshots) -> Self {
        Self { messages, snapshots }
    }

    /// The newest messages that contain a text, whatever its case, from a place on.
    pub async fn find(
        &self,
        text: &str,
        heads: &HashMap<RoomId, Head>,
        wanted: usize,
        from: Option<&Place>,
    ) -> Result<Found> {
        let text = text.to_lowercase();
        let mut left: BinaryHeap<Rest> = heads.values().filter_map(|head| Rest::of(head, from)).collect();
        let mut touched = from.map(|from| from.before.0.clone()).unwrap_or_default();
        let (mut finds, mut messages) = (Finds::new(), Vec::new());
        let (mut looked_at, mut reads) = (0, 0);
        loop {
            take_certain(&mut finds, left.peek(), wanted, &mut messages);
            if messages.len() == wanted || looked_at >= LOOKED_AT || reads == READS {
                break;
            }
            let Some(mut rest) = left.pop() else { break };
            let read = self.messages.before(rest.room, rest.before, AT_ONCE).await?;
            (looked_at, reads) = (looked_at + read.len(), reads + 1);
            let oldest = read.last().and_then(|message| Some((message.seq?, message.created_at)));
            let all = read.len() < AT_ONCE;
            finds.extend(read.into_iter().filter(|message| says(message, &text)).filter_map(keyed));
            match oldest {
                Some((before, no_newer_than)) if !all => {
                    (rest.before, rest.no_newer_than) = (before, no_newer_than);
                    touched.insert(rest.room, before);
                    left.push(rest);
                }
                _ => _ = touched.insert(rest.room, 0),
            }
        }
        Ok(Found { messages, place: place(&finds, left, touched) })
    }

    /// A short name for a place.
    pub async fn name(&self, user: UserId, place: &Place) -> Result<String> {
        let mut bytes = place.until.to_be_bytes().to_vec();
        let before = place.before.encode();
        if before.len() > Positions::SHORT {
            bytes.push(STORED);
            bytes.extend(self.snapshots.take(user, &place.before).await?.as_bytes());
        } else {
            bytes.push(INLINE);
            bytes.extend(before);
        }
        Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The place of a name; none for what is no name, or too old.
    pub async fn place(&self, user: UserId, name: &str) -> Result<Option<Place>> {
        let Ok(bytes) = BASE64_URL_SAFE_NO_PAD.decode(name) else { return Ok(None) };
        let Some((until, [how, before @ ..])) = bytes.split_first_chunk::<8>() else { return Ok(None) };
        let before = match *how {
            INLINE => Positions::decode(before),
            STORED => match SnapshotId::from_slice(before) {
                Ok(id) => self.snapshots.open(id, user).await?,
                Err(_) => None,
            },
            _ => None,
        };
        Ok(before.map(|before| Place { until: i64::from_be_bytes(*until), before }))
    }
}

const INLINE: u8 = 0;
const STORED: u8 = 1;

impl Rest {
    /// What is left of a room after a place; none where all of it was looked at.
    fn of(head: &Head, from: Option<&Place>) -> Option<Self> {
        let newest = head.updated_at.unwrap_or(DateTime::<Utc>::MAX_UTC);
        let Some(from) = from else {
            return Some(Self { no_newer_than: newest, room: head.room, before: i64::MAX });
        };
        let until = DateTime::from_timestamp_millis(from.until).unwrap_or(DateTime::<Utc>::MAX_UTC);
        match from.before.0.get(&head.room) {
            Some(0) => None,
            Some(before) => Some(Self { no_newer_than: until, room: head.room, before: *before }),
            None => Some(Self { no_newer_than: newest.min(until), room: head.room, before: i64::MAX }),
        }
    }
}

/// Deleted messages and what the system says are not found.
fn says(message: &Message, text: &str) -> bool {
    !message.is_deleted && message.message_type != MessageType::System && message.content.to_lowercase().contains(text)
}

fn keyed(message: Message) -> Option<(Key, Message)> {
    Some(((message.created_at, message.room_id, message.seq?), message))
}

/// Takes those finds that nothing unseen can be newer than.
fn take_certain(finds: &mut Finds, newest_unseen: Option<&Rest>, wanted: usize, into: &mut Vec<Message>) {
    while into.len() < wanted {
        let Some(newest) = finds.last_entry() else { return };
        if newest_unseen.is_some_and(|rest| rest.no_newer_than > newest.key().0) {
            return;
        }
        into.push(newest.remove());
    }
}

/// Where to go on: finds that were not taken will be found again.
fn place(finds: &Finds, left: BinaryHeap<Rest>, mut touched: BTreeMap<RoomId, i64>) -> Option<Place> {
    if finds.is_empty() && left.is_empty() {
        return None;
    }
    for (_, room, position) in finds.keys() {
        touched.entry(*room).and_modify(|before| *before = (*before).max(position + 1));
    }
    let found = finds.keys().map(|(at, ..)| *at);
    let until = found.chain(left.iter().map(|rest| rest.no_newer_than)).max();
    Some(Place { until: until.map_or(i64::MAX, |until| until.timestamp_millis()), before: Positions(touched) })
}
