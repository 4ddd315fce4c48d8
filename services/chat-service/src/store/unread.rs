//! Which messages are unread for a reader, as filters on the collection `messages`.

use bson::{Document, doc};
use common::id::{RoomId, UserId};

use super::schema::kept_messages;
use crate::domain::Room;

/// Unread messages are counted up to this number. A read of a whole room names at most as many ids.
pub const UNREAD_CAP: i64 = 1_000;

/// Matches messages of the senders, or of all, in the gaps of a reader's marker.
pub fn unread(room: RoomId, sender: Option<Document>, gaps: &[(i64, Option<i64>)]) -> Document {
    let within = |(after, before): &(i64, Option<i64>)| match before {
        Some(before) => doc! {"seq": {"$gt": after, "$lt": before}},
        None => doc! {"seq": {"$gt": after}},
    };
    let positions = match gaps {
        [gap] => within(gap),
        gaps => doc! {"$or": gaps.iter().map(within).collect::<Vec<_>>()},
    };
    let mut filter = kept_messages(room);
    filter.extend(sender.map(|sender| ("user_id".to_owned(), sender.into())));
    filter.insert("message_type", doc! {"$ne": "system"});
    filter.extend(positions);
    filter
}

/// Matches all senders but the reader. A direct room has one other sender: naming it lets the index `room_kept_sender_seq` skip
/// the reader's own messages.
pub fn sender(room: &Room, reader: UserId) -> Document {
    match room.kind.pair() {
        Some(pair) => doc! {"$eq": pair.other(reader).0},
        None => others(reader),
    }
}

/// Matches all senders but the reader, in a room of any kind.
pub fn others(reader: UserId) -> Document {
    doc! {"$ne": reader.0}
}
