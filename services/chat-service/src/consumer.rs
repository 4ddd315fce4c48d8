//! The consumer of Kafka events. Every replica receives all events, because each keeps its own state in memory.

use common::error::Result;
use common::events::chat::{ChatRoomCreated, MemberAdded, MemberLeft};
use common::events::friend::FriendRequestSent;
use common::events::user::{UserOnlineStatusChanged, UserProfileUpdated, UserRegistered};
use engines::kafka::received::Received;
use engines::kafka::tail::Tail;
use service::blocks::Blocks;
use service::clients::user::{UserClient, UserProfile};

use crate::live::{Hub, RecentEvents, Subscribers};
use crate::membership::Membership;
use crate::original::Original;
use crate::wire::frame;

/// Number of recent live events whose repeats are recognized. A producer repeats a record within seconds, an outbox a page of
/// records after a crash.
const RECENT_EVENTS: usize = 4_096;

/// The receivers of events.
pub struct EventConsumer {
    pub hub: Hub,
    pub original: Original,
    pub subscribers: Subscribers,
    pub membership: Membership,
    pub blocks: Blocks,
    pub users: UserClient,
}

impl EventConsumer {
    /// Consumes events until the tail ends.
    pub async fn run(self, mut tail: Tail) {
        let mut recent = RecentEvents::new(RECENT_EVENTS);
        while let Some(event) = tail.next().await {
            if let Err(e) = self.receive(&event, &mut recent).await {
                // Periodic reads of the stores and of user-service replace a lost event.
                tracing::warn!(error = %e, event_type = event.event_type, "skipping an unreadable event");
            }
        }
    }

    async fn receive(&self, event: &Received, recent: &mut RecentEvents) -> Result<()> {
        if self.blocks.receive(event)? {
            return Ok(());
        }
        if event.is::<UserRegistered>() {
            // A repeat would replace a newer profile.
            if recent.insert(event.event_id) {
                self.users.insert(profile_of(event.decode()?)).await;
            }
        } else if event.is::<UserProfileUpdated>() {
            // The event contains only a part of the profile, so the next look-up loads the whole profile.
            let UserProfileUpdated { user_id, .. } = event.decode()?;
            self.users.invalidate(user_id).await;
        } else if event.is::<UserOnlineStatusChanged>() {
            let change: UserOnlineStatusChanged = event.decode()?;
            if !recent.insert(event.event_id) {
                return Ok(());
            }
            // The blocker's presence is hidden from the blocked user, and everybody's until the blocks are known.
            let may_see = |watcher| !self.blocks.hides(change.user_id, watcher);
            self.subscribers.send_to_watchers(change.user_id, may_see, || frame::presence(&change, event.timestamp));
        } else if event.is::<FriendRequestSent>() {
            let sent: FriendRequestSent = event.decode()?;
            if recent.insert(event.event_id) {
                self.subscribers.send(sent.addressee_id, || frame::friend_request(&sent));
            }
        } else if event.is::<ChatRoomCreated>() || event.is::<MemberAdded>() || event.is::<MemberLeft>() {
            self.membership.wake();
        } else if let Some(room) = self.hub.receive(event)? {
            self.original.hint(room);
        }
        Ok(())
    }
}

fn profile_of(registered: UserRegistered) -> UserProfile {
    UserProfile {
        id: registered.user_id,
        username: registered.username,
        display_name: Some(registered.display_name),
        status_message: None,
        profile_image_url: None,
        is_online: false,
        last_seen_at: None,
        refuse_stranger_groups: false,
    }
}
