//! Usernames.

use common::input::Breach;

use super::rule::{Rule, input};

/// A valid username. The unique key of the table compares usernames without regard to case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username(String);
input!(Username, "kim_minjun");

impl Username {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Rule for Username {
    const MIN: usize = 3;
    const MAX: usize = 50;
    const TRIMMED: bool = false;

    fn parse(text: String) -> Result<Self, Breach> {
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            return Err(Breach("Username may contain only letters, digits, '_' and '-'"));
        }
        if !text.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return Err(Breach("Username must begin with a letter or a digit"));
        }
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rule::tests::accepts;
    use proptest::prelude::*;

    #[test]
    fn a_username_consists_of_letters_digits_hyphens_and_underscores() {
        for name in ["kim_minjun", "seo-jin", "Ann", "007", "a-_"] {
            assert!(accepts::<Username>(name), "{name}");
        }
        for name in ["", "ab", "-ab", "_ab", "김민준", "a b", " ann", "ann\n", "a.b", "anné", &"a".repeat(51)] {
            assert!(!accepts::<Username>(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_other_text_is_rejected(name in "\\PC{0,60}|[a-zA-Z0-9_-]{0,60}") {
            let length = name.chars().count();
            let letters = name.chars().all(|c| matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-'));
            let first = name.chars().next().is_some_and(|c| c != '_' && c != '-');
            prop_assert_eq!(accepts::<Username>(&name), (3..=50).contains(&length) && letters && first);
        }
    }
}
