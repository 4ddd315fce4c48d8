//! The acts that are measured one by one: each is one request.

use clap::ValueEnum;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::http::{Failure, exchange};
use crate::target::Service;
use crate::world::{CONTENT, PAGE, Pair, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Act {
    Health,
    Profile,
    /// A new status message, which other services learn by an event.
    ChangeProfile,
    Search,
    Friends,
    Send,
    List50,
    Rooms,
    /// The number of unread messages of a room.
    UnreadCount,
    Login,
}

impl Act {
    pub fn name(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Profile => "profile",
            Self::ChangeProfile => "profile change",
            Self::Search => "search",
            Self::Friends => "friends",
            Self::Send => "send",
            Self::List50 => "list 50",
            Self::Rooms => "rooms",
            Self::UnreadCount => "unread count",
            Self::Login => "login",
        }
    }

    /// Performs the act of a given number, which chooses the accounts.
    pub async fn perform(self, world: &World, index: u64) -> Result<(), Failure> {
        exchange(self.request(world, index)).await.map(drop)
    }

    fn request(self, world: &World, index: u64) -> RequestBuilder {
        let (api, pair) = (&world.api, world.pair(index));
        match self {
            Self::Health => api.anonymous(Method::GET, Service::User, "/health"),
            Self::Profile => api.get(Service::User, "/profile/me", &pair.ann),
            // Another text each time, because an equal one changes nothing.
            Self::ChangeProfile => {
                let change = json!({"status_message": format!("status {index}")});
                api.put(Service::User, "/profile/me", &pair.ann, &change)
            }
            Self::Search => api.search_request(&pair.ann, &pair.bob.username),
            Self::Friends => api.get(Service::Friend, "/friends/list", &pair.ann),
            Self::Send => api.send_request(&pair.ann, pair.room, CONTENT),
            Self::List50 => {
                let Pair { ann, room, .. } = world.archive(index);
                api.list_request(ann, *room, PAGE)
            }
            Self::Rooms => api.get(Service::Chat, "/chat-rooms", &pair.ann),
            Self::UnreadCount => {
                api.get(Service::Chat, &format!("/messages/room/{}/unread-count", pair.room), &pair.ann)
            }
            Self::Login => match world.logins.get(index as usize % world.logins.len().max(1)) {
                Some(person) => api.login_request(person),
                None => api.login_request(&pair.ann),
            },
        }
    }
}
