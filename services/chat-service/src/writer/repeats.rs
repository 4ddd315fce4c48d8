//! Repeated sends within one batch. The unique index would refuse the whole batch because of them, on every try.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::request::{Command, SendKey, WriteRequest, Written, send_key};
use crate::domain::Message;

/// The requests that repeat a send of the batch, by its key.
#[derive(Default)]
pub struct Repeats(HashMap<SendKey, Vec<WriteRequest>>);

impl Repeats {
    /// Parts a batch into the requests to write, with the first of repeated sends, and the others.
    pub fn split_off(batch: Vec<WriteRequest>) -> (Vec<WriteRequest>, Self) {
        let mut repeats = Self::default();
        let mut first = Vec::with_capacity(batch.len());
        for request in batch {
            let key = match &request.command {
                Command::Send(message) => send_key(message),
                Command::Change { .. } => None,
            };
            match key.map(|key| repeats.0.entry(key)) {
                Some(Entry::Occupied(mut others)) => others.get_mut().push(request),
                Some(Entry::Vacant(entry)) => {
                    entry.insert(Vec::new());
                    first.push(request);
                }
                None => first.push(request),
            }
        }
        (first, repeats)
    }

    /// Takes the repeats of a request.
    pub fn of(&mut self, request: &WriteRequest) -> Vec<WriteRequest> {
        let key = match &request.command {
            Command::Send(message) => send_key(message),
            Command::Change { .. } => None,
        };
        key.and_then(|key| self.0.remove(&key)).unwrap_or_default()
    }

    /// Answers the repeats of a message that is stored.
    pub fn answer(&mut self, message: &Message) {
        let repeats = send_key(message).and_then(|key| self.0.remove(&key));
        for request in repeats.into_iter().flatten() {
            request.respond(Ok(Written { message: message.clone(), position: None }));
        }
    }
}
