//! The stream of one room.

use axum::response::sse::Event;
use common::error::{Error, Result};
use common::id::RoomId;
use futures_util::Stream;

use super::hub::Hub;
use super::mailbox::Standing;
use super::part::Part;
use super::post::Address;

/// A reader of one room.
pub struct RoomReader {
    address: Address,
    part: Part,
    /// What the client named as its place is no position of the room: it begins at the live edge.
    pub lost: bool,
}

impl RoomReader {
    /// Begins after `since`, or at the live edge.
    pub async fn start(hub: &Hub, address: Address, room: RoomId, since: Option<&str>) -> Result<Self> {
        let part = Part::start(hub, room, &address).await?;
        let mut part = part.ok_or_else(|| Error::internal("a room without feed"))?;
        let Some(since) = since else { return Ok(Self { address, part, lost: false }) };
        let position = valid(hub, &part, since).await?;
        if let Some(position) = position {
            part.go_to(position);
        }
        Ok(Self { address, part, lost: position.is_none() })
    }

    /// Where the reader stands.
    pub fn position(&self) -> i64 {
        self.part.position()
    }

    /// What happens, until the reader is no member any more.
    pub fn events(mut self) -> impl Stream<Item = Result<Event>> {
        let room = self.part.room();
        async_stream::try_stream! {
            loop {
                let mail = self.address.take();
                if matches!(mail.standing.get(&room), Some(Standing::Out)) {
                    break;
                }
                for frame in self.part.next().await? {
                    yield frame.event.clone().id(frame.position.to_string());
                }
                for event in mail.passing {
                    yield event;
                }
                self.address.arrived().await;
            }
        }
    }
}

/// The position that a client names, if the room has it.
async fn valid(hub: &Hub, part: &Part, since: &str) -> Result<Option<i64>> {
    let Some(position) = since.parse().ok().filter(|position: &i64| *position >= 0) else { return Ok(None) };
    if position <= part.position() {
        return Ok(Some(position));
    }
    let stands_at = hub.position(part.room()).await?;
    part.hint(stands_at);
    Ok((position <= stands_at).then_some(position))
}
