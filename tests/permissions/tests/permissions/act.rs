//! The acts of a sequence, as they are generated: numbers that the model turns into users, rooms and messages.

use std::fmt;

use proptest::prelude::*;
use proptest::sample::select;

/// One call, or an act of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    // chat-service
    FindRoom,
    OpenRoom,
    OpenGroup,
    ListRooms,
    ShowRoom,
    Send,
    Reply,
    ListMessages,
    ListBefore,
    CountUnread,
    ReadRoom,
    ReadMessage,
    Edit,
    Delete,
    React,
    Unreact,
    Search,
    SearchRoom,
    AddMember,
    RemoveMember,
    Leave,
    Typing,
    RequestUpload,
    CompleteUpload,
    CancelUpload,
    SendFile,
    Download,
    StreamRoom,
    StreamHistory,
    StreamAll,
    ResumeAll,
    TakeTicket,
    UseTicket,
    // friend-service
    Request,
    Accept,
    AcceptById,
    Reject,
    Cancel,
    Unfriend,
    Block,
    Unblock,
    ListFriends,
    ListRequests,
    ListBlocked,
    SearchPeople,
    ListAllBlocks,
    // user-service
    OwnProfile,
    EditProfile,
    ShowProfile,
    ShowUsers,
    BatchUsers,
    UserExists,
    SearchUsers,
    ChangePassword,
    WrongPassword,
    LogIn,
    LogInWrong,
    LogOut,
    Refresh,
    ListSessions,
    EndSession,
    Deactivate,
}

use Kind::*;

/// How often each kind is drawn. A deactivation takes seconds to reach all services.
const WEIGHTS: [(u32, Kind); 62] = [
    (12, FindRoom),
    (10, OpenRoom),
    (20, OpenGroup),
    (6, ListRooms),
    (6, ShowRoom),
    (44, Send),
    (18, RequestUpload),
    (16, CompleteUpload),
    (14, CancelUpload),
    (18, SendFile),
    (18, Download),
    (12, Reply),
    (12, ListMessages),
    (8, ListBefore),
    (6, CountUnread),
    (8, ReadRoom),
    (10, ReadMessage),
    (16, Edit),
    (16, Delete),
    (12, React),
    (8, Unreact),
    (8, Search),
    (8, SearchRoom),
    (20, AddMember),
    (14, RemoveMember),
    (12, Leave),
    (6, Typing),
    (10, StreamRoom),
    (8, StreamHistory),
    (10, StreamAll),
    (8, ResumeAll),
    (10, TakeTicket),
    (12, UseTicket),
    (20, Request),
    (12, Accept),
    (14, AcceptById),
    (12, Reject),
    (14, Cancel),
    (14, Unfriend),
    (16, Block),
    (12, Unblock),
    (6, ListFriends),
    (8, ListRequests),
    (10, ListBlocked),
    (6, SearchPeople),
    (5, ListAllBlocks),
    (5, OwnProfile),
    (8, EditProfile),
    (12, ShowProfile),
    (6, ShowUsers),
    (6, BatchUsers),
    (8, UserExists),
    (8, SearchUsers),
    (5, ChangePassword),
    (4, WrongPassword),
    (8, LogIn),
    (4, LogInWrong),
    (5, LogOut),
    (6, Refresh),
    (6, ListSessions),
    (8, EndSession),
    (2, Deactivate),
];

/// The service that a call goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    Chat,
    Friend,
    User,
}

impl Service {
    pub const ALL: [Self; 3] = [Self::Chat, Self::Friend, Self::User];
}

impl Kind {
    pub fn all() -> impl Iterator<Item = Self> {
        WEIGHTS.into_iter().map(|(_, kind)| kind)
    }

    pub fn service(self) -> Service {
        match self {
            kind if kind < Request => Service::Chat,
            kind if kind < OwnProfile => Service::Friend,
            _ => Service::User,
        }
    }

    /// Whether the call carries an access token. A ticket, a password or a refresh token takes its place in the others.
    pub fn is_authenticated(self) -> bool {
        !matches!(self, UseTicket | LogIn | LogInWrong | Refresh | Deactivate)
    }

    /// Whether nobody may do it.
    pub fn is_never_allowed(self) -> bool {
        matches!(self, WrongPassword | LogInWrong)
    }
}

/// The token that a call carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Credential {
    /// The caller's newest live session; without one, the caller logs in first.
    Own,
    /// A session of the caller that has ended; if there is none, `Expired`.
    Ended,
    /// The caller's token, past its expiry.
    Expired,
    /// The caller's token with the id of another user and the old signature.
    Tampered,
    /// The caller's claims with the algorithm `none`.
    Unsigned,
    /// No token.
    Absent,
    /// A token of another service for the called service.
    Service,
    /// A token of a service for another service than the called one.
    OtherService,
}

impl Credential {
    /// All but the caller's own.
    pub const FOREIGN: [Self; 7] =
        [Self::Ended, Self::Expired, Self::Tampered, Self::Unsigned, Self::Absent, Self::Service, Self::OtherService];
}

/// One generated act.
#[derive(Clone, Copy)]
pub struct Step {
    pub kind: Kind,
    pub by: u8,
    /// Whether the caller is chosen among the users who may do it, if there is one.
    pub rightful: bool,
    pub credential: Credential,
    pub target: u8,
    pub other: u8,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, by, rightful, credential, target, other } = self;
        write!(f, "{kind:?}({by},{rightful},{credential:?},{target},{other})")
    }
}

/// The kinds that a sequence begins with, so that there is something to protect.
const OPENING: [(u32, Kind); 10] = [
    (5, OpenGroup),
    (4, FindRoom),
    (8, Send),
    (4, RequestUpload),
    (1, SendFile),
    (4, Request),
    (2, Accept),
    (1, Block),
    (1, AddMember),
    (1, TakeTicket),
];

/// Sequences of acts. They shrink to fewer acts, earlier users and own tokens.
pub fn sequences() -> impl Strategy<Value = Vec<Step>> {
    let own = Just(Credential::Own).boxed();
    let any = prop_oneof![8 => Just(Credential::Own), 1 => select(&Credential::FOREIGN[..])].boxed();
    let opening = prop::collection::vec(step(&OPENING, 1.0, own), 0..24);
    let acts = prop::collection::vec(step(&WEIGHTS, 0.65, any), 0..70);
    (opening, acts).prop_map(|(opening, acts)| [opening, acts].concat())
}

fn step(weights: &[(u32, Kind)], rightful: f64, credential: BoxedStrategy<Credential>) -> impl Strategy<Value = Step> {
    let kinds = weights.iter().map(|(weight, kind)| (*weight, Just(*kind))).collect();
    let kind = prop::strategy::Union::new_weighted(kinds);
    // 1.0 is no probability of proptest's.
    let rightful = if rightful < 1.0 { prop::bool::weighted(rightful).boxed() } else { Just(true).boxed() };
    (kind, 0..60_u8, rightful, credential, any::<u8>(), 0..60_u8).prop_map(
        |(kind, by, rightful, credential, target, other)| Step { kind, by, rightful, credential, target, other },
    )
}
