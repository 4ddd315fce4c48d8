//! The model: who exists, who is related to whom, who is in which room, and who may read which secret.

use std::collections::{BTreeMap, BTreeSet};

use crate::act::Credential;
use crate::call::Call;

/// A user, by the order of their ids.
pub type User = usize;

#[derive(Default)]
pub struct Model {
    pub people: Vec<Person>,
    pub sessions: Vec<Session>,
    pub relations: Vec<Relation>,
    /// The blocking and the blocked user.
    pub blocks: BTreeSet<(User, User)>,
    pub rooms: Vec<Room>,
    pub messages: Vec<Message>,
    pub uploads: Vec<Upload>,
    pub tickets: Vec<Ticket>,
    /// The unique texts of this case.
    pub secrets: BTreeMap<u64, Secret>,
}

pub struct Person {
    pub id: i64,
    pub username: String,
    pub email: String,
    pub password: String,
    pub status: String,
    pub active: bool,
    /// Only friends can bring the user into a group.
    pub refuses_strangers: bool,
}

pub struct Session {
    pub user: User,
    pub sid: String,
    pub access: String,
    pub refresh: String,
    pub live: bool,
}

/// A friendship or a request, also after its end.
pub struct Relation {
    pub id: i64,
    pub requester: User,
    pub addressee: User,
    pub note: String,
    pub state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Pending,
    Accepted,
    Ended,
}

pub struct Room {
    pub id: i64,
    /// None for a group.
    pub pair: Option<(User, User)>,
    pub creator: User,
    pub name: Option<String>,
    pub members: BTreeSet<User>,
    pub ever_members: BTreeSet<User>,
    /// Users who left by themselves. Nobody adds them again.
    pub leavers: BTreeSet<User>,
}

pub struct Message {
    pub id: String,
    pub room: usize,
    /// None for a system message.
    pub author: Option<User>,
    pub content: String,
    pub deleted: bool,
    /// The emoji and the user.
    pub reactions: BTreeSet<(&'static str, User)>,
    /// The users for whom it does not count as unread.
    pub read: BTreeSet<User>,
    pub has_file: bool,
}

/// A file that its owner has stored. Its name and its content are the text of a secret.
pub struct Upload {
    pub id: String,
    pub owner: User,
    pub room: usize,
    pub secret: u64,
    pub state: UploadState,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UploadState {
    Pending,
    Cancelled,
    /// The message that has the file.
    Sent(usize),
}

pub struct Ticket {
    pub text: String,
    pub session: usize,
    pub used: bool,
}

/// The owner of a unique text, who decides who may read it.
#[derive(Clone, Debug)]
pub enum Secret {
    /// An e-mail address, a password, the name of a device or a file that is not sent: for its user.
    Private(User),
    /// A status message: for all but those whom its user has blocked.
    Status(User),
    /// The text of a friend request: for the two users.
    Note(User, User),
    /// The name of a group: for its members.
    RoomName(usize),
    /// The content of a message: for the members, as long as it is the content. The users could read it at some time.
    Text(usize, BTreeSet<User>),
    /// A file of a message: for the members, until the message is deleted. The users could read it at some time.
    File(usize, BTreeSet<User>),
    /// Sent in a call that was refused: for nobody.
    Refused,
}

impl Model {
    pub fn is_blocked(&self, a: User, b: User) -> bool {
        self.blocks.contains(&(a, b)) || self.blocks.contains(&(b, a))
    }

    pub fn relation(&self, a: User, b: User) -> Option<&Relation> {
        self.relations.iter().find(|relation| relation.state != State::Ended && relation.is_of(a, b))
    }

    /// Whether a user may bring another into a group, as far as the other has a say.
    fn may_bring(&self, by: User, other: User) -> bool {
        let is_friend = self.relation(by, other).is_some_and(|relation| relation.state == State::Accepted);
        !self.is_blocked(by, other) && (is_friend || !self.people[other].refuses_strangers)
    }

    pub fn direct_room(&self, a: User, b: User) -> Option<usize> {
        self.rooms.iter().position(|room| room.pair == Some((a.min(b), a.max(b))))
    }

    pub fn live_session(&self, user: User) -> Option<usize> {
        self.sessions.iter().rposition(|session| session.user == user && session.live)
    }

    pub fn ended_session(&self, user: User) -> Option<usize> {
        self.sessions.iter().rposition(|session| session.user == user && !session.live)
    }

    /// The messages of a room that an answer lists, system messages excepted.
    pub fn listed(&self, room: usize) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(move |m| m.room == room && !m.deleted && m.author.is_some())
    }

    /// The secret of the file of a message.
    pub fn file_of(&self, message: usize) -> Option<u64> {
        let upload = self.uploads.iter().find(|upload| upload.state == UploadState::Sent(message))?;
        Some(upload.secret)
    }

    pub fn unread(&self, room: usize, user: User) -> usize {
        self.listed(room).filter(|message| message.author != Some(user) && !message.read.contains(&user)).count()
    }

    /// Whether an answer to this user may contain the text of a secret now. None is another service.
    pub fn may_read(&self, viewer: Option<User>, secret: u64) -> bool {
        let is = |user: &User| viewer == Some(*user);
        match self.secrets.get(&secret) {
            None | Some(Secret::Refused) => false,
            Some(Secret::Private(user)) => is(user),
            Some(Secret::Status(user)) => viewer.is_none_or(|viewer| !self.blocks.contains(&(*user, viewer))),
            Some(Secret::Note(a, b)) => is(a) || is(b),
            Some(Secret::RoomName(room)) => self.rooms[*room].members.iter().any(is),
            Some(Secret::Text(message, _)) => {
                let Message { room, content, deleted, .. } = &self.messages[*message];
                self.rooms[*room].members.iter().any(is) && !deleted && *content == text_of(secret)
            }
            Some(Secret::File(message, _)) => {
                let Message { room, deleted, .. } = &self.messages[*message];
                self.rooms[*room].members.iter().any(is) && !deleted
            }
        }
    }

    /// Whether a stream of this user may have received the text of a secret.
    pub fn may_have_received(&self, viewer: User, secret: u64) -> bool {
        match self.secrets.get(&secret) {
            Some(Secret::Text(_, readers) | Secret::File(_, readers)) => readers.contains(&viewer),
            _ => self.may_read(Some(viewer), secret),
        }
    }

    /// The status that answers a call. The services do not depend on it: it follows from the contract.
    pub fn expected(&self, call: &Call) -> u16 {
        use crate::act::Kind::*;
        if let Some(refused) = self.refused_credential(call) {
            return refused;
        }
        match call.kind {
            FindRoom | OpenRoom | OpenGroup => self.expected_room(call),
            ListRooms | Search | StreamAll | ResumeAll | TakeTicket => 200,
            ShowRoom | ListMessages | CountUnread | ReadRoom | SearchRoom | StreamRoom | StreamHistory => {
                self.of_member(call, || 200)
            }
            Send => self.of_member(call, || self.unless_blocked(call, || 201)),
            Typing => self.of_member(call, || self.unless_blocked(call, || 202)),
            RequestUpload => self.of_member(call, || self.unless_blocked(call, || 201)),
            CompleteUpload => self.of_member(call, || self.unless_blocked(call, || self.expected_upload(call, 204))),
            SendFile => self.of_member(call, || self.unless_blocked(call, || self.expected_upload(call, 201))),
            // It shows the other user nothing.
            CancelUpload => self.of_member(call, || self.expected_upload(call, 204)),
            Download => self.expected_download(call),
            Reply => {
                let same_room = || if call.message_room(self) == call.room { 201 } else { 400 };
                self.of_member(call, || self.unless_blocked(call, same_room))
            }
            ListBefore => self.of_member(call, || if call.message_room(self) == call.room { 200 } else { 404 }),
            ReadMessage => self.of_member(call, || {
                // An unknown message is skipped.
                if call.message.is_none() || call.message_room(self) == call.room { 200 } else { 400 }
            }),
            Edit | Delete | React | Unreact => self.expected_change(call),
            AddMember | RemoveMember | Leave => self.expected_members(call),
            UseTicket => self.expected_ticket(call),
            Request | Accept | AcceptById | Reject | Cancel | Unfriend | Block | Unblock => {
                self.expected_relation(call)
            }
            ListFriends | ListRequests | ListBlocked | SearchPeople => 200,
            ListAllBlocks => {
                if call.credential == Credential::Service {
                    200
                } else {
                    401
                }
            }
            OwnProfile | EditProfile | ShowUsers | BatchUsers | UserExists | SearchUsers | ListSessions => 200,
            ShowProfile => {
                if call.user.is_some() {
                    200
                } else {
                    404
                }
            }
            ChangePassword | LogOut | Deactivate => 200,
            WrongPassword => 400,
            LogIn => {
                if self.people[call.by].active {
                    200
                } else {
                    403
                }
            }
            LogInWrong => 401,
            Refresh => match call.session {
                Some(session) if self.sessions[session].live => 200,
                _ => 401,
            },
            EndSession => match call.session.map(|session| &self.sessions[session]) {
                Some(session) if session.user == call.by && session.live => 200,
                _ => 404,
            },
        }
    }

    fn refused_credential(&self, call: &Call) -> Option<u16> {
        use crate::act::Kind::{BatchUsers, ListAllBlocks, UserExists};
        if !call.kind.is_authenticated() {
            return None;
        }
        match call.credential {
            Credential::Own => (!self.people[call.by].active).then_some(401),
            Credential::Service => (!matches!(call.kind, BatchUsers | UserExists | ListAllBlocks)).then_some(401),
            _ => Some(401),
        }
    }

    fn of_member(&self, call: &Call, allowed: impl FnOnce() -> u16) -> u16 {
        match call.room.map(|room| &self.rooms[room]) {
            None => 404,
            Some(room) if !room.members.contains(&call.by) => 403,
            Some(_) => allowed(),
        }
    }

    fn unless_blocked(&self, call: &Call, allowed: impl FnOnce() -> u16) -> u16 {
        match call.room.and_then(|room| self.rooms[room].pair) {
            Some((a, b)) if self.is_blocked(a, b) => 403,
            _ => allowed(),
        }
    }

    fn expected_room(&self, call: &Call) -> u16 {
        let others: Vec<User> = call.invited.iter().copied().filter(|user| *user != call.by).collect();
        match (call.unknown_invited, &others[..]) {
            (false, []) => 422,
            (false, [other]) if self.direct_room(call.by, *other).is_some() => 200,
            (true, _) => 404,
            (false, [other]) if self.is_blocked(call.by, *other) => 403,
            (false, [_, _, ..]) if others.iter().any(|other| !self.may_bring(call.by, *other)) => 403,
            _ if call.kind == crate::act::Kind::FindRoom => 200,
            _ => 201,
        }
    }

    fn expected_change(&self, call: &Call) -> u16 {
        use crate::act::Kind::{Delete, Edit, Unreact};
        let Some(message) = call.message.map(|message| &self.messages[message]) else { return 404 };
        let in_room = Call { room: Some(message.room), ..call.clone() };
        let rule = || match message.author {
            None => 403,
            Some(author) if matches!(call.kind, Edit | Delete) && author != call.by => 403,
            Some(_) if message.deleted => 400,
            Some(_) => 200,
        };
        self.of_member(&in_room, || match call.kind {
            // They show the other user nothing new.
            Delete | Unreact => rule(),
            _ => self.unless_blocked(&in_room, rule),
        })
    }

    fn expected_upload(&self, call: &Call, allowed: u16) -> u16 {
        let Some(upload) = call.upload.map(|upload| &self.uploads[upload]) else { return 404 };
        let is_cancellation = call.kind == crate::act::Kind::CancelUpload;
        match upload.state {
            _ if upload.owner != call.by => 404,
            _ if Some(upload.room) != call.room => 400,
            UploadState::Pending => allowed,
            UploadState::Cancelled if is_cancellation => allowed,
            UploadState::Sent(message) if is_cancellation || !self.messages[message].deleted => 409,
            UploadState::Cancelled | UploadState::Sent(_) => 404,
        }
    }

    /// The client follows the redirect to the store.
    fn expected_download(&self, call: &Call) -> u16 {
        let Some(message) = call.message.map(|message| &self.messages[message]) else { return 404 };
        let has_file = message.has_file && !message.deleted;
        self.of_member(&Call { room: Some(message.room), ..call.clone() }, || if has_file { 200 } else { 404 })
    }

    fn expected_members(&self, call: &Call) -> u16 {
        use crate::act::Kind::AddMember;
        self.of_member(call, || {
            let Some(room) = call.room.map(|room| &self.rooms[room]) else { return 404 };
            let is_member = call.user.is_some_and(|user| room.members.contains(&user));
            match call.user {
                _ if room.pair.is_some() => 422,
                Some(user) if call.kind != AddMember && user == call.by => 200,
                _ if room.creator != call.by => 403,
                None => 404,
                Some(_) if call.kind != AddMember && !is_member => 404,
                Some(_) if is_member => 200,
                Some(user) if !self.may_bring(call.by, user) || room.leavers.contains(&user) => 403,
                Some(_) => 200,
            }
        })
    }

    fn expected_ticket(&self, call: &Call) -> u16 {
        let Some(ticket) = call.ticket.map(|ticket| &self.tickets[ticket]) else { return 401 };
        let session = &self.sessions[ticket.session];
        if ticket.used || !session.live || !self.people[session.user].active {
            return 401;
        }
        self.of_member(&Call { by: session.user, ..call.clone() }, || 200)
    }

    fn expected_relation(&self, call: &Call) -> u16 {
        use crate::act::Kind::*;
        if call.kind == AcceptById {
            let relation = call.relation.map(|relation| &self.relations[relation]);
            let is_own = relation.is_some_and(|r| r.state == State::Pending && r.addressee == call.by);
            return if is_own { 200 } else { 400 };
        }
        let Some(other) = call.user else {
            return match call.kind {
                Request | Block | Unfriend | Unblock => 404,
                _ => 400,
            };
        };
        let (me, relation) = (call.by, self.relation(call.by, other));
        let is_pending_from = |user| relation.is_some_and(|r| r.state == State::Pending && r.requester == user);
        match call.kind {
            Request | Block | Unblock if me == other => 400,
            Request if self.is_blocked(me, other) => 403,
            Request => {
                if relation.is_some() {
                    400
                } else {
                    201
                }
            }
            Accept | Reject => {
                if is_pending_from(other) && me != other {
                    200
                } else {
                    400
                }
            }
            Cancel => {
                if is_pending_from(me) && me != other {
                    200
                } else {
                    400
                }
            }
            Unfriend => {
                if relation.is_some_and(|r| r.state == State::Accepted) {
                    200
                } else {
                    404
                }
            }
            Unblock => {
                if self.blocks.contains(&(me, other)) {
                    200
                } else {
                    404
                }
            }
            _ => 200,
        }
    }
}

impl Relation {
    pub fn is_of(&self, a: User, b: User) -> bool {
        (self.requester, self.addressee) == (a, b) || (self.requester, self.addressee) == (b, a)
    }
}

/// The text of a secret, which no other text contains.
pub fn text_of(secret: u64) -> String {
    format!("zq{secret}qz")
}
