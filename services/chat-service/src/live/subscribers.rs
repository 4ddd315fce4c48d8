//! The registry of the open streams of this replica.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::Event;
use chrono::Utc;
use common::error::{Error, Result};
use common::id::{RoomId, UserId};
use common::jwt::CLOCK_SKEW;
use engines::presence::Presence;
use parking_lot::Mutex;
use platform::task::every;
use prometheus::IntGauge;
use service::auth::{Auth, CurrentUser};
use tokio_util::sync::CancellationToken;

use super::mailbox::{Mailbox, MembershipChange, Scope};

/// Interval at which sessions are checked. The contract allows 10 s from the end of a session to the end of its streams.
const SESSION_INTERVAL: Duration = Duration::from_secs(5);

/// A user who holds too many streams can open another one after this time, at the earliest.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A handle on the registry.
#[derive(Clone)]
pub struct Subscribers {
    registry: Arc<Mutex<Registry>>,
    /// Limit on the streams of one user.
    limit: u64,
    gauge: IntGauge,
    shutdown: CancellationToken,
}

#[derive(Default)]
struct Registry {
    last_id: u64,
    streams: HashMap<u64, Stream>,
    /// In ascending order, as are all lists here: a list takes a third of the memory of a hash set.
    by_user: HashMap<UserId, Vec<u64>>,
    /// The streams that receive the presence of a user, by that user.
    watchers: HashMap<UserId, Vec<u64>>,
}

struct Stream {
    mailbox: Arc<Mailbox>,
    session: Arc<str>,
    ended: CancellationToken,
    watched: Vec<UserId>,
}

/// The registration of one stream, which ends when this value is dropped.
pub struct Subscription {
    subscribers: Subscribers,
    mailbox: Arc<Mailbox>,
    ended: CancellationToken,
    /// The end of the access token's life, clock skew included.
    expires: tokio::time::Instant,
}

impl Deref for Subscription {
    type Target = Arc<Mailbox>;

    fn deref(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }
}

impl Subscribers {
    /// `limit` bounds the streams of one user. `gauge` shows the number of all. `shutdown` ends all of them.
    pub fn new(limit: u64, gauge: IntGauge, shutdown: CancellationToken) -> Self {
        Self { registry: Arc::default(), limit, gauge, shutdown }
    }

    /// Registers a stream.
    ///
    /// # Errors
    /// Returns [`Error::TooMany`] if the user holds as many streams as the limit allows.
    pub fn open(&self, user: &CurrentUser, scope: Scope) -> Result<Subscription> {
        let ended = CancellationToken::new();
        // A token is accepted for the skew after its end. A stream that is opened then has the rest of the skew only.
        let end = user.expires_at.saturating_add(CLOCK_SKEW.as_secs() as i64);
        let left = end.saturating_sub(Utc::now().timestamp()).max(0).unsigned_abs();
        let expires = tokio::time::Instant::now() + Duration::from_secs(left);
        let mut registry = self.registry.lock();
        if registry.by_user.get(&user.id).is_some_and(|streams| streams.len() as u64 >= self.limit) {
            return Err(Error::TooMany { retry_after: RETRY_AFTER });
        }
        let mailbox = registry.insert(user.id, user.session.clone(), scope, ended.clone());
        self.gauge.inc();
        Ok(Subscription { subscribers: self.clone(), mailbox, ended, expires })
    }

    /// Ends all streams. Their clients reconnect.
    pub fn end_all(&self) {
        self.registry.lock().streams.values().for_each(|stream| stream.ended.cancel());
    }

    /// Delivers a change of membership to all streams of a user.
    pub fn set_membership(&self, user: UserId, room: RoomId, change: &MembershipChange) {
        let mailboxes = self.registry.lock().of_user(user);
        mailboxes.iter().for_each(|mailbox| mailbox.set_membership(room, change.clone()));
    }

    /// Sends an event to the all-rooms streams of a user.
    pub fn send(&self, user: UserId, event: impl FnOnce() -> Event) {
        let mailboxes = self.registry.lock().of_user(user);
        push_to_all(mailboxes, event);
    }

    /// Sends an event to the all-rooms streams of users who share a direct room with `user` and may see the event.
    pub fn send_to_watchers(&self, user: UserId, may_see: impl Fn(UserId) -> bool, event: impl FnOnce() -> Event) {
        let mut mailboxes = self.registry.lock().watchers_of(user);
        mailboxes.retain(|mailbox| may_see(mailbox.user));
        push_to_all(mailboxes, event);
    }

    /// From now on the all-rooms streams of `user` receive the presence of `watched`.
    pub fn watch(&self, user: UserId, watched: UserId) {
        let mut registry = self.registry.lock();
        for mailbox in registry.of_user(user).iter().filter(|mailbox| mailbox.scope == Scope::AllRooms) {
            registry.watch(mailbox.id, watched);
        }
    }

    /// Ends the streams of ended sessions and renews the presence of their users, until the shutdown. A check takes one round
    /// trip for all streams.
    pub async fn watch_sessions(self, auth: Auth, presence: Presence) {
        let shutdown = self.shutdown.clone();
        let mut state = (self, auth, presence);
        every(SESSION_INTERVAL, "sessions of streams", &shutdown, &mut state, async |(subscribers, auth, presence)| {
            subscribers.check_sessions(auth, presence).await
        })
        .await;
    }

    async fn check_sessions(&self, auth: &Auth, presence: &Presence) -> Result<()> {
        let open = self.registry.lock().sessions();
        let sessions: Vec<(&str, UserId)> = open.iter().map(|(user, session, _)| (&**session, *user)).collect();
        let revoked = auth.revocations().fetch(&sessions).await?;
        for ((user, session, ended), revoked) in open.iter().zip(revoked) {
            if revoked {
                ended.cancel();
            } else {
                presence.touch(*user, session).await;
            }
        }
        Ok(())
    }
}

fn push_to_all(mailboxes: Vec<Arc<Mailbox>>, event: impl FnOnce() -> Event) {
    let mut receivers = mailboxes.into_iter().filter(|mailbox| mailbox.scope == Scope::AllRooms).peekable();
    if receivers.peek().is_some() {
        let event = event();
        receivers.for_each(|mailbox| mailbox.push(None, event.clone()));
    }
}

impl Registry {
    fn insert(&mut self, user: UserId, session: Arc<str>, scope: Scope, ended: CancellationToken) -> Arc<Mailbox> {
        self.last_id += 1;
        let mailbox = Arc::new(Mailbox::new(self.last_id, user, scope));
        let stream = Stream { mailbox: mailbox.clone(), session, ended, watched: Vec::new() };
        self.streams.insert(self.last_id, stream);
        self.by_user.entry(user).or_default().push(self.last_id);
        mailbox
    }

    fn remove(&mut self, id: u64) {
        let Some(stream) = self.streams.remove(&id) else { return };
        remove_id(&mut self.by_user, stream.mailbox.user, id);
        for watched in stream.watched {
            remove_id(&mut self.watchers, watched, id);
        }
    }

    fn watch(&mut self, id: u64, watched: UserId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            insert(&mut stream.watched, watched);
            insert(self.watchers.entry(watched).or_default(), id);
        }
    }

    fn of_user(&self, user: UserId) -> Vec<Arc<Mailbox>> {
        self.mailboxes(self.by_user.get(&user))
    }

    fn watchers_of(&self, user: UserId) -> Vec<Arc<Mailbox>> {
        self.mailboxes(self.watchers.get(&user))
    }

    fn mailboxes(&self, ids: Option<&Vec<u64>>) -> Vec<Arc<Mailbox>> {
        let streams = ids.into_iter().flatten().filter_map(|id| self.streams.get(id));
        streams.map(|stream| stream.mailbox.clone()).collect()
    }

    fn sessions(&self) -> Vec<(UserId, Arc<str>, CancellationToken)> {
        let session = |stream: &Stream| (stream.mailbox.user, stream.session.clone(), stream.ended.clone());
        self.streams.values().map(session).collect()
    }
}

/// Inserts a value into an ascending list, once.
fn insert<T: Ord>(list: &mut Vec<T>, value: T) {
    if let Err(place) = list.binary_search(&value) {
        list.insert(place, value);
    }
}

fn remove_id(ids: &mut HashMap<UserId, Vec<u64>>, user: UserId, id: u64) {
    if let Some(of_user) = ids.get_mut(&user) {
        if let Ok(place) = of_user.binary_search(&id) {
            of_user.remove(place);
        }
        if of_user.is_empty() {
            ids.remove(&user);
        }
    }
}

impl Subscription {
    /// From now on the stream receives the presence of these users.
    pub fn watch(&self, users: impl IntoIterator<Item = UserId>) {
        let mut registry = self.subscribers.registry.lock();
        users.into_iter().for_each(|user| registry.watch(self.mailbox.id, user));
    }

    /// Resolves when the stream has to end: when its session or its access token ends, or this replica shuts down.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let (ended, expires, shutdown) = (self.ended.clone(), self.expires, self.subscribers.shutdown.clone());
        async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = tokio::time::sleep_until(expires) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.subscribers.registry.lock().remove(self.mailbox.id);
        self.subscribers.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: UserId = UserId(1);
    const BOB: UserId = UserId(2);
    const EVE: UserId = UserId(9);

    const LIMIT: u64 = 3;

    fn subscribers() -> Subscribers {
        Subscribers::new(LIMIT, IntGauge::new("streams", "Open streams").unwrap(), CancellationToken::new())
    }

    fn user(id: UserId) -> CurrentUser {
        CurrentUser { id, username: None, session: "session".into(), expires_at: i64::MAX, sid: None }
    }

    #[test]
    fn a_dropped_subscription_leaves_nothing_behind() {
        let subscribers = subscribers();
        let subscription = subscribers.open(&user(ANN), Scope::AllRooms).unwrap();
        subscription.watch([BOB]);
        subscribers.watch(ANN, EVE);
        assert_eq!(subscribers.gauge.get(), 1);

        drop(subscription);

        let registry = subscribers.registry.lock();
        assert!(registry.streams.is_empty() && registry.by_user.is_empty() && registry.watchers.is_empty());
        assert_eq!(subscribers.gauge.get(), 0);
    }

    #[test]
    fn a_stream_ends_with_the_skew_of_its_token_however_late_it_is_opened() {
        let skew = CLOCK_SKEW.as_secs() as i64;
        for age in [-60, 0, 25, skew, 1_000] {
            let user = CurrentUser { expires_at: Utc::now().timestamp() - age, ..user(ANN) };

            let subscription = subscribers().open(&user, Scope::AllRooms).unwrap();

            let left = subscription.expires.saturating_duration_since(tokio::time::Instant::now()).as_secs();
            assert!(left.abs_diff((skew - age).max(0).unsigned_abs()) <= 1, "a token of {age} s: {left} s");
        }
    }

    #[test]
    fn a_user_holds_a_limited_number_of_streams() {
        let subscribers = subscribers();
        let open = |id| subscribers.open(&user(id), Scope::AllRooms);
        let mut anns: Vec<_> = (0..LIMIT).map(|_| open(ANN).unwrap()).collect();

        assert!(matches!(open(ANN), Err(Error::TooMany { .. })));
        let bobs = open(BOB);
        anns.pop();
        let again = open(ANN);

        assert!(bobs.is_ok() && again.is_ok());
        assert_eq!(subscribers.gauge.get(), 4);
    }

    #[test]
    fn only_streams_that_watch_a_user_receive_their_presence() {
        let subscribers = subscribers();
        let [ann, bob] = [ANN, BOB].map(|id| subscribers.open(&user(id), Scope::AllRooms).unwrap());
        ann.watch([EVE]);
        subscribers.send_to_watchers(EVE, |_| true, Event::default);
        assert_eq!((ann.take().events.len(), bob.take().events.len()), (1, 0));
        subscribers.send_to_watchers(EVE, |watcher| watcher != ANN, Event::default);
        assert_eq!(ann.take().events.len(), 0);
    }
}
