//! A person as user-service shows them to others.

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::ToSchema;

use crate::id::UserId;

/// The username that answers and events show for a user whose profile is not known.
pub const UNKNOWN_USERNAME: &str = "Unknown";

/// Read leniently: the original's answers lack the image and name no time zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UserProfile {
    pub id: UserId,
    pub username: String,
    #[serde(default)]
    pub display_name: Option<String>,
    #[serde(default)]
    pub status_message: Option<String>,
    #[serde(default)]
    pub profile_image_url: Option<String>,
    #[serde(default)]
    pub is_online: bool,
    #[serde(default, deserialize_with = "time")]
    pub last_seen_at: Option<DateTime<Utc>>,
}

/// A time without a zone means UTC.
fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DateTime<Utc>>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
    let zoned = DateTime::parse_from_rfc3339(&text).map(|time| time.to_utc());
    let time =
        zoned.or_else(|_| NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f").map(|time| time.and_utc()));
    time.map(Some).map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_originals_answers_are_read() {
        let profile: UserProfile = serde_json::from_value(json!({
            "id": 3100, "username": "kang_dohyun", "display_name": null, "status_message": null,
            "is_online": false, "last_seen_at": "2026-11-24T13:09:10"
        }))
        .unwrap();
        assert_eq!(profile.last_seen_at, Some("2026-11-24T13:09:10Z".parse().unwrap()));
        assert_eq!(profile.profile_image_url, None);
    }

    #[test]
    fn ours_are_read_as_they_are_written() {
        let ours = json!({
            "id": 1, "username": "ann", "display_name": "Ann", "status_message": "hi", "profile_image_url": "https://x/y.png",
            "is_online": true, "last_seen_at": "2026-11-24T13:09:10.500Z"
        });
        let profile: UserProfile = serde_json::from_value(ours.clone()).unwrap();
        assert_eq!(serde_json::to_value(profile).unwrap(), ours);
    }
}
