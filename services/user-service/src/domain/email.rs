//! E-mail addresses of accounts.

use common::input::Breach;

use super::CanonicalEmail;
use super::rule::{Rule, input};

/// The limit of RFC 5321 for the part before the @.
const MAX_LOCAL_BYTES: usize = 64;

/// A valid e-mail address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    spelling: String,
    canonical: CanonicalEmail,
}
input!(Email, "minjun@example.com");

impl Email {
    /// The address as given, with its domain in lower case, as the original stores it.
    pub fn spelling(&self) -> &str {
        &self.spelling
    }

    /// The form in which the address is compared with others.
    pub fn canonical(&self) -> &CanonicalEmail {
        &self.canonical
    }
}

impl Rule for Email {
    const MIN: usize = 1;
    const MAX: usize = 255;
    const TRIMMED: bool = false;

    fn parse(text: String) -> Result<Self, Breach> {
        // A line break is no slip of the keyboard: it would begin another header of a mail.
        let text = text.trim_matches(|c: char| c.is_whitespace() && !is_line_break(c));
        let Some((local, domain)) = text.split_once('@').filter(|(_, domain)| !domain.contains('@')) else {
            return Err(Breach("The email address is not valid. It must have exactly one @-sign."));
        };
        if !is_local(local) {
            return Err(Breach("The email address is not valid. The part before the @-sign is malformed."));
        }
        // Checked as it is stored: the lower case of "İ" has a mark that no domain may have.
        let domain = domain.to_lowercase();
        if !is_domain(&domain) {
            return Err(Breach("The email address is not valid. The part after the @-sign is malformed."));
        }
        let spelling = format!("{local}@{domain}");
        // Lower case can be longer than the input: "İ" becomes two characters.
        if spelling.chars().count() > Self::MAX {
            return Err(Breach("The email address is too long."));
        }
        let Some(canonical) = CanonicalEmail::of(&spelling) else {
            return Err(Breach("The email address is not valid. The part after the @-sign is not a domain name."));
        };
        Ok(Self { spelling, canonical })
    }
}

/// Whether Unicode demands a new line after the character (UAX 14: BK, CR, LF and NL).
fn is_line_break(c: char) -> bool {
    matches!(c, '\n'..='\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_local(local: &str) -> bool {
    local.len() <= MAX_LOCAL_BYTES && local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atom_text))
}

/// Whether RFC 5322 allows the character in an atom, or it is a letter or digit of another script.
fn is_atom_text(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) } else { c.is_alphanumeric() }
}

fn is_domain(domain: &str) -> bool {
    let labels: Vec<&str> = domain.split('.').collect();
    let top = labels.last().copied().unwrap_or_default();
    labels.len() >= 2 && labels.iter().all(|label| is_label(label)) && top.chars().any(char::is_alphabetic)
}

fn is_label(label: &str) -> bool {
    let letters = label.chars().all(|c| c == '-' || c.is_alphanumeric());
    letters && !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rule::tests::accepts;
    use proptest::prelude::*;

    #[test]
    fn valid_addresses_are_accepted() {
        for email in ["ann@example.com", "a.b+c@x-y.co.kr", "민준@예시.한국", "o'hara@a.io", " ann@example.com "]
        {
            assert!(accepts::<Email>(email), "{email}");
        }
    }

    #[test]
    fn malformed_addresses_are_rejected() {
        let long = format!("a@{}.com", "b.".repeat(130));
        for email in [
            "",
            "x",
            "@",
            "a@",
            "@b.c",
            "a@b",
            "a@@b.c",
            "a@b@c.d",
            "a b@c.d",
            "a@b c.d",
            ".a@b.c",
            "a.@b.c",
            "a..b@c.d",
            "a@.c",
            "a@b.",
            "a@-b.c",
            "a@b-.c",
            "a@127.0.0.1",
            "a@xn--a.com",
            "a\u{0}@b.c",
            "a@b.c\u{0}",
            "<a@b.c>",
            "a@b.c\n",
            "a@b.c\r\n",
            "\na@b.c",
            "a@b.c \n ",
            "a@b.c\u{2028}",
            "a@b.c\u{85}",
            &long,
        ] {
            assert!(!accepts::<Email>(email), "{email}");
        }
    }

    #[test]
    fn the_domain_becomes_lower_case() {
        assert_eq!(Email::parse("Ann@Example.COM".into()).unwrap().spelling(), "Ann@example.com");
    }

    proptest! {
        #[test]
        fn an_accepted_address_has_one_at_sign_a_dot_after_it_and_no_white_space(email in "\\PC{0,20}(@\\PC{0,20})?|\\w{1,9}@\\w{1,9}\\.\\w{1,9}") {
            if accepts::<Email>(&email) {
                let (local, domain) = email.trim().split_once('@').unwrap();
                prop_assert!(!local.is_empty() && domain.contains('.') && !domain.contains('@'));
                prop_assert!(!email.trim().chars().any(|c| c.is_whitespace() || c.is_control()));
            }
        }

        #[test]
        fn every_plain_address_is_accepted(email in "[a-z0-9]{1,20}(\\.[a-z0-9]{1,20})?@[a-z0-9]{1,20}\\.[a-z]{2,10}") {
            prop_assert!(accepts::<Email>(&email));
        }
    }
}
