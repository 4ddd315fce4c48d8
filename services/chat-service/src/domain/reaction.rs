//! Reactions to a message: one entry per emoji, with its users.

use std::collections::HashSet;

use bson::oid::ObjectId;
use common::error::{Error, Result};
use common::id::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Limit on the different emoji of one message.
const MAX_REACTIONS: usize = 20;

/// Limit on the users that a reaction lists; further users are only counted. With 20 emoji, the reactions of a message take
/// at most 20 KB.
const MAX_LISTED: usize = 50;

/// The users who reacted with one emoji.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reaction {
    #[schema(example = "👍")]
    pub emoji: String,
    /// The number of users.
    #[schema(example = 1)]
    pub count: u64,
    /// The first 50 users, in the order of their reactions.
    pub user_ids: Vec<UserId>,
}

/// Reactions that are counted in their message and not listed: the message, the emoji and the user.
pub type UnlistedReactions = HashSet<(ObjectId, String, UserId)>;

/// One emoji, added or removed by a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReactionChange {
    pub emoji: String,
    pub added: bool,
}

/// Adds a user's reaction to a message. Returns false if it exists.
///
/// # Errors
/// Refuses a new emoji beyond [`MAX_REACTIONS`].
pub(super) fn add_reaction(
    message: ObjectId,
    reactions: &mut Vec<Reaction>,
    emoji: &str,
    by: UserId,
    unlisted: &mut UnlistedReactions,
) -> Result<bool> {
    let different = reactions.len();
    match reactions.iter_mut().find(|reaction| reaction.emoji == emoji) {
        Some(reaction) if reaction.user_ids.contains(&by) => return Ok(false),
        Some(reaction) => {
            if unlisted.contains(&(message, emoji.to_owned(), by)) {
                return Ok(false);
            }
            if reaction.user_ids.len() < MAX_LISTED {
                reaction.user_ids.push(by);
            } else {
                unlisted.insert((message, emoji.to_owned(), by));
            }
            reaction.count += 1;
        }
        None if different >= MAX_REACTIONS => {
            return Err(Error::business("A message has at most 20 different reactions"));
        }
        None => reactions.push(Reaction { emoji: emoji.to_owned(), count: 1, user_ids: vec![by] }),
    }
    Ok(true)
}

/// Removes a user's reaction from a message. Returns false if it does not exist.
pub(super) fn remove_reaction(
    message: ObjectId,
    reactions: &mut Vec<Reaction>,
    emoji: &str,
    by: UserId,
    unlisted: &mut UnlistedReactions,
) -> bool {
    let Some(index) = reactions.iter().position(|reaction| reaction.emoji == emoji) else { return false };
    let reaction = &mut reactions[index];
    let listed = reaction.user_ids.len();
    reaction.user_ids.retain(|user| *user != by);
    if reaction.user_ids.len() == listed && !unlisted.remove(&(message, emoji.to_owned(), by)) {
        return false;
    }
    reaction.count = reaction.count.saturating_sub(1);
    if reaction.count == 0 {
        reactions.remove(index);
    }
    true
}

/// The fully qualified form of an emoji, so that `❤` and `❤️` are equal; `None` unless the text is exactly one emoji.
pub fn emoji(text: &str) -> Option<String> {
    emojis::get(text).map(|emoji| emoji.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_reactions_of_a_large_group_take_less_than_20_kilobytes() {
        let (mut reactions, mut unlisted) = (Vec::new(), UnlistedReactions::new());
        let message = ObjectId::new();
        for emoji in emojis::iter().take(MAX_REACTIONS) {
            for user in 1..=500 {
                let by = UserId(1_000_000_000 + user);
                assert!(add_reaction(message, &mut reactions, emoji.as_str(), by, &mut unlisted).unwrap());
                assert!(!add_reaction(message, &mut reactions, emoji.as_str(), by, &mut unlisted).unwrap());
            }
        }
        let stored = bson::serialize_to_vec(&bson::doc! {"r": bson::serialize_to_bson(&reactions).unwrap()}).unwrap();
        assert!(stored.len() < 20_000, "{} bytes", stored.len());
        assert!(reactions.iter().all(|reaction| reaction.count == 500 && reaction.user_ids.len() == MAX_LISTED));
        for user in 1..=500 {
            let by = UserId(1_000_000_000 + user);
            let emoji = reactions[0].emoji.clone();
            assert!(remove_reaction(message, &mut reactions, &emoji, by, &mut unlisted));
            assert!(!remove_reaction(message, &mut reactions, &emoji, by, &mut unlisted));
        }
        assert_eq!((reactions.len(), unlisted.len()), (MAX_REACTIONS - 1, (MAX_REACTIONS - 1) * (500 - MAX_LISTED)));
    }

    #[test]
    fn every_sequence_that_shows_one_emoji_is_one_emoji() {
        for one in ["👍", "👍🏽", "👨‍👩‍👧‍👦", "🇰🇷", "1️⃣", "🏴󠁧󠁢󠁳󠁣󠁴󠁿"]
        {
            assert_eq!(emoji(one).as_deref(), Some(one));
        }
        assert_eq!(emoji("❤"), emoji("❤️"));
        for none in ["", "a", "1", "👍👍", "가", ":+1:", "🇰", " 👍"] {
            assert_eq!(emoji(none), None, "{none}");
        }
    }
}
