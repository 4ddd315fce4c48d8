//! Invalidation of cached profiles. Every replica has a cache of its own and receives every event.

use common::error::Result;
use common::events::user::{UserOnlineStatusChanged, UserProfileUpdated};
use engines::kafka::received::Received;
use engines::kafka::tail::Tail;
use service::clients::user::UserClient;

/// Consumes the topics until the tail ends. While Kafka is unavailable, cached profiles end by their lifetime alone.
pub(super) async fn refresh(users: UserClient, mut tail: Tail) {
    while let Some(event) = tail.next().await {
        if let Err(error) = apply(&users, &event).await {
            tracing::debug!(%error, event_type = event.event_type, "skipping an unreadable event");
        }
    }
}

async fn apply(users: &UserClient, event: &Received) -> Result<()> {
    if event.is::<UserProfileUpdated>() {
        // The event contains only a part of the profile, so the next list fetches the whole profile.
        let UserProfileUpdated { user_id, .. } = event.decode()?;
        users.invalidate(user_id).await;
    } else if event.is::<UserOnlineStatusChanged>() {
        let UserOnlineStatusChanged { user_id, is_online } = event.decode()?;
        if !is_online {
            users.set_last_seen(user_id, event.timestamp).await;
        }
    }
    Ok(())
}
