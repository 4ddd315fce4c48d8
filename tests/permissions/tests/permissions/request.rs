//! The HTTP request of a call.

use reqwest::Method;
use serde_json::{Value, json};

use crate::act::Kind;
use crate::call::Call;
use crate::change::{EMOJI, new_password};
use crate::model::{Model, User, text_of};

/// The id of no room and no user.
const UNKNOWN_ID: i64 = 2_000_000_000;
/// The id of no message and no upload.
const UNKNOWN_MESSAGE: &str = "ffffffffffffffffffffffff";

pub struct HttpRequest {
    pub method: Method,
    pub path: String,
    pub body: Option<Value>,
    /// The header `Last-Event-ID`.
    pub last_event_id: Option<String>,
}

impl Call {
    /// The request. `prefix` begins the names of all users, and `last_event_id` is one of a stream of all rooms.
    pub fn request(&self, model: &Model, prefix: &str, last_event_id: Option<String>) -> HttpRequest {
        use Kind::*;
        let room = self.room.map_or(UNKNOWN_ID, |room| model.rooms[room].id);
        let user = self.user.map_or(UNKNOWN_ID, |user| model.people[user].id);
        let message = self.message.map_or(UNKNOWN_MESSAGE, |message| &model.messages[message].id);
        let upload = self.upload.map_or(UNKNOWN_MESSAGE, |upload| &model.uploads[upload].id);
        let me = &model.people[self.by];
        let all_ids: Vec<i64> = model.people.iter().map(|person| person.id).collect();
        let text = text_of(self.secret);
        let session = self.session.map(|session| &model.sessions[session]);
        match self.kind {
            FindRoom => get(format!("/chat-rooms/check/{}", self.invited_ids(model)[0])),
            OpenRoom => post("/chat-rooms", json!({"participant_ids": self.invited_ids(model)})),
            OpenGroup => post("/chat-rooms", json!({"participant_ids": self.invited_ids(model), "name": text})),
            ListRooms => get("/chat-rooms?limit=100"),
            ShowRoom => get(format!("/chat-rooms/{room}")),
            Send => post(format!("/messages/{room}"), json!({"content": text})),
            Reply => post("/messages", json!({"room_id": room, "content": text, "reply_to": message})),
            ListMessages => get(format!("/messages/{room}?limit=100")),
            ListBefore => get(format!("/messages/{room}?limit=100&before={message}")),
            CountUnread => get(format!("/messages/room/{room}/unread-count")),
            ReadRoom => post("/messages/read", json!({"room_id": room})),
            ReadMessage => post("/messages/read", json!({"room_id": room, "message_ids": [message]})),
            Edit => put(format!("/messages/{message}"), json!({"content": text})),
            Delete => delete(format!("/messages/{message}")),
            React => put(format!("/messages/{message}/reactions/{EMOJI}"), json!({})),
            Unreact => delete(format!("/messages/{message}/reactions/{EMOJI}")),
            Search => get("/messages/search?q=zq&limit=100"),
            SearchRoom => get(format!("/messages/search?q=zq&limit=100&room_id={room}")),
            AddMember => post(format!("/chat-rooms/{room}/members"), json!({"user_ids": [user]})),
            RemoveMember | Leave => delete(format!("/chat-rooms/{room}/members/{user}")),
            Typing => post(format!("/messages/{room}/typing"), json!({})),
            RequestUpload => {
                let file = json!({"file_name": text, "file_size": text.len(), "file_type": "text/plain"});
                post(format!("/messages/{room}/uploads"), file)
            }
            CompleteUpload => post(format!("/messages/{room}/uploads/{upload}/complete"), json!({"etags": ["a", "b"]})),
            CancelUpload => delete(format!("/messages/{room}/uploads/{upload}")),
            SendFile => {
                let file = json!({"message_type": "file", "upload_id": upload, "content": text});
                post(format!("/messages/{room}"), file)
            }
            Download => get(format!("/messages/{message}/file")),
            StreamRoom => get(format!("/messages/stream/{room}")),
            StreamHistory => get(format!("/messages/stream/{room}?last_event_id=0")),
            StreamAll => get("/messages/stream"),
            ResumeAll => HttpRequest { last_event_id, ..get("/messages/stream") },
            TakeTicket => post("/messages/stream/ticket", json!({})),
            UseTicket => {
                let ticket = self.ticket.map_or("unknown", |ticket| &model.tickets[ticket].text);
                get(format!("/messages/stream/{room}?ticket={ticket}"))
            }
            Request => post("/friends/request", json!({"user_id_2": user, "message": text})),
            Accept => put(format!("/friends/status/{user}"), json!({"action": "accept"})),
            AcceptById => {
                let id = self.relation.map_or(UNKNOWN_ID, |relation| model.relations[relation].id);
                post(format!("/friends/{id}/accept"), json!({}))
            }
            Reject => put(format!("/friends/status/{user}"), json!({"action": "reject"})),
            Cancel => delete(format!("/friends/request/{user}")),
            Unfriend => delete(format!("/friends/{user}")),
            Block => post(format!("/friends/block/{user}"), json!({})),
            Unblock => delete(format!("/friends/block/{user}")),
            ListFriends => get("/friends/list"),
            ListRequests => get("/friends/requests"),
            ListBlocked => get("/friends/blocked"),
            SearchPeople => get(format!("/friends/search?limit=50&query={prefix}")),
            ListAllBlocks => get("/friends/blocks"),
            OwnProfile => get("/profile/me"),
            EditProfile => put("/profile/me", json!({"status_message": text})),
            ShowProfile => get(format!("/users/{user}")),
            ShowUsers => {
                let ids: Vec<String> = all_ids.iter().map(i64::to_string).collect();
                get(format!("/users?user_ids={}", ids.join(",")))
            }
            BatchUsers => post("/users/batch", json!({"user_ids": all_ids})),
            UserExists => get(format!("/users/{user}/exists")),
            SearchUsers => get(format!("/users/search?limit=50&query={prefix}")),
            ChangePassword => {
                let new = new_password(self.secret);
                put("/auth/password", json!({"current_password": me.password, "new_password": new}))
            }
            WrongPassword => {
                let new = new_password(self.secret);
                put("/auth/password", json!({"current_password": "Wr0ng!!!", "new_password": new}))
            }
            LogIn => post("/auth/login/json", json!({"email": me.email, "password": me.password})),
            LogInWrong => post("/auth/login/json", json!({"email": me.email, "password": "Wr0ng!!!"})),
            LogOut => post("/auth/logout", json!({})),
            Refresh => {
                let token = session.map_or("unknown", |session| &session.refresh);
                post("/auth/refresh", json!({"refresh_token": token}))
            }
            ListSessions => get("/auth/sessions"),
            EndSession => {
                let sid = session.map_or("00000000-0000-0000-0000-000000000000", |session| &session.sid);
                delete(format!("/auth/sessions/{sid}"))
            }
            Deactivate => unreachable!("an operator deactivates accounts in the table"),
        }
    }

    fn invited_ids(&self, model: &Model) -> Vec<i64> {
        let known = self.invited.iter().map(|user: &User| model.people[*user].id);
        known.chain(self.unknown_invited.then_some(UNKNOWN_ID)).collect()
    }
}

fn request(method: Method, path: impl Into<String>, body: Option<Value>) -> HttpRequest {
    HttpRequest { method, path: path.into(), body, last_event_id: None }
}

fn get(path: impl Into<String>) -> HttpRequest {
    request(Method::GET, path, None)
}

fn delete(path: impl Into<String>) -> HttpRequest {
    request(Method::DELETE, path, None)
}

fn post(path: impl Into<String>, body: Value) -> HttpRequest {
    request(Method::POST, path, Some(body))
}

fn put(path: impl Into<String>, body: Value) -> HttpRequest {
    request(Method::PUT, path, Some(body))
}
