//! The registry of the open streams of this replica.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::Event;
use chrono::Utc;
use common::error::Result;
use common::id::{RoomId, UserId};
use common::jwt::CLOCK_SKEW;
use common::network::network_of;
use engines::presence::Presence;
use parking_lot::Mutex;
use platform::context;
use platform::task::every;
use prometheus::IntGauge;
use service::auth::{Auth, CurrentUser};
use tokio_util::sync::CancellationToken;

use super::mailbox::{Mailbox, MembershipChange, Scope};
use super::stream_usage::{Holder, StreamLimits, StreamUsage, Usage};

/// Interval at which sessions are checked. The contract allows 10 s from the end of a session to the end of its streams.
const SESSION_INTERVAL: Duration = Duration::from_secs(5);

/// The part by which the greatest ages of streams differ, so that streams that began together do not end together.
const AGE_JITTER: f64 = 0.2;

/// A handle on the registry.
#[derive(Clone)]
pub struct Subscribers {
    registry: Arc<Mutex<Registry>>,
    limits: StreamLimits,
    max_age: Option<Duration>,
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
    usage: StreamUsage,
}

struct Stream {
    mailbox: Arc<Mailbox>,
    session: Arc<str>,
    ended: CancellationToken,
    watched: Vec<UserId>,
    holder: Holder,
    used: Usage,
}

/// The registration of one stream, which ends when this value is dropped.
pub struct Subscription {
    subscribers: Subscribers,
    mailbox: Arc<Mailbox>,
    ended: CancellationToken,
    /// The end of the access token's life, clock skew included, or the greatest age of the stream if that comes first.
    expires: tokio::time::Instant,
}

impl Deref for Subscription {
    type Target = Arc<Mailbox>;

    fn deref(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }
}

impl Subscribers {
    /// A stream ends at `max_age`, more or less by [`AGE_JITTER`]. `gauge` shows the number of all streams. `shutdown` ends all of them.
    pub fn new(limits: StreamLimits, max_age: Option<Duration>, gauge: IntGauge, shutdown: CancellationToken) -> Self {
        Self { registry: Arc::default(), limits, max_age, gauge, shutdown }
    }

    /// Registers a stream of one room, or of rooms that [`Subscription::count_rooms`] counts later.
    ///
    /// # Errors
    /// Returns [`Error::TooMany`] beyond the limit of the user or their network, and an unavailable error beyond that of the
    /// replica.
    pub fn open(&self, user: &CurrentUser, scope: Scope) -> Result<Subscription> {
        let ended = CancellationToken::new();
        // A token is accepted for the skew after its end. A stream that is opened then has the rest of the skew only.
        let end = user.expires_at.saturating_add(CLOCK_SKEW.as_secs() as i64);
        let left = end.saturating_sub(Utc::now().timestamp()).max(0).unsigned_abs();
        let age = self.max_age.map(|age| age.mul_f64(1.0 + rand::random_range(-AGE_JITTER..=AGE_JITTER)));
        let left = Duration::from_secs(left).min(age.unwrap_or(Duration::MAX));
        let expires = tokio::time::Instant::now() + left;
        let mut registry = self.registry.lock();
        let holder = Holder { user: user.id, network: context::client_address().map(network_of) };
        let used = Usage { streams: 1, rooms: u64::from(scope != Scope::AllRooms) };
        registry.usage.add(holder, used, &self.limits)?;
        let mailbox = registry.insert(holder, used, user.session.clone(), scope, ended.clone());
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
        push_to_all(mailboxes, None, event);
    }

    /// Sends an event of a room to the all-rooms streams of a user. They drop it if the user is no longer a member.
    pub fn send_in(&self, room: RoomId, user: UserId, event: impl FnOnce() -> Event) {
        let mailboxes = self.registry.lock().of_user(user);
        push_to_all(mailboxes, Some(room), event);
    }

    /// Whether a user has a stream at this replica.
    pub fn has(&self, user: UserId) -> bool {
        self.registry.lock().by_user.contains_key(&user)
    }

    /// Sends an event to the all-rooms streams of users who share a direct room with `user` and may see the event.
    pub fn send_to_watchers(&self, user: UserId, may_see: impl Fn(UserId) -> bool, event: impl FnOnce() -> Event) {
        let mut mailboxes = self.registry.lock().watchers_of(user);
        mailboxes.retain(|mailbox| may_see(mailbox.user));
        push_to_all(mailboxes, None, event);
    }

    /// From now on the all-rooms streams of `user` receive the presence of `watched`.
    pub fn watch(&self, user: UserId, watched: UserId) {
        let mut registry = self.registry.lock();
        for mailbox in registry.of_user(user).iter().filter(|mailbox| mailbox.scope == Scope::AllRooms) {
            registry.watch(mailbox.id, watched);
        }
    }

    /// Ends the streams of ended sessions and renews the presence of their users, until the shutdown. A check takes a round trip
    /// for a thousand streams, and one for a hundred sessions that have been silent for long.
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
        let sessions: Vec<(&str, UserId)> = open.iter().map(|(_, user, session)| (&**session, *user)).collect();
        let revoked = auth.revocations().fetch(&sessions).await?;
        let (ended, alive): (Vec<_>, Vec<_>) = open.into_iter().zip(revoked).partition(|(_, revoked)| *revoked);
        self.registry.lock().end(ended.into_iter().map(|((stream, ..), _)| stream));
        let alive = alive.into_iter().map(|((_, user, session), _)| (user, session));
        if let Err(e) = presence.touch_all(alive, SESSION_INTERVAL).await {
            tracing::debug!(error = %e, "presence of streams is not written");
        }
        Ok(())
    }
}

fn push_to_all(mailboxes: Vec<Arc<Mailbox>>, room: Option<RoomId>, event: impl FnOnce() -> Event) {
    let mut receivers = mailboxes.into_iter().filter(|mailbox| mailbox.scope == Scope::AllRooms).peekable();
    if receivers.peek().is_some() {
        let event = event();
        receivers.for_each(|mailbox| mailbox.push(room, event.clone()));
    }
}

impl Registry {
    fn insert(
        &mut self,
        holder: Holder,
        used: Usage,
        session: Arc<str>,
        scope: Scope,
        ended: CancellationToken,
    ) -> Arc<Mailbox> {
        self.last_id += 1;
        let mailbox = Arc::new(Mailbox::new(self.last_id, holder.user, scope));
        let stream = Stream { mailbox: mailbox.clone(), session, ended, watched: Vec::new(), holder, used };
        self.streams.insert(self.last_id, stream);
        self.by_user.entry(holder.user).or_default().push(self.last_id);
        mailbox
    }

    fn remove(&mut self, id: u64) {
        let Some(stream) = self.streams.remove(&id) else { return };
        self.usage.remove(stream.holder, stream.used);
        remove_id(&mut self.by_user, stream.mailbox.user, id);
        for watched in stream.watched {
            remove_id(&mut self.watchers, watched, id);
        }
    }

    fn count_rooms(&mut self, id: u64, rooms: u64, limits: &StreamLimits) -> Result<()> {
        let Some(stream) = self.streams.get_mut(&id) else { return Ok(()) };
        self.usage.add(stream.holder, Usage { streams: 0, rooms }, limits)?;
        stream.used.rooms += rooms;
        Ok(())
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

    /// The streams with their users and sessions.
    fn sessions(&self) -> Vec<(u64, UserId, Arc<str>)> {
        self.streams.iter().map(|(id, stream)| (*id, stream.mailbox.user, stream.session.clone())).collect()
    }

    fn end(&self, streams: impl Iterator<Item = u64>) {
        streams.filter_map(|id| self.streams.get(&id)).for_each(|stream| stream.ended.cancel());
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
    /// Counts the rooms of an all-rooms stream. Those that the user joins later do not count.
    ///
    /// # Errors
    /// As for [`Subscribers::open`].
    pub fn count_rooms(&self, rooms: usize) -> Result<()> {
        let Subscribers { registry, limits, .. } = &self.subscribers;
        registry.lock().count_rooms(self.mailbox.id, rooms as u64, limits)
    }

    /// From now on the stream receives the presence of these users.
    pub fn watch(&self, users: impl IntoIterator<Item = UserId>) {
        let mut registry = self.subscribers.registry.lock();
        users.into_iter().for_each(|user| registry.watch(self.mailbox.id, user));
    }

    /// Resolves when the stream has to end: when its session or its access token ends, at its greatest age, or when this replica
    /// shuts down.
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
    use common::error::Error;

    use super::*;

    const ANN: UserId = UserId(1);
    const BOB: UserId = UserId(2);
    const EVE: UserId = UserId(9);

    const LIMITS: StreamLimits = StreamLimits {
        user: Usage { streams: 3, rooms: 10 },
        network: None,
        replica: Usage { streams: 100, rooms: 100 },
    };

    fn subscribers() -> Subscribers {
        Subscribers::new(LIMITS, None, IntGauge::new("streams", "Open streams").unwrap(), CancellationToken::new())
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
    fn the_greatest_ages_of_streams_differ_by_a_fifth_at_most() {
        let subscribers = Subscribers { max_age: Some(Duration::from_secs(1_000)), ..subscribers() };
        let ages: Vec<u64> = (0..100)
            .map(|_| {
                let subscription = subscribers.open(&user(ANN), Scope::AllRooms).unwrap();
                subscription.expires.saturating_duration_since(tokio::time::Instant::now()).as_secs()
            })
            .collect();
        assert!(ages.iter().all(|age| (799..=1_200).contains(age)), "{ages:?}");
        assert!(ages.iter().max().unwrap() - ages.iter().min().unwrap() > 100, "{ages:?}");
    }

    #[test]
    fn a_stream_counts_until_it_is_dropped_with_its_rooms() {
        let subscribers = subscribers();
        let open = || subscribers.open(&user(ANN), Scope::AllRooms);
        let mut anns: Vec<_> = (0..LIMITS.user.streams).map(|_| open().unwrap()).collect();
        assert!(matches!(open(), Err(Error::TooMany { .. })));
        anns[0].count_rooms(10).unwrap();
        assert!(matches!(anns[1].count_rooms(1), Err(Error::TooMany { .. })));

        anns.remove(0);

        open().unwrap().count_rooms(10).unwrap();
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
