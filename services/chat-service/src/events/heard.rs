//! What chat-service hears: what other replicas write, who comes and goes, who blocks whom, what people are called,
//! and what is told on streams besides.

use common::clients::user::{UserClient, UserProfile};
use common::error::Result;
use common::events::Received;
use common::events::chat::{ChatRoomCreated, MemberAdded, MemberLeft};
use common::events::friend::{FriendRequestSent, UserBlocked, UserUnblocked};
use common::events::user::{UserOnlineStatusChanged, UserRegistered};
use common::kafka::live::Tail;

use crate::blocks::Blocks;
use crate::live::{Hub, Post, frame};
use crate::membership::Membership;

/// Those who take what is heard. Each replica hears everything: all of it is kept in memory.
#[derive(Clone)]
pub struct Ears {
    pub hub: Hub,
    pub post: Post,
    pub membership: Membership,
    pub blocks: Blocks,
    pub users: UserClient,
}

impl Ears {
    /// Listens as long as the tail lasts.
    pub async fn listen(self, mut tail: Tail) {
        while let Some(event) = tail.next().await {
            if let Err(e) = self.hear(&event).await {
                // What is missed costs a look at the store, or a question to user-service.
                tracing::warn!(error = %e, event_type = event.event_type, "unreadable event skipped");
            }
        }
    }

    async fn hear(&self, event: &Received) -> Result<()> {
        if event.is::<UserBlocked>() {
            let UserBlocked { user_id, blocked_user_id } = event.decode()?;
            self.blocks.tell(user_id, blocked_user_id, true, event.version);
        } else if event.is::<UserUnblocked>() {
            let UserUnblocked { user_id, blocked_user_id } = event.decode()?;
            self.blocks.tell(user_id, blocked_user_id, false, event.version);
        } else if event.is::<UserRegistered>() {
            self.users.learn(newcomer(event.decode()?)).await;
        } else if event.is::<UserOnlineStatusChanged>() {
            let change: UserOnlineStatusChanged = event.decode()?;
            self.post.tell_watchers(change.user_id, || frame::presence(&change, event.timestamp));
        } else if event.is::<FriendRequestSent>() {
            let sent: FriendRequestSent = event.decode()?;
            self.post.tell(sent.addressee_id, || frame::friend_request(&sent));
        } else if event.is::<ChatRoomCreated>() || event.is::<MemberAdded>() || event.is::<MemberLeft>() {
            self.membership.hint();
        } else {
            self.hub.hear(event)?;
        }
        Ok(())
    }
}

fn newcomer(registered: UserRegistered) -> UserProfile {
    UserProfile {
        id: registered.user_id,
        username: registered.username,
        display_name: Some(registered.display_name),
        status_message: None,
        profile_image_url: None,
        is_online: false,
        last_seen_at: None,
    }
}
