//! Search of messages: a scan of the rooms, newest messages first, that stops after a bounded amount of work and continues from a
//! cursor.
//!
//! There is no index, so writes do not become slower. The rooms are read in parallel from their newest messages on. The next
//! page always comes from the room that may hold the newest message not read yet. A room whose last message is older than all
//! requested results is not read.

use std::collections::{BTreeMap, BinaryHeap, HashMap};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use common::error::Result;
use common::id::{RoomId, UserId};
use common::text::fold;
use service::budget::WriteBudget;

use crate::domain::{Message, MessageType};
use crate::store::{Head, Messages, Positions, SnapshotId, Snapshots};

/// Limit on the messages that a request scans: about 30 ms of work.
const MAX_SCANNED: usize = 5_000;

/// Limit on the bytes of content that a request scans, with the same work; reached only by messages that are longer than
/// the original's.
const MAX_SCANNED_BYTES: usize = 1_500_000;

/// Limit on the queries of a request. A search of many quiet rooms continues from the cursor.
const MAX_QUERIES: usize = 40;

/// Messages read by one query.
const PAGE: usize = 500;

#[derive(Clone)]
pub struct Search {
    messages: Messages,
    snapshots: Snapshots,
    /// A stored cursor is a write.
    changes: WriteBudget,
}

/// The results, newest first, and the cursor of the next page; `None` after the last page.
pub struct Found {
    pub messages: Vec<Message>,
    pub next: Option<SearchCursor>,
}

/// The progress of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchCursor {
    /// The remaining messages are not newer than this, in milliseconds since 1970.
    until: i64,
    /// The position before which the search continues, in rooms that were read; 0 in rooms that are complete.
    before: Positions,
}

/// The remaining messages of a room. The order puts the room that may hold the newest message first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Remaining {
    not_newer_than: DateTime<Utc>,
    room: RoomId,
    before: i64,
}

/// The sort key of a result: its time, room and position.
type ResultKey = (DateTime<Utc>, RoomId, i64);

type Results = BTreeMap<ResultKey, Message>;

impl Search {
    /// `changes` is the budget of a user's stored cursors.
    pub fn new(messages: Messages, snapshots: Snapshots, changes: WriteBudget) -> Self {
        Self { messages, snapshots, changes }
    }

    /// The newest messages that contain a text in any case and normalization, from a cursor on.
    pub async fn find(
        &self,
        text: &str,
        heads: &HashMap<RoomId, Head>,
        limit: usize,
        from: Option<&SearchCursor>,
    ) -> Result<Found> {
        let text = fold(text);
        let mut rooms: BinaryHeap<Remaining> = heads.values().filter_map(|head| Remaining::of(head, from)).collect();
        let mut before = from.map(|from| from.before.0.clone()).unwrap_or_default();
        let (mut results, mut messages) = (Results::new(), Vec::new());
        let (mut scanned, mut bytes, mut queries) = (0, 0, 0);
        loop {
            take_certain(&mut results, rooms.peek(), limit, &mut messages);
            if messages.len() == limit || scanned >= MAX_SCANNED || bytes >= MAX_SCANNED_BYTES || queries == MAX_QUERIES
            {
                break;
            }
            let Some(mut room) = rooms.pop() else { break };
            let page = self.messages.before(room.room, room.before, PAGE).await?;
            (scanned, queries) = (scanned + page.len(), queries + 1);
            bytes += page.iter().map(|message| message.content.len()).sum::<usize>();
            let oldest = page.last().and_then(|message| Some((message.seq?, message.created_at)));
            let is_last_page = page.len() < PAGE;
            results.extend(page.into_iter().filter(|message| matches(message, &text)).filter_map(with_key));
            match oldest {
                Some((position, time)) if !is_last_page => {
                    (room.before, room.not_newer_than) = (position, time);
                    before.insert(room.room, position);
                    rooms.push(room);
                }
                _ => _ = before.insert(room.room, 0),
            }
        }
        Ok(Found { messages, next: next_cursor(&results, rooms, before) })
    }

    /// The text form of a cursor. Positions that do not fit into it are stored as a snapshot.
    pub async fn encode(&self, user: UserId, cursor: &SearchCursor) -> Result<String> {
        let before = cursor.before.encode();
        if before.len() > Positions::MAX_INLINE_BYTES {
            self.changes.spend_many(user, 1 + Snapshots::further_changes(cursor.before.0.len())).await?;
            let snapshot = self.snapshots.insert(user, &cursor.before).await?;
            return Ok(encode(cursor.until, STORED, snapshot.as_bytes()));
        }
        Ok(encode(cursor.until, INLINE, &before))
    }

    /// Reads the text form of a cursor; `None` for text that is malformed or names an expired snapshot.
    pub async fn decode(&self, user: UserId, text: &str) -> Result<Option<SearchCursor>> {
        let before = match decode(text) {
            Some((until, Before::Inline(before))) => Some((until, before)),
            Some((until, Before::Stored(id))) => self.snapshots.get(id, user).await?.map(|before| (until, before)),
            None => None,
        };
        Ok(before.map(|(until, before)| SearchCursor { until, before }))
    }
}

const INLINE: u8 = 0;
const STORED: u8 = 1;

/// The positions in the text form of a cursor, or the name of their snapshot.
enum Before {
    Inline(Positions),
    Stored(SnapshotId),
}

fn encode(until: i64, format: u8, before: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode([&until.to_be_bytes()[..], &[format], before].concat())
}

fn decode(text: &str) -> Option<(i64, Before)> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    let (until, [format, before @ ..]) = bytes.split_first_chunk::<8>()? else { return None };
    let before = match *format {
        INLINE => Before::Inline(Positions::decode(before)?),
        STORED => Before::Stored(SnapshotId::from_slice(before).ok()?),
        _ => return None,
    };
    Some((i64::from_be_bytes(*until), before))
}

/// The form in which this service would issue the cursor.
#[cfg(feature = "fuzzing")]
pub fn canonical_search_cursor(text: &str) -> Option<String> {
    decode(text).map(|(until, before)| match before {
        Before::Inline(before) => encode(until, INLINE, &before.encode()),
        Before::Stored(id) => encode(until, STORED, id.as_bytes()),
    })
}

impl Remaining {
    /// The remaining messages of a room after a cursor; `None` if the room is complete.
    fn of(head: &Head, from: Option<&SearchCursor>) -> Option<Self> {
        let newest = head.updated_at.unwrap_or(DateTime::<Utc>::MAX_UTC);
        let Some(from) = from else {
            return Some(Self { not_newer_than: newest, room: head.room, before: i64::MAX });
        };
        let until = DateTime::from_timestamp_millis(from.until).unwrap_or(DateTime::<Utc>::MAX_UTC);
        match from.before.0.get(&head.room) {
            Some(0) => None,
            Some(before) => Some(Self { not_newer_than: until, room: head.room, before: *before }),
            None => Some(Self { not_newer_than: newest.min(until), room: head.room, before: i64::MAX }),
        }
    }
}

/// Deleted messages and system messages never match.
fn matches(message: &Message, text: &str) -> bool {
    !message.is_deleted && message.message_type != MessageType::System && fold(&message.content).contains(text)
}

fn with_key(message: Message) -> Option<(ResultKey, Message)> {
    Some(((message.created_at, message.room_id, message.seq?), message))
}

/// Moves the results to `into` that no unread message can be newer than.
fn take_certain(results: &mut Results, newest_unread: Option<&Remaining>, limit: usize, into: &mut Vec<Message>) {
    while into.len() < limit {
        let Some(newest) = results.last_entry() else { return };
        if newest_unread.is_some_and(|room| room.not_newer_than > newest.key().0) {
            return;
        }
        into.push(newest.remove());
    }
}

/// The cursor of the next page. Results that were not taken are found again.
fn next_cursor(
    results: &Results,
    rooms: BinaryHeap<Remaining>,
    mut before: BTreeMap<RoomId, i64>,
) -> Option<SearchCursor> {
    if results.is_empty() && rooms.is_empty() {
        return None;
    }
    for (_, room, position) in results.keys() {
        before.entry(*room).and_modify(|before| *before = (*before).max(position + 1));
    }
    let found = results.keys().map(|(at, ..)| *at);
    let until = found.chain(rooms.iter().map(|room| room.not_newer_than)).max();
    Some(SearchCursor { until: until.map_or(i64::MAX, |until| until.timestamp_millis()), before: Positions(before) })
}
