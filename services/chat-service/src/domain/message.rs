//! A message, and what may be done to it.

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use common::error::{Error, Result};
use common::id::{RoomId, UserId};
use common::input::Invalid;
use deserr::Deserr;
use mongodb::bson::oid::ObjectId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::{Move, Room};
use crate::store::time;

/// What a message carries. Clients may send all but `system`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Deserr, ToSchema)]
#[serde(rename_all = "lowercase")]
#[deserr(error = Invalid, rename_all = lowercase)]
pub enum MessageType {
    #[default]
    Text,
    Image,
    File,
    System,
}

impl MessageType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Image => "image",
            Self::File => "file",
            Self::System => "system",
        }
    }
}

/// A message in its latest state, as the collection `messages` holds it. The original's lack the last six fields.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Message {
    #[serde(rename = "_id")]
    pub id: ObjectId,
    pub user_id: UserId,
    pub room_id: RoomId,
    /// `private` or `group`.
    pub room_type: String,
    pub content: String,
    pub message_type: MessageType,
    pub file_url: Option<String>,
    pub file_name: Option<String>,
    pub file_size: Option<i64>,
    pub file_type: Option<String>,
    #[serde(default)]
    pub is_deleted: bool,
    #[serde(default, with = "time::optional")]
    pub deleted_at: Option<DateTime<Utc>>,
    pub deleted_by: Option<UserId>,
    #[serde(default)]
    pub is_edited: bool,
    #[serde(default, with = "time::optional")]
    pub edited_at: Option<DateTime<Utc>>,
    pub original_content: Option<String>,
    pub reply_to: Option<String>,
    #[serde(with = "time")]
    pub created_at: DateTime<Utc>,
    #[serde(with = "time")]
    pub updated_at: DateTime<Utc>,
    /// The position of its birth in the room's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<Reaction>,
    /// Who came or went, where the system tells of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<Move>,
}

/// Different emoji under one message.
const MAX_REACTIONS: usize = 20;

/// Who reacted with one emoji, in the order in which they did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reaction {
    pub emoji: String,
    pub count: u64,
    pub user_ids: Vec<UserId>,
}

/// What took a position in a room's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Sent,
    Edited,
    Deleted,
    Reacted,
}

/// A change of a message that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Edit { content: String },
    Delete,
    React(Reacted),
}

/// One emoji, given or taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reacted {
    pub emoji: String,
    pub added: bool,
}

impl Change {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Edit { .. } => Kind::Edited,
            Self::Delete => Kind::Deleted,
            Self::React(_) => Kind::Reacted,
        }
    }
}

/// What the sender says of a new message.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    pub content: String,
    pub message_type: MessageType,
    pub client_message_id: Option<String>,
    pub reply_to: Option<String>,
}

impl Message {
    /// A new message; it has no position yet.
    pub fn new(room: &Room, by: UserId, username: Option<String>, draft: Draft, at: DateTime<Utc>) -> Self {
        Self::blank(room.id, room.message_kind(), by, username, draft, at)
    }

    /// What the system says of someone who came into a group, or went. Its id was made with the change it tells of.
    pub fn of_system(
        id: ObjectId,
        group: RoomId,
        by: UserId,
        username: Option<String>,
        content: String,
        moved: Move,
        at: DateTime<Utc>,
    ) -> Self {
        let draft = Draft { content, message_type: MessageType::System, ..Draft::default() };
        Self { id, moved: Some(moved), ..Self::blank(group, "group", by, username, draft, at) }
    }

    fn blank(
        room: RoomId,
        room_type: &str,
        by: UserId,
        username: Option<String>,
        draft: Draft,
        at: DateTime<Utc>,
    ) -> Self {
        Self {
            id: ObjectId::new(),
            user_id: by,
            room_id: room,
            room_type: room_type.to_owned(),
            content: draft.content,
            message_type: draft.message_type,
            file_url: None,
            file_name: None,
            file_size: None,
            file_type: None,
            is_deleted: false,
            deleted_at: None,
            deleted_by: None,
            is_edited: false,
            edited_at: None,
            original_content: None,
            reply_to: draft.reply_to,
            created_at: at,
            updated_at: at,
            seq: None,
            username,
            client_message_id: draft.client_message_id,
            reactions: Vec::new(),
            moved: None,
        }
    }

    /// Changes the message, if `by` may; whether there was something to change.
    pub fn apply(&mut self, change: &Change, by: UserId, at: DateTime<Utc>) -> Result<bool> {
        match change {
            Change::Edit { content } => self.edit(content, by, at).map(|()| true),
            Change::Delete => self.delete(by, at).map(|()| true),
            Change::React(reacted) => self.react(reacted, by),
        }
    }

    fn edit(&mut self, content: &str, by: UserId, at: DateTime<Utc>) -> Result<()> {
        self.own(by, "You can only edit your own messages")?;
        if self.is_deleted {
            return Err(already_deleted("Cannot edit a deleted message"));
        }
        let before = std::mem::replace(&mut self.content, content.to_owned());
        self.original_content.get_or_insert(before);
        self.is_edited = true;
        self.edited_at = Some(at);
        self.updated_at = at;
        Ok(())
    }

    fn delete(&mut self, by: UserId, at: DateTime<Utc>) -> Result<()> {
        self.own(by, "You can only delete your own messages")?;
        if self.is_deleted {
            return Err(already_deleted("Message is already deleted"));
        }
        self.is_deleted = true;
        self.deleted_at = Some(at);
        self.deleted_by = Some(by);
        self.updated_at = at;
        Ok(())
    }

    fn react(&mut self, Reacted { emoji, added }: &Reacted, by: UserId) -> Result<bool> {
        if self.message_type == MessageType::System {
            return Err(Error::forbidden("Nobody reacts to what the system says"));
        }
        if self.is_deleted {
            return Err(already_deleted("Cannot react to a deleted message"));
        }
        if *added { self.add_reaction(emoji, by) } else { Ok(self.take_reaction_back(emoji, by)) }
    }

    fn add_reaction(&mut self, emoji: &str, by: UserId) -> Result<bool> {
        let different = self.reactions.len();
        match self.reactions.iter_mut().find(|reaction| reaction.emoji == emoji) {
            Some(reaction) if reaction.user_ids.contains(&by) => return Ok(false),
            Some(reaction) => {
                reaction.user_ids.push(by);
                reaction.count += 1;
            }
            None if different >= MAX_REACTIONS => {
                return Err(Error::business("A message has at most 20 different reactions"));
            }
            None => self.reactions.push(Reaction { emoji: emoji.to_owned(), count: 1, user_ids: vec![by] }),
        }
        Ok(true)
    }

    fn take_reaction_back(&mut self, emoji: &str, by: UserId) -> bool {
        let Some(at) = self.reactions.iter().position(|r| r.emoji == emoji && r.user_ids.contains(&by)) else {
            return false;
        };
        let reaction = &mut self.reactions[at];
        reaction.user_ids.retain(|user| *user != by);
        reaction.count -= 1;
        if reaction.user_ids.is_empty() {
            self.reactions.remove(at);
        }
        true
    }

    /// What the system said belongs to nobody.
    fn own(&self, by: UserId, refusal: &'static str) -> Result<()> {
        if self.user_id == by && self.message_type != MessageType::System {
            return Ok(());
        }
        Err(Error::forbidden(refusal))
    }
}

fn already_deleted(message: &'static str) -> Error {
    Error::refused(StatusCode::BAD_REQUEST, "MESSAGE_ALREADY_DELETED", message)
}

/// One emoji in its full form: `❤` and `❤️` are the same. None for what is no emoji, or several.
pub fn emoji(text: &str) -> Option<String> {
    emojis::get(text).map(|emoji| emoji.as_str().to_owned())
}

/// A text that someone can read: white space alone says nothing.
pub fn readable(content: String) -> Result<String> {
    if content.trim().is_empty() {
        let message = "Message content cannot be empty";
        return Err(Error::refused(StatusCode::BAD_REQUEST, "INVALID_INPUT", message));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DirectPair, RoomKind};

    const ANN: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    fn message() -> Message {
        let (now, pair) = (Utc::now(), DirectPair { low: ANN, high: BOB });
        let (kind, members) = (RoomKind::Direct(pair), vec![ANN, BOB]);
        let room = Room { id: RoomId(1), kind, members, version: 0, created_at: now, updated_at: now };
        Message::new(&room, ANN, None, Draft { content: "first".into(), ..Draft::default() }, now)
    }

    fn edit(content: &str) -> Change {
        Change::Edit { content: content.into() }
    }

    #[test]
    fn the_first_text_is_kept_through_all_edits() {
        let mut message = message();
        message.apply(&edit("second"), ANN, Utc::now()).unwrap();
        message.apply(&edit("third"), ANN, Utc::now()).unwrap();
        assert_eq!((message.content.as_str(), message.original_content.as_deref()), ("third", Some("first")));
    }

    #[test]
    fn nobody_changes_what_another_wrote() {
        for change in [edit("mine"), Change::Delete] {
            assert!(message().apply(&change, BOB, Utc::now()).is_err());
        }
    }

    #[test]
    fn what_is_deleted_stays_as_it_is() {
        let mut message = message();
        message.apply(&Change::Delete, ANN, Utc::now()).unwrap();
        for change in [edit("again"), Change::Delete] {
            assert!(message.apply(&change, ANN, Utc::now()).is_err());
        }
    }

    #[test]
    fn nobody_changes_what_the_system_said() {
        let mut message = Message { message_type: MessageType::System, ..message() };
        for change in [Change::Delete, edit("mine"), react("👍", true)] {
            assert!(message.apply(&change, ANN, Utc::now()).is_err());
        }
    }

    fn react(emoji: &str, added: bool) -> Change {
        Change::React(Reacted { emoji: emoji.into(), added })
    }

    #[test]
    fn a_reaction_counts_once_for_each_and_is_gone_with_its_last() {
        let mut message = message();
        let mut apply = |change, by| message.apply(&change, by, Utc::now()).unwrap();
        assert!(apply(react("👍", true), ANN) && apply(react("👍", true), BOB));
        assert!(!apply(react("👍", true), BOB), "once more changes nothing");
        assert!(!apply(react("🎉", false), BOB), "nor does taking back what is not there");
        assert!(apply(react("👍", false), ANN));
        assert_eq!(message.reactions, [Reaction { emoji: "👍".into(), count: 1, user_ids: vec![BOB] }]);
        assert!(message.apply(&react("👍", false), BOB, Utc::now()).unwrap());
        assert!(message.reactions.is_empty());
    }

    #[test]
    fn twenty_different_reactions_are_enough() {
        let mut message = message();
        let mut different = emojis::iter().take(21).map(|emoji| react(emoji.as_str(), true));
        for change in different.by_ref().take(20) {
            message.apply(&change, ANN, Utc::now()).unwrap();
        }
        assert!(message.apply(&different.next().unwrap(), ANN, Utc::now()).is_err());
        let there = message.reactions[0].emoji.clone();
        assert!(message.apply(&react(&there, true), BOB, Utc::now()).unwrap(), "one that is there is no new one");
    }

    #[test]
    fn an_emoji_is_one_whatever_it_is_made_of() {
        for one in ["👍", "👍🏽", "👨‍👩‍👧‍👦", "🇰🇷", "1️⃣", "🏴󠁧󠁢󠁳󠁣󠁴󠁿"]
        {
            assert_eq!(emoji(one).as_deref(), Some(one));
        }
        assert_eq!(emoji("❤"), emoji("❤️"));
        for none in ["", "a", "1", "👍👍", "가", ":+1:", "🇰", " 👍"] {
            assert_eq!(emoji(none), None, "{none}");
        }
    }

    #[test]
    fn white_space_alone_says_nothing() {
        assert!(readable(" \n\t\u{3000}".into()).is_err());
        assert_eq!(readable(" a ".into()).unwrap(), " a ");
    }
}
