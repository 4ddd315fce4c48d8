//! The changes that an allowed call makes in the model.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::act::Kind;
use crate::call::Call;
use crate::model::{
    Message, Model, Relation, Room, Secret, Session, State, Ticket, Upload, UploadState, User, text_of,
};
use crate::tokens::claims;

pub const EMOJI: &str = "👍";

impl Model {
    /// Applies a call that was answered with the expected status of success.
    pub fn apply(&mut self, call: &Call, answer: &Value) {
        use Kind::*;
        let me = call.by;
        match call.kind {
            FindRoom | OpenRoom | OpenGroup => self.open_room(call, answer),
            Send | Reply => self.send(call, answer),
            RequestUpload => {
                let Some(room) = call.room else { return };
                let (id, secret) = (answer["upload_id"].as_str().unwrap().to_owned(), call.secret);
                self.secrets.insert(secret, Secret::Private(me));
                self.uploads.push(Upload { id, owner: me, room, secret, state: UploadState::Pending });
            }
            CancelUpload => {
                if let Some(upload) = call.upload {
                    self.uploads[upload].state = UploadState::Cancelled;
                }
            }
            SendFile => {
                self.send(call, answer);
                self.send_file(call);
            }
            ReadRoom => self.read(me, |message| Some(message.room) == call.room),
            ReadMessage => {
                let id = call.message.map(|message| self.messages[message].id.clone());
                self.read(me, |message| Some(&message.id) == id.as_ref());
            }
            Edit | Delete | React | Unreact => self.change(call),
            AddMember => self.join(call),
            RemoveMember | Leave => self.leave(call),
            TakeTicket => {
                let text = answer["ticket"].as_str().unwrap().to_owned();
                if let Some(session) = self.live_session(me) {
                    self.tickets.push(Ticket { text, session, used: false });
                }
            }
            Request => {
                let Some(addressee) = call.user else { return };
                let (id, note) = (answer["id"].as_i64().unwrap(), text_of(call.secret));
                self.secrets.insert(call.secret, Secret::Note(me, addressee));
                self.relations.push(Relation { id, requester: me, addressee, note, state: State::Pending });
            }
            Accept => self.end_relation(me, call.user, State::Accepted),
            AcceptById => {
                if let Some(relation) = call.relation {
                    self.relations[relation].state = State::Accepted;
                }
            }
            Reject | Cancel | Unfriend => self.end_relation(me, call.user, State::Ended),
            Block => {
                self.end_relation(me, call.user, State::Ended);
                self.blocks.extend(call.user.map(|other| (me, other)));
            }
            Unblock => self.blocks.retain(|(by, other)| (*by, Some(*other)) != (me, call.user)),
            EditProfile => {
                self.people[me].status = text_of(call.secret);
                self.secrets.insert(call.secret, Secret::Status(me));
            }
            ChangePassword => {
                self.people[me].password = new_password(call.secret);
                self.secrets.insert(call.secret, Secret::Private(me));
                let current = self.live_session(me);
                self.end_sessions(|n, user| user == me && Some(n) != current);
            }
            LogIn => self.log_in(me, answer, call.secret),
            LogOut => {
                let current = self.live_session(me);
                self.end_sessions(|n, _| Some(n) == current);
            }
            EndSession => self.end_sessions(|n, _| Some(n) == call.session),
            Refresh => {
                if let Some(session) = call.session {
                    let text = |field: &str| answer[field].as_str().unwrap().to_owned();
                    let session = &mut self.sessions[session];
                    (session.access, session.refresh) = (text("access_token"), text("refresh_token"));
                }
            }
            Deactivate => {
                self.people[me].active = false;
                self.end_sessions(|_, user| user == me);
            }
            _ => {}
        }
    }

    /// Adds the session of a login from a device with the name of this secret.
    pub fn log_in(&mut self, user: User, answer: &Value, device: u64) {
        let text = |field: &str| answer[field].as_str().unwrap().to_owned();
        let (access, refresh) = (text("access_token"), text("refresh_token"));
        let sid = claims(&access)["sid"].as_str().unwrap().to_owned();
        self.secrets.insert(device, Secret::Private(user));
        self.sessions.push(Session { user, sid, access, refresh, live: true });
    }

    fn open_room(&mut self, call: &Call, answer: &Value) {
        let id = answer["id"].as_i64().unwrap();
        if self.rooms.iter().any(|room| room.id == id) {
            return;
        }
        let me = call.by;
        let members: BTreeSet<User> = call.invited.iter().copied().chain([me]).collect();
        let pair = (members.len() == 2).then(|| {
            let other = members.iter().copied().find(|user| *user != me).unwrap_or(me);
            (me.min(other), me.max(other))
        });
        let name = pair.is_none().then(|| text_of(call.secret));
        if name.is_some() {
            self.secrets.insert(call.secret, Secret::RoomName(self.rooms.len()));
        }
        let (ever_members, leavers) = (members.clone(), BTreeSet::new());
        self.rooms.push(Room { id, pair, creator: me, name, members, ever_members, leavers });
    }

    fn send(&mut self, call: &Call, answer: &Value) {
        let Some(room) = call.room else { return };
        let id = answer["id"].as_str().unwrap().to_owned();
        let secret = Secret::Text(self.messages.len(), self.rooms[room].members.clone());
        self.secrets.insert(call.secret, secret);
        let (content, author) = (text_of(call.secret), Some(call.by));
        let (reactions, read) = (BTreeSet::new(), BTreeSet::new());
        let has_file = call.kind == Kind::SendFile;
        self.messages.push(Message { id, room, author, content, deleted: false, reactions, read, has_file });
    }

    /// Gives the newest message its file.
    fn send_file(&mut self, call: &Call) {
        let (Some(room), Some(upload)) = (call.room, call.upload) else { return };
        let message = self.messages.len() - 1;
        let upload = &mut self.uploads[upload];
        upload.state = UploadState::Sent(message);
        self.secrets.insert(upload.secret, Secret::File(message, self.rooms[room].members.clone()));
    }

    /// A system message, which the model learns from a list.
    pub fn learn_system_message(&mut self, room: usize, id: &str) {
        if self.messages.iter().all(|message| message.id != id) {
            let (reactions, read) = (BTreeSet::new(), BTreeSet::new());
            let (id, content) = (id.to_owned(), String::new());
            let (author, deleted, has_file) = (None, false, false);
            self.messages.push(Message { id, room, author, content, deleted, reactions, read, has_file });
        }
    }

    fn read(&mut self, user: User, is_read: impl Fn(&Message) -> bool) {
        self.messages.iter_mut().filter(|message| is_read(message)).for_each(|message| _ = message.read.insert(user));
    }

    fn change(&mut self, call: &Call) {
        let Some(n) = call.message else { return };
        let message = &mut self.messages[n];
        match call.kind {
            Kind::Edit => {
                message.content = text_of(call.secret);
                let readers = self.rooms[message.room].members.clone();
                self.secrets.insert(call.secret, Secret::Text(n, readers));
            }
            Kind::Delete => message.deleted = true,
            Kind::React => _ = message.reactions.insert((EMOJI, call.by)),
            _ => _ = message.reactions.remove(&(EMOJI, call.by)),
        }
    }

    /// A new member sees the history, and nothing of it is unread.
    fn join(&mut self, call: &Call) {
        let (Some(n), Some(user)) = (call.room, call.user) else { return };
        let room = &mut self.rooms[n];
        room.ever_members.insert(user);
        if !room.members.insert(user) {
            return;
        }
        self.read(user, |message| message.room == n);
        for (secret, owner) in &mut self.secrets {
            let (message, readers, is_text) = match owner {
                Secret::Text(message, readers) => (&self.messages[*message], readers, true),
                Secret::File(message, readers) => (&self.messages[*message], readers, false),
                _ => continue,
            };
            let is_current = !is_text || message.content == text_of(*secret);
            if message.room == n && !message.deleted && is_current {
                readers.insert(user);
            }
        }
    }

    fn leave(&mut self, call: &Call) {
        let (Some(n), Some(user)) = (call.room, call.user) else { return };
        let room = &mut self.rooms[n];
        room.members.remove(&user);
        if user == call.by {
            room.leavers.insert(user);
        }
    }

    fn end_relation(&mut self, me: User, other: Option<User>, state: State) {
        let is_live = |relation: &&mut Relation| {
            relation.state != State::Ended && other.is_some_and(|other| relation.is_of(me, other))
        };
        if let Some(relation) = self.relations.iter_mut().find(is_live) {
            relation.state = state;
        }
    }

    fn end_sessions(&mut self, ends: impl Fn(usize, User) -> bool) {
        for (n, session) in self.sessions.iter_mut().enumerate() {
            if ends(n, session.user) {
                session.live = false;
            }
        }
    }
}

pub fn new_password(secret: u64) -> String {
    format!("{}!A1", text_of(secret))
}
