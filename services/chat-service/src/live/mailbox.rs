//! The mailbox of one stream: pending notifications, bounded by the number of its rooms however slowly the client reads.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use axum::response::sse::Event;
use common::id::{RoomId, UserId};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Limit on pending events without a position. Beyond it, the oldest is dropped.
const MAX_EVENTS: usize = 64;

/// The rooms of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Room(RoomId),
    AllRooms,
}

/// A change of the reader's membership in a room.
#[derive(Clone, Debug)]
pub enum MembershipChange {
    /// The reader is a member.
    Joined(Join),
    /// The reader is no longer a member. An all-rooms stream sends this event, and then nothing of the room.
    Left(Event),
}

/// A stream without the room sends `created`, if there is one, and then the room's entries after the position.
#[derive(Clone, Debug)]
pub struct Join {
    pub after: i64,
    pub created: Option<Event>,
}

#[derive(Debug)]
pub struct Mailbox {
    /// Unique on this replica.
    pub id: u64,
    pub user: UserId,
    pub scope: Scope,
    pending: Mutex<Notifications>,
    arrived: Notify,
}

/// The notifications since the last [`Mailbox::take`].
#[derive(Debug, Default)]
pub struct Notifications {
    /// The ends of memberships. They come before `joined`: who is in both has left a room and come back.
    pub left: BTreeMap<RoomId, Event>,
    pub joined: BTreeMap<RoomId, Join>,
    /// Rooms whose feed has advanced.
    pub advanced: BTreeSet<RoomId>,
    /// Events that are sent once and never stored, with the room that they are about, if any.
    pub events: VecDeque<(Option<RoomId>, Event)>,
}

impl Mailbox {
    pub fn new(id: u64, user: UserId, scope: Scope) -> Self {
        Self { id, user, scope, pending: Mutex::default(), arrived: Notify::new() }
    }

    /// Adds a room whose feed has advanced.
    pub fn notify(&self, room: RoomId) {
        self.pending.lock().advanced.insert(room);
        self.arrived.notify_one();
    }

    /// Adds a change of membership, unless it concerns a room outside of the scope. A leave removes the pending events of
    /// the room.
    pub fn set_membership(&self, room: RoomId, change: MembershipChange) {
        if self.scope == Scope::AllRooms || self.scope == Scope::Room(room) {
            let mut pending = self.pending.lock();
            match change {
                MembershipChange::Left(event) => {
                    pending.events.retain(|(of, _)| *of != Some(room));
                    pending.joined.remove(&room);
                    pending.left.insert(room, event);
                }
                MembershipChange::Joined(join) => {
                    // Events since the leave are of others.
                    if pending.left.contains_key(&room) {
                        pending.events.retain(|(of, _)| *of != Some(room));
                    }
                    pending.joined.insert(room, join);
                }
            }
            drop(pending);
            self.arrived.notify_one();
        }
    }

    /// Whether the reader has left a room since the last [`take`](Self::take).
    pub fn has_left(&self, room: RoomId) -> bool {
        self.pending.lock().left.contains_key(&room)
    }

    /// Adds an event that is never stored, with the room that it is about.
    pub fn push(&self, room: Option<RoomId>, event: Event) {
        let mut pending = self.pending.lock();
        if pending.events.len() == MAX_EVENTS {
            pending.events.pop_front();
        }
        pending.events.push_back((room, event));
        drop(pending);
        self.arrived.notify_one();
    }

    /// Removes and returns all notifications.
    pub fn take(&self) -> Notifications {
        std::mem::take(&mut *self.pending.lock())
    }

    /// Waits for a notification. Returns at once if one has arrived since the last wait, so none is missed between a
    /// [`take`](Self::take) and a wait.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left() -> MembershipChange {
        MembershipChange::Left(Event::default())
    }

    #[test]
    fn a_stream_without_a_reader_holds_a_bounded_number_of_notifications() {
        let mailbox = Mailbox::new(1, UserId(1), Scope::AllRooms);
        for n in 0..10_000 {
            mailbox.notify(RoomId(n % 5));
            mailbox.set_membership(RoomId(n % 5), left());
            mailbox.push(None, Event::default());
        }
        let pending = mailbox.take();
        assert_eq!((pending.advanced.len(), pending.left.len(), pending.events.len()), (5, 5, MAX_EVENTS));
    }

    #[test]
    fn a_leave_removes_the_pending_events_of_the_room_only() {
        let mailbox = Mailbox::new(1, UserId(1), Scope::AllRooms);
        for room in [None, Some(RoomId(7)), Some(RoomId(8)), Some(RoomId(7))] {
            mailbox.push(room, Event::default());
        }
        assert!(!mailbox.has_left(RoomId(7)));

        mailbox.set_membership(RoomId(7), left());

        assert!(mailbox.has_left(RoomId(7)) && !mailbox.has_left(RoomId(8)));
        let rooms: Vec<_> = mailbox.take().events.into_iter().map(|(room, _)| room).collect();
        assert_eq!(rooms, [None, Some(RoomId(8))]);
        assert!(!mailbox.has_left(RoomId(7)));
    }

    #[test]
    fn a_return_removes_the_pending_events_of_the_absence() {
        let mailbox = Mailbox::new(1, UserId(1), Scope::AllRooms);
        let join = || MembershipChange::Joined(Join { after: 0, created: None });
        mailbox.set_membership(RoomId(7), left());
        mailbox.push(Some(RoomId(7)), Event::default());
        mailbox.push(Some(RoomId(8)), Event::default());

        mailbox.set_membership(RoomId(7), join());
        mailbox.set_membership(RoomId(8), join());

        let pending = mailbox.take();
        assert_eq!((pending.left.len(), pending.joined.len()), (1, 2));
        assert_eq!(pending.events.into_iter().map(|(room, _)| room).collect::<Vec<_>>(), [Some(RoomId(8))]);
    }

    #[test]
    fn the_stream_of_a_room_ignores_changes_of_other_rooms() {
        let mailbox = Mailbox::new(1, UserId(1), Scope::Room(RoomId(7)));
        mailbox.set_membership(RoomId(8), left());
        assert!(mailbox.take().left.is_empty());
    }
}
