//! Read receipts: a read advances the reader's marker, and its event goes to streams and to Kafka.

use bson::oid::ObjectId;
use common::error::Result;
use common::events::chat::MessagesRead;
use common::id::{RoomId, UserId};
use uuid::Uuid;

use crate::domain::{Message, Room, time};
use crate::live::Hub;
use crate::outbox::{self, Relay};
use crate::store::{OutboxEntry, Read, ReadMarkers};

#[derive(Clone)]
pub struct Receipts {
    markers: ReadMarkers,
    hub: Hub,
    relay: Relay,
}

impl Receipts {
    pub fn new(markers: ReadMarkers, hub: Hub, relay: Relay) -> Self {
        Self { markers, hub, relay }
    }

    /// Marks all messages of a room as read. Returns the number of those that were unread.
    pub async fn read_room(&self, reader: UserId, room: &Room) -> Result<usize> {
        // Messages that are sent after this position stay unread.
        let position = self.hub.history().position(room.id).await?;
        let mut unread = self.markers.newest_unread(reader, room).await?;
        unread.retain(|(_, at)| *at <= position);
        self.record(reader, room.id, unread, Some(position)).await
    }

    /// Marks messages of a room as read. Returns the number of those that were unread.
    pub async fn read_messages(&self, reader: UserId, room: RoomId, messages: &[Message]) -> Result<usize> {
        let unread = self.markers.unread_of(reader, room, messages).await?;
        self.record(reader, room, unread, None).await
    }

    /// Stores a read of unread messages with its event, and publishes the event. Without unread messages nothing changes.
    async fn record(
        &self,
        reader: UserId,
        room: RoomId,
        messages: Vec<(ObjectId, i64)>,
        up_to: Option<i64>,
    ) -> Result<usize> {
        if messages.is_empty() {
            return Ok(0);
        }
        let (event_id, at) = (Uuid::now_v7(), time::now());
        let mut read = Read { room, reader, messages, up_to, at, event_id };
        let event = self.markers.advance(&mut read, |read| outbox::of_read(&receipt(read), event_id, at)).await?;
        let Some(event) = event else { return Ok(0) };
        self.hub.broadcast_read(&receipt(&read), Some(event_id), at);
        self.relay.publish(vec![OutboxEntry { id: read.id(), event }]);
        Ok(read.messages.len())
    }
}

fn receipt(read: &Read) -> MessagesRead {
    let message_ids = read.messages.iter().map(|(id, _)| id.to_hex()).collect();
    MessagesRead { room_id: read.room, user_id: read.reader, message_ids, up_to: read.up_to }
}
