//! The settings of a member for a room.

use serde::{Deserialize, Serialize};

/// The settings of one member for one room. They concern nobody else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomSettings {
    /// Clients show the room apart. It changes no order and no count.
    pub pinned: bool,
    /// The room's unread messages are not part of the total.
    pub muted: bool,
}

/// One of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoomSetting {
    Pinned,
    Muted,
}
