//! Finds out which requests of a batch are stored after a try with an unknown outcome. It queries the store and parses no
//! error text.

use std::collections::HashMap;

use bson::{Document, doc};
use common::error::Result;
use mongodb::Database;

use super::request::{Command, WriteRequest, Written, send_key};
use crate::store::{Entry, Log, Messages};

pub struct Reconciler {
    messages: Messages,
    log: Log,
}

impl Reconciler {
    pub fn new(mongo: &Database) -> Self {
        Self { messages: Messages::new(mongo), log: Log::new(mongo) }
    }

    /// The result of each request that is stored. A send is stored, too, if an earlier one with the same key is.
    ///
    /// Entries are found by their pending events, which stay pending for longer than a request waits.
    pub async fn look_up(&self, batch: &[WriteRequest]) -> Result<Vec<Option<Written>>> {
        let events: Vec<_> = batch.iter().map(WriteRequest::bson_event_id).collect();
        let entries = self.log.pending(&events).await?;
        let entries: HashMap<bson::Uuid, Entry> = entries.into_iter().map(|entry| (entry.event_id, entry)).collect();

        let mut filters: Vec<Document> = Vec::new();
        for request in batch {
            match &request.command {
                Command::Send(message) => filters.push(doc! {"_id": message.id}),
                Command::Change { message, .. } => filters.push(doc! {"_id": message}),
            }
        }
        filters.extend(batch.iter().filter_map(WriteRequest::earlier_send));
        let messages = self.messages.find(doc! {"$or": filters}).await?;
        let by_key: HashMap<_, _> = messages.values().filter_map(|m| Some((send_key(m)?, m))).collect();

        let written = |request: &WriteRequest| {
            let entry = entries.get(&request.bson_event_id());
            let message = match &request.command {
                Command::Send(sent) => {
                    messages.get(&sent.id).or_else(|| send_key(sent).and_then(|key| by_key.get(&key).copied()))?
                }
                Command::Change { message, .. } => entry.and_then(|_| messages.get(message))?,
            };
            Some(Written { message: message.clone(), position: entry.map(|entry| entry.id.position) })
        };
        Ok(batch.iter().map(written).collect())
    }
}
