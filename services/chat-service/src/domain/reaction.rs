//! Reactions to a message: one entry per emoji, with its users.

use common::error::{Error, Result};
use common::id::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Limit on the different emoji of one message.
const MAX_REACTIONS: usize = 20;

/// The users who reacted with one emoji, in the order of their reactions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reaction {
    pub emoji: String,
    pub count: u64,
    pub user_ids: Vec<UserId>,
}

/// One emoji, added or removed by a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReactionChange {
    pub emoji: String,
    pub added: bool,
}

/// Adds a user's reaction. Returns false if it exists.
///
/// # Errors
/// Refuses a new emoji beyond [`MAX_REACTIONS`].
pub(super) fn add_reaction(reactions: &mut Vec<Reaction>, emoji: &str, by: UserId) -> Result<bool> {
    let different = reactions.len();
    match reactions.iter_mut().find(|reaction| reaction.emoji == emoji) {
        Some(reaction) if reaction.user_ids.contains(&by) => return Ok(false),
        Some(reaction) => {
            reaction.user_ids.push(by);
            reaction.count += 1;
        }
        None if different >= MAX_REACTIONS => {
            return Err(Error::business("A message has at most 20 different reactions"));
        }
        None => reactions.push(Reaction { emoji: emoji.to_owned(), count: 1, user_ids: vec![by] }),
    }
    Ok(true)
}

/// Removes a user's reaction. Returns false if it does not exist.
pub(super) fn remove_reaction(reactions: &mut Vec<Reaction>, emoji: &str, by: UserId) -> bool {
    let Some(index) = reactions.iter().position(|r| r.emoji == emoji && r.user_ids.contains(&by)) else {
        return false;
    };
    let reaction = &mut reactions[index];
    reaction.user_ids.retain(|user| *user != by);
    reaction.count -= 1;
    if reaction.user_ids.is_empty() {
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
