//! Whose streams are open on this replica, and who wants to know of whom.

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::response::sse::Event;
use common::id::{RoomId, UserId};

use super::mailbox::{Mailbox, Scope, Standing};

/// A handle on all mailboxes.
#[derive(Clone, Default)]
pub struct Post {
    office: Arc<Mutex<Office>>,
}

type Mailboxes = HashMap<u64, Arc<Mailbox>>;

#[derive(Default)]
struct Office {
    next: u64,
    of_user: HashMap<UserId, Mailboxes>,
    /// By the person whose comings and goings are told.
    watchers: HashMap<UserId, Mailboxes>,
    watched: HashMap<u64, HashSet<UserId>>,
}

/// A mailbox that gets mail for as long as this lives.
pub struct Address {
    post: Post,
    pub mailbox: Arc<Mailbox>,
}

impl Deref for Address {
    type Target = Arc<Mailbox>;

    fn deref(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }
}

impl Post {
    /// A mailbox for one stream.
    pub fn open(&self, user: UserId, scope: Scope) -> Address {
        let mut office = self.office();
        office.next += 1;
        let mailbox = Arc::new(Mailbox::new(office.next, user, scope));
        office.of_user.entry(user).or_default().insert(mailbox.id, mailbox.clone());
        Address { post: self.clone(), mailbox }
    }

    /// Says how someone stands to a room, to all their streams.
    pub fn stands(&self, user: UserId, room: RoomId, standing: &Standing) {
        let mailboxes = self.office().streams_of(user);
        mailboxes.values().for_each(|mailbox| mailbox.stands(room, standing.clone()));
    }

    /// Tells someone, on their streams of all rooms.
    pub fn tell(&self, user: UserId, event: impl FnOnce() -> Event) {
        let mailboxes = self.office().streams_of(user);
        tell_all(mailboxes, event);
    }

    /// Tells those who share a direct room with someone.
    pub fn tell_watchers(&self, of: UserId, event: impl FnOnce() -> Event) {
        let mailboxes = self.office().watchers.get(&of).cloned().unwrap_or_default();
        tell_all(mailboxes, event);
    }

    /// From now on one knows of the other, if they have streams of all rooms.
    pub fn acquaint(&self, user: UserId, with: UserId) {
        let mut office = self.office();
        let mailboxes = office.streams_of(user);
        for mailbox in mailboxes.into_values().filter(|mailbox| mailbox.scope == Scope::AllRooms) {
            office.watch(&mailbox, with);
        }
    }

    fn office(&self) -> MutexGuard<'_, Office> {
        self.office.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell_all(mailboxes: Mailboxes, event: impl FnOnce() -> Event) {
    let mut listeners = mailboxes.into_values().filter(|mailbox| mailbox.scope == Scope::AllRooms).peekable();
    if listeners.peek().is_some() {
        let event = event();
        listeners.for_each(|mailbox| mailbox.pass(event.clone()));
    }
}

impl Office {
    fn streams_of(&self, user: UserId) -> Mailboxes {
        self.of_user.get(&user).cloned().unwrap_or_default()
    }

    fn watch(&mut self, mailbox: &Arc<Mailbox>, of: UserId) {
        self.watchers.entry(of).or_default().insert(mailbox.id, mailbox.clone());
        self.watched.entry(mailbox.id).or_default().insert(of);
    }

    fn close(&mut self, mailbox: &Mailbox) {
        remove(&mut self.of_user, mailbox.user, mailbox.id);
        for watched in self.watched.remove(&mailbox.id).unwrap_or_default() {
            remove(&mut self.watchers, watched, mailbox.id);
        }
    }
}

fn remove(all: &mut HashMap<UserId, Mailboxes>, user: UserId, id: u64) {
    if let Some(mailboxes) = all.get_mut(&user) {
        mailboxes.remove(&id);
        if mailboxes.is_empty() {
            all.remove(&user);
        }
    }
}

impl Address {
    /// Its stream tells of the comings and goings of these.
    pub fn watch(&self, people: impl IntoIterator<Item = UserId>) {
        let mut office = self.post.office();
        people.into_iter().for_each(|person| office.watch(&self.mailbox, person));
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        self.post.office().close(&self.mailbox);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    #[test]
    fn nothing_is_left_of_a_stream_that_ended() {
        let post = Post::default();
        let address = post.open(ANN, Scope::AllRooms);
        address.watch([BOB]);
        post.acquaint(ANN, UserId(3));
        drop(address);
        let office = post.office();
        assert!(office.of_user.is_empty() && office.watchers.is_empty() && office.watched.is_empty());
    }

    #[test]
    fn only_who_shares_a_direct_room_hears_of_someone() {
        let post = Post::default();
        let (ann, bob) = (post.open(ANN, Scope::AllRooms), post.open(BOB, Scope::AllRooms));
        ann.watch([UserId(9)]);
        post.tell_watchers(UserId(9), Event::default);
        assert_eq!((ann.take().passing.len(), bob.take().passing.len()), (1, 0));
    }
}
