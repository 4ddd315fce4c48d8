//! The live streams.
//!
//! The log of a room is the truth. Everything else only indicates that the log has new entries. Delivery is exact and in
//! order although each hop delivers at least once:
//!
//! - A stream has a [`RoomSubscription`](room_subscription::RoomSubscription) for each of its rooms: a position that replays
//!   the log up to the live edge and then follows the room's [`Feed`](feed::Feed).
//! - The [`Hub`] has one feed for each room with subscribers on this replica. The feed's [`Window`](window::Window) keeps the
//!   newest positions in order. Entries of this replica enter it after their commit, entries of other replicas through Kafka.
//! - A feed reads entries that are missing in its window from the log, once per room. Every two seconds the hub reads which
//!   heads have changed, from a change stream of MongoDB. So a position that no event announced is found, also without Kafka,
//!   and an idle room costs nothing.
//! - The ids of events name the [`Epochs`] of the store. A restore of the store ends all streams.
//! - All windows together have a limit in bytes. Beyond it, the rooms whose newest frames are the oldest lose theirs, and a
//!   reader who lags there reads the log.
//! - Each stream has a [`Mailbox`](mailbox::Mailbox), which holds a bounded number of notifications however slowly the client
//!   reads. The registry [`Subscribers`] holds the mailboxes of this replica.
//!
//! # Locks
//!
//! A feed has one lock for its window, one for its set of mailboxes and one for the ids of recent events. A mailbox has one
//! lock, and so have the registry and the frames of reads. The feeds have one lock for their map, one for each of two lists of
//! rooms and one for the memory of windows. No lock is held across an `await`. Locks nest in three orders only, so no deadlock
//! is possible: set of mailboxes, mailbox; recent ids, window, memory of windows; and map of feeds, list of rooms or memory of
//! windows.

mod all_rooms;
mod cursor;
mod epochs;
mod feed;
mod history;
mod hub;
#[cfg(test)]
mod leave_tests;
mod mailbox;
mod read_frames;
mod recent_events;
mod room_reader;
mod room_subscription;
mod stream_usage;
mod subscribers;
mod window;
mod window_memory;

pub use all_rooms::AllRoomsReader;
#[cfg(feature = "fuzzing")]
pub use cursor::canonical_cursor;
pub use epochs::Epochs;
pub use hub::Hub;
pub use mailbox::{Join, MembershipChange, Scope};
pub use recent_events::RecentEvents;
pub use room_reader::RoomReader;
pub use stream_usage::{StreamLimits, Usage};
pub use subscribers::Subscribers;
