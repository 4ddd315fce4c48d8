//! Names that look alike.

use common::text::fold;
use unicode_security::confusable_detection::skeleton;

/// The length of the column. The form of a valid username has at most 100 characters.
const MAX_CHARS: usize = 255;

/// The form of a name in which every character is replaced by the one that it looks like: the skeleton of UTS 39, with its
/// case folded, because usernames are compared without regard to case. Two names look alike as they are written if they have
/// one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skeleton(String);

impl Skeleton {
    /// The form of a name, or `None` if it is longer than any username's.
    pub fn of(name: &str) -> Option<Self> {
        let form = fold(&skeleton(name).collect::<String>());
        (form.chars().count() <= MAX_CHARS).then_some(Self(form))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The forms of a name as it is written and with its case folded. They differ where a capital letter looks like another one than
/// its small letter: `I` like `l`, `i` like `i`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skeletons {
    pub written: Skeleton,
    pub lower: Skeleton,
}

impl Skeletons {
    /// The forms of a name, or `None` if one is longer than any username's.
    pub fn of(name: &str) -> Option<Self> {
        Some(Self { written: Skeleton::of(name)?, lower: Skeleton::of(&fold(name))? })
    }

    /// Whether two names look alike, as they are written or in lower case.
    pub fn alike(&self, other: &Self) -> bool {
        self.written == other.written || self.lower == other.lower
    }

    /// Usernames, in any case, that look like the name in lower case. The column of forms does not have them where a
    /// username has capital letters. `rn` is the form of `m`.
    pub fn spellings(&self) -> [String; 2] {
        [self.lower.0.clone(), self.lower.0.replace("rn", "m")]
    }
}

/// Whether a display name that looks like a username imitates it.
///
/// The same text in another case does not: a user may be called Carol while the username `carol` is another user's. Neither
/// does a name of plain letters: while another user is `michae1`, Michael is the imitated name. A capital I after a small
/// letter is not plain, because it stands for an l.
pub fn imitates(display_name: &str, username: &str) -> bool {
    let letters = display_name.chars().all(|c| c.is_ascii_alphabetic() || c == ' ');
    let mut pairs = display_name.chars().zip(display_name.chars().skip(1));
    let plain = letters && !pairs.any(|(before, c)| before.is_ascii_lowercase() && c == 'I');
    !plain && fold(display_name) != fold(username)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Rule, Username};
    use proptest::prelude::*;

    fn alike(a: &str, b: &str) -> bool {
        Skeletons::of(a).unwrap().alike(&Skeletons::of(b).unwrap())
    }

    #[test]
    fn names_look_alike_in_similar_characters_of_any_script() {
        for (name, other) in [
            ("carol", "caro1"),
            ("carol", "CaroI"),
            ("carol", "CAR0L"),
            ("bob_1", "bob_l"),
            ("jim", "jirn"),
            ("paypal", "раyраl"),
            ("scope", "ѕсоре"),
            ("Isaac", "is\u{430}ac"),
            ("isaac", "Is\u{430}ac"),
            ("ISAAC", "is\u{430}ac"),
            ("JIM", "jirn"),
            ("jim", "JIRN"),
            ("carol", "ｃａｒｏｌ"),
            ("carol", "𝐜𝐚𝐫𝐨𝐥"),
        ] {
            assert!(alike(name, other), "{name} {other}");
        }
        for (name, other) in
            [("carol", "carol92"), ("ann", "anne"), ("kim_minjun", "kim-minjun"), ("ian", "lan"), ("user_2", "user_z")]
        {
            assert!(!alike(name, other), "{name} {other}");
        }
    }

    #[test]
    fn plain_letters_imitate_nobody() {
        for (display_name, username) in [("Michael", "michae1"), ("Ian", "lan"), ("IAN", "lan"), ("Carol", "carol")] {
            assert!(!imitates(display_name, username), "{display_name} {username}");
        }
        for (display_name, username) in [("paypa1", "paypal"), ("CaroI", "carol"), ("раураӏ", "paypal")] {
            assert!(imitates(display_name, username), "{display_name} {username}");
        }
    }

    #[test]
    fn the_form_of_a_name_that_expands_beyond_the_column_does_not_exist() {
        assert_eq!(Skeletons::of(&"\u{fdfa}".repeat(50)), None);
    }

    proptest! {
        #[test]
        fn a_valid_username_has_a_form(name in "[a-zA-Z0-9][a-zA-Z0-9_-]{2,49}") {
            prop_assert!(Username::parse(name.clone()).is_ok());
            prop_assert!(Skeleton::of(&name).is_some_and(|form| form.as_str().is_ascii() && form.as_str().len() <= 100));
        }
    }
}
