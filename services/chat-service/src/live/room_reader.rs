//! The reader of one room's stream.

use std::collections::HashMap;

use axum::response::sse::Event;
use common::error::Result;
use common::id::RoomId;
use futures_util::Stream;

use super::hub::Hub;
use super::room_subscription::{RoomSubscription, Step};
use super::subscribers::Subscription;
use crate::store::Epoch;
use crate::wire::{Frame, frame};

pub struct RoomReader {
    subscription: Subscription,
    room: RoomSubscription,
    /// The room's position at the start, when the reader was a member.
    live_from: i64,
    epoch: Epoch,
    /// The client's id is not a position of the room. The reader starts at the live edge.
    pub needs_resync: bool,
}

impl RoomReader {
    /// Starts after the position in `last_event_id`, or at the live edge.
    pub async fn start(
        hub: &Hub,
        subscription: Subscription,
        room: RoomId,
        epoch: Epoch,
        last_event_id: Option<&str>,
    ) -> Result<Self> {
        let room = RoomSubscription::start(hub, &subscription, room).await?;
        let live_from = room.position();
        let mut reader = Self { subscription, room, live_from, epoch, needs_resync: false };
        if let Some(id) = last_event_id {
            let position = existing_position(hub, &reader.room, epoch, id).await?;
            if let Some(position) = position {
                reader.room.seek(position);
            }
            reader.needs_resync = position.is_none();
        }
        Ok(reader)
    }

    /// The id of the position at which the stream starts.
    pub fn id(&self) -> String {
        self.epoch.id(self.room.position())
    }

    /// The events of the room, until the reader is no longer a member.
    pub fn events(mut self) -> impl Stream<Item = Result<Event>> {
        let room = self.room.room();
        async_stream::try_stream! {
            'membership: loop {
                let pending = self.subscription.take();
                if pending.left.contains_key(&room) {
                    break 'membership;
                }
                let frames = match self.room.next().await? {
                    Step::Frames(frames) => frames,
                    Step::Gap => {
                        if self.subscription.has_left(room) {
                            break 'membership;
                        }
                        yield frame::resync(Some(room)).id(self.id());
                        Vec::new()
                    }
                };
                for frame in &frames {
                    // The client may have left the room while it read the previous event.
                    if self.subscription.has_left(room) || self.is_leave_of_reader(frame) {
                        break 'membership;
                    }
                    yield frame.event.clone().id(self.epoch.id(frame.position));
                }
                for (_, event) in pending.events {
                    if self.subscription.has_left(room) {
                        break 'membership;
                    }
                    yield event;
                }
                if frames.is_empty() {
                    self.subscription.arrived().await;
                }
            }
        }
    }
}

impl Drop for RoomReader {
    fn drop(&mut self) {
        self.room.end(&self.subscription);
    }
}

impl RoomReader {
    /// Whether a frame announces that the reader, a member at the start, left since. The system message of a leave is written
    /// after the membership has ended.
    fn is_leave_of_reader(&self, frame: &Frame) -> bool {
        let joined = frame.roster_change.as_ref().and_then(|change| change.joined(self.subscription.user));
        frame.position > self.live_from && joined == Some(false)
    }
}

/// The position in an id of the client, if the room has it and everything after it.
async fn existing_position(hub: &Hub, room: &RoomSubscription, epoch: Epoch, id: &str) -> Result<Option<i64>> {
    let position = epoch.of_id(id).and_then(|position| position.parse().ok());
    let Some(position) = position.filter(|position: &i64| *position >= 0) else { return Ok(None) };
    let removed = hub.history().removed(&[room.room()]).await?;
    if removed.get(&room.room()).is_some_and(|removed| position < *removed) {
        return Ok(None);
    }
    if position <= room.position() {
        return Ok(Some(position));
    }
    let newest = hub.history().newest(&HashMap::from([(room.room(), position)])).await?;
    let newest = newest.get(&room.room()).copied().unwrap_or(0);
    room.hint(newest);
    Ok((position <= newest).then_some(position))
}
