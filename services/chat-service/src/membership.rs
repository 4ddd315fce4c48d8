//! Membership changes: every replica applies them to its cache and its streams, and writes the system messages.
//!
//! A change of members and its record in `chat_room_changes` commit together. Every replica reads new records every two seconds,
//! and at once after an event or a change of its own. The id of a record's system message is part of the record, so the message
//! is written once, whether by the replica that made the change or, after a crash, by another.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::error::{Error, Result};
use common::id::{RoomId, UserId};
use futures_util::{StreamExt, stream};
use platform::task::run_detached;
use platform::telemetry::Trace;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::domain::{Message, RosterChange};
use crate::flights::Flights;
use crate::live::{Join, MembershipChange, Subscribers};
use crate::store::{MembershipEvent, MembershipLog, MembershipRecord, ReadMarkers, Rooms};
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

/// Limit on the ids without a record that are looked for. Beyond it the first are given up: most are of transactions that were rolled
/// back.
const MAX_MISSING: usize = 1_000;

/// The ids that one statement looks for.
const LOOK_UP: usize = 1_000;

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
    /// Held while records are applied, so that they are applied in order. `None` before the start.
    progress: Mutex<Option<Progress>>,
    /// One run for each room writes its system messages, so that they are in the order of their records.
    announcing: Flights<RoomId, ()>,
}

/// The records that were applied.
struct Progress {
    /// The newest record that was read.
    newest: u64,
    /// The ids up to it without a record, whose transaction may commit yet, with the time at which they were missed first.
    missing: BTreeMap<u64, Instant>,
    /// The records since the start of this replica that wait for a system message.
    waiting: BTreeSet<u64>,
}

impl Membership {
    pub fn new(
        log: MembershipLog,
        rooms: Rooms,
        markers: ReadMarkers,
        subscribers: Subscribers,
        writer: Writer,
    ) -> Self {
        let (wake, progress, announcing) = (Notify::new(), Mutex::default(), Flights::default());
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
        self.catch_up().await.map(|_| ())
    }

    /// Resolves when this replica follows the log. A stream that is registered then receives every later change.
    pub async fn ready(&self) -> Result<()> {
        let mut progress = self.shared.progress.lock().await;
        if progress.is_none() {
            *progress = Some(self.start().await?);
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

    /// Applies the records since the last read. Returns whether a record waits for its system message.
    async fn catch_up(&self) -> Result<bool> {
        self.ready().await?;
        let mut progress = self.shared.progress.lock().await;
        let Some(progress) = progress.as_mut() else { return Ok(false) };
        let mut waiting = HashSet::new();
        let open = progress.open();
        for ids in open.chunks(LOOK_UP).map(<[u64]>::to_vec) {
            let earlier = self.read(move |log| async move { log.by_ids(&ids).await }).await?;
            self.apply_all(&earlier, progress, &mut waiting).await;
        }
        loop {
            let newest = progress.newest;
            let (records, more) = self.read(move |log| async move { log.after(newest).await }).await?;
            self.apply_all(&records, progress, &mut waiting).await;
            if !more {
                return Ok(!waiting.is_empty());
            }
        }
    }

    /// Reads the log. The read goes on when it has taken too long, so that nobody else gets its connection.
    async fn read<T, R>(&self, read: impl FnOnce(MembershipLog) -> R) -> Result<T>
    where
        T: Send + 'static,
        R: Future<Output = engines::error::Result<T>> + Send + 'static,
    {
        let read = read(self.shared.log.clone());
        let done = tokio::time::timeout(READ_TIMEOUT, run_detached(read)).await;
        Ok(done.map_err(|_| Error::unavailable("mysql", "the membership changes were not read in time"))??)
    }

    async fn apply_all(&self, records: &[MembershipRecord], progress: &mut Progress, waiting: &mut HashSet<RoomId>) {
        for record in records {
            progress.reach(record.id);
            if self.apply(record, waiting).await {
                progress.close(record.id);
            } else {
                progress.wait(record.id);
            }
        }
    }

    /// Skips the existing records: they concern no stream of this replica.
    async fn start(&self) -> Result<Progress> {
        let newest = self.read(|log| async move { log.newest_before(OPEN_FOR).await }).await?;
        let mut progress = Progress::after(newest);
        loop {
            let newest = progress.newest;
            let (records, more) = self.read(move |log| async move { log.after(newest).await }).await?;
            for record in records {
                progress.reach(record.id);
                progress.close(record.id);
            }
            if !more {
                return Ok(progress);
            }
        }
    }

    /// Applies one record. Returns false for a join without a system message, and for the records after it in its room.
    async fn apply(&self, record: &MembershipRecord, waiting: &mut HashSet<RoomId>) -> bool {
        match &record.event {
            MembershipEvent::RoomCreated { direct, members } => self.add_room(record, *direct, members),
            MembershipEvent::RosterChanged { change, message } => {
                self.shared.rooms.apply_to_cache(record.room, change, record.version).await;
                match message.position {
                    _ if waiting.contains(&record.room) => return false,
                    None if change.joined => {
                        waiting.insert(record.room);
                        return false;
                    }
                    position => self.change_roster(record, change, position.unwrap_or(0)),
                }
            }
        }
        true
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

    fn change_roster(&self, record: &MembershipRecord, change: &RosterChange, position: i64) {
        for user in &change.users {
            let membership = if change.joined {
                MembershipChange::Joined(Join { after: position - 1, created: None })
            } else {
                MembershipChange::Left(frame::chat_room_left(record.room, *user, Some((record.by, record.at))))
            };
            self.shared.subscribers.set_membership(*user, record.room, &membership);
        }
    }

    /// Follows the log until the shutdown.
    pub async fn run(self, stopping: CancellationToken) {
        let mut ticks = tokio::time::interval(READ_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut reads, mut maintenance) = (0_u32, None);
        loop {
            tokio::select! {
                // Beside the reads: an announcement waits for a store, and changes of other rooms do not wait for it.
                _ = ticks.tick() => if maintenance.as_ref().is_none_or(JoinHandle::is_finished) {
                    reads = reads.wrapping_add(1);
                    maintenance = Some(tokio::spawn(self.clone().maintain(reads)));
                },
                () = self.shared.wake.notified() => {}
                () = stopping.cancelled() => return,
            }
            match self.catch_up().await {
                Ok(true) => self.wake_soon(),
                Ok(false) => {}
                Err(e) => tracing::warn!(error = %e, "cannot read membership changes"),
            }
        }
    }

    fn wake_soon(&self) {
        let membership = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(RETRY_PAUSE).await;
            membership.wake();
        });
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

impl Progress {
    /// The progress of a replica that looks for no id up to a record.
    fn after(newest: u64) -> Self {
        Self { newest, missing: BTreeMap::new(), waiting: BTreeSet::new() }
    }

    /// Reads on to a record. The ids that it passes over are looked for.
    fn reach(&mut self, record: u64) {
        let now = Instant::now();
        let passed = (self.newest + 1).max(record.saturating_sub(MAX_MISSING as u64));
        self.missing.extend((passed..record).map(|id| (id, now)));
        self.newest = self.newest.max(record);
        while self.missing.len() > MAX_MISSING {
            self.missing.pop_first();
        }
    }

    /// Remembers a record that cannot be applied yet.
    fn wait(&mut self, record: u64) {
        self.missing.remove(&record);
        self.waiting.insert(record);
    }

    /// Forgets a record that is applied.
    fn close(&mut self, record: u64) {
        self.missing.remove(&record);
        self.waiting.remove(&record);
    }

    /// The ids to look for, in ascending order.
    fn open(&mut self) -> Vec<u64> {
        self.missing.retain(|_, since| since.elapsed() < OPEN_FOR);
        let mut open: Vec<u64> = self.waiting.iter().chain(self.missing.keys()).copied().collect();
        open.sort_unstable();
        open
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

    #[test]
    fn the_ids_that_were_passed_over_stay_open() {
        let mut progress = Progress::after(5);
        for record in [6, 9] {
            progress.reach(record);
            progress.close(record);
        }
        assert_eq!((progress.newest, progress.open()), (9, vec![7, 8]));
        progress.reach(8);
        progress.wait(8);
        assert_eq!((progress.newest, progress.open()), (9, vec![7, 8]));
        progress.reach(1_000_000);
        progress.close(1_000_000);
        assert_eq!(progress.missing.len(), MAX_MISSING, "however many ids a store passes over");
        assert_eq!(progress.open()[..2], [8, 999_000], "a record that waits is not among them");
    }
}
