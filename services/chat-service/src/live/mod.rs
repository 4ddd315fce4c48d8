//! The live stream: the log is the truth, everything else a hint that there is more of it.
//!
//! A stream has a [`Part`] for each of its rooms, which is a position: it replays from the store up to the live edge and
//! then follows the [`Hub`], which keeps the newest positions of each room that someone listens to. Own writes enter it
//! right after their commit, those of other replicas by Kafka. What is missing in between is read from the log, once per
//! room. Should every hint fail, the heads are looked at every two seconds. So delivery is exact and in order, although
//! every hop is at least once.
//!
//! What waits for a stream waits in its [`Mailbox`](mailbox::Mailbox), which holds a bounded amount however slowly it is
//! read; the [`Post`] knows whose it is.

mod all_rooms;
mod cursor;
pub mod frame;
mod hub;
mod mailbox;
mod part;
mod post;
mod room;
mod streams;
mod window;

pub use all_rooms::AllRooms;
pub use hub::Hub;
pub use mailbox::{Scope, Standing};
pub use post::Post;
pub use room::RoomReader;
pub use streams::Streams;
