//! Times as the original writes them.

use chrono::{DateTime, NaiveDateTime, ParseResult, Utc};
use serde::{Deserialize, Deserializer, de};

/// Reads an RFC 3339 time. A time without a zone, as the original writes it, is UTC.
///
/// # Errors
/// Returns an error if the text is no such time.
pub fn parse(text: &str) -> ParseResult<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map(|time| time.and_utc())
}

/// Reads an optional time as [`parse`] does, for `#[serde(deserialize_with)]`.
///
/// # Errors
/// Returns an error if the value is neither null nor such a time.
pub fn deserialize_optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| parse(&text).map_err(de::Error::custom)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_a_zone_is_utc() {
        for text in ["2026-11-24T13:09:03.212848", "2026-11-24T13:09:03.212848Z", "2026-11-24T22:09:03.212848+09:00"] {
            assert_eq!(parse(text).unwrap().to_rfc3339(), "2026-11-24T13:09:03.212848+00:00", "{text}");
        }
        assert!(parse("yesterday").is_err());
    }
}
