//! Membership changes: every replica applies them to its cache and its streams, and writes the system messages.
//!
//! A change of members and its record in `chat_room_changes` commit together. Every replica reads new records every two seconds,
//! and at once after an event or a change of its own. The id of a record's system message is part of the record, so the message
//! is written once, whether by the replica that made the change or, after a crash, by another.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::error::{Error, Result};
use common::id::{RoomId, UserId};
use futures_util::{StreamExt, stream};
use platform::task::run_detached;
use platform::telemetry::Trace;
use tokio::sync::{Mutex, Notify, OnceCell};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::domain::{Message, RosterChange};
use crate::flights::Flights;
use crate::live::{Join, MembershipChange, Subscribers};
use crate::store::{Joined, JoinedRoom, MembershipEvent, MembershipLog, MembershipRecord, ReadMarkers, Rooms};
use crate::wire::frame;
use crate::writer::{Command, Writer};

/// Interval at which new records are read. The contract allows 5 s from the end of a membership to its effect everywhere.
const READ_INTERVAL: Duration = Duration::from_secs(2);

/// Pause before the next read while a system message is missing in its room's log.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A replica announces its changes at once. A change that is unannounced for longer was left by a crash.
const ABANDONED: Duration = Duration::from_secs(2);

/// The changes of killed replicas that are announced at once.
const ANNOUNCED_AT_ONCE: usize = 8;

/// A read that takes longer has failed: the store is unreachable, and the connection does not know it yet.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// A record may become visible after later ones, when its transaction commits. Its id is looked for as long as a stream may be open
/// that was opened before: streams live for at most 36 minutes.
const OPEN_FOR: Duration = Duration::from_secs(3_600);

/// Limit on the ids without a record that are looked for, in one statement. Beyond it the first are given up: most are of transactions
/// that were rolled back.
const MAX_MISSING: usize = 1_000;

/// The waiting members whose joins one statement reads.
const LOOK_UP: usize = 100;

/// Number of reads between two prunings of the log, the first of which is at the start. Each removes all that is due.
const PRUNE_EVERY: u32 = 300;

/// A handle on the membership changes that this replica has applied.
#[derive(Clone)]
pub struct Membership {
    shared: Arc<Shared>,
}

struct Shared {
    log: MembershipLog,
    rooms: Rooms,
    markers: ReadMarkers,
    subscribers: Subscribers,
    writer: Writer,
    wake: Notify,
    /// Locked while records are applied, so that they are applied in order. Empty before the start.
    progress: OnceCell<Mutex<Progress>>,
    /// One run for each room writes its system messages, so that they are in the order of their records.
    announcing: Flights<RoomId, ()>,
}

/// The records that were applied.
struct Progress {
    /// The newest record that was read.
    newest: u64,
    /// The ids up to it without a record, whose transaction may commit yet, with the time at which they were missed first.
    missing: BTreeMap<u64, Instant>,
    /// The members with streams here who are told of their join as soon as its system message is in the room's log, with the join's record.
    waiting: HashMap<(RoomId, UserId), u64>,
}

impl Membership {
    pub fn new(
        log: MembershipLog,
        rooms: Rooms,
        markers: ReadMarkers,
        subscribers: Subscribers,
        writer: Writer,
    ) -> Self {
        let (wake, progress, announcing) = (Notify::new(), OnceCell::new(), Flights::default());
        Self { shared: Arc::new(Shared { log, rooms, markers, subscribers, writer, wake, progress, announcing }) }
    }

    /// Reads new records soon.
    pub fn wake(&self) {
        self.shared.wake.notify_one();
    }

    /// Announces a change that this replica has just made in a room, and applies it.
    pub async fn apply_own_change(&self, room: RoomId) -> Result<()> {
        if let Err(e) = self.announce(room).await {
            // The change is in effect. The system message follows.
            tracing::warn!(error = %e, %room, "cannot write the system message of a membership change yet");
        }
        self.catch_up().await?;
        // The message may be that of a join which waits.
        self.wake();
        Ok(())
    }

    /// Resolves when this replica follows the log. A stream that is registered then receives every later change.
    pub async fn ready(&self) -> Result<()> {
        self.progress().await.map(|_| ())
    }

    /// The rooms of a user, except for those whose log does not contain the join yet: the user's streams are told of them later, however
    /// old the join is.
    pub async fn announced_rooms(&self, user: UserId) -> Result<Vec<JoinedRoom>> {
        let rooms = self.shared.rooms.clone();
        // While the lock is held, so that a leave after this read has not been applied yet.
        let mut progress = self.progress().await?.lock().await;
        let own = in_time(async move { rooms.joined(user).await }).await?;
        let mut announced = Vec::with_capacity(own.len());
        for room in own {
            match room.joined {
                Joined::Unannounced { record } => progress.wait(record, room.id, &[user]),
                Joined::AtCreation | Joined::At(_) => announced.push(room),
            }
        }
        self.wake();
        Ok(announced)
    }

    /// Tells a user's streams of the joins that wait and that a read of the user's rooms has found announced. A stream that opens with
    /// such a room may have been told of the end of an earlier membership, and would take it for the end of this one.
    pub async fn tell_announced(&self, user: UserId, own: &[JoinedRoom]) -> Result<()> {
        let progress = self.progress().await?.lock().await;
        for room in own {
            if let (Joined::At(position), true) = (room.joined, progress.waiting.contains_key(&(room.id, user))) {
                self.add_members(room.id, &[user], position);
            }
        }
        Ok(())
    }

    /// Writes the missing system messages of a room.
    pub async fn announce(&self, room: RoomId) -> Result<()> {
        let (membership, trace) = (self.clone(), Trace::current());
        // A run in progress may have read the records before that of the caller was there.
        self.shared.announcing.run_anew(room, async move { membership.announce_all(room, &trace).await }).await
    }

    async fn announce_all(&self, room: RoomId, trace: &Trace) -> Result<()> {
        for record in self.shared.log.unannounced(room).await? {
            let Some(message) = system_message(&record) else { continue };
            let command = Command::Send(Box::new(message));
            let written = self.shared.writer.write_traced(record.by, command, trace.clone()).await?;
            let position = written.message.seq.ok_or_else(|| Error::internal("a written message has no position"))?;
            if let MembershipEvent::RosterChanged { change: RosterChange { joined: true, users }, .. } = &record.event {
                self.shared.markers.join(room, users, position).await?;
            }
            self.shared.log.set_position(&record, position).await?;
        }
        Ok(())
    }

    async fn progress(&self) -> Result<&Mutex<Progress>> {
        self.shared.progress.get_or_try_init(async || Ok(Mutex::new(self.start().await?))).await
    }

    /// Passes over the existing records: they concern no stream of this replica.
    async fn start(&self) -> Result<Progress> {
        let log = self.shared.log.clone();
        let mut progress = Progress::after(in_time(async move { log.newest_before(OPEN_FOR).await }).await?);
        loop {
            let (records, more) = self.next_records(&progress).await?;
            records.iter().for_each(|record| progress.reach(record.id));
            if !more {
                return Ok(progress);
            }
        }
    }

    /// Applies the records since the last read.
    async fn catch_up(&self) -> Result<()> {
        let mut progress = self.progress().await?.lock().await;
        loop {
            progress.give_up_old();
            let (records, more) = self.next_records(&progress).await?;
            for record in &records {
                self.apply(record, &mut progress).await;
            }
            if !more {
                return Ok(());
            }
        }
    }

    /// Records that are not applied, oldest first, and whether there may be more.
    async fn next_records(&self, progress: &Progress) -> Result<(Vec<MembershipRecord>, bool)> {
        let (log, newest) = (self.shared.log.clone(), progress.newest);
        let (newer, more) = in_time(async move { log.after(newest).await }).await?;
        // After the newer ones: the changes of a room commit in the order of their ids, so none of them is read without an earlier one.
        let (log, missing) = (self.shared.log.clone(), progress.missing.keys().copied().collect::<Vec<_>>());
        let mut records = in_time(async move { log.by_ids(&missing).await }).await?;
        records.extend(newer);
        Ok((records, more))
    }

    async fn apply(&self, record: &MembershipRecord, progress: &mut Progress) {
        if let MembershipEvent::RosterChanged { change, .. } = &record.event {
            self.shared.rooms.apply_to_cache(record.room, change, record.version).await;
        }
        // Nothing is awaited from here on: a record that was reached is applied.
        progress.reach(record.id);
        match &record.event {
            MembershipEvent::RoomCreated { direct, members } => self.add_room(record, *direct, members),
            MembershipEvent::RosterChanged { change, message } if change.joined => match message.position {
                Some(position) => self.add_members(record.room, &change.users, position),
                None => progress.wait(record.id, record.room, &change.users),
            },
            MembershipEvent::RosterChanged { change, .. } => {
                progress.end(record.id, record.room, &change.users);
                self.remove_members(record, &change.users);
            }
        }
    }

    /// Applies the joins that have waited and have their system message by now. Returns whether others wait.
    async fn apply_late_joins(&self) -> Result<bool> {
        let mut progress = self.progress().await?.lock().await;
        // A stream that registers later reads the rooms of its user later.
        progress.waiting.retain(|(_, user), _| self.shared.subscribers.has(*user));
        let waiting: Vec<(RoomId, UserId)> = progress.waiting.keys().copied().collect();
        let mut joins = HashMap::new();
        for members in waiting.chunks(LOOK_UP).map(<[_]>::to_vec) {
            let rooms = self.shared.rooms.clone();
            joins.extend(in_time(async move { rooms.joins(&members).await }).await?);
        }
        progress.waiting.retain(|member, record| match joins.get(member) {
            Some(join) if join.record == Some(*record) => {
                let (room, user) = *member;
                join.position.inspect(|position| self.add_members(room, &[user], *position)).is_none()
            }
            // The membership has ended. Its record follows.
            _ => false,
        });
        Ok(!progress.waiting.is_empty())
    }

    fn add_room(&self, record: &MembershipRecord, direct: bool, members: &[UserId]) {
        let created = frame::chat_room_created(record.room, direct, record.by, members, record.at);
        let change = MembershipChange::Joined(Join { after: 0, created: Some(created) });
        for member in members {
            self.shared.subscribers.set_membership(*member, record.room, &change);
        }
        if let ([one, other], true) = (members, direct) {
            self.shared.subscribers.watch(*one, *other);
            self.shared.subscribers.watch(*other, *one);
        }
    }

    fn add_members(&self, room: RoomId, users: &[UserId], position: i64) {
        let joined = MembershipChange::Joined(Join { after: position - 1, created: None });
        for user in users {
            self.shared.subscribers.set_membership(*user, room, &joined);
        }
    }

    fn remove_members(&self, record: &MembershipRecord, users: &[UserId]) {
        for user in users {
            let left = frame::chat_room_left(record.room, *user, Some((record.by, record.at)));
            self.shared.subscribers.set_membership(*user, record.room, &MembershipChange::Left(left));
        }
    }

    /// Follows the log until the shutdown.
    pub async fn run(self, stopping: CancellationToken) {
        let mut ticks = tokio::time::interval(READ_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut reads, mut maintenance, mut waits) = (0_u32, None, false);
        loop {
            tokio::select! {
                // Beside the reads: an announcement waits for a store, and changes of other rooms do not wait for it.
                _ = ticks.tick() => if maintenance.as_ref().is_none_or(JoinHandle::is_finished) {
                    reads = reads.wrapping_add(1);
                    maintenance = Some(tokio::spawn(self.clone().maintain(reads)));
                },
                () = self.shared.wake.notified() => {}
                () = tokio::time::sleep(RETRY_PAUSE), if waits => {}
                () = stopping.cancelled() => return,
            }
            match self.follow().await {
                Ok(others_wait) => waits = others_wait,
                Err(e) => tracing::warn!(error = %e, "cannot read membership changes"),
            }
        }
    }

    /// Applies what has become visible. Returns whether a join waits for its system message.
    async fn follow(&self) -> Result<bool> {
        self.catch_up().await?;
        self.apply_late_joins().await
    }

    /// Announces the changes of killed replicas, and prunes the log and the leavers now and then.
    async fn maintain(self, reads: u32) {
        if let Err(e) = self.announce_abandoned().await {
            tracing::warn!(error = %e, "cannot announce membership changes");
        }
        if reads % PRUNE_EVERY == 1
            && let Err(e) = self.prune().await
        {
            tracing::warn!(error = %e, "cannot prune the membership changes");
        }
    }

    /// Returns the last failure after all rooms.
    async fn announce_abandoned(&self) -> Result<()> {
        let rooms = self.shared.log.rooms_with_unannounced(ABANDONED).await?;
        let announced = stream::iter(rooms).map(|room| self.announce(room)).buffer_unordered(ANNOUNCED_AT_ONCE);
        announced.fold(Ok(()), async |all, one| one.and(all)).await
    }

    async fn prune(&self) -> Result<()> {
        self.shared.log.prune().await?;
        Ok(self.shared.rooms.prune_leavers().await?)
    }
}

/// Reads a store. The read goes on when it has taken too long, so that nobody else gets its connection.
async fn in_time<T: Send + 'static>(
    read: impl Future<Output = engines::error::Result<T>> + Send + 'static,
) -> Result<T> {
    let done = tokio::time::timeout(READ_TIMEOUT, run_detached(read)).await;
    Ok(done.map_err(|_| Error::unavailable("mysql", "the membership changes were not read in time"))??)
}

impl Progress {
    /// The progress of a replica that looks for no id up to a record.
    fn after(newest: u64) -> Self {
        Self { newest, missing: BTreeMap::new(), waiting: HashMap::new() }
    }

    /// Counts a record as applied. The ids that it passes over are looked for.
    fn reach(&mut self, record: u64) {
        let now = Instant::now();
        let passed = (self.newest + 1).max(record.saturating_sub(MAX_MISSING as u64));
        self.missing.extend((passed..record).map(|id| (id, now)));
        self.missing.remove(&record);
        self.newest = self.newest.max(record);
        while self.missing.len() > MAX_MISSING {
            self.missing.pop_first();
        }
    }

    /// Gives up the ids without a record whose transaction can concern no stream any more.
    fn give_up_old(&mut self) {
        self.missing.retain(|_, since| since.elapsed() < OPEN_FOR);
    }

    /// Remembers members whose streams are to be told of their join.
    fn wait(&mut self, record: u64, room: RoomId, users: &[UserId]) {
        for user in users {
            let join = self.waiting.entry((room, *user)).or_default();
            *join = record.max(*join);
        }
    }

    /// Forgets the joins that a record has ended.
    fn end(&mut self, record: u64, room: RoomId, users: &[UserId]) {
        for user in users {
            let member = (room, *user);
            if self.waiting.get(&member).is_some_and(|join| *join < record) {
                self.waiting.remove(&member);
            }
        }
    }
}

/// The system message of a record; `None` for a new room.
fn system_message(record: &MembershipRecord) -> Option<Message> {
    let MembershipEvent::RosterChanged { change, message } = &record.event else { return None };
    let (content, username) = (message.content.clone(), message.by_name.clone());
    Some(Message::system(message.id, record.room, record.by, username, content, change.clone(), record.at))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: RoomId = RoomId(1);
    const ANN: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    #[test]
    fn the_ids_that_were_passed_over_are_looked_for() {
        let mut progress = Progress::after(5);
        progress.reach(6);
        progress.reach(9);
        assert!(progress.missing.keys().eq(&[7, 8]));
        progress.reach(8);
        assert_eq!(progress.newest, 9);
        assert!(progress.missing.keys().eq(&[7]));
        progress.reach(1_000_000);
        assert_eq!(progress.missing.len(), MAX_MISSING, "however many ids a store passes over");
    }

    #[test]
    fn a_leave_ends_the_earlier_joins_of_its_users_in_its_room() {
        let mut progress = Progress::after(0);
        progress.wait(2, ROOM, &[ANN, BOB]);
        progress.wait(3, RoomId(2), &[BOB]);
        progress.wait(5, ROOM, &[BOB]);
        progress.end(4, ROOM, &[BOB]);
        assert_eq!(progress.waiting, [((ROOM, ANN), 2), ((RoomId(2), BOB), 3), ((ROOM, BOB), 5)].into());
        progress.end(6, ROOM, &[ANN]);
        assert_eq!(progress.waiting, [((RoomId(2), BOB), 3), ((ROOM, BOB), 5)].into());
    }
}
