//! A message of a page, of which all but the fields about its readers is serialized once.

use std::collections::HashMap;

use common::error::{Error, Result};
use common::id::UserId;
use serde::Serialize;

use super::message::MessageBody;
use crate::domain::{Message, MessageType, ReadMarker};

/// Limit on the readers that a message names.
const MAX_READ_BY: usize = 20;

/// The fields about readers of a body that has none: the last ones of a [`MessageBody`].
const NO_READERS: &str = r#""read_by":null,"read_by_count":null,"is_read":null}"#;

/// A message of a page, as JSON without the fields about readers.
#[derive(Debug)]
pub struct ListedMessage {
    json: Box<str>,
    author: UserId,
    /// The position of the message in its room's log.
    pub seq: Option<i64>,
    is_system: bool,
}

/// The fields about readers of a [`MessageBody`].
#[derive(Default, Serialize)]
struct Readers {
    read_by: Option<Vec<UserId>>,
    read_by_count: Option<usize>,
    is_read: Option<bool>,
}

impl ListedMessage {
    /// # Errors
    /// Returns an internal error if the body cannot be serialized.
    pub fn of(message: &Message) -> Result<Self> {
        let body = serde_json::to_string(&MessageBody::of(message)).map_err(Error::internal)?;
        let json =
            body.strip_suffix(NO_READERS).ok_or_else(|| Error::internal("a body has no fields about readers"))?;
        let is_system = message.message_type == MessageType::System;
        Ok(Self { json: json.into(), author: message.user_id, seq: message.seq, is_system })
    }

    /// The memory of the message in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.json.len()
    }

    /// Appends the body for a reader, by the markers of all readers of the room.
    ///
    /// # Errors
    /// Returns an internal error if it cannot be serialized.
    pub fn write(&self, readers: &HashMap<UserId, ReadMarker>, me: UserId, into: &mut Vec<u8>) -> Result<()> {
        into.extend_from_slice(self.json.as_bytes());
        let fields = into.len();
        serde_json::to_writer(&mut *into, &self.readers(readers, me)).map_err(Error::internal)?;
        // The fields continue the object.
        into.remove(fields);
        Ok(())
    }

    /// The readers: an own message is read if another member has read it, a message of another member unless it counts as unread.
    /// System messages have neither.
    fn readers(&self, readers: &HashMap<UserId, ReadMarker>, me: UserId) -> Readers {
        let Some(position) = self.seq.filter(|_| !self.is_system) else { return Readers::default() };
        let mut read_by: Vec<UserId> = readers
            .iter()
            .filter(|(reader, marker)| **reader != self.author && marker.covers(position))
            .map(|(reader, _)| *reader)
            .collect();
        read_by.sort_unstable();
        let own = || readers.get(&me).is_some_and(|own| !own.leaves_unread(position));
        let is_read = if self.author == me { !read_by.is_empty() } else { own() };
        let count = read_by.len();
        read_by.truncate(MAX_READ_BY);
        Readers { read_by: Some(read_by), read_by_count: Some(count), is_read: Some(is_read) }
    }
}

#[cfg(test)]
mod tests {
    use bson::oid::ObjectId;
    use common::id::RoomId;
    use serde_json::{Value, json};

    use super::*;

    /// A message with every kind of character that JSON escapes.
    fn message() -> Message {
        let content = "\"안녕\"\n\u{1}\\ 👋".to_owned();
        Message { content, is_deleted: false, ..Message::removed(ObjectId::new(), RoomId(1), UserId(1), 17) }
    }

    fn written(message: &ListedMessage, readers: &HashMap<UserId, ReadMarker>, me: UserId) -> Value {
        let mut json = Vec::new();
        message.write(readers, me, &mut json).unwrap();
        serde_json::from_slice(&json).unwrap()
    }

    #[test]
    fn a_listed_message_is_the_body_with_the_fields_about_its_readers() {
        let message = message();
        let (listed, author, other) = (ListedMessage::of(&message).unwrap(), message.user_id, UserId(77));
        let marker = ReadMarker::new(message.seq.unwrap(), 0, Vec::new(), &[]);
        let mut expected = serde_json::to_value(MessageBody::of(&message)).unwrap();

        expected["read_by"] = json!([]);
        expected["read_by_count"] = json!(0);
        expected["is_read"] = json!(false);
        assert_eq!(written(&listed, &HashMap::new(), author), expected);
        expected["read_by"] = json!([77]);
        expected["read_by_count"] = json!(1);
        expected["is_read"] = json!(true);
        let readers = HashMap::from([(other, marker.clone()), (author, marker)]);
        assert_eq!(written(&listed, &readers, author), expected);
        assert_eq!(written(&listed, &readers, other), expected);
    }

    #[test]
    fn many_readers_are_counted_and_the_first_are_named() {
        let message = message();
        let marker = ReadMarker::new(message.seq.unwrap(), 0, Vec::new(), &[]);
        let readers: HashMap<UserId, ReadMarker> = (101..=150).map(|user| (UserId(user), marker.clone())).collect();
        let body = written(&ListedMessage::of(&message).unwrap(), &readers, message.user_id);

        assert_eq!(body["read_by"], json!((101..=120).collect::<Vec<_>>()));
        assert_eq!(body["read_by_count"], 50);
    }

    #[test]
    fn a_system_message_and_one_without_a_position_have_no_readers() {
        let system = Message { message_type: MessageType::System, ..message() };
        let without = Message { seq: None, ..message() };
        for message in [system, without] {
            let body = written(&ListedMessage::of(&message).unwrap(), &HashMap::new(), message.user_id);
            assert_eq!(body, serde_json::to_value(MessageBody::of(&message)).unwrap());
        }
    }
}
