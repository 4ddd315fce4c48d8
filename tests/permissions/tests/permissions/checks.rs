//! The comparison of the services with the model, as users read them.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::act::{Kind, Service};
use crate::call::Call;
use crate::case::Case;
use crate::model::{Message, Relation, State, User, text_of};

/// The values of a field in a list.
fn ids(list: &Value, field: &str) -> BTreeSet<i64> {
    list.as_array().into_iter().flatten().filter_map(|item| item[field].as_i64()).collect()
}

fn texts<'v>(list: &'v Value, field: &str) -> BTreeSet<&'v str> {
    list.as_array().into_iter().flatten().filter_map(|item| item[field].as_str()).collect()
}

impl Case<'_> {
    /// An answer as the user's own client reads it.
    async fn read(&self, service: Service, user: User, path: &str) -> Result<Value, TestCaseError> {
        let answer = self.observer(service, user).get(path).await;
        prop_assert_eq!(answer.status, 200, "user {} reads {}: {}", user, path, answer.text);
        self.check_secrets(Some(user), &answer.body, None)?;
        Ok(answer.body)
    }

    fn id(&self, user: User) -> i64 {
        self.model.people[user].id
    }

    fn ids_of(&self, users: impl IntoIterator<Item = User>) -> BTreeSet<i64> {
        users.into_iter().map(|user| self.id(user)).collect()
    }

    /// Compares the answer to an allowed call, beyond its secrets.
    pub fn check_answer(&self, call: &Call, answer: &Value) -> Result<(), TestCaseError> {
        let me = call.by;
        match call.kind {
            Kind::ListRooms => self.compare_rooms(me, answer),
            Kind::Search | Kind::SearchRoom => {
                let only = call.room.filter(|_| call.kind == Kind::SearchRoom);
                let is_searched =
                    |n: &usize| self.model.rooms[*n].members.contains(&me) && only.is_none_or(|only| only == *n);
                let rooms = (0..self.model.rooms.len()).filter(is_searched);
                let expected = rooms.flat_map(|room| self.model.listed(room)).map(|message| &*message.id).collect();
                prop_assert_eq!(texts(&answer["messages"], "id"), expected);
                Ok(())
            }
            Kind::ShowProfile => self.compare_profile(me, call.user, answer),
            // A service reads whole profiles.
            Kind::ShowUsers | Kind::BatchUsers if call.credential == crate::act::Credential::Own => {
                for user in 0..self.model.people.len() {
                    let shown = answer.as_array().into_iter().flatten().find(|shown| shown["id"] == self.id(user));
                    self.compare_profile(me, Some(user), shown.unwrap_or(&Value::Null))?;
                }
                Ok(())
            }
            Kind::SearchUsers => {
                let hidden = |user: &User| self.model.blocks.contains(&(*user, me));
                self.compare_found(me, ids(&answer["users"], "id"), hidden)
            }
            Kind::SearchPeople => {
                let is_friend = |user: User| self.model.relation(me, user).is_some_and(|r| r.state == State::Accepted);
                let hidden = |user: &User| self.model.is_blocked(me, *user) || is_friend(*user);
                self.compare_found(me, ids(answer, "id"), hidden)
            }
            Kind::ListFriends => self.compare_friends(me, answer),
            Kind::ListRequests => self.compare_requests(me, answer),
            Kind::ListBlocked => self.compare_blocked(me, answer),
            Kind::ListSessions => self.compare_sessions(me, answer),
            Kind::OwnProfile => self.compare_own_profile(me, answer),
            Kind::Download => {
                let file = call.message.and_then(|message| self.model.file_of(message)).map(text_of);
                prop_assert_eq!(answer.as_str(), file.as_deref());
                Ok(())
            }
            Kind::CountUnread => {
                let unread = call.room.map_or(0, |room| self.model.unread(room, me));
                prop_assert_eq!(&answer["unread_count"], unread);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Compares the state that a call concerns, as one of its owners reads it. A refused call has not changed it.
    pub async fn check_affected(&mut self, call: &Call) -> Result<(), TestCaseError> {
        match call.kind {
            Kind::Send
            | Kind::SendFile
            | Kind::Reply
            | Kind::ReadRoom
            | Kind::ReadMessage
            | Kind::AddMember
            | Kind::RemoveMember
            | Kind::Leave
            | Kind::ShowRoom
            | Kind::ListMessages => self.check_room(call.room).await,
            Kind::Edit | Kind::Delete | Kind::React | Kind::Unreact => {
                self.check_room(call.message_room(&self.model)).await
            }
            Kind::Request
            | Kind::Accept
            | Kind::Reject
            | Kind::Cancel
            | Kind::Unfriend
            | Kind::Block
            | Kind::Unblock => {
                let active = call.user.filter(|user| self.model.people[*user].active);
                match active {
                    Some(user) => self.check_relations(user).await,
                    None => Ok(()),
                }
            }
            Kind::EndSession | Kind::LogOut | Kind::EditProfile | Kind::ChangePassword | Kind::Refresh => {
                let owner = call.session.filter(|_| matches!(call.kind, Kind::EndSession | Kind::Refresh));
                let user = owner.map_or(call.by, |session| self.model.sessions[session].user);
                if self.model.people[user].active { self.check_account(user).await } else { Ok(()) }
            }
            _ => Ok(()),
        }
    }

    /// Compares a room, as its first active member reads it. The model learns its system messages.
    async fn check_room(&mut self, room: Option<usize>) -> Result<(), TestCaseError> {
        let Some(n) = room else { return Ok(()) };
        let active = |user: &&User| self.model.people[**user].active;
        if let Some(user) = self.model.rooms[n].members.iter().find(active).copied() {
            for id in self.check_room_of(n, user).await? {
                self.model.learn_system_message(n, &id);
            }
        }
        Ok(())
    }

    /// Compares a room and its messages. Returns the ids of the system messages.
    async fn check_room_of(&self, n: usize, user: User) -> Result<Vec<String>, TestCaseError> {
        let room = &self.model.rooms[n];
        let shown = self.read(Service::Chat, user, &format!("/chat-rooms/{}", room.id)).await?;
        prop_assert_eq!(ids(&shown["participants"], "id"), self.ids_of(room.members.iter().copied()));
        prop_assert_eq!(shown["name"].as_str(), room.name.as_deref());
        prop_assert_eq!(&shown["unread_count"], self.model.unread(n, user));
        let page = self.read(Service::Chat, user, &format!("/messages/{}?limit=100", room.id)).await?;
        let shown = page["messages"].as_array().into_iter().flatten();
        let (system, shown): (Vec<&Value>, Vec<&Value>) =
            shown.partition(|message| message["message_type"] == "system");
        let shown: Vec<Value> = shown.into_iter().map(comparable).collect();
        let expected: Vec<Value> = self.model.listed(n).map(|message| self.message(message)).collect();
        prop_assert_eq!(shown, expected, "the messages of room {}", n);
        Ok(system.iter().filter_map(|message| message["id"].as_str()).map(str::to_owned).collect())
    }

    fn message(&self, message: &Message) -> Value {
        let reactions = self.ids_of(message.reactions.iter().map(|(_, user)| *user));
        let author = message.author.map(|author| self.id(author));
        json!({"id": message.id, "user_id": author, "content": message.content, "reactions": reactions})
    }

    /// Compares all rooms of a user.
    pub async fn check_rooms(&self, user: User) -> Result<(), TestCaseError> {
        let rooms = self.read(Service::Chat, user, "/chat-rooms?limit=100").await?;
        self.compare_rooms(user, &rooms)?;
        for n in (0..self.model.rooms.len()).filter(|n| self.model.rooms[*n].members.contains(&user)) {
            self.check_room_of(n, user).await?;
        }
        Ok(())
    }

    fn compare_rooms(&self, user: User, rooms: &Value) -> Result<(), TestCaseError> {
        let own = self.model.rooms.iter().filter(|room| room.members.contains(&user)).map(|room| room.id);
        let expected: BTreeSet<i64> = own.chain([self.witness.rooms[user]]).collect();
        prop_assert_eq!(ids(rooms, "id"), expected, "the rooms of user {}", user);
        Ok(())
    }

    /// Compares the friends, requests and blocks of a user.
    pub async fn check_relations(&self, user: User) -> Result<(), TestCaseError> {
        self.compare_friends(user, &self.read(Service::Friend, user, "/friends/list").await?)?;
        self.compare_requests(user, &self.read(Service::Friend, user, "/friends/requests").await?)?;
        self.compare_blocked(user, &self.read(Service::Friend, user, "/friends/blocked").await?)
    }

    fn compare_friends(&self, user: User, friends: &Value) -> Result<(), TestCaseError> {
        let accepted = self.model.relations.iter().filter(|relation| relation.state == State::Accepted);
        let own = accepted.filter_map(|relation| other_in(relation, user));
        prop_assert_eq!(ids(friends, "user_id"), self.ids_of(own), "the friends of user {}", user);
        Ok(())
    }

    fn compare_requests(&self, user: User, requests: &Value) -> Result<(), TestCaseError> {
        let pending = || self.model.relations.iter().filter(|relation| relation.state == State::Pending);
        let sent: BTreeSet<&str> = pending().filter(|r| r.requester == user).map(|r| &*r.note).collect();
        let received: BTreeSet<&str> = pending().filter(|r| r.addressee == user).map(|r| &*r.note).collect();
        prop_assert_eq!(texts(&requests["sent_requests"], "message"), sent, "requests of user {}", user);
        prop_assert_eq!(texts(&requests["received_requests"], "message"), received, "requests to user {}", user);
        Ok(())
    }

    fn compare_blocked(&self, user: User, blocked: &Value) -> Result<(), TestCaseError> {
        let own = self.model.blocks.iter().filter(|(by, _)| *by == user).map(|(_, other)| *other);
        prop_assert_eq!(ids(blocked, "user_id"), self.ids_of(own), "the blocks of user {}", user);
        Ok(())
    }

    /// Compares the profile and the sessions of a user.
    pub async fn check_account(&self, user: User) -> Result<(), TestCaseError> {
        self.compare_own_profile(user, &self.read(Service::User, user, "/profile/me").await?)?;
        self.compare_sessions(user, &self.read(Service::User, user, "/auth/sessions").await?)
    }

    fn compare_own_profile(&self, user: User, profile: &Value) -> Result<(), TestCaseError> {
        let person = &self.model.people[user];
        let shown = ["email", "username", "status_message"].map(|field| profile[field].as_str());
        prop_assert_eq!(shown, [&person.email, &person.username, &person.status].map(|text| Some(&**text)));
        Ok(())
    }

    fn compare_sessions(&self, user: User, sessions: &Value) -> Result<(), TestCaseError> {
        let live = self.model.sessions.iter().filter(|session| session.user == user && session.live);
        let live: BTreeSet<&str> = live.map(|session| &*session.sid).collect();
        prop_assert_eq!(texts(sessions, "sid"), live, "the sessions of user {}", user);
        Ok(())
    }

    /// Compares a profile as another user sees it.
    fn compare_profile(&self, viewer: User, user: Option<User>, shown: &Value) -> Result<(), TestCaseError> {
        let Some(user) = user else { return Ok(()) };
        let person = &self.model.people[user];
        prop_assert_eq!(shown["username"].as_str(), Some(&*person.username));
        if self.model.blocks.contains(&(user, viewer)) {
            let fields = ["status_message", "profile_image_url", "last_seen_at"];
            prop_assert!(fields.iter().all(|field| shown[field].is_null()), "a blocked user reads {}", shown);
            prop_assert_eq!(&shown["is_online"], false);
        } else {
            prop_assert_eq!(shown["status_message"].as_str(), Some(&*person.status));
        }
        Ok(())
    }

    /// Compares the users of this case that a search found. The witness is none of them.
    fn compare_found(
        &self,
        me: User,
        found: BTreeSet<i64>,
        hidden: impl Fn(&User) -> bool,
    ) -> Result<(), TestCaseError> {
        let all = || 0..self.model.people.len();
        let found: BTreeSet<i64> = &found & &self.ids_of(all());
        let shown = all().filter(|user| *user != me && self.model.people[*user].active && !hidden(user));
        prop_assert_eq!(found, self.ids_of(shown), "the search of user {}", me);
        Ok(())
    }
}

fn comparable(message: &Value) -> Value {
    let reactions = message["reactions"].as_array().into_iter().flatten();
    let users: BTreeSet<i64> =
        reactions.flat_map(|one| one["user_ids"].as_array()).flatten().filter_map(Value::as_i64).collect();
    json!({"id": message["id"], "user_id": message["user_id"], "content": message["content"], "reactions": users})
}

fn other_in(relation: &Relation, user: User) -> Option<User> {
    match (relation.requester, relation.addressee) {
        (a, b) if a == user => Some(b),
        (a, b) if b == user => Some(a),
        _ => None,
    }
}
