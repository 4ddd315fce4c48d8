//! Who comes and goes: what is remembered of rooms follows it, streams follow it, and the rooms' logs are told of it.
//!
//! A change of members and its row in `chat_room_changes` commit together; everything here follows from that row, on
//! every replica: a look every two seconds, and at once when an event hints at something or this replica did it.
//!
//! The system message of a change has its id from the row, so it is written once, whoever comes to it: the replica that
//! made the change, or after its death another.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use common::error::{Error, Result};
use common::id::{RoomId, UserId};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

use crate::domain::{Message, Move};
use crate::live::{Post, Standing, frame};
use crate::store::{Change, Changes, Rooms, What};
use crate::writer::{Act, Writer};

/// The end of a membership reaches every replica within 5 s, whatever is heard.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// When a change waits to be told in its room's log.
const LOOK_SOON: Duration = Duration::from_millis(100);

/// Whoever made a change tells the log of it at once; what is left for longer was left by a crash.
const LEFT_BEHIND: Duration = Duration::from_secs(2);

/// No transaction is on its way for longer: once a change is so old, all before it are visible.
const SETTLED: Duration = Duration::from_secs(30);

/// How often what is too old for anyone is removed, in looks.
const FORGET_EVERY: u32 = 300;

/// A handle on what this replica knows of changes.
#[derive(Clone)]
pub struct Membership {
    shared: Arc<Shared>,
}

struct Shared {
    changes: Changes,
    rooms: Rooms,
    post: Post,
    writer: Writer,
    hint: Notify,
    followed: Mutex<Option<Followed>>,
    /// The changes of a room are told in their order.
    telling: Mutex<()>,
}

/// How far the changes were followed.
#[derive(Default)]
struct Followed {
    /// Everything up to this one.
    up_to: u64,
    /// Some after it.
    beyond: BTreeSet<u64>,
}

impl Membership {
    pub fn new(changes: Changes, rooms: Rooms, post: Post, writer: Writer) -> Self {
        let (hint, followed, telling) = (Notify::new(), Mutex::default(), Mutex::default());
        Self { shared: Arc::new(Shared { changes, rooms, post, writer, hint, followed, telling }) }
    }

    /// Something may have changed.
    pub fn hint(&self) {
        self.shared.hint.notify_one();
    }

    /// Sees to it that a change that was just made in a room counts on this replica from now on.
    pub async fn made(&self, room: RoomId) -> Result<()> {
        if let Err(e) = self.tell_log(room).await {
            // It will be told; the change itself counts already.
            tracing::warn!(error = %e, %room, "a change of members is not in the room's log yet");
        }
        self.follow().await.map(|_| ())
    }

    /// Resolves when changes are followed: from then on a stream is told of each.
    pub async fn ready(&self) -> Result<()> {
        let mut followed = self.shared.followed.lock().await;
        if followed.is_none() {
            *followed = Some(self.begin().await?);
        }
        Ok(())
    }

    /// Writes what the log of a room does not tell yet.
    pub async fn tell_log(&self, room: RoomId) -> Result<()> {
        let _turn = self.shared.telling.lock().await;
        for change in self.shared.changes.unsaid(room).await? {
            let Some(message) = message(&change) else { continue };
            let written = self.shared.writer.write(change.by, Act::Send(Box::new(message))).await?;
            let position = written.message.seq.ok_or_else(|| Error::internal("a message without position"))?;
            self.shared.changes.said(&change, position).await?;
        }
        Ok(())
    }

    /// Takes in what changed since the last look; whether something waits to be told first.
    pub async fn follow(&self) -> Result<bool> {
        self.ready().await?;
        let mut followed = self.shared.followed.lock().await;
        let Some(followed) = followed.as_mut() else { return Ok(false) };
        let (mut after, mut untold) = (followed.up_to, HashSet::new());
        loop {
            let (changes, more) = self.shared.changes.after(after).await?;
            for change in &changes {
                after = change.id;
                if !followed.beyond.contains(&change.id) && self.apply(change, &mut untold).await {
                    followed.beyond.insert(change.id);
                }
            }
            followed.settle(&changes);
            if !more {
                return Ok(!untold.is_empty());
            }
        }
    }

    /// What came before the first look concerns no stream of this replica.
    async fn begin(&self) -> Result<Followed> {
        let mut followed = Followed { up_to: self.shared.changes.settled(SETTLED).await?, beyond: BTreeSet::new() };
        let mut after = followed.up_to;
        loop {
            let (changes, more) = self.shared.changes.after(after).await?;
            followed.beyond.extend(changes.iter().map(|change| change.id));
            after = changes.last().map_or(after, |change| change.id);
            if !more {
                return Ok(followed);
            }
        }
    }

    /// Takes in one change; false if it has to wait until the room's log tells of it, and what follows it in the room.
    async fn apply(&self, change: &Change, untold: &mut HashSet<RoomId>) -> bool {
        match &change.what {
            What::Created { direct, members } => self.open(change, *direct, members),
            What::Moved { moved, said } => {
                self.shared.rooms.follow(change.room, moved, change.version).await;
                match said.position {
                    _ if untold.contains(&change.room) => return false,
                    None if moved.joined => {
                        untold.insert(change.room);
                        return false;
                    }
                    position => self.stand(change.room, moved, position.unwrap_or(0)),
                }
            }
        }
        true
    }

    fn open(&self, change: &Change, direct: bool, members: &[UserId]) {
        let created = frame::chat_room_created(change.room, direct, change.by, members, change.at);
        let standing = Standing::In { after: 0, created: Some(created) };
        for member in members {
            self.shared.post.stands(*member, change.room, &standing);
        }
        if let ([one, other], true) = (members, direct) {
            self.shared.post.acquaint(*one, *other);
            self.shared.post.acquaint(*other, *one);
        }
    }

    fn stand(&self, room: RoomId, moved: &Move, position: i64) {
        let standing = if moved.joined { Standing::In { after: position - 1, created: None } } else { Standing::Out };
        for user in &moved.users {
            self.shared.post.stands(*user, room, &standing);
        }
    }

    /// Follows until the shutdown.
    pub async fn watch(self, stopping: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looks = 0_u32;
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    looks = looks.wrapping_add(1);
                    if let Err(e) = self.clear_up(looks).await {
                        tracing::warn!(error = %e, "changes of members are not told");
                    }
                }
                () = self.shared.hint.notified() => {}
                () = stopping.cancelled() => return,
            }
            match self.follow().await {
                Ok(true) => self.hint_soon(),
                Ok(false) => {}
                Err(e) => tracing::warn!(error = %e, "changes of members cannot be read"),
            }
        }
    }

    fn hint_soon(&self) {
        let membership = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LOOK_SOON).await;
            membership.hint();
        });
    }

    /// Tells what a crash left untold, and removes what is too old for anyone.
    async fn clear_up(&self, looks: u32) -> Result<()> {
        for room in self.shared.changes.rooms_with_unsaid(LEFT_BEHIND).await? {
            self.tell_log(room).await?;
        }
        if looks.is_multiple_of(FORGET_EVERY) {
            self.shared.changes.forget().await?;
        }
        Ok(())
    }
}

impl Followed {
    /// Whatever is old enough need not be looked at again.
    fn settle(&mut self, changes: &[Change]) {
        let old = Utc::now() - TimeDelta::from_std(SETTLED).unwrap_or_default();
        for change in changes {
            if change.at > old || !self.beyond.remove(&change.id) {
                return;
            }
            self.up_to = change.id;
        }
    }
}

/// What the system says of a change; nothing of a room that is new.
fn message(change: &Change) -> Option<Message> {
    let What::Moved { moved, said } = &change.what else { return None };
    let (content, username) = (said.content.clone(), said.by_name.clone());
    Some(Message::of_system(said.message, change.room, change.by, username, content, moved.clone(), change.at))
}
