//! Membership changes: every replica applies them to its cache and its streams, and writes the system messages.
//!
//! A change of members and its record in `chat_room_changes` commit together. Every replica reads new records every two seconds,
//! and at once after an event or a change of its own. The id of a record's system message is part of the record, so the message
//! is written once, whether by the replica that made the change or, after a crash, by another.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use common::error::{Error, Result};
use common::id::{RoomId, UserId};
use platform::telemetry::Trace;
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

use crate::domain::{Message, RosterChange};
use crate::flights::Flights;
use crate::live::{MembershipChange, Subscribers};
use crate::store::{MembershipEvent, MembershipLog, MembershipRecord, ReadMarkers, Rooms};
use crate::wire::frame;
use crate::writer::{Command, Writer};

/// Interval at which new records are read. The contract allows 5 s from the end of a membership to its effect everywhere.
const READ_INTERVAL: Duration = Duration::from_secs(2);

/// Pause before the next read while a system message is missing in its room's log.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A replica announces its changes at once. A change that is unannounced for longer was left by a crash.
const ABANDONED: Duration = Duration::from_secs(2);

/// No transaction takes longer: once a record has this age, all records before it are visible.
const SETTLED: Duration = Duration::from_secs(30);

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
#[derive(Default)]
struct Progress {
    /// All records up to this id.
    up_to: u64,
    /// Some records after it.
    beyond: BTreeSet<u64>,
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
        let (mut after, mut waiting) = (progress.up_to, HashSet::new());
        let mut settling = true;
        loop {
            let (records, more) = self.shared.log.after(after).await?;
            for record in &records {
                after = record.id;
                if !progress.beyond.contains(&record.id) && self.apply(record, &mut waiting).await {
                    progress.beyond.insert(record.id);
                }
            }
            settling = settling && progress.settle(&records);
            if !more {
                return Ok(!waiting.is_empty());
            }
        }
    }

    /// Skips the existing records: they concern no stream of this replica.
    async fn start(&self) -> Result<Progress> {
        let up_to = self.shared.log.newest_before(SETTLED).await?;
        let mut progress = Progress { up_to, beyond: BTreeSet::new() };
        let mut after = up_to;
        loop {
            let (records, more) = self.shared.log.after(after).await?;
            progress.beyond.extend(records.iter().map(|record| record.id));
            after = records.last().map_or(after, |record| record.id);
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
        let change = MembershipChange::Joined { after: 0, created: Some(created) };
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
                MembershipChange::Joined { after: position - 1, created: None }
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
        let mut reads = 0_u32;
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    reads = reads.wrapping_add(1);
                    if let Err(e) = self.maintain(reads).await {
                        tracing::warn!(error = %e, "cannot announce membership changes");
                    }
                }
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
    async fn maintain(&self, reads: u32) -> Result<()> {
        for room in self.shared.log.rooms_with_unannounced(ABANDONED).await? {
            self.announce(room).await?;
        }
        if reads % PRUNE_EVERY == 1 {
            self.shared.log.prune().await?;
            self.shared.rooms.prune_leavers().await?;
        }
        Ok(())
    }
}

impl Progress {
    /// Advances past applied records that are old enough for all records before them to be visible. Returns false at the first
    /// other record: the progress may not pass it, on a later page neither.
    fn settle(&mut self, records: &[MembershipRecord]) -> bool {
        for record in records {
            if record.age < SETTLED || !self.beyond.remove(&record.id) {
                return false;
            }
            self.up_to = record.id;
        }
        true
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
    use chrono::Utc;

    use super::*;

    fn record(id: u64, age: u64) -> MembershipRecord {
        let event = MembershipEvent::RoomCreated { direct: true, members: Vec::new() };
        let (room, by, age) = (RoomId(1), UserId(1), Duration::from_secs(age));
        MembershipRecord { id, room, by, version: 1, event, at: Utc::now(), age }
    }

    #[test]
    fn the_progress_stops_before_a_record_that_is_not_applied_or_is_young() {
        let mut progress = Progress { up_to: 0, beyond: [1, 2, 4, 5].into() };
        assert!(!progress.settle(&[record(1, 60), record(2, 60), record(3, 60), record(4, 60)]));
        assert_eq!((progress.up_to, progress.beyond), (2, [4, 5].into()));
        let mut progress = Progress { up_to: 0, beyond: [1, 2].into() };
        assert!(!progress.settle(&[record(1, 31), record(2, 29)]));
        assert_eq!(progress.up_to, 1);
        assert!(progress.settle(&[record(2, 31)]));
    }
}
