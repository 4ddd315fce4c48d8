//! What this replica remembers of people, kept fresh: every replica hears every event.

use common::clients::user::UserClient;
use common::events::Received;
use common::events::user::{UserOnlineStatusChanged, UserProfileUpdated};
use common::kafka::live::Tail;

/// Follows the topics until the process ends. While Kafka is away, memory ages by its time to live alone.
pub(super) async fn refresh(users: UserClient, mut tail: Tail) {
    while let Some(event) = tail.next().await {
        if let Err(error) = take(&users, &event).await {
            tracing::debug!(%error, event_type = event.event_type, "event passed over");
        }
    }
}

async fn take(users: &UserClient, event: &Received) -> common::error::Result<()> {
    if event.is::<UserProfileUpdated>() {
        // The event does not tell all of the profile, so it is fetched anew when it is next shown.
        let UserProfileUpdated { user_id, .. } = event.decode()?;
        users.forget(user_id).await;
    } else if event.is::<UserOnlineStatusChanged>() {
        let UserOnlineStatusChanged { user_id, is_online } = event.decode()?;
        if !is_online {
            users.seen(user_id, event.timestamp).await;
        }
    }
    Ok(())
}
