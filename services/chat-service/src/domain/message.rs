//! A message and the changes that its rules allow.

use axum::http::StatusCode;
use bson::oid::ObjectId;
use bson::serde_helpers::datetime::FromChrono04DateTime;
use chrono::{DateTime, SubsecRound, Utc};
use common::error::{Error, Result};
use common::id::{RoomId, UserId};
use common::input::Invalid;
use common::text::is_blank;
use deserr::Deserr;
use serde::{Deserialize, Serialize};
use serde_with::serde_as;
use utoipa::ToSchema;

use super::checked_file::{CheckedFile, FileState, Picture};
use super::reaction::{Reaction, ReactionChange, UnlistedReactions, add_reaction, remove_reaction};
use super::room::{Room, RosterChange};

/// The content type of a message. Clients may send all but `system`.
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

/// A message in its latest state, as the collection `messages` stores it. Messages of the original lack the last six
/// fields.
#[serde_as]
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
    #[serde_as(as = "Option<FromChrono04DateTime>")]
    #[serde(default)]
    pub deleted_at: Option<DateTime<Utc>>,
    pub deleted_by: Option<UserId>,
    #[serde(default)]
    pub is_edited: bool,
    #[serde_as(as = "Option<FromChrono04DateTime>")]
    #[serde(default)]
    pub edited_at: Option<DateTime<Utc>>,
    /// The content before the first edit.
    pub original_content: Option<String>,
    pub reply_to: Option<String>,
    #[serde_as(as = "FromChrono04DateTime")]
    pub created_at: DateTime<Utc>,
    #[serde_as(as = "FromChrono04DateTime")]
    pub updated_at: DateTime<Utc>,
    /// The position in the room's log at which the message was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_message_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<Reaction>,
    /// The upload of the message's file. The file of a message of the original has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_id: Option<ObjectId>,
    /// The state of the file. The file of a message of the original has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_state: Option<FileState>,
    /// Present if the file is shown as a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Picture>,
    /// The change of members that a system message announces.
    #[serde(default, rename = "moved", skip_serializing_if = "Option::is_none")]
    pub roster_change: Option<RosterChange>,
}

/// The kind of an entry in a room's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    Sent,
    Edited,
    Deleted,
    Reacted,
}

/// A change of an existing message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageChange {
    Edit {
        content: String,
    },
    Delete,
    React(ReactionChange),
    /// Ends the pending state of the file.
    File(CheckedFile),
}

impl MessageChange {
    pub fn kind(&self) -> EntryKind {
        match self {
            // Replicas and clients show the message of such an entry in its latest state.
            Self::Edit { .. } | Self::File(_) => EntryKind::Edited,
            Self::Delete => EntryKind::Deleted,
            Self::React(_) => EntryKind::Reacted,
        }
    }

    /// Whether the change shows new content to the other members.
    pub fn shows_content(&self) -> bool {
        match self {
            Self::Edit { .. } => true,
            Self::React(reaction) => reaction.added,
            Self::Delete | Self::File(_) => false,
        }
    }
}

/// The part of a new message that its sender chooses.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    pub content: String,
    pub message_type: MessageType,
    pub client_message_id: Option<String>,
    pub reply_to: Option<String>,
    /// The upload of the file, as the client names it.
    pub upload: Option<String>,
}

impl Message {
    /// A new message. It gets its position when the writer commits it.
    pub fn new(room: &Room, by: UserId, username: Option<String>, draft: Draft, at: DateTime<Utc>) -> Self {
        Self::from_draft(room.id, room.message_kind(), by, username, draft, at)
    }

    /// The system message that announces a change of a group's members. `id` was chosen together with the change.
    pub fn system(
        id: ObjectId,
        group: RoomId,
        by: UserId,
        username: Option<String>,
        content: String,
        roster_change: RosterChange,
        at: DateTime<Utc>,
    ) -> Self {
        let draft = Draft { content, message_type: MessageType::System, ..Draft::default() };
        // As MongoDB stores it, so that every replica shows the same time.
        let message = Self::from_draft(group, "group", by, username, draft, at.trunc_subsecs(3));
        Self { id, roster_change: Some(roster_change), ..message }
    }

    /// The place of a message that an operator removed from the store: deleted, as of the time in its id.
    pub fn removed(id: ObjectId, room: RoomId, by: UserId, seq: i64) -> Self {
        let message = Self::from_draft(room, "", by, None, Draft::default(), id.timestamp().to_chrono());
        let (is_deleted, deleted_at) = (true, Some(message.created_at));
        Self { id, is_deleted, deleted_at, deleted_by: Some(by), seq: Some(seq), ..message }
    }

    fn from_draft(
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
            upload_id: None,
            file_state: None,
            image: None,
            roster_change: None,
        }
    }

    /// Applies a change. Returns false if the message is already in the requested state. `unlisted` has the reactions of `by`
    /// that the message does not list, and follows the change.
    ///
    /// # Errors
    /// Refuses a change that `by` may not make, and every change of a deleted message.
    pub fn apply(
        &mut self,
        change: &MessageChange,
        by: UserId,
        at: DateTime<Utc>,
        unlisted: &mut UnlistedReactions,
    ) -> Result<bool> {
        match change {
            MessageChange::Edit { content } => self.edit(content, by, at).map(|()| true),
            MessageChange::Delete => self.delete(by, at).map(|()| true),
            MessageChange::React(reaction) => self.react(reaction, by, unlisted),
            MessageChange::File(checked) => self.end_check(checked, at),
        }
    }

    fn edit(&mut self, content: &str, by: UserId, at: DateTime<Utc>) -> Result<()> {
        self.require_author(by, "You can only edit your own messages")?;
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
        self.require_author(by, "You can only delete your own messages")?;
        if self.is_deleted {
            return Err(already_deleted("Message is already deleted"));
        }
        self.is_deleted = true;
        self.deleted_at = Some(at);
        self.deleted_by = Some(by);
        self.updated_at = at;
        Ok(())
    }

    fn react(
        &mut self,
        ReactionChange { emoji, added }: &ReactionChange,
        by: UserId,
        unlisted: &mut UnlistedReactions,
    ) -> Result<bool> {
        if self.message_type == MessageType::System {
            return Err(Error::forbidden("System messages cannot take reactions"));
        }
        if self.is_deleted {
            return Err(already_deleted("Cannot react to a deleted message"));
        }
        if *added {
            add_reaction(self.id, &mut self.reactions, emoji, by, unlisted)
        } else {
            Ok(remove_reaction(self.id, &mut self.reactions, emoji, by, unlisted))
        }
    }

    /// The first outcome of a check counts.
    fn end_check(&mut self, checked: &CheckedFile, at: DateTime<Utc>) -> Result<bool> {
        if self.is_deleted {
            return Err(already_deleted("The message of the file is deleted"));
        }
        if self.file_state != Some(FileState::Pending) {
            return Ok(false);
        }
        self.file_state = Some(FileState::Ready);
        match checked {
            CheckedFile::Rejected => self.file_state = Some(FileState::Rejected),
            CheckedFile::Plain => {}
            CheckedFile::Image { picture, bytes } => {
                self.image.clone_from(picture);
                self.file_size = Some(*bytes);
            }
        }
        if self.image.is_none() && self.file_state == Some(FileState::Ready) {
            self.message_type = MessageType::File;
        }
        self.updated_at = at;
        Ok(true)
    }

    /// System messages have no author who could change them.
    fn require_author(&self, by: UserId, refusal: &'static str) -> Result<()> {
        if self.user_id == by && self.message_type != MessageType::System {
            return Ok(());
        }
        Err(Error::forbidden(refusal))
    }
}

fn already_deleted(message: &'static str) -> Error {
    Error::refused(StatusCode::BAD_REQUEST, "MESSAGE_ALREADY_DELETED", message)
}

/// Refuses content without a visible character.
pub fn readable(content: String) -> Result<String> {
    if is_blank(&content) {
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

    fn edit(content: &str) -> MessageChange {
        MessageChange::Edit { content: content.into() }
    }

    fn react(emoji: &str, added: bool) -> MessageChange {
        MessageChange::React(ReactionChange { emoji: emoji.into(), added })
    }

    #[test]
    fn the_first_content_survives_all_edits() {
        let mut message = message();
        message.apply(&edit("second"), ANN, Utc::now(), &mut UnlistedReactions::new()).unwrap();
        message.apply(&edit("third"), ANN, Utc::now(), &mut UnlistedReactions::new()).unwrap();
        assert_eq!((message.content.as_str(), message.original_content.as_deref()), ("third", Some("first")));
    }

    #[test]
    fn only_the_author_edits_and_deletes() {
        for change in [edit("mine"), MessageChange::Delete] {
            assert!(message().apply(&change, BOB, Utc::now(), &mut UnlistedReactions::new()).is_err());
        }
    }

    #[test]
    fn a_deleted_message_cannot_change() {
        let mut message = message();
        message.apply(&MessageChange::Delete, ANN, Utc::now(), &mut UnlistedReactions::new()).unwrap();
        for change in [edit("again"), MessageChange::Delete] {
            assert!(message.apply(&change, ANN, Utc::now(), &mut UnlistedReactions::new()).is_err());
        }
    }

    #[test]
    fn a_system_message_cannot_change() {
        let mut message = Message { message_type: MessageType::System, ..message() };
        for change in [MessageChange::Delete, edit("mine"), react("👍", true)] {
            assert!(message.apply(&change, ANN, Utc::now(), &mut UnlistedReactions::new()).is_err());
        }
    }

    #[test]
    fn a_reaction_counts_once_per_user_and_vanishes_with_its_last_user() {
        let mut message = message();
        let mut apply = |change, by| message.apply(&change, by, Utc::now(), &mut UnlistedReactions::new()).unwrap();
        assert!(apply(react("👍", true), ANN) && apply(react("👍", true), BOB));
        assert!(!apply(react("👍", true), BOB), "a repeated reaction changes nothing");
        assert!(!apply(react("🎉", false), BOB), "removing a missing reaction changes nothing");
        assert!(apply(react("👍", false), ANN));
        assert_eq!(message.reactions, [Reaction { emoji: "👍".into(), count: 1, user_ids: vec![BOB] }]);
        assert!(message.apply(&react("👍", false), BOB, Utc::now(), &mut UnlistedReactions::new()).unwrap());
        assert!(message.reactions.is_empty());
    }

    #[test]
    fn a_message_takes_twenty_different_reactions() {
        let mut message = message();
        let mut different = emojis::iter().take(21).map(|emoji| react(emoji.as_str(), true));
        for change in different.by_ref().take(20) {
            message.apply(&change, ANN, Utc::now(), &mut UnlistedReactions::new()).unwrap();
        }
        assert!(message.apply(&different.next().unwrap(), ANN, Utc::now(), &mut UnlistedReactions::new()).is_err());
        let existing = message.reactions[0].emoji.clone();
        assert!(
            message.apply(&react(&existing, true), BOB, Utc::now(), &mut UnlistedReactions::new()).unwrap(),
            "an existing emoji is not a new one"
        );
    }

    #[test]
    fn content_that_shows_nothing_is_refused() {
        for content in [" \n\t\u{3000}", "\u{200b}", "\u{3164}\u{2800}"] {
            assert!(readable(content.into()).is_err(), "{content:?}");
        }
        assert_eq!(readable(" \u{200b}a ".into()).unwrap(), " \u{200b}a ");
    }
}
