//! The rules for new passwords.

use std::fmt;

use common::input::Breach;
use unicode_normalization::UnicodeNormalization;

use super::rule::{Rule, input};

/// A password in NFC that satisfies the rules. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct NewPassword(String);
input!(NewPassword, "Passw0rd!");

impl NewPassword {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Rule for NewPassword {
    const MIN: usize = 8;
    const MAX: usize = 128;
    const TRIMMED: bool = false;

    fn parse(text: String) -> Result<Self, Breach> {
        let text: String = text.nfc().collect();
        if !(Self::MIN..=Self::MAX).contains(&text.chars().count()) {
            return Err(Breach("Password must have 8 to 128 characters"));
        }
        let special = |c: char| !c.is_alphanumeric() && !c.is_whitespace() && !c.is_control();
        if !text.contains(char::is_alphabetic) {
            return Err(Breach("Password must contain at least one letter"));
        }
        if !text.contains(char::is_numeric) {
            return Err(Breach("Password must contain at least one digit"));
        }
        if !text.contains(special) {
            return Err(Breach("Password must contain at least one special character"));
        }
        Ok(Self(text))
    }
}

impl fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rule::tests::accepts;
    use proptest::prelude::*;

    #[test]
    fn a_password_needs_a_letter_a_digit_and_a_special_character() {
        for password in ["Passw0rd!", "Test1234!@", "비밀번호일이삼사1!", &format!("a1!{}", "x".repeat(125))] {
            assert!(accepts::<NewPassword>(password), "{password}");
        }
        let long = format!("a1!{}", "x".repeat(126));
        for password in
            ["", "a1!aaaa", "password1", "password!", "12345678!", "e\u{301}e\u{301}e\u{301}1!", "passw0rd ", &long]
        {
            assert!(!accepts::<NewPassword>(password), "{password}");
        }
    }

    #[test]
    fn debug_does_not_print_the_password() {
        assert_eq!(format!("{:?}", NewPassword::parse("Passw0rd!".into()).unwrap()), "***");
    }

    proptest! {
        #[test]
        fn exactly_the_passwords_that_satisfy_the_rules_are_accepted(password in "\\PC{0,140}|[a-z0-9!]{0,20}") {
            let all: Vec<char> = password.nfc().collect();
            let has = |kind: fn(&char) -> bool| all.iter().any(kind);
            let expected = (8..=128).contains(&password.chars().count())
                && (8..=128).contains(&all.len())
                && has(|c| c.is_alphabetic())
                && has(|c| c.is_numeric())
                && has(|c| !c.is_alphanumeric() && !c.is_whitespace() && !c.is_control());
            prop_assert_eq!(accepts::<NewPassword>(&password), expected);
        }
    }
}
