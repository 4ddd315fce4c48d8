//! The public profile of a user.

use chrono::{DateTime, Utc};
use common::id::UserId;
use common::time;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The username in answers and events for a user whose profile is unavailable.
pub const UNKNOWN_USERNAME: &str = "Unknown";

/// A profile as user-service returns it. The original's answers lack the image, and their times have no zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = FoundUser, example = json!({
    "id": 4, "username": "choi_yuna", "display_name": "유나", "status_message": "회의 중",
    "profile_image_url": "https://example.com/yuna.png", "is_online": true, "last_seen_at": "2026-11-24T13:09:10.500Z"
}))]
pub struct UserProfile {
    /// The user.
    pub id: UserId,
    /// The unique name.
    pub username: String,
    /// The name to show.
    #[serde(default)]
    #[schema(required)]
    pub display_name: Option<String>,
    /// The status message.
    #[serde(default)]
    #[schema(required)]
    pub status_message: Option<String>,
    /// The URL of the image.
    #[serde(default)]
    #[schema(required)]
    pub profile_image_url: Option<String>,
    /// Whether the user is online.
    #[serde(default)]
    #[schema(required)]
    pub is_online: bool,
    /// The time of the last activity.
    #[serde(default, deserialize_with = "time::deserialize_optional")]
    #[schema(required)]
    pub last_seen_at: Option<DateTime<Utc>>,
    /// Only friends can bring the user into a group. Only services see it, and the original has no such setting.
    #[serde(default, skip_serializing)]
    #[schema(ignore)]
    pub refuse_stranger_groups: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_of_the_original_are_read() {
        let profile: UserProfile = serde_json::from_value(json!({
            "id": 3100, "username": "kang_dohyun", "display_name": null, "status_message": null,
            "is_online": false, "last_seen_at": "2026-11-24T13:09:10"
        }))
        .unwrap();
        assert_eq!(profile.last_seen_at, Some("2026-11-24T13:09:10Z".parse().unwrap()));
        assert_eq!(profile.profile_image_url, None);
    }

    #[test]
    fn answers_are_read_as_they_are_written() {
        let ours = json!({
            "id": 1, "username": "ann", "display_name": "Ann", "status_message": "hi", "profile_image_url": "https://x/y.png",
            "is_online": true, "last_seen_at": "2026-11-24T13:09:10.500Z"
        });
        let profile: UserProfile = serde_json::from_value(ours.clone()).unwrap();
        assert_eq!(serde_json::to_value(profile).unwrap(), ours);
    }
}
