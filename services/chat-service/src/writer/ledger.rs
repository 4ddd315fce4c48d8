//! What of a batch is in, after a try whose outcome nobody knows. No error text is read: the store is asked.

use std::collections::HashMap;

use common::error::Result;
use mongodb::Database;
use mongodb::bson::{self, Document, doc};

use super::{Act, Order, Written, send_key};
use crate::domain::Message;
use crate::store::{Entry, Log, Messages};

pub(super) struct Ledger {
    messages: Messages,
    log: Log,
}

impl Ledger {
    pub(super) fn new(mongo: &Database) -> Self {
        Self { messages: Messages::new(mongo), log: Log::new(mongo) }
    }

    /// For each order what it has become, if it is in. A send is also in when an earlier one with its key is.
    ///
    /// An event is pending for longer than an order may wait, so entries are found by it.
    pub(super) async fn look_up(&self, batch: &[Order]) -> Result<Vec<Option<Written>>> {
        let events: Vec<_> = batch.iter().map(Order::bson_event_id).collect();
        let entries = self.log.pending(&events).await?;
        let entries: HashMap<bson::Uuid, Entry> = entries.into_iter().map(|entry| (entry.event_id, entry)).collect();

        let mut wanted: Vec<Document> = Vec::new();
        for order in batch {
            match &order.act {
                Act::Send(message) => wanted.extend(same_send(message)),
                Act::Change { message, .. } => wanted.push(doc! {"_id": message}),
            }
        }
        let messages = self.messages.find(doc! {"$or": wanted}).await?;
        let by_key: HashMap<_, _> = messages.values().filter_map(|m| Some((send_key(m)?, m))).collect();

        let written = |order: &Order| {
            let entry = entries.get(&order.bson_event_id());
            let message = match &order.act {
                Act::Send(sent) => {
                    messages.get(&sent.id).or_else(|| send_key(sent).and_then(|key| by_key.get(&key).copied()))?
                }
                Act::Change { message, .. } => entry.and_then(|_| messages.get(message))?,
            };
            Some(Written { message: message.clone(), position: entry.map(|entry| entry.place.at) })
        };
        Ok(batch.iter().map(written).collect())
    }
}

fn same_send(message: &Message) -> Vec<Document> {
    let by_id = doc! {"_id": message.id};
    let by_key = message.client_message_id.as_ref().map(|client_message_id| {
        doc! {"room_id": message.room_id.0, "user_id": message.user_id.0, "client_message_id": client_message_id}
    });
    std::iter::once(by_id).chain(by_key).collect()
}
