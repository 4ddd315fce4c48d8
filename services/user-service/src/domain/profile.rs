//! The fields of a profile and their edits.

use common::input::{Breach, Invalid};
use deserr::{Deserr, IntoValue, Value, ValuePointerRef};

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

/// A change of one optional field. In a request an empty or blank text means `Clear`.
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
}

impl Rule for DisplayName {
    const MIN: usize = 1;
    const MAX: usize = 100;

    fn parse(text: String) -> Result<Self, Breach> {
        if text.contains(char::is_control) {
            return Err(Breach("Display name must not contain control characters"));
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
        let host = text.strip_prefix("https://").and_then(|rest| rest.split(['/', '?', '#']).next());
        if host.is_none_or(str::is_empty) || text.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(Breach("Profile image URL must be a valid https URL"));
        }
        Ok(Self(text))
    }
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
            Value::String(text) if text.trim().is_empty() => Ok(Self::Clear),
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
    fn an_empty_or_blank_text_clears_the_field() {
        for blank in ["", "  ", "\t\n", "\u{3000}"] {
            assert_eq!(edit(json!(blank)).unwrap(), None);
        }
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

    proptest! {
        #[test]
        fn a_display_name_is_trimmed_short_and_free_of_control_characters(name in "(?s).{0,110}") {
            let trimmed = name.trim();
            let expected = (1..=100).contains(&trimmed.chars().count()) && !trimmed.chars().any(char::is_control);
            prop_assert_eq!(accepts::<DisplayName>(&name), expected);
        }

        #[test]
        fn a_status_message_is_limited_only_in_length(message in "(?s).{0,510}") {
            let expected = (1..=500).contains(&message.chars().count());
            prop_assert_eq!(accepts::<StatusMessage>(&message), expected);
        }
    }
}
