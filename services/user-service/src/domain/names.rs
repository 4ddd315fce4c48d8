//! How people are found by any part of a name.
//!
//! A part of a name is the beginning of one of its endings: "minj" is in "kim_minjun" because one ending is "minjun".
//! So all endings stand in an index, and a search is one range of it, however common or rare the part.

use std::collections::BTreeSet;

/// The longest part that can be asked for, and so the longest ending that is kept.
const MAX_PART_CHARS: usize = 50;

/// The names of one account, as far as others can search them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names<'a> {
    pub username: &'a str,
    pub display_name: Option<&'a str>,
}

impl Names<'_> {
    /// All endings, each once. All folded alike: upper and lower case are one.
    pub fn suffixes(&self) -> BTreeSet<Vec<u8>> {
        let names = [Some(self.username), self.display_name];
        names.into_iter().flatten().flat_map(suffixes).collect()
    }

    /// The names in one text, from which one sees whether an index is up to date.
    pub fn joined(&self) -> String {
        match self.display_name {
            Some(display_name) => format!("{}\n{display_name}", self.username),
            None => self.username.to_owned(),
        }
    }
}

/// A part of a name that is searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part(Vec<u8>);

impl Part {
    pub fn of(query: &str) -> Self {
        Self(bytes(&fold(query)))
    }

    /// The first ending that begins with the part, and the first after all that do: no UTF-8 has the byte 0xFF.
    pub fn range(&self) -> (Vec<u8>, Vec<u8>) {
        (self.0.clone(), [self.0.as_slice(), &[0xFF]].concat())
    }
}

fn suffixes(name: &str) -> Vec<Vec<u8>> {
    let folded = fold(name);
    (0..folded.len()).map(|start| bytes(&folded[start..])).collect()
}

/// Upper and then lower case: that also makes one of "ß" and "SS", and of the two forms of the Greek sigma.
fn fold(text: &str) -> Vec<char> {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

fn bytes(chars: &[char]) -> Vec<u8> {
    chars.iter().take(MAX_PART_CHARS).collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(query: &str, username: &str, display_name: Option<&str>) -> bool {
        let (from, to) = Part::of(query).range();
        Names { username, display_name }.suffixes().range(from..to).next().is_some()
    }

    #[test]
    fn any_part_of_either_name_finds() {
        for query in ["kim_minjun", "KIM", "minj", "n", "_", "김민준", "민준", "준"] {
            assert!(found(query, "kim_minjun", Some("김민준")), "{query}");
        }
        for query in ["kin", "jum", "민김", "김민준이", "%", "kim%", "minjunn"] {
            assert!(!found(query, "kim_minjun", Some("김민준")), "{query}");
        }
        assert!(found("100%", "bob_1", Some("100%_bob")) && found("%_b", "bob_1", Some("100%_bob")));
        assert!(!found("%_b", "bob_1", None));
    }

    #[test]
    fn case_is_folded_in_every_script() {
        assert!(found("STRASSE", "a", Some("Straße")) && found("ΟΔΟΣ", "a", Some("οδος")));
        assert!(found("ёлка", "a", Some("ЁЛКА")));
    }

    #[test]
    fn one_emoji_is_not_another() {
        assert!(found("🎧", "oh_yuna", Some("오유나 🎧")) && !found("🎉", "oh_yuna", Some("오유나 🎧")));
    }

    proptest! {
        #[test]
        fn exactly_the_substrings_are_found(query in "[abAB가나 %_]{1,4}", name in "[abAB가나 %_]{1,12}") {
            let expected = name.to_lowercase().contains(&query.to_lowercase());
            prop_assert_eq!(found(&query, &name, None), expected);
        }

        #[test]
        fn every_part_of_a_name_finds_it(name in "\\PC{1,100}", from in 0..100usize, length in 1..=50usize) {
            let part: String = name.chars().skip(from).take(length).collect();
            prop_assert!(part.is_empty() || found(&part, "xyz", Some(&name)));
        }
    }
}
