//! The reader of the stream of all rooms of a user.
//!
//! Each room is read as on its own stream: exactly once and in order. The system messages in the log decide which entries the
//! reader may see: none between a leave and the next join. The membership in MySQL decides whether the reader gets entries
//! of the room at all.

use std::collections::{BTreeSet, HashMap};

use axum::response::sse::Event;
use common::error::Result;
use common::id::RoomId;
use futures_util::Stream;

use super::cursor::Cursor;
use super::hub::Hub;
use super::mailbox::{Join, Notifications};
use super::room_subscription::{RoomSubscription, RoomSubscriptions, Step};
use super::subscribers::Subscription;
use crate::store::{Epoch, Joined, JoinedRoom, Positions, Snapshots};
use crate::wire::{Frame, frame};

pub struct AllRoomsReader {
    hub: Hub,
    subscription: Subscription,
    cursor: Cursor,
    epoch: Epoch,
    rooms: RoomSubscriptions,
    /// Rooms that may have frames at hand, without a notification.
    ready: BTreeSet<RoomId>,
    /// Rooms of the client's cursor that the user has left since, in ascending order, also if the user has come back.
    left: Vec<RoomId>,
    /// The client's id names no cursor of the reader. The reader starts at the live edge of every room.
    pub needs_resync: bool,
}

impl AllRoomsReader {
    /// Starts after the cursor in `last_event_id`, or at the live edge of every room. `own` was read after the subscription
    /// was opened, so that no change of membership is missed.
    pub async fn start(
        hub: &Hub,
        snapshots: &Snapshots,
        subscription: Subscription,
        own: &[JoinedRoom],
        epoch: Epoch,
        last_event_id: Option<&str>,
    ) -> Result<Self> {
        let user = subscription.user;
        subscription.watch(own.iter().filter_map(|own| own.other));
        let ids: Vec<RoomId> = own.iter().map(|own| own.id).collect();
        let mut rooms = RoomSubscriptions::start(hub, &subscription, &ids).await?;
        let stored = match last_event_id.and_then(|id| epoch.of_id(id)) {
            Some(id) => Cursor::read(snapshots, user, id).await?,
            None => None,
        };
        let joined: HashMap<RoomId, Joined> = own.iter().map(|own| (own.id, own.joined)).collect();
        let resumed = match stored {
            Some(cursor) => resume(hub, cursor, &joined, &mut rooms).await?,
            None => None,
        };
        let needs_resync = last_event_id.is_some() && resumed.is_none();
        let (cursor, left) = match resumed {
            Some(cursor) => {
                let left = left_since(&cursor, &joined);
                (cursor, left)
            }
            None => {
                skip_to_joins(hub, &joined, &mut rooms).await?;
                (Cursor::at(snapshots, user, positions_of(&rooms)).await?, Vec::new())
            }
        };
        for room in rooms.iter_mut() {
            room.joined = before_join(joined.get(&room.room())) + 1;
        }
        let ready = rooms.iter().map(RoomSubscription::room).collect();
        Ok(Self { hub: hub.clone(), subscription, cursor, epoch, rooms, ready, left, needs_resync })
    }

    /// A reader of one room, whose cursor no store has.
    #[cfg(test)]
    pub async fn unstored(
        hub: &Hub,
        snapshots: &Snapshots,
        subscription: Subscription,
        room: RoomId,
        epoch: Epoch,
    ) -> Result<Self> {
        let rooms = RoomSubscriptions::start(hub, &subscription, &[room]).await?;
        let cursor = Cursor::unstored(snapshots, subscription.user);
        let (hub, ready, left) = (hub.clone(), [room].into(), Vec::new());
        Ok(Self { hub, subscription, cursor, epoch, rooms, ready, left, needs_resync: false })
    }

    /// The id of the position at which the stream starts.
    pub fn id(&self) -> String {
        self.epoch.id(self.cursor.id())
    }

    /// The events of all rooms, in order within each room. Futures that run seldom are boxed: a stream has the room for the largest
    /// one as long as it is open.
    pub fn events(mut self) -> impl Stream<Item = Result<Event>> {
        async_stream::try_stream! {
            // The rooms stay in the cursor: a user who comes back to one continues before the leave, with what was missed of
            // the first membership. So a client that resumes again is told again.
            for room in std::mem::take(&mut self.left) {
                yield frame::chat_room_left(room, self.subscription.user, None);
            }
            loop {
                let Notifications { left, joined, advanced, events } = self.subscription.take();
                for (room, left) in left {
                    // The stream has begun after the return already.
                    if joined.get(&room).is_some_and(|join| self.has_joined(room, join)) {
                        continue;
                    }
                    self.rooms.remove(room);
                    // A leave since then is announced by the next `take`.
                    if !self.subscription.has_left(room) {
                        yield left;
                    }
                }
                for (room, join) in joined {
                    let created = Box::pin(self.join(room, join)).await?;
                    if let Some(created) = created.filter(|_| !self.subscription.has_left(room)) {
                        yield created;
                    }
                }
                self.ready.extend(advanced);
                for room in std::mem::take(&mut self.ready) {
                    let Some(subscription) = self.rooms.get_mut(room) else { continue };
                    let frames = match subscription.next().await? {
                        Step::Frames(frames) => frames,
                        Step::Gap => {
                            // The lost entries may have been a return. The membership in MySQL decides.
                            subscription.absent = false;
                            let position = subscription.position();
                            Box::pin(self.cursor.prepare()).await?;
                            if !self.subscription.has_left(room) {
                                let id = self.epoch.id(self.cursor.advance(room, position));
                                yield frame::resync(Some(room)).id(id);
                            }
                            Vec::new()
                        }
                    };
                    if !frames.is_empty() {
                        self.ready.insert(room);
                        Box::pin(self.cursor.prepare()).await?;
                    }
                    for frame in frames {
                        // The client may have left the room while it read the previous event, or while the cursor was
                        // stored. Nothing waits between this check and the event.
                        if self.subscription.has_left(room) {
                            // A return before the next `take` starts after the last frame that was sent.
                            self.rooms.remove(room);
                            break;
                        }
                        if self.is_visible(room, &frame) {
                            let id = self.epoch.id(self.cursor.advance(room, frame.position));
                            yield frame.event.clone().id(id);
                        }
                    }
                }
                for (room, event) in events {
                    // Events that arrived after a leave are still in the mailbox.
                    let of_member =
                        |room: RoomId| self.rooms.contains(room) && !self.subscription.has_left(room);
                    if room.is_none_or(of_member) {
                        yield event;
                    }
                }
                if self.ready.is_empty() {
                    self.subscription.arrived().await;
                }
            }
        }
    }

    /// Whether the stream has the room of this join.
    fn has_joined(&mut self, room: RoomId, join: &Join) -> bool {
        self.rooms.get_mut(room).is_some_and(|own| own.joined == join.after + 1)
    }

    /// Adds a room. Returns the event that announces a new one.
    async fn join(&mut self, room: RoomId, Join { after, created }: Join) -> Result<Option<Event>> {
        if self.rooms.contains(room) {
            return Ok(None);
        }
        // A returning member continues at their last position. The log hides the entries of their absence.
        let position = self.cursor.position(room).unwrap_or(after);
        self.rooms.add(&self.hub, room, position, after + 1).await?;
        self.ready.insert(room);
        Ok(created)
    }

    fn is_visible(&mut self, room: RoomId, frame: &Frame) -> bool {
        let user = self.subscription.user;
        let Some(subscription) = self.rooms.get_mut(room) else { return false };
        if let Some(joined) = frame.roster_change.as_ref().and_then(|change| change.joined(user)) {
            subscription.absent = !joined;
        } else if frame.position == subscription.joined {
            // An operator removed the system message of the join.
            subscription.absent = false;
        }
        !subscription.absent
    }
}

/// Moves every room to its position in the cursor; `None` if the cursor names a position that a room does not have, or after which
/// a part of its history was removed.
async fn resume(
    hub: &Hub,
    cursor: Cursor,
    joined: &HashMap<RoomId, Joined>,
    rooms: &mut RoomSubscriptions,
) -> Result<Option<Cursor>> {
    let stored = cursor.positions();
    let start_of = |room: &RoomSubscription| {
        stored.get(&room.room()).copied().unwrap_or_else(|| before_join(joined.get(&room.room())))
    };
    // Nothing is removed after a room's newest position, so rooms without news are not looked up.
    let behind: Vec<RoomId> =
        rooms.iter().filter(|room| start_of(room) < room.position()).map(RoomSubscription::room).collect();
    let removed = hub.history().removed(&behind).await?;
    if rooms.iter().any(|room| removed.get(&room.room()).is_some_and(|removed| start_of(room) < *removed)) {
        return Ok(None);
    }
    if !have(hub, rooms, start_of).await? {
        return Ok(None);
    }
    for room in rooms.iter_mut() {
        room.seek(start_of(room));
    }
    Ok(Some(cursor))
}

/// Moves the rooms whose feed on this replica is still before the join of the user to the join: earlier entries are of others, or of
/// an absence.
async fn skip_to_joins(hub: &Hub, joined: &HashMap<RoomId, Joined>, rooms: &mut RoomSubscriptions) -> Result<()> {
    let start_of = |room: &RoomSubscription| before_join(joined.get(&room.room())).max(room.position());
    // A store that was restored lacks joins until they are announced again.
    if have(hub, rooms, start_of).await? {
        for room in rooms.iter_mut() {
            room.seek(start_of(room));
        }
    }
    Ok(())
}

/// The rooms of a cursor that the user has left since. Who has come back has a join beyond the next entry: the leave is between.
fn left_since(cursor: &Cursor, joined: &HashMap<RoomId, Joined>) -> Vec<RoomId> {
    let has_left =
        |(room, position): &(RoomId, i64)| joined.get(room).is_none_or(|joined| before_join(Some(joined)) > *position);
    cursor.positions().into_iter().filter(has_left).map(|(room, _)| room).collect()
}

/// Whether the rooms have these positions, which their feeds then know.
async fn have(hub: &Hub, rooms: &RoomSubscriptions, position: impl Fn(&RoomSubscription) -> i64) -> Result<bool> {
    let ahead = rooms.iter().filter(|room| position(room) > room.position());
    let ahead: HashMap<RoomId, i64> = ahead.map(|room| (room.room(), position(room))).collect();
    let newest = hub.history().newest(&ahead).await?;
    for room in rooms.iter() {
        newest.get(&room.room()).into_iter().for_each(|newest| room.hint(*newest));
    }
    Ok(ahead.iter().all(|(room, position)| newest.get(room).is_some_and(|newest| newest >= position)))
}

/// The position before the join of a user who joined the room since the cursor was issued.
fn before_join(joined: Option<&Joined>) -> i64 {
    match joined {
        Some(Joined::At(position)) => position - 1,
        _ => 0,
    }
}

fn positions_of(rooms: &RoomSubscriptions) -> Positions {
    Positions(rooms.iter().map(|room| (room.room(), room.position())).collect())
}
