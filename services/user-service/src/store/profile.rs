//! A profile as stored.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use common::events::user::UserProfileUpdated;
use common::id::UserId;

use crate::domain::{Edit, Names, ProfileEdit};

/// The columns of `users` that profiles show. Redis, not this row, decides whether the user is online.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Profile {
    pub id: UserId,
    pub username: String,
    pub display_name: Option<String>,
    pub status_message: Option<String>,
    pub profile_image_url: Option<String>,
    pub last_seen_at: Option<DateTime<Utc>>,
    pub is_active: bool,
    /// Only friends can bring the user into a group.
    pub refuse_stranger_groups: bool,
}

/// A profile, and whether its user is online.
#[derive(Clone, Debug)]
pub struct ProfileView {
    pub profile: Profile,
    pub is_online: bool,
}

impl Profile {
    /// The profile after an edit.
    pub(super) fn edited(mut self, edit: ProfileEdit) -> Self {
        fn set<T: Into<String>>(field: &mut Option<String>, edit: Option<Edit<T>>) {
            if let Some(edit) = edit {
                *field = edit.into_option().map(Into::into);
            }
        }
        set(&mut self.display_name, edit.display_name);
        set(&mut self.status_message, edit.status_message);
        set(&mut self.profile_image_url, edit.profile_image_url);
        self.refuse_stranger_groups = edit.refuse_stranger_groups.unwrap_or(self.refuse_stranger_groups);
        self
    }

    pub(super) fn names(&self) -> Names<'_> {
        Names { username: &self.username, display_name: self.display_name.as_deref() }
    }

    pub(super) fn event(&self) -> UserProfileUpdated {
        UserProfileUpdated {
            user_id: self.id,
            display_name: self.display_name.clone(),
            status_message: self.status_message.clone(),
        }
    }
}
