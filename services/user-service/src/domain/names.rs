//! Substring search over names.
//!
//! Every substring of a name is a prefix of one of its suffixes: "minj" is in "kim_minjun" as "minjun" is a suffix. The
//! index contains all suffixes, so a search reads one range of it, however many accounts match.

use std::collections::BTreeSet;

use common::text::fold;

/// The version of the form in which names are indexed. Version 0 did not normalize; it has the same form of ASCII.
pub const INDEX_FORM: u8 = 1;

/// The maximum length of a search term, and therefore of an indexed suffix.
const MAX_TERM_CHARS: usize = 50;

/// The names under which an account is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names<'a> {
    pub username: &'a str,
    pub display_name: Option<&'a str>,
}

impl Names<'_> {
    /// The distinct suffixes of both names, case-folded, in UTF-8.
    pub fn suffixes(&self) -> BTreeSet<Vec<u8>> {
        let names = [Some(self.username), self.display_name];
        names.into_iter().flatten().flat_map(suffixes).collect()
    }

    /// Both names in one text. The index stores it, and a difference shows that the suffixes are out of date.
    pub fn joined(&self) -> String {
        match self.display_name {
            Some(display_name) => format!("{}\n{display_name}", self.username),
            None => self.username.to_owned(),
        }
    }
}

/// A case-folded text to search for in names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchTerm(Vec<u8>);

impl SearchTerm {
    pub fn of(query: &str) -> Self {
        Self(bytes(&fold(query).chars().collect::<Vec<_>>()))
    }

    /// The half-open range of the suffixes that begin with the term. UTF-8 never contains the byte 0xFF.
    pub fn range(&self) -> (Vec<u8>, Vec<u8>) {
        (self.0.clone(), [self.0.as_slice(), &[0xFF]].concat())
    }
}

fn suffixes(name: &str) -> Vec<Vec<u8>> {
    let folded: Vec<char> = fold(name).chars().collect();
    (0..folded.len()).map(|start| bytes(&folded[start..])).collect()
}

fn bytes(chars: &[char]) -> Vec<u8> {
    chars.iter().take(MAX_TERM_CHARS).collect::<String>().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(query: &str, username: &str, display_name: Option<&str>) -> bool {
        let (from, to) = SearchTerm::of(query).range();
        Names { username, display_name }.suffixes().range(from..to).next().is_some()
    }

    #[test]
    fn every_part_of_either_name_matches() {
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
        assert!(found("ёлка", "a", Some("ЁЛКА")) && found("istanbul", "a", Some("İstanbul")));
        assert!(found("한", "a", Some("\u{1112}\u{1161}\u{11ab}글")) && found("e\u{301}", "a", Some("É")));
    }

    #[test]
    fn different_emojis_do_not_match() {
        assert!(found("🎧", "oh_yuna", Some("오유나 🎧")) && !found("🎉", "oh_yuna", Some("오유나 🎧")));
    }

    proptest! {
        #[test]
        fn exactly_the_substrings_match(query in "[abAB가나 %_]{1,4}", name in "[abAB가나 %_]{1,12}") {
            let expected = name.to_lowercase().contains(&query.to_lowercase());
            prop_assert_eq!(found(&query, &name, None), expected);
        }

        #[test]
        fn every_part_of_any_name_matches(name in "\\PC{1,100}", from in 0..100usize, length in 1..=50usize) {
            // A part that begins with an accent is found only where the accent stands alone.
            let part: String = fold(&name).chars().skip(from).take(length).collect();
            prop_assert!(part.is_empty() || found(&part, "xyz", Some(&name)));
        }
    }
}
