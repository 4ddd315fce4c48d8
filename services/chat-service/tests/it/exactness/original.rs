//! An original that writes to the rooms of the replicas.

use std::sync::atomic::Ordering;

use engines::kafka::record::Record;
use engines::mongo::is_duplicate;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{DateTime, Document, doc};
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::json;
use testkit::eventually;

use super::World;

/// After one in so many messages of ours, the original writes one.
pub const ORIGINAL_ONE_IN: u32 = 15;

impl World {
    /// Stores a message as the original does, without a position, and returns its id. Every other time it publishes the event
    /// too: the original ignores the errors of Kafka.
    pub async fn original_writes(&self, rng: &mut StdRng, room_type: &str, room: i64, user: i64) -> String {
        let (id, now, content) = (ObjectId::new(), DateTime::now(), "from the original");
        let message = doc! {"_id": id, "user_id": user, "room_id": room, "room_type": room_type, "content": content,
        "message_type": "text", "is_deleted": false, "is_edited": false, "created_at": now, "updated_at": now};
        let messages = self.mongo.collection::<Document>("messages");
        eventually("the original stores a message", || async {
            match messages.insert_one(&message).await {
                Ok(_) => Some(()),
                // An earlier try has stored it.
                Err(e) => is_duplicate(&e).then_some(()),
            }
        })
        .await;
        if rng.random() {
            let event = json!({"timestamp": "2026-11-24T13:09:12.690969", "message_id": id.to_hex(), "room_id": room,
                "user_id": user, "username": "Unknown", "content": content, "message_type": "text",
                "__event_type__": "MessageSent"});
            let topic = self.space.topics().message_events;
            let record =
                Record { topic, key: room.to_string(), payload: event.to_string().into(), headers: Vec::new() };
            self.producer.send(record).unwrap().await.unwrap();
        }
        self.written_by_original.fetch_add(1, Ordering::Relaxed);
        id.to_hex()
    }
}
