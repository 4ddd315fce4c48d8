//! The rules for new passwords.

use std::borrow::Cow;
use std::fmt;

use common::input::Breach;
use unicode_normalization::UnicodeNormalization;

use super::rule::{Rule, input};

/// A new password in NFC. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct NewPassword(String);
input!(NewPassword, "Ta11-tulips!");

/// The rule for new passwords besides their greatest length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordRule {
    /// The rule of the original: at least 8 characters, with a letter, a digit and a special character.
    Original,
    /// At least `min` characters of any kind.
    Length { min: usize },
}

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
        Ok(Self(text))
    }
}

impl PasswordRule {
    /// The message for a client whose password breaks the rule.
    pub fn breach(self, password: &NewPassword) -> Option<Cow<'static, str>> {
        let text = password.as_str();
        let special = |c: char| !c.is_alphanumeric() && !c.is_whitespace() && !c.is_control();
        match self {
            Self::Length { min } => (text.chars().count() < min)
                .then(|| format!("Password must have at least {min} characters; any characters are allowed").into()),
            Self::Original if !text.contains(char::is_alphabetic) => {
                Some("Password must contain at least one letter".into())
            }
            Self::Original if !text.contains(char::is_numeric) => {
                Some("Password must contain at least one digit".into())
            }
            Self::Original if !text.contains(special) => {
                Some("Password must contain at least one special character".into())
            }
            Self::Original => None,
        }
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

    fn accepted(rule: PasswordRule, password: &str) -> bool {
        accepts::<NewPassword>(password)
            && NewPassword::parse(password.to_owned()).is_ok_and(|password| rule.breach(&password).is_none())
    }

    #[test]
    fn a_password_needs_a_letter_a_digit_and_a_special_character() {
        for password in ["Passw0rd!", "Test1234!@", "비밀번호일이삼사1!", &format!("a1!{}", "x".repeat(125))] {
            assert!(accepted(PasswordRule::Original, password), "{password}");
        }
        let long = format!("a1!{}", "x".repeat(126));
        for password in
            ["", "a1!aaaa", "password1", "password!", "12345678!", "e\u{301}e\u{301}e\u{301}1!", "passw0rd ", &long]
        {
            assert!(!accepted(PasswordRule::Original, password), "{password}");
        }
    }

    #[test]
    fn the_rule_of_length_counts_characters_of_any_kind() {
        let rule = PasswordRule::Length { min: 15 };
        for password in ["three blue cars", "삼각형과 사각형 그리고 동그라미", &"x".repeat(128)] {
            assert!(accepted(rule, password), "{password}");
        }
        for password in ["Test1234!@", "fourteen chars", &"e\u{301}".repeat(14), &"x".repeat(129)] {
            assert!(!accepted(rule, password), "{password}");
        }
        let short = NewPassword::parse("Test1234!@".into()).unwrap();
        let message = "Password must have at least 15 characters; any characters are allowed";
        assert_eq!(rule.breach(&short).as_deref(), Some(message));
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
            prop_assert_eq!(accepted(PasswordRule::Original, &password), expected);
        }
    }
}
