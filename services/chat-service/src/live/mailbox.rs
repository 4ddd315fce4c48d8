//! What waits for one stream: bounded by the number of its rooms, however slowly it is read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::response::sse::Event;
use common::id::{RoomId, UserId};
use tokio::sync::Notify;

/// Live events without a position that a reader may lag behind; of more the oldest are lost.
const PASSING: usize = 64;

/// Of what a stream tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Room(RoomId),
    AllRooms,
}

/// How its reader stands to a room from now on.
#[derive(Clone, Debug)]
pub enum Standing {
    /// A member: who did not know the room reads it from after this position on, and is told of it first.
    In { after: i64, created: Option<Event> },
    /// No member any more.
    Out,
}

#[derive(Debug)]
pub struct Mailbox {
    /// Among those of this replica.
    pub id: u64,
    pub user: UserId,
    pub scope: Scope,
    mail: Mutex<Mail>,
    arrived: Notify,
}

/// What came since it was last asked for.
#[derive(Debug, Default)]
pub struct Mail {
    pub standing: BTreeMap<RoomId, Standing>,
    /// Rooms in which something happened.
    pub moved: BTreeSet<RoomId>,
    /// What is told once and never again.
    pub passing: VecDeque<Event>,
}

impl Mailbox {
    pub fn new(id: u64, user: UserId, scope: Scope) -> Self {
        Self { id, user, scope, mail: Mutex::default(), arrived: Notify::new() }
    }

    /// Something happened in a room.
    pub fn moved(&self, room: RoomId) {
        self.mail().moved.insert(room);
        self.arrived.notify_one();
    }

    /// Its reader came into a room, or went; of a room it does not tell of, nothing is kept.
    pub fn stands(&self, room: RoomId, standing: Standing) {
        if self.scope == Scope::AllRooms || self.scope == Scope::Room(room) {
            self.mail().standing.insert(room, standing);
            self.arrived.notify_one();
        }
    }

    /// What is live only.
    pub fn pass(&self, event: Event) {
        let mut mail = self.mail();
        if mail.passing.len() == PASSING {
            mail.passing.pop_front();
        }
        mail.passing.push_back(event);
        drop(mail);
        self.arrived.notify_one();
    }

    pub fn take(&self) -> Mail {
        std::mem::take(&mut *self.mail())
    }

    /// Resolves when there may be something; at once when something came since it last did.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_nobody_reads_holds_a_bounded_amount() {
        let mailbox = Mailbox::new(1, UserId(1), Scope::AllRooms);
        for n in 0..10_000 {
            mailbox.moved(RoomId(n % 5));
            mailbox.stands(RoomId(n % 5), Standing::Out);
            mailbox.pass(Event::default());
        }
        let mail = mailbox.take();
        assert_eq!((mail.moved.len(), mail.standing.len(), mail.passing.len()), (5, 5, PASSING));
    }

    #[test]
    fn the_stream_of_a_room_hears_of_no_other() {
        let mailbox = Mailbox::new(1, UserId(1), Scope::Room(RoomId(7)));
        mailbox.stands(RoomId(8), Standing::Out);
        assert!(mailbox.take().standing.is_empty());
    }
}
