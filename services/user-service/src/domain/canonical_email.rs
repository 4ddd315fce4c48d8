//! The form in which e-mail addresses are compared.

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use unicode_normalization::UnicodeNormalization;

/// The length of the column. A longer form comes only from characters that NFKC expands many times.
const MAX_CHARS: usize = 512;

/// An e-mail address in one form for all spellings: NFKC and lower case, with the domain in ASCII (UTS 46).
///
/// It decides whether two spellings are one address: for uniqueness, the look-up at a login and rate limits. Dots, a
/// plus sign and accents distinguish addresses, because mail servers may treat them so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalEmail(String);

impl CanonicalEmail {
    /// The form of a spelling, or `None` if its domain is invalid, the form of its local part has an @-sign, or the form
    /// is too long.
    pub fn of(spelling: &str) -> Option<Self> {
        let (local, domain) = spelling.split_once('@')?;
        let domain =
            Uts46::new().to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::Allow, DnsLength::Verify).ok()?;
        // U+FE6B and U+FF20 fold to an @-sign, which would make another domain of the rest.
        let local = Some(fold(local)).filter(|local| !local.contains('@'))?;
        let canonical = format!("{local}@{domain}");
        (canonical.chars().count() <= MAX_CHARS).then_some(Self(canonical))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Folds compatibility forms and case. Letters lose their case one by one: the final sigma of a word is no other letter.
/// The second normalization composes an accent that only the lower-case letter composes with.
fn fold(text: &str) -> String {
    text.nfkc().flat_map(char::to_lowercase).nfkc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(spelling: &str) -> String {
        CanonicalEmail::of(spelling).unwrap().0
    }

    #[test]
    fn spellings_of_one_address_have_one_form() {
        for (spelling, form) in [
            ("ANN@Example.COM", "ann@example.com"),
            ("ａｎｎ@example.com", "ann@example.com"),
            ("ann@ｅｘａｍｐｌｅ.com", "ann@example.com"),
            ("ann@éxample.com", "ann@xn--xample-9ua.com"),
            ("ann@XN--xample-9UA.com", "ann@xn--xample-9ua.com"),
            ("ann@e\u{301}xample.com", "ann@xn--xample-9ua.com"),
            ("e\u{301}mile@example.com", "émile@example.com"),
            ("민준@예시.한국", "민준@xn--vv4b11d.xn--3e0b707e"),
            ("ΟΔΟΣ@example.com", "οδοσ@example.com"),
        ] {
            assert_eq!(canonical(spelling), form, "{spelling}");
        }
    }

    #[test]
    fn dots_plus_signs_and_accents_distinguish_addresses() {
        let forms = ["ann@a.io", "a.nn@a.io", "ann+x@a.io", "änn@a.io", "ańn@a.io", "ann@ä.io", "ınn@a.io", "aṅn@a.io"];
        let distinct: std::collections::HashSet<_> = forms.iter().map(|form| canonical(form)).collect();
        assert_eq!(distinct.len(), forms.len());
    }

    #[test]
    fn an_address_with_an_invalid_domain_has_no_form() {
        for spelling in [
            "ann",
            "ann@",
            "\u{fe6b}@a.io",
            "ann\u{ff20}b.io@a.io",
            "ann@xn--a.com",
            "ann@a..com",
            "ann@a_b.com",
            &format!("ann@{}.com", "a".repeat(64)),
        ] {
            assert_eq!(CanonicalEmail::of(spelling), None, "{spelling}");
        }
    }

    #[test]
    fn folding_any_single_character_twice_changes_nothing() {
        for c in '\0'..='\u{2FFFF}' {
            let once = fold(c.encode_utf8(&mut [0; 4]));
            assert_eq!(fold(&once), once, "{c:?}");
        }
    }

    proptest! {
        #[test]
        fn the_form_of_a_form_is_itself(spelling in "\\PC{1,20}@(\\PC{1,20}|[a-zA-Zé가ß０]{1,9}\\.[a-zA-Zé한]{1,9})") {
            if let Some(form) = CanonicalEmail::of(&spelling) {
                prop_assert_eq!(CanonicalEmail::of(form.as_str()), Some(form));
            }
        }

        #[test]
        fn case_and_width_make_no_difference(local in "[a-zA-Z0-9.+_é가-힣]{1,20}", domain in "[a-zA-Z0-9é가-힣]{1,20}\\.com") {
            let spelling = format!("{local}@{domain}");
            let wide: String = spelling.chars().map(|c| match c {
                'a'..='z' | 'A'..='Z' | '0'..='9' => char::from_u32(u32::from(c) + 0xFEE0).unwrap(),
                other => other,
            }).collect();
            prop_assert_eq!(CanonicalEmail::of(&wide), CanonicalEmail::of(&spelling));
            prop_assert_eq!(CanonicalEmail::of(&spelling.to_uppercase()), CanonicalEmail::of(&spelling));
        }
    }
}
