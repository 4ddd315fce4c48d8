//! The fields of a profile and their edits.

use std::sync::LazyLock;

use common::input::{Breach, Invalid};
use common::text::is_blank;
use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use regex::Regex;
use url::Url;

use super::rule::{Rule, input};

/// The name that others see in place of the username.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisplayName(String);
input!(DisplayName, "김민준");

/// A free text that others see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusMessage(String);
input!(StatusMessage, "In a meeting");

/// The https URL of a profile image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageUrl(String);
input!(ImageUrl, "https://example.com/me.png");

/// A change of one optional field. In a request a text without a visible character means `Clear`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit<T> {
    Clear,
    Set(T),
}

/// The changes of a profile. A field without an edit keeps its value.
#[derive(Clone, Debug, Default)]
pub struct ProfileEdit {
    pub display_name: Option<Edit<DisplayName>>,
    pub status_message: Option<Edit<StatusMessage>>,
    pub profile_image_url: Option<Edit<ImageUrl>>,
    pub refuse_stranger_groups: Option<bool>,
}

impl Rule for DisplayName {
    const MIN: usize = 1;
    const MAX: usize = 100;

    fn parse(text: String) -> Result<Self, Breach> {
        if text.contains(char::is_control) {
            return Err(Breach("Display name must not contain control characters"));
        }
        if has_invisible(&text) {
            return Err(Breach(
                "Display name must not contain invisible characters or change the direction of the text",
            ));
        }
        if MIXED_WORD.is_match(&text) {
            return Err(Breach("Display name must not mix Latin, Greek and Cyrillic letters in one word"));
        }
        Ok(Self(text))
    }
}

impl Rule for StatusMessage {
    const MIN: usize = 1;
    const MAX: usize = 500;
    const TRIMMED: bool = false;

    fn parse(text: String) -> Result<Self, Breach> {
        Ok(Self(text))
    }
}

impl Rule for ImageUrl {
    const MIN: usize = 1;
    const MAX: usize = 500;

    fn parse(text: String) -> Result<Self, Breach> {
        let forbidden = |c: char| c.is_control() || c.is_whitespace() || "\"'<>`\\".contains(c);
        // A browser also takes `https:host` and `https:///host`, which a reader does not.
        let is_plain = text.strip_prefix("https://").is_some_and(|rest| !rest.starts_with('/'));
        let url = Url::parse(&text).ok().filter(|url| {
            let has_credentials = !url.username().is_empty() || url.password().is_some();
            is_plain && url.has_host() && !has_credentials && !text.contains(forbidden)
        });
        let url = url.ok_or(Breach("Profile image URL must be a valid https URL"))?;
        // The form that browsers send is longer: it encodes characters beyond ASCII.
        if url.as_str().len() > Self::MAX {
            return Err(Breach("Profile image URL is too long"));
        }
        Ok(Self(url.into()))
    }
}

/// Texts in which an invisible character has a visible effect: sequences of emojis, the flags of regions, variants of
/// Han characters, and joiners in scripts that need them (Persian and the scripts of India).
static VISIBLE_SEQUENCES: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"(?:\p{Extended_Pictographic}(?:\p{Emoji_Modifier}|\x{FE0F})?\x{200D})+",
        r"\p{Extended_Pictographic}(?:\p{Emoji_Modifier}|[\x{FE0E}\x{FE0F}])?",
        r"|\x{1F3F4}[\x{E0030}-\x{E007A}]{2,6}\x{E007F}",
        r"|[\p{Extended_Pictographic}#*0-9][\x{FE0E}\x{FE0F}]",
        r"|\p{Han}[\x{FE00}-\x{FE02}\x{E0100}-\x{E01EF}]",
        r"|[\p{Arabic}&&\p{L}]\x{200C}",
        r"|[\x{94D}\x{9CD}\x{A4D}\x{ACD}\x{B4D}\x{BCD}\x{C4D}\x{CCD}\x{D4D}\x{DCA}][\x{200C}\x{200D}]",
    ))
});

/// Characters without a glyph (zero-width characters, fillers, tags, controls, ends of lines and paragraphs) and those that change
/// the direction of the text.
static INVISIBLE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"[\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\p{Cc}\p{Zl}\p{Zp}",
        // The blank of Braille, annotations between lines, a note without a head, and the layout of hieroglyphs.
        r"\x{2800}\x{FFF9}-\x{FFFB}\x{1D159}\x{13430}-\x{1343F}]",
    ))
});

/// A word with letters of two scripts whose letters look alike. Korean and Japanese names mix other scripts.
static MIXED_WORD: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"\p{Latin}[\p{L}\p{M}\p{N}]*[\p{Cyrillic}\p{Greek}]",
        r"|\p{Cyrillic}[\p{L}\p{M}\p{N}]*[\p{Latin}\p{Greek}]",
        r"|\p{Greek}[\p{L}\p{M}\p{N}]*[\p{Latin}\p{Cyrillic}]",
    ))
});

#[expect(clippy::expect_used, reason = "the patterns are constants, and a test compiles each")]
fn pattern(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is valid")
}

fn has_invisible(text: &str) -> bool {
    INVISIBLE.is_match(text) && INVISIBLE.is_match(&VISIBLE_SEQUENCES.replace_all(text, ""))
}

impl<T> Edit<T> {
    /// The value of the field after the edit.
    pub fn into_option(self) -> Option<T> {
        match self {
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl From<DisplayName> for String {
    fn from(name: DisplayName) -> Self {
        name.0
    }
}

impl From<StatusMessage> for String {
    fn from(message: StatusMessage) -> Self {
        message.0
    }
}

impl From<ImageUrl> for String {
    fn from(url: ImageUrl) -> Self {
        url.0
    }
}

impl<T: Deserr<Invalid>> Deserr<Invalid> for Edit<T> {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, at: ValuePointerRef) -> Result<Self, Invalid> {
        match value {
            Value::String(text) if is_blank(&text) && !text.contains('\0') => Ok(Self::Clear),
            other => T::deserialize_from_value(other, at).map(Self::Set),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rule::tests::accepts;
    use proptest::prelude::*;
    use serde_json::json;

    fn edit(value: serde_json::Value) -> Result<Option<String>, Invalid> {
        deserr::deserialize::<Edit<DisplayName>, _, Invalid>(value).map(|edit| edit.into_option().map(String::from))
    }

    #[test]
    fn a_text_that_shows_nothing_clears_the_field() {
        for blank in
            ["", "  ", "\t\n", "\u{3000}", "\u{200b}", "\u{feff}", "\u{2060}", "\u{2800}", "\u{3164}", "\u{ad}"]
        {
            assert_eq!(edit(json!(blank)).unwrap(), None, "{blank:?}");
        }
        assert!(edit(json!("\u{0}")).is_err() && edit(json!("a\u{0}")).is_err());
        assert_eq!(edit(json!("  김민준 ")).unwrap().as_deref(), Some("김민준"));
        assert!(edit(json!(5)).is_err());
    }

    #[test]
    fn an_image_url_must_use_https() {
        assert!(accepts::<ImageUrl>("https://example.com/a.png?x=1#y"));
        for url in ["http://a.b/c", "https://", "https:///c", "javascript:alert(1)", "https://a b", "ftp://a"] {
            assert!(!accepts::<ImageUrl>(url), "{url}");
        }
        assert!(!accepts::<ImageUrl>(&format!("https://{}", "a".repeat(493))));
    }

    #[test]
    fn an_image_url_cannot_leave_an_attribute_and_is_stored_as_browsers_send_it() {
        let bad =
            ["https://\"><script>", "https://a.io/'x", "https://a.io/<b>", "https://me:pw@a.io/", "https://me@a.io/"];
        for url in [&bad[..], &["https:a.io", "https://a.io\\b", "https://a.io/`"]].concat() {
            assert!(!accepts::<ImageUrl>(url), "{url}");
        }
        let stored = |url: &str| String::from(ImageUrl::parse(url.into()).unwrap());
        assert_eq!(stored("https://A.io/\u{ac00}.png"), "https://a.io/%EA%B0%80.png");
    }

    #[test]
    fn a_display_name_with_invisible_or_reversing_characters_is_rejected() {
        for name in ["a\u{200b}nn", "ann\u{feff}n", "\u{202e}nna", "a\u{2066}b", "a\u{ad}nn", "\u{3164}", "a\u{200d}nn"]
            .into_iter()
            .chain(["a\u{2800}b", "a\u{2028}b", "a\u{fff9}b", "a\u{1d159}b", "a\nb", "a\u{7f}b"])
        {
            assert!(!accepts::<DisplayName>(name), "{name:?}");
        }
        for name in [
            "\u{1F469}\u{200D}\u{1F4BB}",
            "\u{1F469}\u{1F3FD}\u{200D}\u{2764}\u{FE0F}\u{200D}\u{1F468}",
            "\u{2764}\u{FE0F}",
            "1\u{FE0F}\u{20E3}",
        ] {
            assert!(accepts::<DisplayName>(name), "{name:?}");
        }
        for name in [
            "\u{1F3F4}\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}",
            "김민준",
            "김Minjun",
            "田中さん",
            "علی\u{200c}رضا",
        ] {
            assert!(accepts::<DisplayName>(name), "{name:?}");
        }
    }

    #[test]
    fn a_word_that_mixes_scripts_which_look_alike_is_rejected() {
        for name in ["\u{430}nn", "p\u{430}ypal", "\u{3b1}nn", "Kim \u{43e}leg"] {
            assert!(!accepts::<DisplayName>(name), "{name:?}");
        }
        for name in ["Олег Lee", "Ελλη", "김Kim金の", "Zoë"] {
            assert!(accepts::<DisplayName>(name), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn a_display_name_is_trimmed_short_and_free_of_control_characters(name in "(?s).{0,110}") {
            let trimmed = name.trim();
            let expected = (1..=100).contains(&trimmed.chars().count()) && !trimmed.chars().any(char::is_control);
            let is_plain = !has_invisible(trimmed) && !MIXED_WORD.is_match(trimmed);
            prop_assert_eq!(accepts::<DisplayName>(&name), expected && is_plain);
        }

        #[test]
        fn a_status_message_is_short_and_free_of_null_characters(message in "(?s).{0,510}") {
            let expected = (1..=500).contains(&message.chars().count());
            prop_assert_eq!(accepts::<StatusMessage>(&message), expected && !message.contains('\0'));
        }
    }
}
