//! A call: an act whose numbers have become users, rooms and messages of the model.

use crate::act::{Credential, Kind, Step};
use crate::model::{Model, Room, State, Upload, UploadState, User};

/// A call. A target of `None` has an id that does not exist.
#[derive(Clone)]
pub struct Call {
    pub kind: Kind,
    pub by: User,
    pub credential: Credential,
    pub room: Option<usize>,
    pub message: Option<usize>,
    pub upload: Option<usize>,
    pub user: Option<User>,
    /// The users of a new room.
    pub invited: Vec<User>,
    /// Whether a user who does not exist is invited as well.
    pub unknown_invited: bool,
    pub session: Option<usize>,
    pub relation: Option<usize>,
    pub ticket: Option<usize>,
    /// The number among the streams of all users from which the last event id is taken.
    pub stream: usize,
    /// The number of the unique text that the call sends.
    pub secret: u64,
}

const NAMES: [&str; 5] = ["ann", "bob", "cho", "dan", "eve"];

/// From this number on, a target does not exist.
const UNKNOWN: u8 = 246;

fn pick(number: u8, len: usize) -> Option<usize> {
    (number < UNKNOWN).then(|| usize::from(number).checked_rem(len)).flatten()
}

/// The nth of these.
fn nth<T>(number: u8, of: impl Iterator<Item = T>) -> Option<T> {
    let mut all: Vec<T> = of.collect();
    let n = usize::from(number).checked_rem(all.len())?;
    Some(all.swap_remove(n))
}

impl Call {
    pub fn of(step: &Step, model: &Model, secret: u64) -> Self {
        let people = model.people.len();
        let target = step.target;
        let mut call = Self {
            kind: step.kind,
            by: usize::from(step.by) % people,
            credential: step.credential,
            room: pick(target, model.rooms.len()),
            message: pick(target, model.messages.len()),
            upload: pick(target, model.uploads.len()),
            user: pick(target, people),
            invited: Vec::new(),
            unknown_invited: false,
            session: pick(target, model.sessions.len()),
            relation: pick(target, model.relations.len()),
            ticket: pick(target, model.tickets.len()),
            stream: usize::from(target),
            secret,
        };
        call.choose_targets(step, model);
        if step.rightful {
            call.choose_caller(step, model);
        } else if step.other.is_multiple_of(2) {
            call.choose_near_miss(step, model);
        }
        if call.credential == Credential::Ended {
            let ended = model.sessions.iter().filter(|session| !session.live).map(|session| session.user);
            call.by = nth(step.by, ended).unwrap_or(call.by);
        }
        if call.kind == Kind::Leave {
            call.user = Some(call.by);
        }
        call
    }

    /// The targets that are not simply the nth one.
    fn choose_targets(&mut self, step: &Step, model: &Model) {
        match self.kind {
            Kind::FindRoom | Kind::OpenRoom => {
                self.invited = self.user.into_iter().collect();
                self.unknown_invited = self.user.is_none();
            }
            Kind::OpenGroup => {
                self.invited = (0..model.people.len()).filter(|user| step.target >> user & 1 == 1).collect();
                self.unknown_invited = step.target >= UNKNOWN;
            }
            Kind::AddMember | Kind::RemoveMember => {
                self.user = (step.other != 59).then(|| usize::from(step.other) % model.people.len());
                if step.rightful {
                    let groups = (0..model.rooms.len()).filter(|room| model.rooms[*room].pair.is_none());
                    self.room = nth(step.target, groups);
                }
            }
            Kind::Leave if step.rightful => {
                self.room = nth(step.target, (0..model.rooms.len()).filter(|room| model.rooms[*room].pair.is_none()));
            }
            Kind::Reply | Kind::ListBefore | Kind::ReadMessage => {
                self.message = pick(step.other.wrapping_mul(4), model.messages.len());
                if step.rightful {
                    let of_user = |message: &usize| model.messages[*message].author.is_some();
                    self.message = nth(step.other, (0..model.messages.len()).filter(of_user));
                    self.room = self.message_room(model).or(self.room);
                }
            }
            Kind::CompleteUpload | Kind::CancelUpload | Kind::SendFile => {
                self.room = pick(step.other.wrapping_mul(4), model.rooms.len());
                if step.rightful {
                    let pending = |n: &usize| {
                        let Upload { owner, room, state, .. } = &model.uploads[*n];
                        *state == UploadState::Pending && model.rooms[*room].members.contains(owner)
                    };
                    self.upload = nth(step.target, (0..model.uploads.len()).filter(pending)).or(self.upload);
                }
                // Another caller or the owner of an upload that is no longer pending is refused there as well.
                if step.rightful || step.other.is_multiple_of(2) {
                    self.room = self.upload.map(|upload| model.uploads[upload].room).or(self.room);
                }
            }
            Kind::Download if step.rightful => {
                let has_file = |n: &usize| model.messages[*n].has_file;
                self.message = nth(step.target, (0..model.messages.len()).filter(has_file)).or(self.message);
            }
            Kind::UseTicket => self.room = pick(step.other.wrapping_mul(4), model.rooms.len()),
            _ => {}
        }
    }

    /// A caller who may do it as far as the target is concerned.
    fn choose_caller(&mut self, step: &Step, model: &Model) {
        if self.kind == Kind::ListAllBlocks {
            self.credential = Credential::Service;
        }
        let room = self.room.map(|room| &model.rooms[room]);
        let member = |room: &Room| nth(step.by, room.members.iter().copied());
        let pair = match self.kind {
            Kind::Accept | Kind::Reject => {
                let pending = model.relations.iter().filter(|relation| relation.state == State::Pending);
                nth(step.target, pending).map(|relation| (relation.addressee, relation.requester))
            }
            Kind::Cancel => {
                let pending = model.relations.iter().filter(|relation| relation.state == State::Pending);
                nth(step.target, pending).map(|relation| (relation.requester, relation.addressee))
            }
            Kind::Unfriend => {
                let accepted = model.relations.iter().filter(|relation| relation.state == State::Accepted);
                nth(step.target, accepted).map(|relation| (relation.requester, relation.addressee))
            }
            Kind::Unblock => nth(step.target, model.blocks.iter().copied()),
            _ => None,
        };
        if let Some((by, other)) = pair {
            (self.by, self.user) = (by, Some(other));
            return;
        }
        let by = match self.kind {
            Kind::AddMember | Kind::RemoveMember => room.map(|room| room.creator),
            Kind::Edit | Kind::Delete => self.message.and_then(|message| model.messages[message].author),
            Kind::CompleteUpload | Kind::CancelUpload | Kind::SendFile => {
                self.upload.map(|upload| model.uploads[upload].owner)
            }
            Kind::React | Kind::Unreact | Kind::Download => {
                self.message.and_then(|message| member(&model.rooms[model.messages[message].room]))
            }
            Kind::AcceptById => {
                let pending = |n: &usize| model.relations[*n].state == State::Pending;
                self.relation = nth(step.target, (0..model.relations.len()).filter(pending)).or(self.relation);
                self.relation.map(|relation| model.relations[relation].addressee)
            }
            Kind::EndSession => self.session.map(|session| model.sessions[session].user),
            Kind::UseTicket => {
                // A room of the ticket's user.
                let user = self.ticket.map(|ticket| model.sessions[model.tickets[ticket].session].user);
                let own = |n: &usize| user.is_some_and(|user| model.rooms[*n].members.contains(&user));
                self.room = nth(step.other, (0..model.rooms.len()).filter(own)).or(self.room);
                None
            }
            kind if kind < Kind::Request => room.and_then(member),
            _ => None,
        };
        self.by = by.unwrap_or(self.by);
    }

    /// A caller who almost may: the other side of a request, or a creator on one side of a block.
    fn choose_near_miss(&mut self, step: &Step, model: &Model) {
        let pending = model.relations.iter().filter(|relation| relation.state == State::Pending);
        match self.kind {
            Kind::Accept | Kind::Reject | Kind::Cancel => {
                if let Some(relation) = nth(step.target, pending) {
                    let sides = (relation.requester, Some(relation.addressee));
                    let other_side = (relation.addressee, Some(relation.requester));
                    (self.by, self.user) = if self.kind == Kind::Cancel { other_side } else { sides };
                }
            }
            Kind::AcceptById => {
                let pending = |n: &usize| model.relations[*n].state == State::Pending;
                self.relation = nth(step.target, (0..model.relations.len()).filter(pending)).or(self.relation);
                self.by = self.relation.map_or(self.by, |relation| model.relations[relation].requester);
            }
            Kind::AddMember => {
                let blocked = (0..model.rooms.len()).filter(|n| model.rooms[*n].pair.is_none()).flat_map(|n| {
                    let creator = model.rooms[n].creator;
                    let others = (0..model.people.len()).filter(move |user| model.is_blocked(creator, *user));
                    others
                        .filter(move |user| !model.rooms[n].members.contains(user))
                        .map(move |user| (n, creator, user))
                });
                if let Some((room, creator, user)) = nth(step.target, blocked) {
                    (self.room, self.by, self.user) = (Some(room), creator, Some(user));
                }
            }
            _ => {}
        }
    }

    pub fn message_room(&self, model: &Model) -> Option<usize> {
        self.message.map(|message| model.messages[message].room)
    }

    /// A line about the call, for a reader.
    pub fn line(&self, model: &Model) -> String {
        use Kind::*;
        let name = |user: User| NAMES[user];
        let user = || self.user.map_or("nobody".into(), |user| name(user).to_owned());
        let room = || {
            self.room.map_or("no room".into(), |n| {
                let members: Vec<_> = model.rooms[n].members.iter().map(|user| name(*user)).collect();
                let kind = if model.rooms[n].pair.is_some() { "direct room" } else { "group" };
                format!("{kind} {n} [{}]", members.join(" "))
            })
        };
        let message = || {
            self.message.map_or("no message".into(), |n| {
                let message = &model.messages[n];
                let author = message.author.map_or("the system", name);
                format!("message {n} of {author} in room {}", message.room)
            })
        };
        let upload = || {
            self.upload.map_or("no upload".into(), |n| {
                let upload = &model.uploads[n];
                format!("upload {n} of {} for room {}", name(upload.owner), upload.room)
            })
        };
        let session =
            || self.session.map_or("no session".into(), |n| format!("session {n} of {}", name(model.sessions[n].user)));
        let target = match self.kind {
            FindRoom | OpenRoom | OpenGroup => {
                let mut names: Vec<_> = self.invited.iter().map(|user| name(*user)).collect();
                names.extend(self.unknown_invited.then_some("nobody"));
                names.join(" ")
            }
            ShowRoom | Send | ListMessages | CountUnread | ReadRoom | SearchRoom | Leave | Typing | RequestUpload
            | StreamRoom | StreamHistory => room(),
            CompleteUpload | CancelUpload | SendFile => format!("{}, {}", upload(), room()),
            Reply | ListBefore | ReadMessage => format!("{}, {}", room(), message()),
            Edit | Delete | React | Unreact | Download => message(),
            AddMember | RemoveMember => format!("{}, {}", user(), room()),
            UseTicket => {
                let ticket = self.ticket.map(|n| (n, model.sessions[model.tickets[n].session].user));
                let ticket = ticket.map_or("no ticket".into(), |(n, user)| format!("ticket {n} of {}", name(user)));
                format!("{ticket} for {}", room())
            }
            ResumeAll => format!("from stream {}", self.stream),
            Request | Accept | Reject | Cancel | Unfriend | Block | Unblock | ShowProfile | UserExists => user(),
            AcceptById => self.relation.map_or("no request".into(), |n| {
                format!(
                    "the request of {} to {}",
                    name(model.relations[n].requester),
                    name(model.relations[n].addressee)
                )
            }),
            EndSession | Refresh => session(),
            _ => String::new(),
        };
        let credential = match self.credential {
            _ if !self.kind.is_authenticated() => String::new(),
            Credential::Own => String::new(),
            other => format!(" ({other:?} token)"),
        };
        format!("{}{credential}: {:?} {target}", name(self.by), self.kind).trim_end().to_owned()
    }
}
